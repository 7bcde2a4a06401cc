"""Resuming: a run that stopped, was killed or has damaged files ends as one that was not interrupted."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import signal
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from helpers import Hostile, make_settings, same, state, weights
from kinemask.pretext import NAMES
from kinemask.runs import checkpoint
from kinemask.runs.log import read_metrics
from kinemask.runs.run import Run
from kinemask.training.loop import Stopped, run_job
from kinemask.training.pretraining import pretrain
from loops import ALONE, Interrupted, logged, loop_of, pretrain_until


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("steps", [1, 5])
def test_a_stopped_run_ends_with_the_same_weights(name, steps, whole, tiny, tmp_path):
    run = tmp_path / "run"
    with pytest.raises(Stopped, match=f"step {steps} of"):
        pretrain_until(make_settings(tiny, name), run, steps)
    assert state(run)["step"] == steps
    steps_per_epoch = state(whole[name])["step"] // 4
    assert steps % steps_per_epoch, "the stop must fall within an epoch"
    pretrain(make_settings(tiny, name), run, quiet=True)
    assert same(weights(run), weights(whole[name]))
    done, expected = state(run), state(whole[name])
    assert same(done, expected)
    assert logged(run) == logged(whole[name])


@pytest.mark.parametrize(("log_every", "steps"), [(4, (1, 2)), (4, (3, 3)), (1000, (1, 4))])
def test_a_line_of_the_log_is_of_all_its_steps(log_every, steps, tiny, tmp_path):
    """However often the run stopped between the line before and this one."""
    settings = make_settings(tiny, "hacm", training_log_every=log_every)
    expected = logged(pretrain(settings, tmp_path / "whole", quiet=True))
    run = tmp_path / "run"
    for count in steps:
        with pytest.raises(Stopped):
            pretrain_until(settings, run, count)
    pretrain(settings, run, quiet=True)
    assert logged(run) == expected


def test_a_task_is_prepared_by_every_start(tiny, tmp_path):
    """On the training part, before the first step and before a run goes on."""
    seen, settings = [], make_settings(tiny, training_epochs=1)
    for stop in (True, False):
        job = Interrupted(settings, 1 if stop else -1, lambda: signal.raise_signal(signal.SIGINT))
        job.task.prepare = lambda sampler: seen.append(sampler.tracks.clips.tolist())
        with pytest.raises(Stopped) if stop else nullcontext():
            run_job(job, tmp_path, ALONE, quiet=True)
        assert seen.pop() == tiny.split("xsub")[0].tolist()
        assert not seen


def test_a_finished_run_stays_as_it_is(whole, tiny):
    before, lines = weights(whole["mamp"]), read_metrics(whole["mamp"])
    pretrain(make_settings(tiny), whole["mamp"], quiet=True)
    assert same(before, weights(whole["mamp"]))
    assert read_metrics(whole["mamp"]) == lines


def test_a_killed_run_goes_on_from_its_last_checkpoint(whole, tiny, tmp_path):
    """The log's lines after the checkpoint are dropped, a half-written last line too."""
    run = tmp_path / "run"

    def killed():
        raise MemoryError

    with pytest.raises(MemoryError):
        pretrain_until(make_settings(tiny), run, 9, killed)
    saved = state(run)["step"]
    assert 0 < saved < 8
    assert read_metrics(run)[-1]["step"] == 8
    with (run / "metrics.jsonl").open("a") as f:
        f.write('{"step": 9, "lo')
    pretrain(make_settings(tiny), run, quiet=True)
    assert same(state(run), state(whole["mamp"]))
    assert logged(run) == logged(whole["mamp"])


def no_room(monkeypatch, name):
    """From now on the disk is full in the middle of any file whose name contains `name`."""
    write_bytes = Path.write_bytes

    def full(self, content):
        if name not in self.name:
            return write_bytes(self, content)
        write_bytes(self, bytes(content)[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)


@pytest.mark.parametrize("name", ["last.pt", "encoder.safetensors"])
def test_a_full_disk_keeps_the_last_good_state(name, tiny, tmp_path, monkeypatch):
    run = pretrain(make_settings(tiny, training_epochs=2, training_save_every=1), tmp_path / "run", quiet=True)
    kept = ("last.pt", "previous.pt", "encoder.safetensors")
    before = {file: (run / file).read_bytes() for file in kept}
    loop = loop_of(tiny, run, training_epochs=2, training_save_every=1)
    with monkeypatch.context() as patch:
        no_room(patch, name)
        with pytest.raises(OSError, match=rf"cannot write {run / name} .*last good state is kept") as error:
            loop.save() if name == "last.pt" else loop.save_result()
    assert error.value.errno == errno.ENOSPC
    assert {file: (run / file).read_bytes() for file in kept} == before
    assert not [f for f in os.listdir(run) if "partial" in f]


def test_another_run_in_the_same_place_is_an_error_that_names_the_setting(whole, tiny):
    run = whole["mamp"]
    for changes, match in (
        ({"training_lr": 0.5}, r"training\.lr \(was 0.003, now 0.5\)"),
        ({"pretext_tau": 0.3}, r"pretext\.tau"),
        ({"seed": 9}, "seed"),
        ({"split": "xcam"}, "split"),
        ({"encoder_width": 32}, r"encoder\.width"),
    ):
        with pytest.raises(ValueError, match=match):
            pretrain(make_settings(tiny, **changes), run, quiet=True)
    with pytest.raises(ValueError, match=r"other settings: method \(was 'mamp', now 'mae'\); choose"):
        pretrain(make_settings(tiny, "mae"), run, quiet=True)
    pretrain(make_settings(tiny, training_log_every=5), run, quiet=True)  # how often to say something may change


def test_a_place_where_nothing_was_saved_can_be_taken_over(tiny, tmp_path):
    run = tmp_path / "run"
    Run(run).claim(make_settings(tiny, "hacm", seed=9).to_dict())
    Run(run).claim(make_settings(tiny).to_dict())
    assert Run(run).config == make_settings(tiny).to_dict()
    for name in ("previous.pt", "encoder-epoch0002.safetensors"):
        (run / name).write_bytes(b"")
        with pytest.raises(ValueError, match="seed"):
            Run(run).claim(make_settings(tiny, seed=9).to_dict())
        (run / name).unlink()


def test_a_run_that_is_held_is_not_trained(tiny, tmp_path):
    with Run(tmp_path).hold(), pytest.raises(ValueError, match=rf"is in use by process {os.getpid()} on"):
        pretrain(make_settings(tiny), tmp_path, quiet=True)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_checkpoint_falls_back_on_the_one_before(whole, tiny, tmp_path):
    run = tmp_path / "run"
    pretrain(make_settings(tiny), run, quiet=True)
    (run / "last.pt").write_bytes((run / "last.pt").read_bytes()[:1000])
    assert checkpoint.load_checkpoint(run)["step"] < state(whole["mamp"])["step"]
    assert (run / "last.pt").exists()  # only training that goes on takes it away
    pretrain(make_settings(tiny), run, quiet=True)
    assert same(weights(run), weights(whole["mamp"]))
    for name in ("last.pt", "previous.pt"):
        (run / name).write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(ValueError, match=r"no readable checkpoint.*last\.pt"):
        pretrain(make_settings(tiny), run, quiet=True)


def absurd(state):
    state["step"] = 10**12


def narrow(state):
    name = next(iter(state["task"]))
    state["task"][name] = state["task"][name][:1]


def forgetful(state):
    state["optimizer"]["state"] = {}


def halved(state):
    del state["optimizer"]["state"][0]["exp_avg_sq"]


@pytest.mark.parametrize(
    "change, told",
    [
        (absurd, "it is of step 1000000000000, and training ends at step"),
        (narrow, r"weight .* is float32 of shape .*, where the run's settings make it float32 of shape"),
        (lambda state: state["task"].popitem(), "weight .* is absent"),
        (lambda state: state["optimizer"]["param_groups"].pop(), "other groups of parameters"),
        (forgetful, "remembers nothing"),
        (halved, "optimizer has step, exp_avg of parameter 0"),
        (lambda state: state["optimizer"]["state"][0].update(exp_avg="x"), "exp_avg of parameter 0 is not a tensor"),
    ],
)
def test_a_checkpoint_that_does_not_fit_falls_back_on_the_one_before(change, told, whole, tiny, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(whole["mamp"], run)
    content = state(run)
    change(content)
    torch.save(content, run / "last.pt")
    with pytest.warns(UserWarning, match=told):
        pretrain(make_settings(tiny), run, quiet=True)
    assert same(state(run), state(whole["mamp"]))
    for name in ("last.pt", "previous.pt"):
        torch.save(content, run / name)
    with pytest.raises(ValueError, match=rf"no readable checkpoint: .*last\.pt: .*{told}"):
        pretrain(make_settings(tiny), run, quiet=True)


@pytest.mark.parametrize("how", ["pickle", "torch", "foreign", "tensor"])
def test_a_hostile_checkpoint_runs_nothing(how, tiny, tmp_path):
    run, trace = tmp_path / "run", tmp_path / "trace"
    Run(run).claim(make_settings(tiny).to_dict())
    if how == "pickle":
        (run / "last.pt").write_bytes(pickle.dumps(Hostile(trace)))
    else:
        content = {"torch": {"step": Hostile(trace)}, "foreign": {"epoch": 3}, "tensor": torch.zeros(3)}[how]
        torch.save(content, run / "last.pt")
    with pytest.raises(ValueError, match=r"last\.pt"):
        pretrain(make_settings(tiny), run, quiet=True)
    assert not trace.exists()

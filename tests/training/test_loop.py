"""The loop: going on where it stopped, schedules, several processes, settings, and files that lie."""

from __future__ import annotations

import errno
import json
import math
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from helpers import LIES, make_settings, same, state, weights
from kinemask.cli import parsers
from kinemask.models.encoders import build_encoder, load_encoder
from kinemask.pretext import NAMES, base, method
from kinemask.recipes import load_recipe, recipes
from kinemask.runs import checkpoint
from kinemask.runs.log import read_metrics
from kinemask.skeleton import layout
from kinemask.training import optim
from kinemask.training.distributed import World, choose_device
from kinemask.training.loop import Loop, Stopped
from kinemask.training.pretraining import Pretraining, pretrain
from kinemask.training.settings import Settings, TrainingSettings, recipe_parser


def logged(run: Path) -> list[dict]:
    """The lines of the log, all but the speed."""
    return [{k: v for k, v in line.items() if k != "tracks_per_second"} for line in read_metrics(run)]


def stop_after(monkeypatch, steps: int):
    """The next run is asked to stop after so many steps, as by Ctrl-C."""
    advance, done = Loop.advance, []

    def counted(self, module):
        done.append(advance(self, module))
        if len(done) == steps:
            os.kill(os.getpid(), signal.SIGINT)
        return done[-1]

    monkeypatch.setattr(Loop, "advance", counted)


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory) -> dict[str, Path]:
    """An uninterrupted run of each method."""
    folder = tmp_path_factory.mktemp("runs")
    return {name: pretrain(make_settings(tiny, name), folder / name, quiet=True) for name in NAMES}


# a run


@pytest.mark.parametrize("name", NAMES)
def test_a_run_leaves_what_it_promises(name, whole, tiny):
    run, settings = whole[name], make_settings(tiny, name)
    assert {"config.yaml", "metrics.jsonl", "last.pt", "previous.pt", "encoder.safetensors"} <= set(os.listdir(run))
    assert not [f for f in os.listdir(run) if "partial" in f]
    assert Settings.from_dict(checkpoint.read_config(run)).to_dict() == settings.to_dict()
    lines = read_metrics(run)
    assert [line["step"] for line in lines] == list(range(2, lines[-1]["step"] + 1, 2))
    assert state(run)["step"] == lines[-1]["step"]
    assert {"loss", "reconstruction", "lr", "epoch"} <= set(lines[0])
    assert ("contrast" in lines[0]) == (name == "hacm")
    assert lines[-1]["loss"] < lines[0]["loss"]
    record = load_encoder(run).record
    assert record["method"] == name
    assert record["record"]["settings"] == settings.to_dict()
    assert record["record"]["data"]["sha256"] == tiny.identity


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_decides_the_weights(name, whole, tiny, tmp_path):
    again = pretrain(make_settings(tiny, name), tmp_path / "again", quiet=True)
    assert same(weights(again), weights(whole[name]))
    other = pretrain(make_settings(tiny, name, seed=4, training_epochs=1), tmp_path / "other", quiet=True)
    assert not same(weights(other), weights(whole[name]))


def test_epochs_go_through_all_tracks_once(tiny, tmp_path):
    with threaded(tiny, tmp_path) as loop:
        steps = loop.job.steps_per_epoch
        per_epoch = [[loop.job.batch(e * steps + i) for i in range(steps)] for e in range(2)]
        assert steps == len(loop.job.tracks) // 12
        for epoch in per_epoch:
            seen = torch.cat(epoch).tolist()
            assert len(set(seen)) == len(seen) == steps * 12
        assert torch.cat(per_epoch[0]).tolist() != torch.cat(per_epoch[1]).tolist()
    with threaded(tiny, tmp_path / "large", training_batch_size=100) as loop:  # fewer tracks than a batch
        assert loop.job.steps_per_epoch == 1
        count = torch.bincount(loop.job.batch(0), minlength=len(loop.job.tracks))
        assert count.sum() == 100
        assert count.max() - count.min() <= 1


class threaded:
    """A loop of one process, before its first step."""

    def __init__(self, store, run, **changes):
        world = World(0, 1, torch.device("cpu"))
        self.loop = Loop(Pretraining(make_settings(store, **changes), world), run, world, quiet=True)

    def __enter__(self):
        return self.loop

    def __exit__(self, *_):
        pass


def test_only_the_training_part_is_used(tiny, tmp_path):
    with threaded(tiny, tmp_path / "a") as loop:
        assert loop.job.tracks.clips.tolist() == tiny.split("xsub")[0].tolist()
    with threaded(tiny, tmp_path / "b", split="all") as loop:
        assert len(loop.job.tracks.clips) == len(tiny)
    with pytest.raises(ValueError, match=r"nonsense.*xsub"):
        pretrain(make_settings(tiny, split="nonsense"), tmp_path / "c", quiet=True)
    assert not (tmp_path / "c").exists()


# going on


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("steps", [1, 5])
def test_a_stopped_run_ends_with_the_same_weights(name, steps, whole, tiny, tmp_path, monkeypatch):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_after(patch, steps)
        with pytest.raises(Stopped, match=f"step {steps} of"):
            pretrain(make_settings(tiny, name), run, quiet=True)
    assert state(run)["step"] == steps
    steps_per_epoch = state(whole[name])["step"] // 4
    assert steps % steps_per_epoch, "the stop must fall within an epoch"
    pretrain(make_settings(tiny, name), run, quiet=True)
    assert same(weights(run), weights(whole[name]))
    done, expected = state(run), state(whole[name])
    assert same(done, expected)
    assert logged(run) == logged(whole[name])


def test_a_task_is_prepared_once(tiny, tmp_path, monkeypatch):
    """On the training part, before the first step, and not again by a run that goes on."""
    seen = []
    monkeypatch.setattr(base.Pretext, "prepare", lambda self, sampler: seen.append(sampler.tracks.clips.tolist()))
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        with pytest.raises(Stopped):
            pretrain(make_settings(tiny), tmp_path, quiet=True)
    assert seen == [tiny.split("xsub")[0].tolist()]
    pretrain(make_settings(tiny), tmp_path, quiet=True)
    assert len(seen) == 1


def test_a_finished_run_stays_as_it_is(whole, tiny):
    before, lines = weights(whole["mamp"]), read_metrics(whole["mamp"])
    pretrain(make_settings(tiny), whole["mamp"], quiet=True)
    assert same(before, weights(whole["mamp"]))
    assert read_metrics(whole["mamp"]) == lines


def test_a_killed_run_goes_on_from_its_last_checkpoint(whole, tiny, tmp_path, monkeypatch):
    """The log's lines after the checkpoint are dropped, a half-written last line too."""
    run = tmp_path / "run"
    advance = Loop.advance

    def killed(self, module):
        if self.step == 9:
            raise MemoryError
        return advance(self, module)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "advance", killed)
        with pytest.raises(MemoryError):
            pretrain(make_settings(tiny), run, quiet=True)
    saved = state(run)["step"]
    assert 0 < saved < 8
    assert read_metrics(run)[-1]["step"] == 8
    with (run / "metrics.jsonl").open("a") as f:
        f.write('{"step": 9, "lo')
    pretrain(make_settings(tiny), run, quiet=True)
    assert same(state(run), state(whole["mamp"]))
    assert logged(run) == logged(whole["mamp"])


DRIVER = """
import sys, time
import torch, yaml
from kinemask.training.loop import Loop, Stopped
from kinemask.training.pretraining import pretrain
from kinemask.training.settings import Settings
torch.set_num_threads(1)
advance = Loop.advance
def slow(self, module):
    time.sleep(float(sys.argv[3]))
    return advance(self, module)
Loop.advance = slow
try:
    pretrain(Settings.from_dict(yaml.safe_load(open(sys.argv[1]))), sys.argv[2], quiet=True)
except Stopped as stopped:
    print(stopped)
    sys.exit(3)
"""


def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def test_sigterm_saves_and_the_same_command_goes_on(whole, tiny, tmp_path):
    config, run, driver = tmp_path / "settings.yaml", tmp_path / "run", tmp_path / "driver.py"
    config.write_text(yaml.safe_dump(make_settings(tiny).to_dict()))
    driver.write_text(DRIVER)
    command = [sys.executable, driver, config, run]
    process = subprocess.Popen([*command, "0.3"], stdout=subprocess.PIPE, text=True, env=environment())
    try:
        until = time.monotonic() + 120
        while not read_metrics(run) and time.monotonic() < until and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 3, said
    assert "goes on" in said
    assert 2 <= state(run)["step"] < state(whole["mamp"])["step"]
    assert not [f for f in os.listdir(run) if "partial" in f]
    subprocess.run([*command, "0"], check=True, env=environment(), timeout=120)
    assert same(weights(run), weights(whole["mamp"]))


@pytest.mark.parametrize(("log_every", "steps"), [(4, (1, 2)), (4, (3, 3)), (1000, (1, 4))])
def test_a_line_of_the_log_is_of_all_its_steps(log_every, steps, tiny, tmp_path, monkeypatch):
    """However often the run stopped between the line before and this one."""
    settings = make_settings(tiny, "hacm", training_log_every=log_every)
    expected = logged(pretrain(settings, tmp_path / "whole", quiet=True))
    run = tmp_path / "run"
    for count in steps:
        with monkeypatch.context() as patch:
            stop_after(patch, count)
            with pytest.raises(Stopped):
                pretrain(settings, run, quiet=True)
    pretrain(settings, run, quiet=True)
    assert logged(run) == expected


@pytest.mark.parametrize(("device", "step", "agreed"), [("cpu", 1, True), ("cuda", 1, False), ("cuda", 2, True)])
def test_processes_agree_to_stop(device, step, agreed, tiny, tmp_path, monkeypatch):
    with threaded(tiny, tmp_path) as loop:
        asked = []
        monkeypatch.setattr(World, "sum", lambda self, value: asked.append(value) or value + 1)  # the other was asked
        monkeypatch.setattr(torch, "tensor", lambda value, device: torch.as_tensor(value))
        loop.world, loop.step = World(0, 2, torch.device(device)), step
        assert loop.asked_to_stop(threading.Event()) == agreed
        assert len(asked) == agreed


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
    with threaded(tiny, run, training_epochs=2, training_save_every=1) as loop, monkeypatch.context() as patch:
        no_room(patch, name)
        with pytest.raises(OSError, match=rf"cannot write {run / name} .*last good state is kept") as error:
            loop.save() if name == "last.pt" else loop.save_result()
    assert error.value.errno == errno.ENOSPC
    assert {file: (run / file).read_bytes() for file in kept} == before
    assert not [f for f in os.listdir(run) if "partial" in f]


def test_an_encoder_is_as_readable_as_other_files(whole):
    modes = {(whole["mamp"] / name).stat().st_mode for name in ("config.yaml", "last.pt", "encoder.safetensors")}
    assert len(modes) == 1


def test_signals_are_given_back(tiny, tmp_path):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    pretrain(make_settings(tiny, training_epochs=1), tmp_path / "run", quiet=True)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    done = []
    thread = threading.Thread(
        target=lambda: done.append(pretrain(make_settings(tiny, training_epochs=1), tmp_path / "b"))
    )
    thread.start()  # signals belong to the main thread; training works in any
    thread.join()
    assert done


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
    checkpoint.claim_run(run, make_settings(tiny, "hacm", seed=9).to_dict())
    checkpoint.claim_run(run, make_settings(tiny).to_dict())
    assert checkpoint.read_config(run) == make_settings(tiny).to_dict()
    for name in ("previous.pt", "encoder-epoch0002.safetensors"):
        (run / name).write_bytes(b"")
        with pytest.raises(ValueError, match="seed"):
            checkpoint.claim_run(run, make_settings(tiny, seed=9).to_dict())
        (run / name).unlink()


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


class Hostile:
    """A pickle that would make a file when it is loaded."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (os.mkdir, (self.path,))


@pytest.mark.parametrize("how", ["pickle", "torch", "foreign", "tensor"])
def test_a_hostile_checkpoint_runs_nothing(how, tiny, tmp_path):
    run, trace = tmp_path / "run", tmp_path / "trace"
    checkpoint.claim_run(run, make_settings(tiny).to_dict())
    if how == "pickle":
        (run / "last.pt").write_bytes(pickle.dumps(Hostile(trace)))
    else:
        content = {"torch": {"step": Hostile(trace)}, "foreign": {"epoch": 3}, "tensor": torch.zeros(3)}[how]
        torch.save(content, run / "last.pt")
    with pytest.raises(ValueError, match=r"last\.pt"):
        pretrain(make_settings(tiny), run, quiet=True)
    assert not trace.exists()


# the loss is not finite


def break_loss(monkeypatch, step: int, value: float = math.nan, gradient_only: bool = False):
    """From the optimizer step of that number on, the loss (or only its gradient) is not finite."""
    forward, calls = base.MaskedPrediction.forward, []

    def broken(self, batch):
        out = forward(self, batch)
        calls.append(1)
        if len(calls) > step:
            if gradient_only:
                out["loss"].register_hook(lambda g: g * value)
            else:
                out["loss"] = out["loss"] * value
        return out

    monkeypatch.setattr(base.MaskedPrediction, "forward", broken)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("log_every", [1, 1000])
def test_a_loss_that_is_not_finite_stops_and_names_the_clips(value, log_every, whole, tiny, tmp_path, monkeypatch):
    """Found at the next line of the log, or before the next checkpoint if that comes first."""
    run, good = tmp_path / "run", state(whole["mamp"])["step"] // 2
    settings = make_settings(tiny, training_log_every=log_every, training_save_every=1)
    with monkeypatch.context() as patch:
        break_loss(patch, good + 1, value)
        with pytest.raises(FloatingPointError, match=rf"step {good + 1}.*last good state") as error:
            pretrain(settings, run, quiet=True)
    with threaded(tiny, tmp_path / "other") as loop:
        expected = {tiny.names[loop.job.tracks.clips[i]] for i in loop.job.tracks.clip[loop.job.batch(good + 1)]}
    assert set(str(error.value).split("batch: ")[1].split(", ")) == expected
    assert state(run)["step"] == good
    assert all(v.isfinite().all() for v in state(run)["task"].values())
    pretrain(settings, run, quiet=True)  # without the fault it goes on from there
    assert same(weights(run), weights(whole["mamp"]))


def test_a_huge_learning_rate_stops_with_good_files(tiny, tmp_path):
    run = tmp_path / "run"
    settings = make_settings(tiny, training_lr=1e30, training_save_every=1, training_log_every=1)
    with pytest.raises(FloatingPointError, match="clip"):
        pretrain(settings, run, quiet=True)
    assert not (run / "encoder.safetensors").exists()


def test_a_gradient_that_is_not_finite_never_reaches_a_checkpoint(tiny, tmp_path, monkeypatch):
    """The loss of the step before a save can be finite while the weights after it are not."""
    run, steps_per_epoch = tmp_path / "run", None
    with threaded(tiny, tmp_path / "other") as loop:
        steps_per_epoch = loop.job.steps_per_epoch
    break_loss(monkeypatch, 2 * steps_per_epoch - 1, gradient_only=True)
    with pytest.raises(FloatingPointError):
        pretrain(make_settings(tiny, training_epochs=2, training_save_every=1), run, quiet=True)
    assert state(run)["step"] == steps_per_epoch
    assert all(v.isfinite().all() for v in state(run)["task"].values())
    assert not (run / "encoder.safetensors").exists()


def test_no_snapshot_is_kept_of_a_broken_encoder(tiny, tmp_path, monkeypatch):
    run = tmp_path / "run"
    break_loss(monkeypatch, 1)
    settings = make_settings(tiny, training_snapshot_every=1, training_save_every=4, training_log_every=1000)
    with pytest.raises(FloatingPointError):
        pretrain(settings, run, quiet=True)
    for path in run.glob("encoder*.safetensors"):
        assert all(v.isfinite().all() for v in load_file(path).values()), path.name


def test_snapshots(tiny, tmp_path):
    run = pretrain(make_settings(tiny, training_snapshot_every=2), tmp_path / "run", quiet=True)
    names = sorted(p.name for p in run.glob("encoder*"))
    assert names == ["encoder-epoch0002.safetensors", "encoder-epoch0004.safetensors", "encoder.safetensors"]
    last, end = (load_file(run / n) for n in names[1:])
    assert same(last, end)
    assert not same(load_file(run / names[0]), end)


# optimizer


def test_the_learning_rate_rises_linearly_then_falls_as_a_cosine():
    s = TrainingSettings(epochs=10, warmup_epochs=2, lr=1e-3, min_lr=2e-4)
    rate = [optim.learning_rate(step, 50, s) for step in range(501)]
    assert rate[0] == 0
    assert rate[50] == pytest.approx(5e-4)
    assert rate[100] == pytest.approx(1e-3)
    assert rate[300] == pytest.approx(6e-4)  # half way down
    assert rate[500] == pytest.approx(2e-4)
    assert rate[200] == pytest.approx(2e-4 + 8e-4 * 0.5 * (1 + math.cos(math.pi / 4)))
    assert np.all(np.diff(rate[:101]) > 0)
    assert np.all(np.diff(rate[100:]) < 0)
    assert optim.learning_rate(0, 50, replace(s, warmup_epochs=0)) == pytest.approx(1e-3)
    assert optim.learning_rate(25, 50, replace(s, warmup_epochs=0.5)) == pytest.approx(1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_weight_decay_is_for_matrices_only(name, tiny, tmp_path):
    with threaded(tiny, tmp_path, name=name) as loop:
        names = {id(p): n for n, p in loop.task.named_parameters()}
        decayed, plain = ({names[id(p)] for p in g["params"]} for g in loop.optimizer.param_groups)
        assert [g["weight_decay"] for g in loop.optimizer.param_groups] == [0.05, 0.0]
        assert loop.optimizer.param_groups[0]["betas"] == (0.9, 0.95)
        assert decayed | plain == {n for n, p in loop.task.named_parameters() if p.requires_grad}
        linear = {f"{n}.weight" for n, m in loop.task.named_modules() if isinstance(m, torch.nn.Linear)}
        assert decayed == linear & (decayed | plain)
        assert not any("position" in n or "mask_token" in n for n in decayed)
        assert "encoder.tokenizer.weight" in decayed


def test_the_log_shows_the_schedule(whole, tiny):
    s = make_settings(tiny).training
    for line in read_metrics(whole["mamp"]):
        per_epoch = state(whole["mamp"])["step"] // 4
        assert line["lr"] == pytest.approx(optim.learning_rate(line["step"] - 1, per_epoch, s))
        assert line["epoch"] == pytest.approx(line["step"] / per_epoch)


@pytest.mark.parametrize("name", ["mae", "mamp"])
def test_accumulation_is_the_whole_batch(name, whole, tiny, tmp_path):
    run = pretrain(make_settings(tiny, name, training_accumulate=3), tmp_path / "run", quiet=True)
    for a, b in zip(read_metrics(run), read_metrics(whole[name]), strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4)
    alike(run, whole[name])
    gradients = []  # AdamW forgives a gradient of the wrong size; clipping does not
    for parts in (1, 3):
        with threaded(tiny, tmp_path / str(parts), name=name, training_accumulate=parts) as loop:
            task, loop.bad_step = loop.task, torch.tensor(-1)
            loop.optimizer.step = lambda task=task: gradients.append([p.grad.clone() for p in task.parameters()])
            loop.advance(task)
    for one, three in zip(*gradients, strict=True):
        torch.testing.assert_close(three, one, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize(
    "changes",
    [
        {"training_weight_decay": 0.5},
        {"training_clip_grad": 0.1},
        {"training_betas": (0.5, 0.9)},
        {"training_min_lr": 0.0},
        {"training_warmup_epochs": 0},
        {"training_epochs": 3},
        {"training_batch_size": 6},
        {"training_precision": "bf16"},
        {"decoder_layers": 2},
        {"sampling_noise": 0.1},
        {"sampling_scale": "torso"},
    ],
    ids=str,
)
def test_every_option_changes_the_weights(changes, whole, tiny, tmp_path):
    run = pretrain(make_settings(tiny, **changes), tmp_path / "run", quiet=True)
    assert not same(weights(run), weights(whole["mamp"]))


@pytest.mark.parametrize(
    "changes",
    [
        {"training_batch_size": 10, "training_accumulate": 4},
        {"training_epochs": 0},
        {"training_lr": math.nan},
        {"training_lr": -1e-3},
        {"training_min_lr": math.inf},
        {"training_weight_decay": math.nan},
        {"training_warmup_epochs": math.nan},
        {"training_betas": (0.9, 1.0)},
        {"training_betas": (math.nan, 0.9)},
    ],
    ids=str,
)
def test_bad_training_settings_are_told(changes, tiny, tmp_path):
    with pytest.raises(ValueError, match=next(iter(changes)).replace("_", r"\.", 1)):
        pretrain(make_settings(tiny, **changes), tmp_path / "run", quiet=True)


def test_a_warm_up_longer_than_training_is_told(tiny, tmp_path):
    with pytest.warns(UserWarning, match=r"warm-up \(20 epochs\) is longer than training \(4\)"):
        threaded(tiny, tmp_path, training_warmup_epochs=20)


def test_an_unknown_device_is_told():
    with pytest.raises(ValueError, match="'cuda:0'; known: auto, cpu, cuda"):
        choose_device("cuda:0")


# several processes

TORCHRUN = """
import os, sys, torch, yaml
from kinemask.training.pretraining import pretrain
from kinemask.training.settings import Settings
torch.set_num_threads(1)
os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "False"  # a meeting place of its own for every run
for argument in sys.argv[1:]:
    os.environ["MASTER_PORT"], config = argument.split(":", 1)
    pretrain(Settings.from_dict(yaml.safe_load(open(config))), config.removesuffix(".yaml"), quiet=True)
"""
GATHERED = {"pretext_negatives": "gathered", "pretext_contrast_weight": 2.0}
RUNS = {
    "mamp": ("mamp", {}),
    "mamp-accumulated": ("mamp", {"training_accumulate": 3}),
    "hacm-mean": ("hacm", GATHERED),
    "hacm-rows": ("hacm", GATHERED | {"pretext_contrast_reduction": "rows", "pretext_similarity": "cosine"}),
    "hacm-sum": ("hacm", GATHERED | {"pretext_contrast_reduction": "sum"}),
    "hacm-local": ("hacm", {"pretext_contrast_weight": 2.0}),
}


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


@pytest.fixture(scope="module")
def two_processes(tiny, tmp_path_factory) -> dict[str, tuple[Path, Path]]:
    """Each run of RUNS with one process and with two: name -> (one, two)."""
    folder = tmp_path_factory.mktemp("processes")
    (folder / "driver.py").write_text(TORCHRUN)
    out, arguments = {}, []
    for (name, (of, changes)), port in zip(RUNS.items(), free_ports(len(RUNS)), strict=True):
        settings = make_settings(tiny, of, **changes, training_epochs=2, training_log_every=1)
        config = folder / f"{name}-two.yaml"
        config.write_text(yaml.safe_dump(settings.to_dict()))
        arguments.append(f"{port}:{config}")
        one = pretrain(settings, folder / f"{name}-one", quiet=True)
        out[name] = one, folder / f"{name}-two"
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*launch, folder / "driver.py", *arguments]
    process = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True)
    try:
        _, said = process.communicate(timeout=150)
    finally:
        process.terminate()  # torchrun ends its processes with itself
        process.wait(30)
    assert process.returncode == 0, said[-3000:]
    return out


@pytest.mark.parametrize("name", [name for name in RUNS if name != "hacm-local"])
def test_two_processes_do_what_one_does(name, two_processes):
    one, two = two_processes[name]
    a, b = read_metrics(one), read_metrics(two)
    assert len(a) == len(b) == state(one)["step"]
    for x, y in zip(a, b, strict=True):
        assert x.keys() == y.keys()
        for part in {"loss", "reconstruction", "contrast"} & x.keys():
            assert x[part] == pytest.approx(y[part], rel=1e-4)
    alike(one, two)


def alike(one: Path, two: Path) -> None:
    """Two encoders compute the same but for rounding; weights without a gradient (the keys' biases) may differ."""
    x = torch.randn(20, 24, 15, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        a, b = (load_encoder(run).features(x) for run in (one, two))
    torch.testing.assert_close(a, b, atol=1e-2 * a.std().item(), rtol=0)


def test_local_negatives_are_fewer(two_processes):
    one, two = (read_metrics(run)[0]["contrast"] for run in two_processes["hacm-local"])
    assert abs(one - two) > 1e-4
    assert one == pytest.approx(read_metrics(two_processes["hacm-mean"][0])[0]["contrast"])


# starting from another run


@pytest.mark.parametrize("name", NAMES)
def test_encoders_start_from_another_run(name, whole, tiny, tmp_path):
    """Moving averages of them too."""
    with threaded(tiny, tmp_path / "run", name=name, training_init_from=str(whole[name])) as loop:
        for encoder in loop.task.encoders().values():
            assert same(weights(whole[name]), encoder.state_dict())
    with threaded(tiny, tmp_path / "cold", name=name) as loop:
        assert not same(weights(whole[name]), loop.task.encoders()["encoder"].state_dict())


def test_another_method_can_be_the_start(whole, tiny, tmp_path):
    settings = make_settings(tiny, "mamp", training_init_from=str(whole["mae"] / "encoder.safetensors"))
    warm, cold = (
        pretrain(s, tmp_path / str(i), quiet=True)
        for i, s in enumerate((settings, replace(settings, training=replace(settings.training, init_from=None))))
    )
    assert not same(weights(warm), weights(cold))
    pretrain(settings, warm, quiet=True)  # finished: stays as it is


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"encoder_width": 32}, r"width \(16 there, 32 here\)"),
        ({"encoder_heads": 4}, "heads"),  # of the same shapes
        ({"encoder_layers": 2}, "layers"),
        ({"sampling_frames": 36}, r"sampling\.frames \(24 there, 36 here\)"),
        ({"name": "hacm"}, "space"),
        ({"name": "skeletonmae"}, "kind"),
        ({"training_init_from": "nowhere"}, "no encoder at nowhere"),
    ],
    ids=str,
)
def test_a_start_that_does_not_fit_is_told(changes, match, whole, tiny, tmp_path):
    settings = make_settings(tiny, **{"training_init_from": str(whole["mamp"])} | changes)
    with pytest.raises(ValueError, match=match):
        pretrain(settings, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


# settings


@pytest.mark.parametrize("recipe", recipes())
def test_every_recipe_parses_and_builds(recipe):
    settings = Settings.from_recipe(recipe, {"data": "somewhere", "split": "xview"})
    assert Settings.from_dict(settings.to_dict()).to_dict() == settings.to_dict()
    assert recipe.startswith(settings.method)
    assert recipes()[recipe], "a recipe has a title"
    chosen = method(settings.method)
    of = layout("kinect20" if "ucla" in recipe else "utd20" if "utd" in recipe else "ntu25")
    with torch.device("meta"):
        encoder = chosen.build_encoder(of, settings.sampling.frames, settings.encoder)
        task = chosen.build(encoder, settings.decoder, settings.pretext)
    assert sum(p.numel() for p in task.parameters()) > 1000
    by_command_line = parse(["--recipe", recipe, "--data", "somewhere", "--split", "xview"])
    assert by_command_line == settings


@pytest.mark.parametrize(
    ("recipe", "tokens", "kept", "decoder", "tau"),
    [
        ("mamp-ntu60", 750, 75, 3, 0.8),
        ("mamp-ntu120", 750, 75, 5, 0.75),
        ("mamp-pku-mmd", 750, 75, 5, 0.8),
        ("mae-ntu60", 750, 75, 3, None),
        ("hacm-ntu60", 432, 22, None, 0.9),
        ("hacm-ntu120", 432, 22, None, 0.9),
    ],
)
def test_the_papers_recipes(recipe, tokens, kept, decoder, tau):
    s = Settings.from_recipe(recipe, {"data": "somewhere", "split": "xview"})
    chosen = method(s.method)
    with torch.device("meta"):
        task = chosen.build(chosen.build_encoder(layout("ntu25"), s.sampling.frames, s.encoder), s.decoder, s.pretext)
    assert (task.encoder.tokens, task.kept) == (tokens, kept)
    assert (s.encoder.layers, s.encoder.width, s.encoder.heads, s.encoder.mlp_ratio) == (8, 256, 8, 4)
    assert decoder in (None, s.decoder.layers)
    assert tau is None or s.pretext.tau == tau
    t = s.training
    assert (t.epochs, t.warmup_epochs, t.batch_size, t.lr, t.min_lr) == (400, 20, 128, 1e-3, 5e-4)
    assert (t.betas, t.weight_decay) == ((0.9, 0.95), 0.05)
    assert (tuple(s.sampling.crop), s.sampling.rotation, s.sampling.missing) == ((0.5, 1.0), 0.3, "fill")


@pytest.mark.parametrize("data", ["ntu60", "ntu120", "pku-mmd"])
def test_the_papers_recipes_of_feature_and_semantic_methods(data):
    s = Settings.from_recipe(f"skeleton2vec-{data}", {"data": "somewhere", "split": "xsub"})
    assert (s.sampling.frames, s.sampling.window, s.sampling.test_clips, s.sampling.rotation) == (
        90,
        "uniform",
        10,
        0.3,
    )
    assert (s.encoder.layers, s.encoder.width, s.encoder.segment_frames, s.encoder.joints) == (8, 256, 3, "all")
    p, t = s.pretext, s.training
    assert (p.mask_ratio, p.tube_segments, p.motion_weight, p.top_k_layers, p.ema_decay) == (0.9, 5, 0.1, 0, 0.9999)
    assert (t.epochs, t.batch_size, t.lr, t.min_lr) == (600, 128, 1e-3, 1e-5)
    s = Settings.from_recipe(f"masksem-{data}", {"data": "somewhere", "split": "xsub"})
    assert (s.sampling.frames, s.sampling.crop, s.sampling.rotation, s.sampling.shear) == (120, (0.5, 1.0), 0.3, 0.5)
    assert (s.encoder.layers, s.encoder.width, s.encoder.segment_frames, s.encoder.joints) == (8, 256, 4, "all")
    p, t = s.pretext, s.training
    assert (p.mask_ratio, p.tau, p.ema_decay, p.acceleration_weight) == (0.9, 0.8, 0.999, 0.2)
    assert (p.masking, p.reference, p.smoothing, p.heads) == ("semantic", "dataset", "adjacency", "shared")
    assert (t.epochs, t.batch_size, t.lr, t.min_lr) == (400, 128, 1e-3, 5e-4)
    for name in ("skeleton2vec", "masksem"):
        assert load_recipe(f"{name}-{data}")["linear"]["batch_size"] == 256


def parse(words):
    """As `kinemask pretrain` does."""
    content, parser = parsers.pretrain(words)
    return Settings.of(content, parser.parse(parser.read(words)))


def required(*more):
    return ["--recipe", RECIPE, "--data", "d", "--split", "s", *more]


RECIPE = next(name for name in recipes() if name.startswith("mamp"))


def test_settings_by_their_dotted_names():
    settings = parse(required("--training.lr", "0.5", "--sampling.crop", "[0.2,0.9]", "--pretext.tau=2", "--seed", "7"))
    assert (settings.training.lr, settings.sampling.crop, settings.pretext.tau) == (0.5, (0.2, 0.9), 2)
    assert settings.seed == 7
    overrides = {
        "data": "d",
        "split": "s",
        "training.lr": 0.5,
        "sampling.crop": [0.2, 0.9],
        "pretext.tau": 2,
        "seed": 7,
    }
    assert Settings.from_recipe(RECIPE, overrides) == settings
    for words in (["[0.1,0.2,0.3]"], ["0.1", "0.2", "0.3"]):
        assert parse(required("--sampling.rotation", *words)).sampling.rotation == (0.1, 0.2, 0.3)
    assert parse(required("--sampling.min-crop-frames=9", "--training.no-compile")).sampling.min_crop_frames == 9
    assert parse(required("--data", "a", "b")).data == ["a", "b"]


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["--pretext.nonsense", "1"], r"pretext\.nonsense"),
        (["--nonsense", "1"], "unknown option --nonsense"),
        (["--training.epoch", "1"], r"mean --training\.epochs\?"),  # nor is a shortened name a setting's name
        (["--lr", "1"], r"did you mean --training\.lr\?"),
        (["--training.lr", "quick"], r"training\.lr"),
        (["--pretext.masking", "semantic"], "masking"),
        (["--training.epochs", "1.5"], "epochs"),
        (["--sampling.crop", "[0.5,0.7,0.9]"], "crop"),
        (["--pretext.mask_ratio", "1.5"], "mask_ratio"),
        (["--training.batch_size", "0"], "batch_size"),
        (["--recipe", "nonsense"], f"nonsense.*{RECIPE}"),
        (["--recipe", "mamp-ntu61"], r"did you mean mamp-ntu60\?"),
        (["--recipe", "../../etc/passwd"], "unknown recipe"),
        (["--recipe", "/nowhere/x.yaml"], "does not exist"),
    ],
)
def test_wrong_settings_are_errors(arguments, match):
    with pytest.raises(ValueError, match=match):
        parse(required(*arguments))


def test_missing_settings_are_errors():
    with pytest.raises(ValueError, match="data"):
        parse(["--recipe", RECIPE, "--split", "s"])
    with pytest.raises(ValueError, match="nonsense"):
        Settings.from_recipe(RECIPE, {"data": "d", "split": "s", "training.nonsense": 1})


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("method: mamp\npretext: {nonsense: 1}", "nonsense"),
        ("method: mamp\nnonsense: 1", "nonsense"),
        ("method: nonsense", "mamp"),
        ("method: [", "YAML"),
        ("just words", "mapping"),
        ("method: mamp\ntraining: {epochs: many}", "epochs"),
        ("method: mamp\ntraining: 3", "training"),
        ("method: mamp\nlinear: {epoch: 3}", "linear.*did you mean epochs"),
        ("method: mamp\nfinetune: {sampling: {share: 0.1}}", "finetune.*did you mean shear"),
        ("method: mamp\n1: 2\nb: 3", "1 is not the name of a setting"),
        ("method: mamp\ntraining: {no: 3, epochs: 2}", "False is not the name of a setting"),
        ("method: !!python/object/apply:os.getcwd []", "YAML"),
    ],
)
def test_bad_recipe_files_are_told(text, match, tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=match):
        parse(["--recipe", str(path), "--data", "d", "--split", "s"])


def test_a_recipe_of_ones_own(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(
        "method: hacm\nencoder: {space: poincare, width: 32}\ntraining: {lr: 1.0e-2, betas: [0.8, 0.9]}\nseed: 5"
    )
    settings = parse(["--recipe", str(path), "--data", "d", "--split", "s", "--encoder.heads", "4"])
    assert (settings.method, settings.encoder.width, settings.encoder.heads, settings.seed) == ("hacm", 32, 4, 5)
    assert settings.training.betas == (0.8, 0.9)
    assert "learning rate (default: 0.01)" in recipe_parser(str(path))[1].format_help()


def test_settings_read_back_are_the_same_values(tiny):
    settings = make_settings(tiny, "hacm", sampling_rotation=(0.0, 0.3, 0.0))
    assert Settings.from_dict(settings.to_dict()) == settings


# encoders on disk


@pytest.mark.parametrize("name", NAMES)
def test_an_encoder_file_gives_the_same_encoder(name, whole, tiny):
    model = load_encoder(whole[name])
    assert not model.training
    assert model.layout == tiny.layout
    assert model.sampling.frames == 24
    x = torch.randn(3, 24, 15, 3)
    with threaded(tiny, whole[name], name=name) as loop, torch.no_grad():  # resumed: the trained weights
        encoders = loop.task.encoders()
        torch.testing.assert_close(encoders["encoder"].eval()(x), model.encoder(x))
        torch.testing.assert_close(model.features(x), encoders["encoder"](x).mean((1, 2)))
        for file, encoder in encoders.items():
            assert same(load_file(whole[name] / f"{file}.safetensors"), encoder.state_dict())
    assert load_encoder(whole[name] / "encoder.safetensors").record == model.record
    fresh = build_encoder(model.record)
    assert fresh.state_dict().keys() == model.state_dict().keys()
    assert not same(fresh.state_dict(), model.state_dict())


def rewrite(path, change):
    """The encoder file with changed metadata: change(about) -> about or text."""
    from safetensors import safe_open

    with safe_open(path, "pt") as f:
        about = json.loads(f.metadata()["kinemask"])
    about = change(about) or about
    text = about if isinstance(about, str) else json.dumps(about)
    save_file(load_file(path), path, metadata={"kinemask": text})


@pytest.mark.parametrize("lie", LIES)
def test_a_file_that_is_no_encoder_is_told(lie, whole, tmp_path):
    path = tmp_path / "encoder.safetensors"
    path.write_bytes((whole["mamp"] / "encoder.safetensors").read_bytes())
    load_encoder(path)
    LIES[lie](path)
    with pytest.raises(ValueError, match=r"encoder\.safetensors"):
        load_encoder(path)
    assert not (tmp_path / "trace").exists()


def test_an_absent_encoder_is_told(tmp_path):
    with pytest.raises(ValueError, match="no encoder at"):
        load_encoder(tmp_path)
    with pytest.raises(ValueError, match="no encoder at"):
        load_encoder(tmp_path / "encoder.safetensors")
    with pytest.raises(ValueError, match="not a run"):
        checkpoint.read_config(tmp_path)

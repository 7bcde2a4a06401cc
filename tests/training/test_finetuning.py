"""The job of fine-tuning: epochs of clips, label smoothing, and what it shares with pre-training's loop."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from helpers import make_settings
from kinemask.training.distributed import World
from kinemask.training.loop import Loop, run_job
from kinemask.training.pretraining import pretrain
from kinemask.training.settings import FinetuneSettings
from tuning import make_job, same_weights

ALONE = World.alone("cpu")


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory) -> Path:
    return pretrain(make_settings(tiny, training_epochs=1), tmp_path_factory.mktemp("job") / "run", quiet=True)


@pytest.fixture(scope="module")
def plain(run, tiny, tmp_path_factory) -> Path:
    """A job done with the usual settings."""
    folder = tmp_path_factory.mktemp("job") / "plain"
    run_job(make_job(run, tiny, drop_path=0.0), folder, ALONE, quiet=True)
    return folder


@pytest.mark.parametrize(("clips", "steps"), [(2, 1), (3, 1), (8, 1), (9, 2), (17, 3), (20, 3)])
def test_an_epoch_has_every_clip_once_and_no_step_of_one(clips, steps, run, tiny):
    job = make_job(run, tiny, clips)
    assert job.steps_per_epoch == steps
    for epoch in range(2):
        every = [job.clips(epoch * steps + i) for i in range(steps)]
        assert sorted(torch.cat(every).tolist()) == list(range(clips))
        assert all(2 <= len(one) <= 9 for one in every)
    assert set(job.names(0)) == {tiny.names[job.train.clips[i]] for i in job.clips(0)}
    batch = job.sample(0, 0, 1)
    assert batch.labels.tolist() == job.train.labels[job.clips(0)].tolist()
    assert len(batch.x) == len(batch.clip_index) == int((torch.isin(job.train.tracks.clip, job.clips(0))).sum())
    assert job.task(batch)["loss"].isfinite()


def test_parts_of_a_batch_are_the_batch(run, tiny):
    job = make_job(run, tiny)
    whole, halves = job.sample(1, 0, 1), [job.sample(1, part, 2) for part in range(2)]
    assert torch.equal(torch.cat([h.labels for h in halves]), whole.labels)
    torch.testing.assert_close(torch.cat([h.x for h in halves]), whole.x)


def test_accumulated_parts_are_the_whole_batch(run, tiny, tmp_path):
    """Without batch normalisation and dropout, which see the parts."""
    gradients = []
    for parts in (1, 2):
        job = make_job(run, tiny, 16, accumulate=parts, drop_path=0.0)
        keep = lambda optimizer, *_, of=job.task: gradients.append([p.grad.clone() for p in of.parameters()])
        job.optimizer.register_step_pre_hook(keep)
        Loop(job, tmp_path / str(parts), ALONE, quiet=True).advance(job.task.eval())
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(two, one, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(("clips", "accumulate", "fewest"), [(1, 1, 2), (3, 2, 4)])
def test_too_few_clips_are_told(clips, accumulate, fewest, run, tiny):
    with pytest.raises(ValueError, match=rf"at least {fewest} labelled training clips.*there are {clips}"):
        make_job(run, tiny, clips, accumulate=accumulate)


def test_labels_are_smoothed(run, tiny):
    job = make_job(run, tiny, label_smoothing=0.3, drop_path=0.0)
    batch, model = job.sample(0, 0, 1), job.task.eval()
    logits = model.classifier(batch.x, batch.clip_index, len(batch.labels))
    target = 0.7 * F.one_hot(batch.labels, 3).float() + 0.1
    torch.testing.assert_close(model(batch)["loss"], -(target * logits.log_softmax(1)).sum(1).mean())


def test_the_loop_scales_the_groups(run, tiny, tmp_path):
    job = make_job(run, tiny)
    Loop(job, tmp_path, ALONE, quiet=True).advance(job.task)
    for group in job.optimizer.param_groups:
        assert group["lr"] == pytest.approx(job.learning_rate(0) * group["scale"])
    assert {g["scale"] for g in job.optimizer.param_groups} == {1.0, 0.8, 0.8**2}  # head, one block, embedding


@pytest.mark.parametrize("change", [{"precision": "bf16"}, {"clip_grad": 0.01}, {"accumulate": 2}], ids=str)
def test_what_every_training_has_changes_fine_tuning_too(change, run, tiny, plain, tmp_path):
    run_job(make_job(run, tiny, drop_path=0.0, **change), tmp_path, ALONE, quiet=True)
    assert not same_weights(tmp_path, plain)


def test_compile_is_heeded(run, tiny, tmp_path, monkeypatch):
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled.append(self))
    for asked in (False, True):
        job = make_job(run, tiny, epochs=1, compile=asked)
        run_job(job, tmp_path / str(asked), ALONE, quiet=True)
        assert compiled == ([job.task] if asked else [])


@pytest.mark.slow
def test_what_is_trained_can_be_compiled(run, tiny, plain, tmp_path, monkeypatch):
    """Traced, and run as it stands: code generation needs a C++ compiler."""
    compiled, of_torch = [], nn.Module.compile
    traced = lambda self: compiled.append(self) or of_torch(self, backend="eager")
    monkeypatch.setattr(nn.Module, "compile", traced)
    job = make_job(run, tiny, drop_path=0.0, compile=True)
    run_job(job, tmp_path, ALONE, quiet=True)
    torch.compiler.reset()
    assert compiled == [job.task]
    assert same_weights(tmp_path, plain)


@pytest.mark.parametrize(
    "change", [{"momentum": 0.5}, {"optimizer": "sgd", "betas": (0.5, 0.9)}, {"milestones": (3,)}], ids=str
)
def test_settings_without_effect_are_told(change):
    with pytest.warns(UserWarning, match="no effect"):
        FinetuneSettings(**change)

"""The loop: what a run leaves, epochs, the log, accumulation, and settings that change or refuse."""

from __future__ import annotations

import math
import os

import pytest
import torch
from safetensors.torch import load_file

from helpers import make_settings, same, state, weights
from kinemask.models.encoders import load_encoder
from kinemask.pretext import NAMES
from kinemask.runs.log import read_metrics
from kinemask.runs.run import Run
from kinemask.training import optim
from kinemask.training.distributed import choose_device
from kinemask.training.pretraining import pretrain
from kinemask.training.settings import Settings
from loops import alike, loop_of


@pytest.mark.parametrize("name", NAMES)
def test_a_run_leaves_what_it_promises(name, whole, tiny):
    run, settings = whole[name], make_settings(tiny, name)
    assert {"config.yaml", "metrics.jsonl", "last.pt", "previous.pt", "encoder.safetensors"} <= set(os.listdir(run))
    assert not [f for f in os.listdir(run) if "partial" in f]
    assert Settings.from_dict(Run(run).config).to_dict() == settings.to_dict()
    lines = read_metrics(run)
    assert [line["step"] for line in lines] == list(range(2, lines[-1]["step"] + 1, 2))
    assert state(run)["step"] == lines[-1]["step"]
    assert {"loss", "lr", "epoch"} <= set(lines[0])
    assert ("reconstruction" in lines[0]) == (name != "graphcl")
    assert ("contrast" in lines[0]) == (name == "hacm")
    assert lines[-1]["loss"] < lines[0]["loss"]
    record = load_encoder(run).record
    assert record["method"] == name
    assert record["settings"] == settings.to_dict()
    assert record["sources"] == [{"dataset": "tiny", "sha256": tiny.identity}]
    assert (record["split"], record["epochs"], record["pretraining"]) == ("xsub", 4, None)


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_decides_the_weights(name, whole, tiny, tmp_path):
    again = pretrain(make_settings(tiny, name), tmp_path / "again", quiet=True)
    assert same(weights(again), weights(whole[name]))
    other = pretrain(make_settings(tiny, name, seed=4, training_epochs=1), tmp_path / "other", quiet=True)
    assert not same(weights(other), weights(whole[name]))


def test_epochs_go_through_all_tracks_once(tiny, tmp_path):
    loop = loop_of(tiny, tmp_path)
    steps = loop.job.steps_per_epoch
    per_epoch = [[loop.job.batch(e * steps + i)[1] for i in range(steps)] for e in range(2)]
    assert steps == len(loop.job.sets[0]) // 12
    for epoch in per_epoch:
        seen = torch.cat(epoch).tolist()
        assert len(set(seen)) == len(seen) == steps * 12
    assert torch.cat(per_epoch[0]).tolist() != torch.cat(per_epoch[1]).tolist()
    loop = loop_of(tiny, tmp_path / "large", training_batch_size=100)  # fewer tracks than a batch
    assert loop.job.steps_per_epoch == 1
    count = torch.bincount(loop.job.batch(0)[1], minlength=len(loop.job.sets[0]))
    assert count.sum() == 100
    assert count.max() - count.min() <= 1


def test_only_the_training_part_is_used(tiny, tmp_path):
    loop = loop_of(tiny, tmp_path / "a")
    assert loop.job.sets[0].clips.tolist() == tiny.split("xsub")[0].tolist()
    loop = loop_of(tiny, tmp_path / "b", split="all")
    assert len(loop.job.sets[0].clips) == len(tiny)
    with pytest.raises(ValueError, match=r"nonsense.*xsub"):
        pretrain(make_settings(tiny, split="nonsense"), tmp_path / "c", quiet=True)
    assert not (tmp_path / "c").exists()


def test_snapshots(tiny, tmp_path):
    run = pretrain(make_settings(tiny, training_snapshot_every=2), tmp_path / "run", quiet=True)
    names = sorted(p.name for p in run.glob("encoder*"))
    assert names == ["encoder-epoch0002.safetensors", "encoder-epoch0004.safetensors", "encoder.safetensors"]
    last, end = (load_file(run / n) for n in names[1:])
    assert same(last, end)
    assert not same(load_file(run / names[0]), end)


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
        loop = loop_of(tiny, tmp_path / str(parts), name=name, training_accumulate=parts)
        keep = lambda optimizer, *_, of=loop.task: gradients.append([p.grad.clone() for p in of.parameters()])
        loop.optimizer.register_step_pre_hook(keep)
        loop.advance(loop.task)
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
        loop_of(tiny, tmp_path, training_warmup_epochs=20)


def test_an_unknown_device_is_told():
    with pytest.raises(ValueError, match="'cuda:0'; known: auto, cpu, cuda"):
        choose_device("cuda:0")


@pytest.mark.parametrize("name", NAMES)
def test_an_encoder_file_gives_the_same_encoder(name, whole, tiny):
    model = load_encoder(whole[name])
    assert not model.training
    assert model.layout == tiny.layout
    assert model.sampling.frames == 24
    x = torch.randn(3, 24, 15, 3)
    encoders = loop_of(tiny, whole[name], name=name).task.encoders()  # resumed: the trained weights
    with torch.no_grad():
        torch.testing.assert_close(encoders["encoder"].eval()(x), model.encoder(x))
        for file, encoder in encoders.items():
            assert same(load_file(whole[name] / f"{file}.safetensors"), encoder.state_dict())
    assert load_encoder(whole[name] / "encoder.safetensors").record == model.record


def test_an_encoder_is_as_readable_as_other_files(whole):
    modes = {(whole["mamp"] / name).stat().st_mode for name in ("config.yaml", "last.pt", "encoder.safetensors")}
    assert len(modes) == 1

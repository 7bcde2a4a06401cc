"""Fine-tuning: classifiers, drop path, layer-wise rates, transfer, from scratch, few labels, files, going on."""

from __future__ import annotations

import json
import math
import os
import shlex
import signal
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from kinemask.protocols.protocols import PROTOCOLS
from safetensors.torch import load_file, save_file

from helpers import LIES, make_settings, metadata, same, state
from kinemask import cli, evaluate, load_classifier, load_encoder
from kinemask.errors import Stopped
from kinemask.models.classifiers import TrainedClassifier, build_classifier
from kinemask.nn.heads import MLPClassifier
from kinemask.nn.settings import EncoderSettings, HeadSettings
from kinemask.nn.transformer import Block, TransformerEncoder
from kinemask.pretext import NAMES, method
from kinemask.protocols.features import Part, parts
from kinemask.protocols.finetune import FinetuneSettings
from kinemask.protocols.semi import SemiSettings
from kinemask.protocols.settings import parse_protocol, protocol_parser, read_protocol, settings_of
from kinemask.reports import report
from kinemask.reports.reproduce import commands, evaluate_command
from kinemask.reports.runs import Evaluation, read_runs
from kinemask.runs.log import read_metrics
from kinemask.skeleton import layout
from kinemask.store.format import Clip
from kinemask.store.writer import write_store
from kinemask.training import optim
from kinemask.training.distributed import World
from kinemask.training.finetuning import Finetuning
from kinemask.training.loop import Loop
from kinemask.training.pretraining import pretrain

QUICK = {"epochs": 3, "warmup_epochs": 1, "batch_size": 16, "device": "cpu", "head.hidden": 16}
OF = layout("sbu15")


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    """Float32 everywhere, so that machines agree."""
    for place in ("training.loop", "protocols.finetune", "protocols.features"):
        monkeypatch.setattr(f"kinemask.{place}.bf16_pays", lambda device: False)


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory) -> Path:
    return pretrain(make_settings(tiny, encoder_layers=2), tmp_path_factory.mktemp("finetune") / "run", quiet=True)


def small_encoder(of=OF, frames=12, **changes) -> TransformerEncoder:
    torch.manual_seed(0)
    settings = EncoderSettings(**{"layers": 3, "width": 16, "heads": 2, "segment_frames": 3} | changes)
    return TransformerEncoder(of, frames, settings)


# the network


def test_the_classifier_is_the_papers_head_on_joints_side_by_side():
    encoder = small_encoder()
    model = MLPClassifier(encoder, 4, HeadSettings(hidden=8, dropout=0.3)).eval()
    assert [type(m).__name__ for m in model.head] == ["Dropout", "Linear", "BatchNorm1d", "ReLU", "Linear"]
    x, clip_index = torch.randn(3, 12, 15, 3), torch.tensor([1, 0, 1])
    tokens = encoder(x)  # (B, P, V, D)
    clips = torch.stack([tokens[1].mean(0).flatten(), tokens[[0, 2]].mean((0, 1)).flatten()])
    torch.testing.assert_close(model(x, clip_index, 2), model.head(clips))
    assert HeadSettings() == HeadSettings(kind="mlp", hidden=2048, dropout=0.3, layers=3)


def test_drop_path_skips_rows_and_makes_up_for_it():
    torch.manual_seed(0)
    block = Block(8, 2, 2.0).train()
    x = torch.randn(64, 5, 8)
    whole = block(x)
    block.drop_path = 0.4
    torch.manual_seed(1)
    kept = (torch.rand(64) >= 0.4).float()[:, None, None], (torch.rand(64) >= 0.4).float()[:, None, None]
    half = x + kept[0] / 0.6 * block.attention(block.norm1(x))
    expected = half + kept[1] / 0.6 * block.mlp(block.norm2(half))
    torch.manual_seed(1)
    torch.testing.assert_close(block(x), expected)
    torch.testing.assert_close(block.eval()(x), whole)
    block.train().drop_path = math.nextafter(1, 0)  # nothing is left
    assert torch.equal(block(x), x)


@pytest.mark.parametrize(("layers", "expected"), [(1, [0.3]), (3, [0, 0.15, 0.3])])
def test_drop_path_rises_linearly(layers, expected):
    encoder = small_encoder(layers=layers)
    encoder.set_drop_path(0.3)
    assert [block.drop_path for block in encoder.trunk.blocks] == pytest.approx(expected)


@pytest.mark.parametrize("name", NAMES)
def test_every_methods_classifier_trains_and_is_told_apart_by_depth(name, tiny):
    """Absent bodies do not exist, a clip's bodies are one clip, and every parameter learns."""
    chosen, settings = method(name), make_settings(tiny, name)
    encoder = chosen.build_encoder(tiny.layout, 24, settings.encoder)
    model = build_classifier(encoder, 3, HeadSettings(**chosen.finetune.get("head", {}) | {"hidden": 8}))
    x, clip_index = torch.randn(6, 24, 15, 3), torch.tensor([0, 0, 1, 2, 3, 3])
    out = model(x, clip_index, 4)
    assert out.shape == (4, 3)
    F.cross_entropy(out, torch.tensor([0, 1, 2, 0])).backward()
    lost = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not lost
    model.eval()
    alone = model(x[2:3], torch.zeros(1, dtype=torch.long), 1)
    torch.testing.assert_close(model(x, clip_index, 4)[1:2], alone, atol=1e-5, rtol=1e-4)
    grouped = [id(p) for group in model.depth_groups() for p in group]
    assert len(set(grouped)) == len(grouped)
    assert {id(p) for p in encoder.parameters()} <= set(grouped) <= {id(p) for p in model.parameters()}


# learning rates


def test_layer_decay():
    encoder = small_encoder()
    model = MLPClassifier(encoder, 4, HeadSettings(hidden=8))
    names = {id(p): n for n, p in model.named_parameters()}
    groups = optim.layer_groups(model, model.depth_groups(), 0.05, 0.5)
    scale = {names[id(p)]: g["scale"] for g in groups for p in g["params"]}
    decay = {names[id(p)]: g["weight_decay"] for g in groups for p in g["params"]}
    assert scale.keys() == dict(model.named_parameters()).keys()
    assert {scale[n] for n in scale if n.startswith("head")} == {1.0}
    for i, expected in enumerate((0.125, 0.25, 0.5)):
        assert {scale[n] for n in scale if f"blocks.{i}." in n} == {expected}
    assert scale["encoder.trunk.norm.weight"] == 0.5
    assert scale["encoder.embedding.tokenizer.weight"] == scale["encoder.embedding.spatial_position"] == 0.0625
    assert decay["encoder.embedding.tokenizer.weight"] == decay["head.1.weight"] == 0.05
    assert decay["head.1.bias"] == decay["head.2.weight"] == decay["encoder.embedding.temporal_position"] == 0
    assert len(optim.layer_groups(model, model.depth_groups(), 0.05, 1.0)) == len(groups)


def test_the_loop_scales_the_groups(run, tiny, tmp_path):
    job = make_job(run, tiny)
    Loop(job, tmp_path, World(0, 1, torch.device("cpu")), quiet=True).advance(job.task)
    for group in job.optimizer.param_groups:
        assert group["lr"] == pytest.approx(job.learning_rate(0) * group["scale"])
    assert len({g["scale"] for g in job.optimizer.param_groups}) == 4


def test_steps_of_the_learning_rate():
    s = FinetuneSettings(epochs=110, warmup_epochs=5, lr=0.1, schedule="steps", milestones=(90, 100), optimizer="sgd")
    rate = [optim.stepped_rate(step, 10, s, s.milestones) for step in range(1100)]
    assert rate[0] == 0
    assert rate[25] == pytest.approx(0.05)
    assert set(rate[50:900]) == {0.1}
    assert rate[900:1000] == pytest.approx([0.01] * 100)
    assert rate[1000:] == pytest.approx([0.001] * 100)


def test_the_defaults_are_the_papers():
    s = FinetuneSettings()
    assert (s.optimizer, s.weight_decay, s.lr, s.warmup_epochs, s.min_lr) == ("adamw", 0.05, 3e-4, 5, 1e-5)
    assert (s.epochs, s.batch_size, s.layer_decay, s.drop_path, s.label_smoothing) == (100, 48, 0.8, 0.3, 0.1)
    assert PROTOCOLS["semi"].seeds == (0, 1, 2, 3, 4)
    of = lambda name, scratch: PROTOCOLS["finetune"].settings_of(method(name), scratch)()
    assert asdict(of("mamp", False)) == asdict(s)
    assert asdict(of("mamp", True)) == asdict(replace(s, layer_decay=1.0))
    ssl = of("skeletonmae", False)
    assert (ssl.optimizer, ssl.momentum, ssl.lr, ssl.schedule, ssl.milestones) == ("sgd", 0.9, 0.1, "steps", (90, 100))
    assert (ssl.epochs, ssl.warmup_epochs, ssl.batch_size, ssl.label_smoothing) == (110, 5, 128, 0.1)
    assert (ssl.layer_decay, ssl.drop_path) == (1.0, 0.0)
    assert ssl.head == HeadSettings(kind="strl", hidden=256, dropout=0.0, layers=3)


# the job


def make_job(run, store, clips=None, **changes) -> Finetuning:
    train, test = parts(store, "xsub", "cpu", "fill")
    if clips is not None:
        train = Part.of(store, train.clips[:clips], "training", "cpu", "fill")
    model = load_encoder(run)
    settings = FinetuneSettings(**{"epochs": 2, "warmup_epochs": 0, "batch_size": 8} | changes)
    classifier = MLPClassifier(model.encoder, len(store.classes), HeadSettings(hidden=8))
    trained = TrainedClassifier(classifier, model.sampling, store.classes, dict(model.record))
    config = {"seed": 0, "split": "xsub", "data": str(store.path), "method": "mamp"}
    return Finetuning(trained, model.encoder, store, train, test, settings, config, World(0, 1, torch.device("cpu")))


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


def test_a_single_clip_is_told(run, tiny):
    with pytest.raises(ValueError, match=r"at least 2 labelled training clips.*there are 1"):
        make_job(run, tiny, 1)


def test_labels_are_smoothed(run, tiny):
    job = make_job(run, tiny, label_smoothing=0.3, drop_path=0.0)
    batch, model = job.sample(0, 0, 1), job.task.eval()
    logits = model.classifier(batch.x, batch.clip_index, len(batch.labels))
    target = 0.7 * F.one_hot(batch.labels, 3).float() + 0.1
    torch.testing.assert_close(model(batch)["loss"], -(target * logits.log_softmax(1)).sum(1).mean())


# a fine-tune


def test_finetune_leaves_what_it_promises(run, tiny, tmp_path):
    (result,) = evaluate("finetune", run, tiny.path, "xsub", out=tmp_path / "out", **QUICK)
    out = tmp_path / "out"
    files = {"config.yaml", "metrics.jsonl", "last.pt", "encoder.safetensors", "classifier.safetensors"}
    assert files <= set(os.listdir(out))
    assert Path(result["path"]).parent == run / "evaluations"
    kept = json.loads(Path(result["path"]).read_text())
    assert kept["weights"] == str(out)
    assert kept["training_clips"] == len(parts(tiny, "xsub", "cpu", "fill")[0].clips)
    assert kept["seconds"] > 0
    assert {"from_scratch", "from_scratch_unseen", "raw_coordinates_knn"} <= set(kept["controls"])
    lines = read_metrics(out)
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    found = [line["test_accuracy"] for line in lines]
    assert kept["accuracy"] == pytest.approx(100 * found[-1])
    assert kept["accuracy_best_epoch"] == pytest.approx(100 * max(found))
    assert {"loss", "training_accuracy", "lr", "clips_per_second"} <= set(lines[0])
    assert load_encoder(out).record["pretraining"]["data"]["dataset"] == "tiny"
    assert not same(load_file(out / "encoder.safetensors"), load_file(run / "encoder.safetensors"))
    assert evaluate("knn", out, tiny.path, "xsub", device="cpu", controls=False)[0]["test_clips"] == kept["test_clips"]


def test_the_augmentation_may_be_that_of_the_data(run, tiny, tmp_path):
    given = {"controls": False, **QUICK}
    (usual,) = evaluate("finetune", run, tiny.path, "xsub", out=tmp_path / "a", **given)
    other = {"rotation": (0.0, 1.0, 0.0), "crop": (0.9, 1.0), "min_crop_frames": 9}
    (result,) = evaluate("finetune", run, tiny.path, "xsub", out=tmp_path / "b", **other, **given)
    assert result["augmentation"] == other
    assert "augmentation" not in usual
    assert result["hash"] != usual["hash"]
    a, b = (load_encoder(tmp_path / name) for name in "ab")
    assert (b.sampling.rotation, b.sampling.crop, b.sampling.min_crop_frames) == tuple(other.values())
    assert not same(a.encoder.state_dict(), b.encoder.state_dict())
    kept = json.loads(Path(result["path"]).read_text())
    command = shlex.split(evaluate_command(Evaluation([kept], False), str(run), str(tiny.path)))
    read = read_protocol("finetune", PROTOCOLS["finetune"], command[3:])
    assert {name: read[name] for name in other} == other
    with pytest.raises(ValueError, match="rotation: linear trains no encoder"):
        evaluate("linear", run, tiny.path, "xsub", rotation=1.0)
    for name, value in (("crop", [0.9]), ("rotation", [1.0, 2.0])):
        with pytest.raises(ValueError, match=f"sampling.{name} must be"):
            evaluate("finetune", run, tiny.path, "xsub", **{name: value}, **given)


def test_the_classifier_file_gives_the_same_scores(run, tiny, tmp_path):
    (result,) = evaluate("finetune", run, tiny.path, "xsub", out=tmp_path / "out", controls=False, **QUICK)
    scores = np.load(Path(result["path"]).with_name(Path(result["path"]).stem + "-scores.npz"))
    model = load_classifier(tmp_path / "out")
    assert model.classes == tiny.classes
    clips = [tiny.clip(tiny.names.index(name)) for name in scores["names"]]
    found = model.predict(clips)
    torch.testing.assert_close(found, torch.from_numpy(scores["scores"]), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.sum(1), torch.ones(len(clips)))
    assert same(model.classifier.encoder.state_dict(), load_encoder(tmp_path / "out").encoder.state_dict())


@pytest.mark.parametrize("lie", LIES)
def test_a_file_that_is_no_classifier_is_told(lie, finished, tmp_path):
    path = tmp_path / "classifier.safetensors"
    path.write_bytes((finished / "classifier.safetensors").read_bytes())
    load_classifier(path)
    if lie == "a weight missing":
        weights = load_file(path)
        weights.pop("head.1.bias")
        save_file(weights, path, metadata=metadata(path))
    else:
        LIES[lie](path)
    with pytest.raises(ValueError, match=r"classifier\.safetensors"):
        load_classifier(path)
    assert not (tmp_path / "trace").exists()


@pytest.fixture(scope="module")
def finished(run, tiny, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "out"
    evaluate("finetune", run, tiny.path, "xsub", out=out, controls=False, **QUICK)
    return out


def test_a_pretraining_has_no_classifier(run):
    with pytest.raises(ValueError, match="no classifier at"):
        load_classifier(run)


def test_from_scratch_is_the_control_of_a_fine_tune(run, tiny, tmp_path):
    """The control of a run is what the same recipe gives without any run."""
    recipe = tmp_path / "own.yaml"
    config = make_settings(tiny, encoder_layers=2).to_dict()
    sections = ("method", "sampling", "encoder", "decoder", "pretext", "training")
    recipe.write_text(json.dumps({k: config[k] for k in sections}))
    (tuned,) = evaluate("finetune", run, tiny.path, "xsub", **QUICK)
    given = {"recipe": str(recipe), "out": tmp_path / "out"}
    (alone,) = evaluate("finetune", None, tiny.path, "xsub", **given, **QUICK)
    assert alone["accuracy"] == tuned["controls"]["from_scratch"]
    assert set(alone["controls"]) == {"raw_coordinates_knn", "raw_coordinates_knn_unseen"}
    assert Path(alone["path"]).parent == tmp_path / "out" / "evaluations"
    assert (alone["encoder_sha256"], alone["settings"]["layer_decay"]) == (None, 1.0)
    assert "from-scratch" not in os.listdir(tmp_path / "out")
    (control,) = (
        f for f in (run / "finetune").iterdir() if f != Path(tuned["weights"]) and same_weights(f, tmp_path / "out")
    )
    assert not list(control.glob("*.pt"))  # nothing is gone on with
    assert load_encoder(tmp_path / "out").record["pretraining"] is None


def test_several_seeds_have_folders_of_their_own(run, tiny, tmp_path):
    results = evaluate("finetune", run, tiny.path, "xsub", seed=[0, 1], out=tmp_path, controls=False, **QUICK)
    assert sorted(os.listdir(tmp_path)) == ["seed0", "seed1"]
    assert len({r["hash"] for r in results}) == 2
    assert not same_weights(tmp_path / "seed0", tmp_path / "seed1")


def same_weights(*folders: Path) -> bool:
    return same(*(load_file(folder / "classifier.safetensors") for folder in folders))


def count_steps(monkeypatch, stop_at: int | None = None) -> list[int]:
    """The steps that are taken from now on; the one of that number is followed by Ctrl-C."""
    advance, steps = Loop.advance, []

    def counted(self, module):
        steps.append(self.step)
        out = advance(self, module)
        if len(steps) == stop_at:
            os.kill(os.getpid(), signal.SIGINT)
        return out

    monkeypatch.setattr(Loop, "advance", counted)
    return steps


@pytest.fixture
def own(run, tmp_path) -> Path:
    """The run without what other tests did to it."""
    (tmp_path / "own").mkdir()
    for name in ("encoder.safetensors", "config.yaml"):
        (tmp_path / "own" / name).write_bytes((run / name).read_bytes())
    return tmp_path / "own"


def test_the_same_command_finds_what_is_finished(own, tiny, tmp_path, monkeypatch):
    run = own
    ask = lambda **more: evaluate("finetune", run, tiny.path, "xsub", out=tmp_path / "out", **QUICK | more)[0]
    first = ask()
    steps = count_steps(monkeypatch)
    again = ask()
    assert not steps
    assert again == first | {"path": again["path"]}
    with pytest.raises(ValueError, match=r"finetune\.lr \(was 0.0003, now 0.1\)"):
        ask(lr=0.1)
    other = evaluate("finetune", run, tiny.path, "xsub", controls=False, **QUICK)[0]
    assert steps  # elsewhere it is trained
    assert other["accuracy"] == first["accuracy"]
    before = len(steps)
    for change in ({"lr": 1e-3}, {"seed": 1}, {"test_clips": 2}, {"head.dropout": 0.0}):
        evaluate("finetune", run, tiny.path, "xsub", controls=False, **QUICK | change)
        assert len(steps) > before, change
        before = len(steps)
    evaluate("finetune", run, tiny.path, "xsub", controls=False, **QUICK)
    assert len(steps) == before


def test_a_changed_encoder_is_trained_again(own, tiny, monkeypatch):
    evaluate("finetune", own, tiny.path, "xsub", controls=False, **QUICK)
    steps = count_steps(monkeypatch)
    evaluate("finetune", own, tiny.path, "xsub", controls=False, **QUICK)
    assert not steps
    file = own / "encoder.safetensors"
    weights, about = load_file(file), metadata(file)
    save_file(weights | {"trunk.norm.bias": weights["trunk.norm.bias"] + 1}, file, metadata=about)
    evaluate("finetune", own, tiny.path, "xsub", controls=False, **QUICK)
    assert steps


@pytest.mark.parametrize("name", ["mamp", "skeletonmae"])
def test_a_stopped_fine_tune_ends_with_the_same_weights(name, tiny, tmp_path, monkeypatch):
    """Dropout and drop path included."""
    run = pretrain(make_settings(tiny, name, training_epochs=1), tmp_path / "run", quiet=True)
    quick = {**QUICK, "head.dropout": 0.3, "drop_path": 0.3 if name == "mamp" else 0.0}
    ask = lambda out: evaluate("finetune", run, tiny.path, "xsub", out=tmp_path / out, **quick)[0]
    with monkeypatch.context() as patch:
        steps = count_steps(patch)
        whole = ask("whole")
    for stop_at in (4, 2):  # within an epoch; then the rest, from there
        with monkeypatch.context() as patch:
            count_steps(patch, stop_at)
            with pytest.raises(Stopped):
                ask("parts")
    with monkeypatch.context() as patch:
        rest = count_steps(patch)
        parted = ask("parts")
    assert rest[0] == 6
    assert len(rest) == len(steps) - 6
    assert same_weights(tmp_path / "whole", tmp_path / "parts")
    assert same(state(tmp_path / "whole"), state(tmp_path / "parts") | {"source": state(tmp_path / "whole")["source"]})
    keep = lambda r: {k: v for k, v in r.items() if k not in ("seconds", "weights", "path")}
    assert keep(whole) == keep(parted)
    lines = [read_metrics(tmp_path / folder) for folder in ("whole", "parts")]
    assert [[x | {"clips_per_second": 0} for x in log] for log in lines[:1]] == [
        [x | {"clips_per_second": 0} for x in log] for log in lines[1:]
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"batch_size": 8},
        {"optimizer": "sgd"},
        {"lr": 1e-3},
        {"min_lr": 2e-4},
        {"warmup_epochs": 0},
        {"schedule": "steps", "milestones": (2,)},
        {"weight_decay": 0.5},
        {"betas": (0.5, 0.9)},
        {"layer_decay": 0.5},
        {"drop_path": 0.0},
        {"label_smoothing": 0.0},
        {"head.dropout": 0.0},
        {"head.hidden": 8},
        {"epochs": 4},
    ],
    ids=str,
)
def test_every_option_changes_the_weights(change, run, tiny, finished, tmp_path):
    evaluate("finetune", run, tiny.path, "xsub", out=tmp_path, controls=False, **QUICK | change)
    assert not same_weights(tmp_path, finished)


@pytest.mark.parametrize(("every", "epochs"), [(0, [3]), (2, [2, 3]), (1, [1, 2, 3])])
def test_the_test_part_is_scored_so_often(every, epochs, run, tiny, tmp_path):
    (result,) = evaluate("finetune", run, tiny.path, "xsub", out=tmp_path, controls=False, test_every=every, **QUICK)
    assert [line["epoch"] for line in read_metrics(tmp_path) if "test_accuracy" in line] == epochs
    assert (result["accuracy_best_epoch"] is None) == (every == 0)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"epochs": 0}, "epochs"),
        ({"lr": math.nan}, "lr"),
        ({"min_lr": -1.0}, "min_lr"),
        ({"batch_size": 1}, "batch_size"),
        ({"drop_path": 1.0}, "drop_path"),
        ({"label_smoothing": -0.1}, "label_smoothing"),
        ({"layer_decay": 0.0}, "layer_decay"),
        ({"betas": (0.9, 1.0)}, "betas"),
        ({"optimizer": "lion"}, "optimizer"),
        ({"head.dropout": 1.0}, r"head\.dropout"),
        ({"head.layers": 0}, "layers"),
        ({"nonsense": 2}, "nonsense"),
        ({"test_every": -1}, "test_every"),
    ],
    ids=str,
)
def test_bad_settings_are_told(change, match, run, tiny):
    with pytest.raises(ValueError, match=match):
        evaluate("finetune", run, tiny.path, "xsub", **QUICK | change)


@pytest.mark.parametrize(
    "change", [{"momentum": 0.5}, {"optimizer": "sgd", "betas": (0.5, 0.9)}, {"milestones": (3,)}], ids=str
)
def test_settings_without_effect_are_told(change):
    with pytest.warns(UserWarning, match="no effect"):
        FinetuneSettings(**change)


def test_what_does_not_go_together_is_told(run, tiny, tmp_path):
    with pytest.raises(ValueError, match="either a run or a recipe"):
        evaluate("finetune", None, tiny.path, "xsub")
    with pytest.raises(ValueError, match="either a run or a recipe"):
        evaluate("finetune", run, tiny.path, "xsub", recipe="mamp-demo")
    with pytest.raises(ValueError, match="needs a run"):
        evaluate("knn", None, tiny.path, "xsub", recipe="mamp-demo")
    with pytest.raises(ValueError, match="a run is needed"):
        evaluate("knn", None, tiny.path, "xsub")
    with pytest.raises(ValueError, match="trains no encoder"):
        evaluate("knn", run, tiny.path, "xsub", out=tmp_path)
    with pytest.raises(ValueError, match="no file teacher"):
        evaluate("finetune", None, tiny.path, "xsub", recipe="mamp-demo", encoder="teacher")
    with pytest.raises(ValueError, match="unknown recipe"):
        evaluate("finetune", None, tiny.path, "xsub", recipe="mamp-moon")


def test_a_pretraining_is_not_trained_over(run, tiny):
    before = (run / "encoder.safetensors").read_bytes()
    with pytest.raises(ValueError, match=r"other settings: protocol \(was None, now 'finetune'\)"):
        evaluate("finetune", run, tiny.path, "xsub", out=run, **QUICK)
    assert (run / "encoder.safetensors").read_bytes() == before


@pytest.mark.parametrize("scratch", [False, True])
def test_a_report_shows_it_and_how_to_do_it_again(scratch, own, tiny, tmp_path):
    where = {"recipe": "mamp-demo", "out": tmp_path / "out"} if scratch else {}
    quick = QUICK | {"seed": [0] if scratch else [0, 1], "epochs": 1, "layer_decay": 0.7, "betas": (0.9, 0.99)}
    results = evaluate("finetune", None if scratch else own, tiny.path, "xsub", **quick, **where)
    folder = tmp_path / "out" if scratch else own
    page = report([folder]).read_text()
    assert ("same from scratch gets" in page) != scratch
    (run,) = read_runs([folder])
    lines, recipe = commands(run)
    words = shlex.split(lines[-1])
    assert words[:3] == ["kinemask", "evaluate", "finetune"]
    words = [str(folder) if word == folder.name else word for word in words[3:]]
    if scratch:
        (tmp_path / "recipe.yaml").write_text(recipe)
        words = [str(tmp_path / word) if word == "recipe.yaml" else word for word in words]
    given = read_protocol("finetune", PROTOCOLS["finetune"], words)
    kind = settings_of(PROTOCOLS["finetune"], given["run"], given["recipe"], "encoder")
    own_settings = {k: v for k, v in given.items() if k in kind.__dataclass_fields__}
    assert json.loads(json.dumps(asdict(parse_protocol(kind, own_settings)))) == run.evaluations[0].about["settings"]
    assert len(results) == len(run.evaluations[0].results)


# another skeleton


def test_joints_are_matched_by_name():
    before = small_encoder(layout("ntu25"))
    after, matched = before.transfer(layout("kinect20"), 12)
    here, there = before.layout.joints, after.layout.joints
    assert matched == [name for name in there if name in here]
    assert len(matched) == 17
    fresh = small_encoder(layout("kinect20"))
    for i, name in enumerate(there):
        own = after.embedding.spatial_position[0, i]
        if name in matched:
            assert torch.equal(own, before.embedding.spatial_position[0, here.index(name)])
        else:
            assert not (before.embedding.spatial_position[0] == own).all(1).any()
            assert own.abs().max() < 0.1
    for name, value in before.state_dict().items():
        if name != "embedding.spatial_position":
            assert torch.equal(value, after.state_dict()[name]), name
    assert fresh.state_dict().keys() == after.state_dict().keys()
    same_again, everything = before.transfer(layout("ntu25"), 12)
    assert everything == list(here)
    assert same(same_again.state_dict(), before.state_dict())


def test_pruned_joints_are_matched_too():
    before = small_encoder(layout("ntu25"), joints="pruned")
    after, matched = before.transfer(layout("kinect20"), 12)
    kept = lambda e: [e.layout.joints[j] for j in e.joints]
    assert matched == [name for name in kept(after) if name in kept(before)]
    for name in matched:
        a, b = (e.embedding.spatial_position[0, kept(e).index(name)] for e in (after, before))
        assert torch.equal(a, b)


def test_from_three_coordinates_to_two_and_to_other_windows():
    before = small_encoder(layout("ntu25"))
    after, matched = before.transfer(layout("coco17"), 24)
    assert set(matched) == set(layout("coco17").joints) & set(layout("ntu25").joints)
    x = torch.randn(2, 12, 25, 3)
    flat = torch.cat([x[..., :2], torch.zeros_like(x[..., :1])], -1)
    a = before.embedding.tokenize(flat, torch.tensor([5]))
    b = after.embedding.tokenize(torch.nn.functional.pad(x[:, :, [5] * 17, :2], (0, 0, 0, 0, 0, 12)), torch.tensor([3]))
    torch.testing.assert_close(a, b[:, :4])
    expected = F.interpolate(before.embedding.temporal_position[:, 0].T[None], 8, mode="linear", align_corners=False)[
        0
    ].T
    torch.testing.assert_close(after.embedding.temporal_position[:, 0], expected)
    back, _ = after.transfer(layout("ntu25"), 12)
    w = lambda e: e.embedding.tokenizer.weight.view(16, 3, -1)
    assert torch.equal(w(back)[..., :2], w(before)[..., :2])


@pytest.fixture(scope="module")
def kinect(tmp_path_factory):
    rng, of = np.random.default_rng(0), layout("kinect20")
    clips = [
        Clip(f"k{i}", rng.normal(0, 0.3, (1, 20 + i, 20, 3)), i % 2, {"split:x": "test" if i % 3 == 0 else "train"})
        for i in range(12)
    ]
    return write_store(tmp_path_factory.mktemp("kinect") / "kinect", clips, of, ["a", "b"], meta={"dataset": "kinect"})


@pytest.mark.parametrize("name", NAMES)
def test_transfer_to_another_skeleton_says_what_matched(name, tiny, kinect, tmp_path):
    run = pretrain(make_settings(tiny, name, training_epochs=1), tmp_path / "run", quiet=True)
    (result,) = evaluate("finetune", run, kinect.path, "x", **QUICK)
    named = lambda of: [of.joints[j] for j in of.kept(result["run"]["settings"]["encoder"]["joints"])]
    kept, before = named(kinect.layout), named(tiny.layout)
    assert result["moved_from"] == "sbu15"
    assert result["joints_matched"] == [joint for joint in kept if joint in before]
    assert result["joints_new"] == [joint for joint in kept if joint not in before]
    assert result["controls"]["from_scratch"] is not None
    model = load_classifier(result["weights"])
    assert (model.layout.name, model.classes) == ("kinect20", ["a", "b"])


def test_transfer_on_the_command_line(run, kinect, capsys):
    quick = ["--epochs", "1", "--warmup_epochs", "0", "--head.hidden", "8", "--device", "cpu", "--controls", "false"]
    where = ["--run", str(run), "--data", str(kinect.path), "--split", "x"]
    assert cli.main(["evaluate", "finetune", *where, *quick]) == 0
    said = capsys.readouterr().out
    matched = [joint for joint in kinect.layout.joints if joint in OF.joints]
    assert f"{len(matched)} of 20 joints matched by name" in said


# few labels


def ask_semi(run, store, **more):
    quick = QUICK | {"epochs": 1, "warmup_epochs": 0, "controls": False, "seed": 0}
    return evaluate("semi", run, store.path, "xsub", **quick | more)


def test_labels_are_drawn_class_by_class(run, tiny):
    train, _ = parts(tiny, "xsub", "cpu", "fill")
    counts = torch.bincount(train.labels)
    for more, expected in (
        ({"fraction": 0.3}, [max(1, round(0.3 * int(n))) for n in counts]),
        ({"fraction": 0.01}, [1, 1, 1]),
        ({"per_class": 4}, [4, 4, 4]),
        ({"per_class": 100}, counts.tolist()),
    ):
        (result,) = ask_semi(run, tiny, **more)
        index = [tiny.names.index(name) for name in result["labels"]]
        assert set(index) <= set(train.clips.tolist())
        assert len(set(index)) == len(index) == result["training_clips"]
        assert np.bincount(tiny.labels[index], minlength=3).tolist() == expected


def test_draws_differ_by_seed_repeat_and_nest(run, tiny):
    draws = [r["labels"] for r in ask_semi(run, tiny, seed=[0, 1], per_class=3)]
    assert draws[0] != draws[1]
    assert ask_semi(run, tiny, seed=1, per_class=3)[0]["labels"] == draws[1]
    assert set(ask_semi(run, tiny, per_class=2)[0]["labels"]) < set(draws[0])


def test_only_drawn_labels_are_used(run, tiny, tmp_path):
    """Other labels may be anything."""
    (result,) = ask_semi(run, tiny, per_class=2)
    clips = []
    for i, name in enumerate(tiny.names):
        fields = {k: str(v[i]) for k, v in tiny.fields.items() if not k.endswith("-val")}
        label = int(tiny.labels[i])
        if fields["split:xsub"] == "train" and label >= 0 and name not in result["labels"]:
            label = (label + 1) % 3
        clips.append(Clip(name, np.array(tiny.clip(i)), None if label < 0 else label, fields))
    other = write_store(tmp_path / "other", clips, tiny.layout, tiny.classes, meta={"dataset": "other"})
    (again,) = ask_semi(run, other, labels=result["path"])
    assert again["labels"] == result["labels"]
    scores = [
        np.load(Path(r["path"]).with_name(Path(r["path"]).stem + "-scores.npz"))["scores"] for r in (result, again)
    ]
    np.testing.assert_array_equal(*scores)


def test_an_earlier_draw_can_be_taken(run, tiny):
    first, second = ask_semi(run, tiny, seed=[0, 1], per_class=2)
    (taken,) = ask_semi(run, tiny, labels=second["path"])
    assert taken["labels"] == second["labels"] != first["labels"]
    assert taken["hash"] not in (first["hash"], second["hash"])


def test_draws_that_cannot_be_taken_are_told(run, tiny, tmp_path):
    path = tmp_path / "draw.json"
    with pytest.raises(ValueError, match="no file"):
        ask_semi(run, tiny, labels=str(path))
    test_clip = tiny.names[tiny.split("xsub")[1][0]]
    for content, match in (
        ("{", "not a result"),
        ("[1]", "not a result"),
        ('{"labels": []}', "not a result"),
        ('{"labels": [1]}', "not a result"),
        (json.dumps({"labels": ["nobody"]}), "'nobody'"),
        (json.dumps({"labels": [test_clip]}), f"'{test_clip}', which is no labelled training clip"),
    ):
        path.write_text(content)
        with pytest.raises(ValueError, match=match):
            ask_semi(run, tiny, labels=str(path))


@pytest.mark.parametrize(
    ("change", "match"),
    [({"fraction": 0.0}, "fraction"), ({"fraction": 1.5}, "fraction"), ({"per_class": -1}, "per_class")],
)
def test_bad_fractions_are_told(change, match):
    with pytest.raises(ValueError, match=match):
        SemiSettings(**change)


def test_semi_has_controls_of_the_same_draw(run, tiny, capsys):
    quick = ["--epochs", "2", "--warmup_epochs", "0", "--head.hidden", "8", "--device", "cpu", "--per_class", "2"]
    where = ["--run", str(run), "--data", str(tiny.path), "--split", "xsub"]
    assert cli.main(["evaluate", "semi", *where, *quick]) == 0
    said = capsys.readouterr().out
    results = [json.loads(Path(line).read_text()) for line in said.splitlines() if line.endswith(".json")]
    assert [r["seed"] for r in results] == [0, 1, 2, 3, 4]
    assert "control: from scratch" in said
    assert len({r["controls"]["raw_coordinates_knn"] for r in results}) > 1  # by the drawn clips alone


# the command line


def test_a_methods_own_options_are_on_its_command_line(tiny, tmp_path, capsys):
    parser = protocol_parser("finetune", PROTOCOLS["finetune"], FinetuneSettings)
    assert "--head.hidden" in parser.format_help()
    run = pretrain(make_settings(tiny, "skeletonmae", training_epochs=1), tmp_path / "run", quiet=True)
    with pytest.raises(SystemExit):
        cli.main(["evaluate", "finetune", "--run", str(run), "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "--head.layers" in said
    assert "default: sgd" in said

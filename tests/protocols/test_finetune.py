"""Fine-tuning as a protocol: what it leaves, from scratch, resuming, options, precision, files, reports."""

from __future__ import annotations

import json
import math
import os
import shlex
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers import LIES, PLAIN, make_settings, metadata, same, state
from kinemask import cli, evaluate, load_classifier, load_encoder
from kinemask.cli import parsers
from kinemask.errors import Stopped
from kinemask.nn.settings import HeadSettings
from kinemask.protocols.catalogue import PROTOCOLS
from kinemask.recipes import load_recipe
from kinemask.reports import report
from kinemask.reports.reproduce import evaluate_command
from kinemask.reports.runs import Evaluation
from kinemask.runs.log import read_metrics
from kinemask.runs.result import Results, read_result
from kinemask.runs.run import Run
from kinemask.training.pretraining import pretrain
from kinemask.training.settings import FinetuneSettings, Settings
from loops import logged
from tuning import QUICK, count_steps, same_weights

ALONE = QUICK | {"baselines": False}


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("finetune") / "run"
    return pretrain(make_settings(tiny, encoder_layers=2, training_epochs=1), folder, quiet=True)


@pytest.fixture(scope="module")
def finished(run, tiny, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "out"
    evaluate("finetune", run, tiny.path, "xsub", out=out, **ALONE)
    return out


@pytest.fixture
def own(run, tmp_path) -> Path:
    """The run without what other tests did to it."""
    (tmp_path / "own").mkdir()
    for name in ("encoder.safetensors", "config.yaml"):
        (tmp_path / "own" / name).write_bytes((run / name).read_bytes())
    return tmp_path / "own"


def test_the_defaults_are_the_papers():
    s = FinetuneSettings()
    assert (s.optimizer, s.weight_decay, s.lr, s.warmup_epochs, s.min_lr) == ("adamw", 0.05, 3e-4, 5, 1e-5)
    assert (s.epochs, s.batch_size, s.layer_decay, s.drop_path, s.label_smoothing) == (100, 48, None, 0.3, 0.1)
    assert s.head == HeadSettings(kind="mlp", hidden=2048, dropout=0.3)
    assert PROTOCOLS["semi"].seeds == (0, 1, 2, 3, 4)
    assert "finetune" not in load_recipe("mamp-ntu60")


def test_finetune_leaves_what_it_promises(run, tiny, tmp_path):
    out = tmp_path / "out"
    (result,) = evaluate("finetune", run, tiny.path, "xsub", out=out, **QUICK)
    files = {"config.yaml", "metrics.jsonl", "last.pt", "encoder.safetensors", "classifier.safetensors"}
    assert files <= set(os.listdir(out))
    assert Path(result.path).parent == run / "evaluations"
    kept = read_result(Path(result.path))
    assert kept.weights == str(out)
    train = tiny.split("xsub")[0]
    assert kept.training_clips == (tiny.labels[train] >= 0).sum()
    assert kept.seconds > 0
    assert kept.settings["layer_decay"] is None
    assert Run(out).config["finetune"]["layer_decay"] == 0.8  # what None stands for where there is a run
    assert set(kept.baselines) == {"from_scratch"} | PLAIN
    assert all(b.measures["accuracy"].unseen is not None for b in kept.baselines.values())
    lines = read_metrics(out)
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    found = [line["test_accuracy"] for line in lines]
    assert kept.accuracy == pytest.approx(100 * found[-1])
    assert kept.best_epoch == pytest.approx(100 * max(found))
    assert {"loss", "training_accuracy", "lr", "clips_per_second"} <= set(lines[0])
    assert load_encoder(out).record["pretraining"]["sources"][0]["dataset"] == "tiny"
    assert not same(load_file(out / "encoder.safetensors"), load_file(run / "encoder.safetensors"))
    again = evaluate("knn", out, tiny.path, "xsub", device="cpu", baselines=False)
    assert again[0].test_clips == kept.test_clips


def test_the_augmentation_may_be_that_of_the_data(run, tiny, tmp_path):
    (usual,) = evaluate("finetune", run, tiny.path, "xsub", out=tmp_path / "a", **ALONE)
    other = {"rotation": [0.0, 1.0, 0.0], "crop": [0.9, 1.0], "min_crop_frames": 9}
    (result,) = evaluate("finetune", run, tiny.path, "xsub", out=tmp_path / "b", sampling=other, **ALONE)
    assert {name: result.sampling[name] for name in other} == other
    assert result.hash != usual.hash
    a, b = (load_encoder(tmp_path / name) for name in "ab")
    found = b.sampling
    assert (list(found.rotation), list(found.crop), found.min_crop_frames) == tuple(other.values())
    assert not same(a.encoder.state_dict(), b.encoder.state_dict())
    command = shlex.split(evaluate_command(Evaluation(Results([read_result(Path(result.path))])), str(run), "store"))
    read = parsers.evaluate(command[2:]).read(command[3:])
    parsed = parsers.evaluate(command[2:]).parse(read)
    assert (list(parsed.sampling.rotation), list(parsed.sampling.crop)) == (other["rotation"], other["crop"])
    assert parsed.sampling.min_crop_frames == 9
    for name, value in (("crop", [0.9]), ("rotation", [1.0, 2.0])):
        with pytest.raises(ValueError, match=rf"{name}"):
            evaluate("finetune", run, tiny.path, "xsub", sampling={name: value}, **ALONE)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_classifier_file_gives_the_same_scores(precision, run, tiny, tmp_path):
    """Asked for again, a finished run is scored in the precision that it was trained in."""
    ask = lambda **more: evaluate(
        "finetune", run, tiny.path, "xsub", out=tmp_path / "out", **ALONE | {"precision": precision, **more}
    )[0]
    first = ask()
    scores = first.scores()
    np.testing.assert_array_equal(ask(overwrite=True).scores()["scores"], scores["scores"])
    assert first.precision == precision
    model = load_classifier(tmp_path / "out")
    assert model.classes == tiny.classes
    clips = [tiny.clip(tiny.names.index(name)) for name in scores["names"]]
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        found = model.predict(clips)
    torch.testing.assert_close(found, torch.from_numpy(scores["scores"]), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.sum(1), torch.ones(len(clips)))
    assert torch.equal(found, model.predict(clips)) == (precision == "fp32")
    assert same(model.classifier.encoder.state_dict(), load_encoder(tmp_path / "out").encoder.state_dict())


@pytest.mark.parametrize("lie", LIES)
def test_a_file_that_is_no_classifier_is_told(lie, finished, tmp_path):
    path = tmp_path / "classifier.safetensors"
    path.write_bytes((finished / "classifier.safetensors").read_bytes())
    load_classifier(path)
    LIES[lie](path)
    with pytest.raises(ValueError, match=r"classifier\.safetensors"):
        load_classifier(path)
    assert not (tmp_path / "trace").exists()


def test_a_pretraining_has_no_classifier(run):
    with pytest.raises(ValueError, match="no classifier at"):
        load_classifier(run)


def test_from_scratch_is_the_baseline_of_a_fine_tune(own, tiny, tmp_path):
    """The baseline of a run is what the same recipe gives without any run."""
    recipe, config = tmp_path / "own.yaml", Run(own).config
    sections = ("method", "sampling", "encoder", "decoder", "pretext", "training")
    recipe.write_text(json.dumps({k: config[k] for k in sections}))
    (tuned,) = evaluate("finetune", own, tiny.path, "xsub", **QUICK)
    (alone,) = evaluate("finetune", None, tiny.path, "xsub", recipe=str(recipe), out=tmp_path / "out", **QUICK)
    assert alone.accuracy == tuned.baselines["from_scratch"].accuracy
    assert set(alone.baselines) == PLAIN
    assert Path(alone.path).parent == tmp_path / "out" / "evaluations"
    assert alone.scratch
    assert Run(tmp_path / "out").config["finetune"]["layer_decay"] == 1.0
    assert "from-scratch" not in os.listdir(tmp_path / "out")
    folders = [f for f in (own / "finetune").iterdir() if f != Path(tuned.weights)]
    (baseline,) = (f for f in folders if same_weights(f, tmp_path / "out"))
    assert not list(baseline.glob("*.pt"))  # nobody resumes it
    assert load_encoder(tmp_path / "out").record["pretraining"] is None


def test_several_seeds_have_folders_of_their_own(run, tiny, tmp_path):
    results = evaluate("finetune", run, tiny.path, "xsub", seed=[0, 1], out=tmp_path, **ALONE)
    assert sorted(os.listdir(tmp_path)) == ["seed0", "seed1"]
    assert len({r.hash for r in results}) == 2
    assert not same_weights(tmp_path / "seed0", tmp_path / "seed1")


def test_the_same_command_finds_what_is_finished(own, tiny, tmp_path, monkeypatch):
    ask = lambda **more: evaluate("finetune", own, tiny.path, "xsub", **ALONE | more)[0]
    first = ask(out=tmp_path / "out")
    steps = count_steps(monkeypatch)
    assert ask(out=tmp_path / "out") == ask() == read_result(Path(first.path))
    assert not steps
    with pytest.raises(ValueError, match=r"finetune\.lr \(was 0.0003, now 0.1\)"):
        ask(out=tmp_path / "out", lr=0.1)
    other = ask(overwrite=True)
    assert steps  # elsewhere it is trained
    assert other.accuracy == first.accuracy
    before = len(steps)
    for change in ({"lr": 1e-3}, {"seed": 1}, {"sampling": {"rotation": 0.2}}, {"head.dropout": 0.0}):
        ask(**change)
        assert len(steps) > before, change
        before = len(steps)
    ask()
    assert len(steps) == before


def test_a_finished_run_is_scored_on_another_view_of_the_test_clips(own, tiny, monkeypatch):
    """As HA-CM's 0.9 test crop: nothing is trained, and the best epoch of the log is of the other view."""
    ask = lambda **view: evaluate("finetune", own, tiny.path, "xsub", **ALONE, sampling=view)[0]
    first = ask()
    steps = count_steps(monkeypatch)
    other = ask(test_crop=0.3, test_clips=2)
    assert not steps
    assert (other.weights, other.sampling["test_crop"]) == (first.weights, 0.3)
    assert first.best_epoch is not None
    assert other.best_epoch is None
    assert other.hash != first.hash
    assert not np.array_equal(other.scores()["scores"], first.scores()["scores"])


def test_a_changed_encoder_is_trained_again(own, tiny, monkeypatch):
    ask = lambda: evaluate("finetune", own, tiny.path, "xsub", **ALONE)
    ask()
    steps = count_steps(monkeypatch)
    ask()
    assert not steps
    file = own / "encoder.safetensors"
    weights, about = load_file(file), metadata(file)
    save_file(weights | {"trunk.norm.bias": weights["trunk.norm.bias"] + 1}, file, metadata=about)
    ask()
    assert steps


@pytest.mark.parametrize("name", ["mamp", "skeletonmae"])
def test_a_stopped_fine_tune_ends_with_the_same_weights(name, tiny, tmp_path, monkeypatch):
    """Dropout and drop path included."""
    run = pretrain(make_settings(tiny, name, training_epochs=1), tmp_path / "run", quiet=True)
    quick = {**ALONE, "overwrite": True, "head.dropout": 0.3, "drop_path": 0.3 if name == "mamp" else 0.0}
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
    assert rest == steps[6:]
    assert same_weights(tmp_path / "whole", tmp_path / "parts")
    assert same(state(tmp_path / "whole"), state(tmp_path / "parts"))
    assert replace(whole, seconds=0, weights="") == replace(parted, seconds=0, weights="")
    assert logged(tmp_path / "whole") == logged(tmp_path / "parts")


@pytest.mark.parametrize(
    "change",
    [
        {"batch_size": 8},
        {"accumulate": 2},
        {"optimizer": "sgd"},
        {"lr": 1e-3},
        {"min_lr": 2e-4},
        {"warmup_epochs": 0},
        {"schedule": "steps", "milestones": (2,)},
        {"weight_decay": 0.5},
        {"betas": (0.5, 0.9)},
        {"clip_grad": 0.01},
        {"precision": "bf16"},
        {"layer_decay": 0.5},
        {"drop_path": 0.0},
        {"label_smoothing": 0.0},
        {"head.dropout": 0.0},
        {"head.dropout": 0.5, "head.dropout_of": "tokens"},
        {"head.hidden": 8},
        {"epochs": 4},
    ],
    ids=str,
)
def test_every_option_changes_the_weights(change, run, tiny, finished, tmp_path):
    evaluate("finetune", run, tiny.path, "xsub", out=tmp_path, **ALONE | change)
    assert not same_weights(tmp_path, finished)


@pytest.mark.parametrize(("every", "epochs"), [(0, [3]), (2, [2, 3]), (1, [1, 2, 3])])
def test_the_test_part_is_scored_so_often(every, epochs, run, tiny, tmp_path):
    (result,) = evaluate("finetune", run, tiny.path, "xsub", out=tmp_path, test_every=every, overwrite=True, **ALONE)
    assert [line["epoch"] for line in read_metrics(tmp_path) if "test_accuracy" in line] == epochs
    assert (result.best_epoch is None) == (every == 0)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"epochs": 0}, "epochs"),
        ({"lr": math.nan}, "lr"),
        ({"min_lr": -1.0}, "min_lr"),
        ({"batch_size": 1}, "batch_size"),
        ({"accumulate": 0}, "accumulate"),
        ({"clip_grad": -1.0}, "clip_grad"),
        ({"precision": "fp8"}, "precision"),
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
    ("given", "match"),
    [
        (["finetune", None], "either a run or a recipe"),
        (["finetune", "run", {"recipe": "mamp-demo"}], "either a run or a recipe"),
        (["knn", None, {"recipe": "mamp-demo"}], "needs a run"),
        (["knn", None], "a run is needed"),
        (["knn", "run", {"out": "somewhere"}], "trains no encoder"),
        (["linear", "run", {"out": "somewhere"}], "trains no encoder"),
        (["finetune", None, {"recipe": "mamp-demo", "encoder": "teacher"}], "no file teacher"),
        (["finetune", None, {"recipe": "mamp-moon"}], "unknown recipe"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_told(given, match, run, tiny):
    protocol, source, more = [*given, {}][:3]
    with pytest.raises(ValueError, match=match):
        evaluate(protocol, source and run, tiny.path, "xsub", **more)


def test_a_pretraining_is_not_trained_over(run, tiny):
    before = (run / "encoder.safetensors").read_bytes()
    with pytest.raises(ValueError, match=r"other settings: protocol \(was None, now 'finetune'\)"):
        evaluate("finetune", run, tiny.path, "xsub", out=run, overwrite=True, **QUICK)
    assert (run / "encoder.safetensors").read_bytes() == before


@pytest.mark.parametrize("scratch", [False, True])
def test_a_report_shows_it(scratch, own, tiny, tmp_path):
    where = {"recipe": "mamp-demo", "out": tmp_path / "out"} if scratch else {}
    evaluate("finetune", None if scratch else own, tiny.path, "xsub", **QUICK | {"epochs": 1}, **where)
    page = report([tmp_path / "out" if scratch else own]).read_text()
    assert "finetune" in page
    assert ("from scratch" in page) or scratch


def test_a_recipes_own_defaults_are_on_its_command_line(tiny, tmp_path, capsys):
    section = load_recipe("skeletonmae-finegym")["finetune"]
    config = make_settings(tiny, "skeletonmae", training_epochs=1).to_dict()
    settings = Settings.from_dict(config | {"finetune": section})
    run = pretrain(settings, tmp_path / "run", quiet=True)
    with pytest.raises(SystemExit):
        cli.main(["evaluate", "finetune", "--run", str(run), "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "--head.layers" in said
    assert "default: sgd" in said
    (result,) = evaluate("finetune", run, tiny.path, "xsub", epochs=1, device="cpu", baselines=False)
    assert (result.settings["optimizer"], result.settings["lr"], result.settings["epochs"]) == ("sgd", 0.1, 1)
    assert asdict(load_classifier(result.weights).classifier.settings)["kind"] == "strl"

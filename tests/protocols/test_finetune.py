"""Fine-tuning as a protocol: what it leaves, from scratch, resuming, options, files, reports."""

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
from kinemask.protocols.protocols import PROTOCOLS
from safetensors.torch import load_file, save_file

from helpers import LIES, make_settings, metadata, same, state
from kinemask import cli, evaluate, load_classifier, load_encoder
from kinemask.errors import Stopped
from kinemask.nn.settings import HeadSettings
from kinemask.pretext import method
from kinemask.protocols.features import parts
from kinemask.protocols.finetune import FinetuneSettings
from kinemask.protocols.settings import parse_protocol, protocol_parser, read_protocol, settings_of
from kinemask.reports import report
from kinemask.reports.reproduce import commands, evaluate_command
from kinemask.reports.runs import Evaluation, read_runs
from kinemask.runs.log import read_metrics
from kinemask.training.loop import Loop
from kinemask.training.pretraining import pretrain


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


def test_a_methods_own_options_are_on_its_command_line(tiny, tmp_path, capsys):
    parser = protocol_parser("finetune", PROTOCOLS["finetune"], FinetuneSettings)
    assert "--head.hidden" in parser.format_help()
    run = pretrain(make_settings(tiny, "skeletonmae", training_epochs=1), tmp_path / "run", quiet=True)
    with pytest.raises(SystemExit):
        cli.main(["evaluate", "finetune", "--run", str(run), "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "--head.layers" in said
    assert "default: sgd" in said

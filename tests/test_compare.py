"""Ensembles of stored scores, and comparisons: every combination once, keyed by all that decides its numbers."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import pytest
import torch
import yaml
from kinemask.configure import dotted
from kinemask.runs.metrics import measures
from kinemask.runs.results import accuracy, hash8, read_results, table, write_result

from conftest import recordings
from kinemask import cli
from kinemask.comparison import compare as comparing
from kinemask.comparison import plan as compare_plan
from kinemask.comparison.compare import compare
from kinemask.comparison.plan import code_version, plan, resolve
from kinemask.comparison.table import markdown, rows, write_tables
from kinemask.models.encoders import TrainedEncoder, load_encoder
from kinemask.pretext import NAMES as METHODS
from kinemask.pretext import method
from kinemask.protocols.ensemble import ensemble
from kinemask.reports.published import place
from kinemask.reports.reproduce import commands
from kinemask.reports.runs import read_runs
from kinemask.runs.cost import cost, flops, training_seconds
from kinemask.skeleton import layout
from kinemask.store.writer import write_store
from test_training import make_settings

TINY = {
    "sampling": {"frames": 24, "min_crop_frames": 8},
    "encoder": {"layers": 1, "width": 16, "heads": 2, "segment_frames": 3},
    "decoder": {"layers": 1, "width": 16, "heads": 2},
    "training": {"epochs": 1, "warmup_epochs": 0, "batch_size": 12, "log_every": 2, "precision": "fp32"},
}
NAMES = [f"clip{i}" for i in range(40)]
LABELS = torch.arange(40) % 4


# ensembles: results as a run keeps them, made by hand


def keep(run: Path, order=None, seed=0, labels=LABELS, names=NAMES, **changes) -> dict:
    """A stored result of random scores, test clips in this order."""
    order = torch.arange(len(names)) if order is None else torch.as_tensor(order)
    g = torch.Generator().manual_seed(sum(map(ord, run.name)) + 1000 * seed)
    scores = (2 * torch.randn(len(names), 4, generator=g) + 2 * torch.eye(4)[labels]).softmax(1)
    unseen = torch.arange(len(names)) > 4
    result = {
        "protocol": "linear",
        "data": "nw-ucla",
        "split": "xview",
        "encoder": "encoder",
        "encoder_sha256": None,
        "store_sha256": {"clips.csv": "0"},
        "test_clips_sampled": 1,
        "settings": {"epochs": 1},
        "seed": seed,
        "accuracy": accuracy(scores, labels),
        "accuracy_best_epoch": None,
        "accuracy_unseen": accuracy(scores[unseen], labels[unseen]),
        "test_clips": len(names),
        "test_clips_unseen": int(unseen.sum()),
        "classes": ["a", "b", "c", "d"],
        "controls": None,
        "seconds": 1.0,
        "run": {"method": "mamp", "data": {"dataset": "nw-ucla", "sha256": {}}},
    } | changes
    result["run"]["settings"] = {"sampling": {"stream": run.name, "test_clips": 1}}
    result["hash"] = hash8(result)
    write_result(run, result, scores[order], labels[order], [names[i] for i in order], unseen[order])
    return result | {"all": scores}


def test_scores_are_added_clip_by_clip(tmp_path):
    runs = [tmp_path / name for name in ("joint", "motion", "bone")]
    kept = [keep(runs[0]), keep(runs[1], order=range(39, -1, -1)), keep(runs[2], order=torch.randperm(40))]
    for weights, shares in ((None, [1 / 3] * 3), ([2, 1, 1], [0.5, 0.25, 0.25]), ([0, 3, 0], [0, 1, 0])):
        (found,) = ensemble(runs, weights=weights)
        fused = sum(share * member["all"] for share, member in zip(shares, kept, strict=True))
        assert found["accuracy"] == accuracy(fused, LABELS)
        assert found["accuracy_unseen"] == accuracy(fused[5:], LABELS[5:])
        assert found["metrics"] == pytest.approx(measures(fused, LABELS)["metrics"], abs=1e-4)
        assert found["confidence_interval"][0] < found["accuracy"] < found["confidence_interval"][1]
        assert [m["weight"] for m in found["members"]] == pytest.approx(shares)
        assert [m["accuracy"] for m in found["members"]] == [k["accuracy"] for k in kept]
        assert [m["stream"] for m in found["members"]] == ["joint", "motion", "bone"]
        path = Path(found["path"])
        assert path.parent == runs[0] / "evaluations"
        assert json.loads(path.read_text())["accuracy"] == found["accuracy"]
        stored = np.load(path.with_name(f"{path.stem}-scores.npz"), allow_pickle=False)
        np.testing.assert_allclose(stored["scores"], fused, atol=1e-6)
        assert list(stored["names"]) == NAMES
    assert len({r["hash"] for r in read_results(runs[0])}) == 4  # its own, and three ensembles
    assert "motion (motion, weight" in table([found])
    assert place(found) == ("nw-ucla", "xview", "linear")


def test_one_evaluation_of_each_run_must_be_left(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    results = [keep(run, seed=seed) for run in (a, b) for seed in (0, 1)]
    keep(a, protocol="knn")
    with pytest.raises(ValueError, match=r"which evaluation.*knn nw-ucla xview, seed 0.*linear nw-ucla"):
        ensemble([a, b])
    with pytest.raises(ValueError, match=r"b has no evaluation with protocol knn.*it has: linear"):
        ensemble([a, b], protocol="knn")
    with pytest.raises(ValueError, match="has no evaluation with split xsub"):
        ensemble([a, b], split="xsub")
    both = ensemble([a, b], protocol="linear", data="nw-ucla", seed=[0, 1])
    assert [r["seed"] for r in both] == [0, 1]
    (one,) = ensemble([a, b], hashes=[results[1]["hash"], results[2]["hash"]])
    assert [m["seed"] for m in one["members"]] == [1, 0]
    (again,) = ensemble([a, b], protocol="linear", seed=0)  # ensembles are no members
    assert again["accuracy"] == both[0]["accuracy"]
    (run,) = read_runs([_as_run(a)])
    told = next(line for line in commands(run)[0] if "ensemble" in line)
    assert told.split()[1:4] == ["ensemble", "a", "b"]


def _as_run(folder: Path) -> Path:
    """With settings, as a report needs them."""
    settings, _ = compare_plan.parse(None, {"data": "gone", "split": "xview"}, "mamp-nw-ucla-small")
    (folder / "config.yaml").write_text(yaml.safe_dump(settings.to_dict()))
    return folder


@pytest.mark.parametrize(
    "change, told",
    [
        ({"names": [*NAMES[:-1], "other"]}, r"other test clips.*lacks 1, such as clip39.*besides 1, such as other"),
        ({"names": NAMES[:30], "labels": LABELS[:30]}, "lacks 10, such as clip30"),
        ({"names": ["twice"] * 2 + NAMES[2:]}, "same name"),
        ({"labels": LABELS.flip(0)}, "other labels"),
        ({"split": "xsub"}, r"split xsub.*xview"),
        ({"data": "utd-mhad"}, r"data utd-mhad.*nw-ucla"),
        ({"protocol": "knn"}, r"protocol knn.*linear"),
        ({"classes": ["a", "b", "c", "e"]}, "classes"),
        ({"store_sha256": {"clips.csv": "1"}}, "different stores of nw-ucla"),
    ],
    ids=lambda v: str(v)[:30],
)
def test_members_that_do_not_fit_are_told(change, told, tmp_path):
    keep(tmp_path / "a")
    keep(tmp_path / "b", **change)
    with pytest.raises(ValueError, match=told):
        ensemble([tmp_path / "a", tmp_path / "b"])
    assert len(read_results(tmp_path / "a")) == 1  # nothing was written


def test_other_mistakes_of_ensembles_are_told(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    for weights in ([1], [1, -1], [0, 0], [float("nan"), 1]):
        with pytest.raises(ValueError, match="weights"):
            ensemble([a, b], weights=weights)
    with pytest.raises(ValueError, match="at least two"):
        ensemble([a])
    with pytest.raises(ValueError, match="it has: none"):
        ensemble([a, b])
    keep(a)
    old = keep(b, encoder_sha256="of an encoder that is gone")
    with pytest.raises(ValueError, match="encoder has changed"):
        ensemble([a, b])
    assert ensemble([a, b], hashes=[old["hash"], read_results(a)[0]["hash"]])
    with pytest.warns(UserWarning, match="more than once"):
        ensemble([a, a], protocol="linear")
    with pytest.raises(ValueError, match="typo is not a run"):
        ensemble([a, b], out=tmp_path / "typo")
    read_results(b)[0]["scores"].write_bytes(b"no archive")
    with pytest.raises(ValueError, match="are damaged"):
        ensemble([a, b], hashes=[old["hash"], read_results(a)[-1]["hash"]])
    read_results(b)[0]["scores"].unlink()
    with pytest.raises(ValueError, match="are absent"):
        ensemble([a, b], hashes=[old["hash"], read_results(a)[-1]["hash"]])


@pytest.mark.parametrize("text, told", [("{bad", "is damaged"), ("{}", "is no result"), ("[]", "is no result")])
def test_files_that_are_no_results_are_named(text, told, tmp_path):
    keep(tmp_path)
    (tmp_path / "evaluations" / "other.json").write_text(text)
    with pytest.raises(ValueError, match=f"other.json {told}"):
        read_results(tmp_path)


# comparisons: what they consist of


@pytest.mark.parametrize(
    "name, dataset, small, expected",
    [
        ("mamp", "nw-ucla", False, "mamp-nw-ucla"),
        ("mamp", "nw-ucla", True, "mamp-nw-ucla-small"),
        ("hacm", "pku-mmd-2", False, "hacm-pku-mmd"),
        ("hacm-demo", "nw-ucla", True, "hacm-demo"),
    ],
)
def test_a_method_means_the_recipe_of_the_data(name, dataset, small, expected):
    assert resolve(name, dataset, small) == expected


@pytest.mark.parametrize("name, dataset", [("mamp", "mine"), ("mamp", "ntu"), ("mamp-moon", "nw-ucla"), ("x", "ntu60")])
def test_a_recipe_that_is_not_there_is_told(name, dataset):
    with pytest.raises(ValueError, match="mamp-ntu60"):
        resolve(name, dataset, False)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """A recipe file of some seconds."""
    folder = tmp_path_factory.mktemp("recipes")

    def make(name: str, method: str = "mamp", **changes) -> str:
        path = folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump({"method": method, **TINY, **changes}))
        return str(path)

    return make


def planned(tiny, recipe, **changes):
    given = {"protocols": ["knn"], "seeds": [0], "protocol_seeds": None, "small": False, "controls": True}
    given |= {"overrides": {}, "data": [str(tiny.path)], "split": ["xsub"], "methods": [recipe("one")]}
    return plan(**given | changes)


def test_a_key_holds_all_that_decides_a_number(tiny, recipe, monkeypatch):
    (base,) = planned(tiny, recipe)
    keys = lambda w: (hash8(w.key), hash8(w.evaluation("knn", 0)))
    assert keys(planned(tiny, recipe)[0]) == keys(base)
    other = {
        "machine": {"cluster": "slurm"},
        "its device": {"cluster": "slurm", "overrides": {"training.device": "cpu"}},
        "seed": {"seeds": [1]},
        "split": {"split": ["xcam"]},
        "setting": {"overrides": {"training.lr": "2e-3"}},
        "own": {"overrides": {"one.pretext.tau": 0.5}},
    }
    found = [keys(planned(tiny, recipe, **change)[0]) for change in other.values()]
    assert len({key for pair in [keys(base), *found] for key in pair}) == 2 * (1 + len(other))
    for change in ({"overrides": {"knn.neighbours": "3"}}, {"controls": False}):
        run, result = keys(planned(tiny, recipe, **change)[0])
        assert run == keys(base)[0]  # pre-trained once
        assert result != keys(base)[1]
    with monkeypatch.context() as patch:  # another skeleton, the same recordings
        other = tiny.meta | {"layout": tiny.meta["layout"] | {"torso": []}}
        patch.setattr(compare_plan, "open_store", lambda path: replace(tiny, meta=other))
        assert not set(keys(planned(tiny, recipe)[0])) & set(keys(base))
    with monkeypatch.context() as patch:  # a processor of another kind
        patch.setattr(compare_plan, "precision", lambda device: "fp8")
        assert not set(keys(planned(tiny, recipe)[0])) & set(keys(base))
    monkeypatch.setattr(compare_plan, "code_version", lambda *parts: "edited")
    assert not set(keys(planned(tiny, recipe)[0])) & set(keys(base))
    with pytest.raises(ValueError, match="code has changed"):
        base.check_code()


def test_an_encoder_to_start_from_counts_by_its_content(tiny, recipe, tmp_path):
    (tmp_path / "encoder.safetensors").write_bytes(b"one")
    change = {"overrides": {"training.init_from": str(tmp_path)}}
    (before,) = planned(tiny, recipe, **change)
    (tmp_path / "encoder.safetensors").write_bytes(b"two")
    (after,) = planned(tiny, recipe, **change)
    assert before.key != after.key


def test_the_version_of_code_is_that_of_its_files(tmp_path, monkeypatch):
    package = tmp_path / "package"
    (package / "nn" / "deeper").mkdir(parents=True)
    (package / "nn" / "a.py").write_text("1")
    (package / "skeleton.py").write_text("1")
    monkeypatch.setattr(compare_plan, "files", lambda name: package)
    versions = []
    for path, text in ((None, ""), ("nn/deeper/b.py", "1"), ("nn/a.txt", "1"), ("nn/a.py", "2"), ("skeleton.py", "2")):
        if path:
            (package / path).write_text(text)
        versions.append(code_version.__wrapped__("skeleton.py", "nn"))
    assert versions[0] == versions[1] == versions[2]
    assert len(set(versions)) == 3


@pytest.mark.parametrize(
    "change, told",
    [
        ({"protocols": ["nonsense"]}, "unknown protocol 'nonsense'"),
        ({"protocols": []}, "protocols is empty"),
        ({"seeds": [1, 1]}, "seeds names something twice"),
        ({"protocol_seeds": []}, "protocol_seeds is empty"),
        ({"data": ["a", "b"], "split": ["x", "y", "z"]}, "one for all stores"),
        ({"split": ["xsub", "xsub"]}, "split names something twice"),
        ({"split": ["nope"]}, "no split 'nope'"),
        ({"data": ["nowhere"]}, "no store"),
        ({"methods": ["mamp-moon"]}, "unknown recipe"),
        ({"overrides": {"training.epoch": 3}}, r"one.yaml: .*did you mean training.epochs"),
        ({"overrides": {"knn.neighbour": 3}}, "neighbour"),
        ({"overrides": {"linear.epochs": 3}}, "linear"),  # not among the protocols
    ],
    ids=str,
)
def test_mistakes_are_told_before_anything_runs(change, told, tiny, recipe):
    with pytest.raises(ValueError, match=told):
        planned(tiny, recipe, **change)


def test_two_of_the_same_are_told(tiny, recipe, tmp_path):
    demo = tmp_path / "demo"
    write_store(demo, recordings(tiny.layout, 6), tiny.layout, tiny.classes, meta={"dataset": "demo"})
    with pytest.raises(ValueError, match="two of the stores hold tiny"):
        planned(tiny, recipe, data=[str(tiny.path), f"{tiny.path}/../{tiny.path.name}"])
    with pytest.raises(ValueError, match="two methods mean the same recipe"):
        plan(["mamp", "mamp-demo"], [str(demo)], ["xsub"], ["knn"], [0], None, False, True, {})
    with pytest.raises(ValueError, match=r"slurm\.partition has no effect"):
        compare([recipe("one")], tiny.path, "xsub", settings={"slurm.partition": "x"})


# comparisons: running them


def test_every_combination_is_run_once_and_found_again(tiny, recipe, tmp_path, monkeypatch):
    calls: list[tuple] = []
    pretrain, evaluate = comparing.pretrain, comparing.evaluate

    def counted(protocol, run, *args, seed, **kwargs):
        calls.append((protocol, *seed))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return evaluate(protocol, run, *args, seed=seed, **kwargs)

    monkeypatch.setattr(comparing, "evaluate", counted)
    monkeypatch.setattr(comparing, "pretrain", lambda s, *a: calls.append(("run", s.seed)) or pretrain(s, *a))
    given = [recipe("one")], tiny.path, "xsub", ["knn", "retrieval"]
    with pytest.raises(KeyboardInterrupt):
        compare(*given, [0, 1], out=tmp_path, device="cpu")
    assert calls == [("run", 0), ("knn", 0), ("retrieval", 0)]
    calls.append(("interrupted",))
    found = compare(*given, [0, 1], out=tmp_path, device="cpu")
    assert calls[4:] == [("run", 0), ("retrieval", 0), ("run", 1), ("knn", 1), ("retrieval", 1)]
    assert compare(*given, [0, 1], out=tmp_path, device="cpu") == found
    assert len(calls) == 9  # all of it was there
    compare(*given, [1], out=tmp_path, device="cpu", settings={"knn.neighbours": 3})
    assert calls[9:] == [("run", 1), ("knn", 1)]  # what another setting decides, and nothing else
    knn, retrieval = found
    assert (knn["protocol"], retrieval["protocol"], knn["method"]) == ("knn", "retrieval", "one")
    kept = [json.loads(p.read_text()) for p in (tmp_path / "results").glob("retrieval*.json")]
    values = [k["result"]["accuracy"] for k in kept]
    assert (retrieval["accuracy"], retrieval["accuracy_std"]) == pytest.approx((fmean(values), stdev(values)))
    mean = lambda get: pytest.approx(fmean(get(k["result"]) for k in kept))
    assert retrieval["mean_average_precision"] == mean(lambda r: r["mean_average_precision"])
    assert retrieval["untrained_encoder"] == mean(lambda r: r["controls"]["untrained_encoder"])
    assert retrieval["parameters"] == kept[0]["cost"]["parameters"] > 1000
    assert retrieval["pretraining_seconds"] > 0


def test_what_fails_is_left_out_and_told(tiny, recipe, tmp_path):
    odd = recipe("odd", "hacm", sampling={"frames": 27}, encoder=TINY["encoder"] | {"space": "poincare"})
    with pytest.raises(ValueError, match=r"1 of 2 runs failed.*odd-tiny-xsub-seed0.*even"):
        compare([odd, recipe("one")], tiny.path, "xsub", ["knn"], out=tmp_path, device="cpu", controls=False)
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert len(lines) == 3
    assert "| one |" in lines[2]


def test_protocols_that_train_keep_their_weights_by_key(tiny, recipe, tmp_path):
    settings = {"finetune.epochs": 1, "finetune.head.hidden": 8, "finetune.warmup_epochs": 0}
    given = [recipe("one")], tiny.path, "xsub", ["finetune"]
    (row,) = compare(*given, protocol_seeds=[0, 1], out=tmp_path, device="cpu", settings=settings)
    assert row["results"] == "1 run × 2"
    assert row["from_scratch"] is not None
    assert row["accuracy_std"] is not None  # over the protocol's seeds
    (run,) = (tmp_path / "runs").iterdir()
    assert len(list(run.glob("finetune-*"))) == 2


def test_jobs_on_a_cluster(tiny, recipe, tmp_path, capsys):
    pytest.importorskip("submitit")
    from kinemask.comparison.cluster import submit

    given = [recipe("one")], tiny.path, "xsub", ["knn"]
    (row,) = compare(*given, out=tmp_path, device="cpu", controls=False, cluster="local")
    assert "1 are submitted" in capsys.readouterr().out
    assert row["method"] == "one"
    assert len(json.loads((tmp_path / "jobs" / "submitted.json").read_text())) == 1
    assert compare(*given, out=tmp_path, device="cpu", controls=False, cluster="local") == [row]
    assert "submitted" not in capsys.readouterr().out
    with pytest.raises(ValueError, match="unknown cluster 'moon'"):
        submit([], tmp_path, "moon", {})
    work = planned(tiny, recipe)
    if shutil.which("srun") is None:
        with pytest.raises(ValueError, match=r"slurm: .*srun"):
            submit(work, tmp_path, "slurm", {})
    with pytest.raises(ValueError, match=r"slurm: .*nonsense"):
        submit(work, tmp_path, "local", {"nonsense": "3"})


def test_a_cluster_needs_submitit(tiny, recipe, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    monkeypatch.delitem(sys.modules, "kinemask.comparison.cluster", raising=False)
    with pytest.raises(ValueError, match=r"pip install 'kinemask\[cluster\]'"):
        compare([recipe("one")], tiny.path, "xsub", ["knn"], out=tmp_path, cluster="slurm")


def test_a_combination_that_fails_leaves_the_others(tiny, recipe, tmp_path, monkeypatch):
    evaluate = comparing.evaluate
    errors = iter([torch.OutOfMemoryError("too small"), OSError("disk full"), None])

    def some(*args, **kwargs):
        if error := next(errors):
            raise error
        return evaluate(*args, **kwargs)

    monkeypatch.setattr(comparing, "evaluate", some)
    with pytest.raises(ValueError, match=r"2 of 3 runs failed.*OutOfMemoryError: too small.*OSError: disk full"):
        compare([recipe("one")], tiny.path, "xsub", ["knn"], [0, 1, 2], out=tmp_path, device="cpu", controls=False)
    assert (tmp_path / "table.md").read_text().count("| one |") == 1


def test_several_splits_of_a_store(tiny, recipe):
    assert [w.settings.split for w in planned(tiny, recipe, split=["xsub", "xcam"])] == ["xsub", "xcam"]


def test_on_the_command_line(tiny, recipe, tmp_path, capsys):
    command = ["compare", "--methods", recipe("one"), recipe("two", pretext={"tau": 0.3}), "--data", str(tiny.path)]
    command += ["--split", "xsub", "--protocols", "knn", "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert cli.main([*command, "--no-controls", "--knn.neighbours", "3", "--training.epochs=1"]) == 0
    out = capsys.readouterr().out
    assert "2 results, 0 of them there already; 2 runs to do" in out
    assert (tmp_path / "out" / "table.md").read_text() in out
    runs = [str(run) for run in sorted((tmp_path / "out" / "runs").iterdir())]
    assert cli.main(["ensemble", *runs, "--weights", "2", "1", "--data", str(tiny.path), "--seed", "0"]) == 0
    out = capsys.readouterr().out
    assert "ensemble, tiny xsub" in out
    assert "weight 0.67" in out
    assert cli.main(["ensemble", *runs, "--data", "moon"]) == 2
    assert cli.main([*command, "--knn.neighbours"]) == 2
    assert "--knn.neighbours" in capsys.readouterr().err


def test_settings_on_the_command_line():
    words = ["--a.b", "3", "--c=x=y", "--d", "-1"]
    assert dotted(words) == {"a.b": "3", "c": "x=y", "d": "-1"}
    for wrong in (["--a", "--b", "3"], ["a", "3"], ["--a"]):
        with pytest.raises(ValueError, match="--KEY VALUE"):
            dotted(wrong)


# the table and what it costs


def record(recipe: str, accuracy: float, seed: int, **changes) -> dict:
    result = {"data": "nw-ucla", "split": "xview", "protocol": "linear", "accuracy": accuracy, "seed": seed}
    result |= {
        "metrics": {"mean_class_accuracy": accuracy - 1},
        "accuracy_unseen": accuracy - 10,
        "test_clips": 464,
        "test_clips_unseen": 369,
        "seconds": 2.0,
    }
    result |= {"controls": {"untrained_encoder": 54.0, "raw_coordinates_knn": 62.0}, "settings": {}}
    result |= {
        "encoder_sha256": "0",
        "run": {"data": {"dataset": "nw-ucla"}, "settings": {"sampling": {"stream": "joint"}}},
    }
    expense = {"parameters": 1_234_567, "flops": 2_500_000_000, "pretraining_seconds": 60.0}
    return {"recipe": recipe, "cost": expense, "result": result | changes}


def test_folds_have_a_row_over_all_of_them():
    def fold(number, name, *accuracies, val=""):
        changes = {"data": "sbu", "split": f"fold{number}{val}", "test_clips_unseen": 464}
        return [[record(name, accuracy, seed, **changes)] for seed, accuracy in enumerate(accuracies)]

    of = lambda found: [(row["split"], row["method"], row["accuracy"]) for row in found if "results" in row]
    whole = [run for i in range(1, 6) for run in fold(i, "one", 80 + i)]
    found = rows(whole + [run for i in (1, 2, 3, 5) for run in fold(i, "two", 70)])  # the fourth failed
    assert of(found)[-1] == ("5-fold", "one", 83)
    assert len(of(found)) == 10
    assert {row["split"] for row in found if row.get("source")} == {"5-fold"}
    found = rows(whole[:2])
    assert of(found)[-1] == ("2-fold", "one", 81.5)
    assert not any(row.get("source") for row in found)  # published is the mean of five
    assert len(of(rows(fold(1, "one", 80, 80) + fold(2, "one", 60)))) == 2  # folds would weigh by their seeds
    assert of(rows(fold(1, "one", 80, val="-val") + fold(2, "one", 60, val="-val")))[-1] == ("2-fold-val", "one", 70)


@pytest.mark.parametrize(
    "where, method, column, value, source",
    [
        (("penn-action", "official", "finetune"), "CascadeFormer", "accuracy", 94.66, "2d-pose"),
        (("ntu60", "xsub", "finetune"), "SkeletonMAE-graph", "accuracy", 92.8, "STRL"),
        (("finegym", "official", "finetune"), "SkeletonMAE-graph", "mean_class_accuracy", 91.8, "2d-pose"),
    ],
)
def test_numbers_from_poses_are_found_with_their_metric(where, method, column, value, source):
    own = record("one", 80, 0, **dict(zip(("data", "split", "protocol"), where, strict=True)))
    own["result"]["run"]["data"]["dataset"] = where[0]
    found = next(row for row in rows([[own]]) if row["method"].startswith(method))
    assert found[column] == value
    assert source in found["source"]
    told = [(row["method"], row.get(column)) for row in rows([[own]]) if row["method"].startswith(method)]
    assert len(told) == len(set(told))


def test_the_table_has_means_controls_costs_and_published_numbers(tmp_path):
    runs = [
        [record("one", 80, 0), record("one", 82, 1)],  # one pre-training, two seeds of the protocol
        [record("two", 90, 0), record("two", 92, 1)],
        [record("two", 94, 2)],
    ]
    found = rows(runs)
    two, one = found[:2]
    assert (one["accuracy"], one["accuracy_std"]) == pytest.approx((81, stdev([80, 82])))
    assert (two["accuracy"], two["accuracy_std"]) == pytest.approx((92.5, stdev([91, 94])))  # over pre-trainings
    assert two["results"] == "2 runs × 1.5"
    assert one["gflops"] == 2.5
    published = {r["method"]: r for r in found[2:]}
    assert published["Colorization"]["accuracy"] == 91.1
    assert all(r["source"] for r in published.values())
    write_tables(found, tmp_path)
    text = (tmp_path / "table.md").read_text()
    assert text == markdown(found)
    assert "| two | 92.5 ± 2.1 | 82.5 ± 2.1 | 91.5 ± 2.1 | 54.0 | 62.0 | 2 runs × 1.5 | 1.23 M | 2.5 |" in text
    with (tmp_path / "table.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [float(line["accuracy"]) for line in lines] == [r["accuracy"] for r in found]
    assert lines[2]["accuracy_std"] == ""
    page = (tmp_path / "table.html").read_text()
    assert "$" not in page.split("</style>")[1]
    assert page.count("<h2>") == 1
    assert "nw-ucla · xview · linear" in page
    assert "Colorization" in page


def test_names_cannot_break_the_table(tmp_path):
    name = "<script>|x"
    write_tables(rows([[record(name, 80, 0)]]), tmp_path)
    assert "<script>" not in (tmp_path / "table.html").read_text().split("</style>")[1]
    assert len({line.count("|") for line in (tmp_path / "table.md").read_text().splitlines()}) == 1


def test_flops_are_those_of_the_products():
    settings, _ = compare_plan.parse(None, {"data": "x", "split": "y", "encoder.layers": 2}, "mamp-ntu60")
    of = layout("ntu25")
    encoder = method("mamp").build_encoder(of, settings.sampling.frames, settings.encoder)
    L, D = 30 * 25, 256
    block = 2 * L * D * (3 * D + D + 2 * 4 * D) + 2 * 2 * L * L * D
    assert flops(TrainedEncoder(encoder, settings.sampling, {})) == 2 * L * 4 * 3 * D + 2 * block


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_a_cost(name, tiny):
    settings = make_settings(tiny, name)
    encoder = method(name).build_encoder(tiny.layout, settings.sampling.frames, settings.encoder)
    assert flops(TrainedEncoder(encoder, settings.sampling, {})) > 1000


def test_the_cost_of_a_run(tiny, recipe, tmp_path):
    (work,) = planned(tiny, recipe)
    run = comparing.pretrain(work.settings, tmp_path / "run", True)
    expense = cost(run)
    encoder = load_encoder(run).encoder
    assert expense["parameters"] == sum(p.numel() for p in encoder.parameters())
    lines = [{"step": 2, "tracks_per_second": 6.0}, {"step": 5, "tracks_per_second": 12.0}]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert training_seconds(run, 12) == 2 * 12 / 6 + 3 * 12 / 12
    (run / "metrics.jsonl").unlink()
    assert training_seconds(run, 12) is None

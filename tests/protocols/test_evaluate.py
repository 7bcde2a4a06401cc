"""Evaluation: what a protocol writes down, how finished work is found, and what does not fit."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers import PLAIN, make_settings
from kinemask.protocols import evaluate as evaluating
from kinemask.protocols.catalogue import PROTOCOLS
from kinemask.protocols.evaluate import evaluate, finished
from kinemask.protocols.settings import ProbeSettings
from kinemask.runs.measures import BASELINES, MEASURES
from kinemask.runs.result import Results, read_results
from kinemask.runs.run import Run
from kinemask.skeleton import layout
from kinemask.store.format import Clip
from kinemask.store.writer import write_store
from kinemask.training.pretraining import pretrain
from kinemask.windows.settings import CORRUPTIONS
from tiny_recipe import recipe_file

# some seconds of every protocol
TUNED = {"epochs": 1, "warmup_epochs": 0, "batch_size": 16, "head.hidden": 8, "test_every": 0, "precision": "fp32"}
HEAD = {"epochs": 3, "batch_size": 16, "views": 2}
QUICK = {
    "linear": HEAD,
    "probe": {"per_class": [1, 2]},
    "knn": {},
    "retrieval": {},
    "robustness": HEAD | {kind: [] for kind in CORRUPTIONS} | {"noise": [0.1]},
    "finetune": TUNED,
    "semi": TUNED | {"fraction": 0.5},
}


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory) -> Path:
    return pretrain(make_settings(tiny, training_epochs=2), tmp_path_factory.mktemp("evaluate") / "run", quiet=True)


@pytest.fixture
def own(run, tmp_path) -> Path:
    """A copy of the run without evaluations."""
    return Path(shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("evaluations", "finetune")))


def ask(protocol: str, run: Path, store, split="xsub", **changes) -> Results:
    return evaluate(
        protocol, run, store.path, split, **{"device": "cpu", "baselines": False} | QUICK[protocol] | changes
    )


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below, with when it was written and what is in it."""
    found = {str(p.relative_to(folder)): p for p in sorted(folder.rglob("*")) if p.is_file()}
    return {name: (path.stat().st_mtime_ns, path.read_bytes()) for name, path in found.items()}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_result_says_what_it_promises(protocol, run, tiny):
    chosen = PROTOCOLS[protocol]
    (result,) = ask(protocol, run, tiny, "xcam", seed=0, baselines=True)
    path = Path(result.path)
    assert path.parent == run / "evaluations"
    assert re.fullmatch(rf"{protocol}-tiny-xcam-[0-9a-f]{{8}}\.json", path.name)
    assert result in Run(run).results()
    assert (result.seed, result.protocol, result.split, result.data) == (0, protocol, "xcam", "tiny")
    _, test = tiny.split("xcam")
    assert result.test_clips == (tiny.labels[test] >= 0).sum()
    assert result.test_clips_unseen == result.test_clips - 1  # one is a copy
    assert result.copies
    assert result.measures.keys() <= set(chosen.measures) <= MEASURES.keys()
    assert result.measures.keys() == set(chosen.measures) - {"top5"}  # of three classes
    assert all(0 <= measured.value <= 100 for measured in result.measures.values())
    assert bool(result.curves) == (protocol in ("robustness", "probe"))
    beside = {"from_scratch" if chosen.trains else "untrained_encoder"} | PLAIN
    assert result.baselines.keys() == beside <= BASELINES.keys()
    for scored in result.baselines.values():
        assert scored.measures.keys() <= result.measures.keys()
        assert all(0 <= measured.value <= 100 for measured in scored.measures.values())
        assert scored.curves.keys() == result.curves.keys()
    assert (result.best_epoch is None) == (protocol != "linear")
    assert result.best_epoch is None or result.best_epoch >= result.accuracy
    assert (result.weights is None) == (not chosen.trains)
    assert (result.labels is None) == (protocol not in ("semi", "probe"))
    assert result.trained.method == "mamp"
    assert result.trained.datasets == ["tiny"]
    assert result.seconds > 0
    found = result.scores()
    right = found["scores"].argmax(1) == found["labels"]
    assert found["scores"].shape == (result.test_clips, 3)
    assert list(found["names"]) == [tiny.names[i] for i in test if tiny.labels[i] >= 0]
    assert 100 * right.mean() == pytest.approx(result.accuracy)
    assert 100 * right[found["names"] != "copy"].mean() == pytest.approx(result.unseen)
    for i, name in enumerate(tiny.classes):
        assert 100 * right[found["labels"] == i].mean() == pytest.approx(result.per_class[name])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_finished_work_is_found_and_repeated_when_asked(protocol, own, tiny):
    first = ask(protocol, own, tiny, seed=[0, 1])
    before = files(own)
    assert ask(protocol, own, tiny, seed=[0, 1]) == first
    assert ask(protocol, own, tiny, seed=1) == first[1:]
    assert files(own) == before  # nothing was computed or written
    again = ask(protocol, own, tiny, seed=[1], overwrite=True)
    after = files(own)
    name = str(Path(first[1].path).relative_to(own))
    assert after[name][0] > before[name][0]
    assert replace(again[0], seconds=0) == replace(first[1], seconds=0)
    assert after.keys() == before.keys()


def test_only_what_is_missing_is_computed(own, tiny):
    one, two = ask("linear", own, tiny, seed=[0, 1])
    before = files(own / "evaluations")
    found = ask("linear", own, tiny, seed=[2, 1, 0])
    assert [r.seed for r in found] == [2, 1, 0]
    assert list(found[1:]) == [two, one]
    new = files(own / "evaluations")
    assert {name: new[name] for name in before} == before
    Path(two.path).unlink()
    (again,) = ask("linear", own, tiny, seed=1)  # alone or among others
    assert replace(again, seconds=0) == replace(two, seconds=0)


def test_what_decides_a_number_is_another_key(own, tiny, monkeypatch):
    changes = (
        {},
        {"seed": 1},
        {"lr": 0.2},
        {"sampling": {"test_clips": 3}},
        {"sampling": {"shear": 0.5}},
        {"baselines": True},
        {"split": "xcam"},
    )
    results = [ask("linear", own, tiny, **change)[0] for change in changes]
    with monkeypatch.context() as patch:  # as by hand, when code gives other numbers
        patch.setattr(evaluating, "NUMERICS", evaluating.NUMERICS + 1)
        results += ask("linear", own, tiny)
    shutil.copy(own / "encoder.safetensors", own / "encoder-other.safetensors")
    results += ask("linear", own, tiny, encoder="encoder-other")
    assert len({r.hash for r in results}) == len({r.path for r in results}) == len(changes) + 2
    assert len(read_results(own)) == len(results)
    assert results[3].sampling["test_clips"] == 3
    assert results[0].accuracy == results[-2].accuracy == results[-1].accuracy
    assert results[0].baselines == {}


def test_another_encoder_under_the_same_name_is_another_key(own, tiny, tmp_path):
    (before,) = ask("knn", own, tiny)
    longer = pretrain(make_settings(tiny, training_epochs=6), tmp_path / "longer", quiet=True)
    shutil.copy(longer / "encoder.safetensors", own / "encoder.safetensors")
    (after,) = ask("knn", own, tiny)
    assert after.hash != before.hash
    assert [Run(own).is_current(r) for r in (before, after)] == [False, True]


def test_labels_that_are_given_count_by_their_content(own, tiny):
    half, most = (ask("semi", own, tiny, seed=0, fraction=share)[0] for share in (0.5, 0.8))
    given = own / "labels.json"
    shutil.copy(half.path, given)
    settings = TUNED | {"labels": str(given)}
    (first,) = evaluate("semi", own, tiny.path, "xsub", device="cpu", seed=7, baselines=False, **settings)
    assert first.labels == half.labels
    shutil.copy(most.path, given)
    (second,) = evaluate("semi", own, tiny.path, "xsub", device="cpu", seed=7, baselines=False, **settings)
    assert second.labels == most.labels
    assert second.hash != first.hash


def test_finished_results_are_found_in_any_precision(own, tiny):
    run, given = Run(own), QUICK["linear"]
    kept = ask("linear", own, tiny, seed=[0, 1])
    find = lambda seeds, **changes: finished("linear", run, str(tiny.path), "xsub", seeds, False, given | changes)
    assert find([0, 1, 2]) == {0: kept[0], 1: kept[1]}
    assert find([0], lr=0.2) == {}
    path = Path(kept[0].path)
    content = json.loads(path.read_text()) | {"precision": "cuda bf16"}
    path.write_text(json.dumps(content))
    assert find([0])[0].precision == "cuda bf16"
    (own / "encoder.safetensors").unlink()
    assert find([0]) == {}


@pytest.mark.parametrize("protocol", ["finetune", "semi"])
def test_without_a_run_results_live_with_what_is_trained(protocol, tiny, tmp_path):
    given = {
        "recipe": recipe_file(tmp_path, "one"),
        "out": tmp_path / "scratch",
        "device": "cpu",
        "baselines": False,
        "seed": [0, 1],
        **QUICK[protocol],
    }
    first = evaluate(protocol, None, tiny.path, "xsub", **given)
    assert [Path(r.path).parents[1].name for r in first] == ["seed0", "seed1"]
    assert all(r.scratch and r.encoder is None for r in first)
    before = files(tmp_path)
    assert evaluate(protocol, None, tiny.path, "xsub", **given) == first
    assert files(tmp_path) == before


def test_what_is_returned_shows_itself(run, tiny):
    pytest.importorskip("pandas")
    results = ask("linear", run, tiny, seed=[0, 1], baselines=True)
    frame = results.to_frame()
    assert list(frame["accuracy"]) == [r.accuracy for r in results]
    assert list(frame["accuracy.unseen"].dropna()) == [r.unseen for r in results if r.unseen is not None]
    untrained = [r.baselines["untrained_encoder"].accuracy for r in results]
    assert list(frame["untrained_encoder.accuracy"]) == untrained
    assert list(frame["path"]) == [r.path for r in results]
    html = results._repr_html_()
    assert html.startswith("<table>")
    assert "linear, tiny xsub" in html
    assert "linear, tiny xsub" in str(results)


def test_baselines_do_not_depend_on_the_weights_under_test(run, tiny, tmp_path):
    other = pretrain(make_settings(tiny, training_epochs=6), tmp_path / "longer", quiet=True)
    a, b = (ask("knn", folder, tiny, baselines=True)[0] for folder in (run, other))
    assert a.baselines == b.baselines
    assert a.hash != b.hash


@pytest.mark.parametrize("protocol", ["linear", "finetune"])
def test_windows_are_as_the_run_the_recipe_and_the_call_say(protocol, tiny, tmp_path):
    settings = make_settings(tiny, training_epochs=1, sampling_shear=0.5)
    run = pretrain(settings, tmp_path / "run", quiet=True)
    assert ask(protocol, run, tiny)[0].sampling["shear"] == 0.5
    own = {protocol: {"sampling": {"shear": 0.25}, "epochs": 2}}
    run = pretrain(replace(settings, **own), tmp_path / "recipe", quiet=True)
    (result,) = ask(protocol, run, tiny)
    assert (result.sampling["shear"], result.settings["epochs"]) == (0.25, QUICK[protocol]["epochs"])
    (result,) = ask(protocol, run, tiny, sampling={"shear": 0.0})
    assert result.sampling == settings.to_dict()["sampling"] | {"shear": 0.0}


@pytest.mark.parametrize("name", ["mae", "hacm", "skeletonmae"])
def test_every_method_can_be_evaluated(name, tiny, tmp_path):
    run = pretrain(make_settings(tiny, name, training_epochs=1), tmp_path / name, quiet=True)
    (result,) = ask("knn", run, tiny)
    assert result.trained.method == name


def test_a_class_that_was_learnt_is_recognised(run, tiny):
    """The made-up classes swing other limbs; chance is 33 %."""
    (result,) = ask("linear", run, tiny, "xcam", epochs=60, views=4)
    assert result.accuracy > 50


def test_a_test_part_of_copies_only(run, tmp_path):
    clips = [
        Clip(f"{side}{i}", np.random.default_rng(i).normal(size=(1, 9, 15, 3)), i % 2, {"split:x": side})
        for side in ("train", "test")
        for i in range(4)
    ]
    store = write_store(tmp_path / "copies", clips, layout("sbu15"), ["a", "b"], meta={"dataset": "copies"})
    (result,) = ask("knn", run, store, "x")
    assert (result.test_clips, result.test_clips_unseen, result.accuracy, result.unseen) == (4, 0, 100, None)
    assert Run(run).results()


# what does not fit


def test_what_does_not_fit_is_told(run, tiny, tmp_path):
    with pytest.raises(ValueError, match=r"nonsense.*linear"):
        evaluate("nonsense", run, tiny.path, "xsub")
    with pytest.raises(ValueError, match=r"nonsense.*xsub"):
        ask("knn", run, tiny, "nonsense")
    with pytest.raises(ValueError, match="no encoder"):
        ask("knn", tmp_path, tiny)
    with pytest.raises(ValueError, match="no encoder"):
        ask("knn", run, tiny, encoder="encoder-student")
    with pytest.raises(ValueError, match="seed"):
        ask("knn", tmp_path / "nowhere", tiny, seed=[])
    with pytest.raises(ValueError, match="no store"):
        evaluate("knn", run, tmp_path / "nowhere", "xsub")
    with pytest.raises(ValueError, match="neighbour"):
        ask("knn", run, tiny, neighbors=3)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="cuda"):
            ask("knn", run, tiny, device="cuda")


@pytest.mark.parametrize(
    "protocol, given, told",
    [
        ("knn", {"run": None}, "a run is needed"),
        ("finetune", {"run": None}, "either a run or a recipe"),
        ("finetune", {"recipe": "mamp-nw-ucla"}, "either a run or a recipe"),
        ("knn", {"recipe": "mamp-nw-ucla"}, "trains no encoder, so it needs a run"),
        ("linear", {"out": "somewhere"}, "trains no encoder, its results go to the run's folder"),
        (
            "finetune",
            {"run": None, "recipe": "mamp-nw-ucla", "encoder": "other"},
            "without a run there is no file other",
        ),
        ("finetune", {"run": None, "recipe": "mamp-nw-ucla", "data": None}, "data and split are needed"),
        ("knn", {"sampling": {"test_clips": 0}}, "test_clips must be positive"),
        ("knn", {"sampling": {"frames": 48}}, r"sampling\.frames: the encoder was trained with its own"),
        ("knn", {"sampling": {"stream": "bone"}}, r"sampling\.stream: the encoder was trained with its own"),
        ("knn", {"sampling": {"shear": 0.1}}, r"sampling\.shear has no effect: knn draws no augmented windows"),
        ("linear", {"sampling": {"sheer": 0.1}}, "sheer"),
    ],
    ids=str,
)
def test_what_was_asked_for_is_not_enough_or_too_much(protocol, given, told, run, tiny):
    with pytest.raises(ValueError, match=told):
        evaluate(protocol, **{"run": run, "data": tiny.path, "split": "xsub", "device": "cpu"} | given)


def test_data_and_split_are_the_runs_unless_given(run, tiny):
    (result,) = evaluate("knn", run, device="cpu", baselines=False)
    assert (result.data, result.split) == ("tiny", "xsub")


def test_a_run_that_has_not_finished_is_told(run, tiny, tmp_path):
    (tmp_path / "config.yaml").write_bytes((run / "config.yaml").read_bytes())
    with pytest.raises(ValueError, match="has not finished training"):
        ask("knn", tmp_path, tiny)


def test_a_damaged_result_is_told_not_repeated(own, tiny):
    (result,) = ask("knn", own, tiny)
    Path(result.path).write_text("{")
    with pytest.raises(ValueError, match=rf"{Path(result.path).name} is damaged"):
        ask("knn", own, tiny)
    assert replace(ask("knn", own, tiny, overwrite=True)[0], seconds=0) == replace(result, seconds=0)


def test_another_layout_is_told(run, tmp_path):
    clips = [
        Clip(str(i), np.random.default_rng(i).normal(size=(1, 9, 20, 3)), 0, {"split:x": side})
        for i, side in enumerate(("train", "test"))
    ]
    store = write_store(tmp_path / "other", clips, layout("utd20"), ["a"])
    with pytest.raises(ValueError, match=r"sbu15 \(15 joints\).*utd20 \(20 joints\)"):
        ask("knn", run, store, "x")


def test_a_split_without_labels_is_told(run, tmp_path):
    clips = [
        Clip(str(i), np.random.default_rng(i).normal(size=(1, 9, 15, 3)), 0 if i < 2 else None, {"split:x": side})
        for i, side in enumerate(("train", "train", "test", "test"))
    ]
    store = write_store(tmp_path / "half", clips, layout("sbu15"), ["a"])
    with pytest.raises(ValueError, match=r"test part.*no labelled clips"):
        ask("knn", run, store, "x")


def test_a_readout_is_a_setting_of_frozen_protocols(own, tiny):
    plain, rich = (
        ask("probe", own, tiny, per_class=[], **changes)[0]
        for changes in ({}, {"readout": {"over": "parts", "pieces": [1, 2], "statistics": ["mean", "max"]}})
    )
    assert rich.hash != plain.hash
    assert rich.settings["readout"]["over"] == "parts"
    assert not np.allclose(rich.scores()["scores"], plain.scores()["scores"])


def test_the_first_layers_alone_may_be_read(tiny, tmp_path):
    two = pretrain(make_settings(tiny, training_epochs=1, encoder_layers=2), tmp_path / "two", quiet=True)
    whole, first = (ask("probe", two, tiny, per_class=[], readout={"layers": n})[0] for n in (2, 1))
    assert not np.allclose(first.scores()["scores"], whole.scores()["scores"])
    with pytest.raises(ValueError, match=r"readout\.layers: 9 layers of an encoder that has 2"):
        ask("probe", two, tiny, readout={"layers": 9})


@pytest.fixture
def warm(monkeypatch):
    """Probabilities at one temperature: by the best one, clips as easy as these have 0 and 1 alone."""
    monkeypatch.setattr("kinemask.protocols.ridge.fit_temperature", lambda scores, labels: (1.0, 0.0))


@pytest.mark.usefixtures("warm")
def test_random_convolutions_stand_beside_the_encoder(own, tiny):
    scores = lambda **changes: ask("probe", own, tiny, **changes)[0].scores()["scores"]
    alone, beside = scores(), scores(beside="convolutions")
    assert not np.array_equal(alone, beside)
    assert not np.array_equal(scores(beside="convolutions", seed=1), beside)  # other kernels


def test_logistic_regression_has_nothing_beside():
    with pytest.raises(ValueError, match=r"probe\.beside convolutions needs probe\.kind ridge"):
        ProbeSettings(kind="logistic", beside="convolutions")
    with pytest.raises(ValueError, match=r"probe\.twins needs probe\.kind ridge"):
        ProbeSettings(kind="logistic", twins=True)


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("beside", ["none", "convolutions"])
def test_what_twins_differ_in_counts_less_in_a_probe(own, tiny, beside):
    plain, twins = (ask("probe", own, tiny, beside=beside, twins=on)[0] for on in (False, True))
    assert twins.settings["twins"]
    assert not np.array_equal(plain.scores()["scores"], twins.scores()["scores"])


def test_views_are_further_rows_of_the_probe(own, tiny):
    plain, more = (ask("probe", own, tiny, per_class=[], views=n)[0] for n in (0, 2))
    assert not np.allclose(more.scores()["scores"], plain.scores()["scores"])
    with pytest.raises(ValueError, match=r"sampling\.noise has no effect: probe draws no augmented windows"):
        ask("probe", own, tiny, sampling={"noise": 0.1})
    ask("probe", own, tiny, views=1, sampling={"noise": 0.1})

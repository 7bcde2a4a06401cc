"""What a comparison consists of, and the keys of its runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import kinemask
from helpers import recordings
from kinemask import compare
from kinemask.comparison import work as keys
from kinemask.comparison.plan import Asked, plan, resolve
from kinemask.comparison.work import Work
from kinemask.runs.result import hash8
from kinemask.store.writer import write_store
from tiny_recipe import recipe_file


@pytest.fixture
def recipe(tmp_path) -> str:
    return recipe_file(tmp_path, "one")


def planned(store, recipe: str, **changes) -> list[Work]:
    given = {"protocols": ["knn"], "data": [str(store.path)], "split": ["xsub"], "methods": [recipe]}
    return plan(Asked(**given | changes))


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


@pytest.mark.parametrize(
    "name, dataset, told",
    [
        ("mamp", "mine", "no recipe mamp-mine; .*mamp-ntu60"),
        ("mamp", "ntu", "no recipe mamp-ntu; .*mamp-ntu60"),
        ("mamp-ntu6", "nw-ucla", "unknown recipe 'mamp-ntu6'; did you mean mamp-ntu60"),
        ("x", "ntu60", "unknown recipe 'x'; known: .*mamp-ntu60"),
    ],
)
def test_a_recipe_that_is_not_there_is_told(name, dataset, told):
    with pytest.raises(ValueError, match=told):
        resolve(name, dataset, False)


# keys


@pytest.mark.parametrize(
    "change",
    [
        {"cluster": "slurm"},
        {"cluster": "slurm", "overrides": {"training.device": "cpu"}},
        {"seeds": [1]},
        {"split": ["xcam"]},
        {"overrides": {"training.lr": "2e-3"}},
        {"overrides": {"one.pretext.tau": 0.7}},
    ],
    ids=str,
)
def test_what_decides_a_run_is_in_its_key(change, tiny, recipe):
    (base,), (again,), (other,) = (planned(tiny, recipe, **given) for given in ({}, {}, change))
    assert base.key == again.key
    assert base.name == again.name
    assert other.key != base.key
    assert other.name != base.name


@pytest.mark.parametrize(
    "change",
    [
        {"overrides": {"knn.neighbours": "3"}},
        {"baselines": False},
        {"protocols": ["knn", "linear"]},
        {"protocol_seeds": [4, 5]},
    ],
    ids=str,
)
def test_what_decides_evaluations_alone_leaves_the_run(change, tiny, recipe):
    (base,), (other,) = planned(tiny, recipe), planned(tiny, recipe, **change)
    assert other.name == base.name
    assert (other.evaluations, other.baselines) != (base.evaluations, base.baselines)


def test_another_state_of_the_numbers_is_another_key(tiny, recipe, monkeypatch):
    (base,) = planned(tiny, recipe)
    monkeypatch.setattr(keys, "NUMERICS", keys.NUMERICS + 1)
    (other,) = planned(tiny, recipe)
    assert other.name != base.name
    assert {k: v for k, v in other.key.items() if k != "numerics"} == {
        k: v for k, v in base.key.items() if k != "numerics"
    }


def test_another_skeleton_of_the_same_recordings_is_another_key(tiny, recipe, tmp_path):
    shutil.copytree(tiny.path, tmp_path / "moved")
    moved, base = (planned(tiny, recipe, data=[str(path)])[0] for path in (tmp_path / "moved", tiny.path))
    assert moved.name == base.name  # where it lies does not count
    path = tmp_path / "moved" / "meta.json"
    meta = json.loads(path.read_text())
    meta["layout"]["torso"].reverse()
    path.write_text(json.dumps(meta))
    (other,) = planned(tiny, recipe, data=[str(tmp_path / "moved")])
    assert other.name != base.name


def test_an_encoder_to_start_from_counts_by_its_content(tiny, recipe, tmp_path):
    (tmp_path / "encoder.safetensors").write_bytes(b"one")
    change = {"overrides": {"training.init_from": str(tmp_path)}}
    (before,) = planned(tiny, recipe, **change)
    (tmp_path / "encoder.safetensors").write_bytes(b"two")
    (after,) = planned(tiny, recipe, **change)
    assert before.key != after.key
    shutil.copy(tmp_path / "encoder.safetensors", tmp_path / "same.safetensors")
    moved = {"overrides": {"training.init_from": str(tmp_path / "same.safetensors")}}
    assert planned(tiny, recipe, **moved)[0].key == after.key


@pytest.mark.slow
def test_a_comment_in_the_source_leaves_every_key(tiny, recipe, tmp_path):
    (base,) = planned(tiny, recipe, overrides={"training.device": "cpu"})
    source = tmp_path / "source" / "kinemask"
    shutil.copytree(Path(kinemask.__file__).parent, source, ignore=shutil.ignore_patterns("__pycache__"))
    for path in source.rglob("*.py"):
        path.write_text(path.read_text() + "\n# a comment\n")
    asked = {"methods": [recipe], "data": [str(tiny.path)], "split": ["xsub"], "protocols": ["knn"]}
    asked |= {"overrides": {"training.device": "cpu"}}
    code = "import json, sys; from kinemask.comparison.plan import Asked, plan"
    code += "; print(plan(Asked(**json.loads(sys.argv[1])))[0].name)"
    said = subprocess.run(
        [sys.executable, "-c", code, json.dumps(asked)],
        env={**os.environ, "PYTHONPATH": str(source.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == base.name
    assert base.name.endswith(hash8(base.key))


# mistakes


@pytest.mark.parametrize(
    "change, told",
    [
        ({"protocols": ["nonsense"]}, "unknown protocol 'nonsense'"),
        ({"protocols": []}, "protocols is empty"),
        ({"seeds": [1, 1]}, "seeds names something twice"),
        ({"protocol_seeds": []}, "protocol_seeds is empty"),
        ({"data": ["a", "b"], "split": ["x", "y", "z"]}, "one for all stores"),
        ({"split": ["xsub", "xsub"]}, "tiny xsub is named twice"),
        ({"streams": ["bone", "bone"]}, "stream names something twice"),
        ({"sweep": ["pretext.tau"]}, "needs values"),
        ({"sweep": ["pretext.tua", "1"]}, "did you mean pretext.tau"),
        ({"snapshots": True}, "snapshot-every"),
        ({"target_split": ["xsub"]}, "no effect without target"),
        ({"targets": ["nowhere"], "target_split": ["xsub"]}, "no store"),
        ({"encoders": []}, "encoder is empty"),
        ({"split": ["nope"]}, "no split 'nope'"),
        ({"data": ["nowhere"]}, "no store"),
        ({"methods": ["mamp-moon"]}, "unknown recipe"),
        ({"overrides": {"training.epoch": 3}}, r"one.yaml: .*did you mean training.epochs"),
        ({"overrides": {"knn.neighbour": 3}}, "neighbour"),
        ({"overrides": {"knn.sampling.test_clip": 3}}, "did you mean test_clips"),
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
    shutil.copytree(tiny.path, tmp_path / "copy")
    with pytest.raises(ValueError, match="two of the stores hold tiny"):
        planned(tiny, recipe, data=[str(tiny.path), str(tmp_path / "copy")])
    with pytest.raises(ValueError, match="two methods mean the same recipe"):
        planned(tiny, recipe, methods=["mamp", "mamp-demo"], data=[str(demo)])
    with pytest.raises(ValueError, match=r"slurm\.partition has no effect"):
        compare([recipe], tiny.path, "xsub", settings={"slurm.partition": "x"})


def test_several_splits_of_a_store(tiny, recipe):
    assert [w.settings.split for w in planned(tiny, recipe, split=["xsub", "xcam"])] == ["xsub", "xcam"]


def test_seeds_of_protocols(tiny, recipe):
    settings = {"seeds": [2], "protocols": ["knn", "semi"]}
    (usual,), (given,) = planned(tiny, recipe, **settings), planned(tiny, recipe, **settings, protocol_seeds=[7, 8])
    seeds = lambda work: {e.protocol: e.seeds for e in work.evaluations}
    assert seeds(usual) == {"knn": (2,), "semi": (0, 1, 2, 3, 4)}
    assert seeds(given) == {"knn": (7, 8), "semi": (7, 8)}


def test_stores_with_a_split_each_may_come_again(tiny, recipe):
    work = planned(tiny, recipe, data=[str(tiny.path)] * 2, split=["xcam", "xsub"])
    assert [w.settings.split for w in work] == ["xcam", "xsub"]


def labels(work: Work) -> list[tuple[str, str, str]]:
    return [(e.label, e.series, e.at) for e in work.evaluations]


def test_a_sweep_of_pre_training_is_a_run_for_each_value(tiny, recipe):
    work = planned(tiny, recipe, sweep=["pretext.tau", "0.5", "0.8"])
    assert [w.settings.pretext.tau for w in work] == [0.5, 0.8]
    assert [labels(w) for w in work] == [[(f"one, pretext.tau {v}", "one", v)] for v in ("0.5", "0.8")]


@pytest.mark.parametrize(
    "change, told",
    [
        ({"sweep": ["pretext.tau", "0.7"], "overrides": {"pretext.tau": 0.9}}, "sweep gives pretext.tau its values"),
        ({"sweep": ["pretext.tau", "0.7"], "overrides": {"one.pretext.tau": 0.9}}, "so one.pretext.tau would have no"),
        ({"sweep": ["knn.neighbours", "1"], "overrides": {"knn.neighbours": 5}}, "sweep gives knn.neighbours its"),
        ({"streams": ["joint", "bone"], "overrides": {"sampling.stream": "motion"}}, "stream gives sampling.stream"),
    ],
)
def test_a_setting_is_not_given_beside_its_sweep(change, told, tiny, recipe):
    with pytest.raises(ValueError, match=told):
        planned(tiny, recipe, **change)


def test_a_sweep_of_a_protocol_is_one_run(tiny, recipe):
    (work,) = planned(tiny, recipe, protocols=["semi"], sweep=["semi.fraction", "0.01", "0.1"])
    assert [e.own for e in work.evaluations] == [{"fraction": "0.01"}, {"fraction": "0.1"}]
    assert len({e.label for e in work.evaluations}) == 2


def test_a_sweep_of_one_protocol_leaves_the_others_lines(tiny, recipe):
    (work,) = planned(tiny, recipe, protocols=["knn", "retrieval"], sweep=["knn.neighbours", "1", "3"])
    assert [e.label for e in work.evaluations if e.protocol == "retrieval"] == ["one"]
    assert [e.label for e in work.evaluations if e.protocol == "knn"] == [
        "one, knn.neighbours 1",
        "one, knn.neighbours 3",
    ]


def test_streams_are_runs_whose_scores_are_fused(tiny, recipe):
    work = planned(tiny, recipe, streams=["joint", "bone"])
    assert [w.settings.sampling.stream for w in work] == ["joint", "bone"]
    assert [(e.label, e.fused) for w in work for e in w.evaluations] == [
        ("one, joint", "one, joint + bone"),
        ("one, bone", "one, joint + bone"),
    ]


def test_targets_and_encoders_are_evaluations_of_one_run(tiny, recipe, tmp_path):
    write_store(tmp_path / "other", recordings(tiny.layout, 6), tiny.layout, tiny.classes, meta={"dataset": "other"})
    targets = {"targets": [str(tmp_path / "other"), str(tiny.path)], "target_split": ["xsub"]}
    (work,) = planned(tiny, recipe, **targets, encoders=["teacher", "student"])
    found = [(Path(e.data).name, e.encoder, e.label) for e in work.evaluations]
    assert found == [
        (name, role, f"one, {role}") for name in ("other", tiny.path.name) for role in ("teacher", "student")
    ]


def test_snapshots_are_points_over_epochs(tiny, recipe):
    given = {"training.epochs": 4, "training.snapshot_every": 2}
    (work,) = planned(tiny, recipe, overrides=given, encoders=["teacher", "student"], snapshots=True)
    assert [(e.encoder, e.series, e.at) for e in work.evaluations] == [
        ("encoder-epoch0002", "one, teacher", "2"),
        ("encoder-epoch0004", "one, teacher", "4"),
        ("encoder-student-epoch0002", "one, student", "2"),
        ("encoder-student-epoch0004", "one, student", "4"),
    ]


def test_sampling_of_a_protocol_is_its_own(tiny, recipe):
    (work,) = planned(tiny, recipe, overrides={"knn.sampling.test_clips": 2, "knn.neighbours": 3})
    (found,) = work.evaluations
    assert (found.own, found.sampling) == ({"neighbours": 3}, {"test_clips": 2})
    assert work.settings.sampling.test_clips == 1

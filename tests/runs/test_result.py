"""Results: to JSON and back, what is wrong with a file, keys, and how results are shown."""

from __future__ import annotations

import json
import sys
import zipfile
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from kinemask.plain_file import JSON_BYTES
from kinemask.runs.measures import BASELINES, Measured
from kinemask.runs.result import (
    Key,
    Result,
    Results,
    Scored,
    find_result,
    group_seeds,
    hash8,
    read_result,
    read_results,
    same_key,
    write_result,
)
from kinemask.runs.text import summary, table
from made_results import LABELS, NAMES, full_result, keep, made_result


def changed(path: Path, name: str, value: object) -> Path:
    """The file with another value at this dotted name; ... takes it away."""
    content = json.loads(path.read_text())
    *inside, last = name.split(".")
    at = content
    for key in inside:
        at = at[int(key) if isinstance(at, list) else key]
    if value is ...:
        del at[last]
    else:
        at[last] = value
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("made", [made_result, full_result])
def test_a_result_goes_to_json_and_back(made, tmp_path):
    written = keep(tmp_path, made())
    assert asdict(written) == asdict(replace(made(), path=written.path))
    assert read_result(Path(written.path)) == written
    assert read_results(tmp_path) == [written]
    assert Path(written.path).name == f"linear-nw-ucla-xview-{written.hash}.json"
    json.loads(Path(written.path).read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    found = written.scores()
    assert list(found["names"]) == NAMES
    assert np.array_equal(found["labels"], LABELS)
    assert np.trace(found["confusion"]) == 40


def test_a_full_result_leaves_no_field_out():
    assert [f.name for f in fields(Result) if getattr(full_result(), f.name) in (None, [], {}, "")] == [
        "encoder_sha256",
        "path",
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"{}",
        b"[]",
        b"3",
        b"\xff",
        b"",
        b"[" * 10**5,
        b'{"format": 2, "settings": ' + b"[" * 200 + b"]" * 200 + b"}",
        b'{"format": 2, "seed": ' + b"9" * 5000 + b"}",
        b'{"format": ' + b"9" * 400 + b"}",
        b"x" * (JSON_BYTES + 1),
    ],
)
def test_hostile_results_are_refused_by_name(content, tmp_path):
    path = Path(keep(tmp_path).path)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=path.name) as error:
        read_result(path)
    assert len(str(error.value)) <= 500


def test_numbers_beyond_int64_in_a_result_are_refused(tmp_path):
    path = Path(keep(tmp_path).path)
    for name in ("seed", "test_clips", "settings.epochs", "measures.accuracy.value"):
        before = path.read_bytes()
        changed(path, name, 10**30)
        with pytest.raises(ValueError, match=path.name):
            read_result(path)
        path.write_bytes(before)


@pytest.mark.parametrize(
    "name, array",
    [
        ("scores", np.zeros(40)),
        ("scores", np.zeros((39, 4))),
        ("scores", np.zeros((40, 4), int)),
        ("labels", np.zeros((40, 1), int)),
        ("labels", np.zeros(40)),
        ("names", np.zeros(40)),
        ("unseen", np.zeros(40)),
        ("unseen", np.zeros(41, bool)),
        ("more", np.zeros((1 << 29) // 8 + 1)),
    ],
)
def test_scores_of_another_kind_are_refused(name, array, tmp_path):
    result = keep(tmp_path)
    if array.nbytes > 1 << 20:  # what its directory says is enough
        with zipfile.ZipFile(result.scores_path, "a") as file:
            info = zipfile.ZipInfo(f"{name}.npy")
            file.writestr(info, b"")
            info.file_size = array.nbytes
    else:
        np.savez(result.scores_path, **result.scores() | {name: array})
    with pytest.raises(ValueError, match=rf"{result.scores_path.name}, are damaged: "):
        result.scores()


@pytest.mark.parametrize("name", [f.name for f in fields(Result) if f.name not in ("path", "format")])
def test_every_field_is_checked(name, tmp_path):
    path = changed(Path(keep(tmp_path, full_result()).path), name, [[None]])
    with pytest.raises(ValueError, match=rf"{path.name}: .*\b{name}\b"):
        read_result(path)


@pytest.mark.parametrize(
    "name, value, told",
    [
        ("seed", ..., "missing required field `seed`"),
        ("measures", ..., "missing required field `measures`"),
        ("measures.accuracy", ..., "measures lack accuracy"),
        ("measures.accuracy.value", "80", r"`float`, got `str`.*measures.*value"),
        ("measures.accuracy.interval", [1.0], r"length 2.*measures.*interval"),
        ("baselines.untrained_encoder.measures", {}, r"measures lack accuracy.*baselines"),
        ("curves.noise.levels", [0.0], r"1 levels, but 2.*curves"),
        ("trained.pretraining.method", 3, r"`str`, got `int`.*trained.pretraining.method"),
        ("members.0.weight", None, r"members\[0\].weight|members.*weight"),
        ("accuracy", 80.0, "unknown field `accuracy`"),
        ("measures.accuracy.mean", 80.0, "unknown field `measures.accuracy.mean`"),
        ("members.0.colour", "red", "unknown field `members.0.colour`"),
        ("trained.pretraining.data", {}, "unknown field `trained.pretraining.data`"),
        ("format", 1, "no result of this version"),
        ("format", ..., "no result of this version"),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_file_is_told(name, value, told, tmp_path):
    path = changed(Path(keep(tmp_path, full_result()).path), name, value)
    for read in (lambda: read_result(path), lambda: read_results(tmp_path)):
        with pytest.raises(ValueError, match=rf"(?s){path.name}.*{told}"):
            read()


@pytest.mark.parametrize("text", ["", "{bad", "[" * 100_000, "\xff", "cut"])
def test_files_that_are_no_json_are_named(text, tmp_path):
    path = Path(keep(tmp_path).path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if text == "cut" else text.encode("latin1"))
    with pytest.raises(ValueError, match=rf"{path.name} is damaged"):
        read_results(tmp_path)


@pytest.mark.parametrize("text", ["{}", "[]", "3", '{"format": 99}'])
def test_json_that_is_no_result_is_named(text, tmp_path):
    path = Path(keep(tmp_path).path)
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"{path.name} is no result of this version.*evaluate again"):
        read_results(tmp_path)


def test_damaged_scores_are_told(tmp_path):
    result = keep(tmp_path)
    whole = result.scores_path.read_bytes()
    for content, told in ((b"no archive", "damaged"), (whole[:200], "damaged"), (None, "absent")):
        result.scores_path.unlink()
        if content is not None:
            result.scores_path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"{result.scores_path.name}, are {told}"):
            result.scores()
    np.savez(result.scores_path, scores=np.eye(2))
    with pytest.raises(ValueError, match="lack scores, labels, names or unseen"):
        result.scores()


def test_a_result_that_is_no_json_leaves_no_file(tmp_path):
    result = made_result(measures={"accuracy": Measured(value=float("nan"))})
    with pytest.raises(ValueError, match="JSON"):
        write_result(tmp_path, result, torch.eye(4)[LABELS], LABELS, NAMES, LABELS >= 0)
    assert not any((tmp_path / "evaluations").iterdir())


CHANGES = {
    "protocol": "knn",
    "data": "ntu60",
    "split": "xsub",
    "seed": 1,
    "settings": {"epochs": 2},
    "sampling": {"test_clips": 2},
    "encoder": "encoder-student",
    "encoder_sha256": "1",
    "architecture": {"name": "transformer", "width": 32},
    "store_sha256": {"clips.csv": "1"},
    "baselines_asked": True,
    "precision": "cuda bf16",
    "numerics": 2,
    "files": {"labels": "1"},
}


@pytest.mark.parametrize("name", [f.name for f in fields(Key)])
def test_everything_in_a_key_decides(name, tmp_path):
    kept = keep(tmp_path)
    assert find_result(tmp_path, made_result().key) == kept
    other = replace(made_result().key, **{name: CHANGES[name]})
    assert other.hash != kept.hash
    assert not same_key(kept, other)
    assert find_result(tmp_path, other) is None


def test_a_key_in_memory_may_have_tuples(tmp_path):
    kept = keep(tmp_path, made_result(sampling={"crop": [0.5, 1.0]}))
    assert find_result(tmp_path, made_result(sampling={"crop": (0.5, 1.0)}).key) == kept
    assert hash8({"b": 1, "a": 2}) == hash8({"a": 2, "b": 1})


def test_a_result_without_its_scores_is_not_finished(tmp_path):
    kept = keep(tmp_path)
    kept.scores_path.unlink()
    assert find_result(tmp_path, kept.key) is None


def test_another_key_under_the_same_name_is_not_found(tmp_path):
    kept = keep(tmp_path)
    changed(Path(kept.path), "seed", 1)
    assert find_result(tmp_path, kept.key) is None


def test_results_are_grouped_by_all_but_the_seed():
    results = [made_result(seed=seed, split=split) for seed in (2, 0, 1) for split in ("xview", "xsub")]
    groups = group_seeds(results)
    assert [[(r.seed, r.split) for r in group] for group in groups] == [
        [(seed, split) for seed in (0, 1, 2)] for split in ("xview", "xsub")
    ]


# how they are shown


def shown_results() -> Results:
    scored = lambda value: Scored(measures={"accuracy": Measured(value=value, unseen=50.0)})
    baselines = {name: scored(40.0 + i) for i, name in enumerate(BASELINES)}
    measures = lambda value: {"accuracy": Measured(value=value, unseen=70.0), "macro_f1": Measured(value=12.5)}
    return Results(made_result(seed=s, measures=measures(80.0 + s), baselines=baselines) for s in (0, 1))


def test_results_as_a_frame():
    pytest.importorskip("pandas")
    frame = shown_results().to_frame()
    assert list(frame["seed"]) == [0, 1]
    assert list(frame["accuracy"]) == [80.0, 81.0]
    assert list(frame["accuracy.unseen"]) == [70.0, 70.0]
    assert list(frame["macro_f1"]) == [12.5, 12.5]
    assert list(frame["untrained_encoder.accuracy"]) == [40.0, 40.0]
    assert set(frame["protocol"]) == {"linear"}
    assert len(Results().to_frame()) == 0


def test_a_frame_needs_pandas(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ValueError, match=r"pip install 'kinemask\[tables\]'"):
        shown_results().to_frame()


def test_results_in_a_notebook():
    html = shown_results()._repr_html_()
    assert html.startswith("<table>")
    assert html.count("<tr>") == html.count("</tr>") > 4
    for text in ("linear, nw-ucla xview", "80.5 ± 0.7 %", "untrained encoder", "macro F1"):
        assert text in html
    hostile = Results([made_result(data="<script>")])
    assert "<script>" not in hostile._repr_html_()
    assert Results()._repr_html_() == ""


def test_results_in_print():
    text = str(shown_results())
    assert text == table(shown_results())
    assert "seeds: 2" in text
    assert "on the 35 unseen clips" in text
    full = str(Results([full_result()]))
    for told in (
        "1 of 2 joints matched by name; new: tail",
        "0: 80.0  0.1: 60.5",
        "(bone, weight 0.5)",
        "70.5 to 88.0",
    ):
        assert told in full


def test_an_accuracy_of_zero_is_an_accuracy():
    nothing = made_result(measures={"accuracy": Measured(value=0.0)}, best_epoch=0.0)
    assert "best epoch" in table(Results([nothing]))
    assert "macro F1" not in table(Results([nothing]))
    assert "best epoch" not in table(Results([replace(nothing, best_epoch=None)]))


def test_summaries():
    assert summary([61.638]) == "61.6"
    assert summary([60.0, 62.0]) == "61.0 ± 1.4"

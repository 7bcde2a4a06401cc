"""Labels and features of recordings: of any format, long ones, of several people, of other layouts; bad input."""

from __future__ import annotations

import csv
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from helpers import CLASSES, make_settings, recording
from kinemask import Recogniser, cli, embed, load_encoder, open_store, predict
from kinemask.nn.settings import ReadoutSettings
from kinemask.recognition.inputs import Inputs, Recording, match_layouts, people_of
from kinemask.recognition.predict import predict as full
from kinemask.recognition.segments import cut, merge
from kinemask.skeleton import layout
from kinemask.training.pretraining import pretrain
from readers.samples import write_mediapipe
from recognition_clips import SBU, clips


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    x, y, people = clips(24)
    folder = tmp_path_factory.mktemp("made")
    Recogniser(SBU, kernels=200).fit(x, y, people).save(folder)
    return folder


@pytest.fixture
def new(tmp_path) -> Path:
    x, _, _ = clips(6, seed=7)
    folder = tmp_path / "new"
    folder.mkdir()
    for i, one in enumerate(x):
        np.save(folder / f"n{i}.npy", one)
    return folder


def rows(path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


TRUTH = [CLASSES[i % 3] for i in range(6)]


def test_a_folder_becomes_a_table_and_nothing_else_is_written(made, new, tmp_path, capsys):
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(["predict", str(made), str(new), "--out", str(tmp_path / "labels.csv"), "--top", "2"]) == 0
    said = capsys.readouterr()
    assert "labels.csv: 6 labels of 6 recordings" in said.out
    assert "is read as your own arrays" in said.err
    found = rows(tmp_path / "labels.csv")
    assert list(found[0]) == ["clip", "start", "end", "label", "probability", "unit", "label2", "probability2"]
    assert [row["clip"] for row in found] == [f"n{i}" for i in range(6)]
    assert [row["label"] for row in found] == TRUTH
    assert (found[1]["start"], found[1]["end"], found[1]["unit"]) == ("0", "21", "frames")
    assert all(0 < float(row["probability2"]) <= float(row["probability"]) <= 1 for row in found)
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "labels.csv"])


def test_json_lines_and_the_terminal(made, new, tmp_path, capsys):
    assert cli.main(["predict", str(made), str(new), "--out", str(tmp_path / "labels.jsonl"), "--top", "3"]) == 0
    lines = [json.loads(line) for line in (tmp_path / "labels.jsonl").read_text().splitlines()]
    assert [line["label"] for line in lines] == TRUTH
    assert sum(lines[0]["classes"].values()) == pytest.approx(1, abs=1e-3)
    capsys.readouterr()
    assert cli.main(["predict", str(made), str(new / "n2.npy")]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].split() == ["clip", "start", "end", "label", "probability"]
    assert out[1].split()[:4] == ["n2", "0", "22", "bow"]


def test_what_is_not_probable_enough_is_unsure(made, new):
    certain = predict(made, [new])
    least = sorted(one.probability for one in certain)[2]
    found = predict(made, [new], min_confidence=least)
    assert [one.label == "unsure" for one in found] == [one.probability < least for one in certain]
    assert sum(one.label == "unsure" for one in found) == 2
    assert [one.ranking for one in found] == [one.ranking for one in certain]


def test_a_store_and_several_inputs(made, new, tiny):
    found = predict(made, [tiny.path, new / "n0.npy"])
    assert [one.clip for one in found] == [*tiny.names, "n0"]
    store = open_store(tiny.path)
    right = [one.label == store.classes[i] for one, i in zip(found, store.labels, strict=False) if i >= 0]
    assert np.mean(right) > 0.6  # other lengths, gaps and two people than it has learned from


def test_every_person_has_a_label(made, tmp_path):
    rng = np.random.default_rng(0)
    both = np.full((2, 60, 15, 3), np.nan)
    both[0, :40], both[1, 20:] = recording(40, 0, SBU, rng), recording(40, 1, SBU, rng) + np.array([2, 0, 0])
    np.save(tmp_path / "two.npy", both)
    found = predict(made, [tmp_path / "two.npy"], per_person=True, fps=10)
    assert [(one.clip, one.label, one.start, one.end) for one in found] == [
        ("two#1", "wave", 0.0, 4.0),
        ("two#2", "kick", 2.0, 6.0),
    ]


def test_a_long_recording_is_labelled_piece_by_piece(made, tmp_path):
    rng = np.random.default_rng(1)
    pieces = [recording(24, label, SBU, rng) for label in (0, 0, 2, 1)]
    nobody = np.full((24, 15, 3), np.nan)
    np.save(tmp_path / "long.npy", np.concatenate([*pieces[:2], nobody, *pieces[2:]]))
    found = predict(made, [tmp_path / "long.npy"], window=2.0, hop=2.0, fps=12)
    assert [(one.label, one.start, one.end) for one in found] == [("wave", 0, 4), ("bow", 6, 8), ("kick", 8, 10)]
    assert all(one.seconds for one in found)
    closer = predict(made, [tmp_path / "long.npy"], window=2.0, fps=12)  # a hop of a second
    assert (closer[0].start, closer[-1].end) == (0, 10)
    assert all(a.end <= b.start for a, b in pairwise(closer))
    assert predict(made, [tmp_path / "long.npy"], window=100.0, fps=12)[0].end == 10


def test_long_recordings_are_told_of_windows(made, tmp_path):
    np.save(tmp_path / "long.npy", recording(400, 0, SBU, np.random.default_rng(0)))
    assert "--window S labels it piece by piece" in full(made, [tmp_path / "long.npy"]).said[-1]


@pytest.mark.parametrize(
    "frames, window, hop, starts",
    [(10, 4, 2, [0, 2, 4, 6]), (11, 4, 2, [0, 2, 4, 6, 7]), (3, 4, 2, [0]), (4, 4, 1, [0]), (9, 4, 4, [0, 4, 5])],
)
def test_windows_reach_to_the_end(frames, window, hop, starts):
    assert cut(frames, window, hop) == starts


def test_windows_are_merged_by_their_mean():
    recording = Recording("r", np.zeros((1, 8, 1, 3)), fps=2.0)
    shares = np.array([[0.9, 0.1], [0.6, 0.4], [0.1, 0.9]])
    found = merge(recording, 4, [0, 2, 4], shares, ["a", "b"], 2, 0.0)
    assert [(one.label, one.start, one.end) for one in found] == [("a", 0, 2), ("b", 2, 4)]
    assert found[0].probability == pytest.approx((0.9 + 0.75) / 2)
    assert found[1].probability == pytest.approx((0.65 + 0.9) / 2)
    unsure = merge(recording, 4, [0, 2, 4], shares, ["a", "b"], 1, 0.8)
    assert [(one.label, one.start, one.end) for one in unsure] == [("a", 0, 1), ("unsure", 1, 3), ("b", 3, 4)]
    gap = merge(recording, 4, [0, 4], np.array([[0.9, 0.1], [np.nan, np.nan]]), ["a", "b"], 1, 0.0)
    assert [(one.start, one.end) for one in gap] == [(0, 2)]


# other layouts


def test_joints_of_another_layout_are_matched_by_name(tmp_path, made):
    """A recogniser of sbu15 on clips of kinect20."""
    picked, said = match_layouts(layout("kinect20"), SBU)
    assert "joints of kinect20 are matched by name" in said
    matched = {SBU.joints[v]: layout("kinect20").joints[at] for v, at in enumerate(picked) if at is not None}
    assert matched["left_hand"] == "left_hand"
    x, _, _ = clips(6, seed=7)
    for i, one in enumerate(x):
        other = np.random.default_rng(i).normal(0, 0.01, (len(one), 20, 3)) + one.mean(1, keepdims=True)
        for v, at in enumerate(picked):
            if at is not None:
                other[:, at] = one[:, v]
        np.save(tmp_path / f"n{i}.npy", other)
    found = full(made, [tmp_path], layout="kinect20")
    assert any("matched by name" in line for line in found.said)
    assert len(found.segments) == 6


def test_a_layout_that_is_another_is_refused(made, tmp_path):
    np.save(tmp_path / "flat.npy", np.random.default_rng(0).normal(200, 50, (20, 17, 2)))
    with pytest.raises(ValueError, match=r"3D joints \(sbu15\); these are 2D \(coco17\)"):
        predict(made, [tmp_path / "flat.npy"])


def test_formats_of_estimators(tmp_path):
    """A recogniser of MediaPipe's joints reads MediaPipe's files by itself."""
    of = layout("mediapipe33")
    rng = np.random.default_rng(0)
    x = [rng.normal(0, 0.3, (1, 33, 3)) + (i % 2) * np.sin(np.arange(20) / 3)[:, None, None] * 0.2 for i in range(8)]
    x = [one + np.zeros((20, 1, 1)) for one in x]
    Recogniser(of, kernels=60).fit(x, ["still", "sway"] * 4).save(tmp_path)
    write_mediapipe(tmp_path, x[1] * [1, -1, -1])
    found = full(tmp_path, [tmp_path / "mine.json"])
    assert found.segments[0].label == "sway"
    assert "MediaPipe landmarks" in found.said[0]


# bad input


def test_recordings_that_cannot_be_read_are_listed_and_the_others_labelled(made, new, capsys):
    np.save(new / "n1.npy", np.full((9, 15, 3), np.nan))
    (new / "n4.npy").write_bytes(b"")
    assert cli.main(["predict", str(made), str(new)]) == 0
    said = capsys.readouterr()
    assert [line.split()[0] for line in said.out.splitlines()[1:]] == ["n0", "n2", "n3", "n5"]
    assert "n1.npy: no joint is seen in any frame" in said.err
    assert "n4.npy: not a whole .npy file" in said.err
    with pytest.warns(UserWarning, match="n4"):
        predict(made, [new])


BAD = {
    "no recogniser": (lambda made, new: predict(new, [new]), "no recogniser at .*kinemask train"),
    "no input": (lambda made, new: predict(made, []), "nothing to look at"),
    "an input that is not there": (lambda made, new: predict(made, [new / "x"]), "does not exist"),
    "no class": (lambda made, new: predict(made, [new], top=0), "top is 0"),
    "a percentage": (lambda made, new: predict(made, [new], min_confidence=80), "min_confidence is 80"),
    "a hop without a window": (lambda made, new: predict(made, [new], hop=1), "hop has no effect"),
    "a hop beyond the window": (lambda made, new: predict(made, [new], window=1, hop=2), "hop is 2"),
    "a window of nothing": (lambda made, new: predict(made, [new], window=0), "window is 0"),
    "seconds of unknown length": (lambda made, new: predict(made, [new], window=1), "frame rate of n0 .*--fps 30"),
    "an fps of nothing": (lambda made, new: predict(made, [new], fps=0), "fps is 0"),
    "another ending": (lambda made, new: predict(made, [new], out=new / "x.xls"), r"written as \.csv, \.jsonl"),
    "an option of files for a store": (lambda made, new: predict(made, [STORE], unit="mm"), "is a store, so --unit"),
    "features of another ending": (lambda made, new: embed(made, [new], out=new / "x.h5"), r"written as \.npz, \.csv"),
    "a readout of a recogniser": (
        lambda made, new: embed(made, [new], out=new / "x.npz", readout=ReadoutSettings(over="joints")),
        "a readout is an encoder's",
    ),
    "features of nothing": (lambda made, new: embed(new, [new], out=new / "x.npz"), "no encoder at"),
}
STORE = Path("store")


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_said(case, made, new, tiny, monkeypatch):
    monkeypatch.setitem(globals(), "STORE", tiny.path)
    act, said = BAD[case]
    with pytest.raises(ValueError, match=said):
        act(made, new)


def test_people_who_are_never_seen_are_left_out():
    data = np.full((3, 9, 15, 3), np.nan, np.float32)
    data[1, 2:5] = 1
    found = list(people_of(Recording("r", data, first=10)))
    assert [(one.name, one.first, one.data.shape) for one in found] == [("r#2", 12, (1, 3, 15, 3))]


def test_inputs_without_a_layout_take_the_first_ones(new):
    inputs = Inputs([new], None)
    assert len(list(inputs)) == 6
    assert inputs.layout == SBU


# embed


def test_features_in_every_kind_of_file(made, new, tmp_path):
    found = embed(made, [new], out=tmp_path / "f.npz")
    assert found.features.shape == (6, 400 + 28 * 90)  # of 200 kernels, and of 90 channels
    with np.load(tmp_path / "f.npz") as arrays:
        assert arrays["names"].tolist() == [f"n{i}" for i in range(6)]
        assert arrays["labels"].tolist() == [""] * 6
        np.testing.assert_array_equal(arrays["features"], found.features)
    x, _, _ = clips(6, seed=7)
    again = Recogniser.load(made).transform(x)  # what is positive may turn at the last digit
    assert np.abs(again - found.features).mean() < 1e-3
    embed(made, [new], out=tmp_path / "f.csv")
    table = rows(tmp_path / "f.csv")
    assert table[3]["name"] == "n3"
    assert float(table[3]["f17"]) == pytest.approx(float(found.features[3, 17]), rel=1e-4)


def test_features_as_parquet(made, new, tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    found = embed(made, [new], out=tmp_path / "f.parquet")
    table = pandas.read_parquet(tmp_path / "f.parquet")
    assert table["name"].tolist() == [f"n{i}" for i in range(6)]
    np.testing.assert_allclose(table.iloc[:, 2:].to_numpy(), found.features)


def test_features_of_a_runs_encoder(tiny, tmp_path, capsys):
    run = pretrain(make_settings(tiny, training_epochs=1, training_warmup_epochs=0), tmp_path / "run", quiet=True)
    out = tmp_path / "f.npz"
    assert cli.main(["embed", str(run), str(tiny.path), "--out", str(out)]) == 0
    assert f"{len(tiny)} recordings, 16 features each" in capsys.readouterr().out
    with np.load(out) as arrays:
        expected = load_encoder(run).encode([tiny.clip(i) for i in range(len(tiny))])
        np.testing.assert_allclose(arrays["features"], expected.numpy(), atol=1e-5)
        assert arrays["labels"][:3].tolist() == ["wave", "kick", "bow"]
        assert arrays["labels"][-1] == ""
    assert cli.main(["embed", str(run), str(tiny.path), "--out", str(out), "--readout.over", "joints"]) == 0
    assert "240 features each" in capsys.readouterr().out

"""Formats are found out by looking; what may be several, or is none, is said."""

from __future__ import annotations

import json

import numpy as np
import pytest

from helpers import DATA
from kinemask import open_store, prepare
from kinemask.preparation.detection import detect
from readers.samples import FORMATS, write_coco, write_mediapipe, write_npy


def joints(count, dims, frames=14, seed=0):
    return np.random.default_rng(seed).normal(1, 0.2, (frames, count, dims))


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in ("ntu120", "synthetic")])
def test_every_sample_is_found_out(name, tmp_path):
    dataset, write, count, dims, _ = FORMATS[name]
    path = write(tmp_path, joints(count, dims))
    known = {"layout": "kinect20"} if dataset == "arrays" else {}
    found = detect(tmp_path, **known)
    assert found.source.reader.name == dataset
    assert f"{found.source.layout.num_joints} joints in {dims}D" in str(found)
    assert "found out by looking" in str(found)
    assert found.labelled == ("" if found.source.reader.is_format else "its files")
    if dataset not in ("sbu", "penn-action"):
        assert detect(path, **known).source.reader.name == dataset  # a file alone
    assert "as told" in str(detect(tmp_path, format=dataset, **known))


@pytest.mark.parametrize(
    "count, dims, of", [(17, 2, "coco17"), (15, 3, "sbu15"), (25, 2, "openpose25"), (133, 2, "coco133")]
)
def test_the_layout_of_arrays_follows_from_their_shape(tmp_path, count, dims, of):
    write_npy(tmp_path, joints(count, dims))
    assert detect(tmp_path).source.layout.name == of
    scored = np.concatenate([joints(count, dims), np.random.default_rng(1).random((14, count, 1))], -1)
    if dims == 2:
        write_npy(tmp_path, scored)
        assert detect(tmp_path).source.layout.name == of


def test_layouts_of_as_many_joints_are_listed(tmp_path):
    write_npy(tmp_path, joints(20, 3))
    with pytest.raises(ValueError, match=r"several layouts \(kinect20, utd20\); say which: --layout kinect20"):
        detect(tmp_path)


def test_several_formats_are_listed(tmp_path):
    """A list of frames that MediaPipe's reader and COCO's both read."""
    write_mediapipe(tmp_path, joints(33, 3))
    (tmp_path / "other").mkdir()
    write_coco(tmp_path / "other", joints(17, 2))
    said = r"several formats \(mediapipe: mediapipe33; coco17: coco17\).*--format mediapipe"
    with pytest.raises(ValueError, match=said):
        detect(tmp_path)
    assert detect(tmp_path, format="coco17").source.reader.name == "coco17"


def test_what_no_reader_takes_is_said(tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        detect(tmp_path / "absent")
    with pytest.raises(ValueError, match="no file of a known kind"):
        detect(tmp_path)
    (tmp_path / "a.json").write_text(json.dumps({"weather": "fine"}))
    with pytest.raises(ValueError, match=r"no reader takes .* \(.*mediapipe: .*"):
        detect(tmp_path)
    (tmp_path / "a.json").write_bytes(b"\0" * 100)
    with pytest.raises(ValueError, match="no reader takes"):
        detect(tmp_path)


def in_folders(place, names=("walk", "run"), each=3):
    for i, name in enumerate(names):
        (place / name).mkdir()
        for k in range(each):
            np.save(place / name / f"take{k}.npy", joints(17, 2, seed=10 * i + k))
    return place


def test_folders_are_classes_where_nothing_else_is(tmp_path):
    found = detect(in_folders(tmp_path))
    assert found.labelled == "its folders"
    assert found.source.scan.classes == ("run", "walk")
    assert [item.label for item in found.source.scan.items] == [0, 0, 0, 1, 1, 1]
    assert detect(tmp_path, by_folder=False).labelled == ""
    summary = prepare("arrays", tmp_path, tmp_path / "store", layout="coco17", by_folder=True, progress=False)
    store = open_store(summary.path)
    assert store.classes == ["run", "walk"]
    assert store.labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_a_list_goes_before_folders(tmp_path):
    in_folders(tmp_path)
    (tmp_path / "clips.csv").write_text("clip,label\nwalk/take0,slow\nrun/take1,fast\n")
    found = detect(tmp_path)
    assert (found.labelled, found.source.scan.classes) == ("clips.csv", ("fast", "slow"))
    with pytest.raises(ValueError, match="have labels; folders do not label them too"):
        detect(tmp_path, by_folder=True)


def test_one_folder_is_no_class(tmp_path):
    in_folders(tmp_path, ("walk",))
    assert detect(tmp_path).labelled == ""
    with pytest.raises(ValueError, match="no folder for each of two or more classes; folders with clips: walk"):
        detect(tmp_path, by_folder=True)


def test_arrays_without_a_list(tmp_path):
    in_folders(tmp_path)
    (tmp_path / "labels.csv").write_text("clip,label\n")
    scan = detect(tmp_path).source.scan
    assert len(scan.items) == 6
    assert "labels.csv is not read" in scan.unlisted[0]


@pytest.mark.parametrize(
    "name, layout", [("utd-mhad", "utd20"), ("nw-ucla", "kinect20"), ("sbu", "sbu15"), ("penn-action", "penn13")]
)
def test_real_data_are_found_out(name, layout):
    if not (DATA / name).is_dir():
        pytest.skip(f"no {name} in {DATA}")
    found = detect(DATA / name)
    assert found.source.reader.name == name
    assert found.source.layout.name == layout

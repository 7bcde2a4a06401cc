"""OpenPose's JSON with other bodies than its default, and with all frames in one file."""

from __future__ import annotations

import json

import numpy as np
import pytest

from kinemask.preparation.prepare import prepare
from kinemask.readers import Item, ReadOptions, reader
from kinemask.skeleton import layout
from kinemask.store.opening import open_store

READER = reader("openpose")
FRAMES = 12


def body(joints):
    rng = np.random.default_rng(0)
    return 300 + rng.uniform(-60, 60, (1, joints, 2)) + np.arange(FRAMES)[:, None, None] * np.array([5, 0])


def frame(who):
    return {
        "version": 1.3,
        "people": [{"person_id": [-1], "pose_keypoints_2d": np.c_[who, np.full(len(who), 0.8)].ravel().tolist()}],
    }


def write_folder(folder, data):
    folder.mkdir(parents=True)
    for t, who in enumerate(data):
        (folder / f"{folder.name}_{t:012d}_keypoints.json").write_text(json.dumps(frame(who)))
    return folder


def check(clip, data):
    flat = clip.data[0] * (1, -1) * float(clip.fields["scale"])
    assert len(clip.data) == 1
    assert np.nanstd((flat - data).reshape(-1, 2), axis=0).max() < 0.01


@pytest.mark.parametrize("name", ["openpose25", "coco18", "mpi15", "halpe26", "coco17", "coco133"])
@pytest.mark.parametrize("kind", ["folder", "list", "lines", "by frame"])
def test_the_layout_is_found(tmp_path, name, kind):
    data, raw = body(layout(name).num_joints), tmp_path / "raw"
    if kind == "folder":
        write_folder(raw / "walk", data)
    else:
        raw.mkdir()
        frames = [frame(who) for who in data]
        by_frame = {f"frame_{t:03d}": one for t, one in enumerate(frames)}
        lines = "\n".join(map(json.dumps, frames))
        (raw / "walk.json").write_text(
            lines if kind == "lines" else json.dumps(by_frame if kind == "by frame" else frames)
        )
    store = open_store(prepare("openpose", raw, tmp_path / "store", progress=False).path)
    assert (store.layout.name, store.names, store.clip(0).shape[:2]) == (name, ["walk"], (1, FRAMES))
    found = READER.scan(raw)
    check(READER.read(found.items[0], ReadOptions(found.layout)), data)


@pytest.mark.parametrize("name", ["openpose25", "coco18", "halpe26", "coco133"])
def test_cocos_joints_out_of_more(tmp_path, name):
    data = body(layout(name).num_joints)
    clip = READER.read(Item(write_folder(tmp_path / "walk", data), "walk"), ReadOptions(layout("coco17")))
    check(clip, data[:, [layout(name).index(joint) for joint in layout("coco17").joints]])


def test_a_file_in_the_list(tmp_path):
    (tmp_path / "all.json").write_text(json.dumps([frame(who) for who in body(25)]))
    write_folder(tmp_path / "walk", body(25))
    (tmp_path / "clips.csv").write_text("clip,label\nall.json,a\nwalk,b\n")
    found = READER.scan(tmp_path)
    assert [item.name for item in found.items] == ["all", "walk"]
    clips = [READER.read(item, ReadOptions(found.layout)) for item in found.items]
    assert np.allclose(clips[0].data, clips[1].data, atol=1e-5)


def test_a_folder_of_frames_named_otherwise(tmp_path):
    data = body(18)
    (tmp_path / "walk").mkdir()
    for t, who in enumerate(data):
        (tmp_path / "walk" / f"{t}.json").write_text(json.dumps(frame(who)))
    found = READER.scan(tmp_path)
    assert ([item.name for item in found.items], found.layout.name) == (["walk"], "coco18")
    clip = READER.read(found.items[0], ReadOptions(found.layout))
    assert clip.data.shape == (1, FRAMES, 18, 2)
    check(clip, data)

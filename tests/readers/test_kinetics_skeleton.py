"""Kinetics-Skeleton's JSON, and MMSkeleton's own."""

from __future__ import annotations

import json

import numpy as np
import pytest

from kinemask.preparation.prepare import prepare
from kinemask.readers import Item, ReadOptions, reader
from kinemask.readers.cleaning import Rejected
from kinemask.store.opening import open_store

READER = reader("kinetics-skeleton")
FRAMES = 14


def pixels(joints=18, seed=0):
    rng = np.random.default_rng(seed)
    return (
        rng.uniform(60, 200, (1, joints, 2))
        + np.arange(FRAMES)[:, None, None] * (2, 0)
        + rng.normal(0, 0.3, (FRAMES, joints, 2))
    )


def clip_file(data, size=(340, 256), empty=(), label="jump", index=2, first=1):
    frames = []
    for t, joints in enumerate(data):
        who = {"pose": (joints / size).ravel().tolist(), "score": [0.8] * len(joints)}
        frames.append({"frame_index": t + first, "skeleton": [] if t in empty else [who]})
    return {"data": frames, "label": label, "label_index": index}


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def read(path, **options):
    return READER.read(Item(path, path.stem), ReadOptions(**options))


def check(clip, data, height=256):
    flat = clip.data[0] * (1, -1) * float(clip.fields["scale"])
    assert float(clip.fields["scale"]) == (height / 2 if height else float(clip.fields["scale"]))
    assert np.nanstd((flat - data).reshape(-1, 2), axis=0).max() < 0.01


def test_a_clip_is_in_pixels_of_kinetics(tmp_path):
    data = pixels()
    clip = read(write(tmp_path / "a.json", clip_file(data, empty=(0, 3))))
    check(clip, data)
    assert np.flatnonzero(np.isnan(clip.data[0]).all((1, 2))).tolist() == [0, 3]
    assert clip.data.shape == (1, FRAMES, 18, 2)
    assert np.allclose(clip.score[0, 1], 0.8)
    assert any("340 × 256" in note for note in clip.notes)


def test_a_list_tells_the_image(tmp_path):
    data = pixels()
    write(tmp_path / "raw" / "a.json", clip_file(data, size=(640, 480)))
    (tmp_path / "raw" / "clips.csv").write_text("clip,label,image_width,image_height\na,walk,640,480\n")
    found = READER.scan(tmp_path / "raw")
    assert found.classes == ("walk",)
    check(READER.read(found.items[0], ReadOptions()), data, 480)


def test_labels_and_parts(tmp_path):
    raw = tmp_path / "raw"
    for i in range(4):
        part = "val" if i == 3 else "train"
        write(raw / f"kinetics_{part}" / f"v{i}.json", clip_file(pixels(seed=i), label="ab"[i % 2], index=9 - i % 2))
    write(raw / "kinetics_val_label.json", {"v3": {"has_skeleton": True, "label": "c", "label_index": 5}})
    store = open_store(prepare("kinetics-skeleton", raw, tmp_path / "store", progress=False).path)
    assert store.classes == ["c", "b", "a"]
    assert [store.classes[label] for label in store.labels] == ["a", "b", "a", "c"]
    assert [len(part) for part in store.split("official")] == [3, 1]
    plain = write(tmp_path / "plain" / "a.json", clip_file(pixels()))
    found = READER.scan(plain.parent)
    assert (found.classes, found.splits, found.items[0].fields) == (("jump",), frozenset(), {})


def test_a_label_before_the_frames(tmp_path):
    content = clip_file(pixels(), label='dance "hop"')
    path = write(tmp_path / "a.json", {"label": content["label"], "label_index": 7, "data": content["data"]})
    assert READER.scan(path.parent).classes == ('dance "hop"',)


def test_mmskeletons_own(tmp_path):
    data = pixels(17)
    notes = [
        {"frame_index": t, "person_id": 0, "keypoints": np.c_[joints, np.full(17, 0.8)].tolist()}
        for t, joints in enumerate(data)
    ]
    path = write(tmp_path / "a.json", {"info": {"resolution": [340, 256]}, "annotations": notes, "category_id": 1})
    clip = read(path)
    check(clip, data, 256)
    found = READER.scan(tmp_path)
    assert (found.layout.name, found.classes) == ("coco17", ("1",))


@pytest.mark.parametrize(
    "content, words",
    [
        ({}, "expected data, a list of frames"),
        ({"data": [3]}, "entry 0: expected frame_index and skeleton, found 3"),
        ({"data": [{"frame_index": "a", "skeleton": []}]}, "frame_index should be a whole number, found 'a'"),
        ({"data": [{"frame_index": 1, "skeleton": []}] * 2}, "a second entry of frame_index 1"),
        ({"data": [{"frame_index": 1, "skeleton": [{"pose": [0.5] * 35, "score": [1] * 18}]}]}, "2 × 17 numbers"),
        ({"data": [{"frame_index": 1, "skeleton": [{"pose": [0.5] * 36, "score": [1] * 17}]}]}, "18 confidences"),
        ({"data": [{"frame_index": 1, "skeleton": [{"pose": [90] * 36, "score": [1] * 18}]}]}, "shares of the image"),
        ({"data": [{"frame_index": 1, "skeleton": [{"pose": ["a"] * 36, "score": [1] * 18}]}]}, "expected numbers"),
    ],
)
def test_content_of_another_shape(tmp_path, content, words):
    path = write(tmp_path / "a.json", content)
    with pytest.raises(ValueError, match=f"{path}.*{words}"):
        read(path)


def test_nobody(tmp_path):
    with pytest.raises(Rejected, match="nobody is seen"):
        read(write(tmp_path / "a.json", clip_file(pixels(), empty=range(FRAMES))))

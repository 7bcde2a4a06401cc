"""PYSKL's pickles as other people write them: no labels, bare lists, tuples, floats."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from kinemask.preparation.prepare import prepare
from kinemask.store.opening import open_store


def annotation(name, label=0, seed=0, **more):
    points = 200 + 60 * np.random.default_rng(seed).normal(size=(1, 12, 17, 2))
    note = {"frame_dir": name, "label": label, "img_shape": (480, 640), "total_frames": 12, "keypoint": points}
    return {key: value for key, value in (note | more).items() if not isinstance(value, str) or key == "frame_dir"}


def stored(folder, src, **options):
    return open_store(prepare("pyskl", src, folder / "store", overwrite=True, progress=False, **options).path)


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(value))
    return path


@pytest.mark.parametrize(
    "label, frames, shape",
    [
        (None, 12, (480.0, 640.0)),
        ("absent", "absent", [480, 640]),
        (np.int64(0), np.int32(12), np.array([480, 640])),
        (0.0, 12.0, (480, 640, 3)),
        (np.float32(0), 12, (np.int64(480), 640)),
    ],
)
def test_labels_lengths_and_shapes(tmp_path, label, frames, shape):
    notes = [annotation(f"v{i}", label, i, total_frames=frames, img_shape=shape) for i in range(3)]
    lists = {"train": ("v0", "v1"), "val": ("v2",)}
    store = stored(tmp_path, write(tmp_path / "own.pkl", {"split": lists, "annotations": tuple(notes)}))
    assert store.labels.tolist() == [-1 if label is None or isinstance(label, str) else 0] * 3
    assert (store.lengths.tolist(), store.fields["scale"].tolist()) == ([12] * 3, ["240"] * 3)
    assert [len(part) for part in store.split("official")] == [2, 1]


def test_bare_lists_by_part(tmp_path):
    parts = {"train": range(4), "val": range(4, 6), "test": range(6, 7)}
    for part, ids in parts.items():
        write(tmp_path / "raw" / f"own_{part}.pkl", [annotation(f"v{i}", i % 2, i) for i in ids])
    store = stored(tmp_path, tmp_path / "raw")
    assert len(store) == 7
    assert [len(part) for part in store.split("official")] == [4, 1]
    assert [len(part) for part in store.split("official-val")] == [4, 2]
    alone = stored(tmp_path, tmp_path / "raw" / "own_train.pkl")
    assert [len(part) for part in alone.split("official")] == [4, 0]
    write(tmp_path / "raw" / "own_val.pkl", [annotation("v3")])
    with pytest.raises(ValueError, match="two annotations are called v3"):
        stored(tmp_path, tmp_path / "raw")


def test_a_bare_list_or_one_without_lists(tmp_path):
    notes = [annotation(f"v{i}", i % 2, i) for i in range(3)]
    for value in (notes, {"annotations": notes}):
        store = stored(tmp_path, write(tmp_path / "own.pkl", value))
        assert (len(store), list(store.splits)) == (3, [])


def test_confidences_within_the_keypoints_or_with_an_axis_of_their_own(tmp_path):
    note = annotation("v0")
    score = np.random.default_rng(1).uniform(0.2, 1, (1, 12, 17))
    forms = (
        {"keypoint_score": score},
        {"keypoint_score": score[..., None]},
        {"keypoint": np.concatenate([note["keypoint"], score[..., None]], -1)},
    )
    for form in forms:
        store = stored(tmp_path, write(tmp_path / "own.pkl", [note | form]), layout="coco17")
        assert np.allclose(store.score(0), score, atol=1e-3)
        assert store.clip(0).shape == (1, 12, 17, 2)

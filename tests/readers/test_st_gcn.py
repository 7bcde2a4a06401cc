"""Whole data sets in arrays: ST-GCN's and CTR-GCN's."""

from __future__ import annotations

import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest

from kinemask.preparation.prepare import prepare
from kinemask.readers import ReadOptions, reader
from kinemask.readers.array_file import open_array, open_arrays
from kinemask.skeleton import layout
from kinemask.store.opening import open_store

READER = reader("st-gcn")
FRAMES, FILLED = 30, 22


def clips(count, bodies=2, seed=0, joints=25, channels=3):
    """(N, M, T, V, C), frames from FILLED on zero, every second clip of one body."""
    data = np.random.default_rng(seed).normal(1, 0.3, (count, bodies, FRAMES, joints, channels)).astype(np.float32)
    data[:, :, FILLED:] = 0
    data[1::2, 1:] = 0
    return data


def write_pair(folder, part, data, labels, names=None, joint=""):
    folder.mkdir(parents=True, exist_ok=True)
    names = names or [f"{part}{i}.skeleton" for i in range(len(data))]
    np.save(folder / f"{part}_data{joint}.npy", data.transpose(0, 4, 2, 3, 1))
    (folder / f"{part}_label.pkl").write_bytes(pickle.dumps((names, labels)))


def flat(data):
    """As CTR-GCN has them: (N, T, M · V · C)."""
    return data.transpose(0, 2, 1, 3, 4).reshape(len(data), FRAMES, -1)


def stored(src, folder, **options):
    return open_store(prepare("st-gcn", src, folder / "store", progress=False, **options).path)


def check(store, data, names):
    """Clips as they were, from the first body's spine."""
    root = layout("ntu25").root
    for name, bodies in zip(names, data, strict=True):
        expected = bodies[: 1 if not bodies[1].any() else 2, :FILLED]
        clip = store.clip(store.names.index(name))
        assert np.allclose(clip, expected - expected[0, 0, root], atol=1e-5)


@pytest.mark.parametrize("joint", ["", "_joint"])
@pytest.mark.parametrize("labels", [[0, 2, 0, 1], (0, 2, 0, 1), np.array([0, 2, 0, 1])])
def test_an_array_and_its_pickle(tmp_path, joint, labels):
    data, tested = clips(4), clips(2, seed=1)
    write_pair(tmp_path / "raw" / "xsub", "train", data, labels, joint=joint)
    write_pair(tmp_path / "raw" / "xsub", "val", tested, [1, 1], ["S001C002P003R002A013.skeleton", "b"], joint)
    if joint:
        np.save(tmp_path / "raw" / "xsub" / "train_data_bone.npy", data)
    store = stored(tmp_path / "raw", tmp_path)
    assert (store.layout.name, store.labels.tolist()) == ("ntu25", [0, 2, 0, 1, 1, 1])
    assert [len(part) for part in store.split("xsub")] == [4, 2]
    assert store.fields["subject"].tolist() == [""] * 4 + ["3", ""]
    check(store, data, [f"train{i}" for i in range(4)])
    check(store, tested, ["S001C002P003R002A013", "b"])


@pytest.mark.parametrize("pack", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("one_hot", [True, False])
def test_a_pack(tmp_path, pack, one_hot):
    data, tested = clips(4), clips(2, seed=1)
    told = (np.eye(3)[[2, 0, 0, 1]], np.eye(3)[[1, 1]]) if one_hot else (np.array([2, 0, 0, 1]), np.array([1, 1]))
    pack(tmp_path / "MINE_CV.npz", x_train=flat(data), y_train=told[0], x_test=flat(tested), y_test=told[1])
    store = stored(tmp_path / "MINE_CV.npz", tmp_path)
    assert store.labels.tolist() == [2, 0, 0, 1, 1, 1]
    assert [len(part) for part in store.split("xview")] == [4, 2]
    check(store, data, [f"train_{i}" for i in range(4)])
    check(store, tested, [f"test_{i}" for i in range(2)])


def test_data_moved_to_the_spine_keep_it(tmp_path):
    data = clips(2)
    root = layout("ntu25").root
    data[:, :, :FILLED] -= data[:, :1, :1, root : root + 1]
    data[1, 1] = 0
    write_pair(tmp_path / "raw", "train", data, [0, 0])
    store = stored(tmp_path / "raw", tmp_path)
    assert not np.isnan(store.clip(0)).any()
    check(store, data, ["train0", "train1"])


def test_two_dimensions_with_confidences(tmp_path):
    data = clips(2, joints=18)
    data[:, :, 3, 5, 2] = 0
    write_pair(tmp_path / "raw", "train", data, [0, 1])
    store = stored(tmp_path / "raw", tmp_path)
    assert (store.layout.name, store.clip(0).shape) == ("coco18", (2, FILLED, 18, 2))
    assert np.argwhere(np.isnan(store.clip(1)[0]).all(-1)).tolist() == [[3, 5]]
    odd = clips(2, joints=13)
    write_pair(tmp_path / "odd", "train", odd, [0, 1])
    with pytest.raises(ValueError, match="st-gcn needs a layout"):
        stored(tmp_path / "odd", tmp_path / "odd")
    assert stored(tmp_path / "odd", tmp_path / "odd", layout="penn13").layout.name == "penn13"


def test_an_array_of_no_part(tmp_path):
    write_pair(tmp_path / "raw", "train", clips(2), [0, 1])
    for name, other in (("train_data.npy", "data.npy"), ("train_label.pkl", "label.pkl")):
        (tmp_path / "raw" / name).rename(tmp_path / "raw" / other)
    store = stored(tmp_path / "raw", tmp_path)
    assert (store.labels.tolist(), list(store.splits)) == ([0, 1], [])
    (tmp_path / "raw" / "data.npy").rename(tmp_path / "raw" / "mine.npy")
    (tmp_path / "raw" / "label.pkl").rename(tmp_path / "raw" / "mine_label.pkl")
    (item,) = READER.scan(tmp_path / "raw" / "mine.npy").items
    assert len(list(READER.read(item, ReadOptions(layout("ntu25"))))) == 2


def test_what_is_there_besides_is_told(tmp_path):
    write_pair(tmp_path / "raw", "train", clips(2), [0, 1])
    (tmp_path / "raw" / "train_label.pkl").unlink()
    np.savez(tmp_path / "raw" / "MINE.npz", x_train=flat(clips(2)))
    summary = prepare("st-gcn", tmp_path / "raw", tmp_path / "store", progress=False)
    assert summary.clips == 2
    assert any("so no labels" in line for line in summary.warnings)
    assert any("MINE.npz; name the file itself" in line for line in summary.warnings)
    assert (open_store(summary.path).labels == -1).all()


@pytest.mark.parametrize(
    "value, words",
    [
        ((["a"], [0]), "a name and a label for each of 2 clips, found 1 and 1"),
        ({"a": 0}, "expected names and labels"),
        ((["a", "b"], [0, 0.5]), "whole numbers from 0"),
        ((["a", "b"], [[0, 1], [1, 1]]), "should be one-hot"),
        (([1, 2], [0, 1]), "expected names, found other values"),
        ((["a", "b"], [0, 10**9]), "whole numbers from 0"),
    ],
)
def test_bad_pickles(tmp_path, value, words):
    write_pair(tmp_path, "train", clips(2), [0, 1])
    (tmp_path / "train_label.pkl").write_bytes(pickle.dumps(value))
    with pytest.raises(ValueError, match=f"train_label.pkl.*{words}"):
        READER.scan(tmp_path)


@pytest.mark.parametrize(
    "name, write, words",
    [
        ("train_data.npy", lambda p: np.save(p, np.ones((3, 4))), "expected clips × channels"),
        ("train_data.npy", lambda p: p.write_bytes(b"\x93NUMPY"), "not a whole .npy file"),
        ("train_data.npy", lambda p: np.save(p, np.array(["a"])), "expected numbers"),
        ("a.npz", lambda p: np.savez(p, x=np.ones(3)), "expected the keys x_train"),
        ("a.npz", lambda p: np.savez(p, x_train=np.ones(3)), "should be clips × frames"),
        ("a.npz", lambda p: np.savez(p, x_train=np.ones((2, 3, 75)), y_train=np.ones(3)), r"y_train is of \(3,\)"),
        ("a.npz", lambda p: p.write_bytes(b"PK"), "not a whole .npz file"),
        ("a.npy", lambda p: np.save(p, np.ones(3)), "holds no NAME_data.npy"),
    ],
)
def test_bad_arrays(tmp_path, name, write, words):
    write(tmp_path / name)
    with pytest.raises(ValueError, match=words):
        READER.scan(tmp_path)


def test_other_numbers_of_joints_than_the_layouts(tmp_path):
    write_pair(tmp_path, "train", clips(2), [0, 1])
    (item,) = READER.scan(tmp_path).items
    with pytest.raises(ValueError, match=r"layout kinect20 needs the shape \(clips, 3, frames, 20, bodies\)"):
        list(READER.read(item, ReadOptions(layout("kinect20"))))


def test_sizes_are_known_before_anything_is_read(tmp_path):
    header = {"descr": "<f4", "fortran_order": False, "shape": (10**9, 3, 30, 25, 2)}
    with (tmp_path / "train_data.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(ValueError, match="its header promises 18,000,000,000,000 bytes, of which 0 are there"):
        open_array(tmp_path / "train_data.npy")
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as pack, pack.open("y_train.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, header | {"shape": (1 << 27,)})
        for _ in range(512):
            file.write(bytes(1 << 20))
    tracemalloc.start()
    with pytest.raises(ValueError, match="would unpack to 1,073,741,824"):
        open_arrays(tmp_path / "a.npz")["y_train"].load()
    assert tracemalloc.get_traced_memory()[1] < 1 << 24
    tracemalloc.stop()


@pytest.mark.parametrize("name", ["train_data.npy", "train_label.pkl", "a.npz"])
def test_flipped_bytes_are_errors_or_other_numbers_never_worse(tmp_path, name):
    if name == "a.npz":
        np.savez_compressed(tmp_path / name, x_train=flat(clips(2)), y_train=np.eye(2))
    else:
        write_pair(tmp_path, "train", clips(2), [0, 1])
    whole, rng = (tmp_path / name).read_bytes(), np.random.default_rng(6)
    for _ in range(40):
        damaged = bytearray(whole)
        for at in rng.integers(0, rng.choice([min(300, len(whole)), len(whole)]), rng.choice([1, 3])):
            damaged[at] = rng.integers(256)
        (tmp_path / name).write_bytes(damaged)
        try:
            found = READER.scan(tmp_path)
            for item in found.items:
                for clip in READER.read(item, ReadOptions(found.layout or layout("ntu25"))):
                    assert not hasattr(clip, "data") or not np.isinf(clip.data).any()
            said = str(tmp_path)
        except ValueError as error:
            said = str(error)
        assert str(tmp_path) in said

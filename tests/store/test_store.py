"""Stores: what is written comes back, nothing half-written remains, and damage is found."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinemask.skeleton import layout
from kinemask.store.format import Clip, sha256
from kinemask.store.holdout import hold_out
from kinemask.store.opening import open_store
from kinemask.store.writer import StoreWriter, write_store

LAYOUT = layout("sbu15")
V, C = LAYOUT.num_joints, LAYOUT.dims
CLASSES = ["wave", "kick, high", "Ärger"]


def make_clips(count=12, seed=0):
    rng = np.random.default_rng(seed)
    for i in range(count):
        data = rng.normal(size=(1 + i % 2, 3 + i, V, C))
        data[0, 0, i % V] = np.nan
        side = "" if i == 7 else ("train", "test")[i % 4 == 0]
        fields = {"subject": str(i % 5), "camera": f"c{i % 3}", "split:x": side}
        yield Clip(f"clip{i:02d}", data, None if i == 3 else i % 3, fields)


@pytest.fixture
def store(tmp_path):
    return write_store(tmp_path / "store", make_clips(), LAYOUT, CLASSES, meta={"dataset": "made up"})


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def columns(path):
    with (path / "clips.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_what_is_written_comes_back(store, tmp_path):
    clips = list(make_clips())
    assert len(store) == len(clips)
    assert store.names == [clip.name for clip in clips]
    assert store.classes == CLASSES
    assert store.labels.tolist() == [-1 if clip.label is None else clip.label for clip in clips]
    assert store.layout == LAYOUT
    assert store.fields["camera"].tolist() == [clip.fields["camera"] for clip in clips]
    for i, clip in enumerate(clips):
        assert np.array_equal(store.clip(i), clip.data.astype(np.float32), equal_nan=True)
        body, frame = clip.data.shape[0] - 1, clip.data.shape[1] - 1
        row = store.offsets[i] + body * store.lengths[i] + frame
        assert np.array_equal(store.frames[row], store.clip(i)[body, frame], equal_nan=True)
    assert not store.clip(0).flags.writeable
    assert np.array_equal(np.load(store.path / "frames.npy"), store.frames, equal_nan=True)
    store.verify()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]
    assert sorted(contents(store.path)) == ["clips.csv", "frames.npy", "meta.json", "rejected.csv"]
    assert columns(store.path)[3]["label"] == ""
    assert str(tmp_path) not in (store.path / "meta.json").read_text()


def test_a_store_without_splits_says_how_to_get_one(tmp_path):
    plain = write_store(tmp_path / "plain", [clip_with()], LAYOUT, CLASSES)
    with pytest.raises(ValueError, match=r"no split 'x'; it has: none.*clips\.csv.*--split-rule"):
        plain.split("x")
    with pytest.raises(ValueError, match="a split may not be called 'all'"):
        write_store(tmp_path / "other", [clip_with()], LAYOUT, CLASSES, splits={"all": "every clip"})


def test_splits_list_their_clips(store):
    train, test = store.split("x")
    assert test.tolist() == [0, 4, 8]
    assert train.tolist() == [1, 2, 3, 5, 6, 9, 10, 11]
    assert store.splits == ("x", "x-val")
    with pytest.raises(ValueError, match="no split 'y'; it has: x, x-val"):
        store.split("y")


@settings(max_examples=25, deadline=None)
@given(
    shapes=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 9)), min_size=1, max_size=8),
    dtype=st.sampled_from(["float32", "float16"]),
    holes=st.floats(0, 0.9),
    seed=st.integers(0, 99),
)
def test_any_shapes_and_holes_round_trip(shapes, dtype, holes, seed, tmp_path_factory):
    rng = np.random.default_rng(seed)
    clips = []
    for i, (bodies, frames) in enumerate(shapes):
        data = rng.normal(size=(bodies, frames, V, C))
        data[rng.random(data.shape[:3]) < holes] = np.nan
        data[:, 0, 0] = 0.25
        clips.append(Clip(str(i), data, 0, {}))
    path = tmp_path_factory.mktemp("any") / "store"
    store = write_store(path, clips, LAYOUT, ["a"], dtype=dtype)
    assert store.splits == ()
    for i, clip in enumerate(clips):
        assert np.array_equal(store.clip(i), clip.data.astype(dtype), equal_nan=True)


def test_absent_bodies_are_not_stored_and_half_a_joint_is_missing(tmp_path):
    data = np.ones((3, 4, V, C))
    data[1] = np.nan
    data[0, 2, 5, 1] = np.nan
    store = write_store(tmp_path / "s", [Clip("a", data, None, {})], LAYOUT, [])
    assert store.clip(0).shape == (2, 4, V, C)
    assert np.isnan(store.clip(0)[0, 2, 5]).all()
    assert np.isnan(store.clip(0)).sum() == C


def test_duplicates_are_found_whatever_their_names(tmp_path):
    clips = list(make_clips())
    clips[4] = Clip("copy", clips[9].data.copy(), 0, clips[4].fields)
    clips[8] = Clip("minus", -0.0 * np.ones((1, 5, V, C)), 0, clips[8].fields)
    clips[11] = Clip("plus", np.zeros((1, 5, V, C)), 1, clips[11].fields)
    clips[0] = Clip("reshaped", clips[1].data.reshape(1, -1, V, C), 0, clips[0].fields)
    store = write_store(tmp_path / "s", clips, LAYOUT, CLASSES)
    train, test = store.split("x")
    assert store.duplicates(train, test).tolist() == [False, True, True]
    assert store.duplicates(train, test[:0]).shape == (0,)


@settings(max_examples=200, deadline=None)
@given(
    clips=st.lists(
        st.tuples(st.sampled_from(["train", "test", ""]), st.sampled_from("ABCDEFG"), st.sampled_from(b"xyzuvw")),
        max_size=30,
    ),
    by_subject=st.booleans(),
    order=st.randoms(),
)
def test_a_validation_split_is_a_fair_part_of_the_training_side(clips, by_subject, order):
    sides, subjects, letters = [list(column) for column in zip(*clips, strict=True)] or [[], [], []]
    subjects = subjects if by_subject else [""] * len(subjects)
    digests = [bytes([letter]) for letter in letters]
    names = [f"n{i}" for i in range(len(clips))]
    result, _ = hold_out(sides, names, subjects, digests)
    assert [side != "" for side in result] == [side == "train" for side in sides]
    held, rest = ({i for i, side in enumerate(result) if side == which} for which in ("test", "train"))
    assert rest or not held
    assert not {digests[i] for i in held} & {digests[i] for i in rest}
    known = {subjects[i] for i in held | rest if subjects[i]}
    if len(known) > 1:
        assert len({subjects[i] for i in held}) <= max(1, round(0.2 * len(known)))
    elif len(held | rest) > 1:
        assert len(held) <= max(1, round(0.2 * len(held | rest)))
    mixed = order.sample(range(len(clips)), len(clips))
    again, _ = hold_out(*([column[i] for i in mixed] for column in (sides, names, subjects, digests)))
    assert again == [result[i] for i in mixed]


def test_a_validation_split_holds_out_whole_subjects(store):
    train, _ = store.split("x")
    rest, held = store.split("x-val")
    assert sorted([*rest, *held]) == train.tolist()
    subject = store.fields["subject"]
    assert len(set(subject[held])) == 1
    assert not set(subject[held]) & set(subject[rest])
    assert "1 of 5 training subjects" in store.meta["splits"]["x-val"]["description"]


def test_a_validation_split_that_is_given_is_kept(tmp_path):
    clips = [
        Clip(c.name, c.data, c.label, {**c.fields, "split:x-val": "train" if c.name > "clip05" else "test"})
        for c in make_clips()
    ]
    store = write_store(tmp_path / "s", clips, LAYOUT, CLASSES)
    assert store.splits == ("x", "x-val")
    assert store.split("x-val")[1].tolist() == [0, 1, 2, 3, 4, 5]


def clip_with(**changes):
    data = np.ones((1, 2, V, C))
    return Clip(**{"name": "odd", "data": data, "label": 0, "fields": {}, **changes})


@pytest.mark.parametrize(
    "clip, words",
    [
        (clip_with(data=np.ones((2, V, C))), "shape"),
        (clip_with(data=np.ones((1, 2, V, 2))), "shape"),
        (clip_with(data=np.ones((1, 0, V, C))), "shape"),
        (clip_with(data=np.full((1, 2, V, C), np.inf)), "infinite"),
        (clip_with(data=np.full((1, 2, V, C), np.nan)), "missing"),
        (clip_with(fields={"frames": "7"}), "'frames'"),
        (clip_with(fields={"split:x": "validation"}), "train, test or empty"),
        (clip_with(fields={"split:all": "train"}), "a split may not be called 'all'"),
        (clip_with(name="clip01"), "same name"),
        (clip_with(label=3), "label 3"),
        (clip_with(label=-1), "label -1"),
    ],
)
def test_a_clip_that_does_not_fit_is_refused_by_name(clip, words, tmp_path):
    with pytest.raises(ValueError, match=f"{clip.name}.*{words}"):
        write_store(tmp_path / "s", [*make_clips(), clip], LAYOUT, CLASSES)
    assert not list(tmp_path.iterdir())


def test_values_beyond_float16_and_unknown_dtypes_are_refused(tmp_path):
    big = clip_with(data=np.full((1, 2, V, C), 1e5))
    with pytest.raises(ValueError, match="too large for float16"):
        write_store(tmp_path / "s", [big], LAYOUT, CLASSES, dtype="float16")
    with pytest.raises(ValueError, match="float32 or float16, not 'int8'"):
        write_store(tmp_path / "s", [big], LAYOUT, CLASSES, dtype="int8")
    with pytest.raises(ValueError, match="no usable clip"):
        write_store(tmp_path / "s", [], LAYOUT, CLASSES)
    assert not list(tmp_path.iterdir())


def test_a_store_is_overwritten_only_on_request_and_nothing_else_ever(store, tmp_path):
    before = contents(store.path)
    with pytest.raises(ValueError, match="exists already"):
        write_store(store.path, make_clips(3), LAYOUT, CLASSES)
    assert contents(store.path) == before
    assert len(write_store(store.path, make_clips(3), LAYOUT, CLASSES, overwrite=True)) == 3
    photos = tmp_path / "photos"
    photos.mkdir()
    assert len(write_store(photos, make_clips(3), LAYOUT, CLASSES)) == 3
    (photos / "meta.json").write_text('{"format": "album"}')
    with pytest.raises(ValueError, match="not a store"):
        write_store(photos, make_clips(3), LAYOUT, CLASSES, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "store"]


class FullDisk:
    """A file on a disk with room for few more bytes."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def write(self, data):
        self.room -= len(data) if isinstance(data, str) else memoryview(data).nbytes
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.file.write(data)


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("name", ["frames.npy", "rejected.csv", "clips.csv", "meta.json", "fsync", "rename"])
def test_a_full_disk_leaves_nothing_behind(name, existing, tmp_path, monkeypatch):
    target = tmp_path / "store"
    before = contents(write_store(target, make_clips(3), LAYOUT, CLASSES).path) if existing else None
    real_open, real_rename = Path.open, Path.rename

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def open_(self, mode="r", *args, **kwargs):
        file = real_open(self, mode, *args, **kwargs)
        return FullDisk(file, 3000 if name == "frames.npy" else 10) if mode[0] == "w" and self.name == name else file

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_)
        if name == "fsync":
            patch.setattr(os, "fsync", full)
        if name == "rename":
            move = lambda self, to: full() if "partial" in self.name else real_rename(self, to)
            patch.setattr(Path, "rename", move)
        with pytest.raises(OSError, match=f"disk is full.*{target}") as error:
            write_store(target, make_clips(), LAYOUT, CLASSES, overwrite=existing)
    assert error.value.errno == errno.ENOSPC
    assert [path.name for path in tmp_path.iterdir()] == ["store"] * existing
    if existing:
        assert contents(target) == before


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interruption_leaves_nothing_behind(error, existing, tmp_path):
    target = tmp_path / "store"
    before = contents(write_store(target, make_clips(3), LAYOUT, CLASSES).path) if existing else None

    def interrupted():
        yield from make_clips()
        raise error

    with pytest.raises(error):
        write_store(target, interrupted(), LAYOUT, CLASSES, overwrite=existing)
    assert [path.name for path in tmp_path.iterdir()] == ["store"] * existing
    if existing:
        assert contents(target) == before


def edit_meta(**changes):
    def edit(path):
        meta = json.loads((path / "meta.json").read_text())
        (path / "meta.json").write_text(json.dumps(meta | changes))

    return edit


def truncate(name, size):
    return lambda path: os.truncate(path / name, size if size >= 0 else (path / name).stat().st_size + size)


def other_frames(path):
    frames = np.load(path / "frames.npy")
    np.save(path / "frames.npy", frames[:-1])


@pytest.mark.parametrize(
    "damage, words",
    [
        (shutil.rmtree, "no store at"),
        (lambda path: (path / "meta.json").unlink(), "not a store"),
        (lambda path: [file.unlink() for file in path.iterdir()], "not a store"),
        (lambda path: (path / "meta.json").write_text("{"), "not valid JSON"),
        (lambda path: (path / "meta.json").write_bytes(b"\xff\x00"), "not valid JSON"),
        (lambda path: (path / "meta.json").write_text("[]"), "not a store"),
        (edit_meta(format="zip"), "not a store"),
        (edit_meta(version=2), "version 2; this kinemask reads version 1"),
        (edit_meta(version="1"), "version 1; this"),
        (edit_meta(classes=None), "lacks classes"),
        (edit_meta(classes=["one"]), "none of the 1 classes"),
        (edit_meta(layout={}), "meta.json: layout without a name lacks"),
        (edit_meta(layout=layout("ntu25").to_dict()), r"frames.npy holds .*15, 3\).* say .*25, 3\)"),
        (edit_meta(splits={"z": {}}), "no column split:z"),
        (edit_meta(dtype="float16"), "holds float32 .* say float16"),
        (edit_meta(sha256={}), "clips.csv has changed"),
        (lambda path: (path / "clips.csv").unlink(), "clips.csv is missing"),
        (lambda path: (path / "frames.npy").unlink(), "frames.npy is missing"),
        (truncate("clips.csv", -5), "clips.csv has changed"),
        (truncate("frames.npy", -1), "frames.npy is truncated"),
        (truncate("frames.npy", 40), "frames.npy is damaged"),
        (truncate("frames.npy", 0), "frames.npy is damaged"),
        (lambda path: (path / "frames.npy").write_bytes(b"\x80\x04pickle"), "frames.npy is damaged"),
        (other_frames, "frames.npy holds"),
    ],
)
def test_damage_is_found_on_opening(damage, words, store):
    damage(store.path)
    with pytest.raises(ValueError, match=words) as error:
        open_store(store.path)
    assert str(store.path) in str(error.value)


def edit_table(*changes):
    """Replaces parts of clips.csv, or with a function all of it, and has meta.json agree with what it is then."""

    def edit(path):
        content = (path / "clips.csv").read_bytes()
        for change in changes:
            new = change(content) if callable(change) else content.replace(*change, 1)
            assert new != content
            content = new
        (path / "clips.csv").write_bytes(content)
        meta = json.loads((path / "meta.json").read_text())
        edit_meta(sha256=meta["sha256"] | {"clips.csv": sha256(path / "clips.csv")})(path)

    return edit


def header_of(text):
    """A frames.npy that begins with this header."""
    header = text.encode("latin-1").ljust(118) + b"\n"
    return lambda path: (path / "frames.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", 119) + header)


FIRST = b"clip00,0,3,1,0"


@pytest.mark.parametrize(
    "damage, words",
    [
        (edit_table((FIRST, b"clip00,0,3")), r"clips\.csv: clip 1 has 7 fields, the header 9"),
        (edit_table((FIRST, FIRST + b",1,2,3")), r"clips\.csv: clip 1 has 12 fields"),
        (edit_table((FIRST, b"clip00,0,3,1," + b"9" * 30)), r"clips\.csv, column offset: "),
        (edit_table((FIRST, b"clip00,0," + b"9" * 5000 + b",1,0")), r"clips\.csv, column frames: "),
        (edit_table((FIRST, b"clip00," + b"9" * 30 + b",3,1,0")), r"clips\.csv, column label: "),
        (edit_table((FIRST, b"clip00,0,-3,-1,0")), r"clips\.csv, column frames: from -3"),
        (edit_table((FIRST, b"clip00,0,2635249153387078804,7,0")), r"clips\.csv, column frames: .* which no clip has"),
        (edit_table((FIRST, b"clip00,0,2147483648,2147483648,0")), "offsets do not follow"),
        (edit_table((FIRST, b"clip00,0,three,1,0")), r"clips\.csv, column frames: .*three"),
        (edit_table((FIRST, b"\xff" + FIRST)), r"clips\.csv is no table: .*utf-8"),
        (edit_table((b",subject", b",camera")), r"clips\.csv has two columns of one name"),
        (edit_table((FIRST, b"c" * 200_000 + FIRST)), r"clips\.csv is no table: field larger"),
        (edit_table(lambda content: b""), r"clips\.csv is no table: "),
        (edit_table(lambda content: content.partition(b"\n")[0]), r"clips\.csv lists no clip"),
        (edit_table(lambda content: many_clips(content, b"x" * 100_000)), r"clips\.csv: a text of the column subject"),
        (edit_meta(dtype="object"), r"meta\.json: dtype is 'object'"),
        (edit_meta(classes=["a", ["b"], "c"]), r"meta\.json: classes holds a value that is no text"),
        (edit_meta(sha256={"clips.csv": 3}), r"meta\.json: sha256 holds a value that is no text"),
        (edit_meta(splits={"x": "y"}), r"meta\.json: splits holds a value that is no mapping"),
        (edit_meta(layout=LAYOUT.to_dict() | {"joints": ["a"] * 10**5}), r"meta\.json: layout sbu15: 100,000 joints"),
        (edit_meta(layout=LAYOUT.to_dict() | {"dims": 3.0}), r"meta\.json: layout sbu15: dims is 3\.0"),
        (lambda path: (path / "meta.json").write_text("[" * 200_000), r"meta\.json: not valid JSON: more than 32"),
        (lambda path: (path / "meta.json").write_text('{"a": ' + "1" * 5000 + "}"), r"meta\.json: not valid JSON"),
        (lambda path: os.truncate(path / "meta.json", 1 << 40), r"meta\.json: 1,099,511,627,776 bytes of JSON"),
        (header_of("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2"), r"frames\.npy is damaged"),
        (header_of("{'descr': '<f4', 'fortran_order': False, 'shape': " + "(" * 60), r"frames\.npy is damaged"),
        (header_of("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}"), r"frames\.npy holds object"),
        (header_of("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 15, 3)}"), r"frames\.npy holds .*-1"),
        (header_of("{'descr': 3, 'fortran_order': False, 'shape': (1,)}"), r"frames\.npy is damaged"),
        (header_of("\0\0\0"), r"frames\.npy is damaged"),
    ],
)
def test_hostile_stores_are_refused_by_file(damage, words, store):
    damage(store.path)
    with pytest.raises(ValueError, match=words) as error:
        open_store(store.path)
    assert str(store.path) in str(error.value)
    assert len(str(error.value)) <= 500


def many_clips(content, subject):
    """A table of 2,000 clips, one of which has a long subject."""
    lines = b"".join(b"c%d,0,1,1,%d,%s,c0,,\n" % (i, i, b"" if i else subject) for i in range(2000))
    return content.partition(b"\n")[0] + b"\n" + lines


def test_a_changed_array_is_found_by_verifying(store):
    with (store.path / "frames.npy").open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"\0\0\0\1")
    again = open_store(store.path)
    with pytest.raises(ValueError, match=r"frames\.npy has changed"):
        again.verify()
    with pytest.raises(ValueError, match=r"frames\.npy has changed"):
        open_store(store.path, verify=True)


def test_the_tables_of_another_store_are_found(store, tmp_path):
    other = write_store(tmp_path / "other", make_clips(11), LAYOUT, CLASSES)
    for name in ("clips.csv", "meta.json"):
        shutil.copy(other.path / name, store.path / name)
    with pytest.raises(ValueError, match=r"frames.npy holds .* where clips.csv"):
        open_store(store.path)


@pytest.mark.parametrize("left", [".store.partial-0a1b2c3d", ".store.old-0a1b2c3d"])
def test_what_a_killed_writer_left_is_swept(left, store, tmp_path):
    shutil.copytree(store.path, tmp_path / left)
    write_store(store.path, make_clips(), LAYOUT, CLASSES, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["store"]


def test_a_store_is_put_back_whose_replacement_was_killed(store, tmp_path):
    """Between the two renames: the old one out of the way, the new one in its place."""
    before = contents(store.path)
    store.path.rename(tmp_path / ".store.old-0a1b2c3d")
    (tmp_path / ".store.partial-0a1b2c3d").mkdir()
    with pytest.raises(ValueError, match="exists already"):
        StoreWriter(store.path, LAYOUT)
    assert contents(store.path) == before


def test_a_store_that_is_being_written_is_left_alone(tmp_path):
    writers = [StoreWriter(tmp_path / "store", LAYOUT) for _ in range(2)]
    with writers[0], writers[1]:
        assert len(list(tmp_path.glob(".store.partial-*"))) == 2
    assert list(tmp_path.iterdir()) == []

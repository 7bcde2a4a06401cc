"""PYSKL pickles: what they hold comes back, and hostile ones are refused, named, and run nothing."""

from __future__ import annotations

import builtins
import itertools
import os
import pickle
import pickletools
import struct
import tracemalloc

import numpy as np
import pytest

from kinemask.budget import VARIABLE
from kinemask.preparation.info import info
from kinemask.preparation.prepare import prepare
from kinemask.readers import Failure, ReadOptions, reader
from kinemask.readers.pickle_file import PickledArray, read_pickle
from kinemask.skeleton import layout
from kinemask.store.opening import open_store

READER = reader("pyskl")


def annotation(name, label=0, frames=30, bodies=1, seed=0, **more):
    """Pixels of a body of COCO's keypoints, as PYSKL holds them."""
    rng = np.random.default_rng(seed)
    points = (200 + 60 * rng.normal(size=(bodies, frames, 17, 2))).astype(np.float16)
    return {
        "frame_dir": name,
        "label": label,
        "img_shape": (480, 640),
        "original_shape": (480, 640),
        "total_frames": frames,
        "keypoint": points,
        "keypoint_score": rng.uniform(0.2, 1, (bodies, frames, 17)).astype(np.float16),
        **more,
    }


def content(count=6, **split):
    notes = [annotation(f"v{i}", i % 3, 30 + i, 1 + i % 2, i) for i in range(count)]
    return {"split": split or {"train": ["v0", "v1", "v2", "v3"], "test": ["v4", "v5"]}, "annotations": notes}


def write(folder, value, protocol=2, name="gym.pkl", dump=pickle.dumps):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(value if isinstance(value, bytes) else dump(value, protocol=protocol))
    return folder / name


def read(path, **options):
    (item,) = READER.scan(path).items
    return list(READER.read(item, ReadOptions(**options)))


def loaded(value):
    """With the arrays of a pickle read, so that it compares."""
    if isinstance(value, PickledArray):
        return value.load()
    if isinstance(value, dict):
        return {key: loaded(entry) for key, entry in value.items()}
    return type(value)(map(loaded, value)) if isinstance(value, list | tuple) else value


def renamed(value, protocol):
    """A pickle as numpy before version 2 wrote it: the modules were numpy.core (and frames are left out)."""
    raw = pickle.dumps(value, protocol=protocol)
    frames = [at for step, _, at in pickletools.genops(raw) if step.name == "FRAME"]
    raw = b"".join(raw[a + 9 * (a > 0) : b] for a, b in itertools.pairwise([0, *frames, len(raw)]))
    for module in (b"multiarray", b"numeric"):
        new, old = b"numpy._core." + module, b"numpy.core." + module
        raw = raw.replace(short(new), short(old)).replace(b"c" + new, b"c" + old)
    return raw


VALUES = {
    "plain": [None, True, False, 0, -1, 255, 65536, 2**40, -(2**40), 1.5, float("inf"), "é中", "", b"", b"ab", ()],
    "nested": {"a": [{"b": (1, (2, 3), [4])}], 1: 2.0, 0.5: "x"},
    "long": ["x" * 3000, b"y" * 3000],
    "dtypes": [np.arange(6).astype(kind).reshape(2, 3) for kind in ("f2", "f4", "f8", "i1", "i8", "u2", "?", ">f4")],
    "orders": [
        np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        np.arange(12.0)[::2],
        np.zeros((0, 3)),
        np.ones(()),
    ],
    "scalars": [np.float32(1.5), np.int64(-3), np.bool_(True), np.float16(0.5)],
    "big": [np.random.default_rng(0).normal(size=(3, 700)), np.arange(256, dtype="u1").repeat(40)],
}


class TestPickles:
    @pytest.mark.parametrize("protocol", range(6))
    @pytest.mark.parametrize("dump", [pickle.dumps, pickle._dumps, renamed], ids=["c", "python", "numpy1"])
    @pytest.mark.parametrize("kind", VALUES)
    def test_what_python_pickles_comes_back(self, kind, dump, protocol, tmp_path):
        value = VALUES[kind]
        found = loaded(read_pickle(write(tmp_path, value, protocol, dump=dump)))
        if kind in ("dtypes", "orders", "big"):
            for a, b in zip(found, value, strict=True):
                assert a.dtype == b.dtype
                assert np.array_equal(a, b)
        else:
            assert found == value
            assert not any(isinstance(entry, np.generic) for entry in found)

    def test_arrays_stay_in_the_file(self, tmp_path):
        value = [np.random.default_rng(i).normal(size=(100, 100)) for i in range(100)]
        path = write(tmp_path, value, 4)
        tracemalloc.start()
        try:
            found = read_pickle(path)
            assert tracemalloc.get_traced_memory()[1] < path.stat().st_size / 10
        finally:
            tracemalloc.stop()
        assert np.array_equal(found[-1].load(), value[-1])
        path.write_bytes(path.read_bytes()[:-1000])
        with pytest.raises(ValueError, match="array"):
            found[-1].load()


# ---- hostile pickles ----

MARKER = "pickle_was_run"


class Call:
    """Pickles as the call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def short(text):
    return b"\x8c" + bytes([len(text)]) + text


def named(module, name):
    """Opcodes that push what a name means, as protocol 4 does it."""
    return short(module) + short(name) + b"\x93"


def array_of(
    dtype=b"\x8c\x02f8\x89\x88\x87R", shape=b"K\x01\x85", data=b"C\x08" + bytes(8), kind=b"numpy\x8c\x07ndarray"
):
    """Opcodes of an array, with parts to be exchanged."""
    make = named(b"numpy.core.multiarray", b"_reconstruct") + b"\x8c\x05" + kind + b"\x93K\x00\x85C\x01b\x87R"
    return make + b"(K\x01" + shape + named(b"numpy", b"dtype") + dtype + b"\x89" + data + b"tb"


TOUCH = f"touch {MARKER}"
CALLS = {
    "os.system": (Call(os.system, TOUCH), f"{os.system.__module__}.system"),
    "eval": (Call(eval, f"open({MARKER!r}, 'w')"), r"\.eval"),
    "exec": (Call(exec, f"open({MARKER!r}, 'w')"), r"\.exec"),
    "open": (Call(open, MARKER, "w"), "io.open"),
    "getattr": (Call(getattr, [], "append"), r"\.getattr"),
    "import": (Call(builtins.__import__, "os"), r"\.__import__"),
    "numpy's file": (Call(np.fromfile, MARKER), "numpy.*fromfile"),
    "numpy's loader": (Call(np.load, MARKER), "numpy.*load"),
    "class": (Call(dict), r"\.dict"),
    "exception": (ValueError("x"), r"\.ValueError"),
    "deep": ([{"a": (1, [Call(os.system, TOUCH)])}], "system"),
    "as a state": (Call(np.dtype, Call(os.system, TOUCH)), "system"),
    "complex": (1j, r"\.complex"),
    "masked array": (np.ma.zeros(3), r"numpy\.ma"),
    "object array": (np.array([{}, None], object), "dtype O8"),
    "text array": (np.array(["a"]), "dtype U1"),
    "records": (np.zeros(2, [("a", "f4")]), "dtype V4"),
    "dates": (np.zeros(2, "M8[s]"), "dtype M8"),
}
STEPS = {  # hand-made, each followed by a stop
    "global": (b"cos\nsystem\n", r"os\.system, which was not looked up"),
    "stack global": (named(b"os", b"system"), r"os\.system"),
    "nested global": (named(b"numpy.core.multiarray", b"_reconstruct.__globals__"), r"_reconstruct\.__globals__"),
    "nested class": (named(b"numpy", b"ndarray.__class__.__mro__"), "__mro__"),
    "split name": (named(b"numpy.core", b"multiarray.scalar.__self__"), "__self__"),
    "no text": (b"K\x01K\x02\x93", "a class or function that is no text"),
    "instance": (b"(S'" + TOUCH.encode() + b"'\nios\nsystem\n", "the step STRING"),
    "instance alone": (b"(ios\nsystem\n", "the step INST"),
    "object": (b"(cos\nsystem\no", r"os\.system"),
    "object of ours": (b"(cnumpy\ndtype\no", "the step OBJ"),
    "new object": (named(b"numpy", b"dtype") + b")\x81", "the step NEWOBJ"),
    "new object with names": (named(b"numpy", b"dtype") + b")}\x92", "the step NEWOBJ_EX"),
    "extension": (b"\x82\x01", "the step EXT1"),
    "persistent": (b"Pabc\n", "the step PERSID"),
    "persistent from stack": (b"K\x01Q", "the step BINPERSID"),
    "buffer": (b"\x97", "the step NEXT_BUFFER"),
    "set": (b"\x8f", "the step EMPTY_SET"),
    "frozen set": (b"(\x91", "the step FROZENSET"),
    "text of Python 2": (b"U\x01a", "the step SHORT_BINSTRING"),
    "no step": (b"\xff", r"the byte b'\\xff'"),
    "state of a dict": (b"}}b", "setting the state of a dict"),
    "state of a function": (named(b"_codecs", b"encode") + b"}b", "setting the state of a Name"),
    "call of text": (b"\x8c\x01a)R", "a call of what is no function"),
    "call of a class": (named(b"numpy", b"ndarray") + b")R", "a call of what is no function"),
    "call with a list": (named(b"numpy", b"dtype") + b"]R", "a call of what is no function"),
    "call with too much": (named(b"__builtin__", b"bytes") + b"K\x09\x85R", "not a whole pickle"),
    "encoding": (named(b"_codecs", b"encode") + b"\x8c\x01a\x8c\x05rot13\x86R", "not one of bytes"),
    "array of a class": (array_of(kind=b"numpy\x8c\x05dtype"), "a class of its own"),
    "array of objects": (array_of(dtype=b"\x8c\x02O8\x89\x88\x87R"), "dtype O8"),
    "array of longs": (array_of(dtype=b"\x8c\x03f16\x89\x88\x87R"), "dtype f16"),
    "array of a number": (array_of(dtype=b"K\x08\x89\x88\x87R"), "dtype int"),
    "array too large": (array_of(shape=b"\x8a\x05\x00\x00\x00\x00\x01\x85"), "of 34359738368 bytes, of which 8"),
    "array too small": (array_of(shape=b")", data=b"C\x09" + bytes(9)), "of 8 bytes, of which 9"),
    "array of a negative size": (array_of(shape=b"J\xff\xff\xff\xff\x85"), "shape that is none"),
    "array of many axes": (array_of(shape=b"(" + b"K\x01" * 30 + b"t"), "shape that is none"),
    "array of a text": (array_of(data=b"\x8c\x01a"), "not one of numbers"),
    "array of a list": (array_of(data=b"]"), "not one of numbers"),
    "scalar too long": (
        named(b"numpy.core.multiarray", b"scalar") + named(b"numpy", b"dtype") + b"\x8c\x02f8\x85RC\x02ab\x86R",
        "a scalar that is no number",
    ),
    "bytes": (b"\x8e" + struct.pack("<Q", 10**15), "a length of 1000000000000000 bytes where"),
    "short of bytes": (b"B" + struct.pack("<I", 50), "a length of 50 bytes where"),
    "bytearray": (b"\x96" + struct.pack("<Q", 2**63), "a length of 9223372036854775808 bytes"),
    "text": (b"\x8d" + struct.pack("<Q", 10**12), "a length of 1000000000000 bytes"),
    "frame": (b"\x95" + struct.pack("<Q", 10**12), "a length of 1000000000000 bytes"),
    "number": (b"\x8b" + struct.pack("<i", 2**31 - 1), "a length of 2147483647 bytes"),
    "negative number": (b"\x8b" + struct.pack("<i", -5), "not a whole pickle"),
    "number of many bits": (b"\x8b" + struct.pack("<i", 1000) + b"\x7f" * 1000, "a number of 7999 bits"),
    "number of many digits": (b"L" + b"9" * 9000 + b"L\n", "not a whole pickle"),
    "memo": (b"Nr" + struct.pack("<I", 2**31), "the memo's index 2147483648 after 0"),
    "negative memo": (b"Np-1\n", "the memo's index -1"),
    "memo unknown": (b"h\x07", "not a whole pickle"),
    "mark missing": (b"t", "not a whole pickle"),
    "stack empty": (b"0", "not a whole pickle"),
    "appending to a tuple": (b")Na", "appending to a tuple"),
    "setting items of a list": (b"]NNs", "setting items of a list"),
    "items without a pair": (b"}(Nu", "setting items of a dict"),
    "tuple as a key": (b"})" + b"\x85" * 9 + b"Ns", "a dict's key of type tuple"),
    "list as a key": (b"}]Ns", "a dict's key of type list"),
    "text that is none": (short(b"\xff\xfe"), "not a whole pickle"),
}


@pytest.mark.filterwarnings("ignore")
class TestHostile:
    @pytest.fixture(autouse=True)
    def nothing_is_run(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        yield
        assert not (tmp_path / MARKER).exists()

    @pytest.mark.parametrize("protocol", [0, 2, 4, 5])
    @pytest.mark.parametrize("what", CALLS)
    def test_calls_and_classes_are_refused_by_name(self, what, protocol, tmp_path):
        value, name = CALLS[what]
        path = write(tmp_path, value, protocol)
        with pytest.raises(ValueError, match=rf"^{path}, byte \d+: refused .*{name}"):
            read_pickle(path)

    @pytest.mark.parametrize("what", CALLS)
    def test_so_they_are_inside_a_data_set(self, what, tmp_path):
        value = content()
        value["annotations"][3]["keypoint"] = CALLS[what][0]
        path = write(tmp_path / "raw", value)
        with pytest.raises(ValueError, match=rf"{path}, byte \d+: refused .*{CALLS[what][1]}"):
            prepare("pyskl", path, tmp_path / "store")
        assert not (tmp_path / "store").exists()

    @pytest.mark.parametrize("what", STEPS)
    def test_steps_are_refused_by_what_they_ask(self, what, tmp_path):
        steps, words = STEPS[what]
        path = write(tmp_path, b"\x80\x04" + steps + b".")
        with pytest.raises(ValueError, match=rf"^{path}, byte \d+: .*{words}"):
            read_pickle(path)

    @pytest.mark.parametrize("shares", [9, 1])
    def test_a_name_that_is_no_text_is_not_even_printed(self, shares, tmp_path):
        """Lists of ten times one list, ten to the ninth entries if anything printed them; lists in lists in lists."""
        ten = b"".join(b"]\x94(" + b"h" + bytes([i]) * 1 + (b"h" + bytes([i])) * 9 + b"e0" for i in range(9))
        steps = {9: b"]\x940" + ten + b"h\x09", 1: b"]" * 100_000 + b"a" * 99_999}[shares]
        path = write(tmp_path, b"\x80\x04" + steps + b"\x8c\x01x\x93.")
        tracemalloc.start()
        try:
            with pytest.raises(ValueError, match=f"^{path}, byte .*a class or function that is no text"):
                read_pickle(path)
            assert tracemalloc.get_traced_memory()[1] < 40_000_000
        finally:
            tracemalloc.stop()

    @pytest.mark.parametrize(
        "steps",
        [
            b"]" * 50_000,
            b"}" * 50_000,
            b"(" * 50_000,
            b"N" * 200_000,
            b"]" + b"\x94h\x00a" * 50_000,
            b"N\x94" + b"h\x00" * 100_000,
            b"(" + b"N2" * 100_000 + b"t",
            b"]" + b"\x85" * 100_000,
            b"(" + b"K\x01" * 100_000 + b"l",
        ],
        ids=["lists", "dicts", "marks", "nothings", "memo", "gets", "copies", "tuples", "numbers"],
    )
    def test_what_would_grow_is_stopped(self, steps, tmp_path, monkeypatch):
        monkeypatch.setenv(VARIABLE, "1e-9")
        path = write(tmp_path, b"\x80\x04" + steps + b".")
        tracemalloc.start()
        try:
            with pytest.raises(ValueError, match=f"{path}.*more than three times its size and 1e-09 GB"):
                read_pickle(path)
            assert tracemalloc.get_traced_memory()[1] < 4 * path.stat().st_size + 200_000
        finally:
            tracemalloc.stop()

    @pytest.mark.parametrize(
        "key",
        ["label", "total_frames", "keypoint", "img_shape", "keypoint_score", "raw_file", "frame_dir", "lists", "list"],
    )
    @pytest.mark.parametrize("nest", ["laughs", "within", "deep"])
    def test_nesting_without_end_is_no_harm(self, nest, key, tmp_path):
        """Lists of lists of one list twice (2^60 entries if anything walked or printed them), a list in itself,
        and tuples deeper than any recursion."""
        laughs, within = [], []
        for _ in range(60):
            laughs = [laughs, laughs]
        within.append(within)
        entry = {"laughs": laughs, "within": within, "deep": 123456789}[nest]
        value = content()
        if key == "lists":
            value["split"] = entry
        elif key == "list":
            value["split"]["train"] = entry
        else:
            value["annotations"][3][key] = entry
            if key == "raw_file":
                del value["annotations"][3]["keypoint"]
        raw = pickle.dumps(value, protocol=2)
        path = write(tmp_path, raw.replace(b"J" + struct.pack("<i", 123456789), b")" + b"\x85" * 100_000))
        try:
            (failure,) = [clip for clip in read(path) if isinstance(clip, Failure)]
        except ValueError as error:
            failure = Failure(str(error))
        assert str(path) in failure.reason
        assert len(failure.reason) < 300 + len(str(path))

    def test_truncated_anywhere(self, tmp_path):
        whole = [pickle.dumps(content(2), protocol=protocol) for protocol in (0, 2, 4)]
        for raw in whole:
            for size in range(0, len(raw) - 1, 1 + len(raw) // 100):
                path = write(tmp_path, raw[:size])
                with pytest.raises(ValueError, match=str(path)):
                    READER.scan(path)

    @pytest.mark.parametrize("protocol", [0, 2, 4, 5])
    def test_flipped_bytes_are_errors_or_other_numbers_never_worse(self, protocol, tmp_path):
        value = content(3)
        for note in value["annotations"]:
            note["keypoint"], note["keypoint_score"] = note["keypoint"][:, :4], note["keypoint_score"][:, :4]
            note["total_frames"] = 4
        whole, rng = pickle.dumps(value, protocol=protocol), np.random.default_rng(6)
        for _ in range(150):
            damaged = bytearray(whole)
            for at in rng.integers(0, len(whole), rng.choice([1, 3, 20])):
                damaged[at] = rng.integers(256)
            path = write(tmp_path, bytes(damaged))
            try:
                clips = read(path)
            except ValueError as error:
                clips = [Failure(str(error))]
            for clip in clips:
                if isinstance(clip, Failure):
                    assert str(path) in clip.reason or "needs a layout" in clip.reason
                else:
                    assert not np.isinf(clip.data).any()

    @pytest.mark.parametrize("raw", [b"", b"\n\n", b"{}", b"PK\x03\x04", bytes(4000), b"\x1f\x8b\x08" + bytes(50)])
    def test_no_pickle_at_all(self, raw, tmp_path):
        with pytest.raises(ValueError, match=r"gym\.pkl, byte"):
            READER.scan(write(tmp_path, raw))


# ---- data sets ----


class TestDataSets:
    def test_a_clip_is_in_the_store_convention_with_its_confidences(self, tmp_path):
        value = content()
        value["annotations"][1]["keypoint"][1, 3, 4] = 0
        value["annotations"][1]["keypoint_score"][0, 5, 6] = 0.25
        value["annotations"][1]["keypoint_score"][0, 0] = 1  # so that the hips are there
        path = write(tmp_path, value)
        clips = read(path, min_score=0.3)
        raw = value["annotations"][1]["keypoint"].astype(float)
        clip = clips[1]
        hips = raw[0, 0, [11, 12]].mean(0)
        expected = (raw - hips) * (1, -1) / 240
        expected[1, 3, 4] = expected[value["annotations"][1]["keypoint_score"] <= 0.3] = np.nan
        assert np.isnan(expected[0, 5, 6]).all()
        assert np.allclose(clip.data, expected, atol=1e-6, equal_nan=True)
        assert np.array_equal(clip.score, value["annotations"][1]["keypoint_score"])
        assert (clip.name, clip.label, clip.fields["scale"]) == ("v1", 1, "240")

    def test_a_store_of_it(self, tmp_path):
        value = content()
        path = write(tmp_path / "raw", value)
        store = open_store(prepare("pyskl", tmp_path / "raw", tmp_path / "store", min_score=0.3, progress=False).path)
        facts = info(store)
        assert (facts["layout"], facts["clips"], facts["classes"], facts["confidences"]) == ("coco17", 6, 3, True)
        assert facts["bodies"] == {"1": 3, "2": 3}
        assert facts["splits"]["official"] == {"train": 4, "test": 2, "test_duplicates_of_train": 0}
        assert facts["missing_fraction"] > 0.05
        for i, note in enumerate(value["annotations"]):
            assert np.array_equal(store.score(i), note["keypoint_score"])
        assert store.scores.shape == store.frames.shape[:2]
        (path.parent / "list").write_text("v3\nv9\n")
        summary = prepare("pyskl", path, tmp_path / "two", exclude=path.parent / "list", name="gym", progress=False)
        assert (summary.clips, summary.excluded) == (5, 1)
        assert (store.name, open_store(tmp_path / "two").name) == ("store", "gym")
        for name in ("a/b", "", " ", "a\x1b[31m", "x" * 200):
            with pytest.raises(ValueError, match=r"the data set's name, .*--name"):
                prepare("pyskl", path, tmp_path / "three", name=name, progress=False)

    def test_one_content_for_many_clips_is_no_data_set(self, tmp_path):
        note = annotation("v0", frames=200)
        notes = [note | {"frame_dir": f"v{i}"} for i in range(20)]
        with pytest.raises(ValueError, match="naming the same keypoints again and again"):
            READER.scan(write(tmp_path, {"split": {}, "annotations": notes}))

    def test_scores_are_part_of_what_a_store_verifies(self, tmp_path):
        path = write(tmp_path / "raw", content())
        store = prepare("pyskl", path, tmp_path / "store", progress=False).path
        scores = store / "scores.npy"
        scores.write_bytes(scores.read_bytes()[:-2] + b"ab")
        with pytest.raises(ValueError, match=r"scores\.npy has changed"):
            open_store(store, verify=True)
        scores.write_bytes(scores.read_bytes()[:-2])
        with pytest.raises(ValueError, match=r"scores\.npy is truncated"):
            open_store(store)
        scores.unlink()
        with pytest.raises(ValueError, match=r"scores\.npy is missing"):
            open_store(store)

    def test_clips_without_confidences_among_others(self, tmp_path):
        value = content()
        for i in (0, 1, 4):
            del value["annotations"][i]["keypoint_score"]
        store = open_store(
            prepare("pyskl", write(tmp_path, value), tmp_path / "store", progress=False).path, verify=True
        )
        assert [np.isnan(store.score(i)).all() for i in range(6)] == [True, True, False, False, True, False]
        for note in value["annotations"]:
            note.pop("keypoint_score", None)
        summary = prepare("pyskl", write(tmp_path, value), tmp_path / "none", min_score=0.5, progress=False)
        assert open_store(summary.path).score(0) is None
        assert any("min_score 0.5 had no effect" in line for line in summary.warnings)

    @pytest.mark.parametrize(
        "lists, expected",
        [
            ({"train": "012", "val": "34"}, {"official": ("012", "34")}),
            ({"train": "012", "test": "34"}, {"official": ("012", "34")}),
            (
                {"xsub_train": "01", "xsub_val": "2", "xset_train": "12", "xset_val": "0"},
                {"xsub": ("01", "2"), "xset": ("12", "0")},
            ),
            (
                {"train1": "01", "test1": "23", "train2": "23", "test2": "01"},
                {"fold1": ("01", "23"), "fold2": ("23", "01")},
            ),
            ({"train": "01", "val": "2", "test": "34"}, {"official": ("01", "34"), "official-val": ("01", "2")}),
            ({"a_b_train": "01", "a_b_test": "3"}, {"a_b": ("01", "3")}),
            ({"train": "012"}, {"official": ("012", "")}),
        ],
    )
    def test_lists_fold_into_splits(self, tmp_path, lists, expected):
        value = content(5, **{name: [f"v{i}" for i in ids] for name, ids in lists.items()})
        store = open_store(prepare("pyskl", write(tmp_path, value), tmp_path / "store", progress=False).path)
        found = {
            name: tuple("".join(store.names[i][1:] for i in side) for side in store.split(name)) for name in expected
        }
        assert found == expected
        assert set(store.splits) == set(expected) | {f"{name}-val" for name in expected if "-" not in name}

    def test_lists_that_are_odd_are_told(self, tmp_path):
        value = content(3, train=["v0", "gone"], test=["v1"], everything=["v0"], x_train1=["v0"])
        summary = prepare("pyskl", write(tmp_path, value), tmp_path / "store", progress=False)
        words = " ".join(summary.warnings)
        assert "'everything' is no train, val or test" in words
        assert "'x_train1'" in words
        assert "1 clips of its lists have no annotation: gone" in words

    def test_ntu_in_three_dimensions(self, tmp_path):
        rng, root = np.random.default_rng(0), layout("ntu25").origin[0]
        joints = rng.normal(1, 0.3, (2, 40, 25, 3)).astype(np.float32)
        joints[1] = 0
        note = {"frame_dir": "S001C002P003R002A013", "label": 12, "total_frames": 40, "keypoint": joints}
        (clip,) = read(write(tmp_path, {"split": {"xsub_train": [note["frame_dir"]]}, "annotations": [note]}))
        assert clip.data.shape == (1, 40, 25, 3)
        assert np.allclose(clip.data[0], joints[0] - joints[0, 0, root], atol=1e-6)
        assert clip.score is None
        told = {"subject": "3", "camera": "2", "setup": "1", "replication": "2", "split:xsub": "train"}
        assert clip.fields == told

    def test_other_skeletons_need_their_layout(self, tmp_path):
        notes = [
            annotation(f"v{i}", keypoint=np.ones((1, 30, 13, 2)), keypoint_score=np.ones((1, 30, 13))) for i in range(3)
        ]
        path = write(tmp_path, {"split": {}, "annotations": notes})
        with pytest.raises(ValueError, match="pyskl needs a layout"):
            prepare("pyskl", path, tmp_path / "store", progress=False)
        summary = prepare("pyskl", path, tmp_path / "store", layout="penn13", progress=False)
        assert summary.clips == 3
        with pytest.raises(
            ValueError, match=r"3 clips rejected, the first, v0: .*\(bodies, 30, 20, 3\) for layout kinect20"
        ):
            prepare("pyskl", path, tmp_path / "other", layout="kinect20", progress=False)

    @pytest.mark.parametrize(
        "change, words",
        [
            ({"label": -1}, "expected a label from 0 .* found label -1"),
            ({"label": "jump"}, "found label 'jump'"),
            ({"label": 10**9}, "found label 1000000000"),
            ({"label": True}, "found label True"),
            ({"total_frames": 31}, r"keypoint should have the shape \(bodies, 31, 17, 2\).*found \(1, 30, 17, 2\)"),
            ({"total_frames": None}, "total_frames None"),
            ({"keypoint": [[1.0]]}, "keypoint should be a number array, found a list of 1"),
            ({"keypoint": None}, "keypoint should be a number array, found None"),
            ({"keypoint": np.ones((30, 17, 2))}, "keypoint should have the shape"),
            ({"keypoint": np.ones((0, 30, 17, 2))}, "keypoint should have the shape"),
            ({"keypoint": np.ones((1, 30, 17, 2), bool)}, "expected numbers, found bool"),
            ({"keypoint": np.full((1, 30, 17, 2), np.inf)}, "is not a finite length"),
            ({"keypoint_score": np.ones((1, 30))}, "keypoint_score should have the shape"),
            ({"keypoint_score": "high"}, "keypoint_score should be a number array, found 'high'"),
            ({"img_shape": (0, 640)}, "img_shape should be .height, width."),
            ({"img_shape": 480}, "img_shape should be .height, width.*found 480"),
        ],
    )
    def test_a_bad_annotation_is_named_and_the_others_kept(self, tmp_path, change, words):
        value = content()
        value["annotations"][2] = annotation("v2") | change
        path = write(tmp_path / "raw", value)
        summary = prepare("pyskl", path, tmp_path / "store", progress=False)
        assert (summary.clips, summary.rejected, summary.rejected_clips) == (5, 0, 1)
        with pytest.raises(ValueError, match=f"{path}, clip v2: .*{words}"):
            prepare("pyskl", path, tmp_path / "strict", strict=True, progress=False)

    def test_a_clip_of_zeros_is_dropped_by_rule(self, tmp_path):
        value = content()
        value["annotations"][2]["keypoint"] *= 0
        path = write(tmp_path / "raw", value)
        summary = prepare("pyskl", path, tmp_path / "store", strict=True, progress=False)
        assert (summary.clips, summary.rejected_clips) == (5, 1)

    @pytest.mark.parametrize(
        "change, words",
        [
            (lambda value: value["split"], "expected a list of annotations, or a dict of split"),
            (lambda value: value | {"split": []}, "found an object of split, annotations"),
            (lambda value: value | {"annotations": {}}, "or a dict of split"),
            (lambda value: value | {"split": {"train": "v0"}}, "split 'train' should be a list of names, found 'v0'"),
            (lambda value: value | {"split": {"train": [1]}}, "split 'train' should be a list of names"),
            (lambda value: value | {"annotations": [*value["annotations"], 3]}, "annotation 6 is no dict with a name"),
            (lambda value: value | {"annotations": [{"label": 1}]}, "annotation 0 is no dict with a name in frame_dir"),
            (lambda value: value | {"annotations": [annotation("a\nb")]}, "annotation 0 is no dict with a name"),
            (
                lambda value: value | {"annotations": [annotation("\ud800")]},
                "annotation 0 is no dict|not a whole pickle",
            ),
            (lambda value: value | {"annotations": value["annotations"] * 2}, "annotation 6: there is one called v0"),
            (lambda value: value | {"split": {"train": ["v0"], "test": ["v0"]}}, "clip v0 is for both training and"),
        ],
    )
    def test_a_pickle_of_another_shape(self, tmp_path, change, words):
        value = change(content())
        path = write(tmp_path, value, protocol=4, dump=pickle._dumps) if "ud800" not in words else None
        path = path or write(tmp_path, value)
        with pytest.raises(ValueError, match=f"{path}.*({words})"):
            READER.scan(path)

    def test_sources(self, tmp_path):
        with pytest.raises(ValueError, match="does not exist"):
            READER.scan(tmp_path / "absent")
        with pytest.raises(ValueError, match="holds no pickle"):
            READER.scan(tmp_path)
        write(tmp_path, content(), name="a.pkl")
        write(tmp_path, content(), name="b.pkl")
        with pytest.raises(ValueError, match=r"holds 2 pickles \(a.pkl, b.pkl"):
            READER.scan(tmp_path)
        assert [item.path for item in READER.scan(tmp_path / "b.pkl").items] == [tmp_path / "b.pkl"]


class TestKinetics:
    """Keypoints in files of their own: skeletons of a video's people, in frames counted from 1."""

    def write(self, folder, clips=4, frames=20):
        notes, files = [], {}
        for i in range(clips):
            body = annotation("", frames=frames, bodies=2, seed=i)
            drift = np.arange(frames)[:, None, None] * 0.5  # a pose that moves slowly, so that people can be followed
            joints = body["keypoint"][:, :1] + drift + np.array([0, 400])[:, None, None, None] * (1, 0)
            detections = np.concatenate([joints, np.full((2, frames, 17, 1), 0.8)], -1)
            order = [(t, m) for t in range(frames) for m in ((0, 1) if t % 3 else (1, 0)) if m == 0 or t < frames // 2]
            keypoint = np.array([detections[m, t] for t, m in order] + [np.zeros((17, 3))], np.float16)
            inds = np.array([t + 1 for t, _ in order] + [frames], np.int16)
            box = np.append(np.full(len(order), 0.9), 0.3).astype(np.float16)
            name, file = f"k{i}", f"part_{i % 2}.pkl"
            files.setdefault(file, {})[name] = {"keypoint": keypoint}
            notes.append(
                {"frame_dir": name, "label": i, "img_shape": (480, 640), "total_frames": frames, "frame_inds": inds}
                | {"box_score": box, "raw_file": f"data/k400/kpfiles/{file}", "valid": {0.5: 3}}
            )
        for file, entries in files.items():
            write(folder / "kpfiles", entries, name=file)
        value = {"split": {"train": ["k0", "k1"], "val": ["k2", "k3"]}, "annotations": notes}
        return write(folder, value, name="k400.pkl"), value

    def test_people_are_followed(self, tmp_path):
        path, _ = self.write(tmp_path / "raw")
        summary = prepare("pyskl", tmp_path / "raw", tmp_path / "store", progress=False)
        store = open_store(summary.path)
        assert summary.rejected_clips == 0
        assert sorted(store.names) == ["k0", "k1", "k2", "k3"]
        assert store.bodies.tolist() == [2, 2, 2, 2]
        assert [len(part) for part in store.split("official")] == [2, 2]
        clip = store.clip(0)
        assert np.isnan(clip[1, 10:]).all()
        assert not np.isnan(clip[0]).any()
        assert not np.isnan(clip[1, :10]).any()
        assert np.nanmax(np.abs(np.diff(clip, axis=1))) < 0.01  # nobody jumps
        assert np.nanmax(np.abs(store.score(0) - 0.8)) < 1e-3
        assert path.name not in store.names

    @pytest.mark.parametrize(
        "change, words",
        [
            (lambda note: note.pop("frame_inds"), "frame_inds should be a number array, found None"),
            (lambda note: note.update(frame_inds=note["frame_inds"][:-1]), "expected keypoints .skeletons, 17, 3."),
            (
                lambda note: note.update(frame_inds=np.ones(())) or note.pop("box_score"),
                "expected keypoints .skeletons",
            ),
            (lambda note: note.update(frame_inds=note["frame_inds"] - 1), "frame_inds should ascend from 1 to 20"),
            (lambda note: note.update(frame_inds=note["frame_inds"][::-1].copy()), "frame_inds should ascend"),
            (lambda note: note.update(total_frames=10**9), "seen 30 times only"),
            (
                lambda note: note.update(raw_file="kpfiles/part_7.pkl"),
                "its keypoints are in part_7.pkl, which is not below",
            ),
            (lambda note: note.update(raw_file="C:\\kpfiles\\part_1.pkl"), "part_1.pkl has no entry for it"),
            (lambda note: note.update(box_score=note["box_score"] * 0), "nobody|no joint is seen"),
        ],
    )
    def test_bad_annotations(self, tmp_path, change, words):
        path, value = self.write(tmp_path)
        change(value["annotations"][2])
        write(tmp_path, value, name="k400.pkl")
        (failure,) = [clip for clip in read(path) if isinstance(clip, Failure)]
        assert failure.name == "k2"
        with pytest.raises(ValueError, match=f"{path}, clip k2: .*({words})"):
            raise ValueError(failure.reason)

    def test_a_hostile_file_of_keypoints(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        path, _ = self.write(tmp_path)
        write(tmp_path / "kpfiles", {"k1": Call(os.system, TOUCH)}, name="part_1.pkl")
        keypoint = np.ones((1000, 17, 3), np.float16)
        shared = {f"k{i}": {"keypoint": keypoint} for i in (*range(3), *range(10, 20))}
        write(tmp_path / "kpfiles", shared, name="part_0.pkl")
        failures = [clip for clip in read(path) if isinstance(clip, Failure)]
        assert [failure.name for failure in failures] == ["k0", "k2", "k1", "k3"]
        assert all("part_0.pkl: its clips would take" in failures.pop(0).reason for _ in range(2))
        assert all("part_1.pkl, byte" in failure.reason and "system" in failure.reason for failure in failures)
        assert not (tmp_path / MARKER).exists()

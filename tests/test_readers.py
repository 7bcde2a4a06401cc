"""Readers: real data sets (counts, splits, traps), and one contract of good and bad input for all of them."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
from scipy.io import loadmat, savemat

from kinemask.readers import NAMES, Item, ReadOptions, Rejected, reader
from kinemask.readers.files import read_mat
from kinemask.readers.skeleton_file import parse_skeleton
from kinemask.skeleton import layout

DATA = Path(os.environ.get("KINEMASK_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
REAL = ("nw-ucla", "utd-mhad", "sbu", "penn-action")
NTU = sorted((DATA / "ntu-rgbd").rglob("*.skeleton"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real data in {DATA}")
needs_ntu = pytest.mark.skipif(not NTU, reason=f"no NTU RGB+D files in {DATA}")
PLAIN = ReadOptions()


def item(path, *known):
    return Item(path, path.stem, *known)


def files_of(source, folder):
    return [found.path for found in source.scan(folder).items]


# ---- a small valid file of each format, of joints (T, V, C) of one person ----


def skeleton_text(joints, ids=None, ending="\n"):
    """`.skeleton` text of joints (M, T, 25, 3)."""
    ids = ids or [72057594037931101 + m for m in range(len(joints))]
    lines = [str(joints.shape[1])]
    for t in range(joints.shape[1]):
        lines.append(str(len(joints)))
        for ident, body in zip(ids, joints, strict=True):
            lines += [f"{ident} 0 1 1 1 1 0 0.1 -0.2 2", "25"]
            lines += [" ".join(map(repr, map(float, xyz))) + " 1 2 3 4 0 0 0 0 2" for xyz in body[t]]
    return ending.join([*lines, ""])


def write_ntu(folder, joints):
    path = folder / "S001C002P003R002A005.skeleton"
    path.write_text(skeleton_text(joints[None]))
    return path


def write_nw_ucla(folder, joints):
    path = folder / "a08_s03_e01_v02.json"
    path.write_text(json.dumps({"file_name": path.stem, "skeletons": joints.tolist(), "label": 7}))
    return path


def write_utd(folder, joints):
    path = folder / "a5_s3_t2_skeleton.mat"
    savemat(path, {"d_skel": joints.transpose(1, 2, 0)})
    return path


def write_sbu(folder, joints):
    path = folder / "s01s02" / "05" / "001" / "skeleton_pos.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [",".join([str(t + 1), *map(str, [*frame.flat, *frame.flat])]) for t, frame in enumerate(joints)]
    path.write_text("\r\n".join([*rows, ""]))
    return path


def write_penn(folder, joints, **changes):
    path = folder / "0042.mat"
    content = {
        "x": joints[..., 0],
        "y": joints[..., 1],
        "visibility": np.ones(joints.shape[:2], np.uint8),
        "action": "squat",
        "train": 1,
        "dimensions": [[360, 480, len(joints)]],
    }
    savemat(path, content | changes)
    return path


def write_npy(folder, joints):
    path = folder / "mine.npy"
    np.save(path, joints)
    return path


def write_npz(folder, joints, **more):
    path = folder / "mine.npz"
    np.savez(path, keypoints=joints, **more)
    return path


def write_csv(folder, joints):
    path = folder / "mine.csv"
    lines = [
        ",".join(map(str, [t, "me", v, *joints[t, v]])) for t in range(len(joints)) for v in range(joints.shape[1])
    ]
    path.write_text("\n".join(["frame,body,joint,x,y,z", *lines, ""]))
    return path


def write_mediapipe(folder, joints):
    path = folder / "mine.json"
    frames = [[dict(zip("xyz", xyz, strict=True), visibility=0.9) for xyz in frame] for frame in joints.tolist()]
    path.write_text(json.dumps([{"pose_world_landmarks": [landmarks]} for landmarks in frames]))
    return path


def write_coco(folder, joints):
    path = folder / "mine.json"
    scored = np.concatenate([joints, np.full((*joints.shape[:2], 1), 0.9)], -1).reshape(len(joints), -1)
    path.write_text(json.dumps([{"image_id": i, "keypoints": k, "score": 1} for i, k in enumerate(scored.tolist())]))
    return path


def write_kinetics(folder, joints):
    path = folder / "mine.json"
    scored = np.concatenate([joints, np.full((*joints.shape[:2], 1), 0.9)], -1).tolist()
    path.write_text(json.dumps({"annotations": [{"frame_index": i, "keypoints": k} for i, k in enumerate(scored)]}))
    return path


OWN = ReadOptions(layout=layout("kinect20"))
FORMATS = {  # name: (reader, writer, joints, channels, options)
    "ntu60": ("ntu60", write_ntu, 25, 3, PLAIN),
    "ntu120": ("ntu120", write_ntu, 25, 3, PLAIN),
    "synthetic": ("synthetic", write_ntu, 25, 3, PLAIN),
    "nw-ucla": ("nw-ucla", write_nw_ucla, 20, 3, PLAIN),
    "utd-mhad": ("utd-mhad", write_utd, 20, 3, PLAIN),
    "sbu": ("sbu", write_sbu, 15, 3, PLAIN),
    "penn-action": ("penn-action", write_penn, 13, 2, PLAIN),
    "arrays-npy": ("arrays", write_npy, 20, 3, OWN),
    "arrays-npz": ("arrays", write_npz, 20, 3, OWN),
    "arrays-csv": ("arrays", write_csv, 20, 3, OWN),
    "mediapipe": ("mediapipe", write_mediapipe, 33, 3, PLAIN),
    "coco17": ("coco17", write_coco, 17, 2, PLAIN),
    "kinetics-skeleton": ("kinetics-skeleton", write_kinetics, 18, 2, ReadOptions(layout=layout("coco18"))),
}
OF_THEIR_OWN = {"pku-mmd-1", "pku-mmd-2", "pyskl", "openpose"}  # many clips a file, or many files a clip
OF_THEIR_OWN |= {"st-gcn", "bvh"}  # tests of their own in readers/


@pytest.fixture(params=FORMATS)
def sample(request, tmp_path):
    """(reader, write(joints) -> path, valid joints (T, V, C), options) of every reader and format."""
    name, write, joints, channels, options = FORMATS[request.param]
    data = np.random.default_rng(0).normal(1, 0.2, (14, joints, channels))
    return reader(name), lambda data: write(tmp_path, data), data, options


def test_every_reader_is_in_the_contract():
    assert {name for name, *_ in FORMATS.values()} | OF_THEIR_OWN == set(NAMES)
    with pytest.raises(ValueError, match=r"no reader 'ntu61'.*ntu60.*arrays"):
        reader("ntu61")


class TestContract:
    def test_reads_a_clip_in_the_store_convention(self, sample):
        source, write, joints, options = sample
        path = write(joints)
        clip = source.read(item(path), options)
        own = source.choose_layout(options.layout)
        assert clip.data.shape[1:] == (14, own.num_joints, own.dims)
        assert clip.data.dtype == np.float32
        assert not np.isnan(clip.data).any()
        assert np.allclose(clip.data[0, 0, list(own.origin)].mean(0), 0, atol=1e-6)
        assert clip.label is None or 0 <= clip.label < len(source.classes)
        assert all(rule.side(clip.fields) in ("train", "test", "") for rule in source.splits.values())
        pickle.loads(pickle.dumps(source.read))  # it travels to worker processes

    def test_finds_files_at_any_depth_and_says_what_it_looked_for(self, sample, tmp_path):
        source, write, joints, _ = sample
        if source.is_format:
            pytest.skip("its clips are listed, or all files are")
        path = write(joints)
        (tmp_path / "._hidden.skeleton").write_text("")
        assert files_of(source, tmp_path) == [path]
        path.unlink()
        with pytest.raises(ValueError, match=r"holds no files .*, at any depth"):
            files_of(source, tmp_path)
        with pytest.raises(ValueError, match="does not exist"):
            files_of(source, tmp_path / "absent")

    def test_nan_and_zero_joints_are_missing(self, sample):
        source, write, joints, options = sample
        joints[3, 4], joints[5, 6, 1] = 0, np.nan
        clip = source.read(item(write(joints)), options)
        assert np.array_equal(np.argwhere(np.isnan(clip.data[0]).all(-1)), [[3, 4], [5, 6]])
        assert np.isnan(clip.data[0]).sum() == 2 * joints.shape[-1]

    def test_infinity_is_an_error_that_names_the_file(self, sample):
        source, write, joints, options = sample
        joints[3, 4, 1] = -np.inf
        path = write(joints)
        with pytest.raises(ValueError, match=f"{path}.*finite") as caught:
            source.read(item(path), options)
        assert not isinstance(caught.value, Rejected)

    def test_zero_throughout_is_rejected_by_rule(self, sample):
        source, write, joints, options = sample
        with pytest.raises(Rejected, match=r"is seen in any frame"):
            source.read(item(write(joints * 0)), options)

    @pytest.mark.parametrize(
        "content",
        [b"", b"\n\n", np.random.default_rng(5).bytes(4000), b"\x00" * 4000],
        ids=["empty", "blank", "binary", "zeros"],
    )
    def test_no_such_file_at_all(self, sample, content):
        source, write, joints, options = sample
        path = write(joints)
        path.write_bytes(content)
        with pytest.raises(ValueError, match=str(path)) as caught:
            source.read(item(path), options)
        assert not isinstance(caught.value, Rejected)

    def test_truncated_anywhere(self, sample):
        source, write, joints, options = sample
        path = write(joints)
        whole = path.read_bytes()
        text = path.suffix in (".txt", ".csv")  # a table is as long as it is: cut inside a line
        for size in range(0, len(whole) - 8, 1 + len(whole) // 60):
            if text and (whole[size - 1 : size + 1].count(b"\n") or whole[:size].rpartition(b"\n")[2].count(b",") > 3):
                continue
            path.write_bytes(whole[:size])
            with pytest.raises(ValueError, match=str(path)):
                source.read(item(path), options)

    def test_wrong_number_of_joints(self, sample):
        source, write, joints, options = sample
        path = write(joints[:, :-1])
        if path.suffix == ".csv":
            pytest.skip("a joint without a line in a table is missing")
        with pytest.raises(ValueError, match=str(path)):
            source.read(item(path), options)


# ---- real data ----


@pytest.fixture(scope="module")
def real():
    """Clips of each real data set, read once: name -> (files, clips by name, reasons by file name)."""
    cache = {}

    def load(name):
        if name not in cache:
            source = reader(name)
            files = files_of(source, DATA / name)
            clips, reasons = {}, {}
            for path in files:
                try:
                    clip = source.read(item(path), PLAIN)
                    clips[clip.name] = clip
                except ValueError as error:
                    reasons[path.name] = error
            cache[name] = files, clips, reasons
        return cache[name]

    return load


@needs_data
class TestRealData:
    @pytest.mark.filterwarnings("ignore:All-NaN slice")  # a head that is never seen
    @pytest.mark.parametrize("name", REAL)
    def test_counts_splits_and_convention(self, real, name):
        source, (files, clips, _) = reader(name), real(name)
        assert (len(files), len(clips)) == (source.expected.files, source.expected.clips)
        for split, rule in source.splits.items():
            sides = Counter(rule.side(clip.fields) for clip in clips.values())
            assert (sides["train"], sides["test"]) == source.expected.splits[split]
            assert sides.total() == len(clips)
        assert {clip.label for clip in clips.values()} == set(range(len(source.classes)))
        own = source.choose_layout()
        head, foot = (own.parts[part][-1 if part == "left_leg" else 0] for part in ("head", "left_leg"))
        height = [np.nanmedian(c.data[0, :, head, 1]) - np.nanmedian(c.data[0, :, foot, 1]) for c in clips.values()]
        assert np.nanmedian(height) > 0.9  # y is up, units are metres or half image heights
        assert not any(np.isinf(clip.data).any() for clip in clips.values())

    def test_nw_ucla_traps(self, real):
        _, clips, _ = real("nw-ucla")
        rows = {name: (clip.data.shape, clip.data.tobytes()) for name, clip in clips.items()}
        training = {rows[name] for name, clip in clips.items() if clip.fields["camera"] != "3"}
        copies = Counter(n[:3] for n, c in clips.items() if c.fields["camera"] == "3" and rows[n] in training)
        assert copies == {"a02": 50, "a03": 45}
        assert {n for n, c in clips.items() if c.data.shape[1] == 1} == {"a02_s09_e04_v02", "a02_s09_e04_v03"}
        assert sum(np.isnan(clip.data[..., 0]).sum() for clip in clips.values()) == 12

    def test_penn_action_traps(self, real):
        _, clips, reasons = real("penn-action")
        assert not reasons
        assert "no joint is flagged as visible" in clips["1516"].notes[0]
        assert np.isnan(clips["1516"].data[0, 0, :, 0]).sum() == 4
        missing = np.concatenate([np.isnan(clip.data[..., 0]).ravel() for clip in clips.values()])
        assert 0.215 < missing.mean() < 0.225
        assert max(np.nanmax(np.abs(clip.data)) for clip in clips.values()) < 5  # no placeholder at (1, 1)
        assert clips["0001"].fields["scale"] == "180"

    def test_mat_files_as_scipy_reads_them(self):
        """Among them two that MATLAB wrote without the end of a compressed stream."""
        files = [*(DATA / "penn-action" / "labels" / f"{n}.mat" for n in ("0001", "1605", "1833"))]
        files += files_of(reader("utd-mhad"), DATA / "utd-mhad")[::100]
        for path in files:
            expected = {k: v for k, v in loadmat(path).items() if not k.startswith("__")}
            found = read_mat(path, tuple(expected))
            for key, value in expected.items():
                same = value[0] if value.dtype.kind == "U" else value
                assert np.array_equal(found[key], same) if value is same else found[key] == same

    def test_sbu_bodies_are_of_human_size(self, real):
        _, clips, _ = real("sbu")
        own = layout("sbu15")
        thigh = [own.index("left_hip"), own.index("left_knee")]
        lengths = [np.linalg.norm(np.diff(c.data[:, :, thigh], axis=2), axis=-1) for c in clips.values()]
        assert all(clip.data.shape[0] == 2 for clip in clips.values())
        assert 0.3 < np.median(np.concatenate([x.ravel() for x in lengths])) < 0.6

    def test_utd_in_either_joint_order(self):
        path = files_of(reader("utd-mhad"), DATA / "utd-mhad")[0]
        own, other = (reader("utd-mhad").read(item(path), o).data for o in (PLAIN, OWN))
        order = [layout("utd20").index(joint) for joint in OWN.layout.joints]
        assert np.array_equal(own[:, :, order], other)
        with pytest.raises(ValueError, match="utd20 or kinect20, not ntu25"):
            reader("utd-mhad").choose_layout(layout("ntu25"))


@needs_ntu
class TestNtu:
    def test_real_files(self):
        found = files_of(reader("ntu60"), DATA / "ntu-rgbd")
        clips = {path.stem: reader("ntu60").read(item(path), PLAIN) for path in found}
        assert {name: clip.data.shape[:2] for name, clip in clips.items()} == {
            "S001C001P001R001A001": (1, 103),
            "S001C001P001R001A050": (2, 74),
            "S001C003P008R002A058": (2, 70),
            "S003C001P015R001A034": (1, 71),
        }
        clip = clips["S003C001P015R001A034"]
        assert reader("ntu60").classes[clip.label] == "rub two hands together"
        assert clip.fields == {"subject": "15", "camera": "1", "setup": "3", "replication": "1"}
        assert not any(clip.notes for clip in clips.values())

    def test_ids_that_a_float_cannot_tell_apart(self):
        seen = parse_skeleton(next(path for path in NTU if path.stem == "S001C003P008R002A058"))
        assert set(seen.ids.tolist()) == {72057594037944738, 72057594037944734}
        assert len(set(seen.ids.astype(float))) == 1

    @pytest.mark.parametrize("path", NTU, ids=lambda path: path.stem)
    def test_truncated_at_a_line(self, path, tmp_path):
        """At every line of the first frames, and at every 150th of all."""
        lines = path.read_bytes().splitlines(keepends=True)
        for n in [*range(70), *range(70, len(lines), 150), len(lines) - 1]:
            cut = tmp_path / path.name
            cut.write_bytes(b"".join(lines[:n]))
            with pytest.raises(ValueError, match=f"{cut}, line {n + 1}: expected .* found the end of the file"):
                reader("ntu60").read(item(cut), PLAIN)

    def test_numbers_as_numpy_reads_them(self):
        lines = NTU[0].read_text().splitlines()
        numbers = [line.split()[:3] for line in lines if len(line.split()) == 12]
        joints = parse_skeleton(NTU[0]).joints
        assert np.array_equal(joints, np.array(numbers, np.float64).reshape(joints.shape))


def test_ntu_splits_are_the_owners():
    fields = [{"subject": str(s), "camera": str(c), "setup": str(k)} for s, c, k in np.ndindex(107, 4, 33)]

    def train(name, split, column):
        rule = reader(name).splits[split]
        return {int(f[column]) for f in fields if rule.side(f) == "train"} - {0}

    sixty = {1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38}
    assert train("ntu60", "xsub", "subject") == sixty
    assert train("ntu60", "xview", "camera") == train("synthetic", "xview", "camera") == {2, 3}
    assert len(train("ntu120", "xsub", "subject")) == 53
    assert train("ntu120", "xsub", "subject") > sixty
    assert train("ntu120", "xset", "setup") == set(range(2, 33, 2))
    for name in ("ntu60", "ntu120"):
        expected = reader(name).expected
        assert all(sum(counts) == expected.clips for counts in expected.splits.values())
        assert len(set(reader(name).classes)) == int(name[3:])


SKELETON = skeleton_text(np.random.default_rng(1).normal(1, 0.2, (1, 3, 25, 3))).splitlines()


def change(at, text):
    """The valid file with one line (counted from 1) replaced."""
    return "\n".join([*SKELETON[: at - 1], text, *SKELETON[at:], ""])


BAD_SKELETONS = {
    "frames announced": (
        change(1, "1000000000"),
        r"line 86: expected the number of bodies of frame 4 of 10+",
    ),
    "frames too few": (change(1, "2"), r"line 58: expected the end of the file after 2 frames, found '1'"),
    "frames negative": (change(1, "-3"), r"line 1: expected the number of frames, found '-3'"),
    "frames fractional": (change(1, "3.0"), r"line 1: expected the number of frames, found '3.0'"),
    "bodies announced": (change(2, "1000000000"), r"line 30: expected the 10 fields of a body, found 1: '1'"),
    "bodies a word": (
        change(2, "one"),
        r"line 2: expected the number of bodies of frame 1 of 3, found 'one'",
    ),
    "id a word": (change(3, "me 0 1 1 1 1 0 0 0 2"), r"line 3: expected a tracking id.*found 'me'"),
    "id a fraction": (change(3, "7.2e16 0 1 1 1 1 0 0 0 2"), r"line 3: expected a tracking id"),
    "id too long": (change(3, "9" * 20 + " 0 1 1 1 1 0 0 0 2"), r"line 3: expected a tracking id"),
    "body fields": (change(3, "72057594037931101 0 1"), r"line 3: expected the 10 fields of a body, found 3"),
    "joint count": (change(4, "20"), r"line 4: expected the number of joints, 25, found 20"),
    "joint fields": (change(9, "1 2 3"), r"line 9: expected the 12 numbers of a joint, found 3: '1 2 3'"),
    "joint too long": (change(9, "1 " * 13), r"line 9: expected the 12 numbers of a joint, found 13"),
    "a word": (change(9, "1 2 x 0 0 0 0 0 0 0 0 2"), r"line 9: expected a number, found 'x'"),
    "a word behind": (change(9, "1 2 3 0 0 0 0 0 0 0 0 x"), r"line 9: expected a number, found 'x'"),
    "underscore": (change(9, "1 2 1_0 0 0 0 0 0 0 0 0 2"), r"line 9: expected a number, found '1_0'"),
    "comma": (change(9, "1 2 1,5 0 0 0 0 0 0 0 0 2"), r"line 9: expected a number, found '1,5'"),
    "infinity": (change(9, "1 2 inf 0 0 0 0 0 0 0 0 2"), r"line 9: expected finite x y z, found '1 2 inf'"),
    "1.#INF": (change(9, "1 -1.#INF 3 0 0 0 0 0 0 0 0 2"), r"line 9: expected finite x y z"),
    "blank line": (change(9, ""), r"line 9: expected the 12 numbers of a joint, found 0: an empty line"),
}


class TestSkeletonFiles:
    @pytest.fixture
    def path(self, tmp_path):
        return tmp_path / "S001C001P001R001A001.skeleton"

    @pytest.mark.parametrize("name", BAD_SKELETONS)
    def test_bad_files_say_where_and_what(self, path, name):
        content, words = BAD_SKELETONS[name]
        path.write_text(content)
        with pytest.raises(ValueError, match=f"{path}, {words}"):
            reader("ntu60").read(item(path), PLAIN)

    @pytest.mark.parametrize(
        "variant",
        [
            lambda text: text.replace("\n", "\r\n"),
            lambda text: text + "\n \n\r\n",
            lambda text: text.rstrip("\n"),
            lambda text: text.replace(" ", "  "),
            lambda text: text.replace(" ", "\t"),
            lambda text: text.replace("\n", " \n"),
            lambda text: text.replace(" 4 0 0 0 0 2", " -inf Infinity NaN -1.#IND 1.#INF 2"),
        ],
        ids=["CRLF", "blank end", "no last newline", "two spaces", "tabs", "trailing space", "odd colours"],
    )
    def test_harmless_variants_read_the_same(self, path, variant):
        path.write_text("\n".join([*SKELETON, ""]))
        expected = parse_skeleton(path)
        path.write_text(variant(path.read_text()), newline="")
        seen = parse_skeleton(path)
        assert np.array_equal(seen.joints, expected.joints)
        assert np.array_equal(seen.ids, expected.ids)

    @pytest.mark.parametrize("word", ["nan", "NaN", "-1.#IND", "1.#QNAN"])
    def test_nan_is_missing(self, path, word):
        path.write_text(change(9, f"1 {word} 3 0 0 0 0 0 0 0 0 2"))
        clip = reader("ntu60").read(item(path), PLAIN)
        assert np.array_equal(np.argwhere(np.isnan(clip.data).all(-1)), [[0, 0, 4]])

    def test_frames_without_bodies_are_cut_and_nobody_is_rejected(self, path):
        frame = SKELETON[1:29]
        path.write_text("\n".join(["5", "0", *frame, "0", "0", *frame]))
        assert reader("ntu60").read(item(path), PLAIN).data.shape == (1, 2, 25, 3)
        for text in ("0\n", "3\n0\n0\n0\n"):
            path.write_text(text)
            with pytest.raises(Rejected, match="no body is seen in any frame"):
                reader("ntu60").read(item(path), PLAIN)

    def test_file_names(self, tmp_path):
        text = "\n".join(SKELETON)
        for name, words in (
            ("A061", "A061.*A001 to A060"),
            ("A000", "A000"),
            ("A01", "SsssCcccPpppRrrrAaaa"),
        ):
            path = tmp_path / f"S001C001P001R001{name}.skeleton"
            path.write_text(text)
            with pytest.raises(ValueError, match=words):
                reader("ntu60").read(item(path), PLAIN)
        later = tmp_path / "S018C001P001R001A061.skeleton"
        later.write_text(text)
        assert later not in files_of(reader("ntu60"), tmp_path)
        assert later in files_of(reader("ntu120"), tmp_path)
        (tmp_path / "again").mkdir()
        (tmp_path / "again" / later.name).write_text(text)
        with pytest.raises(ValueError, match="two files are called S018"):
            files_of(reader("ntu120"), tmp_path)


class TestOtherFormats:
    joints = np.random.default_rng(2).normal(1, 0.2, (5, 20, 3))

    @pytest.mark.parametrize(
        "content, words",
        [
            ("[1, 2]", "expected a JSON object, found a list"),
            ('{"label": 7}', "expected the key 'skeletons', found 'label'"),
            ('{"skeletons": [], "label": 7}', r"shape \(frames, 20, 3\), found \(0,\)"),
            ('{"skeletons": [[[1, 2, 3]]], "label": 7}', r"found \(1, 1, 3\)"),
            ('{"skeletons": [[[1, 2, 3]], [1]], "label": 7}', "unequal lengths"),
            ('{"skeletons": "none", "label": 7}', "expected numbers"),
            ('{"skeletons": [[["1", "2", "3"]]], "label": 7}', "expected numbers"),
            ('{"skeletons": 1, "label": 8}', "class a08, which is label 7; the file says label 8"),
            ('{"skeletons": 1, "label": "7"}', "the file says label '7'"),
            ("[" * 100000, "not a JSON file"),
        ],
    )
    def test_json_of_another_shape(self, tmp_path, content, words):
        path = tmp_path / "a08_s01_e01_v01.json"
        path.write_text(content)
        with pytest.raises(ValueError, match=f"{path}.*{words}"):
            reader("nw-ucla").read(item(path), PLAIN)

    def test_unknown_classes(self, tmp_path):
        for name, source in (
            ("a07_s01_e01_v01.json", "nw-ucla"),
            ("a28_s1_t1_skeleton.mat", "utd-mhad"),
            ("s01s02/09/001/skeleton_pos.txt", "sbu"),
        ):
            with pytest.raises(ValueError, match="no class"):
                reader(source).read(item(tmp_path / name), PLAIN)
        path = write_penn(tmp_path, self.joints[:, :13, :2], action="yoga")
        with pytest.raises(ValueError, match="no class 'yoga'"):
            reader("penn-action").read(item(path), PLAIN)

    @pytest.mark.parametrize(
        "content, words",
        [
            ({"other": np.zeros((20, 3, 4))}, "no variable 'd_skel'"),
            ({"d_skel": np.zeros((3, 20, 4))}, r"shape \(20, 3, frames\), found \(3, 20, 4\)"),
            ({"d_skel": np.zeros((20, 3, 0))}, "found"),
            ({"d_skel": "text"}, "expected numbers"),
            ({"d_skel": {"a": 1}}, "expected numbers"),
            ({"d_skel": np.array([[1, "a"]], object)}, "expected numbers"),
            ({"d_skel": scipy.sparse.eye_array(20, format="csc")}, "expected numbers"),
        ],
    )
    def test_mat_of_another_shape(self, tmp_path, content, words):
        path = tmp_path / "a1_s1_t1_skeleton.mat"
        savemat(path, content)
        with pytest.raises(ValueError, match=f"{path}.*{words}"):
            reader("utd-mhad").read(item(path), PLAIN)

    def test_mat_of_one_frame_and_of_other_versions(self, tmp_path):
        path = tmp_path / "a1_s1_t1_skeleton.mat"
        savemat(path, {"d_skel": self.joints[0]})
        assert reader("utd-mhad").read(item(path), PLAIN).data.shape == (1, 1, 20, 3)
        savemat(path, {"d_skel": self.joints[0]}, format="4")
        assert reader("utd-mhad").read(item(path), PLAIN).data.shape == (1, 1, 20, 3)
        savemat(path, {"d_skel": self.joints.transpose(1, 2, 0)}, do_compression=True)
        assert reader("utd-mhad").read(item(path), PLAIN).data.shape == (1, 5, 20, 3)
        path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n" * 99)
        with pytest.raises(ValueError, match=r"7\.3"):
            reader("utd-mhad").read(item(path), PLAIN)

    @pytest.mark.parametrize(
        "changes, words",
        [
            ({"train": 0}, "train should be 1 or -1"),
            ({"visibility": np.ones((5, 12))}, r"shape \(frames, 13\)"),
            ({"dimensions": [[0, 480, 5]]}, "dimensions should be height"),
            ({"dimensions": []}, "dimensions should be height"),
            ({"action": ""}, "no class ''"),
        ],
    )
    def test_penn_action_of_another_shape(self, tmp_path, changes, words):
        path = write_penn(tmp_path, self.joints[:, :13, :2], **changes)
        with pytest.raises(ValueError, match=words):
            reader("penn-action").read(item(path), PLAIN)

    def test_penn_action_visibility(self, tmp_path):
        visible = np.ones((5, 13), np.uint8)
        visible[2, 3] = 0
        path = write_penn(tmp_path, self.joints[:, :13, :2], visibility=visible, train=-1)
        clip = reader("penn-action").read(item(path), PLAIN)
        assert np.array_equal(np.argwhere(np.isnan(clip.data).all(-1)), [[0, 2, 3]])
        assert reader("penn-action").splits["official"].side(clip.fields) == "test"

    def test_sbu_units_and_bad_lines(self, tmp_path):
        joints = self.joints[:, :15].copy()
        path = write_sbu(tmp_path, joints)
        clip = reader("sbu").read(item(path), PLAIN)
        x, y, z = np.moveaxis(joints, -1, 0)
        millimetres = np.stack([1280 - 2560 * x, 960 - 1920 * y, 10000 * z / 7.8125], -1)
        torso = layout("sbu15").index("torso")
        assert np.allclose(clip.data[0], (millimetres - millimetres[0, torso]) / 1000, atol=1e-5)
        lines = path.read_text().splitlines()
        for bad in (lines[2] + ",1", lines[2].rpartition(",")[0], lines[2].replace(",", ",x", 1), ""):
            path.write_text("\n".join([*lines[:2], bad, *lines[3:]]))
            with pytest.raises(ValueError, match=f"{path}, line 3: expected 91 numbers"):
                reader("sbu").read(item(path), PLAIN)
        with pytest.raises(ValueError, match="should lie at sXXsYY"):
            reader("sbu").read(item(tmp_path / "skeleton_pos.txt"), PLAIN)


def test_flipped_bytes_are_errors_or_other_numbers_never_worse(sample):
    source, write, joints, options = sample
    path = write(joints)
    whole, rng = path.read_bytes(), np.random.default_rng(6)
    for _ in range(60):
        damaged = bytearray(whole)
        for at in rng.integers(0, rng.choice([min(400, len(whole)), len(whole)]), rng.choice([1, 3, 20])):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            found = source.read(item(path), options).data
        except ValueError as error:
            found = str(error)
        assert str(path) in found if isinstance(found, str) else not np.isinf(found).any()


class Harm:
    def __reduce__(self):
        return (os._exit, (3,))


class TestArrays:
    source = reader("arrays")
    joints = np.random.default_rng(3).normal(1, 0.2, (5, 20, 3))

    def listing(self, folder, text, files=("one.npy", "two.npz", "deep/three.csv")):
        (folder / "deep").mkdir(exist_ok=True)
        for name in files:
            path = folder / name
            {".npy": write_npy, ".npz": write_npz, ".csv": write_csv}[path.suffix](path.parent, self.joints)
            (path.parent / f"mine{path.suffix}").rename(path)
        (folder / "clips.csv").write_text(text)
        return folder

    def test_listing(self, tmp_path):
        self.listing(
            tmp_path,
            "clip,label,subject,split,split:b\none.npy,10,anna,train,\ntwo,9,ben,test,train\ndeep/three.csv,,,,test\n",
        )
        found = self.source.scan(tmp_path)
        assert found.classes == ("9", "10")
        assert found.splits == {"default", "b"}
        columns = ("subject", "split:default", "split:b")
        assert found.items == [
            Item(tmp_path / "one.npy", "one", 1, dict(zip(columns, ("anna", "train", ""), strict=True))),
            Item(tmp_path / "two.npz", "two", 0, dict(zip(columns, ("ben", "test", "train"), strict=True))),
            Item(tmp_path / "deep/three.csv", "deep/three", None, dict(zip(columns, ("", "", "test"), strict=True))),
        ]
        clips = [self.source.read(one, OWN) for one in found.items]
        assert [clip.label for clip in clips] == [1, 0, None]
        assert all(np.array_equal(clip.data, clips[0].data) for clip in clips)

    @pytest.mark.parametrize(
        "text, words",
        [
            ("", "line 1: expected a column clip, found nothing"),
            ("title,label\n", "line 1: expected a column clip"),
            ("clip,frames\none,3", "a store has a column frames of its own"),
            ("clip,a,a\none,3,4", "all different"),
            ("clip,split,split:default\none,,", "same split"),
            ("clip\n", "lists no clip"),
            ("clip\none.npy\nfour.npy\n", "line 3: clip four.npy .* no such file"),
            ("clip\none.npy\none\n", "line 3: clip one stands in line 2 already"),
            ("clip,split\none,held out\n", "line 2: split:default should be train, test or empty"),
            ("clip,label\none\n", "line 2: expected 2 fields"),
            ("clip\none,two\n", r"line 2: expected 1 fields \(clip\)"),
            ("clip,label\n,a\n", "line 2: the clip is not named"),
            ("clip\n../one.npy\n", "line 2: clip ../one.npy lies outside"),
            ("clip\none.txt\n", "line 2: .* no such file"),
            ('clip\n"one\n' + "two\n" * 50_000, "field larger than field limit.*is a quote left open"),
        ],
    )
    def test_bad_lists(self, tmp_path, text, words):
        with pytest.raises(ValueError, match=f"clips.csv.*{words}"):
            self.source.scan(self.listing(tmp_path, text))

    def test_no_list(self, tmp_path):
        with pytest.raises(ValueError, match=r"holds no clips\.csv"):
            self.source.scan(tmp_path)
        with pytest.raises(ValueError, match="needs a layout"):
            self.source.choose_layout(None)

    def test_never_unpickles(self, tmp_path):
        harm = np.array([Harm()], object)
        np.save(tmp_path / "a.npy", harm, allow_pickle=True)
        np.savez(tmp_path / "b.npz", keypoints=harm)
        np.savez(tmp_path / "c.npz", keypoints=self.joints, score=harm)
        (tmp_path / "d.npy").write_bytes(pickle.dumps(Harm()))
        for path in sorted(tmp_path.iterdir()):
            with pytest.raises(ValueError, match=f"{path}.*(Python objects|not a whole)"):
                self.source.read(item(path), OWN)

    @pytest.mark.parametrize(
        "write, words",
        [
            (lambda f, x: np.savez(f / "a.npz", joints=x), "expected the key keypoints, found joints"),
            (lambda f, x: np.savez(f / "a.npz"), "expected the key keypoints, found none"),
            (
                lambda f, x: np.savez(f / "a.npz", keypoints=x, score=x),
                r"score should have the shape \(5, 20\)",
            ),
            (
                lambda f, x: np.save(f / "a.npy", x[..., :2]),
                r"layout kinect20 needs the shape \(frames, 20, 3\) or",
            ),
            (lambda f, x: np.save(f / "a.npy", x[:0]), "needs the shape"),
            (lambda f, x: np.save(f / "a.npy", x[0]), "needs the shape"),
            (lambda f, x: np.save(f / "a.npy", x.astype(str)), "expected numbers"),
            (lambda f, x: np.save(f / "a.npy", x.astype(complex)), "expected numbers"),
        ],
    )
    def test_arrays_of_another_shape(self, tmp_path, write, words):
        write(tmp_path, self.joints)
        (path,) = tmp_path.iterdir()
        with pytest.raises(ValueError, match=f"{path}.*{words}"):
            self.source.read(item(path), OWN)

    @pytest.mark.parametrize("frames", [10**6, 10**12, 10**18])
    def test_a_header_that_promises_too_much(self, tmp_path, frames):
        path = write_npy(tmp_path, self.joints)
        with path.open("r+b") as file:
            header = {"descr": "<f8", "fortran_order": False, "shape": (frames, 20, 3)}
            np.lib.format.write_array_header_1_0(file, header)
        packed = tmp_path / "packed.npz"
        with zipfile.ZipFile(packed, "w") as file:
            file.write(path, "keypoints.npy")
        for bad in (path, packed):
            with pytest.raises(ValueError, match=f"{bad}.*not a whole"):
                self.source.read(item(bad), OWN)

    def test_scores_and_bodies(self, tmp_path):
        score = np.ones((2, 5, 20))
        score[0, 1, 2], score[0, 3, 4], score[1] = 0.2, np.nan, 0
        path = write_npz(tmp_path, np.stack([self.joints, self.joints]), score=score)
        clip = self.source.read(item(path), ReadOptions(OWN.layout, min_score=0.3))
        assert clip.data.shape == (1, 5, 20, 3)
        assert clip.notes == ("dropped body 2: no joint is seen in any frame",)
        assert np.array_equal(np.argwhere(np.isnan(clip.data[0]).all(-1)), [[1, 2], [3, 4]])
        assert np.isnan(self.source.read(item(path), OWN).data[0]).all(-1).sum() == 1
        assert np.array_equal(clip.score, score[:1], equal_nan=True)

    @pytest.mark.parametrize("name", ["score", "confidence", "visibility"])
    def test_tables_may_have_scores_and_a_single_body(self, tmp_path, name):
        lines = [f"{t},{v},1,{t},3,{0.2 if v == 4 else '' if v == 5 else 0.9}" for t in range(3) for v in range(20)]
        path = tmp_path / "mine.csv"
        path.write_text("\n".join([f"frame,landmark,x,y,z,{name}", *lines]))
        clip = self.source.read(item(path), ReadOptions(OWN.layout, min_score=0.3))
        assert (clip.data.shape, clip.score.shape) == ((1, 3, 20, 3), (1, 3, 20))
        assert np.array_equal(np.argwhere(np.isnan(clip.data[0, 0]).all(-1)), [[4], [5]])
        assert np.isnan(clip.score[0, :, 5]).all()
        assert np.allclose(clip.score[0, :, 4], 0.2)

    def test_data_centred_at_the_root_keep_it(self, tmp_path):
        centred = self.joints - self.joints[:, :1]
        centred[3] = 0
        clip = self.source.read(item(write_npy(tmp_path, centred)), OWN)
        assert np.array_equal(clip.data[0, [0, 1, 2, 4], 0], np.zeros((4, 3)))
        assert np.isnan(clip.data[0, 3]).all()
        assert clip.notes == ("body 1: hip_centre is zero in every frame, so it is the origin",)

    @pytest.mark.parametrize("height", ["", "480"])
    def test_two_dimensions(self, tmp_path, height):
        pixels = 240 + 100 * np.random.default_rng(4).normal(size=(5, 17, 2))
        path = write_npy(tmp_path, pixels)
        options = ReadOptions(layout("coco17"))
        clip = self.source.read(Item(path, "mine", 0, {"image_height": height}), options)
        scale = float(clip.fields["scale"])
        assert scale == 240 if height else 0 < scale < 1000
        assert np.allclose(np.diff(clip.data[0], axis=0) * [1, -1] * scale, np.diff(pixels, axis=0), atol=0.01)
        for bad in ("-1", "tall", "nan"):
            with pytest.raises(ValueError, match="image_height should be a positive number"):
                self.source.read(Item(path, "mine", 0, {"image_height": bad}), options)

    @pytest.mark.parametrize(
        "text, words",
        [
            ("frame,body,x,y,z\n", "line 1: .* no column joint"),
            ("frame,body,joint,x,y\n", "line 1: .* no column z"),
            ("frame,body,joint,x,y,z\n", "no line after its header"),
            ("frame,body,joint,x,y,z\n0,a,20,1,2,3\n", "line 2: layout kinect20 has no joint '20'"),
            ("frame,body,joint,x,y,z\n0,a,nose,1,2,3\n", "line 2: layout kinect20 has no joint 'nose'"),
            (
                "frame,body,joint,x,y,z\n0.5,a,0,1,2,3\n",
                "line 2: frame should be a whole number, found '0.5'",
            ),
            ("frame,body,joint,x,y,z\n0,a,0,1,2,three\n", "line 2: z should be a number, found 'three'"),
            ("frame,body,joint,x,y,z\n0,a,0,1,2\n", "line 2: expected 6 fields"),
            ("frame,body,joint,x,y,z\n0,a,0,1,2,3\n0,a,hip_centre,1,2,3\n", "line 3: a second line for this"),
            ("frame,body,joint,x,y,z\n0,a,0,1,2,3\n1000000000,a,0,1,2,3\n", "numbered 0 to 1000000000"),
        ],
    )
    def test_bad_tables(self, tmp_path, text, words):
        path = tmp_path / "mine.csv"
        path.write_text(text)
        with pytest.raises(ValueError, match=f"{path}.*{words}"):
            self.source.read(item(path), OWN)

    def test_tables_may_have_gaps_names_and_bodies(self, tmp_path):
        lines = ["﻿frame, body, joint, x, y, z"]
        lines += [f"{t},{who},{j},1,{t},3" for t in (7, 9) for who in ("b", "a") for j in ("head", "0")]
        (tmp_path / "mine.csv").write_text("\n".join([*lines, "9,a,1,,,"]))
        clip = self.source.read(item(tmp_path / "mine.csv"), OWN)
        assert clip.data.shape == (2, 3, 20, 3)
        assert np.array_equal(np.argwhere(~np.isnan(clip.data[1]).any(-1)), [[0, 0], [0, 3], [2, 0], [2, 3]])


def test_readers_need_neither_torch_nor_scipy_to_be_listed():
    code = (
        "import sys; from kinemask import readers as r; r.readers(); assert not {'torch', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

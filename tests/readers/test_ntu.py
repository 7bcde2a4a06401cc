"""NTU RGB+D and its `.skeleton` files: real ones, owners' splits, and every way for a file to be wrong."""

from __future__ import annotations

import numpy as np
import pytest

from kinemask.readers import Rejected, reader
from kinemask.readers.skeleton_file import parse_skeleton
from readers.samples import DATA, NTU, PLAIN, files_of, item, skeleton_text

needs_ntu = pytest.mark.skipif(not NTU, reason=f"no NTU RGB+D files in {DATA}")


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
    both = reader("synthetic").splits["xsub-xview"]
    sides = [both.side(f) for f in fields]
    assert train("synthetic", "xsub-xview", "subject") == set(range(1, 107, 2))
    assert train("synthetic", "xsub-xview", "camera") == {2, 3}
    tested = [f for f, side in zip(fields, sides, strict=True) if side == "test"]
    assert {int(f["subject"]) % 2 for f in tested} == {0}
    assert {f["camera"] for f in tested} == {"1"}
    assert "" in sides
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

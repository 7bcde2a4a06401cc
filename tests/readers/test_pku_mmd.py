"""PKU-MMD: long videos cut into clips by label files, splits from lists, and bad input of every kind."""

from __future__ import annotations

import csv
import re
from functools import cache

import numpy as np
import pytest

from kinemask.preparation.info import info
from kinemask.preparation.prepare import prepare
from kinemask.readers import Failure, ReadOptions, reader
from kinemask.readers.cleaning import Rejected
from kinemask.readers.pku_mmd import CLASSES
from kinemask.skeleton import layout
from kinemask.store.opening import open_store

NAMES = {"pku-mmd-1": ["0002-L", "0002-M", "0007-R"], "pku-mmd-2": ["A01N01-L", "A01N01-M", "A26N13-R"]}
LABELS = "3,0,10,2\n51,12,400,1\n\n12,410,420,2\n"
HEADS = ("Training videos:", "Validation videos:")


FRAMES = 420


def video(frames=FRAMES, bodies=1, seed=0):
    """(2, T, 25, 3), the second body all zero unless there are two."""
    joints = np.random.default_rng(seed).normal(1, 0.3, (2, frames, 25, 3)).round(6)
    joints[bodies:] = 0
    return joints


@cache
def video_text(bodies, seed):
    return text(video(bodies=bodies, seed=seed))


def text(joints):
    return "\n".join(" ".join(map(str, frame.ravel())) for frame in joints.swapaxes(0, 1)) + "\n"


def write(folder, dataset, skeletons="Data/SKELETON_VIDEO", labels="Train_Label_PKU_final", lists="Split"):
    names = NAMES[dataset]
    for i, name in enumerate(names):
        for place, content in ((skeletons, video_text(1 + i % 2, i)), (labels, LABELS)):
            (folder / place).mkdir(parents=True, exist_ok=True)
            (folder / place / f"{name}.txt").write_text(content)
    (folder / lists).mkdir(parents=True, exist_ok=True)
    for split, training in (("cross-subject", names[:2]), ("cross_view_v2", names[1:])):
        rows = (HEADS[0], ", ".join(training) + ", ", HEADS[1], ", ".join(set(names) - set(training)))
        (folder / lists / f"{split}.txt").write_text("\r\n".join(rows))
    return folder


@pytest.fixture(params=NAMES)
def source(request, tmp_path):
    return reader(request.param), write(tmp_path / "raw", request.param)


def read(source, src, video=0):
    return list(source.read(source.scan(src).items[video], ReadOptions()))


def test_the_owners_classes():
    assert len(CLASSES) == len(set(CLASSES)) == 51
    two_people = [CLASSES[i - 1] for i in (12, 14, 16, 18, 21, 24, 26, 27)]  # by the owners' numbers
    assert all("other person" in name or name == "handshaking" for name in two_people)
    assert sum("other person" in name for name in CLASSES) == 7


def test_videos_are_cut_by_their_labels_whatever_their_length(source):
    part, src = source
    clips = read(part, src)
    name = NAMES[part.name][0]
    assert [clip.name for clip in clips] == [f"{name}_01", f"{name}_02", f"{name}_04"]
    assert [clip.label for clip in clips] == [2, 50, 11]
    assert [clip.data.shape for clip in clips] == [(1, n, 25, 3) for n in (10, 388, 10)]
    raw = video()[0]
    root = layout("ntu25").origin[0]
    assert np.allclose(clips[1].data[0], raw[12:400] - raw[12, root], atol=1e-6)
    assert clips[0].notes == ("dropped body 2: no joint is seen in any frame",)
    assert clips[0].fields["recording"] == name[:-2]
    assert clips[0].fields["camera"] == "L"
    assert read(part, src, video=1)[0].data.shape == (2, 10, 25, 3)


def test_a_store_with_the_lists_splits(source, tmp_path):
    part, src = source
    summary = prepare(part.name, src, tmp_path / "store", progress=False)
    store = open_store(summary.path)
    assert (summary.files, summary.clips, summary.rejected, summary.rejected_clips) == (3, 9, 0, 0)
    facts = info(store)
    assert facts["bodies"] == {"1": 6, "2": 3}
    assert facts["frames"]["max"] == 388
    assert facts["splits"]["xsub"]["train"] == 6
    assert set(store.fields["camera"][store.split("xview")[1]]) == {"L"}
    assert store.classes == list(CLASSES)
    missing = {"pku-mmd-1": "1,073 missing", "pku-mmd-2": "1,006 missing"}[part.name]
    assert any(missing in line for line in summary.warnings)
    # clips of one performance, from all views, are held out together
    held = store.split("xview-val")
    assert set(store.fields["recording"][held[0]]).isdisjoint(store.fields["recording"][held[1]])
    assert "recordings held out" in store.meta["splits"]["xview-val"]["description"]


def test_the_parts_are_told_apart_by_their_names_and_clips_may_be_excluded(tmp_path):
    src = write(write(tmp_path / "raw", "pku-mmd-1") / "two", "pku-mmd-2").parent
    (tmp_path / "list").write_text("0002-L_02\n0007-R\n")
    summary = prepare("pku-mmd-1", src, tmp_path / "one", exclude=tmp_path / "list", progress=False)
    store = open_store(summary.path)
    assert {name[:4] for name in store.names} == {"0002"}
    assert (summary.files, summary.clips, summary.excluded) == (3, 5, 2)
    assert [len(part) for part in store.split("xsub")] == [5, 0]


def test_a_copy_without_lists_says_so(source, tmp_path):
    part, src = source
    for path in (src / "Split").iterdir():
        path.unlink()
    summary = prepare(part.name, src, tmp_path / "store", progress=False)
    assert "no split xsub: the files that define it are not in this copy" in summary.warnings
    assert open_store(summary.path).splits == ()


@pytest.mark.parametrize(
    "label, words",
    [
        ("3,9,5,1", ["took them for each other"]),
        ("3,410,9999,1", ["ends at frame 9999, the video at 420"]),
    ],
)
def test_the_owners_slips_are_mended_with_a_note(tmp_path, label, words):
    src = write(tmp_path, "pku-mmd-1")
    (src / "Train_Label_PKU_final" / "0002-L.txt").write_text(label)
    (clip,) = read(reader("pku-mmd-1"), src)
    assert [word for word in words if any(word in note for note in clip.notes)] == words
    assert clip.data.shape[1] in (4, 10)


def test_bad_actions_are_named_and_the_others_kept(tmp_path):
    src = write(tmp_path / "raw", "pku-mmd-1")
    joints = video()
    joints[:, 100:110] = 0
    (src / "Data/SKELETON_VIDEO/0002-L.txt").write_text(text(joints))
    (src / "Train_Label_PKU_final/0002-L.txt").write_text("1,0,5,1\n2,500,600,1\n2,7,7,1\n3,100,110,2\n4,5,9,1\n")
    found = read(reader("pku-mmd-1"), src)
    assert [clip.name for clip in found if not isinstance(clip, Failure)] == ["0002-L_01", "0002-L_05"]
    bad = [failure for failure in found if isinstance(failure, Failure)]
    assert [(f.name, f.by_rule) for f in bad] == [("0002-L_02", False), ("0002-L_03", False), ("0002-L_04", True)]
    assert "0002-L.txt, clip 0002-L_02: it is labelled from frame 500 to 600, in a video of 420" in bad[0].reason
    summary = prepare("pku-mmd-1", src, tmp_path / "store", progress=False)
    assert (summary.clips, summary.rejected, summary.rejected_clips) == (8, 0, 3)
    assert "0 files rejected, 3 clips rejected" in str(summary)
    with (summary.path / "rejected.csv").open(newline="") as file:
        listed = [row[1:] for row in csv.reader(file) if row[0] == "clip"]
    assert [name for name, _ in listed] == ["0002-L_02", "0002-L_03", "0002-L_04"]
    assert listed[0][1] == "it is labelled from frame 500 to 600, in a video of 420"
    with pytest.raises(ValueError, match=r"0002-L\.txt, clip 0002-L_02: it is labelled"):
        prepare("pku-mmd-1", src, tmp_path / "strict", strict=True, progress=False)
    assert not (tmp_path / "strict").exists()


@pytest.mark.parametrize(
    "content, words",
    [
        ("3,0,10\n", "line 1: expected class,start,end,confidence"),
        ("3,0,10,2\nthree,0,10,2\n", "line 2: expected class"),
        ("3,-1,10,2\n", "line 1: expected class"),
        ("0,0,10,2\n", "line 1: no class 0; this data set has 1 to 51"),
        ("52,0,10,2\n", "line 1: no class 52"),
        ("3,0,9999999999,2\n", "line 1: expected class"),
        ("\n \n", "lists no action"),
        (b"\xff\xfe\x00", "not a UTF-8 text file"),
        (None, "no label file 0002-L.txt in a folder whose name says label"),
    ],
)
def test_bad_label_files(tmp_path, content, words):
    src = write(tmp_path, "pku-mmd-1")
    path = src / "Train_Label_PKU_final" / "0002-L.txt"
    path.unlink() if content is None else path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=f"0002-L.txt.*{words}"):
        read(reader("pku-mmd-1"), src)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda lines: [*lines[:3], " ".join(lines[3].split()[:-1]), *lines[4:]], "line 4: expected 150 numbers"),
        (lambda lines: [*lines[:3], lines[3] + " 1", *lines[4:]], "line 4: expected 150 numbers"),
        (lambda lines: [*lines[:3], "x" + lines[3], *lines[4:]], "line 4: expected 150 numbers"),
        (lambda lines: [*lines[:3], lines[3].replace(".", "_", 1), *lines[4:]], "line 4: expected 150 numbers"),
        (lambda lines: [*lines[:3], "", *lines[4:]], "line 4: expected 150 numbers"),
        (lambda lines: [], "line 1: expected 150 numbers"),
        (lambda lines: ["\0\1\2" * 50], "line 1: expected 150 numbers"),
    ],
)
def test_bad_videos(tmp_path, change, words):
    src = write(tmp_path, "pku-mmd-1")
    path = src / "Data/SKELETON_VIDEO/0002-L.txt"
    path.write_text("\n".join(change(path.read_text().splitlines())))
    with pytest.raises(ValueError, match=f"{path}.*{words}") as caught:
        read(reader("pku-mmd-1"), src)
    assert not isinstance(caught.value, Rejected)


@pytest.mark.parametrize("number", ["-inf", "1e300"])
def test_an_infinite_number_spoils_its_clip_only(tmp_path, number):
    src = write(tmp_path, "pku-mmd-1")
    path = src / "Data/SKELETON_VIDEO/0002-L.txt"
    lines = path.read_text().splitlines()
    lines[11] = lines[15] = re.sub(r"^\S+", number, lines[15])  # between two labels, and in the second
    path.write_text("\n".join(lines))
    one, two, three = read(reader("pku-mmd-1"), src)
    assert isinstance(two, Failure)
    assert re.search(f"{path}, clip 0002-L_02: coordinate .* is not a finite length", two.reason)
    assert (one.name, three.name, two.by_rule) == ("0002-L_01", "0002-L_04", False)


def test_nan_and_zero_joints_are_missing(tmp_path):
    src = write(tmp_path, "pku-mmd-1")
    joints = video()
    joints[0, 3, 4], joints[0, 5, 6, 1] = 0, np.nan
    (src / "Data/SKELETON_VIDEO/0002-L.txt").write_text(text(joints))
    clip = read(reader("pku-mmd-1"), src)[0]
    assert np.array_equal(np.argwhere(np.isnan(clip.data[0]).all(-1)), [[3, 4], [5, 6]])


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda src: (src / "Split" / "cross-subject.txt").write_text(HEADS[0]), "cross-subject.txt, line 2: expected"),
        (lambda src: (src / "cross_subject.txt").write_text("Training\n0007-R"), "another file .* says otherwise"),
        (lambda src: [p.unlink() for p in (src / "Train_Label_PKU_final").iterdir()], "holds no label files"),
        (lambda src: [p.unlink() for p in src.rglob("*-[LMR].txt")], "holds no skeleton files"),
        (lambda src: (src / "Data" / "0002-L.txt").write_text(""), "two files are called 0002-L.txt"),
    ],
)
def test_bad_sources(tmp_path, spoil, words):
    src = write(tmp_path, "pku-mmd-1")
    spoil(src)
    with pytest.raises(ValueError, match=words):
        reader("pku-mmd-1").scan(src)


def test_absent_sources(tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        prepare("pku-mmd-1", tmp_path / "absent", tmp_path / "store")
    with pytest.raises(ValueError, match=r"holds no files skeleton/NAME\.txt"):
        prepare("pku-mmd-2", tmp_path, tmp_path / "store")
    with pytest.raises(ValueError, match="gives no confidences"):
        prepare("pku-mmd-2", write(tmp_path / "raw", "pku-mmd-2"), tmp_path / "store", min_score=0.5)


def test_workers_read_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("kinemask.preparation.workers.FEW_FILES", 0)
    src = write(tmp_path / "raw", "pku-mmd-2")
    (src / "Train_Label_PKU_final" / "A01N01-L.txt").write_text("1,0,5,1\n2,500,600,1\n")
    stores = [prepare("pku-mmd-2", src, tmp_path / str(n), workers=n, progress=False).path for n in (1, 2)]
    for name in ("frames.npy", "clips.csv", "rejected.csv"):
        assert (stores[0] / name).read_bytes() == (stores[1] / name).read_bytes()

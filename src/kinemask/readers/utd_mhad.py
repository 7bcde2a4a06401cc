"""UTD-MHAD, its Kinect skeletons (MATLAB files)."""

from __future__ import annotations

import re
from pathlib import Path

from kinemask.readers.base import Complete, Item, Reader, ReadOptions, Scan, SplitRule
from kinemask.readers.cleaning import clean_3d, mark_missing
from kinemask.readers.files import as_numbers, find_files, match_name, naming_file, read_mat, unique_names
from kinemask.skeleton import layout
from kinemask.store.format import Clip

CLASSES = (
    "swipe left",
    "swipe right",
    "wave",
    "clap",
    "throw",
    "arm cross",
    "basketball shoot",
    "draw X",
    "draw circle clockwise",
    "draw circle counter-clockwise",
    "draw triangle",
    "bowling",
    "boxing",
    "baseball swing",
    "tennis swing",
    "arm curl",
    "tennis serve",
    "push",
    "knock",
    "catch",
    "pick up and throw",
    "jog",
    "walk",
    "sit to stand",
    "stand to sit",
    "lunge",
    "squat",
)
_NAME = re.compile(r"a(\d+)_s(\d+)_t(\d+)_skeleton\.mat")


def scan(src: Path) -> Scan:
    """The files of a source, a clip each, sorted."""
    found = find_files(src, "a*_s*_t*_skeleton.mat", "files aA_sS_tT_skeleton.mat")
    return Scan.of_files(unique_names(found), CLASSES)


def read(item: Item, options: ReadOptions) -> Clip:
    """One clip (1, T, 20, 3), joints in the files' order, or in that of kinect20 if the options say so."""
    path = item.path
    action, subject, trial = (int(n) for n in match_name(path, _NAME, "aA_sS_tT_skeleton.mat").groups())
    if not 1 <= action <= len(CLASSES):
        raise ValueError(f"{path}: no class a{action}; this data set has a1 to a{len(CLASSES)}")
    data = as_numbers(read_mat(path, ("d_skel",))["d_skel"], f"{path}: d_skel")
    if data.ndim == 2:  # MATLAB drops the last axis of a single frame
        data = data[..., None]
    if data.ndim != 3 or data.shape[:2] != (20, 3) or not data.shape[2]:
        raise ValueError(f"{path}: d_skel should have the shape (20, 3, frames), found {data.shape}")
    data = data.transpose(2, 0, 1)
    own, wanted = layout("utd20"), READER.choose_layout(options.layout)
    data = data[:, [own.index(joint) for joint in wanted.joints]]
    with naming_file(path):
        data, notes = clean_3d(mark_missing(data[None]), wanted)
    fields = {"subject": str(subject), "replication": str(trial)}
    return Clip(path.stem.removesuffix("_skeleton"), data, action - 1, fields, notes)


READER = Reader(
    name="utd-mhad",
    title="UTD-MHAD: 27 actions, 8 subjects (Kinect, 20 joints)",
    citation=("Chen, Jafari, Kehtarnavaz: UTD-MHAD: A Multimodal Dataset for Human Action Recognition. ICIP 2015"),
    layout="utd20",
    other_layouts=("kinect20",),
    classes=CLASSES,
    splits={
        "xsub": SplitRule(
            "train on odd subjects, test on even ones",
            lambda fields: "train" if int(fields["subject"]) % 2 else "test",
        ),
    },
    scan=scan,
    read=read,
    expected=Complete(861, 861, {"xsub": (431, 430)}),
)

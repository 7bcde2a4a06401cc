"""NTU RGB+D 60 and 120, and synthetic recordings in the same format."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from kinemask.readers.base import Reader, ReadOptions, SplitRule
from kinemask.readers.cleaning import clean_3d, mark_missing, merge_actors
from kinemask.readers.files import find_files, match_name, name_file, unique_names
from kinemask.readers.ntu_classes import CLASSES
from kinemask.readers.skeleton_file import parse_skeleton
from kinemask.skeleton import layout
from kinemask.store.format import Clip
from kinemask.synthetic.recordings import CLASSES as SYNTHETIC_CLASSES

_SHAPE = "SsssCcccPpppRrrrAaaa.skeleton"
_NAME = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})\.skeleton")
_FIELDS = {"subject": 3, "camera": 2, "setup": 1, "replication": 4}

# fmt: off
_TRAIN_60 = frozenset({1, 2, 4, 5, 8, 9, *range(13, 20), 25, 27, 28, 31, 34, 35, 38})
_TRAIN_120 = _TRAIN_60 | {
    *range(45, 48), 49, 50, *range(52, 60), 70, 74, 78, *range(80, 87), 89, *range(91, 96), 97, 98, 100, 103,
}
# fmt: on


def find(src: Path, options: ReadOptions, setups: range | None) -> list[Path]:
    """The clips of a source, sorted: of these setups (None: all).

    Files of another name are included, for `read` to complain of.
    """
    found = find_files(src, "*.skeleton", f"files {_SHAPE}")
    if setups is not None:
        matches = [_NAME.fullmatch(path.name) for path in found]
        found = [p for p, m in zip(found, matches, strict=True) if m is None or int(m[1]) in setups]
        if not found:
            raise ValueError(f"{src} holds no files {_SHAPE} of setups {setups[0]} to {setups[-1]}")
    return unique_names(found)


def read(path: Path, options: ReadOptions, classes: tuple[str, ...]) -> Clip:
    """One clip (M, T, 25, 3) of one or two actors."""
    action = int(match_name(path, _NAME, _SHAPE)[5])
    if not 1 <= action <= len(classes):
        raise ValueError(f"{path}: no class A{action:03d}; this data set has A001 to A{len(classes):03d}")
    seen = parse_skeleton(path)
    try:
        data, dropped = merge_actors(seen.ids, seen.frames, mark_missing(seen.joints))
        data, notes = clean_3d(data, layout("ntu25"))
    except ValueError as error:
        raise name_file(path, error) from None
    return Clip(path.stem, data, action - 1, name_fields(path.stem), dropped + notes)


def name_fields(name: str) -> dict[str, str]:
    """Subject, camera, setup and replication as a clip's name tells them; none if it is not named in this manner."""
    match = _NAME.fullmatch(f"{name}.skeleton")
    return {key: str(int(match[i])) for key, i in _FIELDS.items()} if match else {}


def _xsub(training: frozenset[int]) -> SplitRule:
    return SplitRule(
        f"train on {len(training)} of the subjects, test on the others",
        lambda fields: "train" if int(fields["subject"]) in training else "test",
    )


_XVIEW = SplitRule(
    "train on cameras 2 and 3, test on camera 1",
    lambda fields: "test" if fields["camera"] == "1" else "train",
)

# In a complete copy each pair of a setup and one of its subjects has 60 actions × 3 cameras × 2 replications.
_FILES_OF_A_SUBJECT = 360

NTU60 = Reader(
    name="ntu60",
    title="NTU RGB+D: 60 actions, 40 subjects, 17 setups, 3 cameras (Kinect v2, 25 joints)",
    citation=("Shahroudy, Liu, Ng, Wang: NTU RGB+D: A Large Scale Dataset for 3D Human Activity Analysis. CVPR 2016"),
    layout="ntu25",
    classes=CLASSES[:60],
    splits={"xsub": _xsub(_TRAIN_60), "xview": _XVIEW},
    find=partial(find, setups=range(1, 18)),
    read=partial(read, classes=CLASSES[:60]),
    expected={
        "files": 56880,
        "clips": 56578,
        "setups": tuple(range(1, 18)),
        "files_per_setup_and_subject": _FILES_OF_A_SUBJECT,
        "splits": {"xsub": (40091, 16487), "xview": (37646, 18932)},
    },
)

NTU120 = Reader(
    name="ntu120",
    title="NTU RGB+D 120: 120 actions, 106 subjects, 32 setups, 3 cameras (Kinect v2, 25 joints)",
    citation=(
        "Liu, Shahroudy, Perez, Wang, Duan, Kot: NTU RGB+D 120: A Large-Scale Benchmark for 3D Human Activity"
        " Understanding. TPAMI 2020"
    ),
    layout="ntu25",
    classes=CLASSES,
    splits={
        "xsub": _xsub(_TRAIN_120),
        "xset": SplitRule(
            "train on even setups, test on odd ones",
            lambda fields: "test" if int(fields["setup"]) % 2 else "train",
        ),
    },
    find=partial(find, setups=range(1, 33)),
    read=partial(read, classes=CLASSES),
    expected={
        "files": 114480,
        "clips": 113945,
        "setups": tuple(range(1, 33)),
        "files_per_setup_and_subject": _FILES_OF_A_SUBJECT,
        "splits": {"xsub": (63026, 50919), "xset": (54468, 59477)},
    },
)

SYNTHETIC = Reader(
    name="synthetic",
    title=f"synthetic recordings in the format of NTU RGB+D: {len(SYNTHETIC_CLASSES)} actions (25 joints)",
    citation="made by kinemask",
    layout="ntu25",
    classes=tuple(SYNTHETIC_CLASSES),
    splits={
        "xsub": SplitRule(
            "train on odd subjects, test on even ones",
            lambda fields: "train" if int(fields["subject"]) % 2 else "test",
        ),
        "xview": _XVIEW,
    },
    find=partial(find, setups=None),
    read=partial(read, classes=tuple(SYNTHETIC_CLASSES)),
)

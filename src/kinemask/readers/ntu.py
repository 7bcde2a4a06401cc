"""NTU RGB+D 60 and 120."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from kinemask.readers.base import Complete, Item, Reader, ReadOptions, Scan, SplitRule
from kinemask.readers.cleaning import clean_3d, mark_missing
from kinemask.readers.files import find_files, match_name, naming_file, unique_names
from kinemask.readers.ntu_actors import merge_actors
from kinemask.readers.ntu_classes import CLASSES
from kinemask.readers.skeleton_file import parse_skeleton
from kinemask.skeleton import layout
from kinemask.store.format import Clip

_SHAPE = "SsssCcccPpppRrrrAaaa.skeleton"
_NAME = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})\.skeleton")
_FIELDS = {"subject": 3, "camera": 2, "setup": 1, "replication": 4}

# in a complete copy each pair of a setup and one of its subjects has 60 actions × 3 cameras × 2 replications
_FILES_OF_A_SUBJECT = 360

# fmt: off
_TRAIN_60 = frozenset({1, 2, 4, 5, 8, 9, *range(13, 20), 25, 27, 28, 31, 34, 35, 38})
_TRAIN_120 = _TRAIN_60 | {
    *range(45, 48), 49, 50, *range(52, 60), 70, 74, 78, *range(80, 87), 89, *range(91, 96), 97, 98, 100, 103,
}
# fmt: on


def scan(src: Path, classes: tuple[str, ...], setups: range | None = None) -> Scan:
    """The files of a source, a clip each, sorted: of these setups (None: all).

    Files of another name are included, for `read` to complain of.
    """
    found = find_files(src, "*.skeleton", f"files {_SHAPE}")
    if setups is not None:
        matches = [_NAME.fullmatch(path.name) for path in found]
        found = [p for p, m in zip(found, matches, strict=True) if m is None or int(m[1]) in setups]
        if not found:
            raise ValueError(f"{src} holds no files {_SHAPE} of setups {setups[0]} to {setups[-1]}")
    return Scan.of_files(unique_names(found), classes)


def read(item: Item, options: ReadOptions, classes: tuple[str, ...]) -> Clip:
    """One clip (M, T, 25, 3) of one or two actors."""
    path = item.path
    action = int(match_name(path, _NAME, _SHAPE)[5])
    if not 1 <= action <= len(classes):
        raise ValueError(f"{path}: no class A{action:03d}; this data set has A001 to A{len(classes):03d}")
    seen = parse_skeleton(path)
    with naming_file(path):
        data, dropped = merge_actors(seen.ids, seen.frames, mark_missing(seen.joints))
        data, notes = clean_3d(data, layout("ntu25"))
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


XVIEW = SplitRule(
    "train on cameras 2 and 3, test on camera 1",
    lambda fields: "test" if fields["camera"] == "1" else "train",
)


def absent_setups(files: Sequence[Path], setups: Sequence[int]) -> str:
    """Which setups lack files: absent altogether, or with too few files for one of their subjects; "" for none."""
    matches = (_NAME.fullmatch(path.name) for path in files)
    found = Counter((int(match[1]), int(match[3])) for match in matches if match)
    present = {setup for setup, _ in found}
    absent = [setup for setup in setups if setup not in present]
    few = sorted({setup for (setup, _), count in found.items() if count < _FILES_OF_A_SUBJECT})
    parts = [f"no file of setups {_ranges(absent)}"] * bool(absent)
    parts += [f"too few files of setups {_ranges(few)}"] * bool(few)
    return "; ".join(parts)


def _ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers as text, runs of three and more as first-last: 1, 4-7."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    texts = [f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    return ", ".join(texts)


NTU60 = Reader(
    name="ntu60",
    title="NTU RGB+D: 60 actions, 40 subjects, 17 setups, 3 cameras (Kinect v2, 25 joints)",
    citation=("Shahroudy, Liu, Ng, Wang: NTU RGB+D: A Large Scale Dataset for 3D Human Activity Analysis. CVPR 2016"),
    layout="ntu25",
    classes=CLASSES[:60],
    splits={"xsub": _xsub(_TRAIN_60), "xview": XVIEW},
    scan=partial(scan, classes=CLASSES[:60], setups=range(1, 18)),
    read=partial(read, classes=CLASSES[:60]),
    expected=Complete(
        files=56880,
        clips=56578,
        splits={"xsub": (40091, 16487), "xview": (37646, 18932)},
        gaps=partial(absent_setups, setups=range(1, 18)),
    ),
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
    scan=partial(scan, classes=CLASSES, setups=range(1, 33)),
    read=partial(read, classes=CLASSES),
    expected=Complete(
        files=114480,
        clips=113945,
        splits={"xsub": (63026, 50919), "xset": (54468, 59477)},
        gaps=partial(absent_setups, setups=range(1, 33)),
    ),
)

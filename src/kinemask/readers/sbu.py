"""SBU Kinect Interaction: two people, 15 joints each, in one text file per recording."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from kinemask.budget import PARSED, read_bytes
from kinemask.readers.base import Complete, Item, Reader, ReadOptions, Scan, Side, SplitRule
from kinemask.readers.cleaning import clean_3d, mark_missing
from kinemask.readers.files import find_files, naming_file
from kinemask.skeleton import layout
from kinemask.store.format import Clip

CLASSES = (
    "approaching",
    "departing",
    "kicking",
    "pushing",
    "shaking hands",
    "hugging",
    "exchanging an object",
    "punching",
)
FOLDS = {  # the pairs of people that each fold is tested on
    "fold1": ("s01s02", "s03s04", "s05s02", "s06s04"),
    "fold2": ("s02s03", "s02s07", "s03s05", "s05s03"),
    "fold3": ("s01s03", "s01s07", "s07s01", "s07s03"),
    "fold4": ("s02s01", "s02s06", "s03s02", "s03s06"),
    "fold5": ("s04s02", "s04s03", "s04s06", "s06s02", "s06s03"),
}
_PAIRS = frozenset(pair for fold in FOLDS.values() for pair in fold)
_COLUMNS = 1 + 2 * 15 * 3  # frame number, two bodies
_FILE = "skeleton_pos.txt"
_SHAPE = f"sXXsYY/AA/TTT/{_FILE}"
_PLACE = re.compile(r"(s\d\ds\d\d)/(\d\d)/(\d\d\d)/" + re.escape(_FILE))


def scan(src: Path) -> Scan:
    """The files of a source, a clip each, sorted."""
    return Scan.of_files(find_files(src, _FILE, f"files {_SHAPE}"), CLASSES)


def read(item: Item, options: ReadOptions) -> Clip:
    """One clip (2, T, 15, 3), metres, out of the file's normalised coordinates."""
    path = item.path
    place = "/".join(path.absolute().parts[-4:])
    match = _PLACE.fullmatch(place)
    if match is None:
        raise ValueError(f"{path}: the file should lie at {_SHAPE}, found {place}")
    pair, action, take = match[1], int(match[2]), match[3]
    if not 1 <= action <= len(CLASSES):
        raise ValueError(f"{path}: no class {action:02d}; this data set has 01 to {len(CLASSES):02d}")
    joints = _parse(path).reshape(-1, 2, 15, 3).swapaxes(0, 1)
    with naming_file(path):
        data, notes = clean_3d(_metres(mark_missing(joints)), layout("sbu15"))
    fields = {"subject": pair, "replication": str(int(take))}
    return Clip(f"{pair}_{match[2]}_{take}", data, action - 1, fields, notes)


def _parse(path: Path) -> np.ndarray:
    """Numbers of all frames (T, 90), without the frame number."""
    rows: list[list[float]] = []
    lines = read_bytes(path, PARSED).rstrip().split(b"\n")
    for at, line in enumerate(lines, 1):
        tokens = line.strip().split(b",")
        try:
            if len(tokens) != _COLUMNS or b"_" in line:
                raise ValueError
            rows.append(list(map(float, tokens[1:])))
        except ValueError:
            found = f"{len(tokens)} fields, {line[:40]!r}…"
            expected = f"{_COLUMNS} numbers separated by commas"
            raise ValueError(f"{path}, line {at}: expected {expected}, found {found}") from None
    return np.array(rows)


def _metres(joints: np.ndarray) -> np.ndarray:
    """Normalised coordinates (..., 3), y down, as metres, y up. Missing joints must be NaN already."""
    return joints * (-2.560, -1.920, 10 / 7.8125) + (1.280, 0.960, 0)


def _fold(pairs: tuple[str, ...]) -> SplitRule:
    def side(fields: Mapping[str, str]) -> Side:
        if fields["subject"] not in _PAIRS:
            return ""
        return "test" if fields["subject"] in pairs else "train"

    return SplitRule(f"test on {' '.join(pairs)}, train on the other four folds", side)


READER = Reader(
    name="sbu",
    title="SBU Kinect Interaction: 8 interactions of two people, 21 pairs (Kinect, 15 joints)",
    citation=(
        "Yun, Honorio, Chattopadhyay, Berg, Samaras: Two-person Interaction Detection Using Body-Pose"
        " Features and Multiple Instance Learning. CVPRW 2012"
    ),
    layout="sbu15",
    classes=CLASSES,
    splits={name: _fold(pairs) for name, pairs in FOLDS.items()},
    scan=scan,
    read=read,
    expected=Complete(
        files=282,
        clips=282,
        splits={"fold1": (227, 55), "fold2": (230, 52), "fold3": (226, 56), "fold4": (228, 54), "fold5": (217, 65)},
    ),
)

"""Penn Action: 2D joints of sports videos (MATLAB files)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from kinemask.readers.base import Complete, Item, Reader, ReadOptions, Scan, SplitRule
from kinemask.readers.cleaning import clean_2d, mark_missing
from kinemask.readers.files import as_numbers, find_files, match_name, naming_file, read_mat, unique_names
from kinemask.skeleton import layout
from kinemask.store.format import Clip

CLASSES = (  # as the files call them
    "baseball_pitch",
    "baseball_swing",
    "bench_press",
    "bowl",
    "clean_and_jerk",
    "golf_swing",
    "jump_rope",
    "jumping_jacks",
    "pullup",
    "pushup",
    "situp",
    "squat",
    "strum_guitar",
    "tennis_forehand",
    "tennis_serve",
)
_NAME = re.compile(r"\d{4}\.mat")
_CORNER = 1.0  # pixels; placeholders lie at (1, 1) of the original image, or nearer the corner once it was scaled
_KEYS = ("x", "y", "visibility", "action", "train", "dimensions")


def scan(src: Path) -> Scan:
    """The files of a source, a clip each, sorted."""
    return Scan.of_files(unique_names(find_files(src, "[0-9][0-9][0-9][0-9].mat", "files NNNN.mat")), CLASSES)


def read(item: Item, options: ReadOptions) -> Clip:
    """One clip (1, T, 13, 2), in half image heights; joints of visibility 0 are missing, unless all are.

    The field `scale` is half the image's height in pixels; `train` is the file's own flag.
    """
    path = item.path
    match_name(path, _NAME, "NNNN.mat")
    content = read_mat(path, _KEYS)
    action = content["action"]
    if action not in CLASSES:
        raise ValueError(f"{path}: no class {action!r}; this data set has {', '.join(CLASSES)}")
    x, y, visible = (as_numbers(content[key], f"{path}: {key}") for key in ("x", "y", "visibility"))
    if x.ndim != 2 or x.shape[1] != 13 or not len(x) or not x.shape == y.shape == visible.shape:
        shapes = f"{x.shape}, {y.shape}, {visible.shape}"
        raise ValueError(f"{path}: x, y and visibility should each have the shape (frames, 13), found {shapes}")
    train = as_numbers(content["train"], f"{path}: train")
    if train.size != 1 or train.flat[0] not in (1, -1):
        raise ValueError(f"{path}: train should be 1 or -1, found {train.tolist()}")
    size = as_numbers(content["dimensions"], f"{path}: dimensions").ravel()
    if len(size) < 2 or not 0 < size[0] < np.inf:
        raise ValueError(f"{path}: dimensions should be height, width, frames, found {size.tolist()}")
    shown, remarks = visible > 0, ()
    if not shown.any():  # as in 1516, whose annotated joints are all flagged as invisible
        shown = np.maximum(x, y) > _CORNER
        remarks = ("no joint is flagged as visible: took those that are not placeholders in the image's corner",)
    data = np.where(shown[..., None], np.stack([x, y], -1), np.nan)
    with naming_file(path):
        data, unit, notes = clean_2d(mark_missing(data[None]), layout("penn13"), image_height=size[0])
    fields = {"train": f"{train.flat[0]:.0f}", "scale": f"{unit:g}"}
    return Clip(path.stem, data, CLASSES.index(action), fields, (*remarks, *notes))


READER = Reader(
    name="penn-action",
    title="Penn Action: 15 actions in sports videos (2D, 13 joints, annotated by hand)",
    citation="Zhang, Zhu, Derpanis: From Actemes to Action: A Strongly-supervised Representation. ICCV 2013",
    layout="penn13",
    classes=CLASSES,
    splits={
        "official": SplitRule(
            "the files' own train flag",
            lambda fields: "train" if fields["train"] == "1" else "test",
        ),
    },
    scan=scan,
    read=read,
    expected=Complete(2326, 2326, {"official": (1258, 1068)}),
    units="half image heights",
)

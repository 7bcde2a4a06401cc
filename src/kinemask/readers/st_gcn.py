"""Whole data sets in arrays, as ST-GCN and CTR-GCN take them.

Formats:
- ST-GCN, 2s-AGCN, MMSkeleton (ST-GCN, tools/ntu_gendata.py): NAME_data.npy, or NAME_data_joint.npy,
  of clips × channels × frames × joints × bodies, and NAME_label.pkl, (names, labels); NAME is train, val or test;
- CTR-GCN (its data/ntu/seq_transformation.py): a .npz of x_train, y_train, x_test, y_test, the x of
  clips × frames × (bodies · joints · channels), the y one-hot, or numbers.
Short clips are filled up with zeros, which are cut. 25 joints of three channels are ntu25 in metres, y up; 18 of x, y
and confidence are coco18; for others the layout must be given, and where it is 2D a third channel is the confidence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kinemask.readers.array_file import ArrayFile, open_array, open_arrays
from kinemask.readers.base import Failure, Item, Reader, ReadOptions, Scan
from kinemask.readers.cleaning import mark_missing
from kinemask.readers.files import as_numbers, brief, find_files, name_file, naming_file
from kinemask.readers.ntu import name_fields
from kinemask.readers.own import UNITS, make_clip, part_sides
from kinemask.readers.pickle_file import PickledArray, read_pickle
from kinemask.skeleton import Layout, layout
from kinemask.store.format import SPLIT, Clip

_DATA = re.compile(r"(?:(?P<name>.+)_)?data(?:_joint)?", re.IGNORECASE)
_PART = re.compile(r"(?:.*_)?(?P<part>train|val|test)", re.IGNORECASE)
_KEYS = re.compile(r"x_(?P<part>train|val|test)")
_KNOWN = {(25, 3): "ntu25", (20, 3): "kinect20", (18, 3): "coco18", (17, 2): "coco17"}  # by joints and channels
_SPLITS = {"cs": "xsub", "csub": "xsub", "xsub": "xsub", "cv": "xview", "cview": "xview", "xview": "xview"}
_SPLITS |= {"cset": "xset", "csetup": "xset", "xset": "xset", "xsetup": "xset"}
_MOST_CLASSES = 100_000
_MOST_BODIES = 20
_MOST_CLIPS = 1 << 21


@dataclass(frozen=True)
class _Part:
    """An array of clips: which part of which split it is, its clips' names and labels (None: unlabelled)."""

    array: ArrayFile
    part: str
    split: str
    names: tuple[str, ...]
    labels: tuple[int | None, ...]


def scan(src: Path) -> Scan:
    """The arrays of a source, each of many clips. Where both forms are there, those of ST-GCN are taken."""
    found = find_files(src, ("*.npy", "*.npz"), "files NAME_data.npy with NAME_label.pkl, or .npz of x_train, y_train")
    parts, unlisted = [], []
    for path in found:
        match = _DATA.fullmatch(path.stem)
        if path.suffix.lower() == ".npy" and (match or src.is_file()):
            part, words = _with_pickle(path, (match["name"] or "") if match else path.stem)
            parts.append(part)
            unlisted += words
    packs = [path for path in found if path.suffix.lower() == ".npz"]
    if parts and packs:
        unlisted.append(f"{src} also holds {', '.join(p.name for p in packs[:5])}; name the file itself to read it")
    elif not parts:
        parts = [part for path in packs for part in _pack_parts(path)]
    if not parts:
        raise ValueError(f"{src} holds no NAME_data.npy and no .npz of x_train and y_train")
    parted = any(part.part for part in parts)
    sides = part_sides([{SPLIT + part.split: part.part} if parted else {} for part in parts])
    items = [
        Item(part.array.path, part.array.path.stem, fields=fields, content=part)
        for part, fields in zip(parts, sides, strict=True)
    ]
    most = max((label for part in parts for label in part.labels if label is not None), default=-1)
    clips = sum(part.array.shape[0] for part in parts)
    splits = frozenset(key.removeprefix(SPLIT) for fields in sides for key, side in fields.items() if side)
    return Scan(items, tuple(map(str, range(most + 1))), _find_layout(parts[0]), clips, splits, tuple(unlisted))


def read(item: Item, options: ReadOptions) -> Iterator[Clip | Failure]:
    """The clips (M, T, V, C) of an array, with the side of the split that it is."""
    part: _Part = item.content
    given = READER.choose_layout(options.layout or _find_layout(part))
    place = item.path if not part.array.member else Path(f"{item.path}, {part.array.member.removesuffix('.npy')}")
    shape = _shape(part.array, given, place)
    for name, label, values in zip(part.names, part.labels, part.array.entries(), strict=True):
        stem = name.removesuffix(".skeleton")
        clip = Item(item.path, stem, label, {**name_fields(stem), **item.fields})
        try:
            yield _read_clip(clip, _order(as_numbers(values, "its numbers"), shape), given, options.min_score)
        except ValueError as error:
            yield Failure.of(name_file(Path(f"{item.path}, clip {stem}"), error), stem)


def _read_clip(item: Item, data: np.ndarray, layout: Layout, min_score: float) -> Clip:
    """(M, T, V, C) with frames of zeros at its end, and perhaps confidences as a last channel."""
    filled = (data != 0).any((0, 2, 3))
    data = data[:, : len(filled) - int(filled[::-1].argmax()) if filled.any() else 0]
    score = data[..., layout.dims] if data.shape[-1] > layout.dims else None
    joints = mark_missing(data[..., : layout.dims])
    if score is not None:
        joints[~(score > min_score)] = np.nan
    elif len(layout.origin) == 1:  # the origin, to which such data are moved, is there though it is zero
        seen = ~np.isnan(joints).all((2, 3))
        at_zero = seen & (data[:, :, layout.origin[0]] == 0).all(-1)
        joints[at_zero, layout.origin[0]] = 0
    return make_clip(item, joints, score, layout, None)


def _order(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A clip as its array has it, (C, T, V, M) or (T, M · V · C), as (M, T, V, C)."""
    if values.ndim == 4:
        return values.transpose(3, 1, 2, 0)
    return values.reshape(shape).transpose(1, 0, 2, 3)


def _shape(array: ArrayFile, layout: Layout, place: Path) -> tuple[int, ...]:
    """Frames, bodies, joints and channels of each clip of an array; ValueError where they are not of the layout."""
    joints, channels = layout.num_joints, (layout.dims, 3) if layout.dims == 2 else (3,)
    if len(array.shape) == 5:
        _, found, frames, count, bodies = array.shape
        if count == joints and found in channels and bodies <= _MOST_BODIES:
            return frames, bodies, joints, found
        wanted = f"(clips, {' or '.join(map(str, channels))}, frames, {joints}, bodies)"
    else:
        _, frames, numbers = array.shape
        for found in reversed(channels):
            if numbers % (joints * found) == 0 and numbers // (joints * found) <= _MOST_BODIES:
                return frames, numbers // (joints * found), joints, found
        wanted = f"(clips, frames, bodies · {joints} · {' or '.join(map(str, channels))})"
    raise ValueError(f"{place}: layout {layout.name} needs the shape {wanted}, found {array.shape}")


def _with_pickle(path: Path, name: str) -> tuple[_Part, list[str]]:
    """An array and the pickle of its names and labels beside it; a word where there is none."""
    array = open_array(path)
    if len(array.shape) != 5:
        raise ValueError(
            f"{path}: expected clips × channels × frames × joints × bodies, found the shape {array.shape}; for clips of"
            " one's own, a file each, see the reader arrays"
        )
    _check_count(path, array)
    part = _part(name)
    file = path.with_name(f"{name}_label.pkl" if name else "label.pkl")
    split = _split(path.parent.name)
    count = array.shape[0]
    if not file.is_file():
        names = _number(name or path.stem, count)
        return _Part(array, part, split, names, (None,) * count), [f"{path}: no {file.name} is beside it, so no labels"]
    with naming_file(file):
        names, labels = _names_and_labels(read_pickle(file), count)
    return _Part(array, part, split, names, labels), []


def _names_and_labels(value: Any, count: int) -> tuple[tuple[str, ...], tuple[int | None, ...]]:
    if not isinstance(value, tuple | list) or len(value) < 2 or not isinstance(value[0], tuple | list):
        raise ValueError(f"expected names and labels, a list each, found {brief(value)}")
    names, labels = value[0], value[1]
    labels = as_numbers(labels.load(), "labels") if isinstance(labels, PickledArray) else labels
    if len(names) != count or len(labels) != count:
        raise ValueError(f"expected a name and a label for each of {count} clips, found {len(names)} and {len(labels)}")
    if not all(isinstance(name, str) and name.isprintable() and 0 < len(name) < 500 for name in names):
        raise ValueError("expected names, found other values among them")
    return tuple(names), _labels(as_numbers(labels, "labels"))


def _labels(values: np.ndarray) -> tuple[int | None, ...]:
    """Classes, as numbers or one-hot; -1 and rows of zeros are unlabelled."""
    if values.ndim == 2:
        if not np.isin(values, (0, 1)).all() or (values.sum(1) > 1).any():
            raise ValueError("labels of two axes should be one-hot: one 1 in each row, the rest zeros")
        return tuple(int(row.argmax()) if row.any() else None for row in values)
    if values.ndim != 1 or not ((values >= -1) & (values < _MOST_CLASSES) & (values % 1 == 0)).all():
        raise ValueError(f"labels should be whole numbers from 0, or one-hot; found the shape {values.shape}")
    return tuple(int(label) if label >= 0 else None for label in values)


def _pack_parts(path: Path) -> list[_Part]:
    """The parts of a .npz file."""
    arrays, parts = open_arrays(path), []
    for key, array in arrays.items():
        if (match := _KEYS.fullmatch(key)) is None:
            continue
        if len(array.shape) not in (3, 5):
            raise ValueError(f"{path}: {key} should be clips × frames × numbers, found the shape {array.shape}")
        _check_count(path, array)
        count, part = array.shape[0], match["part"]
        labels: tuple[int | None, ...] = (None,) * count
        if (told := arrays.get(f"y_{part}")) is not None:
            if told.shape[:1] != (count,):
                raise ValueError(f"{path}: y_{part} is of {told.shape[:1]} clips, {key} of {count}")
            with naming_file(path):
                labels = _labels(as_numbers(told.load(), f"y_{part}"))
        parts.append(_Part(array, part, _split(path.stem.rpartition("_")[2]), _number(part, count), labels))
    if not parts:
        raise ValueError(f"{path}: expected the keys x_train, y_train, x_test, y_test, found {', '.join(arrays)}")
    return parts


def _check_count(path: Path, array: ArrayFile) -> None:
    if not 0 < array.shape[0] <= _MOST_CLIPS or 0 in array.shape:
        raise ValueError(f"{path}: expected from 1 to {_MOST_CLIPS:,} clips, found the shape {array.shape}")


def _number(name: str, count: int) -> tuple[str, ...]:
    width = len(str(count - 1))
    return tuple(f"{name}_{i:0{width}}" for i in range(count))


def _part(name: str) -> str:
    match = _PART.fullmatch(name)
    return match["part"].lower() if match else ""


def _split(name: str) -> str:
    """A split's name, as a file's or a folder's tells it."""
    return _SPLITS.get(re.sub(r"[^a-z]", "", name.casefold()), "default")


def _find_layout(part: _Part) -> Layout | None:
    """The layout that a number of joints and channels tells; None where there is none, or several."""
    shape = part.array.shape
    if len(shape) == 5:
        name = _KNOWN.get((shape[3], shape[1]))
    else:
        name = "ntu25" if shape[2] % 75 == 0 else None
    return None if name is None else layout(name)


READER = Reader(
    name="st-gcn",
    title="whole data sets in arrays: NAME_data.npy with NAME_label.pkl (ST-GCN), .npz of x_train, y_train (CTR-GCN)",
    citation="",
    layout=None,
    scan=scan,
    read=read,
    units=UNITS,
    scores=True,
    is_format=True,
)

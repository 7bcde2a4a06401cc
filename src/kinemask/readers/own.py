"""Recordings of one's own: `clips.csv`, which lists them, and what becomes of each.

`clips.csv` has a column `clip` (a file or folder below its own) and any of `label`, `subject`, `image_height`
and more. A column `split` (train, test or empty) is the split `default`, `split:NAME` is NAME.

3D coordinates are metres, y up. 2D coordinates are those of an image, y down; `image_height`, in the same
units, scales them, otherwise the clip's torso does.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from kinemask.readers.base import Item, Scan
from kinemask.readers.cleaning import clean_2d, clean_3d
from kinemask.readers.files import read_text
from kinemask.skeleton import Layout
from kinemask.store.format import SIDES, SPLIT, Clip

LIST = "clips.csv"
UNITS = "metres in 3D; in 2D half image heights, or torso lengths where the image's height is unknown"
_TAKEN = ("name", "label", "frames", "bodies", "offset", "scale")  # a store's own columns


def read_list(listing: Path, locate: Callable[[Path], list[Path]], what: str) -> Scan:
    """What `clips.csv` lists, in its order; classes are the distinct labels, sorted.

    locate: the files (or folders) that a path of the list, without or with its suffix, may mean; `what` they
    are. Raises ValueError with file and line: no column `clip`, a file that is absent or named twice, a split's
    value other than train, test or nothing, two clips of one name.
    """
    table = csv.DictReader(read_text(listing).splitlines())
    columns = [column.strip() for column in table.fieldnames or ()]
    table.fieldnames = columns
    _check_columns(listing, columns)
    items: list[Item] = []
    labels: list[str] = []
    names: dict[str, int] = {}
    for record in _records(table, listing):
        where = f"{listing}, line {table.line_num}"
        if None in record or None in record.values():
            raise ValueError(f"{where}: expected {len(columns)} fields ({', '.join(columns)})")
        fields = {key: value.strip() for key, value in record.items()}
        clip = fields.pop("clip")
        if not clip:
            raise ValueError(f"{where}: the clip is not named")
        if not (listing.parent / clip).resolve().is_relative_to(listing.parent.resolve()):
            raise ValueError(f"{where}: clip {clip} lies outside {listing.parent}")
        found = locate(listing.parent / clip)
        if len(found) != 1:
            given = " and ".join(map(str, found)) or "no such file"
            raise ValueError(f"{where}: clip {clip} should be one {what}; there is {given}")
        name = clip_name(found[0], listing.parent)
        if name in names:
            raise ValueError(f"{where}: clip {name} stands in line {names[name]} already")
        names[name] = table.line_num
        labels.append(fields.pop("label", ""))
        items.append(Item(found[0], name, None, _rename_splits(fields, where)))
    if not items:
        raise ValueError(f"{listing} lists no clip")
    classes = _sort_labels({label for label in labels if label})
    index = {label: i for i, label in enumerate(classes)}
    items = [replace(item, label=index.get(label)) for item, label in zip(items, labels, strict=True)]
    splits = {key.removeprefix(SPLIT) for key in items[0].fields if key.startswith(SPLIT)}
    return Scan(items, classes, splits=frozenset(splits))


def _records(table: csv.DictReader, listing: Path) -> Iterator[dict]:
    try:
        yield from table
    except csv.Error as error:
        raise ValueError(f"{listing}, line {table.line_num}: {error}; is a quote left open?") from None


def list_clips(src: Path, find: Callable[[Path], list[Path]], locate: Callable[[Path], list[Path]], what: str) -> Scan:
    """The clips of `clips.csv` (`read_list`) or, where there is none, all that `find` finds, unlabelled."""
    listing = src if src.name == LIST else src / LIST
    if listing.is_file():
        return read_list(listing, locate, what)
    return Scan([Item(path, clip_name(path, src)) for path in find(src)], ())


def existing(path: Path, suffixes: Sequence[str], folders: bool = False) -> list[Path]:
    """What a path of the list may mean: the file itself, if it has one of the suffixes, or the files with any of them
    added; with `folders`, a folder too."""
    wanted = [path] if path.suffix in suffixes else [path.with_name(path.name + s) for s in suffixes]
    return [path] * (folders and path.is_dir()) + [path for path in wanted if path.is_file()]


def clip_name(path: Path, folder: Path) -> str:
    """Name of a clip: its path below the folder, without suffix."""
    below = path.relative_to(folder) if path != folder else Path(path.name)
    return (below if path.is_dir() else below.with_suffix("")).as_posix()


def make_clip(item: Item, data: np.ndarray, score: np.ndarray | None, layout: Layout, height: float | None) -> Clip:
    """A clip in the store's convention out of joints (M, T, V, C), missing ones NaN (`mark_missing`).

    score: (M, T, V) or None. height: of the image, in 2D (None: unknown, the torso scales).
    """
    if score is not None:
        score = score[~np.isnan(data).all((1, 2, 3))]  # as the cleaning drops bodies
    if layout.dims == 3:
        data, notes = clean_3d(data, layout)
        return Clip(item.name, data, item.label, dict(item.fields), notes, score)
    data, unit, notes = clean_2d(data, layout, height)
    return Clip(item.name, data, item.label, {**item.fields, "scale": f"{unit:g}"}, notes, score)


def positive(fields: Mapping[str, str], name: str) -> float | None:
    """The field of an item that should be a positive number; None where it is empty or absent."""
    text = fields.get(name, "")
    try:
        value = float(text) if text else None
    except ValueError:
        value = 0.0
    if value is not None and not 0 < value < np.inf:
        raise ValueError(f"{name} should be a positive number, found {text!r}")
    return value


def _sort_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """Labels in order: of their values if all are whole numbers, else of the alphabet."""
    labels = sorted(labels)
    return tuple(sorted(labels, key=int) if all(label.isdecimal() for label in labels) else labels)


def _check_columns(listing: Path, columns: list[str]) -> None:
    if "clip" not in columns:
        raise ValueError(f"{listing}, line 1: expected a column clip, found {', '.join(columns) or 'nothing'}")
    for column in columns:
        if columns.count(column) > 1 or not column:
            raise ValueError(f"{listing}, line 1: expected a name for each column, all different; found {columns}")
        if column in _TAKEN and column != "label":
            raise ValueError(f"{listing}, line 1: a store has a column {column} of its own; rename yours")
    if "split" in columns and "split:default" in columns:
        raise ValueError(f"{listing}, line 1: columns split and split:default are the same split")


def _rename_splits(fields: dict[str, str], where: str) -> dict[str, str]:
    """Fields with `split` renamed to `split:default`, their values checked."""
    fields = {"split:default" if key == "split" else key: value for key, value in fields.items()}
    for key, value in fields.items():
        if key.startswith(SPLIT) and value not in SIDES:
            raise ValueError(f"{where}: {key} should be train, test or empty, found {value!r}")
    return fields

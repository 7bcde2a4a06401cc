"""Bring your own: a folder with `clips.csv` and one array or table per clip, of any layout.

`clips.csv` has a column `clip` (a file below the folder, with or without its suffix) and any of `label`,
`subject`, `image_height` and more. A column `split` (train, test or empty) is the split `default`,
`split:NAME` is NAME.

3D coordinates are metres, y up. 2D coordinates are those of an image, y down; `image_height`, in the same
units, scales them, otherwise the clip's torso does.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from kinemask.data.cleaning import clean_2d, clean_3d, mark_missing
from kinemask.data.readers.base import Catalogue, Reader, ReadOptions, Row
from kinemask.data.readers.files import name_file, read_text
from kinemask.data.readers.tables import load_arrays, load_table
from kinemask.data.store import Clip
from kinemask.skeleton import Layout

SUFFIXES = (".npy", ".npz", ".csv")
_LIST = "clips.csv"
_SIDES = ("train", "test", "")
_TAKEN = ("name", "label", "frames", "bodies", "offset", "scale")  # a store's own columns


def catalogue(src: Path) -> Catalogue:
    """Rows of `clips.csv`, in its order, with the files they name; classes are the distinct labels, sorted.

    Raises ValueError with file and line: no column `clip`, a file that is absent or named twice, a split's
    value other than train, test or nothing, two clips of one name.
    """
    listing = src if src.is_file() else src / _LIST
    if not listing.is_file():
        raise ValueError(f"{src} holds no {_LIST}, which lists the clips (a column clip; label, subject, … if known)")
    table = csv.DictReader(read_text(listing).splitlines())
    columns = [column.strip() for column in table.fieldnames or ()]
    table.fieldnames = columns
    _check_columns(listing, columns)
    rows: dict[Path, Row] = {}
    labels: dict[Path, str] = {}
    names: dict[str, int] = {}
    for record in table:
        where = f"{listing}, line {table.line_num}"
        if None in record or None in record.values():
            raise ValueError(f"{where}: expected {len(columns)} fields ({', '.join(columns)})")
        fields = {key: value.strip() for key, value in record.items()}
        path = _locate(listing.parent, fields.pop("clip"), where)
        name = path.relative_to(listing.parent).with_suffix("").as_posix()
        if name in names:
            raise ValueError(f"{where}: clip {name} stands in line {names[name]} already")
        names[name] = table.line_num
        labels[path] = fields.pop("label", "")
        rows[path] = Row(name, None, _rename_splits(fields, where))
    if not rows:
        raise ValueError(f"{listing} lists no clip")
    classes = _sort_labels({label for label in labels.values() if label})
    index = {label: i for i, label in enumerate(classes)}
    return Catalogue(classes, {p: Row(r.name, index.get(labels[p]), r.fields) for p, r in rows.items()})


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


def _locate(folder: Path, clip: str, where: str) -> Path:
    """File of a clip below `folder`, by its name with or without suffix."""
    if not clip:
        raise ValueError(f"{where}: the clip is not named")
    path = folder / clip
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{where}: clip {clip} lies outside {folder}")
    wanted = [path] if path.suffix in SUFFIXES else [path.with_name(path.name + s) for s in SUFFIXES]
    found = [path for path in wanted if path.is_file()]
    if len(found) != 1:
        given = " and ".join(str(path) for path in found) or "no such file"
        raise ValueError(f"{where}: clip {clip} should be one file {', '.join(SUFFIXES)}; there is {given}")
    return found[0]


def _rename_splits(fields: dict[str, str], where: str) -> dict[str, str]:
    """Fields with `split` renamed to `split:default`, their values checked."""
    fields = {"split:default" if key == "split" else key: value for key, value in fields.items()}
    for key, value in fields.items():
        if key.startswith("split:") and value not in _SIDES:
            raise ValueError(f"{where}: {key} should be train, test or empty, found {value!r}")
    return fields


def find(src: Path, options: ReadOptions) -> list[Path]:
    """The files that `clips.csv` names, in its order."""
    return list(catalogue(src).rows)


def read(path: Path, options: ReadOptions) -> Clip:
    """One clip (M, T, V, C) of the layout in the options; their row, if any, gives its name, label and
    fields.

    A joint at exactly zero is missing, except the origin's own in data that are centred at it in every frame.
    """
    layout = READER.choose_layout(options.layout)
    row = options.row or Row(path.stem, None)
    if path.suffix == ".csv":
        data = load_table(path, layout)
    else:
        data = load_arrays(path, layout, options.min_score)
    try:
        return _clean(row, data, layout)
    except ValueError as error:
        raise name_file(path, error) from None


def _clean(row: Row, data: np.ndarray, layout: Layout) -> Clip:
    data, centred = _mark_missing(data, layout)
    if layout.dims == 3:
        data, notes = clean_3d(data, layout)
        return Clip(row.name, data, row.label, dict(row.fields), centred + notes)
    data, unit, notes = clean_2d(data, layout, _image_height(row.fields))
    return Clip(row.name, data, row.label, {**row.fields, "scale": f"{unit:g}"}, centred + notes)


def _mark_missing(data: np.ndarray, layout: Layout) -> tuple[np.ndarray, tuple[str, ...]]:
    """`mark_missing`, sparing the origin's joint of bodies that are centred at it: always zero."""
    marked = mark_missing(data)
    if len(layout.origin) != 1:
        return marked, ()
    joint = layout.origin[0]
    seen = ~np.isnan(marked).all((2, 3))  # (M, T)
    zero = (data[:, :, joint] == 0).all(-1)
    centred = np.any(seen, axis=1) & np.all(zero | ~seen, axis=1)
    marked[seen & centred[:, None], joint] = 0
    name = layout.joints[joint]
    notes = tuple(f"body {m + 1}: {name} is zero in every frame, so it is the origin" for m in np.flatnonzero(centred))
    return marked, notes


def _image_height(fields: Mapping[str, str]) -> float | None:
    text = fields.get("image_height", "")
    try:
        height = float(text) if text else None
    except ValueError:
        height = 0.0
    if height is not None and not 0 < height < np.inf:
        raise ValueError(f"image_height should be a positive number, found {text!r}")
    return height


READER = Reader(
    name="arrays",
    title="your own recordings: clips.csv and .npy, .npz or .csv files of any layout (needs --layout)",
    citation="",
    layout=None,
    classes=(),
    splits={},
    find=find,
    read=read,
    catalogue=catalogue,
    units="metres in 3D; in 2D half image heights, or torso lengths where clips.csv has no image_height",
)

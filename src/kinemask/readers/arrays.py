"""Bring your own: a folder with `clips.csv` (see `own`) and one array or table per clip, of any layout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from kinemask.readers.base import Item, Reader, ReadOptions, Scan
from kinemask.readers.cleaning import mark_missing
from kinemask.readers.files import find_files, naming_file
from kinemask.readers.own import LIST, OTHER_NAMES, UNITS, clip_name, existing, make_clip, positive, read_list
from kinemask.readers.pose_table import load_poses
from kinemask.readers.sheets import read_sheet
from kinemask.readers.tables import load_arrays
from kinemask.skeleton import Layout
from kinemask.store.format import Clip

SUFFIXES = (".npy", ".npz", ".csv")


def scan(src: Path) -> Scan:
    """The files that `clips.csv`, or a list of another name, names, in its order; else a file, or all of them."""
    listing = src if src.is_file() else src / LIST
    if not listing.is_file() or _is_poses(listing):
        return _unlisted(src)
    return read_list(listing, lambda path: existing(path, SUFFIXES), f"file {', '.join(SUFFIXES)}")


def _is_poses(path: Path) -> bool:
    """Whether a file is a recording, and no list of recordings."""
    if path.suffix.lower() in (".npy", ".npz"):
        return True
    columns = {"_".join(column.casefold().split()) for column in read_sheet(path).columns}
    return path.name != LIST and not columns & {"clip", *OTHER_NAMES["clip"]}


def _unlisted(src: Path) -> Scan:
    """Recordings without a list: arrays, or else tables."""
    tables = "*.csv"
    for patterns in (("*.npy", "*.npz"), (tables,)):
        try:
            paths = find_files(src, patterns, f"files {', '.join(patterns)}")
        except ValueError:
            continue
        other = [path.name for path in src.rglob(tables)] if src.is_dir() and tables not in patterns else []
        said = (f"{src}: {other[0]} is not read; a list of clips is called {LIST}",) if other else ()
        return Scan([Item(path, clip_name(path, src)) for path in paths], (), unlisted=said)
    raise ValueError(f"{src} holds no {LIST}, which lists the clips (a column clip; label, subject, … if known)")


def read(item: Item, options: ReadOptions) -> Clip:
    """One clip (M, T, V, C) of the layout in the options, with the name, label and fields of its item.

    A joint at exactly zero is missing, except the origin's own in data that are centred at it in every frame;
    so is one whose score is not above the options' `min_score`.
    """
    path, layout = item.path, READER.choose_layout(options.layout)
    is_table = path.suffix.lower() == ".csv"
    if options.axes and is_table:
        raise ValueError(f"{path}: a table has no axes, so --axes would have no effect")
    poses = load_poses(path, layout) if is_table else load_arrays(path, layout, options.axes)
    data, score = poses.data, poses.score
    if score is not None:
        data = np.where((score > options.min_score)[..., None], data, np.nan)
    with naming_file(path):
        data, centred = _mark_missing(data, layout)
        people = tuple(name for name, body in zip(poses.people, data, strict=False) if not np.isnan(body).all())
        clip = make_clip(item, data, score, layout, positive(item.fields, "image_height"))
    said = {"notes": poses.notes + centred + clip.notes, "doubts": poses.doubts + clip.doubts}
    return replace(clip, people=people if len(people) == len(clip.data) else (), **said)


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


READER = Reader(
    name="arrays",
    title="your own arrays: .npy, .npz or .csv files of any layout (--layout), clips.csv if there are labels",
    citation="",
    layout=None,
    scan=scan,
    read=read,
    units=UNITS,
    scores=True,
    is_format=True,
    axes=True,
)

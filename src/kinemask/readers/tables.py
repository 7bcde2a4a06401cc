"""Pose arrays (.npy, .npz) and pose tables (.csv) of any layout, as (M, T, V, C) with NaN for missing."""

from __future__ import annotations

import csv
import tokenize
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from kinemask.readers.files import as_numbers, read_text
from kinemask.skeleton import Layout

SPARSE = 100  # numbered frames per frame given, beyond which the numbers are no frame numbers
_ALIASES = {"landmark": "joint", "person": "body", "visibility": "score", "confidence": "score"}
_BROKEN = (  # what numpy and zipfile raise for damaged files
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def load_arrays(path: Path, layout: Layout) -> tuple[np.ndarray, np.ndarray | None]:
    """Coordinates (M, T, V, C) of a .npy file, or of `keypoints` in a .npz file, and its `score` (M, T, V), if any.

    Either may lack the axis of bodies. Never unpickles. Raises ValueError for object arrays, other shapes,
    broken files.
    """
    if path.suffix == ".npz":
        data, score = _load_npz(path)
    else:
        data, score = _open(path, lambda: np.load(path, mmap_mode="r", allow_pickle=False)), None
    data = as_numbers(data, str(path))
    shape = ("frames", layout.num_joints, layout.dims)
    if data.ndim not in (3, 4) or data.shape[-2:] != shape[1:] or not data.size:
        wanted = f"({', '.join(map(str, shape))}) or (bodies, {', '.join(map(str, shape))})"
        raise ValueError(f"{path}: layout {layout.name} needs the shape {wanted}, found {data.shape}")
    if score is not None:
        score = as_numbers(score, f"{path}: score")
        if score.shape != data.shape[:-1]:
            raise ValueError(f"{path}: score should have the shape {data.shape[:-1]}, found {score.shape}")
    return (data, score) if data.ndim == 4 else (data[None], None if score is None else score[None])


def _load_npz(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    raw = BytesIO(path.read_bytes())
    if not zipfile.is_zipfile(raw):
        raise ValueError(f"{path}: not a whole .npz file")
    raw.seek(0)
    with _open(path, lambda: np.load(raw, allow_pickle=False)) as content:
        if "keypoints" not in content.files:
            raise ValueError(f"{path}: expected the key keypoints, found {', '.join(content.files) or 'none'}")
        data = _open(path, lambda: content["keypoints"])
        return data, _open(path, lambda: content["score"]) if "score" in content.files else None


def _open(path: Path, load: Callable[[], Any]) -> Any:
    """What `load` returns, with one kind of error for the many that broken files cause."""
    try:
        with np.errstate(over="raise"):  # a header may promise more bytes than an int64 counts
            return load()
    except _BROKEN as error:
        if "Object arrays" in str(error) or "pickled" in str(error):
            what = "holds Python objects or is no array file; save plain number arrays with numpy.save"
        else:
            what = f"not a whole {path.suffix} file ({type(error).__name__}: {error})"
        raise ValueError(f"{path}: {what}") from None


def load_table(path: Path, layout: Layout) -> tuple[np.ndarray, np.ndarray | None]:
    """Coordinates (M, T, V, C) of a table with a line per joint, and its confidences (M, T, V), if it has any.

    Header: `frame,body,joint,x,y`, in 3D `z`, and perhaps `score`; other names are in `_ALIASES`. frame: whole
    numbers; the first is frame 0, and frames without lines are missing. body: any name, in order of appearance;
    without the column there is one. joint: a name of the layout, or an index. Empty coordinates are missing.
    Raises ValueError with file and line.
    """
    coordinates = ("x", "y", "z")[: layout.dims]
    table = csv.DictReader(read_text(path).splitlines())
    columns = [column.strip() for column in table.fieldnames or ()]
    columns = [column if _ALIASES.get(column, column) in columns else _ALIASES[column] for column in columns]
    table.fieldnames = columns
    absent = [name for name in ("frame", "joint", *coordinates) if name not in columns]
    if absent:
        raise ValueError(
            f"{path}, line 1: expected the columns frame,body,joint,{','.join(coordinates)}; no column"
            f" {', '.join(absent)}"
        )
    index = {name: v for v, name in enumerate(layout.joints)}
    index |= {str(v): v for v in range(layout.num_joints)}
    bodies: dict[str, int] = {}
    values: dict[tuple[int, int, int], list[float]] = {}
    for record in table:
        where = f"{path}, line {table.line_num}"
        if None in record or None in record.values():
            raise ValueError(f"{where}: expected {len(columns)} fields ({', '.join(columns)})")
        joint = record["joint"].strip()
        if joint not in index:
            raise ValueError(f"{where}: layout {layout.name} has no joint {joint!r}")
        body = bodies.setdefault(record.get("body", "").strip(), len(bodies))
        key = (body, _frame(record["frame"], where), index[joint])
        if key in values:
            raise ValueError(f"{where}: a second line for this frame, body and joint")
        values[key] = [_number(record.get(name, ""), f"{where}: {name}") for name in (*coordinates, "score")]
    if not values:
        raise ValueError(f"{path} has no line after its header")
    data = _fill(path, values, len(bodies), layout)
    return data[..., :-1], data[..., -1] if "score" in columns else None


def _fill(path: Path, values: dict[tuple[int, int, int], list[float]], bodies: int, layout: Layout) -> np.ndarray:
    """(M, T, V, C + 1), the last the score."""
    keys = np.array(list(values))
    first, last, given = keys[:, 1].min(), keys[:, 1].max(), len(np.unique(keys[:, 1]))
    if bodies * (last - first + 1) > SPARSE * given:
        raise ValueError(
            f"{path}: frames are numbered {first} to {last}, with {bodies} bodies, but only {given} have"
            " lines: expected consecutive frame numbers and lasting body names"
        )
    data = np.full((bodies, last - first + 1, layout.num_joints, layout.dims + 1), np.nan)
    data[keys[:, 0], keys[:, 1] - first, keys[:, 2]] = list(values.values())
    return data


def _frame(text: str, where: str) -> int:
    text = text.strip()
    if not text.removeprefix("-").isdecimal() or len(text) > 15:
        raise ValueError(f"{where}: frame should be a whole number, found {text[:40]!r}")
    return int(text)


def _number(text: str, where: str) -> float:
    try:
        return float(text) if text.strip() else float("nan")
    except ValueError:
        raise ValueError(f"{where} should be a number, found {text[:40]!r}") from None

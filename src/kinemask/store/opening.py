"""The store: a folder of prepared clips that everything else reads.

`frames.npy` (rows, V, C), memory-mapped, holds the clips one after the other: body after body, frame after
frame, NaN where a joint is missing. `scores.npy` (rows, V), where the source gives confidences, holds those.
`clips.csv` has a line per clip, `meta.json` what is common to all, and `rejected.csv` what was left out and
why. A store is written beside its place and renamed when whole.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kinemask.errors import shorten
from kinemask.plain_file import read_json
from kinemask.skeleton import Layout
from kinemask.store.format import COLUMNS, DTYPES, FORMAT, SCORES, SPLIT, VERSION, digest, sha256

_KINDS = {str: "text", dict: "mapping"}
_MOST = 1 << 31  # frames or bodies of a clip; the product of two is an int64
_WIDEST = 1 << 28  # bytes of a column in memory, or this many times the size of clips.csv:
_SPARSEST = 64
_META = {"layout": dict, "classes": list, "splits": dict, "dtype": str, "sha256": dict}


@dataclass(frozen=True, eq=False)
class Store:
    """An open store of N clips; made by `open_store`.

    frames: memory-mapped (rows, V, C); body m, frame t of clip i is row `offsets[i] + m * lengths[i] + t`.
    labels: (N,) int64, -1 where unlabelled. lengths, bodies, offsets: (N,) int64, each clip's frames T,
    bodies M and first row. fields: the other columns of clips.csv, each (N,) of str. scores: memory-mapped
    (rows, V) confidences as the source gave them, NaN where it gave none; None where no clip has any.
    """

    path: Path
    meta: dict[str, Any]
    layout: Layout
    frames: np.ndarray
    names: list[str]
    labels: np.ndarray
    classes: list[str]
    fields: dict[str, np.ndarray]
    lengths: np.ndarray
    bodies: np.ndarray
    offsets: np.ndarray
    scores: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.names)

    def clip(self, i: int) -> np.ndarray:
        """Clip i as a read-only view (M, T, V, C)."""
        return self._clip(self.frames, i)

    def score(self, i: int) -> np.ndarray | None:
        """Confidences of clip i as a read-only view (M, T, V), NaN where unknown; None if the store has none."""
        return None if self.scores is None else self._clip(self.scores, i)

    def _clip(self, array: np.ndarray, i: int) -> np.ndarray:
        rows, start = self.bodies[i] * self.lengths[i], self.offsets[i]
        return array[start : start + rows].reshape(self.bodies[i], self.lengths[i], *array.shape[1:])

    @property
    def name(self) -> str:
        """The data set's name, as results have it: that of meta.json, or the folder's."""
        known = self.meta.get("name", self.meta.get("dataset"))
        return known if isinstance(known, str) and known not in ("", "arrays") else self.path.resolve().name

    @property
    def identity(self) -> dict[str, str]:
        """SHA-256 of everything that results depend on: the files, the layout and the class names."""
        described = {name: json.dumps(self.meta[name]).encode() for name in ("layout", "classes")}
        return self.meta["sha256"] | {name: hashlib.sha256(text).hexdigest() for name, text in described.items()}

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits, the validation ones (NAME-val) included."""
        return tuple(self.meta["splits"])

    def split(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Clip indices (training, test) of a split, ascending; ValueError that lists the known splits."""
        if name not in self.splits:
            none = "none (a column `split` in the clips.csv of your recordings makes one, or prepare --split-rule)"
            known = ", ".join(self.splits) or none
            raise ValueError(f"store {self.path} has no split {name!r}; it has: {known}")
        side = self.fields[SPLIT + name]
        return np.flatnonzero(side == "train"), np.flatnonzero(side == "test")

    def duplicates(self, train: np.ndarray, test: np.ndarray) -> np.ndarray:
        """Which test clips are exact copies (same shape, same bytes) of a training clip: (len(test),) bool.

        train, test: clip indices. A clip's name, label and fields do not count.
        """
        shapes = list(zip(self.bodies.tolist(), self.lengths.tolist(), strict=True))
        common = {shapes[i] for i in train} & {shapes[i] for i in test}
        known = {digest(self.clip(i)) for i in train if shapes[i] in common}
        return np.array([shapes[i] in common and digest(self.clip(i)) in known for i in test], bool)

    def verify(self) -> None:
        """ValueError where an array is no longer the one that was written (its SHA-256 differs)."""
        for name in ("frames.npy", "scores.npy") if self.scores is not None else ("frames.npy",):
            _check_sha256(self.path / name, self.meta)


def open_store(path: str | Path, verify: bool = False) -> Store:
    """Opens a store; frames stay on disk (memory-mapped) until they are read.

    Always checks the format, that clips.csv is as written and that frames.npy agrees with it in shape and
    size; `verify` also checks every byte of the arrays. Raises ValueError saying which file is wrong and how.
    """
    path = Path(path)
    meta = _read_meta(path)
    try:
        layout = Layout.from_dict(meta["layout"])
    except ValueError as error:
        raise ValueError(shorten(f"{path / 'meta.json'}: {error}")) from None
    _check_sha256(path / "clips.csv", meta)
    columns = _read_columns(path / "clips.csv")
    labels = _integers(path / "clips.csv", "label", (label or "-1" for label in columns["label"]))
    numbers = {key: _integers(path / "clips.csv", key, columns[key]) for key in ("frames", "bodies", "offset")}
    rows = _count_rows(path / "clips.csv", **numbers)
    if labels.max(initial=-1) >= len(meta["classes"]) or labels.min(initial=-1) < -1:
        raise ValueError(f"{path / 'clips.csv'}: a label is none of the {len(meta['classes'])} classes")
    fields = {key: _texts(path / "clips.csv", key, column) for key, column in columns.items() if key not in COLUMNS}
    for name in meta["splits"]:
        if SPLIT + name not in fields:
            raise ValueError(f"{path / 'clips.csv'} has no column {SPLIT + name}, a split that meta.json names")
    shape = (rows, layout.num_joints, layout.dims)
    scored = "scores.npy" in meta["sha256"]
    store = Store(
        path=path,
        meta=meta,
        layout=layout,
        frames=_map(path / "frames.npy", shape, meta["dtype"]),
        names=columns["name"],
        labels=labels,
        classes=list(meta["classes"]),
        fields=fields,
        lengths=numbers["frames"],
        bodies=numbers["bodies"],
        offsets=numbers["offset"],
        scores=_map(path / "scores.npy", shape[:2], SCORES) if scored else None,
    )
    if verify:
        store.verify()
    return store


def _check_sha256(path: Path, meta: Mapping[str, Any]) -> None:
    if not path.is_file():
        raise ValueError(f"{path.parent} is not a whole store: {path.name} is missing")
    if sha256(path) != meta["sha256"].get(path.name):
        raise ValueError(f"{path} has changed since the store was written (its SHA-256 differs); prepare it again")


def _read_meta(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise ValueError(f"no store at {path}; `kinemask prepare` writes one")
    if not (path / "meta.json").is_file():
        raise ValueError(f"{path} is not a store: it has no meta.json; `kinemask prepare` writes stores")
    meta = read_json(path / "meta.json")
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise ValueError(f"{path} is not a store: its meta.json does not say that it describes one")
    if meta.get("version") != VERSION:
        raise ValueError(
            f"{path} is a store of version {meta.get('version')}; this kinemask reads version {VERSION}:"
            " prepare it again, or use the kinemask that wrote it"
        )
    missing = [key for key, kind in _META.items() if not isinstance(meta.get(key), kind)]
    if missing:
        raise ValueError(f"{path / 'meta.json'} lacks {', '.join(missing)}")
    if meta["dtype"] not in DTYPES:
        raise ValueError(f"{path / 'meta.json'}: dtype is {meta['dtype'][:100]!r}, not {' or '.join(DTYPES)}")
    for key, kind, values in (
        ("classes", str, meta["classes"]),
        ("sha256", str, meta["sha256"].values()),
        ("splits", dict, meta["splits"].values()),
    ):
        if not all(isinstance(value, kind) for value in values):
            raise ValueError(f"{path / 'meta.json'}: {key} holds a value that is no {_KINDS[kind]}")
    return meta


def _read_columns(path: Path) -> dict[str, list[str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *lines = csv.reader(file)
    except (csv.Error, ValueError) as error:  # not UTF-8, or empty, are ValueErrors
        raise ValueError(f"{path} is no table: {error}") from None
    missing = [key for key in COLUMNS if key not in header]
    if missing:
        raise ValueError(f"{path} lacks the column {', '.join(missing)}")
    if len(set(header)) < len(header) or not lines:
        raise ValueError(f"{path} {'has two columns of one name' if lines else 'lists no clip'}")
    ragged = next((i for i, line in enumerate(lines) if len(line) != len(header)), None)
    if ragged is not None:
        raise ValueError(f"{path}: clip {ragged + 1} has {len(lines[ragged])} fields, the header {len(header)}")
    return {key: [line[j] for line in lines] for j, key in enumerate(header)}


def _texts(path: Path, key: str, column: list[str]) -> np.ndarray:
    """(N,) of str, unless the longest text, whose room they all take, makes that absurdly much."""
    longest = max(map(len, column))
    if 4 * longest * len(column) > max(_WIDEST, _SPARSEST * path.stat().st_size):
        raise ValueError(f"{path}: a text of the column {shorten(key, 100)} is too long")
    return np.array(column)


def _integers(path: Path, key: str, column: Iterable[str]) -> np.ndarray:
    try:
        return np.array(list(column), np.int64)
    except (ValueError, OverflowError) as error:
        raise ValueError(shorten(f"{path}, column {key}: {error}")) from None


def _count_rows(path: Path, frames: np.ndarray, bodies: np.ndarray, offset: np.ndarray) -> int:
    """Rows of all clips; ValueError where their places do not follow from frames and bodies (N,), one by one."""
    for key, column in (("frames", frames), ("bodies", bodies)):
        if column.min() < 1 or column.max() > _MOST:
            raise ValueError(f"{path}, column {key}: from {column.min()} to {column.max()}, which no clip has")
    rows = frames * bodies
    total = int(rows.max()) * len(rows)  # at the most
    if total >= 1 << 63 or not np.array_equal(offset, np.cumsum(rows) - rows):
        raise ValueError(f"{path}: the offsets do not follow from frames and bodies")
    return int(rows.sum())


def _map(path: Path, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """An array, memory-mapped, if its header and size agree with the shape that clips.csv implies."""
    if not path.is_file():
        raise ValueError(f"{path.parent} is not a whole store: {path.name} is missing")
    with path.open("rb") as file:
        try:
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError("a newer version of the format than a store uses")
            found, fortran, kind = np.lib.format.read_array_header_1_0(file)
        except Exception:  # numpy has Python's parser read the header, whose errors are of many types
            raise ValueError(f"{path} is damaged: it does not begin like the array of a store") from None
        start = file.tell()
    if (found, fortran, kind.name) != (shape, False, dtype):
        held = f"{kind.name} {shorten(found, 100)}"
        raise ValueError(f"{path} holds {held} where clips.csv and meta.json say {dtype} {shape}")
    expected, size = start + math.prod(shape) * kind.itemsize, path.stat().st_size
    if size != expected:
        state = "truncated" if size < expected else "damaged"
        raise ValueError(f"{path} is {state}: {size} bytes where its header says {expected}")
    return np.memmap(path, kind, "r", start, shape)

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
import mmap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from kinemask.checks import among
from kinemask.errors import shorten
from kinemask.plain_file import read_json
from kinemask.skeleton import Layout
from kinemask.store.clips import StoredClip
from kinemask.store.format import COLUMNS, DTYPES, EVERY, FORMAT, SCORES, SPLIT, VERSION, digest, sha256

if TYPE_CHECKING:
    from kinemask.store.dataset import ClipDataset

_KINDS = {str: "text", dict: "mapping"}
_MOST = 1 << 31  # frames or bodies of a clip; the product of two is an int64
_WIDEST = 1 << 28  # bytes of a column in memory, or this many times the size of clips.csv:
_SPARSEST = 64
_META = {"layout": dict, "classes": list, "splits": dict, "dtype": str, "sha256": dict}


@dataclass(frozen=True, eq=False, repr=False)
class Store:
    """An open store of N clips; made by `open_store`. `store[0]`, `store["take00"]` and iterating give `StoredClip`s.

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

    @overload
    def __getitem__(self, which: int | str) -> StoredClip: ...

    @overload
    def __getitem__(self, which: slice) -> list[StoredClip]: ...

    def __getitem__(self, which: int | str | slice) -> StoredClip | list[StoredClip]:
        """A clip by its number, from the end where negative, or by its name; a list of clips by a slice.

        Raises IndexError for a number, KeyError for a name that the store does not have.
        """
        if isinstance(which, slice):
            return [self[i] for i in range(*which.indices(len(self)))]
        if isinstance(which, str):
            if which not in self._places:
                raise KeyError(f"store {self.path} has no clip {which!r}{among(which, self.names)}")
            i = self._places[which]
        else:
            i = range(len(self))[which]  # a whole number of any type; IndexError beyond
        label = int(self.labels[i])
        return StoredClip(
            name=self.names[i],
            data=self.clip(i),
            label=label if label >= 0 else None,
            class_name=self.classes[label] if label >= 0 else "",
            fields={key: str(column[i]) for key, column in self.fields.items()},
            layout=self.layout,
            score=self.score(i),
        )

    def __iter__(self) -> Iterator[StoredClip]:
        return (self[i] for i in range(len(self)))

    def __contains__(self, name: object) -> bool:
        return name in self._places

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.names)}

    def __repr__(self) -> str:
        words = [f"{len(self):,} clips", f"{len(self.classes)} classes", self.layout.name]
        return f"<store {str(self.path)!r}: {', '.join(words)}; splits {', '.join(self.splits) or 'none'}>"

    def _repr_html_(self) -> str:
        """What the store is, and clips of two classes as moving skeletons."""
        from kinemask.player.notebook import cell

        return cell([self[i].moving for i in self.examples(2)], self.layout, repr(self).strip("<>"))

    def to_frame(self) -> Any:
        """A DataFrame of clips.csv, a row per clip, labels by their names. Needs pandas (extra `tables`)."""
        try:
            import pandas
        except ImportError:
            raise ValueError("to_frame needs pandas: pip install 'kinemask[tables]'") from None
        names = np.array([*self.classes, None], object)[self.labels]  # -1 is the last
        columns = {"name": self.names, "label": names, "frames": self.lengths, "bodies": self.bodies}
        return pandas.DataFrame(columns | self.fields)

    def dataset(
        self,
        split: str = EVERY,
        side: Literal["train", "test"] | None = None,
        transform: Callable[..., Any] | None = None,
    ) -> ClipDataset:
        """The clips of one side of a split, or all of them, as a PyTorch Dataset of pairs (clip, label).

        transform: what becomes of each clip, a tensor (M, T, V, C); `kinemask.Window` gives all one shape. Raises
        ValueError for an unknown split, and for a split without a side.
        """
        from kinemask.store.dataset import ClipDataset

        if (side is None) != (split == EVERY) or side not in (None, "train", "test"):
            raise ValueError(f"a data set is of all clips, or of a split and its side, train or test; not of {side!r}")
        chosen = np.arange(len(self)) if side is None else self.split(split)[side == "test"]
        return ClipDataset(self, chosen, transform)

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

    def examples(self, count: int, among: np.ndarray | None = None) -> np.ndarray:
        """The first clip of each of `count` classes spread evenly over those present; without labels, any clips.

        among: clip indices to choose from, all by default. Returns clip indices; fewer where there are fewer classes.
        """
        pool = np.arange(len(self)) if among is None else among
        spread = lambda n: np.linspace(0, n - 1, min(count, n)).round().astype(int)
        labels = self.labels[pool]
        present = np.unique(labels[labels >= 0])
        if not len(present):
            return pool[spread(len(pool))]
        return pool[[np.flatnonzero(labels == label)[0] for label in present[spread(len(present))]]]

    def duplicates(self, train: np.ndarray, test: np.ndarray) -> np.ndarray:
        """Which test clips are exact copies (same shape, same bytes) of a training clip: (len(test),) bool.

        train, test: clip indices. A clip's name, label and fields do not count.
        """
        return np.isin(self.contents[test], self.contents[train])

    @cached_property
    def contents(self) -> np.ndarray:
        """(N,) int64: the same number for clips that are exact copies of each other, and for no others."""
        shapes = np.stack([self.bodies, self.lengths], -1)
        first = np.ascontiguousarray(self.frames[self.offsets]).reshape(len(self), -1).view(np.uint8)
        looks = np.concatenate([shapes.view(np.uint8), first], -1)  # those that differ in this are no copies
        _, look, count = np.unique(_as_bytes(looks), return_inverse=True, return_counts=True)
        numbers: dict[bytes, int] = {}
        found = look.astype(np.int64)
        for i in np.flatnonzero(count[look] > 1).tolist():
            found[i] = len(self) + numbers.setdefault(digest(self.clip(i)), len(numbers))
        return found

    def verify(self) -> None:
        """ValueError where an array is no longer the one that was written (its SHA-256 differs)."""
        for name in ("frames.npy", "scores.npy") if self.scores is not None else ("frames.npy",):
            _check_sha256(self.path / name, self.meta)


def _as_bytes(rows: np.ndarray) -> np.ndarray:
    """Rows (N, bytes) of uint8 as (N,) values that compare by their bytes."""
    return np.ascontiguousarray(rows).view(f"V{rows.shape[1]}")[:, 0]


def release(frames: np.ndarray) -> None:
    """Give the memory of a memory-mapped array back; what is read again comes from the disk. No effect on others."""
    mapped = getattr(frames, "_mmap", None)
    if mapped is not None and hasattr(mapped, "madvise"):
        mapped.madvise(mmap.MADV_DONTNEED)


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

"""Writing a store: clip by clip, beside its place, renamed when whole."""

from __future__ import annotations

import csv
import errno
import glob
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from kinemask.files import in_use, partial_path, remove, sweep, sync_folder, try_lock
from kinemask.skeleton import Layout
from kinemask.store.format import COLUMNS, DTYPES, EVERY, FORMAT, SCORES, SIDES, SPLIT, VERSION, Clip, digest, sha256
from kinemask.store.holdout import hold_out
from kinemask.store.opening import Store, open_store

_ROWS = 1 << 16  # of scores, written at a time


@dataclass
class StoreWriter:
    """Writes a store clip by clip, never holding more than one; a context manager.

    Everything goes to a hidden folder beside `path`. `finish` renames it; leaving the context in any other
    way (an error, a full disk, Ctrl-C) removes it, and a store that was at `path` stays as it was. What a killed
    process left there is swept. Raises ValueError where `path` is taken, unless `overwrite` is set and it is a store.
    """

    path: Path
    layout: Layout
    dtype: str = "float32"
    overwrite: bool = False
    rejected: list[tuple[str, str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.path = Path(os.path.abspath(self.path))
        if self.dtype not in DTYPES:
            raise ValueError(f"a store's dtype is {' or '.join(DTYPES)}, not {self.dtype!r}")
        _settle(self.path)
        _check_target(self.path, self.overwrite)
        self._temporary = partial_path(self.path)
        self._lines: list[dict[str, str]] = []
        self._digests: list[bytes] = []
        self._names: set[str] = set()
        self._rows = 0
        self._scores: Any = None

    def __enter__(self) -> StoreWriter:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        sweep(self.path.parent, self.path.name)
        self._temporary.mkdir()
        try:
            self._file = (self._temporary / "frames.npy").open("wb")
            try_lock(self._file.fileno())
            _write_header(self._file, self._frames_shape, self.dtype)
        except BaseException:
            shutil.rmtree(self._temporary, ignore_errors=True)
            raise
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        for file in filter(None, (self._file, self._scores)):
            try:
                file.close()
            except OSError:
                assert error is not None  # buffered rows that no longer fit: `error` says so already
        shutil.rmtree(self._temporary, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            done = f"after {len(self._lines)} clips; nothing half-written was left behind"
            raise OSError(error.errno, f"the disk is full: store {self.path} failed {done}") from error

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, clip: Clip) -> None:
        """Appends a clip; a body without a single valid joint is absent and is not stored.

        Raises ValueError, and writes nothing of the clip, where shape, values or fields do not fit the store.
        """
        data, score = self._checked(clip)
        label = "" if clip.label is None else str(clip.label)
        for key, value in clip.fields.items():
            if key in COLUMNS:
                raise ValueError(f"clip {clip.name}: a field may not be called {key!r}, a column of every store")
            if key == SPLIT + EVERY:
                raise ValueError(f"clip {clip.name}: a split may not be called {EVERY!r}, which stands for every clip")
            if key.startswith(SPLIT) and value not in SIDES:
                raise ValueError(f"clip {clip.name}: {key} is {value!r}; it must be train, test or empty")
        if clip.name in self._names:
            raise ValueError(f"clip {clip.name}: another clip has the same name")
        self._file.write(data.data)
        self._write_scores(score, rows=data.shape[0] * data.shape[1])
        bodies, frames = data.shape[:2]
        fixed = {"frames": str(frames), "bodies": str(bodies), "offset": str(self._rows)}
        self._lines.append({"name": clip.name, "label": label, **fixed, **clip.fields})
        self._digests.append(digest(data))
        self._names.add(clip.name)
        self._rows += bodies * frames

    def reject(self, kind: str, name: str, reason: str) -> None:
        """Notes in rejected.csv that a file, a body, … (`kind`) was left out."""
        self.rejected.append((kind, name, reason))

    def finish(self, classes: Iterable[str], splits: Mapping[str, str], meta: Mapping[str, Any]) -> None:
        """Adds the validation splits, writes the tables and puts the store in its place.

        classes: the names that labels index. splits: descriptions of the fields "split:NAME". meta: further
        entries of meta.json (data set, citation, units, source, cleaning, …).
        """
        if not self._lines:
            raise ValueError(f"no usable clip for the store {self.path}")
        if EVERY in splits:
            raise ValueError(f"store {self.path}: a split may not be called {EVERY!r}, which stands for every clip")
        classes = list(classes)
        for line in self._lines:
            if line["label"] and not 0 <= int(line["label"]) < len(classes):
                raise ValueError(f"clip {line['name']}: label {line['label']} is none of {len(classes)} classes")
        arrays = {"frames.npy": (self._file, self._frames_shape, self.dtype)}
        if self._scores is not None:
            arrays["scores.npy"] = (self._scores, self._frames_shape[:2], SCORES)
        for file, shape, dtype in arrays.values():
            _write_header(file, shape, dtype)
            _flush(file)
        _write_csv(self._temporary / "rejected.csv", ("kind", "name", "reason"), self.rejected)
        described = self._splits(splits)
        keys = dict.fromkeys((*COLUMNS, *(key for line in self._lines for key in line)))
        lines = ([line.get(key, "") for key in keys] for line in self._lines)
        _write_csv(self._temporary / "clips.csv", keys, lines)
        own = {
            "format": FORMAT,
            "version": VERSION,
            "kinemask": version("kinemask"),
            "layout": self.layout.to_dict(),
            "classes": classes,
            "splits": described,
            "dtype": self.dtype,
            "sha256": {name: sha256(self._temporary / name) for name in (*arrays, "clips.csv")},
        }
        assert not set(own) & set(meta), "finish: meta repeats an entry that the store writes itself"
        with (self._temporary / "meta.json").open("w", encoding="utf-8") as file:
            json.dump({**own, **meta}, file, indent=1, ensure_ascii=False)
            _flush(file)
        _put_in_place(self._temporary, self.path, self.overwrite)

    def _checked(self, clip: Clip) -> tuple[np.ndarray, np.ndarray | None]:
        """The clip's arrays as they will be stored: one kind of zero and of NaN, absent bodies gone."""
        joints = (self.layout.num_joints, self.layout.dims)
        if clip.data.ndim != 4 or clip.data.shape[2:] != joints or 0 in clip.data.shape:
            raise ValueError(
                f"clip {clip.name}: shape {clip.data.shape} where layout {self.layout.name} needs"
                f" (bodies, frames, {joints[0]}, {joints[1]})"
            )
        if np.isinf(clip.data).any():
            raise ValueError(f"clip {clip.name}: infinite coordinates")
        with np.errstate(over="ignore"):
            data = clip.data.astype(self.dtype)
        if np.isinf(data).any():
            raise ValueError(f"clip {clip.name}: coordinates too large for {self.dtype}")
        data[data == 0] = 0
        data[np.isnan(data).any(axis=-1)] = np.nan
        present = np.flatnonzero(~np.isnan(data).all(axis=(1, 2, 3)))
        if not present.size:
            raise ValueError(f"clip {clip.name}: every joint of every frame is missing")
        return np.ascontiguousarray(data[present]), self._checked_score(clip, present)

    def _checked_score(self, clip: Clip, present: np.ndarray) -> np.ndarray | None:
        if clip.score is None:
            return None
        if clip.score.shape != clip.data.shape[:3]:
            raise ValueError(f"clip {clip.name}: scores of shape {clip.score.shape} for data {clip.data.shape}")
        with np.errstate(over="ignore"):
            score = clip.score[present].astype(SCORES)
        if np.isinf(score).any():
            raise ValueError(f"clip {clip.name}: infinite confidences, or too large for {SCORES}")
        return np.ascontiguousarray(score)

    def _write_scores(self, score: np.ndarray | None, rows: int) -> None:
        """Appends a clip's scores, NaN where it has none; the file begins with the first clip that has some."""
        joints = self.layout.num_joints
        if self._scores is None and score is not None:
            self._scores = (self._temporary / "scores.npy").open("wb")
            _write_header(self._scores, (0, joints), SCORES)
            for start in range(0, self._rows, _ROWS):
                self._scores.write(np.full((min(_ROWS, self._rows - start), joints), np.nan, SCORES).data)
        if self._scores is not None:
            self._scores.write((np.full((rows, joints), np.nan, SCORES) if score is None else score).data)

    @property
    def _frames_shape(self) -> tuple[int, ...]:
        return self._rows, self.layout.num_joints, self.layout.dims

    def _splits(self, descriptions: Mapping[str, str]) -> dict[str, dict[str, Any]]:
        """Adds the columns of the validation splits; returns what meta.json says of every split."""
        given = {key.removeprefix(SPLIT) for line in self._lines for key in line if key.startswith(SPLIT)}
        descriptions = dict.fromkeys(sorted(given), "given with the clips") | dict(descriptions)
        column = lambda key: [line.setdefault(key, "") for line in self._lines]
        names, groups, kind = column("name"), column("subject"), "subjects"
        if not any(groups) and any("recording" in line for line in self._lines):
            groups, kind = column("recording"), "recordings"  # clips cut from one stay together
        for name in [*descriptions]:
            if not name.endswith("-val") and f"{name}-val" not in descriptions:
                sides, held = hold_out(column(SPLIT + name), names, groups, self._digests, kind)
                descriptions[f"{name}-val"] = f"validation within {name}: {held}"
                for line, side in zip(self._lines, sides, strict=True):
                    line[f"{SPLIT}{name}-val"] = side
        described = {}
        for name in sorted(descriptions):
            sides = column(SPLIT + name)
            counts = {side: sides.count(side) for side in ("train", "test")}
            described[name] = {"description": descriptions[name], **counts}
        return described


def write_store(
    path: str | Path,
    clips: Iterable[Clip],
    layout: Layout,
    classes: Iterable[str],
    *,
    splits: Mapping[str, str] | None = None,
    meta: Mapping[str, Any] | None = None,
    rejected: Iterable[tuple[str, str, str]] = (),
    dtype: str = "float32",
    overwrite: bool = False,
) -> Store:
    """Writes clips as a store and opens it; see `StoreWriter` for what it raises and guarantees.

    splits: descriptions of the splits, which are the clips' fields "split:NAME" (also those not described).
    rejected: (kind, name, reason) of what was left out.
    """
    with StoreWriter(Path(path), layout, dtype, overwrite) as writer:
        for clip in clips:
            writer.add(clip)
        for kind, name, reason in rejected:
            writer.reject(kind, name, reason)
        writer.finish(classes, splits or {}, meta or {})
    return open_store(path)


def _write_header(file: Any, shape: tuple[int, ...], dtype: str) -> None:
    """The .npy header; numpy pads it so that the final number of rows fits in the place of the first."""
    header = np.lib.format.header_data_from_array_1_0(np.empty(0, dtype))
    header["shape"] = shape
    file.seek(0)
    np.lib.format.write_array_header_1_0(file, header)
    file.seek(0, os.SEEK_END)


def _flush(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _write_csv(path: Path, header: Iterable[str], lines: Iterable[Iterable[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(lines)
        _flush(file)


def _check_target(path: Path, overwrite: bool) -> None:
    """ValueError unless nothing, an empty folder, or (with `overwrite`) a store is at `path`."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not overwrite:
        raise ValueError(f"{path} exists already; choose another place, or overwrite it (--overwrite)")
    try:
        meta = json.loads((path / "meta.json").read_text(encoding="utf-8"))
        is_store = isinstance(meta, dict) and meta.get("format") == FORMAT
    except (OSError, ValueError):
        is_store = False
    if not is_store:
        raise ValueError(f"{path} is not a store, so it will not be overwritten; remove it by hand if you mean to")


def _put_in_place(temporary: Path, path: Path, overwrite: bool) -> None:
    _check_target(path, overwrite)
    sync_folder(temporary)
    old = temporary.with_name(temporary.name.replace(".partial-", ".old-"))
    if path.exists():
        path.rename(old)
    try:
        temporary.rename(path)
    except BaseException:
        if old.exists():
            old.rename(path)
        raise
    sync_folder(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def _settle(path: Path) -> None:
    """Ends what a process left that was killed in `_put_in_place`: the old store is put back, or is not needed."""
    for old in path.parent.glob(f".{glob.escape(path.name)}.old-*"):
        if path.exists():
            remove(old)
        elif not in_use(old.with_name(old.name.replace(".old-", ".partial-"))):
            old.rename(path)

"""What a recogniser is to look at: recordings of stores, folders and files, in memory, with its joints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from kinemask.errors import shorten
from kinemask.preparation.detection import detect
from kinemask.preparation.prepare import count_workers
from kinemask.preparation.reading import Source, name_item
from kinemask.preparation.shaping import call_people
from kinemask.readers.joint_names import listed, match_joints
from kinemask.skeleton import Layout
from kinemask.store.format import Clip
from kinemask.store.opening import Store, open_store

LEAST = 0.5  # of a layout's joints have to be there


@dataclass(frozen=True, eq=False)
class Recording:
    """Somebody's recording: data (M, T, V, C) float32, NaN where missing, that begin at frame `first` of it.

    label: what its source calls it, "" where it does not. fps: frames a second; None where unknown.
    """

    name: str
    data: np.ndarray
    label: str = ""
    fps: float | None = None
    first: int = 0


@dataclass(eq=False)
class Inputs:
    """Recordings of several inputs, read one input after the other.

    layout: of the joints that are wanted; None takes those of the first input, and so does one for which `or_else` says
    that they will do as well. options: of `open_source`,
    None where not given; usual: those of earlier recordings, for what can be read with them.
    said: sentences on how inputs were read; failed: on recordings that could not be.
    """

    paths: Sequence[str | Path]
    layout: Layout | None = None
    format: str | None = None
    given_layout: str | Path | Layout | None = None
    fps: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    usual: Mapping[str, Any] = field(default_factory=dict)
    or_else: Callable[[Layout], bool] | None = None
    said: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[Recording]:
        """Each recording in which somebody is seen; ValueError where an input cannot be read at all, or none is."""
        if not self.paths:
            raise ValueError("there is nothing to look at: give stores, folders or files")
        if self.fps is not None and not 0 < self.fps < 10_000:
            raise ValueError(f"fps is {self.fps:g}; it should be frames a second, such as 30")
        found = 0
        for path in map(Path, self.paths):
            for recording in self._of_store(path) if (path / "meta.json").is_file() else self._of_files(path):
                if not np.isfinite(recording.data).all(-1).any():
                    self.failed.append(f"{recording.name}: no joint is seen in any frame")
                    continue
                found += 1
                yield recording
        if not found:
            first = f"; the first: {self.failed[0]}" if self.failed else ""
            raise ValueError(f"no recording in {', '.join(map(str, self.paths))} can be looked at{first}")

    def _of_store(self, path: Path) -> Iterator[Recording]:
        store = open_store(path)
        useless = {"format": self.format, "layout": self.given_layout, **self.options}
        if named := [f"--{name.replace('_', '-')}" for name, value in useless.items() if value is not None]:
            raise ValueError(f"{path} is a store, so {', '.join(named)} would have no effect")
        fit = self._fit(store.layout, path)
        for i, name in enumerate(store.names):
            label = store.classes[store.labels[i]] if store.labels[i] >= 0 else ""
            yield Recording(name, fit(np.asarray(store.clip(i), np.float32)), label, self._fps(store, i))

    def _fps(self, store: Store, i: int) -> float | None:
        return self.fps or _positive(store.fields["fps"][i] if "fps" in store.fields else "")

    def _of_files(self, path: Path) -> Iterator[Recording]:
        source = self._open(path)
        fit = self._fit(source.layout, path)
        classes = source.scan.classes
        self.said += source.scan.unlisted
        failed = lambda item, failure: self.failed.append(shorten(name_item(item, failure)))
        for clip in source.clips(count_workers(None), failed):
            label = "" if clip.label is None else classes[clip.label]
            fps = self.fps or _positive(clip.fields.get("fps", ""))
            self.said += [f"{clip.name}: {doubt}" for doubt in clip.doubts]
            yield Recording(clip.name, fit(clip.data), label, fps)

    def _open(self, path: Path) -> Source:
        """An input as its reader reads it, in the layout that is wanted where the reader can."""
        given = {name: value for name, value in self.options.items() if value is not None}
        layouts = [self.given_layout] if self.given_layout is not None or self.layout is None else [self.layout, None]
        ways = [(layout, options) for layout in layouts for options in ({**self.usual, **given}, given)]
        error: ValueError | None = None
        for layout, options in ways if self.usual else ways[::2]:
            try:
                found = detect(path, format=self.format, layout=layout, **options)
            except ValueError as reason:
                error = reason
                continue
            without = [f"{name} {value}" for name, value in self.usual.items() if name not in options]
            said = f"; not with {', '.join(without)}, as the clips learned from" if without else ""
            self.said.append(f"{path} is read as {found}{said}")
            return found.source
        assert error is not None
        raise error

    def _fit(self, of: Layout, path: Path) -> Callable[[np.ndarray], np.ndarray]:
        """A function that takes joints of a layout to those of the one that is wanted."""
        if self.layout is None or (self.or_else is not None and self.or_else(of)):
            self.layout = of
        self.or_else = None  # the first input has settled it
        if of.to_dict() == self.layout.to_dict():
            return lambda data: data
        picked, said = match_layouts(of, self.layout)
        self.said.append(f"{path}: {said}")
        wanted = self.layout
        return lambda data: take_joints(data, picked, wanted)


def take_joints(data: np.ndarray, picked: Sequence[int | None], wanted: Layout) -> np.ndarray:
    """Joints of a layout (M, T, V, C) out of those of another, as `match_layouts` has picked them; NaN for none."""
    out = np.full((*data.shape[:2], wanted.num_joints, wanted.dims), np.nan, np.float32)
    for v, at in enumerate(picked):
        if at is not None:
            out[:, :, v] = data[:, :, at]
    return out


def match_layouts(of: Layout, to: Layout) -> tuple[list[int | None], str]:
    """For each joint of `to`, which of `of` has its name, None for none; and a sentence on it.

    Raises ValueError where dimensions differ, or fewer than half of the joints are there.
    """
    if of.dims != to.dims:
        raise ValueError(f"the recogniser is of {to.dims}D joints ({to.name}); these are {of.dims}D ({of.name})")
    picked = match_joints(of.joints, to)
    absent = [joint for joint, at in zip(to.joints, picked, strict=True) if at is None]
    here = f"{to.num_joints - len(absent)} of the {to.num_joints} joints of {to.name}"
    if len(absent) > LEAST * to.num_joints:
        raise ValueError(f"the recogniser is of layout {to.name}; {of.name} has only {here}, by name")
    lacks = f"; without {listed(absent)}" if absent else ""
    return picked, f"joints of {of.name} are matched by name: {here}{lacks}"


def people_of(recording: Recording) -> Iterator[Recording]:
    """A recording of each person, NAME#1, NAME#2, …, from the first to the last frame in which they are seen."""
    clip = Clip(recording.name, recording.data, None, {})
    for m, name in enumerate(call_people(clip)):
        body = recording.data[m : m + 1]
        at = np.flatnonzero(np.isfinite(body[0]).all(-1).any(-1))
        if len(at):
            frames = slice(int(at[0]), int(at[-1]) + 1)
            alone = replace(recording, name=f"{recording.name}#{name}", data=body[:, frames])
            yield replace(alone, first=recording.first + frames.start)


def _positive(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None

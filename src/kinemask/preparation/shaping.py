"""Clips in the store's convention out of what readers give: units, the vertical, which people."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from kinemask.readers import Failure, Item, ReadOptions
from kinemask.readers.cleaning import drop_unseen, find_origin, torso_length
from kinemask.readers.own import Part
from kinemask.skeleton import Layout
from kinemask.store.format import Clip

Unit = Literal["m", "cm", "mm", "in", "ft"]
Up = Literal["x", "y", "z", "-x", "-y", "-z"]

METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001, "in": 0.0254, "ft": 0.3048}
TORSO = (0.1, 1.5)  # metres, of people
FAR_OFF = (0.01, 10.0)  # metres: beyond, the unit is another
MISSING = 0.5  # of a clip's joints
_TURNS = {  # rows: the new x, y, z in old axes; each is a rotation
    "y": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "z": ((1, 0, 0), (0, 0, 1), (0, -1, 0)),
    "x": ((0, -1, 0), (1, 0, 0), (0, 0, 1)),
    "-y": ((1, 0, 0), (0, -1, 0), (0, 0, -1)),
    "-z": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    "-x": ((0, 1, 0), (-1, 0, 0), (0, 0, 1)),
}


@dataclass(frozen=True)
class Shaping:
    """What is made of the clips that a reader gives; nothing, by default.

    unit: of 3D coordinates, where not metres; a column `unit` of `clips.csv` goes first. up: the axis that points up,
    where it is not y (in 2D: where it is, as images have y down). bodies: how many people to keep, those most seen.
    per_person: a clip of each person. checked: whether the units are a user's, who may err.
    """

    unit: Unit | None = None
    up: Up | None = None
    bodies: int | None = None
    per_person: bool = False
    checked: bool = False

    def check(self, layout: Layout) -> None:
        """ValueError where this cannot be done to clips of a layout."""
        if self.unit is not None and self.unit not in METRES:
            raise ValueError(f"unit is {self.unit!r}; it must be one of {', '.join(METRES)}")
        if self.up is not None and self.up not in _TURNS:
            raise ValueError(f"up is {self.up!r}; it must be one of {', '.join(_TURNS)}")
        if self.bodies is not None and self.bodies < 1:
            raise ValueError(f"bodies is {self.bodies}; at least one person must be kept")
        if layout.dims == 2 and self.unit is not None:
            raise ValueError(
                f"layout {layout.name} is 2D, so unit has no effect: the image's height gives the scale"
                " (columns image_width and image_height of clips.csv)"
            )
        if layout.dims == 2 and self.up not in (None, "y", "-y"):
            raise ValueError(f"layout {layout.name} is 2D: up may be y, or -y as in images, not {self.up}")


@dataclass(frozen=True)
class ShapedRead:
    """A reader's `read`, with its clips shaped; of an item that is a `Part`, only that part."""

    read: Callable[[Item, ReadOptions], Clip | Iterator[Clip | Failure]]
    shaping: Shaping
    layout: Layout

    def __call__(self, item: Item, options: ReadOptions) -> Iterator[Clip | Failure]:
        part = item.content if isinstance(item.content, Part) else Part(item.name)
        whole = item if part.whole == item.name else replace(item, name=part.whole, content=None)
        results = self.read(whole, options)
        wanted = f"{part.whole}/{part.video}" if part.video else None
        names: list[str] = []
        for result in [results] if isinstance(results, Clip) else results:
            names.append(result.name)
            if wanted in (None, result.name):
                yield from self._shape(result, item, part) if isinstance(result, Clip) else [result]
        if wanted is not None and wanted not in names:
            there = ", ".join(name.removeprefix(f"{part.whole}/") for name in names[:20])
            yield Failure(f"{item.path} has no recording {part.video}; it has: {there}", name=item.name)

    def _shape(self, clip: Clip, item: Item, part: Part) -> Iterator[Clip | Failure]:
        try:
            clip = keep_bodies(in_convention(clip, self.shaping, self.layout), self.layout, self.shaping.bodies)
            if part.person:
                yield replace(pick(clip, self.layout, part.person), name=item.name)
            elif self.shaping.per_person:
                names = call_people(clip)
                yield from (pick(clip, self.layout, name, first=name == names[0]) for name in names)
            else:
                yield clip
        except ValueError as error:
            yield Failure.of(error, item.name if part.person else clip.name if clip.name != item.name else "")


def in_convention(clip: Clip, shaping: Shaping, layout: Layout) -> Clip:
    """A clip in metres and y up, from the unit and the axis up that a shaping tells."""
    unit, up = clip.fields.get("unit") or shaping.unit, shaping.up
    data = clip.data
    if layout.dims == 2:
        return replace(clip, data=data * np.array([1, -1], np.float32)) if up == "y" else clip
    if unit is not None and unit not in METRES:
        raise ValueError(f"unit is {unit[:20]!r}; it should be one of {', '.join(METRES)}")
    doubts = ()
    if shaping.checked:
        doubts = check_torso(torso_length(data, layout), unit)
    if unit not in (None, "m"):
        data = (data * METRES[unit]).astype(np.float32)
    if up not in (None, "y"):
        data = (data @ np.array(_TURNS[up], np.float64).T).astype(np.float32)
    return replace(clip, data=data, doubts=clip.doubts + doubts)


def check_torso(length: float, unit: str | None) -> tuple[str, ...]:
    """Doubts about a torso of this length (NaN: unknown) in a unit (None: taken for metres).

    Raises ValueError where it cannot be the unit.
    """
    metres = length * METRES[unit or "m"]
    if not length > 0 or TORSO[0] <= metres <= TORSO[1]:
        return ()
    fitting = [name for name, factor in METRES.items() if TORSO[0] <= length * factor <= TORSO[1]]
    fitting.sort(key=lambda name: (name in ("in", "ft"), abs(math.log(length * METRES[name] / 0.5))))
    said = f"the median torso is {metres:.3g} m long, where people's is 0.1 to 1.5 m"
    if fitting:
        said += f"; in {' or '.join(fitting[:2])} it would be a person's: --unit {fitting[0]}, or a column unit"
    if (metres > FAR_OFF[1] or (metres < FAR_OFF[0] and unit is not None)) and unit != "m":
        raise ValueError(said if fitting else f"{said}; --unit m takes it as it is")
    return (said,)


def keep_bodies(clip: Clip, layout: Layout, most: int | None) -> Clip:
    """A clip with its most seen bodies, in their order, the first one's root as the origin."""
    if most is None or len(clip.data) <= most:
        return clip
    seen = (~np.isnan(clip.data).all((2, 3))).sum(1)
    kept = np.sort(np.argsort(-seen, kind="stable")[:most])
    names = call_people(clip)
    gone = [m for m in range(len(seen)) if m not in kept]
    notes = tuple(f"dropped body {names[m]}: seen in {seen[m]} frames, and {most} kept" for m in gone)
    return replace(_take(clip, layout, kept), notes=clip.notes + notes)


def pick(clip: Clip, layout: Layout, name: str, first: bool = True) -> Clip:
    """The clip of one person, from the first to the last frame in which they are seen; first: it has the notes."""
    names = call_people(clip)
    if name not in names:
        joined = " (those who are never seen in one frame are one)" if any("joined" in n for n in clip.notes) else ""
        raise ValueError(f"there is no person {name} in {clip.name}; there are: {', '.join(names[:20])}{joined}")
    alone = _take(clip, layout, np.array([names.index(name)]))
    at = np.flatnonzero(~np.isnan(alone.data).all((0, 2, 3)))
    frames = slice(at[0], at[-1] + 1)
    score = None if alone.score is None else alone.score[:, frames]
    fields = {"recording": clip.name, "person": name, **clip.fields}
    said = {} if first else {"notes": (), "doubts": ()}
    return replace(alone, name=f"{clip.name}#{name}", data=alone.data[:, frames], score=score, fields=fields, **said)


def call_people(clip: Clip) -> tuple[str, ...]:
    """A name for each body: the source's, or its number from 1."""
    numbers = tuple(str(m + 1) for m in range(len(clip.data)))
    return clip.people if len(clip.people) == len(numbers) else numbers


def _take(clip: Clip, layout: Layout, bodies: np.ndarray) -> Clip:
    data, _ = drop_unseen(clip.data[bodies])
    origin, _ = find_origin(data, layout.origin)
    score = None if clip.score is None else clip.score[bodies]
    names = call_people(clip)
    return replace(clip, data=(data - origin).astype(np.float32), score=score, people=tuple(names[m] for m in bodies))


def stance(data: np.ndarray, layout: Layout) -> np.ndarray:
    """Direction (C,) from the feet, or else the hips, to the head of the first body of (M, T, V, C), of length 1.

    NaN where either is never seen.
    """
    head, legs = layout.parts["head"], (*layout.parts["left_leg"], *layout.parts["right_leg"])
    upper, lower = layout.torso_length
    for top, bottom in ((head, legs), (head, lower), (upper, legs), (upper, lower)):
        ways = _middle(data[0], top) - _middle(data[0], bottom)
        ways = ways[~np.isnan(ways).any(-1)]
        if len(ways) and (length := np.linalg.norm(way := np.median(ways, axis=0))) > 0:
            return way / length
    return np.full(data.shape[-1], np.nan)


def _middle(body: np.ndarray, joints: Sequence[int]) -> np.ndarray:
    """(T, V, C) → (T, C) mean of those of the joints that are seen, NaN where none is."""
    chosen = body[:, list(joints)].astype(np.float64)
    seen = ~np.isnan(chosen).any(-1, keepdims=True)
    count = seen.sum(1)
    return np.where(count > 0, np.where(seen, chosen, 0).sum(1) / np.maximum(count, 1), np.nan)


def doubt_gravity(ways: np.ndarray, up: str | None) -> str:
    """A sentence where the heads (N, C directions to them) of most clips are not above the feet; else ""."""
    ways = ways[~np.isnan(ways).any(-1)]
    wrong = ways[:, 1] < 0.5
    if wrong.sum() * 2 <= len(ways) or not len(ways):
        return ""
    middle = np.median(ways[wrong], axis=0)
    axis = int(np.abs(middle).argmax())
    name = "-" * bool(middle[axis] < 0) + "xyz"[axis]
    said = f"in {wrong.sum():,} of {len(ways):,} clips heads are not above feet, but in the direction of {name}"
    if up is not None:
        return f"{said}, with --up {up}"
    if ways.shape[1] == 2:
        return f"{said}: the store's y is up, and images' down" + (" (--up y)" if name == "-y" else "")
    return f"{said}: --up {name}"

"""Clips as the player takes them: the data of its script, and what the page says beside it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kinemask.player.camera import Camera
from kinemask.skeleton import Layout

RATE = 30.0  # frames a second, of a clip whose rate is not known
STILL = (400, 300)  # width and height of the picture without a script


@dataclass(frozen=True, eq=False)
class Moving:
    """A clip to play. data (M, T, V, C), NaN where missing; label: "" where unlabelled; fps: None where unknown."""

    name: str
    data: np.ndarray
    label: str = ""
    fps: float | None = None


@dataclass(frozen=True)
class Bone:
    """A line of a still picture; kind: its class in base.css."""

    x1: float
    y1: float
    x2: float
    y2: float
    kind: str


@dataclass(frozen=True)
class Pane:
    """One picture of a player. clip: which of the scene; shows: seen or predicted; still: what it shows at first."""

    clip: int
    shows: str
    title: str
    about: str
    name: str
    still: list[Bone]


@dataclass(frozen=True)
class Player:
    """Pictures under one set of controls. scene: the id of its data; name: what moves, for those who do not see it."""

    scene: str
    name: str
    turns: bool
    panes: list[Pane]


@dataclass(frozen=True)
class Shown:
    """A player of clips as they were recorded. data: of its scene; sided: whether left and right are told apart."""

    player: Player
    data: dict[str, Any]
    sided: bool
    assumed: bool  # whether the rate of a clip was not known


def show(clips: Sequence[Moving], layout: Layout, scene: str = "scene") -> Shown:
    """Clips side by side, in real time, with what is missing left out."""
    sides = sides_of(layout)
    kinds = [{"l": "left", "r": "right"}.get(side, "middle") for side in sides]
    panes = [
        Pane(
            clip=i,
            shows="seen",
            title=clip.label or clip.name,
            about=_about(clip),
            name=f"{clip.label} {clip.name}".strip(),
            still=still(clip.data, layout.edges, kinds),
        )
        for i, clip in enumerate(clips)
    ]
    data = {**about(layout), "kind": "", "filled": False, "sides": sides, "clips": [_data(clip) for clip in clips]}
    player = Player(scene, ", ".join(pane.name for pane in panes), layout.dims == 3, panes)
    return Shown(player, data, "l" in sides, any(clip.fps is None for clip in clips))


def about(layout: Layout) -> dict[str, Any]:
    """What a scene tells of its layout."""
    return {"dims": layout.dims, "edges": layout.edges, "joints": layout.num_joints}


def sides_of(layout: Layout) -> str:
    """Of each joint l, r or m: left, right or the middle."""
    sides = ["m"] * layout.num_joints
    for left, right in layout.pairs:
        sides[left], sides[right] = "l", "r"
    return "".join(sides)


def _about(clip: Moving) -> str:
    bodies, frames = clip.data.shape[:2]
    people = "1 person" if bodies == 1 else f"{bodies} people"
    named = [clip.name] if clip.label else []
    return "; ".join([*named, f"{frames} frames, {frames / (clip.fps or RATE):.1f} s", people])


def _data(clip: Moving) -> dict[str, Any]:
    seen = np.asarray(np.isfinite(clip.data).all(-1))
    data = np.where(seen[..., None], clip.data, 0)
    unit = unit_of(data)
    bodies = [{"positions": pack(x, unit), "seen": digits(s)} for x, s in zip(data, seen, strict=True)]
    return {
        "name": clip.name,
        "label": clip.label,
        "T": clip.data.shape[1],
        "rate": clip.fps or RATE,
        "unit": unit,
        "bodies": bodies,
    }


def still(data: np.ndarray, edges: Sequence[tuple[int, int]], kinds: Sequence[str]) -> list[Bone]:
    """Bones of the first frame of a clip (M, T, V, C) in which most is seen, on a picture of size `STILL`.

    kinds: of each joint; a bone has that of its end away from the middle. What is missing (NaN) is left out.
    """
    t = int(np.isfinite(data).all(-1).sum((0, 2)).argmax())
    places = Camera.of(data).place(data[:, t], *STILL)
    bones = []
    for body in places:
        for a, b in edges:
            if np.isfinite(body[[a, b]]).all():
                kind = kinds[b] if kinds[a] == "middle" else kinds[a]
                (x1, y1), (x2, y2) = body[[a, b]].tolist()
                bones.append(Bone(x1, y1, x2, y2, kind))
    return bones


def fps_of(fields: Mapping[str, str]) -> float | None:
    """Frames a second, where the fields of a clip tell it in a column `fps`."""
    try:
        rate = float(fields.get("fps", ""))
    except ValueError:
        return None
    return rate if 0 < rate < float("inf") else None


def unit_of(values: np.ndarray) -> float:
    """What `pack` counts in, so that all values fit."""
    return float(np.abs(values).max(initial=0)) / 32000 or 1.0


def pack(values: np.ndarray, unit: float) -> str:
    """Numbers as little-endian 16-bit integers in units of `unit`, in base64."""
    return base64.b64encode(np.rint(values / unit).clip(-32767, 32767).astype("<i2").tobytes()).decode()


def digits(values: np.ndarray) -> str:
    """Small integers, one character each; nothing where all are 1 (every joint seen)."""
    flat = np.asarray(values).astype(int).ravel()
    return "" if (flat == 1).all() else "".join(map(str, flat))

"""Geometry of what changes from one run to another, and of maps of numbers; as `charts`, and drawn beside these."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kinemask.reports.charts import FEW_CLASSES, Tick, number, short


@dataclass(frozen=True)
class Change:
    """A cell of a difference of confusion matrices: its corner, gained or lost, how deep its colour, its number."""

    x: float
    y: float
    kind: str
    depth: float
    number: str
    about: str


@dataclass(frozen=True)
class Changes:
    """A difference of confusion matrices. few: whether cells have room for their numbers."""

    width: float
    height: float
    left: float
    top: float
    across: int
    down: int
    cell: int
    font: int
    few: bool
    names: list[Tick]
    numbers: list[Tick]
    changes: list[Change]


def changes(rows: Sequence[str], columns: Sequence[str], values: np.ndarray) -> Changes:
    """Points (rows, columns) that a share of a row's clips has gained or lost; the largest has the deepest colour."""
    few = len(columns) <= FEW_CLASSES + 1
    cell, font = (34, 11) if few else (14, 11)
    left, top = 12 + max(len(short(name, 30)) + 4 for name in rows) * font * 0.58, 34
    largest = float(np.abs(values).max()) or 1.0
    middle = lambda i: (i + 0.5) * cell
    signed = lambda value: f"{value:+.0f}".replace("-", "−")
    return Changes(
        width=left + max(len(columns) * cell, 140) + 4,
        height=top + len(rows) * cell + 4,
        left=left,
        top=top,
        across=len(columns) * cell,
        down=len(rows) * cell,
        cell=cell,
        font=font,
        few=few,
        names=[Tick(top + middle(i) + font * 0.36, f"{short(name, 30)} {i + 1}") for i, name in enumerate(rows)],
        numbers=[Tick(left + middle(i), str(i + 1) if name in rows else "other") for i, name in enumerate(columns)],
        changes=[
            Change(
                x=left + column * cell,
                y=top + row * cell,
                kind="gained" if values[row, column] > 0 else "lost",
                depth=abs(float(values[row, column])) / largest,
                number=signed(values[row, column]) if abs(values[row, column]) >= 0.5 else "",
                about=f"{rows[row]} taken for {columns[column]}: {signed(values[row, column])} points",
            )
            for row, column in np.argwhere(values)
        ],
    )


@dataclass(frozen=True)
class Gain:
    """A bar to the right of the middle, or to the left: where it starts and how long it is, in percent of the room."""

    name: str
    label: str
    kind: str
    start: float
    length: float
    text: str


def gain_bars(gains: Sequence[tuple[str, float, str]]) -> list[Gain]:
    """Bars of (name, points, remark), about a middle of 0; the largest takes half of the room."""
    largest = max((abs(value) for _, value, _ in gains), default=0.0) or 1.0
    return [
        Gain(
            name=name,
            label=short(name, 40),
            kind="gained" if value >= 0 else "lost",
            start=50 + min(50 * value / largest, 0),
            length=50 * abs(value) / largest,
            text=f"{value:+.1f} {remark}".replace("-", "−"),
        )
        for name, value, remark in gains
    ]


@dataclass(frozen=True)
class Shade:
    """Cells of a map that have one depth of colour, as a path."""

    depth: float
    path: str


@dataclass(frozen=True)
class Heat:
    """A square map of numbers; top: the one of the deepest colour, as text."""

    title: str
    top: str
    unit: str
    width: float
    height: float
    left: float
    names: list[Tick]
    shades: list[Shade]


_DEPTHS = 12
_HEAT = 300  # side of a map


def heat(title: str, values: np.ndarray, names: Sequence[str], unit: str) -> Heat:
    """A map (n, n) of numbers from 0 up, with names beside the rows, or some of them."""
    n, largest = len(values), float(values.max()) or 1.0
    cell, font = _HEAT / n, 10
    every = max(1, math.ceil(font / cell))
    shown = [(i, short(name, 18)) for i, name in enumerate(names) if i % every == 0]
    left = 8 + max(len(name) for _, name in shown) * font * 0.58
    depth = np.rint(_DEPTHS * values / largest).astype(int)
    side = f"h{cell:.2f}v{cell:.2f}h-{cell:.2f}z"
    shades = []
    for level in range(1, _DEPTHS + 1):
        cells = np.argwhere(depth == level)
        drawn = "".join(f"M{left + column * cell:.2f},{row * cell:.2f}{side}" for row, column in cells)
        if drawn:
            shades.append(Shade(level / _DEPTHS, drawn))
    ticks = [Tick((i + 0.5) * cell + font * 0.36, name) for i, name in shown]
    return Heat(title, number(largest), unit, left + _HEAT, _HEAT, left, ticks, shades)

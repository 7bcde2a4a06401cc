"""Curves of a comparison: accuracy over a swept setting or over training, with error bars, as SVG files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from kinemask.comparison.table import Entry, cell
from kinemask.files import write_atomically
from kinemask.reports import charts
from kinemask.reports.charts import Swept
from kinemask.reports.pages import render
from kinemask.reports.published import Place

_Points = dict[str, dict[str, list[Entry]]]  # by series, then by the value on the axis


def swept(entries: Sequence[Entry], unit: str) -> list[Swept]:
    """A chart for each place of which some entries are points; the error bars are the table's standard deviations."""
    places: dict[Place, _Points] = {}
    for entry in entries:
        if entry.at:
            places.setdefault(entry.where, {}).setdefault(entry.series, {}).setdefault(entry.at, []).append(entry)
    return [charts.swept(where.title, unit, _series(points)) for where, points in places.items()]


def _series(points: _Points) -> list[tuple[str, list[tuple[str, float, float | None]]]]:
    drawn = []
    for name, by_value in points.items():
        cells = {at: cell(runs, lambda r: r.accuracy) for at, runs in by_value.items()}
        drawn.append((name, [(at, one.value, one.spread) for at, one in cells.items() if one.value is not None]))
    return drawn


def write_curves(curves: Sequence[Swept], out: Path) -> list[Path]:
    """Write each chart as OUT/PLACE-over-SETTING.svg; returns the paths."""
    paths = []
    for chart in curves:
        name = re.sub(r"[^\w.+-]+", "-", f"{chart.title} over {chart.unit}")
        path = out / f"{name}.svg"
        text = render("swept.svg", chart=chart)
        write_atomically(path, lambda p, text=text: p.write_text(text, encoding="utf-8"))
        paths.append(path)
    return paths

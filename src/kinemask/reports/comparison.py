"""The page of a comparison: for every data set, split and protocol, bars, a table, and the published numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kinemask.reports.charts import Bar, Swept, bar
from kinemask.reports.pages import Table, render


@dataclass(frozen=True)
class Cell:
    """A measured number: the mean, and the standard deviation where there is one. Prints with one decimal."""

    value: float | None
    spread: float | None = None

    def __str__(self) -> str:
        if self.value is None:
            return ""
        return f"{self.value:.1f}" if self.spread is None else f"{self.value:.1f} ± {self.spread:.1f}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A method, its cells by the name of their column. published: quoted, from `source`."""

    method: str
    cells: Mapping[str, Cell | str]
    published: bool = False
    source: str = ""


@dataclass(frozen=True)
class Group:
    """Rows that may be compared: of one data set, split and protocol, which the title names."""

    title: str
    rows: Sequence[Row]


@dataclass(frozen=True)
class _Drawn:
    title: str
    bars: list[Bar]
    own: Table
    published: Table


def comparison_page(
    columns: Mapping[str, str],
    groups: Sequence[Group],
    charts: Sequence[Swept] = (),
    title: str = "",
    note: str = "",
) -> str:
    """One HTML page. columns: titles by name, in order; of a table, those that it has values for.

    The bars show the column `accuracy` (percent). charts: curves above the tables. title, note: the page's.
    """
    drawn = [_drawn(columns, group) for group in groups]
    return render("comparison.html", groups=drawn, charts=charts, title=title, note=note)


def _drawn(columns: Mapping[str, str], group: Group) -> _Drawn:
    own, published = ([row for row in group.rows if row.published == kind] for kind in (False, True))
    values = [(row.method, row.cells.get("accuracy")) for row in own]
    bars = [bar(name, cell.value) for name, cell in values if isinstance(cell, Cell) and cell.value is not None]
    return _Drawn(group.title, bars, _table(columns, own), _table(columns, published))


def _table(columns: Mapping[str, str], rows: Sequence[Row]) -> Table:
    text = lambda row, name: str(row.cells.get(name, ""))
    used = [name for name in columns if any(text(row, name) for row in rows)]
    sourced = any(row.source for row in rows)
    head = ["method", *(columns[name] for name in used), *(["source"] if sourced else [])]
    cells = [[row.method, *(text(row, name) for name in used), *([row.source] if sourced else [])] for row in rows]
    return Table(head, cells, numbers=[i for i, name in enumerate(used, 1) if name != "settings"])

"""The table of a comparison: a line per method, data set, split and protocol; as Markdown, CSV and HTML."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

from kinemask.files import write_atomically
from kinemask.reports.comparison import Cell, Group, Row, comparison_page
from kinemask.reports.published import place, published
from kinemask.runs.cost import Cost
from kinemask.runs.measures import MEASURES
from kinemask.runs.result import Result
from kinemask.runs.text import baseline_names, baseline_title

_SHOWN = ("mean_class_accuracy", "mean_average_precision")  # beside the accuracy
_COSTS = {
    "results": "results",
    "parameters": "parameters",
    "gflops": "GFLOPs",
    "pretraining_seconds": "pre-training, s",
    "evaluation_seconds": "evaluation, s",
}


@dataclass(frozen=True)
class Entry:
    """The results of one pre-training of a recipe, and what it cost."""

    recipe: str
    results: Sequence[Result]
    cost: Cost


class Where(NamedTuple):
    """What lines have in common that may be compared."""

    data: str
    split: str
    protocol: str


@dataclass(frozen=True)
class Line:
    """A line of the table."""

    where: Where
    row: Row


_Run = tuple[Cost, list[Result]]  # of one pre-training, and one protocol
_Groups = dict[Where, dict[str, list[_Run]]]  # by recipe


def lines(entries: Sequence[Entry]) -> list[Line]:
    """Lines of the table; numbers in percent.

    Results of the same recipe, data, split and protocol make a line: the mean over pre-trainings (of the means over the
    protocol's seeds) and their standard deviation, or the seeds' where there is a single pre-training. Several folds
    (splits fold1, fold2 …) also make a line over all of them. Published numbers of the same data, split, protocol and
    stream follow with their source.
    """
    groups: _Groups = {}
    for entry in entries:
        by_protocol: dict[Where, list[Result]] = {}
        for r in entry.results:
            by_protocol.setdefault(Where(r.data, r.split, r.protocol), []).append(r)
        for where, found in by_protocol.items():
            groups.setdefault(where, {}).setdefault(Path(entry.recipe).stem, []).append((entry.cost, found))
    out: list[Line] = []
    for where, methods in (groups | _over_folds(groups)).items():
        own = [_row(recipe, runs) for recipe, runs in methods.items()]
        own.sort(key=lambda row: -_value(row, "accuracy"))
        quoted = _published(where, [runs[0][1][0] for runs in methods.values()])
        out += [Line(where, row) for row in (*own, *quoted)]
    return out


def _value(row: Row, name: str) -> float:
    cell = row.cells[name]
    assert isinstance(cell, Cell) and cell.value is not None
    return cell.value


def _over_folds(groups: _Groups) -> _Groups:
    """Groups over the folds of one data set and protocol, of the recipes that have as many runs in each."""
    folds: dict[Where, list[dict[str, list[_Run]]]] = {}
    for where, methods in groups.items():
        if fold := re.fullmatch(r"fold\d+(-val)?", where.split):
            folds.setdefault(where._replace(split=fold[1] or ""), []).append(methods)
    out: _Groups = {}
    for where, found in folds.items():
        whole = [recipe for recipe in found[0] if len({len(methods.get(recipe, ())) for methods in found}) == 1]
        if len(found) > 1 and whole:
            runs = {recipe: [run for methods in found for run in methods[recipe]] for recipe in whole}
            out[where._replace(split=f"{len(found)}-fold{where.split}")] = runs
    return out


def _row(recipe: str, runs: Sequence[_Run]) -> Row:
    every = [result for _, results in runs for result in results]

    def cell(value: Callable[[Result], float | None]) -> Cell:
        per_run = [[v for r in results if (v := value(r)) is not None] for _, results in runs]
        means = [fmean(values) for values in per_run if values]
        spread = means if len(runs) > 1 else [v for values in per_run for v in values]
        return Cell(fmean(means) if means else None, stdev(spread) if len(spread) > 1 else None)

    def measure(r: Result, name: str) -> float | None:
        return r.measures[name].value if name in r.measures else None

    def baseline(r: Result, name: str) -> float | None:
        return r.baselines[name].accuracy if name in r.baselines else None

    cells: dict[str, Cell | str] = {"accuracy": cell(lambda r: r.accuracy)}
    if any(r.copies for r in every):
        cells["accuracy_unseen"] = cell(lambda r: r.unseen)
    for name in _SHOWN:
        cells[name] = cell(lambda r, name=name: measure(r, name))
    for name in baseline_names(every):
        found = cell(lambda r, name=name: baseline(r, name))
        cells[name] = Cell(found.value, found.spread or None)  # some depend on no seed
    costs = [expense for expense, _ in runs]
    seconds = [c.seconds for c in costs if c.seconds is not None]
    cells["results"] = f"{len(runs)} run{'s' * (len(runs) > 1)} × {len(every) / len(runs):g}"
    cells["parameters"] = f"{costs[0].parameters / 1e6:.3g} M"
    cells["gflops"] = _digits(costs[0].flops / 1e9)
    cells["pretraining_seconds"] = _digits(fmean(seconds)) if seconds else ""
    cells["evaluation_seconds"] = _digits(fmean(r.seconds for r in every))
    return Row(method=recipe, cells=cells)


def _digits(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _published(where: Where, results: Sequence[Result]) -> list[Row]:
    there = place(replace(results[0], split=where.split))
    if there is None or there[1] != where.split:  # nothing is published of a single fold
        return []
    streams = {"", *(result.trained.stream for result in results)}
    streams |= {"2d-pose", "3d-pose"} if "joint" in streams else set()
    known = [p for p in published(there) if p.stream in streams]
    out, seen = [], {(p.method, p.value) for p in known if not p.stream.endswith("pose")}
    for p in known:
        if p.stream.endswith("pose") and (p.method, p.value) in seen:
            continue  # a table that names its input beside one that does not
        about = ", ".join(filter(None, (p.venue, p.year, p.stream if p.stream.endswith("pose") else "")))
        source = "; ".join(filter(None, (about, p.source, p.note)))
        out.append(Row(method=p.method, cells={p.metric: Cell(p.value)}, published=True, source=source))
    return out


def columns(table: Sequence[Line]) -> dict[str, str]:
    """Names and titles of the columns in use: what was measured, then the baselines, then what it took."""
    found = {name for line in table for name, cell in line.row.cells.items() if str(cell)}
    first = {"accuracy": "accuracy", "accuracy_unseen": "on unseen clips", **{n: MEASURES[n] for n in _SHOWN}}
    others = {name: baseline_title(name) for line in table for name in line.row.cells if name not in first | _COSTS}
    return {name: title for name, title in (first | others | _COSTS).items() if name in found}


def write_tables(table: Sequence[Line], out: Path) -> None:
    """Write table.md, table.csv and table.html into a folder; nothing where there are no lines."""
    if not table:
        return
    out.mkdir(parents=True, exist_ok=True)
    groups: dict[Where, list[Row]] = {}
    for line in table:
        groups.setdefault(line.where, []).append(line.row)
    page = comparison_page(columns(table), [Group(" · ".join(where), rows) for where, rows in groups.items()])
    for name, text in (("csv", _csv(table)), ("md", markdown(table)), ("html", page)):
        write_atomically(out / f"table.{name}", lambda p, text=text: p.write_text(text, encoding="utf-8"))


def _csv(table: Sequence[Line]) -> str:
    """Every number in full, its standard deviation in a column NAME_std."""
    rows = []
    for line in table:
        row: dict[str, object] = {**line.where._asdict(), "method": line.row.method}
        for name, cell in line.row.cells.items():
            row |= {name: cell.value, f"{name}_std": cell.spread} if isinstance(cell, Cell) else {name: cell}
        rows.append(row | {"source": line.row.source})
    names = dict.fromkeys([*Where._fields, "method", *(k for row in rows for k in row if k != "source"), "source"])
    text = io.StringIO()
    writer = csv.DictWriter(text, list(names), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def markdown(table: Sequence[Line]) -> str:
    """The table in Markdown."""
    titles = columns(table)
    source = any(line.row.source for line in table)
    head = [*Where._fields, "method", *titles.values(), *["source"] * source]
    body = [
        [*line.where, line.row.method, *(str(line.row.cells.get(n, "")) for n in titles), *[line.row.source] * source]
        for line in table
    ]
    every = [head, ["---"] * len(head), *body]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in every)

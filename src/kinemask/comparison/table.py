"""The table of a comparison: a line per method, data set, split and protocol; as Markdown, CSV and HTML."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from kinemask.files import write_atomically
from kinemask.reports.charts import Swept
from kinemask.reports.comparison import Cell, Group, Row, comparison_page
from kinemask.reports.published import ACCURACIES, Place, Published, filed, inputs, published
from kinemask.runs.cost import Cost
from kinemask.runs.measures import MEASURES
from kinemask.runs.result import Result
from kinemask.runs.text import baseline_names, baseline_title

_SHOWN = ("mean_class_accuracy", "mean_average_precision")  # beside the accuracy
_FIRST = {
    "settings": "settings",
    "accuracy": "accuracy",
    "published": "published",
    "best_epoch": "best epoch (selected on the test set)",
    "accuracy_unseen": "on unseen clips",
    **{name: MEASURES[name] for name in _SHOWN},
}
_COSTS = {
    "results": "results",
    "parameters": "parameters",
    "gflops": "GFLOPs",
    "published_gflops": "published, GFLOPs",
    "pretraining_hours": "pre-training, h",
    "published_hours": "published, h",
    "evaluation_seconds": "evaluation, s",
}


@dataclass(frozen=True)
class Entry:
    """The results of one evaluation of one pre-training, a seed each; the label of its line; and what it cost.

    series, at: the curve that it is a point of, and its place on the axis; "" for none.
    """

    label: str
    results: Sequence[Result]
    cost: Cost | None
    series: str = ""
    at: str = ""

    @property
    def where(self) -> Place:
        return filed(self.results[0])


@dataclass(frozen=True)
class Line:
    """A line of the table, and what lines have in common that may be compared."""

    where: Place
    row: Row


class Table(list[Line]):
    """Lines of a comparison; files: where they were written."""

    def __init__(self, lines: Sequence[Line], files: Sequence[Path] = ()):
        super().__init__(lines)
        self.files = list(files)


Groups = dict[Place, dict[str, list[Entry]]]  # by label


def lines(entries: Sequence[Entry]) -> list[Line]:
    """Lines of the table; numbers in percent.

    Results of the same label, data, split, protocol and origin make a line: the mean over pre-trainings (of the means
    over the protocol's seeds) and their standard deviation, or the seeds' where there is a single pre-training. Several
    folds (splits fold1, fold2 …) also make a line over all of them. Published numbers of the same data, split,
    protocol, origin and stream follow with their source.
    """
    out: list[Line] = []
    for where, labels in grouped(entries).items():
        own = [row_of(label, runs) for label, runs in labels.items()]
        own.sort(key=lambda row: -_value(row, "accuracy"))
        quoted = _published(where, [run.results[0] for runs in labels.values() for run in runs])
        out += [Line(where, row) for row in (*own, *quoted)]
    return out


def grouped(entries: Sequence[Entry]) -> Groups:
    """Entries by place and label, with groups over folds at the end."""
    groups: Groups = {}
    for entry in entries:
        groups.setdefault(entry.where, {}).setdefault(entry.label, []).append(entry)
    return groups | _over_folds(groups)


def _value(row: Row, name: str) -> float:
    cell = row.cells[name]
    assert isinstance(cell, Cell)
    assert cell.value is not None
    return cell.value


def _over_folds(groups: Groups) -> Groups:
    """Groups over the folds of one data set and protocol, of the labels that have as many runs in each."""
    folds: dict[Place, list[dict[str, list[Entry]]]] = {}
    for where, labels in groups.items():
        if fold := re.fullmatch(r"fold\d+(-val)?", where.split):
            folds.setdefault(where._replace(split=fold[1] or ""), []).append(labels)
    out: Groups = {}
    for where, found in folds.items():
        whole = [label for label in found[0] if len({len(labels.get(label, ())) for labels in found}) == 1]
        if len(found) > 1 and whole:
            runs = {label: [run for labels in found for run in labels[label]] for label in whole}
            out[where._replace(split=f"{len(found)}-fold{where.split}")] = runs
    return out


def cell(runs: Sequence[Entry], value: Callable[[Result], float | None]) -> Cell:
    """Mean and spread of a number: over pre-trainings, or over seeds of the protocol where there is one of them."""
    per_run = [[v for r in run.results if (v := value(r)) is not None] for run in runs]
    means = [fmean(values) for values in per_run if values]
    spread = means if len(runs) > 1 else [v for values in per_run for v in values]
    return Cell(fmean(means) if means else None, stdev(spread) if len(spread) > 1 else None)


def row_of(label: str, runs: Sequence[Entry]) -> Row:
    """The row of these runs: what was measured, the baselines, and what it took."""
    every = [result for run in runs for result in run.results]

    def measure(r: Result, name: str) -> float | None:
        return r.measures[name].value if name in r.measures else None

    def baseline(r: Result, name: str) -> float | None:
        return r.baselines[name].accuracy if name in r.baselines else None

    cells: dict[str, Cell | str] = {"accuracy": cell(runs, lambda r: r.accuracy)}
    cells["best_epoch"] = cell(runs, lambda r: r.best_epoch)
    if any(r.copies for r in every):
        cells["accuracy_unseen"] = cell(runs, lambda r: r.unseen)
    for name in _SHOWN:
        cells[name] = cell(runs, lambda r, name=name: measure(r, name))
    for name in baseline_names(every):
        found = cell(runs, lambda r, name=name: baseline(r, name))
        cells[name] = Cell(found.value, found.spread or None)  # some depend on no seed
    cells["results"] = f"{len(runs)} run{'s' * (len(runs) > 1)} × {len(every) / len(runs):g}"
    return Row(method=label, cells=cells | _costs([run.cost for run in runs if run.cost is not None], every))


def _costs(costs: Sequence[Cost], results: Sequence[Result]) -> dict[str, Cell | str]:
    cells: dict[str, Cell | str] = {}
    if costs:
        cells["parameters"] = _count(costs[0].parameters)
        cells["gflops"] = digits(costs[0].flops / 1e9)
    if seconds := [c.seconds for c in costs if c.seconds is not None]:
        cells["pretraining_hours"] = digits(fmean(seconds) / 3600)
    return cells | {"evaluation_seconds": digits(fmean(r.seconds for r in results))}


def _count(parameters: int) -> str:
    return f"{parameters / 1e6:.3g} M" if parameters >= 1e6 else f"{parameters / 1e3:.3g} k"


def digits(value: float) -> str:
    """Three significant digits."""
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _published(where: Place, results: Sequence[Result]) -> list[Row]:
    """Rows of a place's numbers, each method's costs beside its accuracy."""
    if where.split.endswith("-val") or where.split.startswith("fold"):  # nothing is published of a single fold
        return []
    known = published(where, {name for result in results for name in inputs(result)})
    costs = [p for p in known if p.metric not in ACCURACIES]
    out = []
    for p in known:
        if p.metric not in ACCURACIES:
            continue
        beside = {c.metric: digits(c.value) for c in costs if (c.method, c.source) == (p.method, p.source)}
        cells: dict[str, Cell | str] = {p.metric: Cell(p.value), **beside}
        out.append(Row(method=p.method, cells=cells, published=True, source=_about(p)))
    return out


def _about(p: Published) -> str:
    about = ", ".join(filter(None, (p.venue, p.year, p.stream)))
    return "; ".join(filter(None, (about, p.source, p.note)))


def columns(table: Sequence[Line]) -> dict[str, str]:
    """Names and titles of the columns in use: what was measured, then the baselines, then what it took."""
    found = {name for line in table for name, cell in line.row.cells.items() if str(cell)}
    others = {name: baseline_title(name) for line in table for name in line.row.cells if name not in _FIRST | _COSTS}
    return {name: title for name, title in (_FIRST | others | _COSTS).items() if name in found}


def write_tables(
    table: Sequence[Line],
    out: Path,
    name: str = "table",
    charts: Sequence[Swept] = (),
    title: str = "",
    note: str = "",
    common: str = "",
) -> list[Path]:
    """Write NAME.md, .csv and .html into a folder; returns their paths, none where there are no lines.

    charts: shown on the page, which has this title, and a note below it. common: what holds for all lines, said in each
    of the files.
    """
    if not table:
        return []
    out.mkdir(parents=True, exist_ok=True)
    groups: dict[Place, list[Row]] = {}
    for line in table:
        groups.setdefault(line.where, []).append(line.row)
    shown = [Group(where.title, rows) for where, rows in groups.items()]
    page = comparison_page(columns(table), shown, charts, title, " ".join(filter(None, (note, common))))
    below = f"\n{common}\n" if common else ""
    texts = {
        out / f"{name}.md": markdown(table) + below,
        out / f"{name}.csv": _csv(table, common),
        out / f"{name}.html": page,
    }
    for path, text in texts.items():
        write_atomically(path, lambda p, text=text: p.write_text(text, encoding="utf-8"))
    return list(texts)


def _csv(table: Sequence[Line], common: str = "") -> str:
    """Every number in full, its standard deviation in a column NAME_std; `common` in a column of that name."""
    rows = []
    for line in table:
        row: dict[str, object] = {**line.where._asdict(), "method": line.row.method}
        for name, cell in line.row.cells.items():
            row |= {name: cell.value, f"{name}_std": cell.spread} if isinstance(cell, Cell) else {name: cell}
        rows.append(row | ({"common": common} if common else {}) | {"source": line.row.source})
    names = dict.fromkeys([*Place._fields, "method", *(k for row in rows for k in row if k != "source"), "source"])
    text = io.StringIO()
    writer = csv.DictWriter(text, list(names), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def markdown(table: Sequence[Line]) -> str:
    """The table in Markdown."""
    titles = columns(table)
    source = any(line.row.source for line in table)
    used = [name for name in Place._fields if any(getattr(line.where, name) for line in table)]
    head = [*used, "method", *titles.values(), *["source"] * source]
    body = [
        [
            *(getattr(line.where, name) for name in used),
            line.row.method,
            *(str(line.row.cells.get(name, "")) for name in titles),
            *[line.row.source] * source,
        ]
        for line in table
    ]
    every = [head, ["---"] * len(head), *body]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in every)

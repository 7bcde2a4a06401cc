"""The table of a comparison: a row per method, data set, split and protocol; as Markdown, CSV and HTML."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from statistics import fmean, stdev
from string import Template
from typing import Any

from kinemask.files import write_atomically
from kinemask.reports.charts import bars
from kinemask.reports.html import Markup, join, table, tag
from kinemask.reports.published import place, published
from kinemask.runs.results import MEASURES, control_names, control_title

_GROUP = ("data", "split", "protocol")
_MEASURED = ("accuracy", "accuracy_unseen", "mean_class_accuracy", "mean_average_precision")
_FIRST = (*_GROUP, "method", *(f"{name}{end}" for name in _MEASURED for end in ("", "_std")))
_LAST = ("results", "parameters", "gflops", "pretraining_seconds", "evaluation_seconds", "source")

_Run = list[dict[str, Any]]  # the records of one pre-training
_Groups = dict[tuple[str, ...], dict[str, list[_Run]]]  # by data, split and protocol, then by recipe


def rows(runs: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Rows from the records {recipe, cost, result} of each pre-training; numbers in percent, None where there is none.

    Records of the same recipe, data, split and protocol make a row: the mean over pre-trainings (of the means over the
    protocol's seeds) and their standard deviation, or the seeds' where there is a single pre-training. Several folds
    (splits fold1, fold2 …) also make a row over all of them. Published numbers of the same data, split, protocol and
    stream follow as rows with their source.
    """
    groups: _Groups = {}
    for records in runs:
        by_protocol: dict[tuple[str, ...], _Run] = {}
        for record in records:
            by_protocol.setdefault(tuple(record["result"][k] for k in _GROUP), []).append(record)
        for group, found in by_protocol.items():
            groups.setdefault(group, {}).setdefault(found[0]["recipe"], []).append(found)
    out = []
    for group, methods in (groups | _over_folds(groups)).items():
        own = [_row(group, recipe, found) for recipe, found in methods.items()]
        own.sort(key=lambda row: -row["accuracy"])
        out += own + _published(group, [found[0][0]["result"] for found in methods.values()])
    return out


def _over_folds(groups: _Groups) -> _Groups:
    """Groups over the folds of one data set and protocol, of the recipes that have as many runs in each."""
    folds: dict[tuple[str, str, str], list[dict[str, list[_Run]]]] = {}
    for (data, split, protocol), methods in groups.items():
        if fold := re.fullmatch(r"fold\d+(-val)?", split):
            folds.setdefault((data, fold[1] or "", protocol), []).append(methods)
    out: _Groups = {}
    for (data, val, protocol), found in folds.items():
        whole = [recipe for recipe in found[0] if len({len(methods.get(recipe, ())) for methods in found}) == 1]
        if len(found) > 1 and whole:
            runs = {recipe: [run for methods in found for run in methods[recipe]] for recipe in whole}
            out[data, f"{len(found)}-fold{val}", protocol] = runs
    return out


def _row(group: tuple[str, ...], recipe: str, runs: list[_Run]) -> dict[str, Any]:
    results = [[record["result"] for record in run] for run in runs]
    every = [result for run in results for result in run]
    row: dict[str, Any] = dict(zip(_GROUP, group, strict=True)) | {"method": recipe}

    def put(name: str, value: Callable[[dict[str, Any]], float | None]) -> None:
        per_run = [[v for result in run if (v := value(result)) is not None] for run in results]
        means = [fmean(values) for values in per_run if values]
        spread = means if len(results) > 1 else [v for values in per_run for v in values]
        row[name] = fmean(means) if means else None
        row[f"{name}_std"] = stdev(spread) if len(spread) > 1 else None

    put("accuracy", lambda r: r["accuracy"])
    if any(r["test_clips_unseen"] < r["test_clips"] for r in every):
        put("accuracy_unseen", lambda r: r["accuracy_unseen"])
    put("mean_class_accuracy", lambda r: r["metrics"].get("mean_class_accuracy"))
    if "mean_average_precision" in every[0]:
        put("mean_average_precision", lambda r: r["mean_average_precision"])
    for name in control_names(every):
        put(name, lambda r, name=name: (r["controls"] or {}).get(name))
        row[f"{name}_std"] = row[f"{name}_std"] or None  # of controls that depend on no seed
    expense = [run[0]["cost"] for run in runs]
    seconds = [c["pretraining_seconds"] for c in expense if c["pretraining_seconds"] is not None]
    return row | {
        "results": f"{len(runs)} run{'s' * (len(runs) > 1)} × {len(every) / len(runs):g}",
        "parameters": expense[0]["parameters"],
        "gflops": expense[0]["flops"] / 1e9,
        "pretraining_seconds": fmean(seconds) if seconds else None,
        "evaluation_seconds": fmean(r["seconds"] for r in every),
        "source": "",
    }


def _published(group: tuple[str, ...], results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    where = place(results[0] | {"split": group[1]})
    streams = {"", *(result["run"]["settings"]["sampling"]["stream"] for result in results)}
    streams |= {"2d-pose", "3d-pose"} if "joint" in streams else set()
    if where is None or where[1] != group[1]:  # nothing is published of a single fold
        return []
    known = [p for p in published(where) if p.stream in streams]
    out, seen = [], {(p.method, p.value) for p in known if not p.stream.endswith("pose")}
    for p in known:
        if p.stream.endswith("pose") and (p.method, p.value) in seen:
            continue  # a table that names its input beside one that does not
        about = ", ".join(filter(None, (p.venue, p.year, p.stream if p.stream.endswith("pose") else "")))
        row = dict(zip(_GROUP, group, strict=True)) | {"method": p.method, p.metric: p.value}
        out.append(row | {"source": "; ".join(filter(None, (about, p.source, p.note)))})
    return out


def write_tables(table_rows: Sequence[dict[str, Any]], out: Path) -> None:
    """Write table.md, table.csv and table.html into a folder; nothing where there are no rows."""
    if not table_rows:
        return
    out.mkdir(parents=True, exist_ok=True)
    for name, text in (("csv", _csv), ("md", markdown), ("html", _html)):
        content = text(table_rows)
        write_atomically(out / f"table.{name}", lambda p, content=content: p.write_text(content, encoding="utf-8"))


def _columns(table_rows: Sequence[dict[str, Any]]) -> list[str]:
    """Columns in use: what was measured, then the controls, then what it took."""
    found = dict.fromkeys(k for row in table_rows for k in row)
    first, last = ([k for k in names if k in found] for names in (_FIRST, _LAST))
    return first + [k for k in found if k not in (*first, *last)] + last


def _csv(table_rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, _columns(table_rows), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(table_rows)
    return text.getvalue()


def _cells(table_rows: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Titles and texts of the table as people read it: a standard deviation beside its mean."""
    used = {k for row in table_rows for k, value in row.items() if value not in (None, "")}
    names = [k for k in _columns(table_rows) if k in used and not k.endswith("_std")]
    return [_title(k) for k in names], [[_cell(row, k) for k in names] for row in table_rows]


def _title(name: str) -> str:
    titles = {
        "accuracy_unseen": "on unseen clips",
        **MEASURES,
        "mean_average_precision": "mAP",
        "gflops": "GFLOPs",
    }
    titles |= {"pretraining_seconds": "pre-training, s", "evaluation_seconds": "evaluation, s"}
    return titles.get(name) or control_title(name)


def _cell(row: dict[str, Any], name: str) -> str:
    value, spread = row.get(name), row.get(f"{name}_std")
    if value is None:
        return ""
    if name == "parameters":
        return f"{value / 1e6:.3g} M"
    if not isinstance(value, float):
        return str(value)
    if name in _LAST:
        return f"{value:.3g}" if value < 100 else f"{value:.0f}"
    return f"{value:.1f} ± {spread:.1f}" if spread is not None else f"{value:.1f}"


def markdown(table_rows: Sequence[dict[str, Any]]) -> str:
    """The table in Markdown."""
    head, body = _cells(table_rows)
    lines = [head, ["---"] * len(head), *body]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)


def _html(table_rows: Sequence[dict[str, Any]]) -> str:
    """A page of its own: bars, a table, and the published numbers, for every data set, split and protocol."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in table_rows:
        groups.setdefault(tuple(row[k] for k in _GROUP), []).append(row)
    parts = []
    for group, members in groups.items():
        own, others = ([row for row in members if ("results" in row) == mine] for mine in (True, False))
        drawn = bars([(row["method"], row["accuracy"], "%") for row in own])
        parts.append(tag("section", tag("h2", " · ".join(group)), drawn, _html_table(own)))
        if others:
            parts += [tag("h3", "Published"), _html_table(others)]
    part = lambda name: (files("kinemask.reports") / name).read_text(encoding="utf-8")
    return Template(part("comparison.html")).substitute(style=part("style.css"), sections=join(parts))


def _html_table(members: Sequence[dict[str, Any]]) -> Markup:
    head, body = _cells([{k: v for k, v in row.items() if k not in _GROUP} for row in members])
    return table(head, body, numbers=[i for i, name in enumerate(head) if name not in ("method", "source", "results")])

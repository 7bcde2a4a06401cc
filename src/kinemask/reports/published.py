"""Published numbers: which of them belong beside a result."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from kinemask.runs.result import Result


@dataclass(frozen=True)
class Published:
    """A published accuracy (percent). source: the tables that print it; note: what to know about it.

    metric: accuracy, or mean_class_accuracy.
    """

    method: str
    venue: str
    year: str
    stream: str
    metric: str
    value: float
    source: str
    note: str


METRICS = {"top1": "accuracy", "mean_class": "mean_class_accuracy"}  # of the file, as results name their measures


@cache
def _rows() -> tuple[dict[str, str], ...]:
    text = (files("kinemask.reports") / "published.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))


class Place(NamedTuple):
    """Data set, split and protocol, as published numbers are filed."""

    data: str
    split: str
    protocol: str


def place(result: Result) -> Place | None:
    """Where a result's likes are published; None for a validation split.

    One fold of a data set with folds is set beside the mean over its folds, fine-tuning of a run that was pre-trained
    on other data beside transfer, fine-tuning without a run beside supervised, an ensemble among its members' like.
    """
    protocol, settings, split = result.protocol, result.settings, result.split
    if protocol == "ensemble":
        protocol, settings = settings["protocol"], settings["evaluation"]
    if split.endswith("-val"):
        return None
    if protocol == "semi" and not settings["per_class"]:
        protocol = f"semi-{100 * settings['fraction']:g}"
    elif protocol == "finetune" and result.scratch:
        protocol = "supervised"
    elif protocol == "finetune" and result.data not in result.trained.datasets:
        protocol = "transfer"
    if split.startswith("fold"):
        split = "5-fold"  # of the data sets here, only SBU has folds
    return Place(result.data, split, protocol)


def _source(written: str) -> str:
    return "quoted by later papers" if written == "secondary" else written.replace(".md", ",")


def published(where: Place) -> list[Published]:
    """Accuracies of (data set, split, protocol), highest first; a number that several tables print once.

    Data sets with an official split alone are published without its name.
    """
    data, split, protocol = where
    splits = (split, "") if split == "official" else (split,)
    found: dict[tuple, list[dict[str, str]]] = {}
    for row in _rows():
        if (
            (row["dataset"], row["protocol"]) == (data, protocol)
            and row["split"] in splits
            and row["metric"] in METRICS
        ):
            key = row["method"], row["stream"], METRICS[row["metric"]], float(row["value"])
            found.setdefault(key, []).append(row)
    merged = [
        Published(
            method,
            next((r["venue"] for r in rows if r["venue"]), ""),
            next((r["year"] for r in rows if r["year"]), ""),
            stream,
            metric,
            value,
            "; ".join(dict.fromkeys(_source(r["source"]) for r in rows)),
            "; ".join(dict.fromkeys(r["note"] for r in rows if r["note"])),
        )
        for (method, stream, metric, value), rows in found.items()
    ]
    return sorted(merged, key=lambda p: -p.value)

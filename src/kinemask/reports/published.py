"""Published numbers: which of them belong beside a result."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from kinemask.nn.settings import ReadoutSettings
from kinemask.runs.result import Result


@dataclass(frozen=True)
class Published:
    """A published number: an accuracy (percent), or a cost. source: the tables that print it; note: what to know of it.

    metric: accuracy, mean_class_accuracy, gflops or pretraining_hours.
    """

    method: str
    venue: str
    year: str
    stream: str
    metric: str
    value: float
    source: str
    note: str


METRICS = {  # of the file, as results and comparisons name their measures
    "top1": "accuracy",
    "mean_class": "mean_class_accuracy",
    "gflops": "gflops",
    "pretrain_hours": "pretraining_hours",
}
ACCURACIES = ("accuracy", "mean_class_accuracy")
_POSES = ("2d-pose", "3d-pose")  # how some tables name their input, in place of streams
_THREE = {"joint", "motion", "bone"}


@cache
def published_rows() -> tuple[dict[str, str], ...]:
    """Every row of the file of published numbers, by column. origin: pre-training data, where not the row's own."""
    text = (files("kinemask.reports") / "published.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))


class Place(NamedTuple):
    """Data set, split and protocol, as published numbers are filed.

    origin: what was pre-trained on, where not the training part of that split.
    """

    data: str
    split: str
    protocol: str
    origin: str = ""

    @property
    def title(self) -> str:
        return " · ".join((self.data, self.split, self.protocol, *([f"from {self.origin}"] if self.origin else [])))


def place(result: Result) -> Place | None:
    """Where a result's likes are published; None for a validation split.

    One fold of a data set with folds is set beside the mean over its folds.
    """
    where = filed(result)
    if where.split.endswith("-val"):
        return None
    return where._replace(split="5-fold") if where.split.startswith("fold") else where  # SBU alone has folds


def filed(result: Result) -> Place:
    """A result's data, split, protocol as published numbers name it, and origin.

    Fine-tuning of a run that was pre-trained on other data is transfer, fine-tuning without a run supervised; an
    ensemble is among its members' like. What no published number has is a protocol of its own: labels that a file
    gives, features beside, another readout than the mean.
    """
    protocol, settings, origin = result.protocol, result.settings, source(result)
    if protocol == "ensemble":
        protocol, settings = settings["protocol"], settings["evaluation"]
    if protocol == "semi" and settings.get("labels"):
        protocol = "semi with given labels"
    elif protocol == "semi" and not settings["per_class"]:
        protocol = f"semi-{100 * settings['fraction']:g}"
    elif protocol == "finetune" and result.scratch:
        protocol = "supervised"
    elif protocol == "finetune" and origin and result.data not in result.trained.datasets:
        protocol = "transfer"
    elif protocol == "knn" and settings.get("neighbours", 1) != 1:
        protocol = f"{settings['neighbours']}-nn"
    if settings.get("beside", "none") != "none":
        protocol += f" with {settings['beside']}"
    usual = asdict(ReadoutSettings())
    if usual | settings.get("readout", {}) != usual:
        protocol += ", another readout"
    return Place(result.data, result.split, protocol, origin)


def source(result: Result) -> str:
    """Names of the data sets that a result's encoder was pre-trained on, joined by +; "" for the result's own alone.

    The split is named too where it is another one of the result's data, so that test clips may have been seen.
    "unknown data" where nothing tells, as of weights that were imported without their store.
    """
    datasets, split = sorted(set(result.trained.datasets)) or ["unknown data"], result.trained.split
    if result.scratch or (datasets == [result.data] and split == result.split):
        return ""
    return f"{result.data} {split}" if datasets == [result.data] else "+".join(datasets)


def stream(result: Result) -> str:
    """Its input: joint, motion or bone; of an ensemble 3s for these three, or else their names joined by +."""
    of = [member.stream for member in result.members] or [result.trained.stream]
    return "3s" if len(of) == 3 and set(of) == _THREE else "+".join(dict.fromkeys(of))


def inputs(result: Result) -> set[str]:
    """Names under which published numbers of a result's input are filed.

    Streams are of 3D joints, and so are numbers whose table names no input ("").
    """
    own = stream(result)
    plane = {"2d-pose"} if own == "joint" else set[str]()
    space = {"joint": {own, "", "3d-pose"}, "3s": {own, ""}}.get(own, {own})
    return {2: plane, 3: space}.get(result.dims or 0, plane | space)


def published(where: Place, streams: Collection[str] | None = None) -> list[Published]:
    """Numbers of a place and of these streams (default: all), highest first; one that several tables print once.

    Data sets with an official split alone are published without its name. Where a table names no stream, or only that
    its input are poses, and another one prints the same number with its stream, it is of that stream.
    """
    rows = [row for row in published_rows() if _is_of(row, where)]
    named = {_identity(row): row["stream"] for row in rows if row["stream"] and row["stream"] not in _POSES}
    found: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for row in rows:
        of = named.get(_identity(row), row["stream"])
        if streams is None or of in streams:
            found.setdefault((*_identity(row), of), []).append(row)
    merged = [
        Published(
            method,
            next((r["venue"] for r in group if r["venue"]), ""),
            next((r["year"] for r in group if r["year"]), ""),
            of,
            METRICS[metric],
            float(value),
            "; ".join(dict.fromkeys(_source(r["source"]) for r in group)),
            "; ".join(dict.fromkeys(r["note"] for r in group if r["note"])),
        )
        for (method, metric, value, of), group in found.items()
    ]
    return sorted(merged, key=lambda p: (p.metric not in ACCURACIES, -p.value))


def _identity(row: dict[str, str]) -> tuple[str, str, str]:
    return row["method"], row["metric"], row["value"]


def _is_of(row: dict[str, str], where: Place) -> bool:
    splits = (where.split, "") if where.split == "official" else (where.split,)
    if (row["dataset"], row["protocol"]) != (where.data, where.protocol) or row["split"] not in splits:
        return False
    if row["origin"] == "other":  # other data than the row's own, and its source does not say which
        return where.origin != "" and not {where.data} & set(re.split("[+ ]", where.origin))
    return row["origin"] == where.origin


def _source(written: str) -> str:
    return "quoted by later papers" if written == "secondary" else written.replace(".md", ",")

"""Published numbers: which of them belong beside a result."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True)
class Published:
    """A published accuracy (percent). source: the tables that print it; note: what to know about it."""

    method: str
    venue: str
    year: str
    stream: str
    value: float
    source: str
    note: str


@cache
def _rows() -> tuple[dict[str, str], ...]:
    text = (files("kinemask.evaluation") / "published.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))


def place(result: dict[str, Any]) -> tuple[str, str, str] | None:
    """Data set, split and protocol under which a result's likes are published; None for a validation split.

    One fold of a data set with folds is set beside the mean over its folds, fine-tuning of a run that was pre-trained
    on other data beside transfer, fine-tuning without a run beside supervised, an ensemble among its members' like.
    """
    data, split, protocol, settings = (result[k] for k in ("data", "split", "protocol", "settings"))
    if "members" in result:
        protocol, settings = settings["protocol"], settings["evaluation"]
    if split.endswith("-val"):
        return None
    if protocol == "semi":
        protocol = "semi" if settings["per_class"] else f"semi-{100 * settings['fraction']:g}"
    if protocol == "finetune" and result["encoder_sha256"] is None:
        protocol = "supervised"
    elif protocol == "finetune" and result["run"]["data"]["dataset"] not in (None, data):
        protocol = "transfer"
    if split.startswith("fold"):
        split = "5-fold"  # of the data sets here, only SBU has folds
    return data, split, protocol


def _source(written: str) -> str:
    return "quoted by later papers" if written == "secondary" else written.replace(".md", ",")


def published(where: tuple[str, str, str]) -> list[Published]:
    """Top-1 accuracies of (data set, split, protocol), highest first; a number that several tables print once."""
    found: dict[tuple, list[dict[str, str]]] = {}
    for row in _rows():
        if (row["dataset"], row["split"], row["protocol"]) == where and row["metric"] == "top1":
            found.setdefault((row["method"], row["stream"], float(row["value"])), []).append(row)
    merged = [
        Published(
            method,
            next((r["venue"] for r in rows if r["venue"]), ""),
            next((r["year"] for r in rows if r["year"]), ""),
            stream,
            value,
            "; ".join(dict.fromkeys(_source(r["source"]) for r in rows)),
            "; ".join(dict.fromkeys(r["note"] for r in rows if r["note"])),
        )
        for (method, stream, value), rows in found.items()
    ]
    return sorted(merged, key=lambda p: -p.value)

"""Tables of the papers as data: PAPER-TABLE.yaml beside this file. Nothing here imports PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import msgspec

from kinemask.checks import meant
from kinemask.plain_file import read_yaml

Published = dict[str, float]  # by split


@dataclass(frozen=True, kw_only=True)
class PaperRow:
    """A row: settings that make it, by dotted name, and what the paper prints of it, by split.

    method: whose recipe is changed. small: settings in place of `set` under --small; null takes `set`. hours, gflops:
    costs that the paper prints. baseline: the row is this baseline of a run with these settings. reason: why the row is
    quoted alone; then nothing is run.
    """

    label: str
    published: Published = field(default_factory=dict)
    method: str = ""
    set: dict[str, Any] = field(default_factory=dict)
    small: dict[str, Any] | None = None
    hours: float | None = None
    gflops: float | None = None
    baseline: str = ""
    reason: str = ""

    def changes(self, small: bool) -> Mapping[str, Any]:
        return self.small if small and self.small is not None else self.set


@dataclass(frozen=True, kw_only=True)
class PaperTable:
    """A table of a paper, on the data, splits and protocol that it is about.

    source: as the file of published numbers names it, empty where no paper has the table; method: of rows that name
    none. measure: what the paper prints, accuracy or mean_class_accuracy. set, small: settings of all rows, which a
    user's own replace.
    """

    title: str
    source: str
    data: str
    splits: tuple[str, ...]
    protocol: str
    method: str
    rows: tuple[PaperRow, ...]
    measure: str = "accuracy"
    set: dict[str, Any] = field(default_factory=dict)
    small: dict[str, Any] | None = None
    note: str = ""

    def changes(self, small: bool) -> Mapping[str, Any]:
        return self.small if small and self.small is not None else self.set

    @property
    def methods(self) -> list[str]:
        """Methods of its rows that can be run."""
        return list(dict.fromkeys(row.method or self.method for row in self.rows if not row.reason))


def paper_tables() -> list[str]:
    """Names of the tables."""
    return sorted(p.name.removesuffix(".yaml") for p in files(__name__).iterdir() if p.name.endswith(".yaml"))


def paper_table(name: str) -> PaperTable:
    """A table by its name; ValueError for an unknown one."""
    if name not in paper_tables():
        raise ValueError(f"unknown table {name!r}{meant(name, paper_tables())}")
    return msgspec.convert(read_yaml(files(__name__) / f"{name}.yaml"), PaperTable)

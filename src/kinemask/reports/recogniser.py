"""The page of a recogniser: how good it is on what was held out, where it fails, when it is unsure, what comes next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kinemask.files import write_atomically
from kinemask.reports.charts import Bar, Confusion, Curves
from kinemask.reports.pages import Note, Table, render


@dataclass(frozen=True, kw_only=True)
class Held:
    """What is known of clips that were held out.

    headline, said: sentences. bars: accuracies, its own first. unsure: of confidences; key: to its lines. advice: on a
    threshold, "" for none. calibration: the expected error in percent, "" where unknown.
    """

    headline: str
    said: Sequence[str]
    bars: list[Bar]
    confusion: Confusion
    classes: list[Bar]
    unsure: Curves
    key: list[tuple[str, str]]
    advice: str
    calibration: str


@dataclass(frozen=True, kw_only=True)
class View:
    """A recogniser's page. about: titles and values; said: what is not as it might be; tried: the candidates."""

    name: str
    about: Sequence[tuple[str, str]]
    said: Sequence[str]
    held: Held | Note
    tried: Table | Note
    classes: Table
    commands: Sequence[str]


def write_report(path: Path, view: View) -> None:
    """Write the page."""
    page = render("recogniser.html", view=view)
    write_atomically(path, lambda place: place.write_text(page, encoding="utf-8"))

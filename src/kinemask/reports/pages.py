"""Pages from the templates beside this file: what Python hands over is escaped, and nothing else is markup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from jinja2 import Environment

from kinemask.player.pages import environment


@dataclass(frozen=True)
class Note:
    """A sentence in place of what could not be shown."""

    text: str


@dataclass(frozen=True)
class Table:
    """Texts in rows under a head. numbers: columns to align right; own: rows to highlight."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Sequence[int] = ()
    own: Sequence[int] = field(default=())


def render(template: str, **values: Any) -> str:
    """A page of a template in `templates`, here or of the player."""
    return _environment().get_template(template).render(values) + "\n"


@cache
def _environment() -> Environment:
    found = environment(__package__ or "")
    found.filters["slug"] = lambda title: title.lower().replace(" ", "-")
    found.tests["note"] = lambda value: isinstance(value, Note)
    return found

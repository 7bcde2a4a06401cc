"""Pages from the templates beside this file: what Python hands over is escaped, and nothing else is markup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


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
    """A page of a template in `templates`."""
    return _environment().get_template(template).render(values) + "\n"


@cache
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader(__package__ or ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    found.filters |= {"px": lambda value: f"{value:.1f}", "slug": lambda title: title.lower().replace(" ", "-")}
    found.tests["note"] = lambda value: isinstance(value, Note)
    found.globals["source"] = _source
    return found


def _source(name: str) -> Markup:
    """A style sheet or script of `templates`, as it is."""
    return Markup((files(__package__ or "") / "templates" / name).read_text(encoding="utf-8"))

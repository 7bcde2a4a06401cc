"""Pages from templates, of this room and of rooms above: what Python hands over is escaped, nothing else is markup."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

OWN = "kinemask.player"


def render(template: str, **values: Any) -> str:
    """A page of a template of this room."""
    return environment().get_template(template).render(values) + "\n"


@cache
def environment(*packages: str) -> Environment:
    """Templates in the folders `templates` of packages; those of this room come last."""
    places = (*packages, OWN)
    found = Environment(
        loader=ChoiceLoader([PackageLoader(package) for package in places]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    found.filters["px"] = lambda value: f"{value:.1f}"
    found.globals["source"] = lambda name: _source(name, places)
    return found


def _source(name: str, packages: tuple[str, ...]) -> Markup:
    """A style sheet or script, as it is."""
    places = (files(package) / "templates" / name for package in packages)
    return Markup(next(place for place in places if place.is_file()).read_text(encoding="utf-8"))

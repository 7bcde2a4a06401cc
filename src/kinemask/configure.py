"""Settings of a run by the name of its recipe."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from jsonargparse import Namespace

from kinemask.recipes import load_recipe, recipes
from kinemask.training.settings import Settings, parse_with


def parse(
    arguments: Sequence[str] | None, overrides: Mapping[str, Any] | None = None, recipe: str | None = None
) -> tuple[Settings, Namespace]:
    """Settings from command-line arguments, or from dotted overrides of a recipe: (Settings, Namespace).

    Unknown recipes, unknown settings and values of the wrong type raise ValueError.
    """
    recipe = named_recipe(arguments or ()) if recipe is None else recipe
    if recipe is None:
        raise ValueError(f"--recipe NAME is required; known: {', '.join(recipes())}")
    return parse_with(recipe, load_recipe(recipe), arguments, overrides)


def dotted(arguments: Sequence[str]) -> dict[str, str]:
    """Command-line settings `--KEY VALUE` or `--KEY=VALUE` by their dotted names, values as written."""
    out: dict[str, str] = {}
    words = [part for word in arguments for part in (word.split("=", 1) if word.startswith("--") else [word])]
    for name, value in zip(words[::2], [*words[1::2], None], strict=False):
        if not name.startswith("--") or value is None or value.startswith("--"):
            raise ValueError(f"settings are given as --KEY VALUE; {name!r} is not followed by one, or not a name")
        out[name[2:]] = value
    return out


def named_recipe(arguments: Sequence[str]) -> str | None:
    """The recipe that command-line arguments name, if any."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    first.add_argument("--recipe")
    try:
        return first.parse_known_args(arguments)[0].recipe
    except argparse.ArgumentError as error:
        raise ValueError(str(error)) from None

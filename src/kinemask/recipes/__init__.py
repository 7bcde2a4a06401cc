"""Recipes: a method's settings for a data set, METHOD-DATA[-SIZE].yaml beside this file."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from kinemask.checks import meant
from kinemask.plain_file import read_yaml


def recipe_names() -> list[str]:
    """Names of the shipped recipes."""
    return sorted(p.name.removesuffix(".yaml") for p in files(__name__).iterdir() if p.name.endswith(".yaml"))


def recipes() -> dict[str, str]:
    """Names of the shipped recipes -> their one-line titles."""
    lines = {
        name: (files(__name__) / f"{name}.yaml").read_text(encoding="utf-8").split("\n")[0] for name in recipe_names()
    }
    return {name: line.removeprefix("title: ") for name, line in lines.items()}


def load_recipe(name: str) -> dict[str, Any]:
    """A shipped recipe by name, or a recipe file by path: its plain values; ValueError names file and key at fault."""
    if name.endswith((".yaml", ".yml")):
        source = Path(name)
        if not source.is_file():
            raise ValueError(f"recipe file {name} does not exist")
    else:
        source = files(__name__) / f"{name}.yaml"
        if "/" in name or not source.is_file():
            raise ValueError(f"unknown recipe {name!r}{meant(name, recipe_names(), 'a .yaml file of your own')}")
    recipe = read_yaml(source)
    if not isinstance(recipe, dict) or not isinstance(recipe.get("method"), str):
        raise ValueError(f"recipe {name} must be a mapping with the name of a method under 'method'")
    _check_keys(name, recipe)
    return {"title": ""} | recipe


def _check_keys(name: str, settings: dict[Any, Any]) -> None:
    for key, value in settings.items():
        if not isinstance(key, str):
            raise ValueError(f"recipe {name}: {key!r} is not the name of a setting")
        if isinstance(value, dict):
            _check_keys(name, value)

"""Pretext tasks. A method is one module here that defines METHOD, and its recipes."""

from __future__ import annotations

from importlib import import_module

from kinemask.pretext.base import Method

NAMES = ("mae", "mamp", "hacm")


def method(name: str) -> Method:
    """The method of that name; raises ValueError with the known ones."""
    if name not in NAMES:
        raise ValueError(f"unknown method {name!r}; known: {', '.join(NAMES)}")
    return import_module(f"kinemask.pretext.{name}").METHOD

"""Checks that the settings share, and what a mistyped name may mean."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from difflib import get_close_matches
from typing import Any


def meant(name: str, known: Iterable[str], others: str = "") -> str:
    """What follows an unknown name: the known one that it resembles, or else all of them, and what others there are."""
    known = list(known)
    return closest(name, known) or f"; known: {', '.join([*known, *([others] if others else [])])}"


def closest(name: str, known: Iterable[str], shown: Callable[[str], str] = str) -> str:
    """A question for the known name that an unknown one resembles, if any; or for all of the same last dotted part."""
    known = list(known)
    last = name.rpartition(".")[2]
    same = [k for k in known if "." in k and k.rpartition(".")[2] == last]
    found = same or get_close_matches(name, known, 1, cutoff=0.7)
    return f"; did you mean {' or '.join(map(shown, found))}?" if found else ""


def among(name: str, known: Sequence[str], few: int = 8) -> str:
    """As `meant`, of names that may be many: where none resembles the unknown one, a few of them."""
    shown = [*known[:few], *(["..."] if len(known) > few else [])]
    return closest(name, known) or f"; it has: {', '.join(shown)}"


def check_positive(section: str, settings: Any, *names: str) -> None:
    """Raise ValueError unless the settings of these names are positive numbers."""
    for name in names:
        value = getattr(settings, name)
        if not 0 < value < float("inf"):
            raise ValueError(f"{section}.{name} must be positive, not {value}")


def check_not_negative(section: str, settings: Any, *names: str) -> None:
    """Raise ValueError unless the settings of these names are numbers from 0 up."""
    for name in names:
        value = getattr(settings, name)
        if not 0 <= value < float("inf"):
            raise ValueError(f"{section}.{name} must not be negative, not {value}")


def check_share(section: str, settings: Any, *names: str) -> None:
    """Raise ValueError unless the settings of these names are from 0 to 1."""
    for name in names:
        value = getattr(settings, name)
        if not 0 <= value <= 1:
            raise ValueError(f"{section}.{name} must be from 0 to 1, not {value}")


def check_heads(section: str, width: int, heads: int) -> None:
    """Raise ValueError unless the heads divide the width."""
    if width % heads:
        raise ValueError(f"{section}.width {width} is not a multiple of {section}.heads {heads}")


def warn_unused(section: str, settings: Any, because: str, *names: str) -> None:
    """Warn of settings that were changed but have no effect beside the others."""
    default = {f.name: f.default for f in fields(settings)}
    for name in names:
        if getattr(settings, name) != default[name]:
            warnings.warn(f"{section}.{name} has no effect {because}", stacklevel=4)

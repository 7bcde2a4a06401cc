"""Splits by rules over the clips' fields: the reader's, and the caller's "NAME:COLUMN=a,b"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kinemask.preparation.reading import Source
from kinemask.readers import SplitRule
from kinemask.readers.base import Side
from kinemask.store.format import EVERY


def all_rules(source: Source, texts: Sequence[str]) -> dict[str, SplitRule]:
    """The reader's split rules and the caller's; ValueError where two splits have one name, or one a taken name."""
    rules = dict(source.reader.splits)
    for text in texts:
        name, rule = _parse_rule(text)
        if name in rules or name in source.scan.splits:
            raise ValueError(f"split rule {text!r}: there is a split {name} already; choose another name")
        rules[name] = rule
    if EVERY in rules or EVERY in source.scan.splits:
        raise ValueError(f"a split may not be called {EVERY!r}, which stands for every clip; choose another name")
    return rules


def _parse_rule(text: str) -> tuple[str, SplitRule]:
    name, _, condition = text.partition(":")
    column, _, listed = condition.partition("=")
    values = [value.strip() for value in listed.split(",") if value.strip()]
    name, column = name.strip(), column.strip()
    if not (name and column and values):
        raise ValueError(f"split rule {text!r} should read NAME:COLUMN=a,b: test where COLUMN is a or b")

    def side(fields: Mapping[str, str]) -> Side:
        if column not in fields:
            raise ValueError(f"split rule {text!r}: the clips have no column {column!r}, only {', '.join(fields)}")
        return "test" if fields[column] in values else "train"

    return name, SplitRule(f"test where {column} is {', '.join(values)}; train on the rest", side)

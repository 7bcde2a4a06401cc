"""Every template escapes every text that it is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import is_dataclass
from types import UnionType
from typing import get_args, get_origin, get_type_hints

from html_pages import check_alone
from kinemask import reports
from kinemask.reports import charts, figures, tables
from kinemask.reports.comparison import Cell, Group, Row, comparison_page
from kinemask.reports.pages import Note, Table, render
from kinemask.reports.pictures import Missing

HOSTILE_TEXT = "<script>alert(1)</script>\"' onload='x"


def hostile(kind: type) -> object:
    """A view whose every text is hostile."""
    made = {}
    for name, annotation in get_type_hints(kind).items():
        made[name] = hostile_value(annotation)
    return kind(**made)


def hostile_value(annotation):
    origin, arguments = get_origin(annotation), get_args(annotation)
    if is_dataclass(annotation):
        return hostile(annotation)
    if origin in (list, Sequence):
        return [hostile_value(arguments[0])]
    if origin is tuple:
        return tuple(map(hostile_value, arguments))
    if origin is dict:
        return {HOSTILE_TEXT: hostile_value(arguments[1])}
    if origin is UnionType:
        return hostile_value(arguments[0])
    return {str: HOSTILE_TEXT, int: 0, float: 0.5, bool: True}.get(annotation, HOSTILE_TEXT)


def test_every_template_escapes_every_text():
    table = Table([HOSTILE_TEXT], [[HOSTILE_TEXT], ["x" * 30 + HOSTILE_TEXT]], numbers=[0], own=[0])
    kinds = {"training": [hostile(charts.Line)], "classes_of": hostile(figures.Classes)}
    kinds |= {"conditions": [hostile(figures.Conditions)], "embeddings": [hostile(figures.Plane), Note(HOSTILE_TEXT)]}
    kinds |= {"scenes": hostile(figures.Scene), "attention": hostile(figures.Looks)}
    each = {key: {HOSTILE_TEXT: view, "two": Note(HOSTILE_TEXT)} for key, view in kinds.items()}
    places = tables.PublishedView([tables.Beside(HOSTILE_TEXT, table, True)], [HOSTILE_TEXT], [HOSTILE_TEXT])
    page = render(
        "page.html",
        names=[HOSTILE_TEXT, "two"],
        headlines=[hostile(tables.Headline)],
        results=hostile(tables.ResultsView),
        published=places,
        gains=[hostile(figures.GainsView), Note(HOSTILE_TEXT)],
        paper=[hostile(reports.Drawn)],
        missing=[hostile(Missing)],
        settings=table,
        reproduce=hostile(tables.Reproduce),
        **each,
    )
    cell = {"accuracy": Cell(80.0, 1.0), HOSTILE_TEXT: HOSTILE_TEXT}
    rows = [Row(method=HOSTILE_TEXT, cells=cell), Row(method="b", cells=cell, published=True, source=HOSTILE_TEXT)]
    beside = comparison_page({"accuracy": "accuracy", HOSTILE_TEXT: HOSTILE_TEXT}, [Group(HOSTILE_TEXT, rows)])
    for html, scripts in ((page, 2), (beside, 0)):
        found = check_alone(html)
        assert found.scripts == scripts
        assert html.count("&lt;script&gt;alert(1)") > 5
        assert HOSTILE_TEXT not in html

"""Pieces of HTML. Every text goes through `text`, every table through `table`: nothing from data reaches a page raw."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any


class Markup(str):
    """HTML that is safe to insert; everything else is escaped."""


def text(value: Any) -> Markup:
    """A value as HTML: escaped, unless it is markup already."""
    return value if isinstance(value, Markup) else Markup(html.escape(str(value)))


def tag(name: str, *content: Any, **attributes: Any) -> Markup:
    """An element; attributes of None are left out, `class_` and `data_x` become class and data-x."""
    return Markup(f"{void(name, **attributes)}{join(content)}</{name}>")


def void(name: str, **attributes: Any) -> Markup:
    """An element without content, such as input; else as `tag`."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{written}>")


def join(parts: Iterable[Any], between: str = "") -> Markup:
    return Markup(between.join(text(part) for part in parts))


def table(
    head: Sequence[Any], rows: Iterable[Sequence[Any]], own: Sequence[bool] = (), numbers: Sequence[int] = ()
) -> Markup:
    """A table that scrolls sideways in a narrow page. own: which rows to highlight; numbers: columns to align right."""
    side = lambda i: "number" if i in numbers else None
    kind = lambda i, cell: side(i) or ("word" if len(str(cell)) <= 24 else None)
    lines = [
        tag(
            "tr", *(tag("td", cell, class_=kind(i, cell)) for i, cell in enumerate(row)), class_="own" if mine else None
        )
        for row, mine in zip(rows, own or repeat(False), strict=False)
    ]
    heading = tag("tr", *(tag("th", cell, class_=side(i), scope="col") for i, cell in enumerate(head)))
    return tag("div", tag("table", tag("thead", heading), tag("tbody", *lines)), class_="scroll")


def note(*content: Any) -> Markup:
    """A sentence in place of what could not be shown."""
    return tag("p", *content, class_="note")


def data(name: str, value: Any) -> Markup:
    """Values for a script, as JSON that cannot end its element."""
    content = json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return Markup(f'<script type="application/json" id="{text(name)}">{content}</script>')

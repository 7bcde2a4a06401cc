"""Reading a page as a browser does, and what must be true of every page."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

HOSTILE = ("<script>alert(1)</script>", "\"x' onload=alert(2) &amp;", "</script><img src=http://evil.example/x>")
VOID = {"meta", "input"}


class Structure(HTMLParser):
    """Reads a page as a browser does: checks that elements nest, and keeps what matters."""

    def __init__(self, page: str):
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.handlers: list[str] = []
        self.addresses: list[str] = []
        self.scripts = 0
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        found = {k: v or "" for k, v in attrs}
        self.scripts += tag == "script"
        self.ids += [found["id"]] if "id" in found else []
        self.handlers += [k for k in found if k.startswith("on")]
        self.addresses += [v for k, v in found.items() if k in ("src", "href", "action", "data") and v[:1] != "#"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def check_alone(page: str, *paths: Path) -> Structure:
    """The page is well formed, needs nothing from elsewhere and names no folder of this machine."""
    found = Structure(page)
    assert not found.addresses
    assert not found.handlers
    assert not re.search(r"@import|url\(|\bfetch\(|XMLHttpRequest|import\(", page)
    for path in paths:
        assert str(path) not in page
    assert len(page) < 5_000_000
    return found

"""What building the site adds to the pages: the program's own help, lists from the code, equations as MathML.

Used by mkdocs (mkdocs.yml). A page asks for a part by a line `<!-- kinemask: NAME -->`.
"""

from __future__ import annotations

import contextlib
import html
import io
import os
import re
from pathlib import Path
from unittest.mock import patch

from latex2mathml.converter import convert

from kinemask import cli
from kinemask.pretext import NAMES
from kinemask.protocols.catalogue import PROTOCOLS
from kinemask.readers import readers as known_readers
from kinemask.recipes import load_recipe, recipes
from kinemask.skeleton import layout, layouts

ASKED = re.compile(r"^<!-- kinemask: (\w+) -->$", re.MULTILINE)
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
FETCHED = re.compile(
    r'<(?:script|img|iframe|source)[^>]*\ssrc="(?:https?:)?//|<link[^>]*rel="(?:stylesheet|preconnect)"[^>]*//'
)


def on_page_markdown(markdown: str, **_: object) -> str:
    return ASKED.sub(lambda asked: PARTS[asked[1]](), markdown)


def on_page_content(html: str, **_: object) -> str:
    page = FORMULA.sub(mathml, html)
    assert 'class="arithmatex"' not in page, "a formula is not where it was looked for"
    return page


def on_post_build(config: dict, **_: object) -> None:
    """The site must work without any other host."""
    for page in Path(config["site_dir"]).rglob("*.html"):
        if found := FETCHED.search(page.read_text(encoding="utf-8")):
            raise ValueError(f"{page} fetches from another host: {found[0]}")


def mathml(found: re.Match[str]) -> str:
    return convert(html.unescape(found[2]), display="block" if found[1] == "div" else "inline")


def help_of(*arguments: str) -> str:
    """What the program prints, as a code block."""
    shown = io.StringIO()
    wide = patch.dict(os.environ, {"COLUMNS": "100"})
    with wide, contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        cli.main(arguments)
    assert shown.getvalue(), f"kinemask {' '.join(arguments)} says nothing"
    return f"```text\n{shown.getvalue().rstrip()}\n```"


def commands() -> str:
    """The help of every command, and of every protocol."""
    parts = ["## kinemask\n", help_of("--help")]
    for name in cli.COMMANDS:
        parts.append(f"## kinemask {name}\n\n{help_of(name, '--help')}")
        if name == "evaluate":
            parts += [f"### {name} {p}\n\n{help_of(name, p, '--help')}" for p in PROTOCOLS]
    return "\n\n".join(parts)


def settings() -> str:
    """The help of pre-training with a recipe of each method."""
    chosen = {name: max(r for r in recipes() if r.startswith(f"{name}-ntu")) for name in NAMES}
    shown = {name: help_of("pretrain", "--recipe", recipe, "--help") for name, recipe in chosen.items()}
    return "\n\n".join(f"## {name}\n\nRecipe `{chosen[name]}`.\n\n{text}" for name, text in shown.items())


def table(head: list[str], rows: list[list[str]]) -> str:
    cells = ([cell.replace("|", "\\|") for cell in row] for row in (head, ["---"] * len(head), *rows))
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def readers() -> str:
    """What each reader reads, its splits, and what a complete copy holds."""
    rows = []
    for r in known_readers().values():
        splits = "<br>".join(f"`{name}`: {rule.description}" for name, rule in r.splits.items()) or "the files' own"
        whole = {} if r.expected is None else {"files": r.expected.files, "clips": r.expected.clips}
        counts = [f"{count:,} {what}" for what, count in whole.items() if count]
        counts += [f"`{name}` {a:,} / {b:,}" for name, (a, b) in (r.expected.splits if r.expected else {}).items()]
        shapes = " or ".join(f"`{x}`" for x in (r.layout, *r.other_layouts) if x) or "any"
        rows.append(
            [f"`{r.name}`", html.escape(r.title), shapes, splits, "<br>".join(counts) or "–", r.citation or "–"]
        )
    return table(["name", "what", "layout", "splits", "a complete copy (train / test)", "to be cited"], rows)


def shapes() -> str:
    rows = []
    for one in map(layout, layouts()):
        parts = "<br>".join(
            f"{p.replace('_', ' ')}: {', '.join(one.joints[j] for j in js)}" for p, js in one.parts.items()
        )
        rows.append(
            [f"`{one.name}`", f"{one.num_joints}, {one.dims}D", parts, ", ".join(f"`{d}`" for d in one.dropped)]
        )
    return table(["name", "joints", "parts", "pruned sets"], rows)


def known_recipes() -> str:
    return table(
        ["name", "what", "method"], [[f"`{r}`", t, f"`{load_recipe(r)['method']}`"] for r, t in recipes().items()]
    )


PARTS = {"commands": commands, "settings": settings, "readers": readers, "layouts": shapes, "recipes": known_recipes}

"""One HTML page about runs: results beside controls and published numbers, curves, confusion, t-SNE, moving skeletons.

The page is one file without any address in it: styles, scripts and data are inside, and it opens without a network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template

from kinemask.files import write_atomically
from kinemask.reports import figures, tables
from kinemask.reports.html import Markup, join, tag
from kinemask.reports.runs import Run, read_runs
from kinemask.store.opening import open_store

__all__ = ["report"]


def report(
    runs: Sequence[Path | str] | Path | str, out: Path | str | None = None, data: Path | str | None = None
) -> Path:
    """Write one self-contained HTML page about one or several runs; returns its path.

    out: the file, default `report.html` in the first run's folder. data: a store to show instead of the one that each
    run was trained on. A run without evaluations, checkpoint or store gets a page that says what is lacking. Raises
    ValueError for a folder that is not a run, and for `data` that is not a store.
    """
    found = read_runs([runs] if isinstance(runs, Path | str) else runs)
    if data is not None:
        open_store(data)  # a given store must be one; a run's own may be gone
    out = found[0].path / "report.html" if out is None else Path(out)
    sections = {
        "Results": tables.results(found),
        "Beside published numbers": tables.beside_published(found),
        "Training": _each(found, figures.curves),
        "Classes": _each(found, figures.confusion),
        "Robustness": _each(found, figures.robustness),
        "Feature space": _each(found, lambda run: figures.embedding(run, data)),
        "Masks and predictions": _each(found, lambda run: figures.skeletons(run, data, found.index(run))),
        "Settings": tables.settings(found),
        "Reproduce": tables.reproduce(found),
    }
    sections = {title: content for title, content in sections.items() if content}
    names = [name.lower().replace(" ", "-") for name in sections]
    part = lambda name: (files(__name__) / name).read_text(encoding="utf-8")
    page = Template(part("page.html")).substitute(
        title=tag("title", "kinemask report: " + ", ".join(run.name for run in found)),
        style=part("style.css"),
        headline=tables.headlines(found),
        contents=join(tag("a", title, href=f"#{name}") for name, title in zip(names, sections, strict=True)),
        sections=join(
            tag("section", tag("h2", title), content, id=name)
            for name, (title, content) in zip(names, sections.items(), strict=True)
        ),
        script=part("page.js") + part("player.js"),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, lambda path: path.write_text(page, encoding="utf-8"))
    return out


def _each(runs: list[Run], figure: Callable[[Run], Markup]) -> Markup:
    """A figure of every run that has one, under the run's name where there are several."""
    if len(runs) == 1:
        return figure(runs[0])
    drawn = [(run, figure(run)) for run in runs]
    return join(tag("div", tag("h3", run.name), content, class_="run") for run, content in drawn if content)

"""One HTML page about runs: results beside baselines and published numbers, curves, confusion, t-SNE, moving skeletons.

The page is one file without any address in it: styles, scripts and data are inside, and it opens without a network.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kinemask.files import write_atomically
from kinemask.reports import figures, tables
from kinemask.reports.pages import render
from kinemask.reports.runs import read_runs
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
    out = found[0].run.path / "report.html" if out is None else Path(out)
    page = render(
        "page.html",
        names=[run.name for run in found],
        headlines=[tables.headline(run) for run in found[: tables.HEADLINES]],
        results=tables.results(found),
        published=tables.beside_published(found),
        training={run.name: figures.curves(run) for run in found},
        classes_of={run.name: figures.classes(run) for run in found},
        conditions={run.name: curves for run in found if (curves := figures.conditions(run))},
        embeddings={run.name: figures.embedding(run, data) for run in found},
        scenes={run.name: figures.skeletons(run, data, number) for number, run in enumerate(found)},
        settings=tables.settings(found),
        reproduce=tables.reproduce(found),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, lambda path: path.write_text(page, encoding="utf-8"))
    return out

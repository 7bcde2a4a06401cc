"""One HTML page about runs: results beside baselines and published numbers, curves, confusion, t-SNE, moving skeletons.

The page is one file without any address in it: styles, scripts and data are inside, and it opens without a network.
Its figures can be written beside it as files for a paper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kinemask.files import write_atomically
from kinemask.reports import figures, tables
from kinemask.reports.examined import Examined
from kinemask.reports.pages import render
from kinemask.reports.pictures import Missing, Picture, every_picture
from kinemask.reports.runs import read_runs
from kinemask.store.opening import open_store

__all__ = ["report"]


@dataclass(frozen=True)
class Drawn:
    """A figure that was written: its caption, and the names of its files."""

    title: str
    about: str
    files: list[str]


def report(
    runs: Sequence[Path | str] | Path | str,
    out: Path | str | None = None,
    data: Path | str | None = None,
    *,
    classes: Sequence[str] = (),
    clips: Sequence[str] = (),
    paper: Path | str | None = None,
    say: Callable[[str], object] = lambda line: None,
) -> Path:
    """Write one self-contained HTML page about one or several runs; returns its path.

    out: the file, default `report.html` in the first run's folder. data: a store to show instead of the one that each
    run was trained on. classes, clips: names of those to show. paper: a folder for the figures as PDF and PNG; say is
    called with each file's path, and with each figure that a run does not have, and why. A run without evaluations,
    checkpoint or store gets a page that says what is lacking. Raises ValueError for a folder that is not a run, for
    `data` that is not a store, for unknown names, and where `paper` cannot be a folder or matplotlib is absent.
    """
    found = read_runs([runs] if isinstance(runs, Path | str) else runs)
    if data is not None:
        open_store(data)  # a given store must be one; a run's own may be gone
    seen = [Examined(run, data, classes, clips) for run in found]
    for one in seen:
        one.check()
    folder = None
    if paper is not None:
        from kinemask.reports.paper import check_folder

        folder = check_folder(paper)
    drawn, missing = ([], []) if folder is None else _write(seen, classes, folder, say)
    out = found[0].run.path / "report.html" if out is None else Path(out)
    page = render(
        "page.html",
        names=[run.name for run in found],
        headlines=[tables.headline(run) for run in found[: tables.HEADLINES]],
        results=tables.results(found),
        published=tables.beside_published(found),
        training={run.name: figures.curves(run) for run in found},
        classes_of={run.name: figures.classes(run) for run in found},
        gains=[figures.gains_over(seen[0], other, classes) for other in seen[1:]],
        conditions={run.name: curves for run in found if (curves := figures.conditions(run))},
        embeddings={one.run.name: figures.embedding(one) for one in seen},
        attention={one.run.name: figures.attention(one) for one in seen},
        scenes={one.run.name: figures.skeletons(one, number) for number, one in enumerate(seen)},
        paper=drawn,
        missing=missing,
        settings=tables.settings(found),
        reproduce=tables.reproduce(found),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, lambda path: path.write_text(page, encoding="utf-8"))
    return out


def _write(
    seen: Sequence[Examined], classes: Sequence[str], folder: Path, say: Callable[[str], object]
) -> tuple[list[Drawn], list[Missing]]:
    """Files of figures: what the page says of them, and what there is not."""
    from kinemask.reports.paper import write

    drawn: list[Drawn] = []
    missing: list[Missing] = []
    for one in every_picture(seen, classes):
        match one:
            case Picture():
                files = write(one, folder)
                drawn.append(Drawn(one.title, one.about, [path.name for path in files]))
                for path in files:
                    say(str(path))
            case Missing():
                missing.append(one)
                say(f"not drawn: {one.title}: {one.why}")
    return drawn, missing

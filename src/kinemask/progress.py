"""Progress of long work: a bar with speed and remaining time on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol

SECONDS_BETWEEN_LINES = 10.0


class Report(Protocol):
    """Takes how many items are done, and a short note such as the loss."""

    def __call__(self, done: int, note: str = "") -> None: ...


@contextmanager
def progress(title: str, total: int, *, first: int = 0, shown: bool = True) -> Generator[Report]:
    """Shows on standard error how far long work has come; gives the function that takes the items done.

    On a terminal a bar, elsewhere a line every ten seconds; both with items per second and remaining time.
    first: items that were done before. Nothing is shown unless `shown`.
    """
    start = time.monotonic()

    def pace(done: int) -> str:
        elapsed = time.monotonic() - start
        if done <= first or not elapsed:
            return ""
        left = int((total - done) * elapsed / (done - first))
        return f"{(done - first) / elapsed:.1f}/s, {left // 3600}:{left // 60 % 60:02d}:{left % 60:02d} left"

    if not shown:
        yield lambda done, note="": None
        return
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[pace]}"))
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(title, total=total, pace="")
            yield lambda done, note="": bar.update(task, completed=done, pace=f"{pace(done)} {note}")
        return

    last = start

    def line(done: int, note: str = "") -> None:
        nonlocal last
        if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            print(f"{title}: {done}/{total}, {pace(done)} {note}".rstrip(), file=sys.stderr, flush=True)

    yield line

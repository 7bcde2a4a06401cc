"""Reading many files at once, in order, with a bounded number of them in memory."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice

from kinemask.errors import printable, shorten
from kinemask.readers import Failure, Item, ReadOptions
from kinemask.store.format import Clip

FEW_FILES = 32  # so few are read sooner than processes start
CHUNK = 16  # files that a process takes at a time

Read = Callable[[Item, ReadOptions], Clip | Iterator[Clip | Failure]]
Results = Iterable[Clip | Failure]


@contextmanager
def reading(read: Read, options: ReadOptions, items: Sequence[Item], workers: int) -> Iterator[Iterator[Results]]:
    """Gives an iterator over the clips that `read` makes of each item, in the order of the items.

    Leaving the context ends the worker processes and drops what is in flight; they also end when this process does,
    however it does. An error of any type that `read` raises is a Failure of its item.
    """
    if workers == 1 or len(items) <= FEW_FILES:
        yield (_read_one(read, options, item) for item in items)
        return
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
    pool = ProcessPoolExecutor(workers, context, _start_worker, (read, options))
    try:
        chunks = (items[i : i + CHUNK] for i in range(0, len(items), CHUNK))
        # the first chunks go out here, so that processes fork before the caller starts threads
        flying = deque(pool.submit(_read_chunk, chunk) for chunk in islice(chunks, 2 * workers))
        yield _collect(pool, flying, chunks)
    except BrokenProcessPool:
        raise ChildProcessError(
            "a reading process died: perhaps for lack of memory (try again with fewer workers), or because the script "
            'that calls prepare does so outside `if __name__ == "__main__":`'
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _collect(
    pool: ProcessPoolExecutor, flying: deque[Future[list[Results]]], chunks: Iterator[Sequence[Item]]
) -> Iterator[Results]:
    while flying:
        results = flying.popleft().result()
        flying.extend(pool.submit(_read_chunk, chunk) for chunk in islice(chunks, 1))
        yield from results


_task: tuple[Read, ReadOptions]


def _start_worker(read: Read, options: ReadOptions) -> None:
    global _task
    _task = read, options
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent tidies up
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not the handler that a forked process inherits
    if (parent := multiprocessing.parent_process()) is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(parent: int) -> None:
    """Ends this process when its parent has ended: one that is killed cannot tidy up. parent: its sentinel."""
    multiprocessing.connection.wait([parent])
    os._exit(1)


def _read_chunk(items: Sequence[Item]) -> list[Results]:
    return [list(_read_one(*_task, item)) for item in items]


def _read_one(read: Read, options: ReadOptions, item: Item) -> Iterator[Clip | Failure]:
    """The clips of an item, and in place of each that is bad a Failure whose words can be printed, and are few."""
    try:
        _check_text(item.name)
        clips = read(item, options)
        for result in [clips] if isinstance(clips, Clip) else clips:
            yield _brief(result) if isinstance(result, Failure) else _checked(result)
    except (OSError, ValueError) as error:
        yield _brief(Failure.of(error))
    except Exception as error:  # damaged files have libraries raise errors of any type
        yield _brief(Failure(f"cannot be read ({type(error).__name__}: {error})"))


def _checked(clip: Clip) -> Clip | Failure:
    """The clip, if a store, whose tables are UTF-8, can hold its name and fields; its notes made printable."""
    try:
        _check_text(clip.name, *clip.fields, *clip.fields.values())
    except ValueError as error:
        return Failure(str(error), name=printable(clip.name))
    return replace(clip, notes=tuple(map(printable, clip.notes)))


def _check_text(*texts: str) -> None:
    for text in texts:
        if "\0" in text or text != printable(text):
            raise ValueError(f"the text {shorten(ascii(text), 100)} is not UTF-8; rename it")


def _brief(failure: Failure) -> Failure:
    return replace(failure, reason=shorten(failure.reason), name=shorten(failure.name))

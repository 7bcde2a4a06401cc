"""Reading many files at once, in order, with a bounded number of them in memory."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice

from kinemask.readers import Failure, Item, ReadOptions
from kinemask.store.format import Clip

FEW_FILES = 32  # so few are read sooner than processes start
CHUNK = 16  # files that a process takes at a time

Read = Callable[[Item, ReadOptions], Clip | Iterator[Clip | Failure]]
Results = Iterable[Clip | Failure]


@contextmanager
def reading(read: Read, options: ReadOptions, items: Sequence[Item], workers: int) -> Iterator[Iterator[Results]]:
    """Gives an iterator over the clips that `read` makes of each item, in the order of the items.

    Leaving the context ends the worker processes and drops what is
    in flight. Errors of `read` other than ValueError and OSError are faults of the reader and are raised.
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


def _read_chunk(items: Sequence[Item]) -> list[Results]:
    return [list(_read_one(*_task, item)) for item in items]


def _read_one(read: Read, options: ReadOptions, item: Item) -> Iterator[Clip | Failure]:
    try:
        clips = read(item, options)
        yield from [clips] if isinstance(clips, Clip) else clips
    except (OSError, ValueError) as error:
        yield Failure.of(error)
    except Exception as error:
        error.add_note(f"while reading {item.path}")
        raise

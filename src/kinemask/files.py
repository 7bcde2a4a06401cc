"""Writing files so that they are either complete or absent."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary path beside `path`, then rename; nothing is left behind when it fails."""
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        with naming(path):
            write(partial)
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Generator[None]:
    """Has an OSError of writing (a full disk) say which file it was."""
    try:
        yield
    except OSError as error:
        reason = f"cannot write {path} ({error.strerror or error}); the last good state is kept"
        raise OSError(error.errno, reason) from error

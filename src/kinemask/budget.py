"""How much memory a file may take: told by its size and its headers, before anything is made of it.

A small file may stand for a large one: a packed array of zeros, a file of holes, a table of two frames that are far
apart. Two rules hold for every file that is read. What it takes is at most its budget, `KINEMASK_FILE_GB` gigabytes;
and beyond a quarter of one, at most 50 times the bytes that are really there.
"""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "KINEMASK_FILE_GB"
USUAL = 2.0  # gigabytes
FREE = 1 << 28  # bytes that no second rule is worth
FACTOR = 50  # bytes taken for each that is there, beyond that
PARSED = 8  # bytes that one of a text of numbers takes, once it is parsed
NUMBER = 8  # bytes: whatever a file holds its numbers in, they are reckoned with as float64


def budget() -> int:
    """Bytes of memory that a file may take; ValueError where the environment variable is no positive number."""
    text = os.environ.get(VARIABLE, "")
    try:
        gigabytes = float(text) if text.strip() else USUAL
    except ValueError:
        gigabytes = 0.0
    if not 0 < gigabytes < 1e9:
        raise ValueError(f"{VARIABLE} is {text[:40]!r}; it should be a number of gigabytes, such as {USUAL:g}")
    return int(gigabytes * 1e9)


def check_memory(where: Path | str, size: int, held: int | None = None) -> None:
    """ValueError beginning with `where`, if what it holds takes more than it may.

    size: bytes that it takes in memory. held: bytes that it takes in the file, where these may be far fewer.
    """
    if held is not None and size > max(FREE, FACTOR * held):
        raise ValueError(f"{where}: {held:,} bytes would unpack to {size:,}")
    if size > (most := budget()):
        raise ValueError(
            f"{where}: would take {size / 1e9:,.1f} GB of memory, and a file may take {most / 1e9:g}"
            f" (more, if the environment variable {VARIABLE} says so)"
        )


def check_numbers(where: Path | str, count: int, held: int | None = None) -> None:
    """`check_memory` of so many numbers."""
    check_memory(where, NUMBER * count, held)


def bytes_on_disk(path: Path) -> int:
    """Bytes of a file that are really there: fewer than its size where it has holes."""
    found = path.stat()
    blocks = getattr(found, "st_blocks", 0)  # 0 also on file systems that do not count them
    return min(found.st_size, blocks * 512) if blocks else found.st_size


def check_holes(path: Path) -> None:
    """ValueError where a file is mostly holes, so that a small one is read as a large one. Weights may be large."""
    size = path.stat().st_size
    if size > max(FREE, FACTOR * bytes_on_disk(path)):
        raise ValueError(f"{path}: {size:,} bytes, of which {bytes_on_disk(path):,} are there")


def read_bytes(path: Path, factor: int = 1) -> bytes:
    """A whole file; ValueError where it takes more than it may. factor: bytes in memory for each of its own, later."""
    check_holes(path)
    check_memory(path, factor * path.stat().st_size)
    return path.read_bytes()

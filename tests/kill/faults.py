"""Ends a process as SIGKILL does, at one of its file operations: before it, in its middle, or after it."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

NAMES = ("replace", "rename", "unlink", "rmdir", "mkdir", "fsync")  # functions of os; and "write"
PHASES = ("before", "middle", "after")


class Fault(NamedTuple):
    """The operation of that name and number, counted from 1; nothing is whole in the middle of a write alone."""

    name: str
    number: int
    phase: str


class Faults:
    """Counts the file operations of this process, for good, and dies at the fault's."""

    def __init__(self, fault: Fault | None):
        self.fault, self.seen = fault, Counter[str]()
        for name in NAMES:
            setattr(os, name, self.counted(name, getattr(os, name)))
        for name in ("write_bytes", "write_text"):
            setattr(Path, name, self.counted("write", getattr(Path, name), half_of_a_file))
        opened = Path.open

        def watched(path: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            file = opened(path, mode, *arguments, **options)
            return file if mode in ("r", "rb") else Watched(file, self)

        Path.open = watched

    def counted(self, name: str, real: Callable[..., Any], half: Callable[..., Any] | None = None) -> Any:
        def operation(*arguments: Any, **options: Any) -> Any:
            self.seen[name] += 1
            if self.fault is None or self.fault[:2] != (name, self.seen[name]):
                return real(*arguments, **options)
            try:
                if self.fault.phase == "middle" and half is not None:
                    half(*arguments, **options)
                elif self.fault.phase != "before":
                    real(*arguments, **options)
            finally:  # also where the operation fails
                die()

        return operation


def half_of_a_file(path: Path, content: Any, **options: Any) -> None:
    kept = content[: len(content) // 2]
    with open(path, "w" if isinstance(content, str) else "wb", **options) as file:
        file.write(kept)


class Watched:
    """A file whose writes are counted, and reach the disk at once."""

    def __init__(self, file: Any, faults: Faults):
        self.file = file

        def half(content: Any) -> None:
            file.write(content[: len(content) // 2])
            file.flush()

        def whole(content: Any) -> int:
            count = file.write(content)
            file.flush()
            return count

        self.write = faults.counted("write", whole, half)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *error: Any) -> None:
        self.file.close()


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def in_a_process(work: Callable[[], object], fault: Fault | None = None) -> tuple[int, Counter[str]]:
    """Do the work in a copy of this process; returns how that ended (0: well) and, if well, its operations."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.close(reading)
            faults = Faults(fault)
            work()
            os.write(writing, " ".join(f"{name} {count}" for name, count in faults.seen.items()).encode())
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as said:
        words = said.read().split()
    _, ended = os.waitpid(child, 0)
    seen = Counter({name: int(count) for name, count in zip(words[::2], words[1::2], strict=True)})
    return os.waitstatus_to_exitcode(ended), seen

"""Damaged and hostile files end in a result or in a short ValueError or OSError that names them, and in nothing else.

Each input is drawn by a seed, a subject and a number, which a failure tells; `make fuzz` tries a million.
"""

from __future__ import annotations

import base64
import os
import resource
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from shutil import rmtree
from typing import NoReturn

import pytest

from fuzz.subjects import SUBJECTS, Subject

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits address space and processor time")

COUNT = int(os.environ.get("KINEMASK_FUZZ", 2000))  # inputs in all
SEED = int(os.environ.get("KINEMASK_FUZZ_SEED", 0))
ROOM = 1 << 30  # bytes of address space that an input may take
SECONDS = 10  # of processor time
LONGEST = 500
CHUNK = 1000  # inputs of a test
EACH = -(-COUNT // len(SUBJECTS))

ONCE_WRONG = (  # seed, subject, number
    (0, "checkpoint", 0),  # a message without end
    (0, "arrays-npz", 45),
    (1, "result", 191),
    (0, "result", 56),  # a part of scores that is no array
    (1, "pyskl-old", 669),  # no file's name
    (1, "bvh", 600),  # 1e308, stored as infinity
    (7, "any-table", 209),  # no file's name
)


class Hangs(BaseException):
    """An input took too long. No Exception, so that nothing catches it."""


class Damaged(Exception):
    """What is wrong with how an input ended."""


@contextmanager
def limited() -> Iterator[None]:
    """Little memory."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + ROOM, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@contextmanager
def timed() -> Iterator[None]:
    def stop(*_: object) -> NoReturn:
        raise Hangs

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def check(subject: Subject, folder: Path) -> None:
    """Open the files of a folder; Damaged where that ends in what it must not."""
    try:
        with timed(), warnings.catch_warnings(action="ignore"):
            subject.open(folder)
    except (ValueError, OSError) as error:
        said = str(error)
        if len(said) > LONGEST:
            raise Damaged(f"a message of {len(said):,} characters: {said[:300]}") from error
        if str(folder) not in said:
            raise Damaged(f"it names no file: {said}") from error
        if "cannot be read (" in said:  # an error that no reader foresaw
            raise Damaged(said) from error
    except (Exception, Hangs) as error:
        raise Damaged(f"{type(error).__name__}: {str(error)[:300]}") from error


def try_one(seed: int, name: str, number: int, whole: dict[str, bytes], folder: Path) -> None:
    """One of a subject's files damaged, all others whole; fails with what it takes to see it again."""
    subject, draw = SUBJECTS[name], Random(f"{seed} {name} {number}")
    chosen = draw.choice(sorted(whole))
    damaged = subject.change(draw, whole[chosen])
    for path, content in whole.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(damaged if path == chosen else content)
    subject.mend(folder)
    try:
        check(subject, folder)
    except Damaged as error:
        shown = base64.b64encode(damaged).decode() if len(damaged) < 6000 else f"{len(damaged):,} bytes"
        pytest.fail(f'seed {seed}, "{name}", {number}: {chosen}: {error}\nbase64 of the file: {shown}')


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, dict[str, bytes]]:
    """Of each subject, its valid files by their paths; what they are opened to is seen to be fine."""
    found = {}
    for name, subject in SUBJECTS.items():
        folder = tmp_path_factory.mktemp("whole")
        subject.make(folder)
        subject.open(folder)
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        found[name] = {str(path.relative_to(folder)): path.read_bytes() for path in files}
    return found


@pytest.mark.parametrize("start", range(0, EACH, CHUNK))
@pytest.mark.parametrize("name", SUBJECTS)
def test_damaged_files_end_well(name, start, whole, tmp_path):
    with limited():
        for number in range(start, min(start + CHUNK, EACH)):
            try_one(SEED, name, number, whole[name], tmp_path / "files")
            rmtree(tmp_path / "files")


@pytest.mark.parametrize("seed, name, number", ONCE_WRONG)
def test_what_was_once_wrong_ends_well(seed, name, number, whole, tmp_path):
    with limited():
        try_one(seed, name, number, whole[name], tmp_path / "files")

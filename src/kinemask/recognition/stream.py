"""Poses as lines of JSON, a frame a line, from standard input or from a file that grows.

A line is {"keypoints": [[x, y, z], …]} for one person, or {"people": [[[x, y, z], …], …]} for several, with "time" in
seconds where it is known; or one of these lists alone. Joints are in the layout's order, [x, y] in 2D, with one number
more where the confidence is known. null and NaN are missing: a number, a joint, somebody. Other keys are left alone.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from kinemask.errors import shorten
from kinemask.plain_file import parse_json
from kinemask.readers.files import as_numbers, brief
from kinemask.recognition.live import LiveWindow, WrongStream
from kinemask.recognition.segments import Segment

STDIN = "-"
IN_A_ROW = 20  # lines that are no poses, after which the stream is taken to be something else
_LINE = 4 << 20  # bytes
_WAIT = 0.01  # seconds until a file is looked at again

Say = Callable[[str], None]
AtEnd = Literal["over", "more", "anew"]
Frame = tuple[list[np.ndarray], float | None]  # everybody's joints, and seconds
Frames = Generator[tuple[int, Callable[[], Frame]]]


def live(window: LiveWindow, frames: Frames, say: Say, what: str = "line") -> Iterator[Segment]:
    """A segment at every hop of a stream, and one of what is left at its end.

    frames: the number of each, and what reads it; closed at the end. say: takes sentences on frames that are left out,
    and one at the end. what: a frame is called. Raises ValueError where a frame has other joints than were expected,
    where IN_A_ROW of them are no poses, and where the stream ends without a frame.
    """
    bad = row = 0
    with closing(frames):
        for number, read in frames:
            try:
                found = window.push(*read())
            except WrongStream as error:
                raise ValueError(f"{what} {number}: {error}") from None
            except ValueError as error:
                say(shorten(f"{what} {number} is left out: {error}"))
                bad, row = bad + 1, row + 1
                if row == IN_A_ROW:
                    raise ValueError(f"{row} {what}s in a row are no poses; {what} {number}: {error}") from None
                continue
            row = 0
            if found is not None:
                yield found
    left_out = f"; {what}s left out: {bad:,}" * bool(bad)
    if not window.frames:
        raise ValueError(f"the stream ended without a frame{left_out}")
    if (last := window.finish()) is not None:
        yield last
    nobody = f"; windows in which nobody is seen: {window.unlabelled:,}" * bool(window.unlabelled)
    say(f"frames: {window.frames:,}; labels: {window.labels:,}{nobody}{left_out}")


def read_lines(source: str | Path, follow: bool, say: Say) -> Frames:
    """The frames of JSON lines. follow: wait for more where a file ends."""
    for number, line in enumerate(lines_of(source, follow, say), 1):
        if line.strip():
            yield number, partial(_read, line)


def _read(line: bytes) -> Frame:
    try:
        return parse_line(line)
    except ValueError:
        if line.endswith(b"\n"):
            raise
        raise ValueError("the stream ends within this line") from None


def parse_line(line: bytes | str) -> Frame:
    """Everybody's numbers in a line, (V, C) or (V, C + 1) each, and its time; ValueError for what is no frame."""
    text = line.decode("utf-8", "replace") if isinstance(line, bytes) else line
    content = parse_json(text.strip(), "a frame")
    at = None
    if isinstance(content, dict):
        at = content.get("time")
        if at is not None and (isinstance(at, bool) or not isinstance(at, int | float)):
            raise ValueError(f"time is {brief(at)}; expected seconds")
        keys = [key for key in ("keypoints", "people") if key in content]
        if len(keys) != 1:
            raise ValueError(f"expected an object with keypoints or people, found {brief(content)}")
        content = [content["keypoints"]] if keys == ["keypoints"] else content["people"]
    elif isinstance(content, list) and not _is_crowd(content):
        content = [content]
    if content is None:
        content = []
    if not isinstance(content, list):
        raise ValueError(f"expected a list of people, found {brief(content)}")
    unseen = lambda one: one is None or (isinstance(one, list) and all(joint is None for joint in one))
    return [_numbers(one) for one in content if not unseen(one)], None if at is None else float(at)


def _is_crowd(content: list[Any]) -> bool:
    """Whether a list is of people, not of one person's joints."""
    first = next((one for one in content if one is not None), None)
    return not content or (isinstance(first, list) and any(isinstance(value, list) for value in first))


def _numbers(person: Any) -> np.ndarray:
    """One person's joints; a joint that is null is NaN in all coordinates."""
    if not isinstance(person, list) or not all(joint is None or isinstance(joint, list) for joint in person):
        raise ValueError(f"somebody is {brief(person)}; expected a list of joints, each [x, y] or [x, y, z], or null")
    width = max(len(joint) for joint in person if joint is not None)
    rows = [[np.nan] * width if joint is None else joint for joint in person]
    rows = [[np.nan if value is None else value for value in row] for row in rows]
    return as_numbers(rows, "joints")


def lines_of(source: str | Path, follow: bool, say: Say) -> Iterator[bytes]:
    """Lines with their ends, each as soon as it is whole; the last one may lack its end."""
    if str(source) == STDIN:
        yield from _lines(sys.stdin.buffer, lambda: "over")
        return
    with Path(source).open("rb") as file:
        grows = follow and stat.S_ISREG(os.fstat(file.fileno()).st_mode)

        def wait() -> AtEnd:
            if not grows:
                return "over"
            if os.fstat(file.fileno()).st_size < file.tell():
                say(f"{source} is shorter than before: it is read from its start again")
                file.seek(0)
                return "anew"
            time.sleep(_WAIT)
            return "more"

        yield from _lines(file, wait)


def _lines(file: BinaryIO, wait: Callable[[], AtEnd]) -> Iterator[bytes]:
    """Lines of a stream. wait: called at its end; what comes then. A line begun before a file is read anew is lost."""
    part = b""
    while True:
        more = file.readline(_LINE)
        part = part + more
        if part.endswith(b"\n"):
            yield part
            part = b""
        elif len(part) >= _LINE:
            raise ValueError(f"a line of {len(part):,} bytes or more; expected JSON lines, a frame each")
        elif not more:
            then = wait()
            if then == "over":
                break
            part = b"" if then == "anew" else part
    if part:
        yield part

"""The `.skeleton` text format of NTU RGB+D.

Line 1: the number of frames. Per frame a line with the number of bodies; per body a line of 10 fields (the
tracking id first), a line with the number of joints, and per joint a line of 12 numbers, x y z first.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from pathlib import Path

import msgspec
import numpy as np

from kinemask.budget import PARSED, read_bytes

JOINTS = 25
BODY_FIELDS = 10
JOINT_FIELDS = 12

_NUMBERS = msgspec.json.Decoder(list[float])
_SPACES = [JOINT_FIELDS - 1] * JOINTS  # per line of a body; no line is short or long, then


@dataclass(frozen=True)
class Observations:
    """What a file says, one row per body of a frame: R rows.

    ids: (R,) int64 tracking ids. frames: (R,) int64, ascending. joints: (R, V, 3) metres.
    """

    ids: np.ndarray
    frames: np.ndarray
    joints: np.ndarray


def parse_skeleton(path: Path) -> Observations:
    """Read a `.skeleton` file: NaN stays NaN; the nine fields after x y z may be any numbers.

    (Kinect writes infinity into those for points outside the colour image.) Raises ValueError with
    file, line, what was expected and what was found; an announced count never allocates more than the
    file holds.
    """
    return _Parser(path).read()


class _Parser:
    """A file's lines and how far they are read. Bodies are read at a stroke, or else line by line."""

    def __init__(self, path: Path):
        self.path = path
        self.lines = read_bytes(path, PARSED).split(b"\n")
        self.at = 0  # lines read, so the number of the last one, counted from 1

    def read(self) -> Observations:
        ids: list[int] = []
        frames: list[int] = []
        starts: list[int] = []
        channels: tuple[list[float], ...] = ([], [], [])
        num_frames = self.count("the number of frames")
        for t in range(num_frames):
            for _ in range(self.count("the number of bodies of frame %d of %d", t + 1, num_frames)):
                starts.append(self.at)
                frames.append(t)
                ids.append(self.body())
                numbers = self.joints_at_a_stroke() or self.joints()
                for c, channel in enumerate(channels):
                    channel += numbers[c::JOINT_FIELDS]
        self.end(num_frames)
        joints = np.stack([np.array(channel, np.float64).reshape(-1, JOINTS) for channel in channels], -1)
        self.check_finite(joints, starts)
        return Observations(np.array(ids, np.int64), np.array(frames, np.int64), joints)

    def body(self) -> int:
        """Tracking id of a body, after its first line and its joint count."""
        fields = self.next("the %d fields of a body", BODY_FIELDS)
        if len(fields) != BODY_FIELDS:
            raise self.fail(f"the {BODY_FIELDS} fields of a body", f"{len(fields)}: {_show(fields)}")
        if not fields[0].isdigit() or int(fields[0]) >= 2**63:
            raise self.fail("a tracking id of up to 19 digits", _show(fields[:1]))
        number = self.count("the number of joints, %d", JOINTS)
        if number != JOINTS:
            raise self.fail(f"the number of joints, {JOINTS}", number)
        return int(fields[0])

    def joints_at_a_stroke(self) -> list[float]:
        """All numbers of a body's joints, if single spaces part them and JSON has each; else none.

        As a JSON list they are read in a third of the time that Python's `float` takes, to the same values.
        """
        rows = self.lines[self.at : self.at + JOINTS]
        if [row.count(b" ") for row in rows] != _SPACES:
            return []
        try:
            numbers = _NUMBERS.decode(b"[" + b",".join(rows).replace(b" ", b",") + b"]")
        except msgspec.MsgspecError:
            return []
        if len(numbers) != JOINTS * JOINT_FIELDS:
            return []
        self.at += JOINTS
        return numbers

    def joints(self) -> list[float]:
        """The same, line by line."""
        numbers: list[float] = []
        for _ in range(JOINTS):
            tokens = self.next("the %d numbers of a joint", JOINT_FIELDS)
            if len(tokens) != JOINT_FIELDS:
                raise self.fail(f"the {JOINT_FIELDS} numbers of a joint", f"{len(tokens)}: {_show(tokens)}")
            numbers += [self.number(token) for token in tokens]
        return numbers

    def number(self, token: bytes) -> float:
        try:
            if b"_" in token:
                raise ValueError
            return nan if b"#IND" in token or b"#QNAN" in token else float(token.replace(b"1.#INF", b"inf"))
        except ValueError:
            raise self.fail("a number", _show([token])) from None

    def count(self, expected: str, *numbers: int) -> int:
        tokens = self.next(expected, *numbers)
        if len(tokens) != 1 or not tokens[0].isdigit() or len(tokens[0]) > 18:
            raise self.fail(expected % numbers, _show(tokens))
        return int(tokens[0])

    def next(self, expected: str, *numbers: int) -> list[bytes]:
        """Fields of the next line."""
        self.at += 1
        if self.at > len(self.lines) or (self.at == len(self.lines) and not self.lines[-1].strip()):
            raise self.fail(expected % numbers, "the end of the file")
        return self.lines[self.at - 1].split()

    def end(self, num_frames: int) -> None:
        for at, line in enumerate(self.lines[self.at :], self.at + 1):
            if line.strip():
                self.at = at
                raise self.fail(f"the end of the file after {num_frames} frames", _show(line.split()))

    def check_finite(self, joints: np.ndarray, starts: list[int]) -> None:
        """joints: (R, V, 3); starts: the line before each of the R bodies."""
        if np.isinf(joints).any():
            row, joint, _ = np.argwhere(np.isinf(joints))[0]
            self.at = starts[row] + 2 + int(joint) + 1
            raise self.fail("finite x y z", _show(self.lines[self.at - 1].split()[:3]))

    def fail(self, expected: str, found: object) -> ValueError:
        return ValueError(f"{self.path}, line {self.at}: expected {expected}, found {found}")


def _show(tokens: list[bytes]) -> str:
    text = b" ".join(tokens).decode("ascii", "backslashreplace")
    return repr(text if len(text) <= 60 else text[:60] + "…") if text else "an empty line"

"""BVH files: a tree of joints with offsets and channels, and their values in each frame, as joint positions.

Format: Biovision's, as the University of Wisconsin's "Motion Capture File Formats Explained" gives it. A joint's
rotation is that of its channels from left to right, about its own moved axes; position channels stand in for its
offset.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kinemask.budget import check_memory, check_numbers
from kinemask.readers.sheets import decode

_AXES = "XYZ"
_PLACED = 12  # numbers of a joint's place and turn in a frame
_WORD = 66  # bytes of a number's text in memory
_CHANNELS = {f"{axis}{kind}".lower(): (kind, v) for kind in ("position", "rotation") for v, axis in enumerate(_AXES)}


@dataclass
class BvhJoint:
    """A joint of the tree. parent: its parent's index, -1 for a root. channels: (position or rotation, axis), in order.
    end: whether it is but the end of its parent."""

    name: str
    parent: int
    offset: np.ndarray = field(default_factory=lambda: np.zeros(3))
    channels: tuple[tuple[str, int], ...] = ()
    end: bool = False


@dataclass(frozen=True)
class Bvh:
    """What a file holds: joints, parents before children, the values (T, channels) and seconds from frame to frame."""

    joints: tuple[BvhJoint, ...]
    values: np.ndarray
    seconds: float

    def positions(self) -> np.ndarray:
        """Positions (T, joints, 3), in the file's units and axes."""
        count = len(self.values)
        places = np.empty((count, len(self.joints), 3))
        turns: list[np.ndarray] = []
        at = 0
        for j, joint in enumerate(self.joints):
            own = self.values[:, at : at + len(joint.channels)]
            at += len(joint.channels)
            shift = np.tile(joint.offset, (count, 1))
            turn = np.broadcast_to(np.eye(3), (count, 3, 3))
            for (kind, axis), value in zip(joint.channels, own.T, strict=True):
                if kind == "position":
                    shift[:, axis] = value
                else:
                    turn = turn @ _rotation(axis, np.radians(value))
            if joint.parent < 0:
                places[:, j] = shift
                turns.append(turn)
            else:
                before = turns[joint.parent]
                places[:, j] = places[:, joint.parent] + (before @ shift[..., None])[..., 0]
                turns.append(before if joint.end else before @ turn)
        return places


def rest_places(joints: Sequence[BvhJoint]) -> np.ndarray:
    """Positions (joints, 3) of the tree as it stands, nothing turned."""
    places = np.zeros((len(joints), 3))
    for j, joint in enumerate(joints):
        places[j] = joint.offset + (places[joint.parent] if joint.parent >= 0 else 0)
    return places


def _rotation(axis: int, angle: np.ndarray) -> np.ndarray:
    """(T,) angles → (T, 3, 3) rotations about an axis."""
    turn = np.zeros((len(angle), 3, 3))
    a, b = (axis + 1) % 3, (axis + 2) % 3
    turn[:, axis, axis] = 1
    turn[:, a, a] = turn[:, b, b] = np.cos(angle)
    turn[:, b, a] = np.sin(angle)
    turn[:, a, b] = -turn[:, b, a]
    return turn


def parse_bvh(path: Path) -> Bvh:
    """A BVH file; ValueError with the line where it is none."""
    text, _ = decode(path)
    lines = _Lines(path, text)
    lines.expect("HIERARCHY")
    joints = _parse_tree(lines)
    words = lines.next()
    if len(words) != 2 or words[0].lower() != "frames:" or not words[1].isdecimal() or len(words[1]) > 9:
        raise lines.error("Frames: and their number", words)
    frames, words = int(words[1]), lines.next()
    if len(words) != 3 or [word.lower() for word in words[:2]] != ["frame", "time:"]:
        raise lines.error("Frame Time: and seconds", words)
    (seconds,) = lines.numbers(words[2:], 1)
    channels = sum(len(joint.channels) for joint in joints)
    first, body = lines.line + 1, lines.rest()
    check_memory(path, _WORD * sum(map(body.count, " \t\n")))
    try:
        values = np.array(body.split(), np.float64)
    except ValueError as error:
        raise ValueError(f"{path}, from line {first}: expected numbers only ({error})") from None
    if values.size != frames * channels or not values.size:
        raise ValueError(
            f"{path}, from line {first}: {frames} frames of {channels} channels are {frames * channels} numbers, found"
            f" {values.size}"
        )
    check_numbers(path, frames * _PLACED * len(joints))
    if not np.isfinite(values).all():
        raise ValueError(f"{path}, from line {first}: a value is not finite")
    return Bvh(tuple(joints), values.reshape(frames, channels), seconds)


def _parse_tree(lines: _Lines) -> list[BvhJoint]:
    """The joints up to MOTION, which is read too."""
    joints: list[BvhJoint] = []
    path: list[int] = []  # from the root to the joint whose braces are open
    while True:
        words = lines.next()
        match [words[0].upper(), *words[1:]]:
            case ["MOTION"] if joints and not path:
                return joints
            case ["ROOT", *name] if not path and name:
                joints.append(BvhJoint(" ".join(name), -1))
            case ["JOINT", *name] if path and name:
                joints.append(BvhJoint(" ".join(name), path[-1]))
            case ["END", *_] if path:
                joints.append(BvhJoint(f"{joints[path[-1]].name} end", path[-1], end=True))
            case ["OFFSET", *numbers] if path:
                joints[path[-1]].offset = np.array(lines.numbers(numbers, 3))
                continue
            case ["CHANNELS", count, *names] if path:
                known = [_CHANNELS.get(name.lower()) for name in names]
                if str(len(names)) != count or None in known or joints[path[-1]].end or joints[path[-1]].channels:
                    raise lines.error("a number of channels and as many names, such as Xrotation", words)
                joints[path[-1]].channels = tuple(channel for channel in known if channel)
                continue
            case ["}"] if path:
                path.pop()
                continue
            case _:
                raise lines.error("ROOT, JOINT, End Site, OFFSET, CHANNELS, MOTION or braces that match", words)
        lines.expect("{")
        path.append(len(joints) - 1)


class _Lines:
    """The lines of a file that hold anything, as words; a brace at a line's end is a line of its own."""

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.line, self.at, self.text = path, 0, 0, text
        self.waiting: list[str] = []

    def next(self) -> list[str]:
        if self.waiting:
            words, self.waiting = self.waiting, []
            return words
        for words in self._more():
            if len(words) > 1 and words[-1] in "{}":
                words, self.waiting = words[:-1], [words[-1]]
            return words
        raise ValueError(f"{self.path}, line {self.line}: the file ends before its motion; is it a BVH file?")

    def _more(self) -> Iterator[list[str]]:
        while self.at < len(self.text):
            end = self.text.find("\n", self.at)
            end = len(self.text) if end < 0 else end
            words, self.at = self.text[self.at : end].split(), end + 1
            self.line += 1
            if words:
                yield words

    def expect(self, word: str) -> None:
        words = self.next()
        if [word.upper()] != [w.upper() for w in words]:
            raise self.error(word, words)

    def numbers(self, words: list[str], count: int) -> list[float]:
        try:
            values = [float(word) for word in words]
        except ValueError:
            values = []
        if len(values) != count or not np.isfinite(values).all():
            raise self.error(f"{count} numbers", words)
        return values

    def rest(self) -> str:
        return self.text[self.at :]

    def error(self, expected: str, found: list[str]) -> ValueError:
        return ValueError(f"{self.path}, line {self.line}: expected {expected}, found {' '.join(found)[:60]!r}")

"""Joints by name: what sources call them, and which joints of a layout these are.

Names compare by their words, in any case and spelling: LEFT_HIP, leftHip, Left Hip, hip_l, LHip and mixamorig:LeftHip
are one, and so are the names that shipped layouts have for the middle of the hips.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache

from kinemask.skeleton import Layout, layout, layouts

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SIDES = {"l": "left", "left": "left", "r": "right", "right": "right"}
_GLUED = re.compile(r"(left|right|[lr](?=hip|knee|ankle|foot|toe|heel|shoulder|elbow|wrist|hand|thumb|eye|ear))(\w+)")
_MIDDLE = ("hips", "hip", "hipcentre", "hipcenter", "midhip", "root", "spinebase")


def words(name: str) -> tuple[str, str]:
    """A joint's side, "left", "right" or "", and the rest of its name, in lower case without separators."""
    found = [word.lower() for word in _WORD.findall(re.split(r"[:|.]", name)[-1])]
    side = next((_SIDES[word] for word in found if word in _SIDES), "")
    rest = "".join(word for word in found if word not in _SIDES)
    if not side and (glued := _GLUED.fullmatch(rest)):
        side, rest = _SIDES[glued[1]], glued[2]
    return side, rest


def strip_prefix(names: Sequence[str]) -> list[str]:
    """Names less the words that (nearly) all of them begin with, such as those of a tool or a character."""
    split = [_WORD.findall(re.split(r"[:|.]", name)[-1]) for name in names]
    for _ in range(3):
        firsts = Counter(found[0] for found in split if len(found) > 1)
        word, count = firsts.most_common(1)[0] if firsts else ("", 0)
        if count < 0.8 * len(names) or word.lower() in _SIDES:
            break
        split = [found[1:] if len(found) > 1 and found[0] == word else found for found in split]
    return ["_".join(found) for found in split]


def plain_name(name: str) -> str:
    """A joint's name as it compares."""
    side, rest = words(name)
    return side + rest if side or rest not in _MIDDLE else "pelvis"


def match_joints(names: Sequence[str], given: Layout) -> list[int | None]:
    """For each joint of a layout, which of the names it is; None where none is."""
    exact = {name: at for at, name in reversed(list(enumerate(names)))}
    plain = {plain_name(name): at for at, name in reversed(list(enumerate(names)))}
    return [exact.get(joint, plain.get(plain_name(joint))) for joint in given.joints]


def find_layout(names: Sequence[str], dims: int | None = None) -> Layout | None:
    """The shipped layout of exactly these joints, in any order; None where there is none."""
    wanted = frozenset(map(plain_name, names))
    known = (found for found in _shipped() if found.num_joints == len(names) and dims in (None, found.dims))
    return next((found for found in known if frozenset(map(plain_name, found.joints)) == wanted), None)


@cache
def _shipped() -> tuple[Layout, ...]:
    return tuple(layout(name) for name in layouts())


def listed(names: Sequence[str], most: int = 8) -> str:
    """Names in a row, for messages."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(name[:40] for name in names[:most]) + more

"""Where joints are on a body, by their names: one table for every layout, so that what is learned on one fits another.

A place is a limb (head, trunk, arms, legs), a side, and the distance along the limb: 0 where it begins, 1 at the wrist,
the ankle, the neck or the top of the head. A joint whose name the table lacks lies where the layout's tree has it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from kinemask.readers.joint_names import words
from kinemask.skeleton import Layout

LIMBS = ("head", "trunk", "left_arm", "right_arm", "left_leg", "right_leg")
_OF_PART = {"torso": "trunk"}  # other parts of a layout are called as here
_WAVES = 3
WIDTH = 2 * (len(LIMBS) + 2) * (1 + _WAVES)  # numbers of a place's code

_TRUNK = dict.fromkeys(("hip", "hips", "hipcentre", "midhip", "pelvis", "root", "spinebase"), 0.0) | {
    "spine1": 0.25,
    "spinenavel": 0.3,
    "spine": 0.4,
    "torso": 0.5,
    "spinemid": 0.5,
    "spine2": 0.5,
    "spine3": 0.75,
    "chest": 0.75,
    "spinechest": 0.75,
    "thorax": 0.9,
    "shouldercentre": 1.0,
    "spineshoulder": 1.0,
    "neck": 1.0,
}
_HEAD = {"upperneck": 0.1, "neckbase": 0.3, "mouth": 0.5, "head": 0.6, "nose": 0.6, "headtop": 1.0}
_HEAD |= dict.fromkeys(("ear", "eye", "eyeinner", "eyeouter"), 0.7)
_ARM = {"clavicle": -0.3, "collar": -0.3, "shoulder": 0.0, "elbow": 0.5, "wrist": 1.0, "hand": 1.1}
_ARM |= {"thumb": 1.15, "pinky": 1.2, "index": 1.2, "handtip": 1.25}
_LEG = {"hip": 0.0, "knee": 0.5, "ankle": 1.0, "heel": 1.05, "foot": 1.1}
_LEG |= dict.fromkeys(("footindex", "bigtoe", "smalltoe"), 1.2)


@dataclass(frozen=True)
class Place:
    """limb: one of LIMBS; along: distance along it."""

    limb: str
    along: float


def places(layout: Layout) -> list[Place]:
    """Of each joint of a layout."""
    part_of = {v: part for part, joints in layout.parts.items() for v in joints}
    return [_named(name) or _in_tree(layout, v, part_of[v]) for v, name in enumerate(layout.joints)]


def _named(name: str) -> Place | None:
    side, rest = words(name)
    if side:
        for limb, table in (("arm", _ARM), ("leg", _LEG)):
            if rest in table:
                return Place(f"{side}_{limb}", table[rest])
    for limb, table in (("trunk", _TRUNK), ("head", _HEAD)):
        if rest in table and (not side or limb == "head"):
            return Place(limb, table[rest])
    return None


def _in_tree(layout: Layout, joint: int, part: str) -> Place:
    """How far down its part a joint hangs, as a share of the part's longest chain."""

    def depth(v: int) -> int:
        above = layout.parents[v]
        return 0 if above == v or above not in layout.parts[part] else 1 + depth(above)

    longest = max(depth(v) for v in layout.parts[part])
    return Place(_OF_PART.get(part, part), depth(joint) / max(longest, 1))


def codes(layout: Layout) -> np.ndarray:
    """Each joint's place as numbers: (V, WIDTH) float32.

    Waves of the distance, in the columns of its limb; and in columns that left and right limbs share.
    """
    kinds = [*LIMBS, "arm", "leg"]
    out = np.zeros((layout.num_joints, len(kinds), 2 * (1 + _WAVES)), np.float32)
    k = np.arange(1, _WAVES + 1) * math.pi / 2
    for row, place in zip(out, places(layout), strict=True):
        code = np.concatenate([[1.0, place.along], np.sin(k * place.along), np.cos(k * place.along)])
        row[[kinds.index(kind) for kind in (place.limb, place.limb.split("_")[-1]) if kind in kinds]] = code
    return out.reshape(layout.num_joints, WIDTH)


# what nearly every layout has, or what stands for it: the joints on which several layouts agree
COMMON = (
    *(Place("trunk", along) for along in (0.0, 0.5, 1.0)),
    Place("head", 0.6),
    *(Place(limb, along) for limb in LIMBS[2:] for along in (0.0, 0.5, 1.0)),
)
_NEAR = 0.15


def common(layout: Layout) -> np.ndarray:
    """Weights that make the COMMON joints of a layout's own: (len(COMMON), V) float32, rows that add up to 1.

    The nearest joint of the limb. Where a trunk has none near, its lower end is the middle of the hips, its upper end
    that of the shoulders. ValueError that names the limb of which a layout has no joint.
    """
    found, out = places(layout), np.zeros((len(COMMON), layout.num_joints), np.float32)

    def nearest(limb: str, along: float) -> tuple[float, int]:
        apart = [(abs(place.along - along), v) for v, place in enumerate(found) if place.limb == limb]
        if not apart:
            raise ValueError(f"layout {layout.name} has no joint of the {limb.replace('_', ' ')}")
        return min(apart)

    for row, place in zip(out, COMMON, strict=True):
        has = any(p.limb == "trunk" and abs(p.along - place.along) <= _NEAR for p in found)
        if place.limb != "trunk" or has:
            row[nearest(place.limb, place.along)[1]] = 1
            continue
        for limb in LIMBS[2:]:
            row[nearest(limb, 0.0)[1]] = (place.along if limb.endswith("arm") else 1 - place.along) / 2
    return out


def carried(source: Layout, target: Layout) -> np.ndarray:
    """Weights that make a layout's joints of another's: (V of target, V of source) float32, rows that add up to 1.

    The joint of the same name; else between the two joints of the limb that lie on either side, or a limb's last joint.
    ValueError that names the limb of which `source` has no joint.
    """
    there, out = places(source), np.zeros((target.num_joints, source.num_joints), np.float32)
    for row, name, place in zip(out, target.joints, places(target), strict=True):
        if name in source.joints:
            row[source.joints.index(name)] = 1
            continue
        limb = sorted((p.along, v) for v, p in enumerate(there) if p.limb == place.limb)
        if not limb:
            raise ValueError(f"layout {source.name} has no joint of the {place.limb.replace('_', ' ')}")
        below = max((end for end in limb if end[0] <= place.along), default=limb[0])
        above = min((end for end in limb if end[0] >= place.along), default=limb[-1])
        share = (place.along - below[0]) / (above[0] - below[0]) if above[0] > below[0] else 0.0
        row[below[1]] += 1 - share
        row[above[1]] += share
    return out

"""BVH: a motion-captured recording per file, its joints matched by name with those of a layout.

Format: see `bvh_file`. Tools name joints differently (Mixamo, CMU, LaFAN1, Bandai-Namco, Biovision), and one name means
several joints: LeftShoulder is the collar where there is a LeftArm, LeftFoot the ankle where there is none of its own.
Without --layout joints are those of smpl22; a layout whose joints have the file's own names takes these.

A file does not say its unit: unless the caller does, it is found out by the length of the legs. y is up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from kinemask.readers.base import Item, Reader, ReadOptions, Scan
from kinemask.readers.bvh_file import BvhJoint, parse_bvh, rest_places
from kinemask.readers.files import find_files, naming_file
from kinemask.readers.joint_names import listed, match_joints, strip_prefix, words
from kinemask.readers.own import UNITS, existing, list_clips, make_clip
from kinemask.skeleton import Layout, layout
from kinemask.store.format import Clip

_DEFAULT = "smpl22"
_LEGS = (0.45, 1.14)  # metres from the hip to the ankle; the range is narrow enough that one unit fits
_UNITS = {"metres": 1.0, "centimetres": 0.01, "millimetres": 0.001, "inches": 0.0254, "CMU's units": 0.0254 / 0.45}
_ROLES = {  # what a joint at a side is called, the surest name first
    "hip": ("upleg", "upperleg", "thigh", "upperlegs", "hip", "femur", "hipjoint"),
    "knee": ("leg", "lowerleg", "lowleg", "shin", "calf", "knee", "tibia"),
    "ankle": ("ankle", "foot", "legend", "lowerlegend", "lowlegend", "shinend", "calfend", "kneeend"),
    "foot": ("toebase", "toe", "toes", "ball", "toe0", "footindex", "foot", "footend", "toeend"),
    "collar": ("collar", "clavicle", "shoulder", "innershoulder"),
    "shoulder": ("arm", "upperarm", "uparm", "humerus", "shldr", "shoulder"),
    "elbow": ("forearm", "lowerarm", "lowarm", "elbow", "radius"),
    "wrist": ("wrist", "hand", "forearmend", "lowerarmend", "lowarmend", "elbowend"),
    "hand": ("hand", "palm", "handmiddle1", "handmid1", "middle1", "fingerbase", "fingers", "middle01", "handend"),
}
_MIDDLE = {
    "pelvis": ("hips", "pelvis", "hip", "root", "cog"),
    "neck": ("neck", "neck0", "neck01", "neck1", "lowerneck"),
    "head": ("head", "neckend", "neck1end"),
}
_NAMESAKES = {  # what layouts call a part of the body without a side, or by another name than here
    "pelvis": ("pelvis", "hipcentre", "spinebase", "root", "midhip", "hip"),
    "lower": ("spine1",),
    "middle": ("spine", "spinemid", "spine2", "spinenavel"),
    "upper": ("spine3", "spinechest", "thorax", "chest", "torso"),
    "neck": ("neck", "shouldercentre", "spineshoulder", "upperneck"),
    "head": ("head",),
    "collar": ("clavicle",),
}
_OF_LAYOUT = {name: role for role, names in _NAMESAKES.items() for name in names}
_ENDS = {"ankle": "foot", "wrist": "hand"}  # a layout without the one calls it by the other's name
_NEEDED = ("pelvis", "hip", "knee", "ankle", "shoulder", "elbow", "wrist")


def scan(src: Path) -> Scan:
    """The clips of `clips.csv`, or else every BVH file."""
    find = lambda src: find_files(src, ("*.bvh", "*.BVH"), "files .bvh")
    return replace(list_clips(src, find, lambda path: existing(path, (".bvh",)), "file .bvh"), layout=layout(_DEFAULT))


def read(item: Item, options: ReadOptions) -> Clip:
    """One clip (1, T, V, 3), in metres; joints of the layout that the file lacks are missing."""
    given = READER.choose_layout(options.layout or layout(_DEFAULT))
    found = parse_bvh(item.path)
    with naming_file(item.path):
        if given.dims != 3:
            raise ValueError(f"layout {given.name} is 2D; BVH files hold 3D joints")
        names, parts = [joint.name for joint in found.joints], _find_parts(found.joints)
        picked, absent = _pick(names, parts, given)
        told = options.unit or item.fields.get("unit")  # then it is converted later, as any recording's
        unit, factor = ("metres", 1.0) if told else _find_unit(found.joints, parts)
        places = found.positions()
        data = np.full((1, len(places), given.num_joints, 3), np.nan)
        for v, at in enumerate(picked):
            if at is not None:
                data[0, :, v] = places[:, at] * factor
        fields = dict(item.fields) | ({"fps": f"{1 / found.seconds:.4g}"} if found.seconds > 0 else {})
        clip = make_clip(replace(item, fields=fields), data, None, given, None)
    notes = (f"lengths are taken for {unit}, by the legs",) if unit != "metres" else ()
    notes += (f"no joint for {listed(absent)}, so missing",) if absent else ()
    return replace(clip, notes=notes + clip.notes)


def _find_parts(joints: Sequence[BvhJoint]) -> dict[str, int]:
    """Which joint is the left knee, the pelvis, …, by names and, along the spine, by the tree."""
    by_name: dict[tuple[str, str], int] = {}
    for at, name in enumerate(strip_prefix([joint.name for joint in joints])):
        by_name.setdefault(words(name), at)
    parts: dict[str, int] = {}
    for side in ("left", "right"):
        known = {rest: at for (where, rest), at in by_name.items() if where == side}
        taken: set[int] = set()
        for role in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist", "foot", "collar", "hand"):
            at = next((known[name] for name in _ROLES[role] if name in known and known[name] not in taken), None)
            if at is not None:
                parts[f"{side}_{role}"] = at
                taken.add(at)
    for role, names in _MIDDLE.items():
        at = next((by_name["", name] for name in names if ("", name) in by_name), None)
        if at is not None:
            parts[role] = at
    if "pelvis" not in parts and "left_hip" in parts:
        parts["pelvis"] = joints[parts["left_hip"]].parent
    return parts | _find_spine(joints, parts)


def _find_spine(joints: Sequence[BvhJoint], parts: Mapping[str, int]) -> dict[str, int]:
    """The joints between pelvis and neck: the last is the chest, the first the lower back, one between the middle."""
    at, between = joints[parts["neck"]].parent if "neck" in parts else -1, []
    while at >= 0 and at != parts.get("pelvis"):
        between.append(at)
        at = joints[at].parent
    if at < 0:
        return {}
    lengths = [at for at in between[::-1] if np.any(joints[at].offset)]  # less those that lie on another
    match lengths:
        case []:
            return {}
        case [one]:
            return {"upper": one, "middle": one}
        case [first, last]:
            return {"lower": first, "middle": first, "upper": last}
    return {"lower": lengths[0], "middle": lengths[(len(lengths) - 1) // 2], "upper": lengths[-1]}


def _pick(names: Sequence[str], parts: Mapping[str, int], given: Layout) -> tuple[list[int | None], list[str]]:
    """For each joint of a layout which of the file's it is, if any, and those that none is.

    Raises ValueError where pelvis, limbs or their like are missing.
    """
    own = {name: at for at, name in reversed(list(enumerate(names)))}
    if all(joint in own for joint in given.joints):
        return [own[joint] for joint in given.joints], []
    roles = _layout_roles(given)
    by_name = match_joints(names, given)
    picked = [parts.get(role) if role else at for role, at in zip(roles, by_name, strict=True)]
    if "upper" in roles and "middle" in roles and parts.get("upper") == parts.get("middle"):
        picked[roles.index("middle")] = None
    absent = [joint for joint, at in zip(given.joints, picked, strict=True) if at is None]
    needed = [
        joint
        for joint, role, at in zip(given.joints, roles, picked, strict=True)
        if at is None and (role or "").rpartition("_")[2] in _NEEDED
    ]
    if needed or len(absent) == len(picked):
        own_joints = [name for name in names if not name.endswith(" end")]
        raise ValueError(
            f"no joint is the {listed(needed or absent)} of layout {given.name}; the file's joints are"
            f" {listed(own_joints, 40)}"
        )
    return picked, absent


def _layout_roles(given: Layout) -> list[str | None]:
    """The role of each joint of a layout; None for those that only a namesake can be."""
    plain = [words(joint) for joint in given.joints]
    roles: list[str | None] = []
    for side, rest in plain:
        role = _OF_LAYOUT.get(rest) if not side or rest == "clavicle" else rest if rest in _ROLES else None
        for inner, outer in _ENDS.items():
            if role == outer and (side, inner) not in plain:
                role = inner
        roles.append(f"{side}_{role}" if side and role else role)
    return [role if role not in roles[:v] else None for v, role in enumerate(roles)]


def _find_unit(joints: Sequence[BvhJoint], parts: Mapping[str, int]) -> tuple[str, float]:
    """The unit of a file's lengths and what of a metre it is: that in which legs are as long as legs."""
    places = rest_places(joints)
    apart = lambda a, b: float(np.linalg.norm(places[parts[a]] - places[parts[b]]))
    lengths = [
        apart(f"{side}_hip", f"{side}_knee") + apart(f"{side}_knee", f"{side}_ankle")
        for side in ("left", "right")
        if all(f"{side}_{joint}" in parts for joint in ("hip", "knee", "ankle"))
    ]
    if not lengths:
        raise ValueError("no legs are known by their names, so its unit cannot be found out")
    leg = float(np.mean(lengths))
    for unit, factor in _UNITS.items():
        if _LEGS[0] <= leg * factor <= _LEGS[1]:
            return unit, factor
    raise ValueError(f"the legs are {leg:.3g} long, which is no leg's length in {', '.join(_UNITS)}")


READER = Reader(
    name="bvh",
    title="BVH: a file per recording, joints matched by name (3D, smpl22 unless told), clips.csv if there are labels",
    citation="",
    layout=None,
    scan=scan,
    read=read,
    units=UNITS,
    is_format=True,
)

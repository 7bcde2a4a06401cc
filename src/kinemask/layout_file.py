"""A layout as people write it, joints by name, turned into indices: every fault named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MIRRORED = {  # each body part and what a mirror makes of it
    "head": "head",
    "torso": "torso",
    "left_arm": "right_arm",
    "right_arm": "left_arm",
    "left_leg": "right_leg",
    "right_leg": "left_leg",
}
PARTS = tuple(MIRRORED)

MOST_JOINTS = 1000

_REQUIRED = ("name", "joints", "parents", "parts", "torso", "dims")
_OPTIONAL = ("pairs", "edges", "origin", "dropped", "torso_length")


def parse_layout(content: Any) -> dict[str, Any]:
    """Fields of a `Layout`, joints as indices, from a plain dict with joints by name.

    Raises ValueError that names the key or the joint at fault.
    """
    if not isinstance(content, Mapping):
        raise ValueError(f"a layout is a mapping with the keys {', '.join(_REQUIRED)}")
    name = content.get("name", "without a name")
    missing = [key for key in _REQUIRED if key not in content]
    unknown = [str(key) for key in content if key not in (*_REQUIRED, *_OPTIONAL)]
    if missing or unknown:
        faults = [f"lacks {', '.join(missing)}"] * bool(missing)
        faults += [f"has the unknown key {', '.join(unknown)}"] * bool(unknown)
        raise ValueError(
            f"layout {name} {' and '.join(faults)}; required: {', '.join(_REQUIRED)}; optional: {', '.join(_OPTIONAL)}"
        )
    if not isinstance(name, str) or not name:
        raise ValueError(f"layout {name}: name must be a text, not {name!r}")
    resolve = _Resolver(name, content["joints"])
    parents = resolve.parents(content["parents"])
    parts = resolve.mapping("parts", content["parts"])
    if set(parts) != set(PARTS):
        wrong = ", ".join(sorted(set(parts) ^ set(PARTS)))
        raise ValueError(f"layout {name}: parts must be exactly {', '.join(PARTS)}; missing or unknown: {wrong}")
    torso = resolve.members("torso", content["torso"])
    root = find_root(name, resolve.joints, parents)
    if "edges" in content:
        edges = resolve.couples("edges", content["edges"])
    else:
        edges = tuple((v, parent) for v, parent in enumerate(parents) if v != parent)
    if "torso_length" in content:
        lists = content["torso_length"]
        if not isinstance(lists, (list, tuple)) or len(lists) != 2:
            raise ValueError(f"layout {name}: torso_length must be two lists of joints, upper and lower")
        torso_length = (resolve.members("torso_length", lists[0]), resolve.members("torso_length", lists[1]))
    else:
        torso_length = _farthest(name, torso, parents, root)
    return {
        "name": name,
        "joints": resolve.joints,
        "parents": parents,
        "parts": {part: parts[part] for part in PARTS},
        "torso": torso,
        "pairs": resolve.couples("pairs", content["pairs"]) if "pairs" in content else _pairs(resolve.joints, parts),
        "dims": content["dims"],
        "origin": resolve.members("origin", content["origin"]) if "origin" in content else (root,),
        "edges": edges,
        "dropped": resolve.mapping("dropped", content["dropped"]) if "dropped" in content else {"pruned": torso},
        "torso_length": torso_length,
    }


class _Resolver:
    """Joint names to indices, with errors that say in which list a name stands."""

    def __init__(self, name: str, joints: Any) -> None:
        self.name = name
        if not isinstance(joints, (list, tuple)) or not joints:
            raise ValueError(f"layout {name}: joints must be a list of joint names")
        if len(joints) > MOST_JOINTS:
            raise ValueError(f"layout {name}: {len(joints):,} joints; a layout has at most {MOST_JOINTS:,}")
        for joint in joints:
            if not isinstance(joint, str) or not joint:
                raise ValueError(f"layout {name}: joint {joint!r} is not a name; put it in quotes")
        self.joints = tuple(joints)
        self.number = {joint: v for v, joint in reversed([*enumerate(self.joints)])}
        for v, joint in enumerate(self.joints):
            if self.number[joint] != v:
                raise ValueError(f"layout {name}: joint {joint!r} is listed twice in joints")

    def one(self, where: str, joint: Any) -> int:
        if not isinstance(joint, str) or joint not in self.number:
            raise ValueError(
                f"layout {self.name}: {where} names the unknown joint {joint!r}; joints: {', '.join(self.joints)}"
            )
        return self.number[joint]

    def members(self, where: str, joints: Any) -> tuple[int, ...]:
        if not isinstance(joints, (list, tuple)):
            raise ValueError(f"layout {self.name}: {where} must be a list of joints, not {joints!r}")
        return tuple(self.one(where, joint) for joint in joints)

    def couples(self, where: str, couples: Any) -> tuple[tuple[int, int], ...]:
        if not isinstance(couples, (list, tuple)):
            raise ValueError(f"layout {self.name}: {where} must be a list of couples of joints, not {couples!r}")
        for couple in couples:
            if not isinstance(couple, (list, tuple)) or len(couple) != 2:
                raise ValueError(f"layout {self.name}: {where} holds {couple!r}, which is not a couple of joints")
        return tuple((self.one(where, a), self.one(where, b)) for a, b in couples)

    def mapping(self, where: str, lists: Any) -> dict[str, tuple[int, ...]]:
        if not isinstance(lists, Mapping):
            raise ValueError(f"layout {self.name}: {where} must map names to lists of joints, not be {lists!r}")
        for key in lists:
            if not isinstance(key, str):
                raise ValueError(
                    f"layout {self.name}: {where} has the key {key!r}, which is not a text; put it in quotes"
                )
        return {key: self.members(f"{where}.{key}", members) for key, members in lists.items()}

    def parents(self, parents: Any) -> tuple[int, ...]:
        if not isinstance(parents, Mapping):
            raise ValueError(f"layout {self.name}: parents must map each joint to its parent (the root to null)")
        for joint in parents:
            self.one("parents", joint)
        for joint in self.joints:
            if joint not in parents:
                raise ValueError(f"layout {self.name}: joint {joint!r} has no entry in parents")
        return tuple(
            v if parents[joint] is None else self.one(f"parents, at {joint!r},", parents[joint])
            for v, joint in enumerate(self.joints)
        )


def find_root(name: str, joints: tuple[str, ...], parents: tuple[int, ...]) -> int:
    """The one joint that is its own parent; ValueError where there is not one, or parents form a cycle."""
    roots = [v for v, parent in enumerate(parents) if v == parent]
    for start in range(len(joints)):
        seen, v = set(), start
        while v not in seen and v not in roots:
            seen.add(v)
            v = parents[v]
        if v in seen:
            raise ValueError(f"layout {name}: the parents of joint {joints[v]!r} lead back to it: a cycle")
    if len(roots) != 1:
        raise ValueError(
            f"layout {name}: joints {', '.join(joints[v] for v in roots)} are all roots;"
            " exactly one joint may have no parent"
        )
    return roots[0]


def _pairs(joints: tuple[str, ...], parts: Mapping[str, tuple[int, ...]]) -> tuple[tuple[int, int], ...]:
    """Default pairs: joints called left_X and right_X, of parts that mirror each other."""
    part_of = {joints[v]: part for part, members in parts.items() for v in members}
    names = ((joint, joint.replace("left_", "right_", 1)) for joint in joints if joint.startswith("left_"))
    return tuple(
        (joints.index(left), joints.index(right))
        for left, right in names
        if left in part_of and right in part_of and MIRRORED[part_of[left]] == part_of[right]
    )


def _farthest(
    name: str, torso: tuple[int, ...], parents: tuple[int, ...], root: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Default torso length: from the torso joints that lie farthest along the tree, to the root."""

    depths = {v: depth(v, parents) for v in torso}
    longest = max(depths.values(), default=0)
    if longest == 0:
        raise ValueError(
            f"layout {name}: torso names no joint but the root, so torso_length must be given:"
            " two lists of joints, upper and lower"
        )
    return tuple(v for v in torso if depths[v] == longest), (root,)


def depth(joint: int, parents: Sequence[int]) -> int:
    """Bones from the root, which is its own parent, to a joint."""
    steps = 0
    while parents[joint] != joint:
        joint, steps = parents[joint], steps + 1
    return steps

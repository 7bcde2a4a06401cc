"""Skeleton layouts as values: joints, tree, body parts, torso, mirrored pairs.

A layout is plain data. Models, samplers and readers take every number about a body (how many joints, which
ones are the torso, what mirrors what) from here, so that a new sensor is one YAML file and no code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from kinemask.checks import meant
from kinemask.errors import shorten
from kinemask.layout_file import MIRRORED, PARTS, find_root, parse_layout
from kinemask.plain_file import read_yaml

__all__ = ["PARTS", "Layout", "layout", "layouts"]


@dataclass(frozen=True)
class Layout:
    """A skeleton layout: V named joints, the tree that connects them, and how they group into a body.

    All joints are indices into `joints`; a store's axis V follows that order.

    joints: V names. parents: each joint's parent; the root is its own.
    parts: the six body parts (`PARTS`), disjoint, covering all joints. torso: HA-CM's root set.
    pairs: (left, right) joints that a mirror swaps. dims: C, 2 or 3.
    origin: joints whose mean is a store's origin. edges: bones to draw and to smooth over.
    dropped: named joint sets, by what they drop. torso_length: (upper, lower) joints; the distance between
    their means is the torso length. Raises ValueError naming the joint where these contradict each other.
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    parts: dict[str, tuple[int, ...]]
    torso: tuple[int, ...]
    pairs: tuple[tuple[int, int], ...]
    dims: int
    origin: tuple[int, ...]
    edges: tuple[tuple[int, int], ...]
    dropped: dict[str, tuple[int, ...]]
    torso_length: tuple[tuple[int, ...], tuple[int, ...]]

    def __post_init__(self) -> None:
        _check(self)

    def __hash__(self) -> int:
        return hash((self.name, self.joints, self.parents))

    @property
    def num_joints(self) -> int:
        """V, the number of joints."""
        return len(self.joints)

    @property
    def root(self) -> int:
        """The joint that is its own parent."""
        return next(v for v, parent in enumerate(self.parents) if v == parent)

    def kept(self, name: str) -> tuple[int, ...]:
        """Joints that the named set keeps, ascending: all of them for "all", else all but `dropped[name]`."""
        if name == "all":
            return tuple(range(self.num_joints))
        if name not in self.dropped:
            known = ", ".join(["all", *self.dropped])
            raise ValueError(f"layout {self.name} has no joint set {name!r}; it has: {known}")
        gone = set(self.dropped[name])
        return tuple(v for v in range(self.num_joints) if v not in gone)

    def adjacency(self) -> np.ndarray:
        """Symmetric adjacency of `edges`: (V, V) float32 of 0 and 1, without self-loops."""
        matrix = np.zeros((self.num_joints, self.num_joints), np.float32)
        for a, b in self.edges:
            matrix[a, b] = matrix[b, a] = 1
        return matrix

    def index(self, joint: str) -> int:
        """Index of a joint by its name; ValueError that lists the joints."""
        if joint not in self.joints:
            raise ValueError(f"layout {self.name} has no joint {joint!r}; it has: {', '.join(self.joints)}")
        return self.joints.index(joint)

    def to_dict(self) -> dict[str, Any]:
        """The layout as a plain dict with joints by name, as in its YAML file and in a store's meta.json."""
        named = lambda indices: [self.joints[v] for v in indices]
        return {
            "name": self.name,
            "dims": self.dims,
            "joints": list(self.joints),
            "parents": {
                joint: None if v == self.parents[v] else self.joints[self.parents[v]]
                for v, joint in enumerate(self.joints)
            },
            "parts": {part: named(members) for part, members in self.parts.items()},
            "torso": named(self.torso),
            "pairs": [named(pair) for pair in self.pairs],
            "edges": [named(edge) for edge in self.edges],
            "origin": named(self.origin),
            "torso_length": [named(side) for side in self.torso_length],
            "dropped": {name: named(members) for name, members in self.dropped.items()},
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Layout:
        """Layout from a plain dict (see `to_dict`); ValueError that names the key or the joint at fault.

        These may be absent: `pairs` (default: the joints left_X and right_X of parts that mirror each other; none where
        no joint is so named), `edges` (each joint with its parent), `origin` (the root), `dropped`
        (`pruned`: the torso), `torso_length` (the torso joints farthest from the root in the tree, the root).
        """
        return cls(**parse_layout(content))


@cache
def layouts() -> tuple[str, ...]:
    """Names of the layouts that come with the package."""
    folder = files("kinemask") / "layouts"
    return tuple(sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml")))


def layout(name_or_path: str | Path) -> Layout:
    """Layout by the name of a shipped one (`layouts()`), or from the path of a YAML file.

    A file that gives no `name` is called by its own.

    Raises ValueError saying which shipped one may be meant, or naming the file and what is wrong in it.
    """
    if str(name_or_path) in layouts():
        return _shipped(str(name_or_path))
    path = Path(name_or_path)
    if not path.is_file():
        raise ValueError(
            f"unknown layout {str(name_or_path)!r}{meant(str(name_or_path), layouts(), 'a YAML file of your own')}"
        )
    content = read_yaml(path)
    if isinstance(content, dict):
        content.setdefault("name", path.stem)
    try:
        return Layout.from_dict(content)
    except ValueError as error:
        raise ValueError(shorten(f"{path}: {error}")) from None


@cache
def _shipped(name: str) -> Layout:
    return Layout.from_dict(read_yaml(files("kinemask") / "layouts" / f"{name}.yaml"))


def _check(layout: Layout) -> None:
    """ValueError where a layout's fields contradict each other; every message names the joint."""
    where, joints = f"layout {layout.name}", layout.joints
    if type(layout.dims) is not int or layout.dims not in (2, 3):
        raise ValueError(f"{where}: dims is {layout.dims!r}; it must be 2 or 3")
    assert len(set(joints)) == len(joints) == len(layout.parents)
    assert set(layout.parts) == set(PARTS)
    find_root(layout.name, joints, layout.parents)
    for key, members in _lists(layout):
        _once(f"{where}: {key}", members, joints)
        if not members and not key.startswith(("parts.", "dropped.")):
            raise ValueError(f"{where}: {key} names no joint")
    part_of: dict[int, str] = {}
    for part, members in layout.parts.items():
        for v in members:
            if v in part_of:
                raise ValueError(f"{where}: joint {joints[v]!r} is in two parts, {part_of[v]} and {part}")
            part_of[v] = part
    for v, joint in enumerate(joints):
        if v not in part_of:
            raise ValueError(f"{where}: joint {joint!r} is in none of the parts {', '.join(PARTS)}")
    _once(f"{where}: pairs", [v for pair in layout.pairs for v in pair], joints)
    for left, right in layout.pairs:
        if part_of[right] != MIRRORED[part_of[left]] or part_of[left].startswith("right"):
            raise ValueError(
                f"{where}: the pair ({joints[left]}, {joints[right]}) does not mirror: {joints[left]!r} is in"
                f" {part_of[left]} and {joints[right]!r} in {part_of[right]}; a pair is (left, right)"
            )
    for a, b in layout.edges:
        if a == b:
            raise ValueError(f"{where}: edges holds a bone from joint {joints[a]!r} to itself")
    for key, members in layout.dropped.items():
        if key == "all":
            raise ValueError(f"{where}: a dropped set may not be called 'all', which keeps every joint")
        if len(members) == len(joints):
            raise ValueError(f"{where}: dropped.{key} leaves no joint: it drops even {joints[members[-1]]!r}")


def _lists(layout: Layout) -> Iterable[tuple[str, tuple[int, ...]]]:
    yield "torso", layout.torso
    yield "origin", layout.origin
    yield "torso_length", layout.torso_length[0]
    yield "torso_length", layout.torso_length[1]
    for part, members in layout.parts.items():
        yield f"parts.{part}", members
    for name, members in layout.dropped.items():
        yield f"dropped.{name}", members


def _once(where: str, members: Iterable[int], joints: tuple[str, ...]) -> None:
    seen: set[int] = set()
    for v in members:
        if v in seen:
            raise ValueError(f"{where} names joint {joints[v]!r} twice")
        seen.add(v)

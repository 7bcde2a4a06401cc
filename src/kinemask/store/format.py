"""What a store is on disk: its clips, its names, its hashes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

FORMAT = "kinemask store"
VERSION = 1
DTYPES = ("float32", "float16")
SCORES = "float16"
COLUMNS = ("name", "label", "frames", "bodies", "offset")
SPLIT = "split:"
EVERY = "all"  # in a split's place: every clip
SIDES = ("train", "test", "")


@dataclass(frozen=True)
class Clip:
    """One recording, as a reader gives it and a store takes it.

    data: (M, T, V, C), in the store's units and axes; NaN marks what is missing. label: index into the class
    names, None where unlabelled. fields: subject, camera, …; "split:NAME" is "train", "test" or "".
    notes: remarks of the cleaning for rejected.csv, which lists those that begin "dropped body" as bodies.
    score: (M, T, V) confidence of each joint as its source gives it, also of missing ones; None where unknown.
    people: what the source calls each of the M bodies; () where it does not tell.
    doubts: what may have been read wrong, though nothing shows that it was.
    """

    name: str
    data: np.ndarray
    label: int | None
    fields: dict[str, str]
    notes: tuple[str, ...] = ()
    score: np.ndarray | None = None
    people: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


def digest(data: np.ndarray) -> bytes:
    """SHA-256 of an array's shape and bytes: equal for exact copies."""
    return hashlib.sha256(repr(data.shape).encode() + data.tobytes()).digest()


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""What a pose estimator found in a recording, and the clip that it becomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from kinemask.readers.base import Item
from kinemask.readers.cleaning import Rejected, mark_missing
from kinemask.readers.own import make_clip
from kinemask.readers.tables import SPARSE
from kinemask.readers.tracking import follow
from kinemask.skeleton import Layout
from kinemask.store.format import Clip

SHARE = 0.1  # of the frames with people: who is seen in fewer is taken for a false detection


@dataclass(frozen=True)
class Detection:
    """Somebody in a frame. joints: (V, C) in the store's axes but for y in 2D; zeros and NaN are missing.

    score: (V,) confidences, NaN where unknown. name: who it is, where the source tells. places: (V, ·) to
    follow people by, where the joints do not tell where they are.
    """

    joints: np.ndarray
    score: np.ndarray
    name: str | None = None
    places: np.ndarray | None = None


@dataclass(frozen=True)
class Detections:
    """The people found in the T frames of a recording, N times in all; arrays as those of `Detection`, stacked.

    frames: (N,) from 0, ascending. length: T. names, places: None unless all people have them.
    """

    joints: np.ndarray
    score: np.ndarray
    frames: np.ndarray
    length: int
    names: Sequence[str] | None = None
    places: np.ndarray | None = None

    @classmethod
    def of(cls, found: Mapping[int, Sequence[Detection]]) -> Detections:
        """The people of numbered frames, in one; frames that are not numbered are gaps.

        Raises Rejected where there is nobody.
        """
        numbers = sorted(found)
        people = [person for number in numbers for person in found[number]]
        if not people:
            raise Rejected("nobody is seen in any frame")
        names = [person.name for person in people if person.name is not None]
        places = [person.places for person in people if person.places is not None]
        return cls(
            np.stack([person.joints for person in people]),
            np.stack([person.score for person in people]),
            np.repeat(np.array(numbers) - numbers[0], [len(found[number]) for number in numbers]),
            numbers[-1] - numbers[0] + 1,
            names if len(names) == len(people) else None,
            np.stack(places) if len(places) == len(people) else None,
        )


def followed(found: Detections, item: Item, layout: Layout, min_score: float, height: float | None) -> Clip:
    """The clip (M, T, V, C) of the people found, most often seen first, in the store's convention.

    Joints whose confidence is known and not above min_score are missing. People who are seen in less than a
    tenth of the frames with people are dropped, with a note; the most seen one never. Raises Rejected where
    there is nobody, ValueError where frame numbers are so sparse that they are none.
    """
    joints = mark_missing(found.joints)
    joints[found.score <= min_score] = np.nan
    seen = np.flatnonzero(~np.isnan(joints).all((1, 2)))
    if not len(seen):
        raise Rejected("no joint is seen in any frame")
    frames = found.frames[seen]
    if found.names is None:
        places = joints if found.places is None else np.where(np.isnan(joints[..., :1]), np.nan, found.places)
        who = follow(places[seen], frames)
    else:
        _, who = np.unique([found.names[i] for i in seen.tolist()], return_inverse=True)
    if len(np.unique(np.stack([who, frames]), axis=1).T) < len(who):
        raise ValueError("somebody is found twice in one frame, by the source's own tracking")
    counts = np.bincount(who)
    order = np.argsort(-counts, kind="stable")
    kept = order[(counts[order] >= SHARE * len(np.unique(frames))) | (order == order[0])]
    notes = tuple(f"dropped body {i + 1}: seen in {counts[i]} frames only" for i in order if i not in kept)
    if len(kept) * found.length > SPARSE * len(seen):
        raise ValueError(
            f"{len(kept)} people in {found.length} frames are seen {len(seen)} times only: expected consecutive frames"
        )

    data = np.full((len(kept), found.length, *joints.shape[1:]), np.nan)
    score = np.full(data.shape[:3], np.nan)
    for m, i in enumerate(kept):
        rows = seen[who == i]
        data[m, found.frames[rows]], score[m, found.frames[rows]] = joints[rows], found.score[rows]
    clip = make_clip(item, data, None if np.isnan(found.score).all() else score, layout, height)
    return replace(clip, notes=notes + clip.notes)

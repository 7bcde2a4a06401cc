"""What a pose estimator found in a recording, and the clip that it becomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kinemask.readers.base import Item
from kinemask.readers.cleaning import Rejected, mark_missing
from kinemask.readers.frames import as_whole, close_steps, find_value
from kinemask.readers.own import make_clip
from kinemask.readers.tables import SPARSE, check_spread
from kinemask.readers.tracking import REACH, follow, join, twins
from kinemask.skeleton import Layout
from kinemask.store.format import Clip

NAMES = ("track_id", "tracking_id", "trackid", "tracker_id", "person_id", "idx", "object_id", "instance_id", "id")
SHARE = 0.1  # of the frames with people: who is seen in fewer is taken for a false detection
TWICE = 0.1  # of the detections may have the name of another in the same frame
ANEW = 0.5  # names for each detection: more are no names of people, but where frames are no more than FEW
FEW = 3


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

    frames: (N,) from 0, ascending. length: T. names, places: None unless all people have them. doubts: of the clip.
    """

    joints: np.ndarray
    score: np.ndarray
    frames: np.ndarray
    length: int
    names: Sequence[str] | None = None
    places: np.ndarray | None = None
    doubts: tuple[str, ...] = ()

    @classmethod
    def of(cls, found: Mapping[int, Sequence[Detection]], doubts: tuple[str, ...] = ()) -> Detections:
        """The people of numbered frames, in one; frames that are not numbered are gaps (see `close_steps`).

        doubts: about the frames' numbers. Raises Rejected where there is nobody.
        """
        numbers = sorted(found)
        people = [person for number in numbers for person in found[number]]
        if not people:
            raise Rejected("nobody is seen in any frame")
        names = [person.name for person in people if person.name is not None]
        places = [person.places for person in people if person.places is not None]
        at, doubted = close_steps(numbers)
        return cls(
            np.stack([person.joints for person in people]),
            np.stack([person.score for person in people]),
            np.repeat(at, [len(found[number]) for number in numbers]),
            int(at[-1]) + 1,
            names if len(names) == len(people) else None,
            np.stack(places) if len(places) == len(people) else None,
            doubts + doubted,
        )


def followed(
    found: Detections, item: Item, layout: Layout, min_score: float, height: float | None, mend: bool = True
) -> Clip:
    """The clip (M, T, V, C) of the people found, most often seen first, in the store's convention.

    Who is who is the source's to say, unless it names people of one frame alike, or everybody anew in each; otherwise
    they are followed. Joints whose confidence is known and not above min_score are missing. mend: somebody found twice
    in the same place is one body, and so are those who are never seen in one frame, a note saying so. People who are
    seen in less than a tenth of the frames with people are dropped, with a note; the most seen one never. Raises
    Rejected where there is nobody, ValueError where frame numbers are so sparse that they are none.
    """
    joints = mark_missing(found.joints)
    joints[found.score <= min_score] = np.nan
    seen = np.flatnonzero(~np.isnan(joints).all((1, 2)))
    if not len(seen):
        raise Rejected("no joint is seen in any frame")
    frames = found.frames[seen]
    places = joints if found.places is None else np.where(np.isnan(joints[..., :1]), np.nan, found.places)
    names = None if found.names is None else [found.names[i] for i in seen.tolist()]
    tracks = _tell_apart(places[seen], frames, names, found.score[seen])
    if mend:
        # 3D bodies without a place of their own are all about one origin, which says nothing of who is who
        tracks = tracks.mended(placed=layout.dims == 2 or found.places is not None)
    seen, frames, who = seen[tracks.rows], tracks.frames, tracks.who
    counts = np.bincount(who)
    order = np.argsort(-counts, kind="stable")
    order = order[counts[order] > 0]
    kept = order[(counts[order] >= SHARE * len(np.unique(frames))) | (order == order[0])]
    gone = [i for i in order if i not in kept]
    notes = tracks.notes + tuple(f"dropped body {i + 1}: seen in {counts[i]} frames only" for i in gone)
    if mend and len(kept) > 1:
        alive = np.isin(who, kept)
        seen, frames = seen[alive], frames[alive]
        joined = join(places[seen], frames, who[alive])
        notes += _say_joined(who[alive], joined, tracks.names)
        who = joined
        counts = np.bincount(who)
        kept = np.argsort(-counts, kind="stable")
        kept = kept[counts[kept] > 0]
    if len(kept) * found.length > SPARSE * len(seen):
        raise ValueError(
            f"{len(kept)} people in {found.length} frames are seen {len(seen)} times only: expected consecutive frames"
        )
    check_spread((len(kept), found.length, joints.shape[1]), len(seen) * joints.shape[1], layout.dims)
    data = np.full((len(kept), found.length, *joints.shape[1:]), np.nan)
    score = np.full(data.shape[:3], np.nan)
    for m, i in enumerate(kept):
        rows = seen[who == i]
        data[m, found.frames[rows]], score[m, found.frames[rows]] = joints[rows], found.score[rows]
    clip = make_clip(item, data, None if np.isnan(found.score).all() else score, layout, height)
    people = () if tracks.names is None else tuple(tracks.names[i] for i in kept)
    return replace(clip, notes=notes + clip.notes, people=people, doubts=found.doubts + clip.doubts)


def identity(person: Mapping[str, Any]) -> str | None:
    """Who a detection is, as its source tells under the first of `NAMES` that it has; negative numbers are nobody."""
    value = find_value(person, NAMES)
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    number = as_whole(value)
    if number is not None:
        return str(number) if number >= 0 else None
    return value[:60] if isinstance(value, str) and value.strip() else None


@dataclass(frozen=True)
class _Tracks:
    """Who each of N detections is. places (N, V, ·), frames, who: (N,); rows: which of all detections they are.

    names: of the tracks, where the source gives them.
    """

    places: np.ndarray
    frames: np.ndarray
    who: np.ndarray
    rows: np.ndarray
    names: Sequence[str] | None
    notes: tuple[str, ...] = ()

    def mended(self, placed: bool) -> _Tracks:
        """Without people found twice in one place, and with tracks joined that go on where another ended."""
        who, keep, notes = self.who.copy(), np.ones(len(self.who), bool), self.notes
        for one, other in twins(self.places, self.frames, who) if placed else ():
            at, mine = self.frames[(who == one) & keep], (who == other) & keep
            if len(at) and mine.any():  # neither is part of a third by now
                keep &= ~(mine & np.isin(self.frames, at))
                who[mine] = one
                notes += (f"joined {self.call(other)} to {self.call(one)}: found twice in the same place",)
        places, frames, before = self.places[keep], self.frames[keep], who[keep]
        who = join(places, frames, before, REACH) if placed else before
        notes += _say_joined(before, who, self.names)
        return _Tracks(places, frames, who, self.rows[keep], self.names, notes)

    def call(self, who: int) -> str:
        return _call(who, self.names)


def _call(who: int, names: Sequence[str] | None) -> str:
    return f"body {who + 1}" if names is None else f"person {names[who]}"


def _say_joined(before: np.ndarray, after: np.ndarray, names: Sequence[str] | None) -> tuple[str, ...]:
    pairs = sorted(set(zip(before.tolist(), after.tolist(), strict=True)))
    never = "they are never seen in one frame"
    return tuple(f"joined {_call(a, names)} to {_call(b, names)}: {never}" for a, b in pairs if a != b)


def _tell_apart(places: np.ndarray, frames: np.ndarray, names: Sequence[str] | None, score: np.ndarray) -> _Tracks:
    """Who is who, by the source's names where these can be meant, else followed."""
    everybody = np.arange(len(frames))
    if names is None:
        return _Tracks(places, frames, follow(places, frames), everybody, None)
    known = sorted(set(names), key=lambda name: (not name.isdecimal(), len(name) if name.isdecimal() else 0, name))
    index = {name: i for i, name in enumerate(known)}
    who = np.array([index[name] for name in names])
    order = np.lexsort((-np.nan_to_num(score).sum(-1), np.isnan(places).any(-1).sum(-1)))  # the best seen first
    _, best = np.unique(np.stack([frames, who])[:, order], axis=1, return_index=True)
    rows = np.sort(order[best])
    twice = len(frames) - len(rows)
    if twice > TWICE * len(frames):
        note = f"the source names people of one frame alike, {twice:,} times: people are followed instead"
        return _Tracks(places, frames, follow(places, frames), everybody, None, (note,))
    if len(np.unique(frames)) > FEW and len(known) > ANEW * len(rows):  # numbers of detections, such as COCO's id
        return _Tracks(places, frames, follow(places, frames), everybody, None)
    notes = (f"somebody is found twice in a frame, {twice} times: the better one is kept",) if twice else ()
    return _Tracks(places[rows], frames[rows], who[rows], rows, known, notes)

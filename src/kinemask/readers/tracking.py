"""People followed from frame to frame, where a pose estimator finds them anew in each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

STEP = 0.5  # of a body's extent: the farthest that its joints move, on average, from one frame to the next
REACH = 1.0  # the farthest after a gap
MEMORY = 60  # frames after which a person who is not seen is given up
MOST = 100  # people in one frame
CROWD = 500  # tracks among which those are looked for that are of one person
SAME = 0.1  # of a body's extent: two bodies that are no farther apart, on average, are one
OFTEN = 0.5  # of the frames of the less seen one, in which two tracks are of one body if they are of the same person


class _People(NamedTuple):
    """Those who may still come back. who: (K,) numbers. joints: (K, V, C), where last seen. seen: (K,) frames."""

    who: np.ndarray
    joints: np.ndarray
    seen: np.ndarray

    def where(self, chosen: np.ndarray) -> _People:
        return _People(*(array[chosen] for array in self))


def follow(places: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Who each detection is: (N,) numbers from 0, by the frame in which people first appear.

    places: (N, V, C) joints, NaN where missing. frames: (N,) of each detection, ascending. In each frame people
    are assigned to detections so that the sum of distances is least (Hungarian method). The distance is the mean
    over joints seen in both, in units of the body's extent (the diagonal of the box around it); beyond STEP for
    each frame passed, at most REACH, it is somebody new. Raises ValueError where a frame has more than MOST.
    """
    who = np.empty(len(places), np.int64)
    people = _People(np.empty(0, np.int64), np.empty((0, *places.shape[1:])), np.empty(0, np.int64))
    times, starts, counts = np.unique(frames, return_index=True, return_counts=True)
    if (most := counts.max(initial=0)) > MOST:
        raise ValueError(f"frame {times[counts.argmax()]} has {most} people; expected at most {MOST}")
    total = 0
    for time, rows in zip(times, np.split(np.arange(len(places)), starts[1:]), strict=True):
        if len(lost := np.flatnonzero(time - people.seen > MEMORY)):
            people = people.where(np.setdiff1d(np.arange(len(people.who)), lost))
        now = places[rows]
        found, at = _assign(people, now, time)
        people.joints[found] = np.where(np.isnan(now[at]), people.joints[found], now[at])
        people.seen[found] = time
        who[rows[at]] = people.who[found]
        fresh = np.setdiff1d(np.arange(len(rows)), at)
        who[rows[fresh]] = total + np.arange(len(fresh))
        if len(fresh):
            new = _People(who[rows[fresh]], now[fresh], np.full(len(fresh), time))
            people = _People(*map(np.concatenate, zip(people, new, strict=True)))
        total += len(fresh)
    return who


def _assign(people: _People, now: np.ndarray, time: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the people who are found again, and of the detections (n, V, C) that they are."""
    from scipy.optimize import linear_sum_assignment  # not at import: listing the readers need not wait for it

    farthest = np.minimum(STEP * (time - people.seen), REACH)[:, None]
    cost = distances(people.joints, now, farthest)
    allowed = cost <= farthest
    known, seen = np.flatnonzero(allowed.any(1)), np.flatnonzero(allowed.any(0))
    found, at = linear_sum_assignment(np.where(allowed, cost, 1e6)[np.ix_(known, seen)])
    found, at = known[found], seen[at]
    matched = allowed[found, at]
    return found[matched], at[matched]


def join(places: np.ndarray, frames: np.ndarray, who: np.ndarray, farthest: float = np.inf) -> np.ndarray:
    """Who each detection is, (N,), where tracks that are never seen in one frame may be of one person.

    places, frames: as for `follow`. who: (N,) the track of each. A track goes on with the one that ended nearest to
    where it begins, the nearest first, within `farthest` body extents. Of more than CROWD tracks, only the most seen.
    """
    names, counts = np.unique(who, return_counts=True)
    if len(names) > CROWD:
        most = np.isin(who, names[np.argsort(-counts, kind="stable")[:CROWD]])
        joined = who.copy()
        joined[most] = join(places[most], frames[most], who[most], farthest)
        return joined
    rows = [np.flatnonzero(who == name) for name in names.tolist()]
    if len(rows) < 2:
        return who
    apart = distances(np.stack([places[own[-1]] for own in rows]), np.stack([places[own[0]] for own in rows]), farthest)
    apart = np.where(np.isnan(apart), np.inf, apart)
    starts, ends = frames[[own[0] for own in rows]], frames[[own[-1] for own in rows]]
    wait = starts[None] - ends[:, None]  # frames from the end of the first to the start of the second
    early, late = np.nonzero((starts[:, None] < starts[None]) & ((apart <= farthest) | np.isinf(farthest)))
    order = np.lexsort((np.abs(wait[early, late]), apart[early, late], wait[early, late] <= 0))
    group, seen = np.arange(len(names)), [set(frames[own].tolist()) for own in rows]
    for a, b in zip(group[early[order]].tolist(), late[order].tolist(), strict=True):
        one, other = sorted((group[a], group[b]))
        if one != other and seen[one].isdisjoint(seen[other]):
            seen[one] |= seen[other]
            group[group == other] = one
    return names[group][np.searchsorted(names, who)]


def join_bodies(data: np.ndarray, names: Sequence[str]) -> tuple[list[list[int]], tuple[str, ...]]:
    """Which of the bodies (M, T, V, C), NaN where missing, are one (`join`), the first seen first, with notes."""
    bodies, frames = np.nonzero(~np.isnan(data).all((2, 3)))
    who = join(data[bodies, frames], frames, bodies)
    groups: dict[int, list[int]] = {}
    for body in range(len(data)):
        at = np.flatnonzero(bodies == body)
        groups.setdefault(int(who[at[0]]) if len(at) else body, []).append(body)
    never = "they are never seen in one frame"
    notes = (f"joined body {names[m]} to body {names[one]}: {never}" for one, own in groups.items() for m in own[1:])
    return list(groups.values()), tuple(notes)


def twins(places: np.ndarray, frames: np.ndarray, who: np.ndarray) -> list[tuple[int, int]]:
    """Tracks (more seen, less seen) that are one person found twice: mostly in the same place in the same frames."""
    counts: dict[tuple[int, int], int] = {}
    for rows in np.split(np.arange(len(frames)), np.flatnonzero(np.diff(frames)) + 1):
        if len(rows) < 2:
            continue
        apart = distances(places[rows], places[rows], SAME)
        for i, j in np.argwhere(np.triu(apart <= SAME, 1)).tolist():
            pair = (int(who[rows[i]]), int(who[rows[j]]))
            counts[pair] = counts.get(pair, 0) + 1
    names, seen = np.unique(who, return_counts=True)
    often = dict(zip(names.tolist(), seen.tolist(), strict=True))
    both: dict[tuple[int, int], int] = {}
    for (a, b), count in counts.items():
        pair = (a, b) if (often[a], -a) >= (often[b], -b) else (b, a)
        both[pair] = both.get(pair, 0) + count
    return [(a, b) for (a, b), count in both.items() if a != b and count >= OFTEN * often[b]]


def distances(before: np.ndarray, now: np.ndarray, farthest: np.ndarray | float = np.inf) -> np.ndarray:
    """(K, V, C) and (n, V, C) → (K, n) mean distances in body extents; infinite where no joint is in both.

    farthest: (K, 1) or one for all: a distance that is greater may be given as infinite. Only bodies whose boxes
    are nearer than that are compared joint by joint.
    """
    (low, high), (lowest, highest) = _box(before), _box(now)
    extent = np.maximum(np.maximum(_extent(low, high)[:, None], _extent(lowest, highest)[None]), 1e-9)
    most = (farthest + 1e-6) * extent
    result = np.full(extent.shape, np.inf)
    gap = np.maximum(low[:, None, 0] - highest[None, :, 0], lowest[None, :, 0] - high[:, None, 0])
    first, second = np.nonzero(gap <= most)  # along one axis, then along all; NaN compares false: nothing is seen
    gaps = np.maximum(np.maximum(low[first] - highest[second], lowest[second] - high[first]), 0)
    near = np.linalg.norm(gaps, axis=-1) <= most[first, second]
    first, second = first[near], second[near]
    for part in np.array_split(np.arange(len(first)), 1 + len(first) // 20_000):
        a, b = first[part], second[part]
        apart = np.linalg.norm(before[a] - now[b], axis=-1)  # (P, V)
        both = ~np.isnan(apart)
        mean = np.where(both, apart, 0).sum(-1) / np.maximum(both.sum(-1), 1)
        result[a, b] = np.where(both.any(-1), mean / extent[a, b], np.inf)
    return result


def _box(bodies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, V, C) → (N, C) twice: the corners of the box around the joints seen, NaN where none is."""
    return np.fmin.reduce(bodies, -2), np.fmax.reduce(bodies, -2)


def _extent(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """(…, C) corners → (…) diagonals, 0 where nothing is seen."""
    return np.nan_to_num(np.linalg.norm(high - low, axis=-1))

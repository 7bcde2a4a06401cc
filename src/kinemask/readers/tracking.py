"""People followed from frame to frame, where a pose estimator finds them anew in each."""

from __future__ import annotations

import numpy as np

STEP = 0.5  # of a body's extent: the farthest that its joints move, on average, from one frame to the next
REACH = 1.0  # the farthest after a gap
MEMORY = 60  # frames after which a person who is not seen is given up
MOST = 100  # people in one frame


def follow(places: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Who each detection is: (N,) numbers from 0, by the frame in which people first appear.

    places: (N, V, C) joints, NaN where missing. frames: (N,) of each detection, ascending. In each frame people
    are assigned to detections so that the sum of distances is least (Hungarian method). The distance is the mean
    over joints seen in both, in units of the body's extent (the diagonal of the box around it); beyond STEP for
    each frame passed, at most REACH, it is somebody new. Raises ValueError where a frame has more than MOST.
    """
    from scipy.optimize import linear_sum_assignment  # not at import: listing the readers need not wait for it

    who = np.empty(len(places), np.int64)
    last = np.empty((0, *places.shape[1:]))  # each person's joints, where last seen
    seen = np.empty(0, np.int64)  # in which frame
    times, starts, counts = np.unique(frames, return_index=True, return_counts=True)
    if (most := counts.max(initial=0)) > MOST:
        raise ValueError(f"frame {times[counts.argmax()]} has {most} people; expected at most {MOST}")
    for time, rows in zip(times, np.split(np.arange(len(places)), starts[1:]), strict=True):
        known = np.flatnonzero(time - seen <= MEMORY)
        cost = _distance(last[known], places[rows])
        allowed = cost <= np.minimum(STEP * (time - seen[known]), REACH)[:, None]
        people, found = linear_sum_assignment(np.where(allowed, cost, 1e6))
        matched = allowed[people, found]
        people, found = known[people[matched]], found[matched]
        fresh = np.setdiff1d(np.arange(len(rows)), found)
        people = np.concatenate([people, len(last) + np.arange(len(fresh))])
        found = np.concatenate([found, fresh])
        last = np.concatenate([last, np.full((len(fresh), *last.shape[1:]), np.nan)])
        seen = np.concatenate([seen, np.zeros(len(fresh), np.int64)])
        now = places[rows[found]]
        last[people] = np.where(np.isnan(now), last[people], now)
        seen[people] = time
        who[rows[found]] = people
    return who


def _distance(before: np.ndarray, now: np.ndarray) -> np.ndarray:
    """(K, V, C) and (n, V, C) → (K, n) mean distances in body extents; infinite where no joint is in both."""
    apart = np.linalg.norm(before[:, None] - now[None], axis=-1)  # (K, n, V)
    both = ~np.isnan(apart)
    extent = np.maximum(_extent(before)[:, None], _extent(now)[None])
    mean = np.where(both, apart, 0).sum(-1) / np.maximum(both.sum(-1), 1)
    return np.where(both.any(-1), mean / np.maximum(extent, 1e-9), np.inf)


def _extent(bodies: np.ndarray) -> np.ndarray:
    """(…, V, C) → (…) diagonal of the box around the joints seen, 0 where none is."""
    span = np.fmax.reduce(bodies, -2) - np.fmin.reduce(bodies, -2)
    return np.nan_to_num(np.linalg.norm(span, axis=-1))

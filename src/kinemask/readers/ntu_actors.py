"""Who is who in NTU RGB+D's recordings, whose tracking ids include furniture and change amid a clip."""

from __future__ import annotations

import numpy as np

from kinemask.readers.cleaning import Rejected, cut_empty_frames

MIN_FRAMES = 11  # an id seen in so many frames or fewer is no person
SPREAD = 0.8  # a frame is furniture-like where the spread in x exceeds this times the spread in y
SPREAD_FRAMES = 0.69754  # an id is furniture where at least this share of its frames is


def merge_actors(ids: np.ndarray, frames: np.ndarray, joints: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """One or two actors out of a recording whose tracking ids include furniture and change mid-clip (NTU
    RGB+D).

    ids, frames: (R,) tracking id and frame of each observation, frames ascending. joints: (R, V, 3), y
    vertical, NaN = missing. Where there are several ids: those seen in at most 11 frames go; then those whose
    joints spread more in x than 0.8 times the spread in y in at least 69.754 % of their frames (the last id
    stays); the rest, by motion, become actor 1 and actor 2 or continue them where frame ranges do not
    overlap. The practice behind the published splits of NTU RGB+D.

    Returns (M, T, V, 3), M 1 or 2, T the frames in which an actor is seen, and a note for each dropped body.
    Raises Rejected where no body is left.
    """
    seen = ~np.isnan(joints).all((1, 2))
    _, first = np.unique(np.stack([ids, frames])[:, seen], axis=1, return_index=True)
    first.sort()
    doubled = int(seen.sum()) - len(first)
    notes = [f"dropped {doubled} observations: their id is seen twice in one frame"] if doubled else []
    ids, frames, joints = (array[seen][first] for array in (ids, frames, joints))
    if not len(ids):
        raise Rejected("no body is seen in any frame")
    bodies = {int(i): np.flatnonzero(ids == i) for i in dict.fromkeys(ids.tolist())}  # in order of appearance
    if len(bodies) > 1:
        bodies = _drop_short(bodies, notes)
        bodies = _drop_furniture(bodies, joints, notes)
    actors = _assign_actors(bodies, frames, notes)

    _, frames = np.unique(frames, return_inverse=True)
    data = np.full((len(actors), frames.max() + 1, *joints.shape[1:]), np.nan)
    for m, rows in enumerate(actors):
        data[m, frames[rows]] = joints[rows]
    return cut_empty_frames(data), tuple(notes)


def _drop_short(bodies: dict[int, np.ndarray], notes: list[str]) -> dict[int, np.ndarray]:
    short = {i: len(rows) for i, rows in bodies.items() if len(rows) <= MIN_FRAMES}
    if len(short) == len(bodies):
        raise Rejected(f"each of its {len(bodies)} bodies is seen in {MIN_FRAMES} frames or fewer")
    notes += [f"dropped body {i}: seen in {n} frames only" for i, n in short.items()]
    return {i: rows for i, rows in bodies.items() if i not in short}


def _drop_furniture(bodies: dict[int, np.ndarray], joints: np.ndarray, notes: list[str]) -> dict[int, np.ndarray]:
    """Bodies that are upright often enough, most motion first."""
    motion: dict[int, float] = {}
    left = len(bodies)
    for i, rows in bodies.items():
        points = joints[rows]
        spread = np.fmax.reduce(points, axis=1) - np.fmin.reduce(points, axis=1)  # (frames, 3)
        wide = spread[:, 0] > SPREAD * spread[:, 1]
        if left > 1 and wide.mean() >= SPREAD_FRAMES:
            notes.append(f"dropped body {i}: wider than tall in {wide.mean():.1%} of its {len(rows)} frames")
            left -= 1
        else:
            motion[i] = min(_motion(points), _motion(points[~wide]) if not wide.all() else np.inf)
    return {i: bodies[i] for i in sorted(motion, key=lambda i: -motion[i])}


def _motion(points: np.ndarray) -> float:
    """Variance over frames and joints, summed over x, y and z."""
    return float(np.nanvar(points.reshape(-1, points.shape[-1]), axis=0).sum())


def _assign_actors(bodies: dict[int, np.ndarray], frames: np.ndarray, notes: list[str]) -> list[np.ndarray]:
    """Rows of actor 1 and, where there is one, actor 2; a body joins the first whose frame range is free."""
    actors: list[np.ndarray] = []
    for i, rows in bodies.items():
        start, end = frames[rows].min(), frames[rows].max()
        for m, taken in enumerate(actors):
            if end < frames[taken].min() or start > frames[taken].max():
                actors[m] = np.concatenate([taken, rows])
                break
        else:
            if len(actors) < 2:
                actors.append(rows)
            else:
                notes.append(f"dropped body {i}: its {len(rows)} frames overlap both actors")
    return actors

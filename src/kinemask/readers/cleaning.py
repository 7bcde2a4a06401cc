"""From raw joints to a store's convention: missing data, origin, scale, and who is who in NTU recordings.

Every function here is pure: arrays in, new arrays out. M bodies, T frames, V joints, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kinemask.skeleton import Layout

LARGEST = 1e18
MIN_FRAMES = 11  # an id seen in so many frames or fewer is no person
SPREAD = 0.8  # a frame is furniture-like where the spread in x exceeds this times the spread in y
SPREAD_FRAMES = 0.69754  # an id is furniture where at least this share of its frames is


class Rejected(ValueError):
    """A clip that a rule drops, as opposed to a file that cannot be read."""


def mark_missing(data: np.ndarray) -> np.ndarray:
    """Joints (..., C) with missing ones as NaN in every channel: exact zeros and joints with a NaN channel.

    Returns float64. Raises ValueError where a coordinate is infinite, or so large that its square would be in
    float32.
    """
    data = np.array(data, np.float64)
    if (large := np.abs(data) > LARGEST).any():
        where = tuple(int(i) for i in np.argwhere(large)[0])
        raise ValueError(f"coordinate {data[where]} at index {where} (shape {data.shape}) is not a finite length")
    data[np.isnan(data).any(-1) | (data == 0).all(-1)] = np.nan
    return data


def drop_unseen(data: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Bodies (M, T, V, C) that are seen at least once, with a note for each of the others.

    Raises Rejected where nobody is seen in any frame.
    """
    seen = ~np.isnan(data).all((1, 2, 3))
    if not seen.any():
        raise Rejected("no joint is seen in any frame")
    notes = tuple(f"dropped body {m + 1}: no joint is seen in any frame" for m in np.flatnonzero(~seen))
    return data[seen], notes


def cut_empty_frames(data: np.ndarray) -> np.ndarray:
    """Frames of (M, T, V, C) in which at least one joint of at least one body is seen."""
    return data[:, ~np.isnan(data).all((0, 2, 3))]


def find_origin(data: np.ndarray, joints: Sequence[int]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Origin (C,) of a clip (M, T, V, C): the mean of `joints` of the first body at its first valid frame.

    Where these are never seen together, the mean of those seen in the first frame that has any; where none is
    ever seen, the mean of all joints in the first frame that has any. A note says so.
    """
    body = data[0]
    seen = ~np.isnan(body[..., 0])  # (T, V)
    wanted = seen[:, list(joints)]
    if wanted.all(1).any():
        t = int(wanted.all(1).argmax())
        return body[t, list(joints)].mean(0), ()
    if wanted.any():
        t = int(wanted.any(1).argmax())
        used, what = wanted[t], "the origin's joints are never seen together; the mean of those seen"
        return body[t, np.asarray(joints)[used]].mean(0), (f"{what} in frame {t} is the origin",)
    if not seen.any():
        raise Rejected("the first body is not seen in any frame")
    t = int(seen.any(1).argmax())
    note = f"the origin's joints are never seen; the mean of all joints seen in frame {t} is the origin"
    return body[t, seen[t]].mean(0), (note,)


def torso_length(data: np.ndarray, layout: Layout) -> float:
    """Median length of the torso over bodies and frames of (M, T, V, C), in the data's units.

    NaN where its ends are never seen in one frame, or always coincide.
    """
    upper, lower = (data[:, :, list(side)].mean(2) for side in layout.torso_length)
    lengths = np.linalg.norm(upper - lower, axis=-1)
    lengths = lengths[lengths > 0]  # NaN compares false
    return float(np.median(lengths)) if lengths.size else float("nan")


def clean_3d(data: np.ndarray, layout: Layout) -> tuple[np.ndarray, tuple[str, ...]]:
    """A 3D clip in the store's convention: origin at the first body's root.

    data: (M, T, V, 3), metres, y up, missing joints NaN (`mark_missing`). Returns float32 of the same shape,
    less bodies that are never seen, and notes. Raises Rejected where nothing is seen.
    """
    data, unseen = drop_unseen(data)
    origin, notes = find_origin(data, layout.origin)
    return (data - origin).astype(np.float32), unseen + notes


def clean_2d(
    data: np.ndarray, layout: Layout, image_height: float | None = None
) -> tuple[np.ndarray, float, tuple[str, ...]]:
    """A 2D clip in the store's convention: y up, origin at the hips, unit of half an image height.

    data: (M, T, V, 2) image coordinates, y down, missing joints NaN (`mark_missing`). image_height: in the
    same units; where None, the unit is the clip's median torso length. Returns float32 data, the unit (in the
    source's units) and notes. Raises Rejected where nothing is seen, or nothing gives a unit.
    """
    data, unseen = drop_unseen(data)
    unit = torso_length(data, layout) if image_height is None else image_height / 2
    if unit == np.inf:
        raise Rejected("the image's height is infinite")
    if not unit > 0:
        raise Rejected("neither the image's height nor a torso length gives the scale of this 2D clip")
    origin, notes = find_origin(data, layout.origin)
    return ((data - origin) * (1, -1) / unit).astype(np.float32), unit, unseen + notes


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

"""From raw joints to a store's convention: missing data, origin, scale.

Every function here is pure: no array that is given changes. M bodies, T frames, V joints, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kinemask.skeleton import Layout

LARGEST = 1e18
BY_SHOULDERS = 1.5  # the torso's length in widths of the shoulders, seen from the front


class Rejected(ValueError):
    """A clip that a rule drops, as opposed to a file that cannot be read."""


def mark_missing(data: np.ndarray) -> np.ndarray:
    """Joints (..., C) with missing ones as NaN in every channel: exact zeros and joints with a NaN channel.

    Returns float64. Raises ValueError where a coordinate is infinite, or so large that its square would be in
    float32.
    """
    data = np.array(data, np.float64)
    if (large := (data > LARGEST) | (data < -LARGEST)).any():
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
    return data if seen.all() else data[seen], notes


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


def shoulders_width(data: np.ndarray, layout: Layout) -> float:
    """Width of the shoulders over bodies and frames of (M, T, V, C), as seen from the front: a high percentile.

    NaN where they are never seen in one frame, always coincide, or the layout names none.
    """
    names = ("left_shoulder", "right_shoulder")
    if not set(names) <= set(layout.joints):
        return float("nan")
    left, right = (data[:, :, layout.index(name)] for name in names)
    widths = np.linalg.norm(left - right, axis=-1)
    widths = widths[widths > 0]  # NaN compares false
    return float(np.percentile(widths, 90)) if widths.size else float("nan")


def clean_3d(data: np.ndarray, layout: Layout) -> tuple[np.ndarray, tuple[str, ...]]:
    """A 3D clip in the store's convention: origin at the first body's root.

    data: (M, T, V, 3), metres, y up, missing joints NaN (`mark_missing`). Returns float32 of the same shape,
    less bodies that are never seen, and notes. Raises Rejected where nothing is seen, ValueError where a coordinate is
    not finite.
    """
    data, unseen = drop_unseen(data)
    origin, notes = find_origin(data, layout.origin)
    placed = np.empty(data.shape, np.float32)
    with np.errstate(over="ignore"):
        np.subtract(data, origin, out=placed, casting="same_kind")  # in float64, block by block
    return _finite(placed), unseen + notes


def clean_2d(
    data: np.ndarray, layout: Layout, image_height: float | None = None
) -> tuple[np.ndarray, float, tuple[str, ...]]:
    """A 2D clip in the store's convention: y up, origin at the hips, unit of half an image height.

    data: (M, T, V, 2) image coordinates, y down, missing joints NaN (`mark_missing`). image_height: in the
    same units; where None, the unit is the clip's median torso length or, where the torso is never seen, what the
    shoulders tell of it. Returns float32 data, the unit (in the source's units) and notes. Raises Rejected where
    nothing is seen, or nothing gives a unit, ValueError where a coordinate is not finite.
    """
    data, unseen = drop_unseen(data)
    unit = torso_length(data, layout) if image_height is None else image_height / 2
    if np.isnan(unit):
        unit = BY_SHOULDERS * shoulders_width(data, layout)
        unseen += ("the torso is never seen, so the shoulders give the scale; a column image_height does better",)
    if unit == np.inf:
        raise Rejected("the image's height is infinite")
    if not unit > 0:
        raise Rejected(
            "neither the image's height nor a torso length gives the scale of this 2D clip, nor do shoulders: add a"
            " column image_height to clips.csv"
        )
    origin, notes = find_origin(data, layout.origin)
    with np.errstate(over="ignore"):
        placed = ((data - origin) * (1, -1) / unit).astype(np.float32)
    return _finite(placed), unit, unseen + notes


def _finite(placed: np.ndarray) -> np.ndarray:
    """The array itself; ValueError where a coordinate that is there does not fit into float32."""
    if np.isinf(placed).any():
        raise ValueError("a coordinate is not a finite length, in its units or from the origin")
    return placed

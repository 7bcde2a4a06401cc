"""Pose arrays (.npy, .npz) of any layout, as (M, T, V, C) with NaN for missing; tables are in `pose_table`."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kinemask.budget import check_numbers
from kinemask.readers.array_file import open_array, open_arrays
from kinemask.readers.files import as_numbers, check_kind
from kinemask.skeleton import Layout

SPARSE = 100  # numbered frames per frame given, beyond which the numbers are no frame numbers
_ROOM = 1 << 22  # joints' places of a clip that no check of how few are given is worth
_SPREAD = 10  # joints' places for each that is given, beyond that
SMOOTH = 4  # times as far as from one frame to the next are the bodies of one frame apart


class Poses(NamedTuple):
    """What a file holds. data: (M, T, V, C), NaN where missing, of any type of numbers, perhaps read-only and still in
    the file. score: (M, T, V), None where it has none.

    notes: what was taken for what. doubts: what may not be as it was taken. people: what the file calls the M bodies,
    () where it does not.
    """

    data: np.ndarray
    score: np.ndarray | None
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    people: tuple[str, ...] = ()


def check_spread(shape: tuple[int, int, int], given: int, dims: int) -> None:
    """ValueError where clips of this shape (M, T, V) have a place for far more joints than are given, or than a file's
    budget allows."""
    places = prod(shape)
    if places > max(_ROOM, _SPREAD * given):
        raise ValueError(f"{given:,} joints would spread over {shape[0]} bodies in {shape[1]:,} frames: too sparse")
    check_numbers("its clip", places * (dims + 1))


def load_arrays(path: Path, layout: Layout, axes: str = "") -> Poses:
    """Coordinates of a .npy file, or of `keypoints` in a .npz file, and their `score`, if any, by their usual names.

    axes: what the axes are, letters of T (frames), M (bodies), V (joints), C (coordinates); without it, (T, V, C) or
    (M, T, V, C). C may have the score as a last one, and V and C be one axis. Never unpickles. Raises ValueError for
    object arrays, other shapes, broken files, and where frames seem to come before bodies.
    """
    notes: tuple[str, ...] = ()
    score = None
    if path.suffix.lower() == ".npz":
        data, score, notes = _load_npz(path)
    else:
        data = open_array(path).load()
    data = check_kind(data, str(path))
    given = data.shape
    if score is not None:
        score = as_numbers(score, f"{path}: score")
    data, flat = _unfold(data, layout)
    if flat:
        notes += (f"rows of {given[-1]} numbers are taken for the {data.shape[-1]} of each joint in turn",)
    if axes:
        data, score = _arrange(data, score, axes, path)
    dims = layout.dims
    if data.ndim not in (3, 4) or data.shape[-2] != layout.num_joints or data.shape[-1] not in (dims, dims + 1):
        raise ValueError(f"{path}: {_other_shape(given, layout, axes)}")
    if not data.size:
        raise ValueError(f"{path}: {_other_shape(given, layout, axes)}")
    if data.shape[-1] == dims + 1:
        data, score = _split_score(data, score, layout, path), data[..., -1].astype(np.float64)
    if score is not None and score.shape != data.shape[:-1]:
        score = score.reshape(data.shape[:-1]) if _only_ones_apart(score.shape, data.shape[:-1]) else score
        if score.shape != data.shape[:-1]:
            raise ValueError(f"{path}: score should have the shape {data.shape[:-1]}, found {score.shape}")
    if data.ndim == 4 and not axes and _frames_first(data):
        raise ValueError(
            f"{path}: the shape {given} is of {data.shape[0]} bodies by {data.shape[1]} frames; if frames come first,"
            " say so: --axes TMVC (and if not: --axes MTVC)"
        )
    if data.ndim == 3:
        data, score = data[None], None if score is None else score[None]
    return Poses(data, score, notes)


def _unfold(data: np.ndarray, layout: Layout) -> tuple[np.ndarray, bool]:
    """Rows of V·C numbers, x and y (and score) of a joint after the other, as (…, V, C)."""
    joints, dims = layout.num_joints, layout.dims
    sizes = (joints * dims, joints * (dims + 1))
    if (
        data.ndim not in (2, 3)
        or data.shape[-1] not in sizes
        or data.shape[-2:] in [(joints, dims), (joints, dims + 1)]
    ):
        return data, False
    return data.reshape(*data.shape[:-1], joints, -1), True


def _arrange(data: np.ndarray, score: np.ndarray | None, axes: str, path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Axes as told, in the order M, T, V, C."""
    letters = axes.upper()
    if len(set(letters)) < len(letters) or not set("TVC") <= set(letters) <= set("TMVC"):
        raise ValueError(f"axes is {axes!r}; it should name T, V, C and perhaps M, each once, such as TMVC")
    if len(letters) != data.ndim:
        raise ValueError(f"{path}: the shape {data.shape} has {data.ndim} axes, and --axes {axes} names {len(letters)}")
    order = [letters.index(letter) for letter in "MTVC" if letter in letters]
    if score is not None:
        rest = letters.replace("C", "")
        if score.ndim == len(rest):
            score = score.transpose([rest.index(letter) for letter in "MTV" if letter in rest])
    return data.transpose(order), score


def _other_shape(shape: tuple[int, ...], layout: Layout, axes: str) -> str:
    """What is wrong with a shape, and which axes it may have."""
    rows = ("frames", layout.num_joints, layout.dims)
    wanted = f"({', '.join(map(str, rows))}) or (bodies, {', '.join(map(str, rows))})"
    said = f"layout {layout.name} needs the shape {wanted}, found {shape}" + (f" with --axes {axes}" if axes else "")
    guess = "" if axes else _guess_axes(shape, layout)
    if len(shape) == 5:
        return f"{said}; if those are the clips of a whole data set, see the reader st-gcn"
    words = {"T": "frames", "M": "bodies", "V": "joints", "C": "coordinates"}
    if guess:
        return f"{said}; if that is ({', '.join(words[letter] for letter in guess)}), say so: --axes {guess}"
    return said


def _guess_axes(shape: tuple[int, ...], layout: Layout) -> str:
    """The axes that a shape may have, as letters; "" where it fits none."""
    coordinates = [at for at, size in enumerate(shape) if size in (layout.dims, layout.dims + 1)]
    joints = [at for at, size in enumerate(shape) if size == layout.num_joints]
    for c in sorted(coordinates, reverse=True):
        for v in sorted(joints, reverse=True):
            rest = [at for at in range(len(shape)) if at not in (c, v)]
            if c != v and len(rest) in (1, 2) and 0 not in shape:
                letters = {c: "C", v: "V", max(rest, key=lambda at: shape[at]): "T"}
                guess = "".join(letters.get(at, "M") for at in range(len(shape)))
                if guess not in ("TVC", "MTVC"):
                    return guess
    return ""


def _split_score(data: np.ndarray, score: np.ndarray | None, layout: Layout, path: Path) -> np.ndarray:
    """The coordinates of data that have one number more for each joint, which must look like a confidence."""
    last = data[..., -1][~np.isnan(data[..., -1])]
    if score is not None:
        raise ValueError(f"{path}: {data.shape[-1]} numbers for each joint, and a score besides")
    if last.size and not (last.min() >= 0 and (last.max() <= 1 or np.isin(last, (0, 1, 2)).all())):
        raise ValueError(
            f"{path}: layout {layout.name} has {layout.dims} coordinates; the further one of each joint lies between"
            f" {last.min():.3g} and {last.max():.3g}, which is no confidence of 0 to 1"
        )
    return data[..., :-1]


def _only_ones_apart(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return [size for size in one if size != 1] == [size for size in other if size != 1]


def _frames_first(data: np.ndarray) -> bool:
    """Whether (M, T, V, C) seem to be (T, M, V, C): a crowd in few frames, or bodies that move like frames."""
    bodies, frames = data.shape[:2]
    if bodies > frames and (bodies > 10 or (frames <= 2 and bodies > 4)):
        return True
    if bodies <= 5 or frames < 2:
        return False
    marked = np.where((data == 0).all(-1, keepdims=True), np.nan, data).astype(np.float64, copy=False)
    steps = [np.abs(np.diff(marked, axis=axis)) for axis in (0, 1)]
    between, along = (np.median(step[~np.isnan(step)]) if not np.isnan(step).all() else np.nan for step in steps)
    return bool(SMOOTH * between < along)


_COORDINATES = ("keypoints", "keypoint", "kpts", "kps", "poses", "pose", "skeletons", "skeleton", "coordinates")
_COORDINATES += ("coords", "positions", "data", "arr_0")
_SCORES = ("score", "scores", "keypoint_score", "keypoint_scores", "keypoints_score", "keypoints_scores", "confidence")
_SCORES += ("confidences", "conf", "confs", "visibility")


def _load_npz(path: Path) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]:
    """The coordinates and scores of a .npz file, and notes on what else it holds."""
    content = open_arrays(path)
    main, score = (next((key for key in keys if key in content), None) for keys in (_COORDINATES, _SCORES))
    if main is None:
        hint = "; for packs of x_train and y_train, see the reader st-gcn" if "x_train" in content else ""
        raise ValueError(f"{path}: expected the key keypoints, found {', '.join(content)[:200] or 'none'}{hint}")
    notes = (f"{main} is taken for keypoints",) if main != "keypoints" else ()
    notes += (f"{score} is taken for score",) if score not in (None, "score") else ()
    if rest := [key for key in content if key not in (main, score)]:
        notes += (f"keys that are not read: {', '.join(rest[:20])}",)
    return content[main].load(), None if score is None else content[score].load(), notes

"""Recordings in memory as a recogniser takes them: moved to the origin, checked, of a known layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kinemask.readers.cleaning import Rejected, find_origin
from kinemask.skeleton import Layout, layouts
from kinemask.skeleton import layout as shipped
from kinemask.store.opening import Store
from kinemask.windows.tracks import Recordings


def find_layout(given: str | Path | Layout | None, arrays: Any) -> Layout:
    """The layout by name or value; ValueError that lists those of the arrays' shape where none is given."""
    if given is not None:
        return given if isinstance(given, Layout) else shipped(given)
    shape = list(np.shape(arrays[0]))[-2:] if len(arrays) else []
    fitting = fitting_layouts(*shape) if len(shape) == 2 else []
    known = f"; layouts of {shape[0]} joints in {shape[1]}D: {', '.join(fitting)}" if fitting else ""
    raise ValueError(f"arrays need a layout, which names their joints: Recogniser(layout=...){known}")


def fitting_layouts(joints: int, dims: int) -> list[str]:
    """Names of the shipped layouts of so many joints and dimensions."""
    found = {name: shipped(name) for name in layouts()}
    return [name for name, one in found.items() if (one.num_joints, one.dims) == (joints, dims)]


def as_recordings(arrays: Sequence[Any] | np.ndarray, layout: Layout) -> Recordings:
    """Arrays (T, V, C) or (M, T, V, C) as recordings, each moved so that its first body's root begins at the origin.

    Raises ValueError that names the recording of another shape, with infinite numbers, or in which nobody is seen.
    """
    if isinstance(arrays, np.ndarray) and arrays.ndim not in (1, 4, 5):
        raise ValueError(
            f"recordings have shape {arrays.shape}; expected (N, T, V, C) or (N, M, T, V, C), or a list of arrays. "
            "Reshape your data: one recording alone is [recording]"
        )
    if len(arrays) and any(hasattr(one, "dtype") and np.iscomplexobj(one) for one in arrays):
        raise ValueError("Complex data not supported: coordinates are real numbers")
    found = Recordings.of(layout, [np.asarray(one, np.float32) for one in arrays])
    moved = [centred(found.frames[rows], shape, layout, i) for i, (rows, shape) in enumerate(_places(found))]
    return Recordings(
        layout, np.concatenate(moved), found.names, found.lengths, found.bodies, found.offsets, found.path
    )


def store_recordings(store: Store, clips: np.ndarray) -> Recordings:
    """Clips of a store as recordings in memory, moved alike."""
    found = as_recordings([store.clip(int(i)) for i in clips], store.layout)
    return replace(found, names=[store.names[i] for i in clips.tolist()], path=str(store.path))


def _places(of: Recordings) -> list[tuple[slice, tuple[int, int]]]:
    sizes = zip(of.offsets.tolist(), of.bodies.tolist(), of.lengths.tolist(), strict=True)
    return [(slice(first, first + bodies * length), (bodies, length)) for first, bodies, length in sizes]


def centred(rows: np.ndarray, shape: tuple[int, int], layout: Layout, number: int) -> np.ndarray:
    """Rows (M·T, V, C) of one recording, moved."""
    data = rows.reshape(*shape, *rows.shape[1:])
    seen = np.isfinite(data).all(-1).reshape(len(data), -1).any(1)
    if not seen.any():
        raise ValueError(f"recording {number}: no joint is seen in any frame")
    try:
        origin, _ = find_origin(data[int(seen.argmax()) :], layout.origin)
    except Rejected as error:
        raise ValueError(f"recording {number}: {error}") from None
    return (rows - origin).astype(np.float32)

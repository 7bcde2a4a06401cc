"""A store as tensors: one track per body that exists, missing joints filled, ready to be sampled in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from kinemask.skeleton import Layout
from kinemask.store.opening import Store

_CHUNK_ROWS = 200_000


@dataclass(frozen=True)
class Recordings:
    """Recordings in memory, with the members of a Store that Tracks reads."""

    layout: Layout
    frames: np.ndarray
    names: list[str]
    lengths: np.ndarray
    bodies: np.ndarray
    offsets: np.ndarray
    path: str = "memory"

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def of(cls, layout: Layout, arrays: Sequence[np.ndarray]) -> Recordings:
        """From arrays (T, V, C) or (M, T, V, C); raises ValueError that names the array of another shape."""
        if not len(arrays):
            raise ValueError("no recordings were given")
        shaped = [a[None] if a.ndim == 3 else a for a in arrays]
        expected = (layout.num_joints, layout.dims)
        for i, a in enumerate(shaped):
            if a.ndim != 4 or a.shape[2:] != expected or 0 in a.shape:
                raise ValueError(
                    f"recording {i} has shape {arrays[i].shape}; layout {layout.name} expects "
                    f"(T, V, C) or (M, T, V, C) with V, C = {expected}"
                )
            if np.isinf(a).any():
                raise ValueError(f"recording {i} contains infinity; missing joints are NaN")
        bodies, lengths = (np.array([a.shape[d] for a in shaped], dtype=np.int64) for d in (0, 1))
        rows = bodies * lengths
        frames = np.concatenate([a.reshape(-1, *expected) for a in shaped])
        return cls(layout, frames, [str(i) for i in range(len(shaped))], lengths, bodies, np.cumsum(rows) - rows)


class Tracks:
    """Body tracks of chosen clips on a device.

    frames (rows, V, C) in the store's precision, filled; seen (rows, V) bool; per track: start (first row), length
    (frames), clip (position among the chosen clips), scale (1 / median torso length). A body that is missing
    throughout its clip is no track.
    """

    def __init__(
        self,
        store: Store | Recordings,
        clips: np.ndarray | None = None,
        device: torch.device | str = "cpu",
        missing: Literal["fill", "zero"] = "fill",
    ):
        self.layout = store.layout
        self.clips = np.arange(len(store)) if clips is None else np.asarray(clips)
        if not len(self.clips):
            raise ValueError(f"no clips were chosen from the store {store.path}")
        bodies = store.bodies[self.clips]
        clip = np.repeat(np.arange(len(self.clips)), bodies)
        body = np.arange(len(clip)) - np.repeat(np.cumsum(bodies) - bodies, bodies)
        length = store.lengths[self.clips][clip]
        source = store.offsets[self.clips][clip] + body * length
        rows, exists, scales = [], [], []
        for part in _chunks(length):
            taken = np.concatenate([np.arange(s, s + n) for s, n in zip(source[part], length[part], strict=True)])
            values = np.asarray(store.frames[taken])
            seen = np.asarray(np.isfinite(values).all(-1))
            values = np.where(seen[..., None], values, np.nan)
            starts = np.cumsum(length[part]) - length[part]
            present = np.logical_or.reduceat(seen.any(-1), starts)
            if missing == "fill":
                filled = fill_missing(values, seen, starts, self.layout)
            else:  # the published codes take the zeros for positions
                filled, seen = np.nan_to_num(values), np.ones_like(seen)
            stay = np.repeat(present, length[part])
            rows.append((filled[stay], seen[stay]))
            exists.append(present)
            scales.append(torso_scale(values, starts, self.layout)[present])
        present = np.concatenate(exists)
        if not present.any():
            raise ValueError(f"every chosen clip of the store {store.path} is missing throughout")
        self.device = torch.device(device)
        self.frames = torch.from_numpy(np.concatenate([f for f, _ in rows])).to(device)
        self.seen = torch.from_numpy(np.concatenate([s for _, s in rows])).to(device)
        length, clip = length[present], clip[present]
        self.length = torch.from_numpy(length).to(device)
        self.start = torch.from_numpy(np.cumsum(length) - length).to(device)
        self.clip = torch.from_numpy(clip).to(device)
        count = np.bincount(clip, minlength=len(self.clips))
        if (count == 0).any():
            name = store.names[self.clips[int(np.argmin(count))]]
            raise ValueError(f"clip {name} of the store {store.path} is missing throughout; prepare the store again")
        self._count = torch.from_numpy(count).to(device)
        first = np.cumsum(count) - count
        self._first = torch.from_numpy(first).to(device)
        # one factor for all bodies of a clip, its first body's, so that they keep their places to each other
        self.scale = torch.from_numpy(np.concatenate(scales).astype(np.float32)[first[clip]]).to(device)

    def __len__(self) -> int:
        return len(self.start)

    def of_clips(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Tracks of clips: positions (N,) among the chosen clips -> tracks (B,), and each one's row in `positions`."""
        count = self._count[positions]
        clip_index = torch.repeat_interleave(torch.arange(len(positions), device=self.device), count)
        within = torch.arange(len(clip_index), device=self.device) - (count.cumsum(0) - count)[clip_index]
        return self._first[positions][clip_index] + within, clip_index


def _chunks(length: np.ndarray):
    """Slices of tracks of about `_CHUNK_ROWS` rows each."""
    group = (np.cumsum(length) - 1) // _CHUNK_ROWS
    edges = np.flatnonzero(np.diff(group)) + 1
    for a, b in zip([0, *edges], [*edges, len(length)], strict=True):
        yield slice(a, b)


def fill_missing(values: np.ndarray, seen: np.ndarray, starts: np.ndarray, layout: Layout) -> np.ndarray:
    """Fill missing joints within each track: linear in time, held at the ends; never seen: the root's position.

    values (rows, V, C); seen (rows, V) bool; starts (tracks,) first row of each track. Returns a new array; a track
    whose root is never seen has its root at the origin.
    """
    rows = len(seen)
    length = np.diff(np.append(starts, rows))
    first = np.repeat(starts, length)[:, None]
    last = first + np.repeat(length, length)[:, None] - 1
    here = np.arange(rows)[:, None]
    before = np.maximum.accumulate(np.where(seen, here, -1), axis=0)
    after = np.minimum.accumulate(np.where(seen, here, rows)[::-1], axis=0)[::-1]
    row, joint = np.nonzero(~seen)
    a, b = before[row, joint], after[row, joint]
    has_a, has_b = a >= first[row, 0], b <= last[row, 0]
    a, b = np.where(has_a, a, b), np.where(has_b, b, a)
    out = values.copy()
    some = has_a | has_b
    row, joint, a, b = row[some], joint[some], a[some], b[some]
    weight = ((row - a) / np.maximum(b - a, 1)).astype(np.float32)[:, None]
    out[row, joint] = (1 - weight) * values[a, joint] + weight * values[b, joint]
    root = np.where(np.isfinite(out[:, layout.root]), out[:, layout.root], 0)
    return np.where(np.isfinite(out), out, root[:, None, :])


def torso_scale(values: np.ndarray, starts: np.ndarray, layout: Layout) -> np.ndarray:
    """1 / median torso length of each track (tracks,); 1 where the torso is never seen or has no length."""
    upper, lower = (values[:, list(ends)].astype(np.float32).mean(1) for ends in layout.torso_length)
    length = np.linalg.norm(upper - lower, axis=-1)
    track = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(values))))
    ordered = length[np.lexsort((length, track))]  # by track, then by length; NaN last within a track
    known = np.bincount(track, weights=np.isfinite(length), minlength=len(starts)).astype(int)
    middle = (ordered[starts + np.maximum(known - 1, 0) // 2] + ordered[starts + known // 2 * (known > 0)]) / 2
    usable = (known > 0) & (middle > 1e-6)
    return np.where(usable, 1 / np.where(usable, middle, 1), 1.0)

"""A store as tensors: one track per body that exists, missing joints filled, ready to be sampled in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from kinemask.skeleton import Layout
from kinemask.store.opening import Store, release
from kinemask.windows.fill import fill
from kinemask.windows.mapped import MappedFrames, finite, fits
from kinemask.windows.scale import torso_scale

_CHUNK_ROWS = 100_000


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
    """Body tracks of chosen clips on a device, from one store or from several of the same layout.

    source: a store, of which `clips` are chosen (default: all), or a list of (store, clip indices).

    frames (rows, V, C) in the stores' precision, filled, which stay in the stores where they are too large for memory
    (`MappedFrames`; nothing but speed depends on it); seen (rows, V) bool; per track: start (first row), length
    (frames), clip (position among the chosen clips), scale (1 / median torso length). A body that is missing
    throughout its clip is no track. Per chosen clip: clips (its index in its store) and store_of (that store's
    position in `stores`). ValueError for stores of several layouts, without chosen clips, or with a clip of no body.
    """

    def __init__(
        self,
        source: Store | Recordings | Sequence[tuple[Store | Recordings, np.ndarray]],
        clips: np.ndarray | None = None,
        device: torch.device | str = "cpu",
        missing: Literal["fill", "zero"] = "fill",
    ):
        if isinstance(source, Sequence):
            parts = [(store, np.asarray(chosen)) for store, chosen in source]
        else:
            parts = [(source, np.arange(len(source)) if clips is None else np.asarray(clips))]
        self.stores = [store for store, _ in parts]
        self.layout = _common_layout(self.stores)
        self.clips = np.concatenate([chosen for _, chosen in parts])
        self.store_of = np.repeat(np.arange(len(parts)), [len(chosen) for _, chosen in parts])
        self.device = torch.device(device)
        rows = sum(int((store.bodies * store.lengths)[chosen].sum()) for store, chosen in parts)
        dtype = torch.from_numpy(np.empty(0, np.result_type(*(store.frames.dtype for store in self.stores)))).dtype
        joints, dims = self.layout.num_joints, self.layout.dims
        maps = self.device.type == "cpu" and all(isinstance(store.frames, np.memmap) for store in self.stores)
        maps = maps and not fits(rows * joints * (dims * dtype.itemsize + 1))
        # written in place, chunk by chunk: pieces put together at the end would need the memory twice
        frames = torch.empty(0 if maps else rows, joints, dims, dtype=dtype, device=device)
        seen = torch.empty(rows, joints, dtype=torch.bool, device=device)
        counts, lengths, scales, used = [], [], [], 0
        firsts, numbers, gaps, fillings = [], [], [], []  # where they are mapped: a track's place, and what fills it
        for number, (store, chosen) in enumerate(parts):
            if not len(chosen):
                raise ValueError(f"no clips were chosen from the store {store.path}")
            clip, present = np.repeat(np.arange(len(chosen)), store.bodies[chosen]), []
            for values, length, first in _chunks(store, chosen):
                length = length.to(device)
                whole = finite(values) if maps else None
                filled, here, scale, exists = _prepare(values.to(device), length, self.layout, missing)
                if not exists.all():
                    stay = exists.repeat_interleave(length)
                    filled, here = filled[stay], here[stay]
                    whole = None if whole is None else whole[stay]
                if whole is None:
                    frames[used : used + len(filled)] = filled
                else:
                    row, joint = torch.nonzero(~whole, as_tuple=True)
                    gaps.append((used + row) * joints + joint)
                    fillings.append(filled[row, joint].to(dtype))
                    firsts.append(first[exists])
                    numbers.append(torch.full_like(firsts[-1], number))
                seen[used : (used := used + len(filled))] = here
                lengths.append(length[exists])
                scales.append(scale[exists])
                present.append(exists.cpu().numpy())
            counts.append(np.bincount(clip[np.concatenate(present)], minlength=len(chosen)))
            if not counts[-1].all():
                name = store.names[chosen[int(np.argmin(counts[-1]))]]
                raise ValueError(
                    f"clip {name} of the store {store.path} is missing throughout; prepare the store again"
                )
        self.length = torch.cat(lengths)
        self.start = self.length.cumsum(0) - self.length
        self.seen, self.frames = seen[:used], frames[:used]
        if maps:
            places = torch.cat(numbers), torch.cat(firsts), self.start
            sources = [store.frames for store in self.stores]
            self.frames = MappedFrames(sources, *places, torch.cat(gaps), torch.cat(fillings), used)
        self._count = torch.from_numpy(np.concatenate(counts)).to(device)
        self._first = self._count.cumsum(0) - self._count
        self.clip = torch.arange(len(self.clips), device=device).repeat_interleave(self._count)
        # one factor for all bodies of a clip, its first body's, so that they keep their places to each other
        self.scale = torch.cat(scales)[self._first[self.clip]]

    def names(self, positions: Iterable[int]) -> list[str]:
        """Names of clips at positions among the chosen ones; where there are several stores, with the store's path."""
        found = [(self.stores[self.store_of[i]], self.clips[i]) for i in positions]
        several = len(self.stores) > 1
        return [f"{store.names[i]} of {store.path}" if several else store.names[i] for store, i in found]

    def __len__(self) -> int:
        return len(self.start)

    def of_clips(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Tracks of clips: positions (N,) among the chosen clips -> tracks (B,), and each one's row in `positions`."""
        count = self._count[positions]
        clip_index = torch.repeat_interleave(torch.arange(len(positions), device=self.device), count)
        within = torch.arange(len(clip_index), device=self.device) - (count.cumsum(0) - count)[clip_index]
        return self._first[positions][clip_index] + within, clip_index


def _prepare(
    values: Tensor, length: Tensor, layout: Layout, missing: Literal["fill", "zero"]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Bodies one after the other, values (rows, V, C) and their lengths (bodies,), ready to be sampled.

    Returns filled values, seen (rows, V), scale (bodies,) and which bodies are seen at all (bodies,). Changes `values`.
    """
    seen = finite(values)
    values[torch.nonzero(~seen, as_tuple=True)] = torch.nan
    starts = length.cumsum(0) - length
    body = torch.arange(len(length), device=length.device).repeat_interleave(length)
    exists = torch.bincount(body[seen.any(-1)], minlength=len(length)) > 0
    scale = torso_scale(values, starts, layout.torso_length)
    if missing == "fill":
        return fill(values, seen, starts, layout.root), seen, scale, exists
    return values.nan_to_num(), torch.ones_like(seen), scale, exists  # to the published codes, zeros are positions


def _common_layout(stores: Sequence[Store | Recordings]) -> Layout:
    """The layout that all stores have."""
    layout = stores[0].layout
    if any(store.layout != layout for store in stores):
        each = ", ".join(f"{store.path} has {store.layout.name}" for store in stores)
        raise ValueError(f"stores of several layouts cannot be sampled together: {each}")
    return layout


def _chunks(store: Store | Recordings, clips: np.ndarray) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Copies of the bodies of clips, about `_CHUNK_ROWS` rows at once.

    values (rows, V, C); per body, its length and its first row in the store (bodies,).
    """
    bodies = store.bodies[clips]
    clip = np.repeat(clips, bodies)
    length = store.lengths[clip]
    body = np.arange(len(clip)) - np.repeat(np.cumsum(bodies) - bodies, bodies)
    source = store.offsets[clip] + body * length
    group = (np.cumsum(length) - 1) // _CHUNK_ROWS
    edges = np.flatnonzero(np.diff(group)) + 1
    for a, b in zip([0, *edges], [*edges, len(length)], strict=True):
        n = length[a:b]
        rows = np.arange(n.sum()) + np.repeat(source[a:b] - (np.cumsum(n) - n), n)
        yield torch.from_numpy(np.asarray(store.frames[rows])), torch.from_numpy(n), torch.from_numpy(source[a:b])
        release(store.frames)

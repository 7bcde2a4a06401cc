"""Tracks of stores that are larger than memory: read from the memory map, row by row, as they are sampled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import copy
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

_SHARE = 0.8  # of the memory that is left, that frames may take
_ROWS = 1 << 16
_EXPONENT = 0x7C00  # of half precision; infinity and NaN have all of its bits


def finite(values: Tensor) -> Tensor:
    """Which joints (..., C) are finite in every channel: (...) bool. Half precision by its bits, which is faster."""
    if values.dtype == torch.float16:
        return (values.view(torch.int16) & _EXPONENT).amax(-1) != _EXPONENT
    return values.isfinite().all(-1)


def fits(size: int) -> bool:
    """Whether so many bytes may be taken: of the memory that is available, and of this process's limit, if any."""
    return size < _SHARE * memory_left()


def memory_left() -> float:
    """Bytes that this process can still take; infinity where nothing tells."""
    left = [float("inf")]
    with suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        left += [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    with suppress(ImportError, OSError, ValueError):
        import resource  # not on Windows

        most = resource.getrlimit(resource.RLIMIT_AS)[0]
        if most != resource.RLIM_INFINITY:
            left.append(most - int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize())
    return min(left)


class MappedFrames:
    """Rows (rows, V, C) of tracks, one after the other, as a tensor of them all would give them: `frames[rows]`.

    sources: memory-mapped frames of each store, as `Store.frames`. store (tracks,): which of them a track is in.
    first (tracks,): its first row there. start (tracks,): its first row here. filled (gaps, C): what stands for missing
    joints, by `gaps` (gaps,), ascending: row · V + joint.
    """

    def __init__(
        self,
        sources: Sequence[np.ndarray],
        store: Tensor,
        first: Tensor,
        start: Tensor,
        gaps: Tensor,
        filled: Tensor,
        rows: int,
    ):
        self._sources, self._store, self._first, self._start = sources, store, first, start
        self._gaps, self._filled, self._rows = gaps, filled, rows
        self._change: Callable[[Tensor], Tensor] = lambda frames: frames

    def changed(self, change: Callable[[Tensor], Tensor]) -> MappedFrames:
        """The same rows, of which `change` makes others (..., V, C) when they are read."""
        made = copy(self)
        made._change = lambda frames: change(self._change(frames))
        return made

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, index: Tensor | tuple[slice, int | list[int]]) -> Tensor:
        """Of rows (…): (…, V, C), in the stores' precision. Of some joints of all rows, `[:, joints]`: (rows, …, C)."""
        if isinstance(index, tuple):
            blocks = torch.arange(self._rows).split(_ROWS)
            return torch.cat([self[block][index] for block in blocks])
        rows = index.reshape(-1)
        track = torch.searchsorted(self._start, rows, right=True) - 1
        places, store = self._first[track] + rows - self._start[track], self._store[track]
        shape = self._sources[0].shape[1:]
        out = torch.empty(len(rows), *shape, dtype=self._filled.dtype)
        for number, source in enumerate(self._sources):
            here = store == number
            out[here] = torch.from_numpy(np.asarray(source[places[here].numpy()])).to(out.dtype)
        row, joint = torch.nonzero(~finite(out), as_tuple=True)
        out[row, joint] = self._filled[torch.searchsorted(self._gaps, rows[row] * shape[0] + joint)]
        return self._change(out.reshape(*index.shape, *shape))

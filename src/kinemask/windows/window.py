"""A clip as a window of fixed shape: a transform for data sets of clips."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from kinemask.draws import Draws
from kinemask.skeleton import Layout
from kinemask.windows.sampler import Sampler
from kinemask.windows.settings import SamplingSettings
from kinemask.windows.tracks import Recordings, Tracks

_SEEDS = 1 << 62


@dataclass(frozen=True)
class Window:
    """Makes of a clip (M, T, V, C), NaN where missing, a window (bodies, frames, V, C) without gaps.

    layout: of the clips. settings: how the window is sampled (`SamplingSettings`). bodies: how many are kept, in their
    order; one that a clip has not is 0. augment: draw a training window, from PyTorch's own random numbers; otherwise
    the first test window. Raises ValueError for a clip of another layout, or of nothing but gaps.
    """

    layout: Layout
    settings: SamplingSettings = field(default_factory=SamplingSettings)
    bodies: int = 1
    augment: bool = False

    def __call__(self, clip: Tensor | np.ndarray) -> Tensor:
        data = np.asarray(clip.numpy() if isinstance(clip, Tensor) else clip, np.float32)
        tracks = Tracks(Recordings.of(self.layout, [data]), missing=self.settings.missing)
        sampler = Sampler(tracks, self.settings)
        track = torch.arange(len(tracks))
        if self.augment:
            draws = Draws(int(torch.randint(_SEEDS, ())), 1)
            windows = sampler.sample(track, draws, torch.zeros_like(track)).x
        else:
            windows = sampler.test_view(track)
        out = windows.new_zeros(self.bodies, *windows.shape[1:])
        out[: len(windows)] = windows[: self.bodies]
        return out

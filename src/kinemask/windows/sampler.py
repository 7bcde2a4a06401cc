"""Windows of body tracks in batches, as tensor code on the device: the chain from a track to what an encoder sees.

Tracks are filled when they are loaded; a window is then resampled, scaled, turned, in training augmented, and made a
stream.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kinemask.draws import Draws, key
from kinemask.windows.align import turns
from kinemask.windows.anatomy import Anatomy
from kinemask.windows.augment import augment, rotation_matrix
from kinemask.windows.resample import fixed_crop, interpolate, random_crop, short_starts, uniform_positions
from kinemask.windows.settings import SamplingSettings
from kinemask.windows.streams import to_stream
from kinemask.windows.tracks import Tracks


@dataclass
class Batch:
    """x (B, T, V, C) without gaps; valid (B, T, V) bool, False where x was filled; draws for the B rows.

    track (B,): which tracks they are of; None where they are of none. source: the data set, of several.
    """

    x: Tensor
    valid: Tensor
    draws: Draws
    track: Tensor | None = None
    source: int = 0


class Sampler:
    """Samples windows of body tracks. Augmented where draws are given; the test view otherwise.

    Raises ValueError for sampling.align in 2D, and for sampling.mirror where the layout has no mirrored pairs.
    """

    def __init__(self, tracks: Tracks, settings: SamplingSettings):
        self.tracks, self.settings = tracks, settings
        if settings.mirror and not tracks.layout.pairs:
            raise ValueError(f"sampling.mirror swaps left and right; layout {tracks.layout.name} has no mirrored pairs")
        self.anatomy = Anatomy.of(tracks.layout, tracks.device)
        # what is laid along x stays there in a mirror: a body's left-to-right axis at x = 0, a pair's line at z = 0
        paired = torch.bincount(tracks.clip)[tracks.clip] > 1 if settings.align == "pair" else tracks.clip < 0
        self._mirror_axis = 2 * paired.long()
        self._last_test_draws: tuple[int, Tensor] | None = None
        self._turn: Tensor | None = None
        if settings.align != "none":
            angles = torch.zeros(len(tracks), 3, device=tracks.device)
            with self._in_full():
                angles[:, 1] = turns(tracks, settings.align)
                self._turn = rotation_matrix(angles, 3)

    def sample(self, track: Tensor, draws: Draws, clip_index: Tensor | None = None) -> Batch:
        """Training windows of tracks (B,). clip_index (B,): each track's row in the draws; a clip's bodies share it."""
        with self._in_full():
            s, n = self.settings, self.tracks.length[track]
            clip_index = torch.arange(len(track), device=track.device) if clip_index is None else clip_index
            if s.window == "crop":
                position = random_crop(n, draws.uniform(2)[clip_index], s)
            else:
                u = draws.uniform(2 * s.frames)[clip_index]
                position = uniform_positions(n, u, (u[:, 0] * n).floor().long())
            x, valid = self._at(track, position)
            x, valid = augment(x, valid, draws, clip_index, s, self.anatomy, self._mirror_axis[track])
            return Batch(*to_stream(x, valid, s.stream, self.anatomy.parents), draws, track)

    def test_view(self, track: Tensor, clip: int = 0) -> Tensor:
        """The test window number `clip` of `test_clips`, without augmentation: (B, T, V, C)."""
        with self._in_full():
            s, n = self.settings, self.tracks.length[track]
            if s.window == "crop":
                position = fixed_crop(n, clip, s)
            else:
                position = uniform_positions(n, self._test_draws(clip)[track], short_starts(n, clip, s.test_clips))
            x, valid = self._at(track, position)
            return to_stream(x, valid, s.stream, self.anatomy.parents)[0]

    def _in_full(self) -> torch.autocast:
        """Autocast off: a rotation in bfloat16 would round coordinates by some percent of what moves in a frame."""
        return torch.autocast(self.tracks.device.type, enabled=False)

    def _at(self, track: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        """Tracks (B,) resampled at positions (B, T), scaled and turned: x (B, T, V, C), valid (B, T, V)."""
        tracks = self.tracks
        x, valid = interpolate(tracks.frames, tracks.seen, tracks.start[track], tracks.length[track], position)
        if self.settings.scale == "torso":
            x = x * tracks.scale[track][:, None, None, None]
        if self._turn is not None:
            x = torch.einsum("btvc,bdc->btvd", x, self._turn[track])
        return x, valid

    def _test_draws(self, clip: int) -> Tensor:
        """(tracks, 2T) numbers that follow from a clip's length: bodies share them, other clips do not matter."""
        if self._last_test_draws is None or self._last_test_draws[0] != clip:
            tracks = self.tracks
            lengths, which = tracks.length.unique(return_inverse=True)
            draws = (Draws(key("test", clip, n), 1, device=tracks.device) for n in lengths.tolist())
            self._last_test_draws = clip, torch.cat([d.uniform(2 * self.settings.frames) for d in draws])[which]
        return self._last_test_draws[1]

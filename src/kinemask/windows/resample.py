"""From a track of any length to T frames: which frame numbers a window takes, and the values there.

Positions are fractional frame numbers within a track, (B, T); lengths of tracks are n (B,), in frames.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kinemask.windows.mapped import MappedFrames
from kinemask.windows.settings import SamplingSettings


def random_crop(n: Tensor, u: Tensor, settings: SamplingSettings) -> Tensor:
    """Positions in a random crop, resampled linearly. u (B, 2) in [0, 1): how long the crop is, and where."""
    s = settings
    share, place = u.unbind(-1)
    length = (n * (s.crop[0] + (s.crop[1] - s.crop[0]) * share)).floor().long()
    length = length.clamp_min(s.min_crop_frames).minimum(n)
    start = (place * (n - length + 1)).floor().minimum(n - length)
    return linear_positions(start, length, s.frames)


def fixed_crop(n: Tensor, number: int, settings: SamplingSettings) -> Tensor:
    """Positions in test crop `number` of `test_clips`: a single one is the centre, in whole frames.

    Several lie evenly from the track's start to its end, between frames too: no two are the same, however short it is.
    """
    s = settings
    if s.test_clips == 1:
        margin = ((1 - s.test_crop) * n / 2).floor().long()
        return linear_positions(margin, n - 2 * margin, s.frames)
    length = (n * s.test_crop).clamp_min(1)
    return linear_positions((n - length) * (number / (s.test_clips - 1)), length, s.frames)


def linear_positions(start: Tensor, length: Tensor, frames: int) -> Tensor:
    """Positions of linearly resampled crops, as `interpolate` has them with align_corners=False: (B, frames).

    start, length (B,): the crops' first frames and their numbers of frames.
    """
    start, length = start.unsqueeze(1).float(), length.unsqueeze(1).float()
    t = torch.arange(frames, device=start.device, dtype=torch.float32)
    position = ((t + 0.5) * (length / frames) - 0.5).clamp_min(0).minimum(length - 1)
    return start + position


def uniform_positions(n: Tensor, u: Tensor, first: Tensor) -> Tensor:
    """Uniform-interval sampling as DG-STGCN's public code: whole frame numbers (B, T). u (B, 2T) in [0, 1).

    From 2T frames on, one random frame of each of T equal intervals. From T to 2T consecutive frames, of which single
    ones are left out: n − T of the T + 1 places before, between and after the window's frames have such a gap. Below T
    consecutive frames modulo n, from first (B,).
    """
    T = u.shape[1] // 2
    n = n.unsqueeze(1)
    t = torch.arange(T, device=n.device)
    edge, following = t * n // T, (t + 1) * n // T
    spread = edge + (u[:, :T] * (following - edge)).floor()
    gap = u[:, : T + 1].argsort(1).argsort(1) < n - T
    skipping = t + gap[:, :T].cumsum(1)
    wrapped = (first.unsqueeze(1) + t) % n
    return torch.where(n >= 2 * T, spread, torch.where(n >= T, skipping, wrapped).to(spread.dtype))


def short_starts(n: Tensor, number: int, clips: int) -> Tensor:
    """Where test clip `number` of `clips` of a track shorter than the window begins: (B,), spread over the track."""
    return torch.where(n < clips, number, number * n // clips)


def interpolate(
    frames: Tensor | MappedFrames, seen: Tensor, start: Tensor, n: Tensor, position: Tensor
) -> tuple[Tensor, Tensor]:
    """Values of tracks at positions, linear between frames: x (B, T, V, C) float32, valid (B, T, V).

    frames (rows, V, C), filled; seen (rows, V) bool; start (B,): each track's first row. Valid is what was seen in
    both frames around a position.
    """
    low = position.floor()
    weight = (position - low).to(torch.float32)[..., None, None]
    low = low.long()
    high = (low + 1).minimum(n.unsqueeze(1) - 1)
    start = start.unsqueeze(1)
    x = torch.lerp(frames[start + low].float(), frames[start + high].float(), weight)
    return x, seen[start + low] & (seen[start + high] | (weight[..., 0] == 0))

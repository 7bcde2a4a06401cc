"""Sampling clips in batches, as tensor code on the device: crop, resampling, augmentation, streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from kinemask.checks import check_not_negative, check_positive, warn_unused
from kinemask.draws import Draws, key
from kinemask.windows.tracks import Tracks


@dataclass(kw_only=True)
class SamplingSettings:
    """How a clip becomes the model's window of T frames.

    Args:
        frames: frames of the model's window, T
        window: crop resamples a random crop linearly; uniform takes one random frame of each of T equal intervals
        crop: the random crop's share of the clip, from and to
        test_crop: share of the clip, at its centre, that tests use (window crop); 0.95 as the released codes, HA-CM's
            text says 0.9
        test_clips: clips sampled per test clip; their scores are averaged
        min_crop_frames: a crop is no shorter than this many frames, or than the clip
        rotation: largest rotation in radians, about every axis or per axis [x, y, z]; 2D uses the last
        shear: largest off-diagonal entry of a random shear matrix
        noise: standard deviation of noise added to every coordinate, in the units after scaling
        stream: joint positions, motion (difference to the next frame) or bone (difference to the parent)
        missing: fill is linear in time (a joint never seen takes the root's place); zero as the published codes
        scale: torso divides by the track's median torso length
    """

    frames: int = 120
    window: Literal["crop", "uniform"] = "crop"
    crop: tuple[float, float] = (0.5, 1.0)
    test_crop: float = 0.95
    test_clips: int = 1
    min_crop_frames: int = 64
    rotation: float | tuple[float, float, float] = 0.3
    shear: float = 0.0
    noise: float = 0.0
    stream: Literal["joint", "motion", "bone"] = "joint"
    missing: Literal["fill", "zero"] = "fill"
    scale: Literal["none", "torso"] = "none"

    def __post_init__(self):
        if len(self.crop) != 2 or not 0 < self.crop[0] <= self.crop[1] <= 1:
            raise ValueError(f"sampling.crop must be 0 < from <= to <= 1, not {list(self.crop)}")
        self.crop = (self.crop[0], self.crop[1])
        if not isinstance(self.rotation, int | float):
            if len(self.rotation) != 3:
                raise ValueError(f"sampling.rotation must be one angle or three, not {list(self.rotation)}")
            self.rotation = (self.rotation[0], self.rotation[1], self.rotation[2])
        if not 0 < self.test_crop <= 1:
            raise ValueError(f"sampling.test_crop must be in (0, 1], not {self.test_crop}")
        check_positive("sampling", self, "frames", "min_crop_frames", "test_clips")
        check_not_negative("sampling", self, "shear", "noise")
        if not all(0 <= angle < float("inf") for angle in self.angles):
            raise ValueError(f"sampling.rotation must be angles in radians from 0 up, not {self.rotation}")
        if self.window == "uniform":
            warn_unused("sampling", self, "with window uniform", "crop", "test_crop", "min_crop_frames")

    @property
    def angles(self) -> tuple[float, float, float]:
        """The largest rotation about x, y and z, radians."""
        r = self.rotation
        return (r, r, r) if isinstance(r, int | float) else r


@dataclass
class Batch:
    """x (B, T, V, C) without gaps; valid (B, T, V) bool, False where x was filled; draws for the B rows."""

    x: Tensor
    valid: Tensor
    draws: Draws


class Sampler:
    """Samples windows of body tracks. Augmented where draws are given; the test view otherwise."""

    def __init__(self, tracks: Tracks, settings: SamplingSettings):
        self.tracks, self.settings = tracks, settings
        self.parents = torch.tensor(tracks.layout.parents, device=tracks.device)
        self._last_test_draws: tuple[int, Tensor] | None = None

    def sample(self, track: Tensor, draws: Draws, clip_index: Tensor | None = None) -> Batch:
        """Training windows of tracks (B,). clip_index (B,): each track's row in the draws; a clip's bodies share it."""
        clip_index = torch.arange(len(track), device=track.device) if clip_index is None else clip_index
        if self.settings.window == "crop":
            position = self._crop(track, draws.uniform(2)[clip_index])
        else:
            position = self._spread(track, draws.uniform(2 * self.settings.frames)[clip_index])
        x, valid = self._gather(track, position)
        return Batch(*self._stream(augment(x, draws, clip_index, self.settings), valid), draws)

    def test_view(self, track: Tensor, clip: int = 0) -> Tensor:
        """The test window number `clip` of `test_clips`, without augmentation: (B, T, V, C)."""
        s = self.settings
        n = self.tracks.length[track]
        if s.window == "uniform":
            position = self._spread(track, self._test_draws(clip)[track])
        else:
            length = n - 2 * ((1 - s.test_crop) * n / 2).floor().long()
            start = ((n - length) * (clip + 0.5) / s.test_clips).floor()
            position = resample_positions(start, length, s.frames)
        return self._stream(*self._gather(track, position))[0]

    def _test_draws(self, clip: int) -> Tensor:
        """(tracks, 2T) numbers that follow from a clip's length: bodies share them, other clips do not matter."""
        if self._last_test_draws is None or self._last_test_draws[0] != clip:
            tracks = self.tracks
            lengths, which = tracks.length.unique(return_inverse=True)
            draws = (Draws(key("test", clip, n), 1, device=tracks.device) for n in lengths.tolist())
            self._last_test_draws = clip, torch.cat([d.uniform(2 * self.settings.frames) for d in draws])[which]
        return self._last_test_draws[1]

    def _crop(self, track: Tensor, u: Tensor) -> Tensor:
        s = self.settings
        n = self.tracks.length[track]
        share, place = u.unbind(-1)
        length = (n * (s.crop[0] + (s.crop[1] - s.crop[0]) * share)).floor().long()
        length = length.clamp_min(s.min_crop_frames).minimum(n)
        start = (place * (n - length + 1)).floor().minimum(n - length)
        return resample_positions(start, length, s.frames)

    def _spread(self, track: Tensor, u: Tensor) -> Tensor:
        """Uniform-interval sampling after DG-STGCN: (B, T) frame numbers within the track."""
        T = self.settings.frames
        n = self.tracks.length[track].unsqueeze(1)
        t = torch.arange(T, device=track.device)
        edge, following = t * n // T, (t + 1) * n // T
        spread = edge + (u[:, :T] * (following - edge)).floor()
        later = torch.arange(2 * T, device=track.device) >= n
        subset = u.masked_fill(later, 2.0).topk(T, dim=1, largest=False).indices.sort(dim=1).values
        wrapped = ((u[:, :1] * n).floor() + t) % n
        return torch.where(n >= 2 * T, spread, torch.where(n >= T, subset.to(spread.dtype), wrapped))

    def _gather(self, track: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        """Linear interpolation at fractional frame numbers (B, T): x (B, T, V, C), valid (B, T, V)."""
        tracks = self.tracks
        low = position.floor()
        weight = (position - low).to(torch.float32)[..., None, None]
        low = low.long()
        high = (low + 1).minimum(tracks.length[track].unsqueeze(1) - 1)
        start = tracks.start[track].unsqueeze(1)
        x = torch.lerp(tracks.frames[start + low].float(), tracks.frames[start + high].float(), weight)
        valid = tracks.seen[start + low] & (tracks.seen[start + high] | (weight[..., 0] == 0))
        if self.settings.scale == "torso":
            x = x * tracks.scale[track][:, None, None, None]
        return x, valid

    def _stream(self, x: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        match self.settings.stream:
            case "joint":
                return x, valid
            case "bone":
                return x - x[:, :, self.parents], valid & valid[:, :, self.parents]
            case "motion":
                following = torch.cat([valid[:, 1:], valid[:, -1:]], 1)
                return difference(x), valid & following


def resample_positions(start: Tensor, length: Tensor, frames: int) -> Tensor:
    """Source positions (B, frames) of linearly resampled crops, as `interpolate` has them with align_corners=False."""
    start, length = start.unsqueeze(1).float(), length.unsqueeze(1).float()
    t = torch.arange(frames, device=start.device, dtype=torch.float32)
    position = ((t + 0.5) * (length / frames) - 0.5).clamp_min(0).minimum(length - 1)
    return start + position


def difference(x: Tensor, stride: int = 1) -> Tensor:
    """Motion x[t+stride] − x[t] over dim 1; the last `stride` frames are 0. (B, T, ...) -> (B, T, ...)"""
    out = torch.zeros_like(x)
    out[:, :-stride] = x[:, stride:] - x[:, :-stride]
    return out


def augment(x: Tensor, draws: Draws, clip_index: Tensor, settings: SamplingSettings) -> Tensor:
    """Random rotation, shear and noise of (B, T, V, C); rows with the same clip_index share all but the noise.

    clip_index (B,) ascends.
    """
    C = x.shape[-1]
    matrix = None
    if any(settings.angles):
        largest = torch.tensor(settings.angles).to(x.device, non_blocking=True)
        matrix = rotation_matrix((draws.uniform(3) * 2 - 1) * largest, C)
    if settings.shear:
        shear = (draws.uniform(C, C) * 2 - 1) * settings.shear
        eye = torch.eye(C, device=x.device)
        shear = shear * (1 - eye) + eye
        matrix = shear if matrix is None else shear @ matrix
    if matrix is not None:
        x = torch.einsum("btvc,bdc->btvd", x, matrix[clip_index])
    if settings.noise:
        body = torch.arange(len(clip_index), device=clip_index.device) - torch.searchsorted(clip_index, clip_index)
        for number in range(int(body.max()) + 1):
            noise = settings.noise * draws.normal(*x.shape[1:])[clip_index]
            x = torch.where((body == number)[:, None, None, None], x + noise, x)
    return x


def rotation_matrix(angles: Tensor, dims: int) -> Tensor:
    """Rotations about x, then y, then z: angles (N, 3) in radians -> (N, C, C). 2D: in the plane, by the last angle."""
    cos, sin = angles.cos(), angles.sin()
    if dims == 2:
        c, s = cos[:, 2], sin[:, 2]
        return torch.stack([c, -s, s, c], -1).view(-1, 2, 2)
    matrix = torch.eye(3, device=angles.device, dtype=angles.dtype).expand(len(angles), 3, 3)
    for axis in range(3):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        turn = torch.eye(3, device=angles.device, dtype=angles.dtype).repeat(len(angles), 1, 1)
        turn[:, i, i] = turn[:, j, j] = cos[:, axis]
        turn[:, i, j], turn[:, j, i] = -sin[:, axis], sin[:, axis]
        matrix = turn @ matrix
    return matrix

"""Augmentation of sampled windows: random rotation, shear and noise."""

from __future__ import annotations

import torch
from torch import Tensor

from kinemask.draws import Draws
from kinemask.windows.settings import SamplingSettings


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

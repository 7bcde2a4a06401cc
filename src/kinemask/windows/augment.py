"""Augmentation of training windows: which changes there are, in which order, and who shares a draw."""

from __future__ import annotations

import torch
from torch import Tensor

from kinemask.draws import Draws
from kinemask.windows.anatomy import Anatomy, mirror, scale_limbs
from kinemask.windows.occlusion import hide, random_spans
from kinemask.windows.settings import SamplingSettings


def augment(
    x: Tensor,
    valid: Tensor,
    draws: Draws,
    clip_index: Tensor,
    settings: SamplingSettings,
    anatomy: Anatomy,
    mirror_axis: Tensor,
) -> tuple[Tensor, Tensor]:
    """Windows x (B, T, V, C) and valid (B, T, V), changed at random as the settings say.

    In this order: limbs, mirror, rotation, stretch, shear, noise, hidden joints, dropped axis; so the mirror stands
    upright before the rotation, and what is hidden is filled from noisy neighbours. Rows with the same clip_index (B,),
    which ascends, share all but limbs, noise and hidden joints: those are each body's own. mirror_axis (B,): the axis
    whose sign a mirror changes, the same for a clip's bodies.
    """
    s, (_, T, V, C) = settings, x.shape
    body = torch.arange(len(clip_index), device=clip_index.device) - torch.searchsorted(clip_index, clip_index)
    if s.limbs:
        factor = _around_one(_of_each_body(draws, "limbs", V, body, clip_index), s.limbs)
        x = scale_limbs(x, valid, factor[:, anatomy.bone], anatomy)
    if s.mirror:
        chosen = (draws.named("mirror").uniform() < s.mirror)[clip_index]
        x, valid = mirror(x, valid, chosen, mirror_axis, anatomy)
    matrix = _matrices(draws, s, C, x.device)
    if matrix is not None:
        x = torch.einsum("btvc,bdc->btvd", x, matrix[clip_index])
    if s.noise:
        for number in range(int(body.max()) + 1):
            noise = s.noise * draws.normal(*x.shape[1:])[clip_index]
            x = torch.where((body == number)[:, None, None, None], x + noise, x)
    if s.drop_joints:
        hidden = random_spans(_of_each_body(draws, "drop_joints", V + 3, body, clip_index), s.drop_joints, T)
        x, valid = hide(x, valid, hidden, anatomy.root, s.missing)
    if s.drop_axis:
        chance, axis = draws.named("drop_axis").uniform(2)[clip_index].unbind(1)
        gone = (axis * C).long().unsqueeze(1) == torch.arange(C, device=x.device)
        x = x.masked_fill((gone & (chance < s.drop_axis).unsqueeze(1))[:, None, None, :], 0)
    return x, valid


def _matrices(draws: Draws, settings: SamplingSettings, dims: int, device: torch.device) -> Tensor | None:
    """Rotation, then stretch, then shear of each clip: (N, C, C), or None where there is none of them."""
    matrix = None
    if any(settings.angles):
        largest = torch.tensor(settings.angles).to(device, non_blocking=True)
        matrix = rotation_matrix((draws.uniform(3) * 2 - 1) * largest, dims)
    if settings.stretch:
        stretch = torch.diag_embed(_around_one(draws.named("stretch").uniform(dims), settings.stretch))
        matrix = stretch if matrix is None else stretch @ matrix
    if settings.shear:
        shear = (draws.uniform(dims, dims) * 2 - 1) * settings.shear
        eye = torch.eye(dims, device=device)
        shear = shear * (1 - eye) + eye
        matrix = shear if matrix is None else shear @ matrix
    return matrix


def _of_each_body(draws: Draws, name: str, count: int, body: Tensor, clip_index: Tensor) -> Tensor:
    """Uniform draws (B, count) of each body's own; those of a clip's first do not depend on there being a second."""
    each = [draws.named(name, number).uniform(count) for number in range(int(body.max()) + 1)]
    return torch.stack(each)[body, clip_index]


def _around_one(u: Tensor, change: float) -> Tensor:
    """u in [0, 1) as factors from 1 - change to 1 + change."""
    return 1 + change * (2 * u - 1)


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

"""The size of a body: its torso."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_NAN = 0x7FC00000  # the bits of a NaN without sign


def torso_scale(values: Tensor, starts: Tensor, ends: Sequence[Sequence[int]]) -> Tensor:
    """1 / median torso length of each track: (tracks,) float32; 1 where the torso is never seen or has no length.

    values (rows, V, C), NaN where missing; starts (tracks,): each track's first row; ends: upper and lower joints of
    the torso, as a layout's `torso_length`.
    """
    upper, lower = (values[:, list(joints)].float().mean(1) for joints in ends)
    # in float64, because PyTorch's float32 root is not rounded alike on all devices
    length = (upper - lower).square().sum(-1).double().sqrt().float()
    rows = torch.diff(starts, append=starts.new_tensor([len(values)]))
    track = torch.arange(len(starts), device=starts.device).repeat_interleave(rows)
    # by track, then by length, NaN last, in one sort: the bits of numbers that are not negative are in their order
    bits = length.view(torch.int32).masked_fill(length.isnan(), _NAN)
    ordered = (track << 32 | bits).sort().values.to(torch.int32).view(torch.float32)
    known = torch.bincount(track[length.isfinite()], minlength=len(starts))
    middle = (ordered[starts + (known - 1).clamp_min(0) // 2] + ordered[starts + known // 2 * (known > 0)]) / 2
    return torch.where((known > 0) & (middle > 1e-6), 1 / middle, 1.0)

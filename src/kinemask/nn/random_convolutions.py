"""Random convolutions: fixed kernels over the channels of a window, after ROCKET (Dempster et al. 2020).

Each kernel answers with two numbers, the share of time at which its output is positive and its maximum.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinemask.draws import key

KERNELS = 2000
_LENGTHS = (7, 9, 11)
_MOST_CHANNELS = 16
_AT_ONCE = 64  # windows


class _Group(nn.Module):
    """Kernels of one shape: index (K,) among all; weight (K, channels, length), 0 in channels that are not taken."""

    index: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, index: Tensor, weight: Tensor, bias: Tensor, dilation: int, padding: int):
        super().__init__()
        self.register_buffer("index", index)
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.dilation, self.padding = dilation, padding

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, T) -> (N, K, T')"""
        return F.conv1d(x, self.weight, self.bias, dilation=self.dilation, padding=self.padding)


class RandomConvolutions(nn.Module):
    """Kernels over `channels` channels of T = `frames` frames; the seed decides them.

    Lengths 7, 9 or 11; dilations up to what fits into the window; one to 16 channels; normal weights of mean 0 in
    each channel; biases uniform in [−1, 1]; half of them padded. Channels should have mean 0 and deviation 1. Nothing
    in it is trained.
    """

    def __init__(self, channels: int, frames: int, seed: int, kernels: int = KERNELS):
        super().__init__()
        generator = torch.Generator().manual_seed(key(seed, "random convolutions"))
        draw = lambda: torch.rand(kernels, generator=generator, dtype=torch.float64)
        lengths = torch.tensor([n for n in _LENGTHS if n <= frames] or [frames])
        length = lengths[(draw() * len(lengths)).long()]
        dilation = (((frames - 1) / (length - 1).clamp_min(1)).log2() * draw()).exp2().long().clamp_min(1)
        count = (draw() * math.log2(min(_MOST_CHANNELS, channels))).exp2().long()
        padded, bias = draw() < 0.5, (2 * draw() - 1).float()
        taken = torch.rand(kernels, channels, generator=generator).argsort(1) < count.unsqueeze(1)
        weight = torch.randn(kernels, channels, max(_LENGTHS), generator=generator)
        groups: list[_Group] = []
        shape = torch.stack([length, dilation, padded.long()], 1)
        for one in shape.unique(dim=0):
            index = (shape == one).all(1).nonzero().squeeze(1)
            taps, step, pad = one.tolist()
            own = weight[index, :, :taps]
            own = (own - own.mean(-1, keepdim=True)) * taken[index].unsqueeze(-1)
            groups.append(_Group(index, own, bias[index], step, (taps - 1) * step // 2 if pad else 0))
        self.groups = nn.ModuleList(groups)
        self.kernels, self.width = kernels, 2 * kernels

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Windows (N, channels, T) -> features (N, 2·kernels): shares of positive values, then maxima."""
        share, highest = x.new_empty(2, len(x), self.kernels)
        for group in self.groups:
            assert isinstance(group, _Group)
            for first in range(0, len(x), _AT_ONCE):
                rows = slice(first, first + _AT_ONCE)
                y = group(x[rows])
                share[rows, group.index] = (y > 0).float().mean(-1)
                highest[rows, group.index] = y.amax(-1)
        return torch.cat([share, highest], 1)

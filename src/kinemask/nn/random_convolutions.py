"""Random convolutions: fixed kernels over the channels of a window, after ROCKET (Dempster et al. 2020).

Each kernel answers with two numbers, the share of time at which its output is positive and its maximum.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Kernels:
    """What K kernels are: lengths, dilations, whether they are padded, biases, each (K,); the channels that each takes,
    taken (K, channels) bool; and the weights in these, kernel by kernel and channel by channel, taps (n,)."""

    length: Tensor
    dilation: Tensor
    padded: Tensor
    bias: Tensor
    taken: Tensor
    taps: Tensor


class RandomConvolutions(nn.Module):
    """Kernels over `channels` channels of T = `frames` frames; the seed decides them.

    Lengths 7, 9 or 11; dilations up to what fits into the window; one to 16 channels; normal weights of mean 0 in
    each channel; biases uniform in [−1, 1]; half of them padded. Channels should have mean 0 and be of that size.
    Nothing in it is trained.
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

        def own(index: Tensor, taps: int) -> Tensor:
            drawn = weight[index, :, :taps]
            return (drawn - drawn.mean(-1, keepdim=True)) * taken[index].unsqueeze(-1)

        self._assemble(length, dilation, padded, bias, own)

    def _assemble(
        self,
        length: Tensor,
        dilation: Tensor,
        padded: Tensor,
        bias: Tensor,
        weight: Callable[[Tensor, int], Tensor],
    ) -> None:
        """Groups of kernels of one shape. weight: index (k,) of kernels and their length -> (k, channels, length)."""
        groups: list[_Group] = []
        shape = torch.stack([length, dilation, padded.long()], 1)
        for one in shape.unique(dim=0):
            index = (shape == one).all(1).nonzero().squeeze(1)
            taps, step, pad = one.tolist()
            groups.append(_Group(index, weight(index, taps), bias[index], step, (taps - 1) * step // 2 if pad else 0))
        self.groups = nn.ModuleList(groups)
        self.kernels = len(length)
        self.width = 2 * self.kernels

    def _groups(self) -> list[_Group]:
        return [group for group in self.groups if isinstance(group, _Group)]

    def parts(self) -> Kernels:
        """The kernels, as a file keeps them: of the weights those that are not 0."""
        groups = self._groups()
        order = torch.cat([group.index for group in groups]).argsort()
        each = lambda of: torch.cat([of(group) for group in groups])[order]
        same = lambda group, value: torch.full_like(group.index, value)
        taken = each(lambda group: (group.weight != 0).any(-1))
        rows = [row[row.any(-1)].flatten() for group in groups for row in group.weight]
        return Kernels(
            length=each(lambda group: same(group, group.weight.shape[-1])),
            dilation=each(lambda group: same(group, group.dilation)),
            padded=each(lambda group: same(group, group.padding > 0)).bool(),
            bias=each(lambda group: group.bias),
            taken=taken,
            taps=torch.cat([rows[at] for at in order.tolist()]),
        )

    @classmethod
    def of_parts(cls, kernels: Kernels) -> RandomConvolutions:
        """The module of kernels that a file kept; ValueError where these contradict each other."""
        length, taken = kernels.length, kernels.taken
        counts = taken.sum(1) * length
        if int(counts.sum()) != len(kernels.taps) or not len(length):
            raise ValueError(f"{len(kernels.taps)} weights of kernels that have {int(counts.sum())}")
        first = counts.cumsum(0) - counts

        def own(index: Tensor, taps: int) -> Tensor:
            out = torch.zeros(len(index), taken.shape[1], taps)
            for row, at in enumerate(index.tolist()):
                values = kernels.taps[first[at] : first[at] + counts[at]]
                out[row, taken[at]] = values.view(-1, taps)
            return out

        made = cls.__new__(cls)
        nn.Module.__init__(made)
        made._assemble(length, kernels.dilation, kernels.padded, kernels.bias, own)
        return made

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Windows (N, channels, T) -> features (N, 2·kernels): shares of positive values, then maxima."""
        return torch.cat([self._answers(rows) for rows in x.split(_AT_ONCE)])

    def _answers(self, x: Tensor) -> Tensor:
        share, highest = [], []
        for group in self._groups():
            y = group(x)
            share.append((y > 0).float().mean(-1))
            highest.append(y.amax(-1))
        order = torch.cat([group.index for group in self._groups()]).argsort()
        return torch.cat([torch.cat(answers, 1)[:, order] for answers in (share, highest)], 1)

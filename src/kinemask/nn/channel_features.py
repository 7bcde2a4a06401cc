"""Features of whole clips from their channels over time: statistics and random convolutions. Nothing is trained."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kinemask.nn.random_convolutions import RandomConvolutions
from kinemask.windows.bodies import channels

_PIECES = (1, 2, 4)  # of a clip, for its statistics
_SPAN = 3.0  # deviations that become 1, which is as far as the biases of random convolutions go


class Convolved(nn.Module):
    """Random convolutions of centred and scaled channels: windows (N, M, T, V, C) -> (N, 2·kernels).

    mean, scale: each channel's, (1, channels, 1). origin, joints: as `channels` takes them.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        origin: int,
        convolutions: RandomConvolutions,
        mean: Tensor,
        scale: Tensor,
        joints: Sequence[int] | None = None,
    ):
        super().__init__()
        self.origin, self.joints, self.convolutions = origin, joints, convolutions
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)

    def forward(self, windows: Tensor) -> Tensor:
        return self.convolutions((channels(windows, self.origin, self.joints) - self.mean) / self.scale)


class Statistics(nn.Module):
    """Statistics of channels, seen from the joint `origin`: windows (N, M, T, V, C) -> (N, 28·channels)."""

    def __init__(self, origin: int):
        super().__init__()
        self.origin = origin

    def forward(self, windows: Tensor) -> Tensor:
        return statistics(channels(windows, self.origin))


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel over clips and time, the deviation 1 where it is 0: of (N, channels, T)."""
    scale = x.std((0, 2), keepdim=True, correction=0)
    return x.mean((0, 2), keepdim=True), torch.where(scale > 1e-6, scale, 1.0)


def scaling(x: Tensor, dims: int) -> tuple[Tensor, Tensor]:
    """Mean and scale of each channel for random convolutions of joints in 2 or 3 dimensions: of (N, channels, T).

    In 3D one scale for all, a multiple of their root mean square deviation: a joint that moves far is heard above one
    that hardly moves, whose own scale would make its noise as loud. In the plane each has its own (`moments`), which
    served better there.
    """
    if dims == 2:
        return moments(x)
    size = _SPAN * x.std((0, 2), keepdim=True, correction=0).square().mean().sqrt()
    mean = x.mean((0, 2), keepdim=True)
    return mean, torch.where(size > 1e-6, size, 1.0).expand_as(mean).contiguous()


def statistics(x: Tensor) -> Tensor:
    """Mean, deviation, minimum and maximum of channels over 1, 2 and 4 pieces of time: (N, Ch, T) -> (N, 28·Ch)."""
    out = []
    for pieces in _PIECES:
        for piece in x.tensor_split(pieces, -1):
            out += [piece.mean(-1), piece.std(-1, correction=0), piece.amin(-1), piece.amax(-1)]
    return torch.cat(out, 1)

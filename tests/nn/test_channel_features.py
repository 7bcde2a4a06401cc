"""What random convolutions look at: channels about their means, on one scale."""

from __future__ import annotations

import pytest
import torch

from kinemask.nn.channel_features import Convolved, moments, scaling
from kinemask.nn.random_convolutions import RandomConvolutions
from kinemask.windows.bodies import channels


def test_channels_are_centred_and_keep_their_proportions():
    x = torch.randn(40, 6, 50) * torch.tensor([0.01, 0.1, 1, 1, 2, 0]).view(1, 6, 1) + 5
    mean, size = scaling(x, 3)
    scaled = (x - mean) / size
    torch.testing.assert_close(scaled.mean((0, 2)), torch.zeros(6), atol=1e-4, rtol=0)
    deviation = scaled.std((0, 2), correction=0)
    assert deviation[4] / deviation[1] == pytest.approx(20, rel=0.05)
    assert deviation.square().mean().sqrt() == pytest.approx(1 / 3, rel=1e-4)
    assert scaling(torch.ones(3, 2, 5), 3)[1].unique().tolist() == [1.0]  # nothing moves
    for found, own in zip(scaling(x, 2), moments(x), strict=True):
        torch.testing.assert_close(found, own)


def test_a_still_joints_noise_is_hardly_heard():
    """One of fifteen joints moves, the others tremble: other noise changes the features of a clip little."""
    generator = torch.Generator().manual_seed(0)
    waves = torch.sin(torch.arange(64) / 64 * torch.randint(6, 20, (30, 1, 1), generator=generator))
    tremble = lambda: 0.002 * torch.randn(30, 1, 64, 15, 3, generator=generator)
    windows = tremble()
    windows[:, 0, :, 7] += waves.transpose(1, 2)
    again = windows + tremble()
    convolve = Convolved(
        0, RandomConvolutions(14 * 3 + 45 + 3, 64, 0, 200), torch.zeros(1, 90, 1), torch.ones(1, 90, 1)
    )
    convolve.mean, convolve.scale = scaling(channels(windows, 0), 3)
    one, other = convolve(windows), convolve(again)
    assert (one - other).square().mean() < 0.05 * one.var(0).mean()

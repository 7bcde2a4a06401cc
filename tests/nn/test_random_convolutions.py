"""Random convolutions against what their description says, computed tap by tap."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from kinemask.nn.random_convolutions import RandomConvolutions


def test_random_convolutions_are_what_they_are_said_to_be():
    convolutions = RandomConvolutions(5, 40, seed=0, kernels=50)
    x = torch.randn(3, 5, 40, generator=torch.Generator().manual_seed(1))
    found = convolutions(x)
    assert found.shape == (3, 100)
    for group in convolutions.groups:
        for index, weight, bias in zip(group.index.tolist(), group.weight, group.bias, strict=True):
            used = (weight != 0).any(1)
            assert used.any()
            torch.testing.assert_close(weight.sum(1), torch.zeros(5), atol=1e-5, rtol=0)
            taps = torch.arange(weight.shape[1]) * group.dilation
            wide = F.pad(x, (group.padding, group.padding))
            windows = wide.unfold(2, int(taps[-1]) + 1, 1)[..., taps]  # (N, C, T', taps)
            y = (windows * weight[:, None]).sum((1, 3)) + bias
            torch.testing.assert_close(found[:, 50 + index], y.amax(1), rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(found[:, index], (y > 0).float().mean(1))
    assert not torch.equal(found, RandomConvolutions(5, 40, seed=1, kernels=50)(x))
    assert torch.equal(found, RandomConvolutions(5, 40, seed=0, kernels=50)(x))


@pytest.mark.parametrize("frames", [1, 3, 8])
def test_random_convolutions_fit_short_windows(frames):
    assert RandomConvolutions(2, frames, seed=0, kernels=20)(torch.randn(2, 2, frames)).isfinite().all()


@pytest.mark.parametrize("channels, frames, kernels", [(12, 64, 300), (1, 5, 3)])
def test_kernels_come_back_from_their_parts(channels, frames, kernels):
    made = RandomConvolutions(channels, frames, 3, kernels)
    again = RandomConvolutions.of_parts(made.parts())
    x = torch.randn(9, channels, frames, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(again(x), made(x), rtol=0, atol=0)
    parts = made.parts()
    with pytest.raises(ValueError, match="weights of kernels"):
        RandomConvolutions.of_parts(replace(parts, taps=parts.taps[:-1]))

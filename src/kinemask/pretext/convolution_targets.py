"""Targets that cannot collapse: principal components of random convolutions of clean, whole clips, partly whitened."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from kinemask.nn.channel_features import Convolved, moments, scaling
from kinemask.nn.random_convolutions import RandomConvolutions
from kinemask.windows.bodies import channels

MOST_FITTED = 4000  # windows from which the components are taken
_TRACKS_A_COMPONENT = 2  # at least: more components than that would be noise made loud


@dataclass(frozen=True)
class Components:
    """Random convolutions of channels, standardised, on principal axes that are more or less whitened."""

    convolve: Convolved
    mean: Tensor  # (features,), as the next
    scale: Tensor
    axes: Tensor  # (features, components)

    @classmethod
    @torch.no_grad()
    def of(cls, windows: Tensor, joints: list[int], kernels: int, count: int, whiten: float, seed: int) -> Components:
        """Made for windows (N, T, V, C), of these joints seen from joint 0.

        Variances of components are as those of their axes to the power 1 - whiten, and 1 on average over all `count`,
        of which those that there are too few windows for are 0.
        """
        x = channels(windows.unsqueeze(1), 0, joints)
        convolutions = RandomConvolutions(x.shape[1], x.shape[2], seed, kernels)
        convolve = Convolved(0, convolutions, *scaling(x, windows.shape[-1]), joints)
        features = convolve.to(x.device)(windows.unsqueeze(1))
        mean, scale = (value.flatten() for value in moments(features.unsqueeze(-1)))
        z = ((features - mean) / scale).double()
        gram = z.T @ z / len(z) if len(z) >= z.shape[1] else z @ z.T / len(z)
        power, axes = torch.linalg.eigh(gram)
        power, axes = (v.flip(-1)[..., : min(count, len(z) // _TRACKS_A_COMPONENT)] for v in (power, axes))
        kept = power > power[:1] * 1e-6
        power, axes = power[kept], axes[:, kept]
        if len(z) < z.shape[1]:
            axes = z.T @ axes / (power * len(z)).sqrt()
        size = power ** ((1 - whiten) / 2)
        axes = axes / power.sqrt() * size * (count / size.square().sum()).sqrt()
        axes = F.pad(axes.float(), (0, count - len(power)))  # components that are not there are 0
        return cls(convolve, mean, scale, axes)

    def __call__(self, windows: Tensor) -> Tensor:
        """(N, T, V, C) -> (N, components), near mean 0 over the windows that they were made for."""
        return (self.convolve(windows.unsqueeze(1)) - self.mean) / self.scale @ self.axes

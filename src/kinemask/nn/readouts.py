"""From the tokens of bodies to one vector per clip; separate from encoders, so that any goes with any.

A readout is called with encoded bodies (B, P, V, D), clip_index (B,) each one's clip, the number N of clips, and the
windows x (B, T, V', C) that were encoded, of all the layout's joints.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from kinemask.nn.encoder import Encoder
from kinemask.nn.settings import ReadoutSettings
from kinemask.windows.bodies import MOST_BODIES

Readout = Callable[[Tensor, Tensor, int, Tensor], Tensor]


def mean_of_tokens(encoded: Tensor, clip_index: Tensor, clips: int, x: Tensor | None = None) -> Tensor:
    """The mean over segments and joints, then over a clip's bodies: (B, P, V, D) -> (N, D)."""
    return mean_by(encoded.float().mean((1, 2)), clip_index, clips)


def mean_of_joints(encoded: Tensor, clip_index: Tensor, clips: int, x: Tensor | None = None) -> Tensor:
    """The mean over segments, joints side by side, then the mean over a clip's bodies: (B, P, V, D) -> (N, V·D)."""
    return mean_by(encoded.float().mean(1).flatten(1), clip_index, clips)


def mean_by(values: Tensor, clip_index: Tensor, count: int) -> Tensor:
    """Mean of rows (B, ...) that share a clip_index: (count, ...)."""
    total = values.new_zeros(count, *values.shape[1:]).index_add_(0, clip_index, values)
    return total / torch.bincount(clip_index, minlength=count).view(-1, *[1] * (values.ndim - 1))


def read_by(settings: ReadoutSettings, encoder: Encoder) -> tuple[Encoder, Readout]:
    """The encoder with as many layers as the settings ask for, and their readout; ValueError where it has fewer."""
    if settings.layers > encoder.settings.layers:
        raise ValueError(f"readout.layers: {settings.layers} layers of an encoder that has {encoder.settings.layers}")
    encoder = encoder.shortened(settings.layers or encoder.settings.layers)
    return encoder, make_readout(settings, encoder)


def make_readout(settings: ReadoutSettings, encoder: Encoder) -> Readout:
    """How the encoder's tokens are pooled; ValueError where it has fewer segments than there are pieces."""
    if max(settings.pieces) > encoder.segments:
        raise ValueError(f"readout.pieces: {max(settings.pieces)} pieces of only {encoder.segments} segments")
    return mean_of_tokens if replace(settings, layers=0) == ReadoutSettings() else Pooling(settings, encoder)


class Pooling:
    """Joints or parts side by side, over pieces of time, by mean, deviation or maximum; bodies averaged or paired."""

    def __init__(self, settings: ReadoutSettings, encoder: Encoder):
        self.settings, self.root = settings, encoder.layout.root
        place = {v: i for i, v in enumerate(encoder.joints.tolist())}  # of a joint among those that are kept
        kept = ([place[v] for v in joints if v in place] for joints in encoder.layout.parts.values())
        self.groups = {
            "mean": [list(place.values())],
            "joints": [[i] for i in place.values()],
            "parts": [joints for joints in kept if joints],
        }[settings.over]

    def __call__(self, encoded: Tensor, clip_index: Tensor, clips: int, x: Tensor) -> Tensor:
        """(B, P, V, D) -> (N, features)"""
        bodies = self.of_bodies(encoded)
        if self.settings.bodies == "mean":
            return mean_by(bodies, clip_index, clips)
        return self._pairs(bodies, self.of_roots(x), clip_index, clips)

    def of_bodies(self, encoded: Tensor) -> Tensor:
        """Features of each body by itself: (B, P, V, D) -> (B, features)."""
        grouped = torch.stack([encoded.float()[:, :, joints].mean(2) for joints in self.groups], 2)
        return pyramid(grouped, self.settings.pieces, self.settings.statistics)

    def of_roots(self, x: Tensor) -> Tensor:
        """Where the root of each body is, by pieces: (B, T, V', C) -> (B, pieces·C)."""
        return pyramid(x[:, :, [self.root]].float(), self.settings.pieces, ["mean"])

    def _pairs(self, bodies: Tensor, roots: Tensor, clip_index: Tensor, clips: int) -> Tensor:
        """Two bodies side by side, 0 for one that is not there, and from the first root to the second, by pieces."""
        place = torch.arange(len(clip_index), device=clip_index.device)
        place = place - place[torch.searchsorted(clip_index, clip_index)]
        used = place < MOST_BODIES
        row, column = clip_index[used], place[used]
        out = bodies.new_zeros(clips, MOST_BODIES, bodies.shape[1])
        out[row, column] = bodies[used]
        where = roots.new_zeros(clips, MOST_BODIES, roots.shape[1])
        where[row, column] = roots[used]
        several = torch.bincount(row, minlength=clips) > 1
        return torch.cat([out.flatten(1), (where[:, 1] - where[:, 0]) * several.unsqueeze(1)], 1)


def pyramid(x: Tensor, pieces: Sequence[int], statistics: Sequence[str]) -> Tensor:
    """Statistics of x (B, P, G, D) over pieces of its segments, side by side: (B, features)."""
    of = {
        "mean": lambda piece: piece.mean(1),
        "std": lambda piece: piece.std(1, correction=0),
        "max": lambda piece: piece.amax(1),
    }
    cut = [piece for count in pieces for piece in x.tensor_split(count, 1)]
    return torch.cat([of[name](piece).flatten(1) for piece in cut for name in statistics], 1)

"""From the tokens of bodies to one vector per clip; separate from encoders, so that any goes with any.

A readout is called with encoded bodies (B, P, V, D), clip_index (B,) each one's clip, and the number N of clips.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Readout = Callable[[Tensor, Tensor, int], Tensor]


def mean_of_tokens(encoded: Tensor, clip_index: Tensor, clips: int) -> Tensor:
    """The mean over segments and joints, then over a clip's bodies: (B, P, V, D) -> (N, D)."""
    return mean_by(encoded.float().mean((1, 2)), clip_index, clips)


def mean_of_joints(encoded: Tensor, clip_index: Tensor, clips: int) -> Tensor:
    """The mean over segments, joints side by side, then the mean over a clip's bodies: (B, P, V, D) -> (N, V·D)."""
    return mean_by(encoded.float().mean(1).flatten(1), clip_index, clips)


def mean_by(values: Tensor, clip_index: Tensor, count: int) -> Tensor:
    """Mean of rows (B, ...) that share a clip_index: (count, ...)."""
    total = values.new_zeros(count, *values.shape[1:]).index_add_(0, clip_index, values)
    return total / torch.bincount(clip_index, minlength=count).view(-1, *[1] * (values.ndim - 1))

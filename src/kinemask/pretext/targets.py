"""Prediction targets over the (segment, joint) grid, and the loss on masked tokens."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from kinemask.nn.encoder import segment

TargetNorm = Literal["token", "sequence", "none"]


def normalise(frames: Tensor, segment_frames: int, how: TargetNorm) -> tuple[Tensor, Tensor, Tensor]:
    """Cut (B, T, V, C) into tokens and normalise: target (B, L, S·C), and the mean and scale that undo it.

    `token`: each token's S·C numbers to zero mean and unit (unbiased) variance (+1e-6). `sequence`: each joint's
    T·C numbers, which keeps how strongly a segment moves relative to the rest of its clip. `none`: as they are.
    """
    tokens = segment(frames, segment_frames)  # (B, P, V, S·C)
    over = {"token": (-1,), "sequence": (1, 3), "none": ()}[how]
    if over:
        mean = tokens.mean(over, keepdim=True)
        scale = (tokens.var(over, keepdim=True) + 1e-6).sqrt()
    else:
        mean, scale = tokens.new_zeros(1, 1, 1, 1), tokens.new_ones(1, 1, 1, 1)
    target = (tokens - mean) / scale
    return target.flatten(1, 2), mean.expand_as(tokens).flatten(1, 2), scale.expand_as(tokens).flatten(1, 2)


def masked_mse(predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean squared error over a body's masked tokens, averaged over bodies.

    predicted, target (B, L-K, S·C); weight (B, L-K): 0 for a token without a valid frame. Each body's error is divided
    by its own weight, so the loss of a batch is the mean of the losses of its parts, however it is cut.
    """
    error = (predicted.float() - target).square().mean(-1)
    weight = weight.to(error.dtype)
    return ((error * weight).sum(1) / weight.sum(1).clamp_min(1)).mean()

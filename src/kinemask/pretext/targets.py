"""Prediction targets over the (segment, joint) grid, and the loss on masked tokens."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from kinemask.nn.encoder import segment
from kinemask.pretext.settings import TargetNorm


def normalise(frames: Tensor, segment_frames: int, how: TargetNorm) -> tuple[Tensor, Tensor, Tensor]:
    """Cut (B, T, V, C) into tokens and normalise: target (B, L, S·C), and the mean and scale that undo it.

    `token`: each token's S·C numbers to zero mean and unit (unbiased) variance (+1e-6). `sequence`: each joint's
    T·C numbers, which keeps how strongly a segment moves relative to the rest of its clip. `none`: as they are.
    """
    return normalise_tokens(segment(frames, segment_frames), how)


def normalise_tokens(tokens: Tensor, how: TargetNorm) -> tuple[Tensor, Tensor, Tensor]:
    """As `normalise`, of tokens that are cut already: (B, P, V, S·C)."""
    over = {"token": (-1,), "sequence": (1, 3), "none": ()}[how]
    if over:
        mean = tokens.mean(over, keepdim=True)
        scale = (tokens.var(over, keepdim=True) + 1e-6).sqrt()
    else:
        mean, scale = tokens.new_zeros(1, 1, 1, 1), tokens.new_ones(1, 1, 1, 1)
    target = (tokens - mean) / scale
    return target.flatten(1, 2), mean.expand_as(tokens).flatten(1, 2), scale.expand_as(tokens).flatten(1, 2)


def acceleration(x: Tensor) -> Tensor:
    """Second difference x[t+2] − 2x[t+1] + x[t] over dim 1; the last two frames are 0. MaskSem Eq. 12."""
    out = torch.zeros_like(x)
    out[:, :-2] = x[:, 2:] - 2 * x[:, 1:-1] + x[:, :-2]
    return out


def contextual(layers: Sequence[Tensor]) -> Tensor:
    """Outputs of several layers -> one target: each instance-normalised over its tokens, averaged, layer-normalised.

    layers: of (B, L, D) each. Returns (B, L, D), float32. No affine parameters. Skeleton2vec Eq. 3.
    """
    with torch.autocast(layers[0].device.type, enabled=False):
        mean = reduce(torch.add, (F.instance_norm(y.float().mT) for y in layers)).mT / len(layers)
        return F.layer_norm(mean, mean.shape[-1:])


def squared_error(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of each masked token: predicted, target (B, L-K, W) -> (B, L-K)."""
    return (predicted.float() - target).square().mean(-1)


def reweighted_cosine(predicted: Tensor, target: Tensor, beta: float) -> Tensor:
    """(1 − cos)^beta of each masked token: unit vectors (B, L-K, W) -> (B, L-K). SkeletonMAE Eq. 2.

    The paper writes its 1/|V̄| inside the power, a constant factor of the mean.
    """
    cosine = (predicted * target).sum(-1)
    return (1 - cosine).clamp_min(0) ** beta


def masked_mean(error: Tensor, weight: Tensor) -> Tensor:
    """Mean over a body's masked tokens, averaged over bodies.

    error, weight (B, L-K): weight 0 for a token without a valid frame. Each body's error is divided by its own weight,
    so the loss of a batch is the mean of the losses of its parts, however it is cut.
    """
    weight = weight.to(error.dtype)
    return ((error * weight).sum(1) / weight.sum(1).clamp_min(1e-10)).mean()

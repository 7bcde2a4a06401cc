"""Masks: which tokens an encoder sees. Index tensors into the (segment, joint) grid, token p*V + v."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from kinemask.data.sampling import difference
from kinemask.nn.encoder import segment

FLOOR = 1e-10  # of every maximum that a score is divided by: no motion gives a uniform mask


class Mask(NamedTuple):
    """keep (B, K) and masked (B, L-K): long indices that together are every token once."""

    keep: Tensor
    masked: Tensor


def kept_count(tokens: int, mask_ratio: float) -> int:
    """K = max(1, round(L·(1−mask_ratio))), at most L−1, so that there is something to see and something to predict."""
    return min(max(1, round(tokens * (1 - mask_ratio))), tokens - 1)


def split(score: Tensor, count: int, token_valid: Tensor, keep: Literal["lowest", "highest"]) -> Mask:
    """Keep the `count` tokens of lowest or highest score: score, token_valid (B, L) -> Mask.

    Tokens that were never seen are the last to be kept.
    """
    score = score if keep == "lowest" else -score
    order = score.masked_fill(~token_valid, torch.inf).argsort(dim=1)
    return Mask(order[:, :count], order[:, count:])


def log_probability(intensity: Tensor, tau: float) -> Tensor:
    """log softmax of I/(max|I|·tau) over tokens: (B, L) -> (B, L)."""
    largest = intensity.abs().amax(1, keepdim=True).clamp_min(FLOOR)
    return (intensity / (largest * tau)).log_softmax(1)


def motion_intensity(x: Tensor, segment_frames: int) -> Tensor:
    """Mean absolute difference between a token's segment and the previous one; the first copies the second.

    x (B, T, V, C) -> (B, P, V). MAMP.
    """
    pieces = segment(x, segment_frames)
    if pieces.shape[1] == 1:
        return torch.zeros_like(pieces[..., 0])
    motion = difference(pieces)[:, :-1].abs().mean(-1)
    return torch.cat([motion[:, :1], motion], 1)


def token_validity(valid: Tensor, segment_frames: int) -> Tensor:
    """A token is valid if any of its frames is: (B, T, V) bool -> (B, L) bool."""
    return segment(valid.unsqueeze(-1), segment_frames).any(-1).flatten(1)


def check(mask_ratio: float, tau: float) -> None:
    """Raise ValueError unless the settings that masks share make sense."""
    if not 0 < mask_ratio < 1:
        raise ValueError(f"pretext.mask_ratio must be between 0 and 1, not {mask_ratio}")
    if tau <= 0:
        raise ValueError(f"pretext.tau must be positive, not {tau}")

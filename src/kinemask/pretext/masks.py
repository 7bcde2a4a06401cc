"""Masks: which tokens an encoder sees. Index tensors into the (segment, joint) grid, token p*V + v."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kinemask.nn.encoder import segment
from kinemask.pretext.settings import Smoothing
from kinemask.skeleton import Layout
from kinemask.windows.streams import difference

FLOOR = 1e-10  # of every maximum that a score is divided by: no motion gives a uniform mask


class Mask(NamedTuple):
    """keep (B, K) and masked (B, L-K): long indices that together are every token once.

    weight (B, L-K): how much each masked token counts in the loss beside the others of its body; None: all the same.
    """

    keep: Tensor
    masked: Tensor
    weight: Tensor | None = None


def kept_count(tokens: int, mask_ratio: float) -> int:
    """K = max(1, round(L·(1−mask_ratio))), at most L−1, so that there is something to see and something to predict."""
    return min(max(1, round(tokens * (1 - mask_ratio))), tokens - 1)


def split(score: Tensor, count: int, token_valid: Tensor, keep: Literal["lowest", "highest"]) -> Mask:
    """Keep the `count` tokens of lowest or highest score: score, token_valid (B, L) -> Mask.

    Tokens that were never seen are the last to be kept.
    """
    score = score if keep == "lowest" else -score
    order = score.masked_fill(~token_valid, torch.inf).argsort(dim=1, stable=True)
    return Mask(order[:, :count], order[:, count:])


def log_probability(intensity: Tensor, tau: float, relative: bool = True) -> Tensor:
    """log softmax of I/(max|I|·tau) over tokens, or of I/tau as it is: (B, L) -> (B, L)."""
    largest = intensity.abs().amax(1, keepdim=True).clamp_min(FLOOR) if relative else 1.0
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


def tube_counts(segments: int, joints: int, length: int, mask_ratio: float) -> list[int]:
    """Joints that each tube of `length` segments keeps, the last one being shorter if need be.

    They add up to the number nearest to tubes·V·(1−mask_ratio), are equal up to one, and more in the earlier tubes:
    every clip keeps the same number of tokens.
    """
    tubes = -(-segments // length)
    kept = kept_count(tubes * joints, mask_ratio)
    return [kept // tubes + (i < kept % tubes) for i in range(tubes)]


def tube_sum(values: Tensor, length: int) -> Tensor:
    """Sums over the segments of each tube: (B, P, V) -> (B, tubes, V)."""
    return F.pad(values, (0, 0, 0, -values.shape[1] % length)).unflatten(1, (-1, length)).sum(2)


def tube_intensity(x: Tensor, segment_frames: int, length: int) -> Tensor:
    """Each joint's motion in a tube, as a share of the tube's largest: (B, T, V, C) -> (B, tubes, V).

    Motion is the sum of absolute differences to the next frame. Skeleton2vec Eq. 8-10.
    """
    moved = tube_sum(segment(difference(x).abs(), segment_frames).sum(-1), length)
    return moved / moved.amax(-1, keepdim=True).clamp_min(FLOOR)


def split_tubes(score: Tensor, counts: Tensor, kept: int, length: int, token_valid: Tensor) -> Mask:
    """Keep in each tube its `counts` (tubes,) joints of lowest score (B, tubes, V), throughout: `kept` tokens in all.

    A joint with gaps in a tube comes after those without; a kept joint's tokens that were never seen (token_valid
    (B, L)) give their places to the next joints in line.
    """
    V = score.shape[-1]
    gaps = tube_sum((~token_valid).unflatten(1, (-1, V)).float(), length)
    rank = (score + gaps * (1 + score.amax((1, 2), keepdim=True))).argsort(-1).argsort(-1)
    behind = (rank - counts.unsqueeze(1)).repeat_interleave(length, 1).flatten(1)[:, : token_valid.shape[1]]
    return split(behind.float(), kept, token_valid, "lowest")


def grad_cam(features: Tensor, reference: Tensor) -> Tensor:
    """Which tokens make clips unlike the reference: (B, P, V, D), (P, V, D) -> (B, P, V), at least 0. MaskSem Eq. 5-7.

    The similarity is the cosine of global averages, so its gradient is the same at every token and needs no autograd.
    """
    z, static = features.mean((1, 2)), F.normalize(reference.mean((0, 1)), dim=-1)
    unit = F.normalize(z, dim=-1)
    similarity = (unit * static).sum(-1, keepdim=True)
    slope = (static - similarity * unit) / z.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    weight = F.relu(-slope / (features.shape[1] * features.shape[2]))  # (B, D)
    return F.relu(torch.einsum("bpvd,bd->bpv", features, weight))


def smoothing(layout: Layout, joints: Sequence[int], how: Smoothing) -> Tensor:
    """Row-normalised weights (V, V) over the chosen joints: a joint's own and its neighbours', or its part's."""
    match how:
        case "adjacency":
            joined = layout.adjacency()
        case "parts":
            member = np.array([np.isin(range(layout.num_joints), part) for part in layout.parts.values()], np.float32)
            joined = member.T @ member
        case "none":
            joined = np.zeros((layout.num_joints, layout.num_joints), np.float32)
    joined = joined[np.ix_(joints, joints)]
    np.fill_diagonal(joined, 1)
    return torch.tensor(joined / joined.sum(1, keepdims=True))

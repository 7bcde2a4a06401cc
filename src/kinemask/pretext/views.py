"""Augmented views of skeletons' graphs: joints dropped, hidden or cut out, edges changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kinemask.draws import Draws
from kinemask.pretext.settings import Augmentation


class View(NamedTuple):
    """Of graphs (B, F): which joints are there and which are hidden, (B, F, V) bool; adjacency (B, F, V, V), 0 or 1."""

    present: Tensor
    hidden: Tensor
    adjacency: Tensor


def augmented(
    kind: Tensor, augmentations: Sequence[Augmentation], adjacency: Tensor, joints: int, edges: int, draws: Draws
) -> View:
    """A view of each graph: kind (B, F) says by which of the augmentations, adjacency (V, V) joins all its joints.

    joints, edges: how many of them are changed. GraphCL, Table 1.
    """
    V, graphs = len(adjacency), kind.shape[1]
    some = lowest(draws.named("joints").uniform(graphs, V), joints)
    by = {name: (kind == number).unsqueeze(-1) for number, name in enumerate(augmentations)}
    present, hidden = torch.ones_like(some), torch.zeros_like(some)
    joined = adjacency.expand(*kind.shape, V, V)
    if "drop" in by:
        present = present & ~(by["drop"] & some)
    if "subgraph" in by:
        cut = grown(adjacency, draws.named("subgraph").uniform(graphs, V - joints, V))
        present = present & (cut | ~by["subgraph"])
    if "mask" in by:
        hidden = by["mask"] & some
    if "edges" in by:
        pairs = V * (V - 1) // 2
        other = rewired(adjacency, edges, draws.named("edges").uniform(graphs, pairs))
        joined = torch.where(by["edges"].unsqueeze(-1), other, joined)
    there = present.to(joined.dtype)
    return View(present, hidden, joined * there.unsqueeze(-1) * there.unsqueeze(-2))


def counts(adjacency: np.ndarray, share: float) -> tuple[int, int]:
    """Joints and edges that an augmentation changes: their share, and one at least.

    Raises ValueError where no joint would be left, or there is no place for other edges.
    """
    V, E = len(adjacency), int(adjacency.sum()) // 2
    joints, edges = (max(1, round(share * total)) for total in (V, E))
    if joints >= V or edges > V * (V - 1) // 2 - E:
        raise ValueError(f"pretext.share {share} is too much of {V} joints and {E} edges")
    return joints, edges


def lowest(score: Tensor, count: int) -> Tensor:
    """Which are the `count` lowest of the last dimension: (..., n) -> (..., n) bool."""
    return score.argsort(-1).argsort(-1) < count


def grown(adjacency: Tensor, score: Tensor) -> Tensor:
    """Joints that hang together: one at random, then again and again a random neighbour of those that are taken.

    adjacency (V, V) of a connected graph, score (..., K, V) uniform -> (..., V) bool, K of them true.
    """
    V = len(adjacency)
    taken = F.one_hot(score[..., 0, :].argmin(-1), V).bool()
    for k in range(1, score.shape[-2]):
        near = (taken.to(adjacency.dtype) @ adjacency > 0) & ~taken
        following = score[..., k, :].masked_fill(~near, torch.inf).argmin(-1)
        taken = taken | F.one_hot(following, V).bool()
    return taken


def rewired(adjacency: Tensor, count: int, score: Tensor) -> Tensor:
    """So many edges taken away, and as many put in where there were none: (V, V) -> (..., V, V).

    score (..., V(V-1)/2) uniform, of the pairs of joints.
    """
    V = len(adjacency)
    row, column = torch.triu_indices(V, V, 1, device=adjacency.device)
    edge = adjacency[row, column] > 0
    gone, new = (lowest(score.masked_fill(~of, torch.inf), count) for of in (edge, ~edge))
    half = adjacency.new_zeros(*score.shape[:-1], V, V)
    half[..., row, column] = (edge ^ (gone | new)).to(half.dtype)
    return half + half.mT

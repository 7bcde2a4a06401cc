"""Streams of a window: joint positions, their motion, or bones."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor


def to_stream(
    x: Tensor, valid: Tensor, stream: Literal["joint", "motion", "bone"], parents: Tensor
) -> tuple[Tensor, Tensor]:
    """Positions x (B, T, V, C), valid (B, T, V) as a stream. parents (V,): of each joint; the root is its own.

    Motion and bone are valid where both their ends are.
    """
    match stream:
        case "joint":
            return x, valid
        case "bone":
            return x - x[:, :, parents], valid & valid[:, :, parents]
        case "motion":
            following = torch.cat([valid[:, 1:], valid[:, -1:]], 1)
            return difference(x), valid & following


def difference(x: Tensor, stride: int = 1) -> Tensor:
    """Motion x[t+stride] − x[t] over dim 1; the last `stride` frames are 0. (B, T, ...) -> (B, T, ...)"""
    out = torch.zeros_like(x)
    out[:, :-stride] = x[:, stride:] - x[:, :-stride]
    return out

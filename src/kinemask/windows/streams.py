"""Streams of a window: joint positions, their motion, or bones; one of them alone, or several side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from kinemask.windows.settings import TokenStream

_SPANS = 8  # a velocity is the way in an eighth of the window: of the size of the positions, whatever T


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


def fuse(x: Tensor, streams: Sequence[TokenStream], parents: Tensor, root: int) -> Tensor:
    """Positions x (B, T, V, C) as several streams side by side, in their order: (B, T, V, streams·C).

    parents (V,): of each joint. root: the joint whose place is every joint's stream `root`.
    """
    if list(streams) == ["joint"]:
        return x
    of = {
        "joint": lambda: x,
        "velocity": lambda: difference(x) * (x.shape[1] / _SPANS),
        "bone": lambda: x - x[:, :, parents],
        "root": lambda: x[:, :, root : root + 1].expand_as(x),
    }
    return torch.cat([of[stream]() for stream in streams], -1)


def difference(x: Tensor, stride: int = 1) -> Tensor:
    """Motion x[t+stride] − x[t] over dim 1; the last `stride` frames are 0. (B, T, ...) -> (B, T, ...)"""
    out = torch.zeros_like(x)
    out[:, :-stride] = x[:, stride:] - x[:, :-stride]
    return out

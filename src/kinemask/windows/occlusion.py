"""Joints hidden over a span of a training window, and then filled as a recording's missing joints are."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from kinemask.windows.fill import fill

_SHORTEST_SPAN = 0.25  # of the window


def random_spans(u: Tensor, share: float, frames: int) -> Tensor:
    """Which joints are hidden when: (B, T, V) bool. u (B, V + 3) in [0, 1).

    Of each body, from none to `share` of the joints (never all), each number as likely, over one span that lasts from a
    quarter of the window to all of it.
    """
    u, (number, length, start) = u[:, :-3], u[:, -3:, None].unbind(1)
    V = u.shape[1]
    most = min(max(round(share * V), 1), V - 1)
    joints = u.argsort(1).argsort(1) < (number * (most + 1)).floor()
    shortest = math.ceil(_SHORTEST_SPAN * frames)
    length = shortest + (length * (frames - shortest + 1)).floor()
    start = (start * (frames - length + 1)).floor()
    t = torch.arange(frames, device=u.device)
    return ((t >= start) & (t < start + length)).unsqueeze(2) & joints.unsqueeze(1)


def hide(
    x: Tensor, valid: Tensor, hidden: Tensor, root: int, missing: Literal["fill", "zero"]
) -> tuple[Tensor, Tensor]:
    """x (B, T, V, C) and valid (B, T, V) without what is hidden (B, T, V): no longer valid, and filled or 0."""
    if missing == "zero":
        return x.masked_fill(hidden.unsqueeze(-1), 0), valid & ~hidden
    B, T = hidden.shape[:2]
    starts = torch.arange(0, B * T, T, device=x.device)
    return fill(x.flatten(0, 1), ~hidden.flatten(0, 1), starts, root).view_as(x), valid & ~hidden

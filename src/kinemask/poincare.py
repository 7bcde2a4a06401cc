"""Geometry of the Poincaré ball of curvature −k, as pure functions.

Everything is computed in float32 or wider with autocast off, and is finite, with finite gradients, at zero
vectors, at coinciding points and at the boundary that `project` allows.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Projection = Literal["clip", "paper"]
_TINY = 1e-12


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _safe_norm(x: Tensor) -> Tensor:
    return x.square().sum(-1, keepdim=True).clamp_min(_TINY).sqrt()


def exp_map(v: Tensor, k: float = 1.0) -> Tensor:
    """Exponential map at the origin: tanh(√k‖v‖)·v/(√k‖v‖).

    v: (..., D) tangent vectors. Returns (..., D) points with norm below 1/√k. HA-CM Eq. 6 (c = −k).
    """
    with torch.autocast(v.device.type, enabled=False):
        v = _wide(v)
        length = k**0.5 * _safe_norm(v)
        return torch.tanh(length) / length * v


def project(u: Tensor, k: float = 1.0, epsilon: float = 4e-3, how: Projection = "clip") -> Tensor:
    """Projection of (..., D) points into the open ball of radius 1/√k.

    `clip` limits the norm to (1−ε)/√k, the usual projection. `paper` is HA-CM Eq. 7 to the letter, u/(1+‖u‖²/k),
    which pulls every point inward (to norm 1/2 at most for k = 1).
    """
    with torch.autocast(u.device.type, enabled=False):
        u = _wide(u)
        if how == "paper":
            return u / (1 + u.square().sum(-1, keepdim=True) / k)
        return u * ((1 - epsilon) / k**0.5 / _safe_norm(u)).clamp_max(1)


def to_ball(v: Tensor, k: float = 1.0, epsilon: float = 4e-3, how: Projection = "clip") -> Tensor:
    """Exponential map at the origin, then projection. HA-CM Eq. 6-7."""
    return project(exp_map(v, k), k, epsilon, how)


def _arcosh1p(x: Tensor) -> Tensor:
    """arcosh(1 + x) for x ≥ 0; 0 with gradient 0 where x is 0 (the true slope there is infinite)."""
    positive = x > _TINY
    x = torch.where(positive, x, 1.0)
    return torch.where(positive, torch.log1p(x + (x * (x + 2)).sqrt()), 0.0)


def _excess(square: Tensor, u2: Tensor, v2: Tensor, k: float) -> Tensor:
    """cosh(√k·d) − 1 from ‖u−v‖², ‖u‖², ‖v‖²."""
    return 2 * k * square / ((1 - k * u2).clamp_min(_TINY) * (1 - k * v2).clamp_min(_TINY))


def distance(u: Tensor, v: Tensor, k: float = 1.0) -> Tensor:
    """Geodesic distance in the Poincaré ball of curvature −k.

    u, v: (..., D) points with ‖·‖ < 1/√k. Returns (...), in curvature units:
    (1/√k)·arcosh(1 + 2k‖u−v‖²/((1−k‖u‖²)(1−k‖v‖²))). HA-CM Eq. 2 (sign of c corrected).
    """
    with torch.autocast(u.device.type, enabled=False):
        u, v = _wide(u), _wide(v)
        excess = _excess((u - v).square().sum(-1), u.square().sum(-1), v.square().sum(-1), k)
        return _arcosh1p(excess) / k**0.5


def pairwise_distance(u: Tensor, k: float = 1.0) -> Tensor:
    """Distances between all pairs of V points: (..., V, D) -> (..., V, V), with a diagonal of exact zeros.

    Computed from norms and one inner-product matrix, never from an expanded (..., V, V, D) tensor. The products are
    taken in float64: near the boundary ‖u−v‖² is a small difference of large squares, divided by a small number.
    """
    with torch.autocast(u.device.type, enabled=False):
        wide = u.double()
        norms = wide.square().sum(-1)
        square = norms.unsqueeze(-1) + norms.unsqueeze(-2) - 2 * wide @ wide.mT
        excess = _excess(square.clamp_min(0), norms.unsqueeze(-1), norms.unsqueeze(-2), k)
        excess = excess * (1 - torch.eye(u.shape[-2], dtype=excess.dtype, device=u.device))
        return (_arcosh1p(excess) / k**0.5).to(_wide(u).dtype)

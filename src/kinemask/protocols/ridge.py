"""Ridge classification in closed form, its penalty chosen by leave-one-out; and several, one a block of features."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kinemask.protocols.metric import Metric

# in multiples of D, the squared length of a standardised clip. No larger ones: they would shrink what a few labels say
# to nothing, where leaving one out can tell little
PENALTIES = tuple(10.0 ** (k / 2) for k in range(-10, 0))
_PULL = 0.01  # of a block's weight towards 1, in log loss


@dataclass(frozen=True)
class Ridge:
    """A fitted classifier, in float64: mean and scale (D,) of features, weights (D, classes), intercept (classes,).

    temperature: the softmax of decision values divided by it has the least log loss on clips left out. left_out
    (N, classes): the decision values of the clips that it was fitted on, each left out, and log_loss theirs at that
    temperature.
    """

    mean: Tensor
    scale: Tensor
    weights: Tensor
    intercept: Tensor
    penalty: float
    temperature: float
    left_out: Tensor
    log_loss: float

    def scores(self, x: Tensor) -> Tensor:
        """Decision values of features (N, D), near 1 for a class that is it and near −1 for one that is not."""
        return ((x - self.mean) / self.scale @ self.weights + self.intercept).float()

    def probabilities(self, x: Tensor) -> Tensor:
        """Probabilities of the classes for features (N, D): (N, classes)."""
        return (self.scores(x) / self.temperature).softmax(1)


def fit_ridge(
    x: Tensor,
    labels: Tensor,
    classes: int,
    penalties: Sequence[float] = PENALTIES,
    copies: int = 1,
    differences: Tensor | None = None,
) -> Ridge:
    """Ridge regression of ±1 targets on standardised features x (copies·N, D), labels (N,), N ≥ 2.

    copies: how many rows a clip has, in so many blocks of all clips; they are left out together. differences (n, D): of
    features, which by their `Metric` count less. Of the penalties, multiples of D, it takes the one whose decision
    values for clips left out have the least log loss at a temperature of their own: squared error would ask of features
    with few strong directions that they be shrunk to nothing. In float64, centring included: a mean that is off by
    float32's rounding lets a clip that is left out be told from the others.
    """
    clips = len(labels)
    if clips < 2:
        raise ValueError("ridge needs at least two labelled training clips, or there is nothing to normalise by")
    assert len(x) == copies * clips
    x = x.double()
    mean, scale = x.mean(0), x.std(0, correction=0)
    scale = torch.where(scale > 1e-8, scale, 1.0)
    z = (x - mean) / scale
    metric = None if differences is None else Metric(differences / scale, z)
    target = _targets(labels, classes, copies)
    basis, power = _left_singular(z, metric)
    found = _find_penalty(basis, power, target, labels, x.shape[1], penalties, copies, None)
    weights = z.T @ found.dual
    return Ridge(
        mean,
        scale,
        weights if metric is None else metric(weights.T).T,
        target.mean(0),
        found.penalty,
        found.temperature,
        found.left_out,
        found.log_loss,
    )


@dataclass(frozen=True)
class Dual:
    """Ridge in terms of its rows: weights (rows, classes) of them, and the intercept (classes,) of decision values.

    temperature, left_out, log_loss: as a `Ridge` has them.
    """

    dual: Tensor
    intercept: Tensor
    temperature: float
    left_out: Tensor
    log_loss: float

    def scores(self, products: Tensor) -> Tensor:
        """Decision values of clips by their products with the rows, (n, rows): (n, classes)."""
        return (products @ self.dual + self.intercept).float()


def fit_dual(
    gram: Tensor,
    labels: Tensor,
    classes: int,
    width: int,
    penalties: Sequence[float] = PENALTIES,
    copies: int = 1,
    groups: Tensor | None = None,
) -> Dual:
    """As `fit_ridge`, of rows whose features are known by their products alone: gram (rows, rows), float64.

    width: D. Features are centred here, and should have been brought to one scale. groups (N,): numbers of what is left
    out together, a person's clips say; by default every clip is left out by itself.
    """
    target = _targets(labels, classes, copies)
    middle, basis, power = principal(gram)
    found = _find_penalty(basis, power, target, labels, width, penalties, copies, groups)
    intercept = target.mean(0) - middle @ found.dual
    return Dual(found.dual, intercept, found.temperature, found.left_out, found.log_loss)


def principal(gram: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of rows known by their products (rows, rows): the mean product with each, (rows,); and of the centred rows the
    left singular vectors (rows, r) and the squares of singular values (r,), those above rounding."""
    middle = gram.mean(0)
    power, vectors = torch.linalg.eigh(gram - middle - middle.unsqueeze(1) + middle.mean())
    kept = power > power[-1].clamp_min(1e-300) * 1e-12 * len(gram)
    return middle, vectors[:, kept], power[kept]


def _targets(labels: Tensor, classes: int, copies: int) -> Tensor:
    return (2.0 * F.one_hot(labels, classes).double() - 1).repeat(copies, 1)


@dataclass(frozen=True)
class _Found:
    """The best penalty, the weights of rows with it, and how it was found."""

    penalty: float
    dual: Tensor
    temperature: float
    left_out: Tensor
    log_loss: float


def _find_penalty(
    basis: Tensor,
    power: Tensor,
    target: Tensor,
    labels: Tensor,
    width: int,
    penalties: Sequence[float],
    copies: int,
    groups: Tensor | None,
) -> _Found:
    """basis (rows, r), power (r,): left singular vectors of the centred rows, and the squares of singular values."""
    clips, intercept = len(labels), target.mean(0)
    projected = basis.T @ (target - intercept)
    together = _left_out_together(clips, copies, groups, basis.device)
    best: _Found | None = None
    for penalty in (multiple * width for multiple in penalties):
        shrink = power / (power + penalty)
        residual = target - intercept - basis @ (shrink.unsqueeze(1) * projected)
        errors = torch.empty_like(residual)
        for rows in together:
            errors[rows] = without(basis, shrink, residual[rows], rows)
        left_out = (target - errors)[:clips]
        temperature, loss = fit_temperature(left_out, labels)
        if best is None or loss < best.log_loss:
            dual = basis @ (projected / (power + penalty).unsqueeze(1))
            best = _Found(penalty, dual, temperature, left_out, loss)
    assert best is not None
    return best


def _left_out_together(clips: int, copies: int, groups: Tensor | None, device: torch.device) -> list[Tensor]:
    """Rows that are left out together: (groups of one size, rows) for each size."""
    rows = torch.arange(copies * clips, device=device).view(copies, clips)
    if groups is None:
        return [rows.T]
    members = [rows[:, groups == group].flatten() for group in groups.unique()]
    sizes = sorted({len(one) for one in members})
    return [torch.stack([one for one in members if len(one) == size]) for size in sizes]


def without(basis: Tensor, shrink: Tensor, residual: Tensor, rows: Tensor) -> Tensor:
    """Errors (..., n, classes) of decision values for rows (..., n) that are left out together, by their residuals."""
    blocks = basis[rows]  # (..., n, r)
    identity = torch.eye(rows.shape[-1], dtype=basis.dtype, device=basis.device)
    left = identity - 1 / len(basis) - (blocks * shrink) @ blocks.mT  # I − hat matrix, of these rows
    return torch.linalg.solve(left + 1e-12 * identity, residual)


@dataclass(frozen=True)
class Blocks:
    """A ridge for each block of features, and how much its log probabilities weigh in the sum."""

    ridges: tuple[Ridge, ...]
    weights: tuple[float, ...]

    def probabilities(self, blocks: Sequence[Tensor]) -> Tensor:
        """Probabilities of the classes for blocks of features, (N, D) each: (N, classes)."""
        logits = [ridge.scores(x) / ridge.temperature for ridge, x in zip(self.ridges, blocks, strict=True)]
        return torch.stack([weight * each for weight, each in zip(self.weights, logits, strict=True)]).sum(0).softmax(1)


def fit_blocks(
    blocks: Sequence[Tensor],
    labels: Tensor,
    classes: int,
    copies: Sequence[int],
    differences: Sequence[Tensor | None],
) -> Blocks:
    """Ridge on each block (copies·N, D) by itself, weighed so that clips left out have the least log loss.

    So a block has a say by what it knows, not by its width. Where a class has a single clip, leaving that out tells
    nothing of it, and all blocks weigh the same. differences: of each block, as `fit_ridge` takes them.
    """
    from scipy.optimize import minimize

    ridges = tuple(
        fit_ridge(x, labels, classes, copies=n, differences=differ)
        for x, n, differ in zip(blocks, copies, differences, strict=True)
    )
    weights = np.ones(len(ridges))
    if len(ridges) > 1 and int(torch.bincount(labels)[labels.unique()].min()) > 1:
        logits, truth = torch.stack([ridge.left_out / ridge.temperature for ridge in ridges], -1).cpu(), labels.cpu()
        loss = lambda w: F.cross_entropy(logits @ torch.from_numpy(w), truth).item() + _PULL * ((w - 1) ** 2).sum()
        weights = minimize(loss, weights, method="L-BFGS-B", bounds=[(0.0, None)] * len(ridges)).x
    return Blocks(ridges, tuple(weights.tolist()))


def fit_temperature(scores: Tensor, labels: Tensor) -> tuple[float, float]:
    """The temperature of the least log loss of softmax(scores / temperature), and that loss: scores (N, classes)."""
    from scipy.optimize import minimize_scalar

    scores, labels = scores.cpu().double(), labels.cpu()
    loss = lambda log: F.cross_entropy(scores / math.exp(log), labels).item()
    found: Any = minimize_scalar(loss, bounds=(-5, 5), method="bounded")
    return math.exp(found.x), float(found.fun)


def _left_singular(z: Tensor, metric: Metric | None) -> tuple[Tensor, Tensor]:
    """Left singular vectors (N, r) and squared singular values (r,) of z (N, D) in a metric, those above rounding."""
    n, d = z.shape
    if metric is not None and n > d:
        z, metric = z @ torch.linalg.cholesky(metric(torch.eye(d, dtype=z.dtype, device=z.device))), None
    products = (z if metric is None else metric(z)) @ z.T if n <= d else z.T @ z
    power, vectors = torch.linalg.eigh(products)
    kept = power > power[-1].clamp_min(1e-300) * 1e-12 * max(n, d)
    power, vectors = power[kept], vectors[:, kept]
    return (vectors if n <= d else z @ vectors / power.sqrt()), power

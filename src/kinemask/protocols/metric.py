"""What counts less in a comparison of features: a prior on the weights of a linear classifier."""

from __future__ import annotations

import torch
from torch import Tensor


class Metric:
    """A prior on the weights of features (D,): directions in which twins differ count less.

    differences (n, D): of features, each from the mean of its programme's. With W their covariance and λ the mean of
    its diagonal, the prior's covariance is (I + W / λ)⁻¹, times what leaves the mean square of `rows` (N, D) as it is.
    In float64.
    """

    def __init__(self, differences: Tensor, rows: Tensor):
        self._own = differences.double()
        n, width = self._own.shape
        self._penalty = float(self._own.square().sum() / width) or 1.0  # nothing differs: any will do
        self._by_rows = n <= width
        products = self._own @ self._own.T if self._by_rows else self._own.T @ self._own
        products.diagonal().add_(self._penalty)
        self._factor = torch.linalg.cholesky(products)
        self._share = 1.0
        rows = rows.double()
        self._share = float(rows.square().sum() / (self(rows) * rows).sum().clamp_min(1e-300)) or 1.0

    def __call__(self, x: Tensor) -> Tensor:
        """Rows (N, D) times the prior's covariance: their products with other rows are then those that count."""
        if self._by_rows:
            along = torch.cholesky_solve(self._own @ x.T, self._factor)
            return self._share * (x - along.T @ self._own)
        return self._share * self._penalty * torch.cholesky_solve(x.T, self._factor).T

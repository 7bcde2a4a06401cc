"""Labels of a few clips, spread to clips without one, and ridge on all of them.

Labels go from neighbour to neighbour over a graph of features: local and global consistency (Zhou et al., NIPS 2003),
with classes brought to one mass once, as in Zhu et al. (ICML 2003).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kinemask.protocols.ridge import Dual, fit_temperature, principal, without

NEIGHBOURS = 6
MOST_GROUPS = 50  # that are left out one by one; more are left out several at a time
PENALTY = 0.3  # of ridge, in multiples of D: what is spread is too smooth for leaving out to choose one by
_TAKEN_OVER = 0.8  # of a clip's label from its neighbours', at every step
_SHARPNESS = 6  # power of the cosine similarity that weighs a neighbour
_LEAST = 1e-12  # of a class in a clip that no label reaches


class Graph:
    """Nearest neighbours among N clips.

    gram (N, N): products of features, float64; they are centred here.
    """

    def __init__(self, gram: Tensor):
        count, middle = len(gram), gram.mean(0)
        gram = gram - middle - middle.unsqueeze(1) + middle.mean()
        length = gram.diagonal().clamp_min(1e-300).sqrt()
        cosine = (gram / length / length.unsqueeze(1)).clamp_(-1.0, 1.0)
        cosine.fill_diagonal_(-1.0)
        near = cosine.topk(min(NEIGHBOURS, count - 1), 1)
        weights = torch.zeros_like(gram).scatter_(1, near.indices, near.values.clamp_min(0) ** _SHARPNESS)
        weights = torch.maximum(weights, weights.T)
        degree = weights.sum(1).clamp_min(1e-9).sqrt()
        step = weights / degree / degree.unsqueeze(1)
        self._reach = torch.linalg.inv(torch.eye(count, dtype=gram.dtype, device=gram.device) - _TAKEN_OVER * step)

    def spread(self, labels: Tensor, classes: int) -> Tensor:
        """Probabilities (N, classes) from labels (N,), −1 where there is none. A clip's own label stays."""
        known = labels >= 0
        own = F.one_hot(labels[known], classes).to(self._reach.dtype)
        found = (self._reach[:, known] @ own).clamp_min(_LEAST) * own.any(0)
        found = found / found.sum(1, keepdim=True)
        found = found / found.sum(0).clamp_min(_LEAST)
        found = found / found.sum(1, keepdim=True)
        found[known] = own
        return found


def fit_spread(
    gram: Tensor,
    graph: Graph,
    labels: Tensor,
    classes: int,
    width: int,
    copies: int = 1,
    groups: Tensor | None = None,
) -> Dual:
    """As `ridge.fit_dual`, but labels (N,) are −1 where there is none: there they are spread to, as probabilities.

    left_out, of the clips that have a label: without their group's labels, which are then spread anew, and without its
    clips in the ridge. These stay in the graph, as clips of which nothing is known, and more than MOST_GROUPS groups
    are left out several at a time.
    """
    count = len(labels)
    middle, basis, power = principal(gram)
    penalty = PENALTY * width
    shrink = power / (power + penalty)
    known = labels >= 0
    groups = torch.arange(count, device=labels.device) if groups is None else groups
    numbers = {group: i % MOST_GROUPS for i, group in enumerate(groups[known].unique().tolist())}
    together = torch.tensor([numbers.get(group, -1) for group in groups.tolist()], device=labels.device)
    rows = torch.arange(copies * count, device=labels.device).view(copies, count)

    def targets(given: Tensor) -> tuple[Tensor, Tensor]:
        """What every row is to be by some labels, about its mean, and that mean."""
        of_rows = (2 * graph.spread(given, classes) - 1).repeat(copies, 1)
        return of_rows - of_rows.mean(0), of_rows.mean(0)

    left_out = torch.zeros(count, classes, dtype=gram.dtype, device=gram.device)
    for number in together[known].unique():
        own = together == number
        if not (known & ~own).any():
            continue  # nothing would be left to spread
        about, mean = targets(torch.where(own, -1, labels))
        at = rows[:, own].flatten()
        error = about[at] - (basis[at] * shrink) @ (basis.T @ about)
        left_out[own] = (about[at] + mean - without(basis, shrink, error, at))[: int(own.sum())]
    about, mean = targets(labels)
    dual = basis @ (basis.T @ about / (power + penalty).unsqueeze(1))
    held = left_out[known]
    temperature, loss = fit_temperature(held, labels[known])
    return Dual(dual, mean - middle @ dual, temperature, held, loss)

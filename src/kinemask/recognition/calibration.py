"""How sure a recogniser may be, from clips left out."""

from __future__ import annotations

import math
from typing import Any

import torch.nn.functional as F
from torch import Tensor


def calibrate(left_out: Tensor, labels: Tensor) -> tuple[float, float]:
    """The temperature of the least log loss on clips left out and on one more, its label the runner-up; and that loss.

    left_out (N, classes): decision values; labels (N,). The runner-up is the most probable of the other classes, and
    the further clip a mean of all N. Without it a few clips, all of them right, would make it sure of everything; with
    it, N such clips make it about N / (N + 1) sure.
    """
    from scipy.optimize import minimize_scalar

    scores, labels = left_out.cpu().double(), labels.cpu()
    own = F.one_hot(labels, scores.shape[1]).bool()
    runner_up = scores.masked_fill(own, -math.inf).argmax(1)

    def loss(log: float) -> float:
        logits = scores / math.exp(log)
        return F.cross_entropy(logits, labels, reduction="sum").item() + F.cross_entropy(logits, runner_up).item()

    found: Any = minimize_scalar(loss, bounds=(-5, 5), method="bounded")
    return math.exp(found.x), float(found.fun) / (len(labels) + 1)

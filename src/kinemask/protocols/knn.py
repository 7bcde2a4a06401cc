"""k-nearest-neighbour protocol: frozen features, cosine similarity, no training."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from kinemask.protocols.features import Features
from kinemask.runs.results import Outcome


@dataclass(kw_only=True)
class KNNSettings:
    """Nearest neighbours.

    Args:
        neighbours: training clips that vote; a tie goes to the more similar ones
    """

    neighbours: int = 1

    def __post_init__(self):
        if self.neighbours < 1:
            raise ValueError(f"neighbours must be at least 1, not {self.neighbours}")


def knn(features: Features, classes: int, settings: KNNSettings, seed: int) -> Outcome:
    """Votes of the nearest training clips; features are averaged over test views. The seed changes nothing here."""
    gallery, queries = pooled(features)
    return Outcome(vote(gallery, features.train.labels, queries, classes, settings.neighbours).cpu())


def pooled(features: Features) -> tuple[Tensor, Tensor]:
    """Training and test features, of unit length, averaged over the test views: (G, D), (N, D)."""
    gallery, queries = (
        torch.stack([F.normalize(x, dim=1) for x in features.test_views(part)]).mean(0)
        for part in (features.train, features.test)
    )
    return gallery, queries


def vote(gallery: Tensor, labels: Tensor, queries: Tensor, classes: int, neighbours: int) -> Tensor:
    """Share of the `neighbours` most similar gallery rows of each class, plus a little for similarity: (N, classes).

    gallery (G, D), labels (G,), queries (N, D); cosine similarity.
    """
    neighbours = min(neighbours, len(gallery))
    gallery = F.normalize(gallery, dim=1)
    out = []
    for part in queries.split(1024):
        similarity, index = (F.normalize(part, dim=1) @ gallery.T).topk(neighbours, dim=1)
        weight = 1 + 1e-3 * similarity  # the similarity breaks ties, and is too small to do more
        scores = torch.zeros(len(part), classes, device=part.device).scatter_add_(1, labels[index], weight)
        out.append(scores / scores.sum(1, keepdim=True))
    return torch.cat(out)

"""Nearest neighbours by cosine similarity."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


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

"""Measures of a protocol's scores beside top-1 accuracy. Every share is in percent."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

RESAMPLES = 1000  # of the test clips, for an interval
CONFIDENCE = 0.95
BINS = 15  # of confidence, for the calibration error
_AT_ONCE = 20_000_000  # numbers of resampled clips in memory


def measures(scores: Tensor, labels: Tensor) -> dict[str, Any]:
    """What every result says of its scores (N, classes) against labels (N,): `metrics` and `confidence_interval`.

    confidence_interval: of the accuracy, over test clips (see `interval`).
    """
    if not len(labels):
        return {"metrics": {}, "confidence_interval": None}
    from sklearn.metrics import f1_score, recall_score

    truth, guess = labels.numpy(), scores.argmax(1).numpy()
    correct = 100.0 * (truth == guess)
    return {
        "metrics": {
            "top1": float(correct.mean()),
            "top5": top_k(scores, labels, 5),
            "mean_class_accuracy": 100 * float(recall_score(truth, guess, labels=np.unique(truth), average="macro")),
            "macro_f1": 100 * float(f1_score(truth, guess, average="macro", zero_division=0)),  # type: ignore[arg-type]
            "expected_calibration_error": calibration_error(scores, labels),
        },
        "confidence_interval": interval(correct),
    }


def top_k(scores: Tensor, labels: Tensor, k: int) -> float | None:
    """Share of rows whose true class is among the k highest scores; None where there are no more classes than k.

    A class that ties with the true one counts as before it: votes of one neighbour say nothing of the other classes.
    """
    if scores.shape[1] <= k:
        return None
    own = scores.gather(1, labels.unsqueeze(1))
    return 100 * ((scores >= own).sum(1) <= k).double().mean().item()


def calibration_error(scores: Tensor, labels: Tensor, bins: int = BINS) -> float | None:
    """Expected calibration error (Guo et al. 2017): |accuracy − confidence|, averaged over bins of equal width.

    scores (N, classes) are probabilities; None where they are not (a row does not sum to 1).
    """
    if not torch.allclose(scores.sum(1), torch.ones(len(scores)), atol=1e-3) or bool((scores < 0).any()):
        return None
    confidence, guess = scores.double().max(1)
    gap = (guess == labels).double() - confidence
    place = (confidence * bins).ceil().long().clamp(1, bins) - 1  # a bin takes its upper edge
    return 100 * torch.zeros(bins, dtype=torch.double).index_add_(0, place, gap).abs().sum().item() / len(labels)


def confusion(scores: Tensor, labels: Tensor) -> np.ndarray:
    """Counts (classes, classes): row the true class, column the predicted one."""
    from sklearn.metrics import confusion_matrix

    return confusion_matrix(labels.numpy(), scores.argmax(1).numpy(), labels=np.arange(scores.shape[1]))


def interval(values: np.ndarray, seed: int = 0) -> list[float]:
    """Bootstrap interval [low, high] of the mean of values (N,), one per test clip: 95 %, by percentiles.

    It speaks of the choice of test clips alone, taken as independent; not of seeds, nor of other subjects.
    """
    n = len(values)
    generator, means, left = np.random.default_rng(seed), [], RESAMPLES
    while left:
        rows = min(left, max(1, _AT_ONCE // n))
        means.append(values[generator.integers(0, n, (rows, n), dtype=np.int32)].mean(1))
        left -= rows
    tail = 50 * (1 - CONFIDENCE)
    return np.percentile(np.concatenate(means), [tail, 100 - tail]).tolist()


def average_precisions(gallery: Tensor, labels: Tensor, queries: Tensor, truth: Tensor) -> Tensor:
    """Average precision of retrieval by cosine similarity, per query, in percent: (N,).

    gallery (G, D) with labels (G,), queries (N, D) with truth (N,): the mean, over the gallery's rows of the query's
    class, of the precision at that row's rank. NaN for a query whose class the gallery lacks.
    """
    gallery = F.normalize(gallery, dim=1)
    rank = torch.arange(1, len(gallery) + 1, device=gallery.device)
    out = []
    for part, own in zip(queries.split(256), truth.split(256), strict=True):
        order = (F.normalize(part, dim=1) @ gallery.T).argsort(dim=1, descending=True, stable=True)
        relevant = labels[order] == own.unsqueeze(1)
        precision = relevant.cumsum(1) / rank
        out.append((precision * relevant).sum(1) / relevant.sum(1))
    return 100 * torch.cat(out)

"""Measures of a protocol's scores, and how they are called. Every share is in percent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

RESAMPLES = 1000  # of the test clips, for an interval
CONFIDENCE = 0.95
BINS = 15  # of confidence, for the calibration error
_AT_ONCE = 20_000_000  # numbers of resampled clips in memory

MEASURES = {
    "accuracy": "accuracy",
    "mean_average_precision": "mean average precision",
    "top5": "top-5",
    "mean_class_accuracy": "mean over classes",
    "macro_f1": "macro F1",
    "expected_calibration_error": "calibration error (ECE)",
}

BASELINES = {
    "untrained_encoder": "untrained encoder",
    "from_scratch": "from scratch",
    "raw_coordinates_knn": "raw coordinates, 1-NN",
    "aligned_coordinates_knn": "aligned coordinates, 1-NN",
    "statistics_ridge": "statistics, ridge",
    "random_convolutions_ridge": "random convolutions, ridge",
}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A measure of scores, in percent: on all test clips, on those that are no copies of training clips, its interval.

    interval: 95 %, by bootstrap over test clips. None where something was not measured.
    """

    value: float
    unseen: float | None = None
    interval: tuple[float, float] | None = None


def accuracy(scores: Tensor, labels: Tensor) -> float:
    """Top-1 accuracy in percent: scores (N, classes), labels (N,), N > 0."""
    return 100 * (scores.argmax(1) == labels).float().mean().item()


def measure_accuracy(scores: Tensor, labels: Tensor, unseen: Tensor, bootstrap: bool = False) -> Measured:
    """Top-1 accuracy on all test clips and on the unseen ones (N,) bool; bootstrap adds the interval."""
    known = accuracy(scores[unseen], labels[unseen]) if unseen.any() else None
    bounds = interval(100.0 * (scores.argmax(1) == labels).double().numpy()) if bootstrap else None
    return Measured(value=accuracy(scores, labels), unseen=known, interval=bounds)


def measure(scores: Tensor, labels: Tensor, unseen: Tensor) -> dict[str, Measured]:
    """What every result says of its scores (N, classes) against labels (N,); unseen (N,) as in `measure_accuracy`."""
    from sklearn.metrics import f1_score, recall_score

    truth, guess = labels.numpy(), scores.argmax(1).numpy()
    others: dict[str, float | None] = {
        "top5": top_k(scores, labels, 5),
        "mean_class_accuracy": 100 * float(recall_score(truth, guess, labels=np.unique(truth), average="macro")),
        "macro_f1": 100 * float(f1_score(truth, guess, average="macro", zero_division=0)),  # type: ignore[arg-type]
        "expected_calibration_error": calibration_error(scores, labels),
    }
    found = {"accuracy": measure_accuracy(scores, labels, unseen, bootstrap=True)}
    return found | {name: Measured(value=value) for name, value in others.items() if value is not None}


def per_class(scores: Tensor, labels: Tensor, classes: list[str]) -> dict[str, float]:
    """Top-1 accuracy in percent of each class that has test clips."""
    present = labels.unique().tolist()
    return {classes[i]: accuracy(scores[labels == i], labels[labels == i]) for i in present}


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


def interval(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Bootstrap interval (low, high) of the mean of values (N,), one per test clip: 95 %, by percentiles.

    It speaks of the choice of test clips alone, taken as independent; not of seeds, nor of other subjects.
    """
    n = len(values)
    generator, means, left = np.random.default_rng(seed), [], RESAMPLES
    while left:
        rows = min(left, max(1, _AT_ONCE // n))
        means.append(values[generator.integers(0, n, (rows, n), dtype=np.int32)].mean(1))
        left -= rows
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(np.concatenate(means), [tail, 100 - tail]).tolist()
    return low, high


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

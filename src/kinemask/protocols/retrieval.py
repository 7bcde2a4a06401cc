"""Retrieval protocol: the test clips' features look for their like among the training clips'."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from kinemask.protocols.features import Features, Part, raw_coordinates
from kinemask.protocols.knn import pooled, vote
from kinemask.runs.metrics import average_precisions, interval
from kinemask.runs.results import Outcome
from kinemask.windows.settings import SamplingSettings


@dataclass(kw_only=True)
class RetrievalSettings:
    """Retrieval: cosine similarity of frozen features, gallery = training part. It has no options of its own."""


def retrieval(features: Features, classes: int, settings: RetrievalSettings, seed: int) -> Outcome:
    """Accuracy is precision at 1; `mean_average_precision` (percent) and its interval are details.

    Features are averaged over test views. The seed changes nothing here.
    """
    gallery, queries = pooled(features)
    scores = vote(gallery, features.train.labels, queries, classes, 1).cpu()
    return Outcome(scores, details=_precision(gallery, features.train.labels, queries, features.test.labels))


def raw_retrieval(
    train: Part, test: Part, sampling: SamplingSettings, settings: RetrievalSettings, seed: int
) -> dict[str, Any]:
    """The same numbers of raw coordinates."""
    gallery, queries = (raw_coordinates(part, sampling.frames) for part in (train, test))
    return _precision(gallery, train.labels, queries, test.labels)


def _precision(gallery: Tensor, labels: Tensor, queries: Tensor, truth: Tensor) -> dict[str, Any]:
    """Queries whose class the gallery lacks cannot be answered, and are left out."""
    found = average_precisions(gallery, labels, queries, truth).cpu().double().numpy()
    found = found[np.isfinite(found)]
    if not len(found):
        raise ValueError("retrieval: no class of the test part has a training clip, so there is nothing to find")
    return {"mean_average_precision": float(found.mean()), "mean_average_precision_interval": interval(found)}

"""Retrieval protocol: training clips ranked by their features' similarity to each test clip's."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
from torch import Tensor

from kinemask.protocols import frozen
from kinemask.protocols.baselines import Baseline
from kinemask.protocols.case import Case, Outcome
from kinemask.protocols.features import Features
from kinemask.protocols.neighbours import vote
from kinemask.protocols.settings import RetrievalSettings
from kinemask.runs.measures import Measured, average_precisions, interval


def retrieval(features: Features, classes: int, settings: RetrievalSettings, seed: int) -> Outcome:
    """Accuracy is precision at 1, beside the mean average precision.

    Features are averaged over test views.
    """
    gallery, queries = features.neighbours(settings.beside, seed)
    scores = vote(gallery, features.train.labels, queries, classes, 1).cpu()
    labels, truth = features.train.labels, features.test.labels
    return Outcome(scores, measures=mean_average_precision(gallery, labels, queries, truth))


def ranked(case: Case, settings: RetrievalSettings, seed: int, baseline: Baseline, outcome: Outcome) -> Outcome:
    """The same measure of a baseline's features."""
    queries, truth = baseline.features(baseline.test.tracks), baseline.test.labels
    return replace(outcome, measures=mean_average_precision(baseline.gallery, baseline.labels, queries, truth))


def mean_average_precision(gallery: Tensor, labels: Tensor, queries: Tensor, truth: Tensor) -> dict[str, Measured]:
    """Over test clips, with its interval; clips whose class the gallery lacks cannot be answered, and are left out."""
    found = average_precisions(gallery, labels, queries, truth).cpu().double().numpy()
    found = found[np.isfinite(found)]
    if not len(found):
        raise ValueError("retrieval: no class of the test part has a training clip, so there is nothing to find")
    return {"mean_average_precision": Measured(value=float(found.mean()), interval=interval(found))}


score = partial(frozen.score, run=retrieval, complete=ranked)

"""k-nearest-neighbour protocol: frozen features, cosine similarity, no training."""

from __future__ import annotations

from functools import partial

from kinemask.protocols import frozen
from kinemask.protocols.case import Outcome
from kinemask.protocols.features import Features
from kinemask.protocols.neighbours import vote
from kinemask.protocols.settings import KNNSettings


def knn(features: Features, classes: int, settings: KNNSettings, seed: int) -> Outcome:
    """Votes of the nearest training clips; features are averaged over test views."""
    gallery, queries = features.neighbours(settings.beside, seed)
    return Outcome(vote(gallery, features.train.labels, queries, classes, settings.neighbours).cpu())


score = partial(frozen.score, run=knn)

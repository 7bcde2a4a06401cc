"""Test clips in an encoder's feature space: on a plane by t-SNE or PCA, and how well their clusters are the classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from kinemask.checks import among
from kinemask.models.encoders import TrainedEncoder
from kinemask.store.opening import Store
from kinemask.windows.parts import Part
from kinemask.windows.sampler import Sampler

MOST_CLIPS = 1500
FEWEST_CLIPS = 10
PCA_CLASSES = 5  # SkeletonMAE Fig. 4
_STARTS = 10  # of k-means


@dataclass(frozen=True, eq=False)
class Features:
    """Features (N, D) of labelled test clips of a split, and their labels (N,): numbers into `classes`."""

    split: str
    features: np.ndarray
    labels: np.ndarray
    classes: list[str]

    @property
    def present(self) -> np.ndarray:
        """The classes that have clips, ascending."""
        return np.unique(self.labels)

    def of(self, chosen: np.ndarray) -> Features:
        """The clips of these classes alone."""
        rows = np.isin(self.labels, chosen)
        return Features(self.split, self.features[rows], self.labels[rows], self.classes)


@dataclass(frozen=True, eq=False)
class Plane:
    """Clips on a plane: points (N, 2), labels (N,) into `classes`, the names of its axes.

    nmi: normalised mutual information of the classes with k-means clusters, of the features and of the plane's points;
    None for a single class. explained: the axes' shares of the variance, where they have such.
    """

    method: str
    split: str
    points: np.ndarray
    labels: np.ndarray
    classes: list[str]
    axes: tuple[str, str]
    nmi: tuple[float, float] | None
    explained: tuple[float, float] | None = None


def class_numbers(store: Store, names: Sequence[str]) -> np.ndarray:
    """Numbers of classes by their names, ascending; ValueError for one that the store does not have."""
    for name in names:
        if name not in store.classes:
            raise ValueError(f"classes: {store.path} has no class {name!r}{among(name, store.classes)}")
    return np.unique([store.classes.index(name) for name in names]).astype(int)


def features_of(model: TrainedEncoder, store: Store, split: str, chosen: np.ndarray | None = None) -> Features:
    """Features of a split's labelled test clips, of chosen classes or all, at most 1500 spread evenly.

    As the kNN protocol has them: one test view. ValueError where there are too few clips.
    """
    test = store.split(split)[1]
    test = test[store.labels[test] >= 0 if chosen is None else np.isin(store.labels[test], chosen)]
    if len(test) < FEWEST_CLIPS:
        of = "" if chosen is None else " of these classes"
        raise ValueError(f"it needs at least {FEWEST_CLIPS} labelled test clips{of}; split {split} has {len(test)}")
    clips = test[np.linspace(0, len(test) - 1, min(len(test), MOST_CLIPS)).round().astype(int)]
    device = next(model.parameters()).device
    part = Part(store, clips, device, model.sampling.missing)
    found = torch.cat(model.test_features(Sampler(part.tracks, model.sampling)))
    return Features(split, found.cpu().numpy(), part.labels.cpu().numpy(), store.classes)


def tsne(found: Features) -> Plane:
    """t-SNE of the features compared by cosine; the same every time. HA-CM Fig. 6, Skeleton2vec Fig. 7b."""
    from sklearn.manifold import TSNE

    unit = _unit(found.features)
    perplexity = min(30.0, (len(unit) - 1) / 3)
    points = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(unit)
    both = agreement(unit, found.labels), agreement(points, found.labels)
    return Plane("t-SNE", found.split, points, found.labels, found.classes, ("", ""), _both(both))


def pca(found: Features, count: int | None = PCA_CLASSES) -> Plane:
    """The first two principal components of the features, of `count` classes spread evenly. SkeletonMAE Fig. 4.

    count: None takes all classes. ValueError where the features are of fewer than two dimensions.
    """
    from sklearn.decomposition import PCA

    if count is not None and len(found.present) > count:
        found = found.of(found.present[np.linspace(0, len(found.present) - 1, count).round().astype(int)])
    if min(found.features.shape) < 2:
        raise ValueError(f"it needs two clips of two features at least, not {found.features.shape}")
    fitted = PCA(2, svd_solver="full").fit(found.features)
    points = fitted.transform(found.features)
    first, second = map(float, fitted.explained_variance_ratio_)
    axes = f"component 1 ({100 * first:.0f} %)", f"component 2 ({100 * second:.0f} %)"
    both = agreement(found.features, found.labels), agreement(points, found.labels)
    return Plane("PCA", found.split, points, found.labels, found.classes, axes, _both(both), (first, second))


def agreement(x: np.ndarray, labels: np.ndarray) -> float | None:
    """Normalised mutual information (arithmetic mean) of labels (N,) and as many k-means clusters of x (N, D).

    From 0 to 1; None for a single label. HA-CM Fig. 6, which does not say how its clusters are found.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import normalized_mutual_info_score

    count = len(np.unique(labels))
    if count < 2:
        return None
    starts: Any = _STARTS  # a number is right; scikit-learn annotates a text
    clusters = KMeans(count, n_init=starts, random_state=0).fit_predict(x.astype(np.float64))
    return float(normalized_mutual_info_score(labels, clusters))


def _both(values: tuple[float | None, float | None]) -> tuple[float, float] | None:
    first, second = values
    return None if first is None or second is None else (first, second)


def _unit(features: np.ndarray) -> np.ndarray:
    return F.normalize(torch.from_numpy(features)).numpy()

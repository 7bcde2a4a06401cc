"""Clips on a plane: PCA and NMI against their formulas, and what there is of few clips and classes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.cluster import KMeans

from kinemask.models.encoders import load_encoder
from kinemask.reports.features import Features, agreement, class_numbers, features_of, pca, tsne

CLASSES = ["a", "b", "c", "d", "e", "f", "g"]


def clouds(count: int = 7, each: int = 12, apart: float = 6.0, width: int = 5) -> Features:
    """Clips of some classes, each about a place of its own."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(count), each)
    x = apart * rng.normal(size=(count, width))[labels] + rng.normal(size=(len(labels), width))
    return Features("xsub", x.astype(np.float32), labels, CLASSES)


def mutual_information(a: np.ndarray, b: np.ndarray) -> float:
    """Normalised by the mean of both entropies, by counting."""
    entropy = lambda p: -sum(v * math.log(v) for v in p if v)
    pairs = np.array([[np.mean((a == i) & (b == j)) for j in np.unique(b)] for i in np.unique(a)])
    own, other = entropy(pairs.sum(1)), entropy(pairs.sum(0))
    return 2 * (own + other - entropy(pairs.ravel())) / (own + other)


@pytest.mark.parametrize("apart", [0.3, 1.0, 6.0])
def test_nmi_is_that_of_the_contingency_table(apart):
    found = clouds(apart=apart)
    clusters = KMeans(7, n_init=10, random_state=0).fit_predict(found.features.astype(np.float64))
    assert agreement(found.features, found.labels) == pytest.approx(mutual_information(found.labels, clusters))


def test_nmi_is_1_of_classes_apart_and_none_of_a_single_class():
    found = clouds(apart=30.0)
    assert agreement(found.features, found.labels) == pytest.approx(1)
    assert agreement(found.features, np.zeros(len(found.labels), int)) is None


def test_pca_is_the_singular_value_decomposition():
    plane = pca(clouds(5))
    x = clouds(5).features.astype(np.float64)
    u, s, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
    np.testing.assert_allclose(np.abs(plane.points), np.abs(u[:, :2] * s[:2]), rtol=1e-3, atol=1e-3)
    assert plane.explained == pytest.approx(tuple(s[:2] ** 2 / (s**2).sum()), rel=1e-4)


def test_pca_is_of_five_classes_unless_they_are_chosen():
    assert np.unique(pca(clouds(7)).labels).tolist() == [0, 2, 3, 4, 6]
    assert len(np.unique(pca(clouds(7), None).labels)) == 7


@pytest.mark.parametrize("found", [clouds(1), clouds(7, each=2), clouds(2, each=5)], ids=["one class", "pairs", "few"])
def test_few_clips_and_classes_still_have_a_plane(found):
    for plane in (tsne(found), pca(found)):
        assert plane.points.shape == (len(plane.labels), 2)
        assert np.isfinite(plane.points).all()
        assert (plane.nmi is None) == (len(np.unique(found.labels)) == 1)


def test_features_are_of_the_chosen_classes(make, store):
    model = load_encoder(make("mamp"))
    every = features_of(model, store, "xcam", None)
    chosen = features_of(model, store, "xcam", np.array([0, 2]))
    assert every.features.shape == (len(every.labels), 16)
    np.testing.assert_allclose(chosen.features, every.of(np.array([0, 2])).features, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="at least 10 labelled test clips of these classes; split xsub has"):
        features_of(model, store, "xsub", np.array([], int))


def test_unknown_classes_are_named(tiny):
    assert class_numbers(tiny, ["kick", "wave", "kick"]).tolist() == [0, 1]
    with pytest.raises(ValueError, match="no class 'kik'; did you mean kick"):
        class_numbers(tiny, ["wave", "kik"])

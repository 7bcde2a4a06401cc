"""Protocols on features that are given: nearest neighbours and the linear head."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.neighbors import KNeighborsClassifier

from kinemask.protocols.features import Features
from kinemask.protocols.frozen import mean_scored
from kinemask.protocols.knn import knn
from kinemask.protocols.linear import LinearHead, linear
from kinemask.protocols.neighbours import vote
from kinemask.protocols.retrieval import retrieval
from kinemask.protocols.settings import KNNSettings, RetrievalSettings
from kinemask.runs.measures import Measured, accuracy
from kinemask.runs.result import Curve, Scored
from kinemask.training.settings import LinearSettings

QUICK = {"epochs": 5, "batch_size": 16, "views": 2}


class Given:
    """Features that are given: what a protocol needs, without an encoder. views: (number, N, D)."""

    beside, neighbours = Features.beside, Features.neighbours

    def __init__(self, views, labels, test, test_labels):
        side = lambda labels: SimpleNamespace(labels=labels, tracks=object())
        self.train, self.test, self.device = side(labels), side(test_labels), torch.device("cpu")
        self._views, self._test, self.asked = views, test, []

    def view(self, number):
        self.asked.append(number)
        return self._views[number % len(self._views)]

    fresh_view = view

    def test_views(self, tracks):
        return [self._views[0]] if tracks is self.train.tracks else self._test


def separable(count=90, classes=3, dims=8, seed=0):
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    return 4 * F.one_hot(labels, dims).float() + 0.3 * torch.randn(count, dims, generator=g), labels


# nearest neighbours


@pytest.mark.parametrize("neighbours", [1, 3, 5])
def test_the_vote_is_scikit_learns(neighbours):
    g = torch.Generator().manual_seed(0)
    gallery, queries = torch.randn(80, 6, generator=g), torch.randn(2500, 6, generator=g)  # more than one piece
    labels = (gallery[:, 0] > 0).long()  # two classes and odd numbers: no ties
    reference = KNeighborsClassifier(neighbours, metric="cosine", algorithm="brute").fit(gallery, labels)
    scores = vote(gallery, labels, queries, 2, neighbours)
    assert scores.shape == (2500, 2)
    torch.testing.assert_close(scores.sum(1), torch.ones(2500))
    assert np.array_equal(scores.argmax(1).numpy(), reference.predict(queries))
    shares = reference.predict_proba(queries)
    assert np.abs(scores.numpy() - shares).max() < 2e-3  # similarity adds only a little


def test_a_tie_goes_to_the_more_similar():
    gallery = F.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.3], [1.0, -0.2], [0.0, 1.0]]), dim=1)
    labels = torch.tensor([2, 0, 1, 1])
    assert vote(gallery, labels, torch.tensor([[1.0, 0.01]]), 3, 3).argmax().item() == 2
    assert vote(gallery, labels, torch.tensor([[0.0, 5.0]]), 3, 1).argmax().item() == 1
    assert vote(gallery, labels, torch.tensor([[1.0, -0.1]]), 3, 100).argmax().item() == 1  # no more than there are


def test_length_does_not_matter_to_neighbours():
    gallery, labels = separable()
    scale = torch.linspace(0.1, 10, len(gallery)).unsqueeze(1)
    torch.testing.assert_close(
        vote(gallery, labels, gallery[:9], 3, 5), vote(gallery * scale, labels, gallery[:9] * 7, 3, 5)
    )


def test_knn_on_given_features():
    x, labels = separable()
    test, truth = separable(seed=1)
    given = Given([x], labels, [test, test], truth)
    assert accuracy(knn(given, 3, KNNSettings(), 0).scores, truth) == 100
    assert knn(given, 3, KNNSettings(), 0).best_epoch is None
    with pytest.raises(ValueError, match="neighbours"):
        KNNSettings(neighbours=0)


@pytest.mark.parametrize("run, settings", [(knn, KNNSettings()), (retrieval, RetrievalSettings())])
def test_similarity_is_the_mean_of_both_kinds_of_features(run, settings):
    x, labels = separable()
    noise = torch.randn(90, 30, generator=torch.Generator().manual_seed(0))
    given = Given([noise], labels, [noise.flip(0)], labels)
    assert accuracy(run(given, 3, settings, 0).scores, labels) < 60
    other = SimpleNamespace(gallery=x, features=lambda tracks: 100 * x, test=SimpleNamespace(tracks=None))
    asked = []
    plain = SimpleNamespace(convolutions=lambda labelled, seed: asked.append((labelled, seed)) or other)
    given.baselines = lambda: plain
    gallery, queries = given.neighbours("convolutions", 0)
    cosine = lambda a, b: F.normalize(a, dim=1) @ F.normalize(b, dim=1).T
    torch.testing.assert_close(cosine(queries, gallery), (cosine(noise.flip(0), noise) + cosine(x, x)) / 2)
    assert accuracy(run(given, 3, replace(settings, beside="convolutions"), 7).scores, labels) > 90
    assert asked[-1] == (given.train, 7)


# linear


def test_linear_learns_separable_features_and_not_shuffled_labels():
    x, labels = separable()
    test, truth = separable(seed=1)
    outcome = linear(Given([x], labels, [test], truth), 3, LinearSettings(epochs=20, batch_size=16), 0)
    assert accuracy(outcome.scores, truth) == 100
    torch.testing.assert_close(outcome.scores.sum(1), torch.ones(90))
    shuffled = labels[torch.randperm(90, generator=torch.Generator().manual_seed(0))]
    outcome = linear(Given([x], shuffled, [test], truth), 3, LinearSettings(epochs=20, batch_size=16), 0)
    assert accuracy(outcome.scores, truth) < 70


def test_the_headline_is_the_last_epoch_and_the_best_is_kept_beside():
    x, labels = separable()
    misleading = [x] + [-x] * 9  # what the first epoch learns the others unlearn
    outcome = linear(Given(misleading, labels, [x], labels), 3, LinearSettings(epochs=10, views=0), 0)
    assert outcome.best_epoch > 90
    assert accuracy(outcome.scores, labels) < 50


def test_linear_uses_views_in_turn():
    x, labels = separable(20)
    for views, expected in ((3, [0, 1, 2, 0, 1]), (0, [0, 1, 2, 3, 4]), (1, [0] * 5)):
        given = Given([x], labels, [x], labels)
        linear(given, 3, LinearSettings(epochs=5, views=views, batch_size=8), 0)
        assert given.asked == expected


def test_a_last_batch_of_one_clip_does_not_break_batch_norm():
    x, labels = separable(17)
    linear(Given([x], labels, [x], labels), 3, LinearSettings(epochs=2, batch_size=16), 0)
    linear(Given([x], labels, [x], labels), 3, LinearSettings(epochs=2, batch_size=2), 0)


def test_the_linear_head_is_as_published():
    head = LinearHead(8, 3)
    assert [tuple(p.shape) for p in head.parameters()] == [(3, 8), (3,)]  # no affine parameters in the norm
    x = 5 + 3 * torch.randn(500, 8)
    torch.testing.assert_close(head.norm(x).std(0, correction=0), torch.ones(8), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    "change", [{"epochs": 4}, {"batch_size": 8}, {"lr": 0.01}, {"momentum": 0.0}, {"views": 1}, {"views": 0}], ids=str
)
def test_every_option_of_linear_changes_scores(change):
    x, labels = separable(40)
    views = [x + 0.1 * i for i in range(3)] + [x]
    base = LinearSettings(epochs=6, batch_size=16, views=2)
    a, b = (linear(Given(views, labels, [x], labels), 3, s, 0).scores for s in (base, replace(base, **change)))
    assert not torch.allclose(a, b)


def test_a_seed_decides_the_head():
    x, labels = separable(40)
    settings = LinearSettings(**QUICK)
    scores = [linear(Given([x], labels, [x], labels), 3, settings, seed).scores for seed in (0, 0, 1)]
    assert torch.equal(scores[0], scores[1])
    assert not torch.equal(scores[0], scores[2])


@pytest.mark.parametrize("name", ["lr", "momentum"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_bad_settings_of_linear_are_told(name, value):
    with pytest.raises(ValueError, match=f"linear: {name} must"):
        LinearSettings(**{name: value})


def test_several_outcomes_are_averaged():
    def scored(value, unseen, *accuracy):
        curve = Curve(title="x", levels=(0.1, 0.2), accuracy=accuracy)
        measures = {"accuracy": Measured(value=value, unseen=unseen, interval=(0.0, 1.0))}
        return Scored(measures=measures, curves={"c": curve})

    found = mean_scored([scored(1.0, None, 1.0, 2.0), scored(2.0, 5.0, 3.0, 2.0)])
    assert found.measures == {"accuracy": Measured(value=1.5, unseen=5.0)}
    assert found.curves["c"] == Curve(title="x", levels=(0.1, 0.2), accuracy=(2.0, 2.0))

"""Labels spread as scikit-learn spreads them; what is left out is left out of everything but the graph."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.semi_supervised import LabelSpreading

from kinemask.protocols.ridge import fit_dual
from kinemask.protocols.spreading import NEIGHBOURS, PENALTY, Graph, fit_spread


def blobs(per_class=30, seed=0):
    """Four classes, each a cloud that is wide along one direction of its own."""
    rng = np.random.default_rng(seed)
    centres, along = 3 * rng.normal(size=(2, 4, 20))
    y = np.arange(4).repeat(per_class)
    x = centres[y] + rng.uniform(-2, 2, (len(y), 1)) * along[y] + 0.4 * rng.normal(size=(len(y), 20))
    return x - x.mean(0), y


def some(y, each, seed=0):
    """Labels of so many clips of each class, −1 for the others."""
    rng, found = np.random.default_rng(seed), np.full(len(y), -1)
    for label in np.unique(y):
        found[rng.choice(np.flatnonzero(y == label), each, replace=False)] = label
    return found


def neighbours(x):
    """The graph's weights, pair by pair."""
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    weights = np.zeros((len(x), len(x)))
    for i in range(len(x)):
        cosine = unit @ unit[i]
        cosine[i] = -np.inf
        for j in np.argsort(-cosine)[:NEIGHBOURS]:
            weights[i, j] = weights[j, i] = max(cosine[j], 0) ** 6
    return weights


def test_labels_are_spread_as_by_scikit_learn():
    x, y = blobs()
    labels = some(y, 2)
    reference = LabelSpreading(kernel=lambda a, b: neighbours(a), alpha=0.8, max_iter=10_000, tol=1e-12).fit(x, labels)
    expected = reference.label_distributions_
    expected = expected / expected.sum(0)
    expected /= expected.sum(1, keepdims=True)
    found = Graph(torch.from_numpy(x @ x.T)).spread(torch.from_numpy(labels), 4).numpy()
    np.testing.assert_allclose(found[labels < 0], expected[labels < 0], atol=1e-6)
    np.testing.assert_array_equal(found[labels >= 0], np.eye(4)[labels[labels >= 0]])


def test_classes_without_a_label_and_clips_that_none_reaches():
    x, _ = blobs(10)
    x[-10:] = 100 * np.random.default_rng(1).normal(size=(10, 20))  # neighbours of each other alone
    labels = np.full(40, -1)
    labels[[0, 10]] = 0, 1
    found = Graph(torch.from_numpy(x @ x.T)).spread(torch.from_numpy(labels), 4)
    assert found.isfinite().all()
    assert (found[:, 2:] == 0).all()
    torch.testing.assert_close(found.sum(1), torch.ones(40, dtype=torch.float64))


def test_spreading_knows_more_than_the_labels_alone():
    x, y = blobs()
    queries, truth = blobs(seed=0)
    queries = queries + 0.4 * np.random.default_rng(5).normal(size=queries.shape)
    right = {"spread": 0.0, "alone": 0.0}
    for seed in range(5):
        labels = some(y, 1, seed)
        gram, known = torch.from_numpy(x @ x.T), np.flatnonzero(labels >= 0)
        spread = fit_spread(gram, Graph(gram), torch.from_numpy(labels), 4, 20)
        alone = fit_dual(gram[known][:, known], torch.from_numpy(labels[known]), 4, 20)
        products = torch.from_numpy(queries @ x.T)
        right["spread"] += float((spread.scores(products).argmax(1).numpy() == truth).mean()) / 5
        right["alone"] += float((alone.scores(products[:, known]).argmax(1).numpy() == truth).mean()) / 5
    assert right["spread"] > right["alone"] + 0.02
    assert right["spread"] > 0.9


@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("most", [50, 4])  # fewer than there are groups: several are left out together
def test_what_is_left_out_leaves_labels_and_ridge(copies, grouped, most, monkeypatch):
    monkeypatch.setattr("kinemask.protocols.spreading.MOST_GROUPS", most)
    x, y = blobs(12)
    labels, who = some(y, 3), np.arange(48) % 5 if grouped else np.arange(48)
    rows = np.concatenate([x, x + np.random.default_rng(3).normal(size=x.shape)][:copies])
    gram, graph = torch.from_numpy(rows @ rows.T), Graph(torch.from_numpy(x @ x.T))
    groups = torch.from_numpy(who) if grouped else None
    found = fit_spread(gram, graph, torch.from_numpy(labels), 4, 20, copies, groups)
    known = np.flatnonzero(labels >= 0)
    labelled = np.unique(who[known])
    together = np.where(np.isin(who, labelled), np.searchsorted(labelled, who) % most, -1)
    for place, clip in enumerate(known):
        out = together == together[clip]
        target = 2 * graph.spread(torch.from_numpy(np.where(out, -1, labels)), 4).numpy() - 1
        rest = np.tile(~out, copies)
        z, goal = rows[rest], np.tile(target, (copies, 1))[rest]
        centred = z - z.mean(0)
        weights = np.linalg.solve(centred.T @ centred + 20 * PENALTY * np.eye(20), centred.T @ (goal - goal.mean(0)))
        expected = (x[clip] - z.mean(0)) @ weights + goal.mean(0)
        np.testing.assert_allclose(found.left_out[place].numpy(), expected, atol=1e-6)


def test_with_every_label_it_is_ridge():
    x, y = blobs(8)
    gram, labels = torch.from_numpy(x @ x.T), torch.from_numpy(y)
    found, alone = fit_spread(gram, Graph(gram), labels, 4, 20), fit_dual(gram, labels, 4, 20, [PENALTY])
    torch.testing.assert_close(found.dual, alone.dual)
    torch.testing.assert_close(found.left_out, alone.left_out)

"""Ridge, random convolutions and neighbours: parity with scikit-learn, what they see, what they can tell apart."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import LeaveOneGroupOut

from helpers import DATA, PLAIN
from kinemask import open_store, prepare
from kinemask.protocols.baselines import Baselines
from kinemask.protocols.folds import folds
from kinemask.protocols.labels import draw_labels
from kinemask.protocols.metric import Metric
from kinemask.protocols.probe import logistic
from kinemask.protocols.ridge import PENALTIES, fit_blocks, fit_dual, fit_ridge, fit_temperature
from kinemask.runs.measures import accuracy
from kinemask.windows.parts import parts

CPU = torch.device("cpu")


def problem(count, dims, classes=4, seed=0, noise=2.0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, dims)) * rng.uniform(0.1, 5, dims) + 3
    y = ((x - 3) @ rng.normal(size=(dims, classes)) + noise * rng.normal(size=(count, classes))).argmax(1)
    return x, y


@pytest.mark.parametrize("count, dims", [(60, 200), (300, 40), (50, 50)])
def test_ridge_is_scikit_learns(count, dims):
    x, y = problem(count, dims)
    queries, _ = problem(40, dims, seed=1)
    x[:, 0], queries[:, 0] = 7, 7  # a feature that says nothing
    scale = np.where(x.std(0) > 1e-8, x.std(0), 1)
    standard = lambda values: (values - x.mean(0)) / scale
    for multiple in PENALTIES:
        reference = RidgeClassifier(alpha=multiple * dims).fit(standard(x), y)
        ours = fit_ridge(torch.from_numpy(x), torch.from_numpy(y), 4, [multiple])
        expected = reference.decision_function(standard(queries))
        np.testing.assert_allclose(ours.scores(torch.from_numpy(queries)).numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("per_class", [1, 2, 5])
def test_ridge_learns_from_few_labels(per_class):
    """Leave-one-out, which says little of so few, does not shrink what there is to nothing."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(6, 100))
    clips = lambda n: np.repeat(centres, n, 0) + 0.8 * rng.normal(size=(6 * n, 100)) + 5  # 5: what clips have in common
    labels = lambda n: torch.arange(6).repeat_interleave(n)
    ridge = fit_ridge(torch.from_numpy(clips(per_class)), labels(per_class), 6)
    assert accuracy(ridge.scores(torch.from_numpy(clips(50))), labels(50)) > 90


def test_probabilities_of_ridge_are_calibrated():
    x, y = (torch.from_numpy(v) for v in problem(4200, 10, noise=8))
    ridge, queries, truth = fit_ridge(x[:200], y[:200], 4), x[200:], y[200:]
    found = ridge.probabilities(queries)
    torch.testing.assert_close(found.argmax(1), ridge.scores(queries).argmax(1))
    loss = lambda p: F.nll_loss(p.log(), truth).item()
    assert all(loss(found) < loss((ridge.scores(queries) / t).softmax(1)) for t in (1.0, 0.05))


def test_copies_of_a_clip_are_left_out_together():
    x, y = problem(30, 8, noise=20)
    rows = np.concatenate([x, x + 0.5 * np.random.default_rng(1).normal(size=x.shape)])
    clip, truth = np.tile(np.arange(30), 2), np.tile(y, 2)
    z = (rows - rows.mean(0)) / rows.std(0)
    target, losses = 2 * np.eye(4)[truth] - 1, {}
    for penalty in (8 * multiple for multiple in PENALTIES):
        left_out = np.zeros((30, 4))
        for rest, out in LeaveOneGroupOut().split(z, truth, clip):
            mean, goal = z[rest].mean(0), target[rest].mean(0)
            centred = z[rest] - mean
            weights = np.linalg.solve(centred.T @ centred + penalty * np.eye(8), centred.T @ (target[rest] - goal))
            left_out[out[0]] = (z[out[0]] - mean) @ weights + goal
        losses[penalty] = fit_temperature(torch.from_numpy(left_out), torch.from_numpy(y))
    ours = fit_ridge(torch.from_numpy(rows), torch.from_numpy(y), 4, copies=2)
    assert ours.penalty == min(losses, key=lambda penalty: losses[penalty][1])
    assert ours.temperature == pytest.approx(losses[ours.penalty][0], rel=1e-3)


def test_blocks_weigh_by_what_they_know():
    good, y = (torch.from_numpy(v) for v in problem(260, 10))
    noise = torch.randn(260, 400, generator=torch.Generator().manual_seed(0), dtype=good.dtype)
    rows, asked = slice(0, 60), slice(60, None)
    both = fit_blocks([good[rows], noise[rows]], y[rows], 4, [1, 1], [None, None])
    assert both.weights[0] > 3 * both.weights[1]
    alone = fit_ridge(good[rows], y[rows], 4)
    right = lambda p: (p.argmax(1) == y[asked]).double().mean()
    assert right(both.probabilities([good[asked], noise[asked]])) > right(alone.probabilities(good[asked])) - 0.02
    one = fit_blocks([good[rows]], y[rows], 4, [1], [None])
    torch.testing.assert_close(one.probabilities([good[asked]]), alone.probabilities(good[asked]))
    first = torch.stack([(y[rows] == label).nonzero()[0, 0] for label in range(4)])  # a clip of each class
    assert fit_blocks([good[first], noise[first]], y[first], 4, [1, 1], [None, None]).weights == (1.0, 1.0)


def test_two_blocks_know_more_than_one():
    x, y = (torch.from_numpy(v) for v in problem(1100, 12, seed=1))
    rows, asked = slice(0, 100), slice(100, None)
    halves = x[:, ::2], x[:, 1::2]
    right = lambda p: (p.argmax(1) == y[asked]).double().mean().item()
    both = fit_blocks([half[rows] for half in halves], y[rows], 4, [1, 1], [None, None])
    each = [right(fit_ridge(half[rows], y[rows], 4).probabilities(half[asked])) for half in halves]
    assert right(both.probabilities([half[asked] for half in halves])) > max(each) + 0.1


def test_logistic_is_scikit_learns():
    x, y = problem(120, 10)
    queries, _ = problem(30, 10, seed=1)
    found = logistic(torch.from_numpy(x)[None], torch.from_numpy(y), 5, torch.from_numpy(queries), [])
    standard = lambda values: (values - x.mean(0)) / x.std(0)
    expected = LogisticRegression(C=1.0, max_iter=2000).fit(standard(x), y).predict_proba(standard(queries))
    np.testing.assert_allclose(found[:, :4].numpy(), expected, atol=1e-3)
    assert (found[:, 4] == 0).all()  # a class without labels is never the answer


def test_the_logistic_penalty_comes_from_held_out_clips():
    x, y = (torch.from_numpy(v) for v in problem(460, 40, noise=60))  # little to learn, much to learn by heart
    held_out = [np.arange(60) % 3 == k for k in range(3)]
    strong, weak = (logistic(x[None, :60], y[:60], 4, x[60:], some) for some in (held_out, []))
    loss = lambda scores: F.nll_loss(scores.clamp_min(1e-6).log(), y[60:]).item()
    assert loss(strong) < loss(weak)


@pytest.mark.parametrize("split, column", [("xsub", "subject"), ("xcam", "camera")])
def test_folds_imitate_the_split(tiny, split, column):
    train, test = parts(tiny, split, CPU, "fill")
    found = folds(train, test)
    values = tiny.fields[column][train.clips]
    if len(set(values)) > 1:
        for fold in found:
            assert not set(values[fold]) & set(values[~fold])
    assert np.sum(found, 0).tolist() == [1] * len(train.clips)  # every clip is held out once


def test_without_enough_clips_there_are_no_folds(tiny):
    train, test = parts(tiny, "xcam", CPU, "fill")
    assert folds(train.subset(draw_labels(train, 0, per_class=1)), test) == []


def test_every_baseline_learns(tiny):
    train, test = parts(tiny, "xsub", CPU, "fill")
    baselines = Baselines(train, test, 3)
    found = baselines.fit(train, 0)
    assert found.keys() == PLAIN
    for name, baseline in found.items():
        scores = baseline.scores(test.tracks)
        assert scores.shape == (len(test.clips), 3), name
        assert accuracy(scores, test.labels) > 50, name
        assert len(baseline.gallery) == len(baseline.labels) == len(train.clips)
        assert baseline.features(test.tracks).shape == (len(test.clips), baseline.gallery.shape[1])


def test_a_baseline_sees_no_labels_but_its_own(tiny):
    """With few labels it is as if the other clips had none."""
    train, test = parts(tiny, "xsub", CPU, "fill")
    few = train.subset(draw_labels(train, 0, per_class=2))
    lied = tiny.labels.copy()
    others = np.setdiff1d(train.clips, few.clips)
    lied[others] = (lied[others] + 1) % 3
    other_store = replace(tiny, labels=lied)
    honest = Baselines(train, test, 3).fit(few, 0)
    fooled = Baselines(replace(train, store=other_store), test, 3).fit(replace(few, store=other_store), 0)
    for name, baseline in honest.items():
        torch.testing.assert_close(baseline.scores(test.tracks), fooled[name].scores(test.tracks), msg=name)


def test_other_labels_are_another_fit(tiny):
    train, test = parts(tiny, "xsub", CPU, "fill")
    few = train.subset(draw_labels(train, 0, per_class=2))
    baselines = Baselines(train, test, 3)
    again = {name: b.with_labels(few) for name, b in baselines.fit(train, 0).items()}
    for name, baseline in baselines.fit(few, 0).items():
        torch.testing.assert_close(again[name].scores(test.tracks), baseline.scores(test.tracks), msg=name)


def test_a_smaller_draw_is_part_of_a_larger_one(tiny):
    train, _ = parts(tiny, "xsub", CPU, "fill")
    small, large = (set(draw_labels(train, 1, per_class=n)) for n in (1, 3))
    assert small < large
    assert len(small) == 3
    assert small != set(draw_labels(train, 2, per_class=1))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        draw_labels(train, 1, per_class=1000)
    assert all("all are taken" in str(w.message) for w in caught)
    assert len(caught) == 3


@pytest.mark.slow
def test_the_bar_of_nw_ucla(tmp_path):
    """1-NN 61.6 (51.8 on unseen clips), aligned 69.8, statistics 84, random convolutions 87 to 90."""
    if not (DATA / "nw-ucla").is_dir():
        pytest.skip(f"no NW-UCLA in {DATA}")
    prepare("nw-ucla", DATA / "nw-ucla", tmp_path / "store", progress=False)
    store = open_store(tmp_path / "store")
    train, test = parts(store, "xview", CPU, "fill")
    unseen = torch.from_numpy(~store.duplicates(train.clips, test.clips))
    assert (len(train.clips), len(test.clips), int(unseen.sum())) == (1020, 464, 369)
    found = Baselines(train, test, 10).fit(train, 0)
    scores = {name: baseline.scores(test.tracks) for name, baseline in found.items()}
    right = {name: accuracy(of, test.labels) for name, of in scores.items()}
    assert right["raw_coordinates_knn"] == pytest.approx(61.6, abs=1)
    assert accuracy(scores["raw_coordinates_knn"][unseen], test.labels[unseen]) == pytest.approx(51.8, abs=1)
    assert right["aligned_coordinates_knn"] == pytest.approx(69.8, abs=1.5)
    assert right["statistics_ridge"] == pytest.approx(84, abs=1.5)
    assert 86 < right["random_convolutions_ridge"] < 92
    assert found["random_convolutions_ridge"].align == "heading"


@pytest.mark.parametrize("copies", [1, 2])
def test_people_are_left_out_together(copies):
    """In closed form as by fitting again without them."""
    x, y = problem(30, 8, noise=20)
    rows = np.concatenate([x + k * np.random.default_rng(k).normal(size=x.shape) for k in range(copies)])
    who = np.arange(30) % 7 % 4  # people with unlike numbers of clips
    z = (rows - rows.mean(0)) / rows.std(0)
    ours = fit_dual(
        torch.from_numpy(z @ z.T), torch.from_numpy(y), 4, 8, [0.01], copies=copies, groups=torch.from_numpy(who)
    )
    target = 2 * np.eye(4)[np.tile(y, copies)] - 1
    for person in range(4):
        rest = np.tile(who != person, copies)
        mean, goal = z[rest].mean(0), target[rest].mean(0)
        centred = z[rest] - mean
        weights = np.linalg.solve(centred.T @ centred + 0.08 * np.eye(8), centred.T @ (target[rest] - goal))
        expected = (z[:30][who == person] - mean) @ weights + goal
        np.testing.assert_allclose(ours.left_out[torch.from_numpy(who == person)].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("copies", [1, 2])
def test_ridge_in_terms_of_products_is_ridge(copies):
    x, y = problem(30, 8, noise=20)
    rows = np.concatenate([x + k * np.random.default_rng(k).normal(size=x.shape) for k in range(copies)])
    ours = fit_ridge(torch.from_numpy(rows), torch.from_numpy(y), 4, copies=copies)
    z = (rows - rows.mean(0)) / rows.std(0)
    dual = fit_dual(torch.from_numpy(z @ z.T), torch.from_numpy(y), 4, 8, copies=copies)
    torch.testing.assert_close(dual.left_out, ours.left_out, atol=1e-5, rtol=1e-4)
    assert dual.temperature == pytest.approx(ours.temperature, rel=1e-4)
    queries = np.random.default_rng(9).normal(size=(5, 8))
    scores = dual.scores(torch.from_numpy((queries - rows.mean(0)) / rows.std(0) @ z.T))
    torch.testing.assert_close(scores, ours.scores(torch.from_numpy(queries)), atol=1e-4, rtol=1e-4)


def test_features_far_from_zero_are_centred_exactly():
    """Centred in float32, clips left out would be told from the others, and the least penalty look best."""
    rng = np.random.default_rng(0)
    y = torch.arange(6).repeat_interleave(10)
    clips = 0.5 * rng.normal(size=(6, 400)).repeat(10, 0) + 2 * rng.normal(size=(60, 400))
    clips = torch.from_numpy(clips + 1000).float()
    ours, exact = fit_ridge(clips, y, 6), fit_ridge(clips.double(), y, 6)
    assert ours.penalty == exact.penalty
    torch.testing.assert_close(ours.left_out, exact.left_out)


def test_a_metric_is_a_prior_on_weights():
    """Ridge whose weights have the prior's covariance M: the solution of (ZᵀZ + λ M⁻¹) w = Zᵀ y, Z centred."""
    x, y = (torch.from_numpy(v) for v in problem(40, 6))
    differ = torch.from_numpy(np.random.default_rng(1).normal(size=(18, 6)) * np.linspace(0.2, 2, 6))
    ours, queries = fit_ridge(x, y, 4, [0.1], differences=differ), torch.from_numpy(problem(9, 6, seed=2)[0])
    mean, scale = x.mean(0), x.std(0, correction=0)
    z, asked = (x - mean) / scale, (queries - mean) / scale
    prior = Metric(differ / scale, z)(torch.eye(6, dtype=torch.float64))
    target = 2 * torch.nn.functional.one_hot(y, 4).double() - 1
    weights = torch.linalg.solve(z.T @ z + 0.6 * torch.linalg.inv(prior), z.T @ (target - target.mean(0)))
    torch.testing.assert_close(ours.scores(queries), (asked @ weights + target.mean(0)).float(), atol=1e-4, rtol=1e-4)

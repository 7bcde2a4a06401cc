"""Measures of scores, against scikit-learn and plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import average_precision_score, f1_score, top_k_accuracy_score

from kinemask.runs import measures
from kinemask.runs.measures import (
    BASELINES,
    MEASURES,
    accuracy,
    average_precisions,
    calibration_error,
    confusion,
    interval,
    measure,
    measure_accuracy,
    per_class,
    top_k,
)


def guesses(count=300, classes=8, seed=0):
    """Probabilities that are right more often than not, and labels; class 7 never occurs, class 6 is never guessed."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes - 1, (count,), generator=g)
    logits = torch.randn(count, classes, generator=g) + 1.5 * F.one_hot(labels, classes)
    logits[:, 6] -= 20
    return logits.softmax(1), labels


def test_measures_are_those_of_the_books():
    scores, labels = guesses()
    unseen = torch.arange(len(labels)) % 3 > 0
    found = measure(scores, labels, unseen)
    assert found.keys() == MEASURES.keys() - {"mean_average_precision"}
    m, truth, guess = {name: one.value for name, one in found.items()}, labels.numpy(), scores.argmax(1).numpy()
    assert m["accuracy"] == pytest.approx(100 * (truth == guess).mean())
    assert m["top5"] == pytest.approx(100 * top_k_accuracy_score(truth, scores.numpy(), k=5, labels=range(8)))
    recalls = [(guess[truth == c] == c).mean() for c in np.unique(truth)]
    assert m["mean_class_accuracy"] == pytest.approx(100 * np.mean(recalls))
    assert m["macro_f1"] == pytest.approx(100 * f1_score(truth, guess, average="macro", zero_division=0))
    counts = confusion(scores, labels)
    assert counts.shape == (8, 8)
    assert all(counts[a, b] == ((truth == a) & (guess == b)).sum() for a in range(8) for b in range(8))
    low, high = found["accuracy"].interval
    assert low < m["accuracy"] < high
    assert found["accuracy"].unseen == pytest.approx(100 * (truth == guess)[unseen.numpy()].mean())
    assert [name for name, one in found.items() if one.interval] == ["accuracy"]
    alone = measure_accuracy(scores, labels, unseen)
    assert (alone.value, alone.unseen, alone.interval) == (m["accuracy"], found["accuracy"].unseen, None)


def test_copies_alone_leave_no_unseen_clips():
    scores, labels = guesses(40)
    assert measure(scores, labels, torch.zeros(40, dtype=torch.bool))["accuracy"].unseen is None


def test_what_scores_do_not_allow_is_left_out():
    scores, labels = torch.eye(3)[torch.tensor([0, 1, 1])], torch.tensor([0, 1, 2])
    everything = torch.ones(3, dtype=torch.bool)
    assert measure(scores, labels, everything).keys() == {
        "accuracy",
        "mean_class_accuracy",
        "macro_f1",
        "expected_calibration_error",
    }
    assert "expected_calibration_error" not in measure(3 * scores, labels, everything)


def test_accuracies():
    scores, labels = torch.eye(3), torch.tensor([0, 1, 1])
    assert accuracy(scores, labels) == pytest.approx(200 / 3)
    assert per_class(scores, labels, ["a", "b", "c"]) == {"a": 100, "b": 50}


def test_everything_has_a_title():
    assert all(title and title != name for name, title in (MEASURES | BASELINES).items() if name != "accuracy")


def test_the_calibration_error_is_a_loop_over_bins():
    scores, labels = guesses()
    confidence, guess = scores.double().max(1)
    expected = 0.0
    for i in range(measures.BINS):
        inside = (confidence > i / measures.BINS) & (confidence <= (i + 1) / measures.BINS)
        if inside.any():
            gap = (guess == labels)[inside].double().mean() - confidence[inside].mean()
            expected += inside.double().mean().item() * abs(gap.item())
    assert calibration_error(scores, labels) == pytest.approx(100 * expected)
    sure = F.one_hot(labels, 8).float()
    assert calibration_error(sure, labels) == pytest.approx(0)
    assert calibration_error(sure.roll(1, 1), labels) == pytest.approx(100)
    assert calibration_error(2 * sure, labels) is None  # no probabilities
    assert calibration_error(torch.tensor([[1.5, -0.5]]), torch.tensor([0])) is None


def test_classes_that_tie_with_the_true_one_come_first():
    votes = torch.zeros(2, 9)
    votes[0, 3], votes[1, 4] = 1, 1
    assert top_k(votes, torch.tensor([3, 0]), 5) == 50  # one neighbour knows nothing of the others
    assert top_k(votes[:, :5], torch.tensor([3, 0]), 5) is None


def test_an_interval_is_as_wide_as_theory_says():
    values = 100 * (np.arange(400) % 5 > 0).astype(float)  # 80 %
    low, high = interval(values)
    assert (low, high) == interval(values)
    assert (high - low) / 2 == pytest.approx(196 * (0.8 * 0.2 / 400) ** 0.5, rel=0.1)
    assert (low + high) / 2 == pytest.approx(80, abs=0.7)
    assert interval(values, seed=1) != (low, high)
    assert interval(np.array([70.0])) == (70, 70)


def test_an_interval_needs_no_more_memory_than_it_is_given(monkeypatch):
    values = np.random.default_rng(0).random(50)
    whole = interval(values)
    monkeypatch.setattr(measures, "_AT_ONCE", 333)
    np.testing.assert_allclose(interval(values), whole, atol=0.01)


def test_average_precision_is_scikit_learns():
    g = torch.Generator().manual_seed(0)
    gallery, queries = torch.randn(40, 6, generator=g), torch.randn(300, 6, generator=g)  # more than one piece
    labels, truth = torch.arange(40) % 4, torch.arange(300) % 5
    found = average_precisions(gallery, labels, 3 * queries, truth)
    similarity = F.normalize(queries, dim=1) @ F.normalize(gallery, dim=1).T
    for row, own, value in zip(similarity, truth, found, strict=True):
        if own == 4:  # no such class in the gallery
            assert value.isnan()
        else:
            assert value.item() == pytest.approx(100 * average_precision_score(labels == own, row), abs=1e-3)

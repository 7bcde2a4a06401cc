"""Measures beside accuracy: against scikit-learn and plain loops, and as every result holds them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from kinemask.protocols.protocols import evaluate
from kinemask.runs.metrics import average_precisions, calibration_error, confusion, interval, measures, top_k
from kinemask.runs.results import mean_details, read_results, table
from sklearn.metrics import average_precision_score, f1_score, top_k_accuracy_score

from kinemask.models.encoders import load_encoder
from kinemask.protocols.features import Features, parts
from kinemask.runs import metrics
from kinemask.training.pretraining import pretrain
from test_training import make_settings


def guesses(count=300, classes=8, seed=0):
    """Probabilities that are right more often than not, and labels; class 7 never occurs, class 6 is never guessed."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes - 1, (count,), generator=g)
    logits = torch.randn(count, classes, generator=g) + 1.5 * F.one_hot(labels, classes)
    logits[:, 6] -= 20
    return logits.softmax(1), labels


def test_measures_are_those_of_the_books():
    scores, labels = guesses()
    found = measures(scores, labels)
    m, truth, guess = found["metrics"], labels.numpy(), scores.argmax(1).numpy()
    assert m["top1"] == pytest.approx(100 * (truth == guess).mean())
    assert m["top5"] == pytest.approx(100 * top_k_accuracy_score(truth, scores.numpy(), k=5, labels=range(8)))
    recalls = [(guess[truth == c] == c).mean() for c in np.unique(truth)]
    assert m["mean_class_accuracy"] == pytest.approx(100 * np.mean(recalls))
    assert m["macro_f1"] == pytest.approx(100 * f1_score(truth, guess, average="macro", zero_division=0))
    counts = confusion(scores, labels)
    assert counts.shape == (8, 8)
    assert all(counts[a, b] == ((truth == a) & (guess == b)).sum() for a in range(8) for b in range(8))
    low, high = found["confidence_interval"]
    assert low < m["top1"] < high


def test_the_calibration_error_is_a_loop_over_bins():
    scores, labels = guesses()
    confidence, guess = scores.double().max(1)
    expected = 0.0
    for i in range(metrics.BINS):
        inside = (confidence > i / metrics.BINS) & (confidence <= (i + 1) / metrics.BINS)
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
    assert (low, high) == tuple(interval(values))
    assert (high - low) / 2 == pytest.approx(196 * (0.8 * 0.2 / 400) ** 0.5, rel=0.1)
    assert (low + high) / 2 == pytest.approx(80, abs=0.7)
    assert interval(values, seed=1) != [low, high]
    assert interval(np.array([70.0])) == [70, 70]


def test_an_interval_needs_no_more_memory_than_it_is_given(monkeypatch):
    values = np.random.default_rng(0).random(50)
    whole = interval(values)
    monkeypatch.setattr(metrics, "_AT_ONCE", 333)
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


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory) -> Path:
    return pretrain(make_settings(tiny, training_epochs=1), tmp_path_factory.mktemp("metrics") / "run", quiet=True)


def test_retrieval_finds_precisions_and_their_controls(run, tiny):
    (result,) = evaluate("retrieval", run, tiny.path, "xcam", device="cpu")
    train, test = parts(tiny, "xcam", "cpu", "fill")
    features = Features(load_encoder(run), train, test)
    gallery, queries = (features.test_views(part)[0] for part in (train, test))
    expected = average_precisions(gallery, train.labels, queries, test.labels)
    assert result["mean_average_precision"] == pytest.approx(expected.mean().item(), abs=1e-3)
    low, high = result["mean_average_precision_interval"]
    assert low < result["mean_average_precision"] < high
    (knn,) = evaluate("knn", run, tiny.path, "xcam", device="cpu")
    assert result["accuracy"] == knn["accuracy"]  # precision at 1
    details = result["controls"]["details"]
    assert details.keys() == {"untrained_encoder", "raw_coordinates"}
    precisions = [d["mean_average_precision"] for d in details.values()]
    assert all(0 < p < 100 for p in precisions)
    assert len({result["mean_average_precision"], *precisions}) == 3
    shown = table([result])
    assert f"95 % interval over test clips: {result['confidence_interval'][0]:.1f} to" in shown
    for value in (result["mean_average_precision"], *precisions):
        assert f"{value:.1f} %" in shown


def test_every_result_has_measures_interval_and_confusion(run, tiny):
    (result,) = evaluate("knn", run, tiny.path, "xcam", device="cpu", controls=False)
    kept = next(r for r in read_results(run) if r["hash"] == result["hash"])
    with np.load(kept["scores"], allow_pickle=False) as arrays:
        a = dict(arrays)
    again = measures(torch.from_numpy(a["scores"]), torch.from_numpy(a["labels"]))
    assert {k: kept[k] for k in again} == json.loads(json.dumps(again))
    assert kept["metrics"]["top1"] == pytest.approx(kept["accuracy"])
    assert np.trace(a["confusion"]) == round(kept["accuracy"] / 100 * kept["test_clips"])
    assert a["unseen"].sum() == kept["test_clips_unseen"]
    assert list(a["names"][~a["unseen"]]) == ["copy"]


def test_details_of_several_outcomes_are_averaged():
    a, b = {"x": 1.0, "c": {"levels": [0.1, 0.2], "y": [1, 2]}}, {"x": 2.0, "c": {"levels": [0.1, 0.2], "y": [3, 2]}}
    assert mean_details([a, b]) == {"x": 1.5, "c": {"levels": [0.1, 0.2], "y": [2, 2]}}

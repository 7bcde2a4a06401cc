"""Retrieval: training clips ranked for each test clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from helpers import PLAIN, make_settings
from kinemask.models.encoders import load_encoder
from kinemask.protocols.evaluate import evaluate
from kinemask.protocols.features import Features
from kinemask.protocols.retrieval import mean_average_precision
from kinemask.runs.measures import average_precisions, measure
from kinemask.runs.run import Run
from kinemask.runs.text import table
from kinemask.training.pretraining import pretrain
from kinemask.windows.parts import parts


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory) -> Path:
    return pretrain(make_settings(tiny, training_epochs=1), tmp_path_factory.mktemp("retrieval") / "run", quiet=True)


def test_retrieval_finds_precisions_and_their_baselines(run, tiny):
    results = evaluate("retrieval", run, tiny.path, "xcam", device="cpu")
    (result,) = results
    found = result.measures["mean_average_precision"]
    train, test = parts(tiny, "xcam", torch.device("cpu"), "fill")
    features = Features(load_encoder(run), train, test)
    gallery, queries = (features.test_views(part.tracks)[0] for part in (train, test))
    expected = average_precisions(gallery, train.labels, queries, test.labels)
    assert found.value == pytest.approx(expected.mean().item(), abs=1e-3)
    low, high = found.interval
    assert low < found.value < high
    (knn,) = evaluate("knn", run, tiny.path, "xcam", device="cpu", baselines=False)
    assert result.accuracy == knn.accuracy  # precision at 1
    assert result.baselines.keys() == {"untrained_encoder"} | PLAIN
    precisions = [b.measures["mean_average_precision"].value for b in result.baselines.values()]
    assert all(0 < p < 100 for p in precisions)
    assert len({found.value, *precisions}) > 3
    shown = table(results)
    assert f"95 % interval over test clips: {result.measures['accuracy'].interval[0]:.1f} to" in shown
    for value in (found.value, *precisions):
        assert f"{value:.1f} %" in shown


def test_scores_that_are_kept_give_the_measures_again(run, tiny):
    (result,) = evaluate("knn", run, tiny.path, "xcam", device="cpu", baselines=False)
    kept = next(r for r in Run(run).results() if r.hash == result.hash)
    a = kept.scores()
    again = measure(*(torch.from_numpy(a[name]) for name in ("scores", "labels", "unseen")))
    assert kept.measures == again
    assert np.trace(a["confusion"]) == round(kept.accuracy / 100 * kept.test_clips)
    assert a["unseen"].sum() == kept.test_clips_unseen
    assert list(a["names"][~a["unseen"]]) == ["copy"]


def test_a_gallery_without_the_classes_that_are_asked_for_is_told():
    x = torch.eye(3)
    with pytest.raises(ValueError, match="no class of the test part"):
        mean_average_precision(x, torch.zeros(3, dtype=torch.long), x, torch.ones(3, dtype=torch.long))

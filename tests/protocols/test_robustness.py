"""The robustness protocol: curves of accuracy over levels of corruption."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers import PLAIN, make_settings
from kinemask.protocols.evaluate import evaluate
from kinemask.protocols.robustness import curves
from kinemask.protocols.settings import RobustnessSettings
from kinemask.reports import figures
from kinemask.reports.runs import read_runs
from kinemask.runs.measures import BASELINES, accuracy
from kinemask.runs.result import Results, read_result
from kinemask.runs.text import table
from kinemask.training.pretraining import pretrain
from kinemask.windows.corruption import corrupt
from kinemask.windows.parts import parts
from kinemask.windows.settings import CORRUPTIONS
from kinemask.windows.tracks import Tracks

HEAD = {"epochs": 4, "batch_size": 16, "views": 1}
LEVELS = {"joints": [0.2, 0.6], "parts": [], "noise": [0.1], "dropped": [0.5], "rate": [0.5], "camera": []}


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory) -> Path:
    return pretrain(make_settings(tiny, training_epochs=1), tmp_path_factory.mktemp("robustness") / "run", quiet=True)


@pytest.fixture(scope="module")
def results(run, tiny) -> Results:
    return evaluate("robustness", run, tiny.path, "xcam", device="cpu", seed=[0, 1], **HEAD, **LEVELS)


def test_curves_are_of_the_probe_and_of_its_baselines(run, tiny, results):
    (linear,) = evaluate("linear", run, tiny.path, "xcam", device="cpu", baselines=False, **HEAD)
    kept = read_result(Path(results[0].path))
    assert kept == results[0]
    assert kept.accuracy == linear.accuracy  # the same head, on clean clips
    assert kept.baselines.keys() == {"untrained_encoder"} | PLAIN
    for scored in (kept, *kept.baselines.values()):
        assert {kind: curve.levels for kind, curve in scored.curves.items()} == {
            "joints": (0, 0.2, 0.6),
            "noise": (0, 0.1),
            "dropped": (0, 0.5),
            "rate": (1, 0.5),
        }
        for kind, curve in scored.curves.items():
            assert curve.title == CORRUPTIONS[kind]
            assert curve.accuracy[0] == pytest.approx(scored.accuracy)
            assert all(0 <= value <= 100 for value in curve.accuracy)
    assert results[0].curves != results[1].curves
    assert "0: " in next(line for line in table(results).splitlines() if "occluded joints" in line)


def test_a_curve_measures_corrupted_clips(tiny):
    """Against corrupting and scoring by hand, with a score that sees how large the body is."""
    _, test = parts(tiny, "xcam", torch.device("cpu"), "fill")

    def sizes(tracks: Tracks) -> torch.Tensor:
        size = torch.stack([body.std() for body in tracks.frames.split(tracks.length.tolist())])
        return torch.stack([size[tracks.clip == i].mean() for i in range(len(tracks.clips))])

    usual = sizes(test.tracks).median()
    classes = lambda tracks: torch.stack([sizes(tracks) < usual, sizes(tracks) >= usual, sizes(tracks) > 9], 1).float()
    settings = RobustnessSettings(**HEAD, **LEVELS | {"joints": [0.5], "noise": []})
    found = curves(test, settings, 5, classes)["joints"]
    worse = Tracks(corrupt(tiny, test.clips, "joints", 0.5, 5))
    assert found.accuracy == tuple(accuracy(classes(tracks), test.labels) for tracks in (test.tracks, worse))
    assert found.accuracy[0] != found.accuracy[1]


def test_the_report_draws_the_curves(run, tiny, results):
    evaluate("knn", run, tiny.path, "xcam", device="cpu", baselines=False)  # has none
    (drawn,) = figures.conditions(read_runs([run])[0])
    assert "mean of 2 seeds" in drawn.title
    assert [curve.title for curve in drawn.curves] == ["occluded joints", "noise", "dropped frames", "frame rate"]
    names = ["this encoder", "untrained encoder", *(BASELINES[name] for name in BASELINES if name in PLAIN)]
    assert [name for _, name in drawn.key] == names
    for curve in drawn.curves:
        assert [series.name for series in curve.series] == names
        assert all(re.fullmatch(r"M[\d.]+,[\d.]+(L[\d.]+,[\d.]+)+", series.path) for series in curve.series)
        for point in (point for series in curve.series for point in series.points):
            assert curve.box.top <= point.y <= curve.box.bottom
            assert curve.box.left <= point.x <= curve.box.right
    mean = np.mean([r.curves["joints"].accuracy[-1] for r in results])
    assert drawn.curves[0].last == pytest.approx(mean)
    assert drawn.curves[0].series[0].points[-1].about == f"this encoder, 0.6: {mean:.1f} %"
    shown = read_runs([run])[0]
    stale = [replace(e, stale=True) for e in shown.evaluations]
    assert figures.conditions(replace(shown, evaluations=stale)) == []


@pytest.mark.parametrize(
    "change, told",
    [
        ({"joints": [1.5]}, "levels of joints"),
        ({"joints": [0.0]}, "levels of joints"),
        ({"parts": [6]}, "levels of parts"),
        ({"parts": [1.5]}, "whole numbers"),
        ({"noise": [float("nan")]}, "levels of noise"),
        ({"rate": [float("inf")]}, "levels of rate"),
        ({"dropped": [-0.1]}, "levels of dropped"),
        ({"epochs": 0}, "epochs"),
        ({kind: [] for kind in CORRUPTIONS}, "nothing to measure"),
    ],
    ids=str,
)
def test_bad_levels_are_told(change, told):
    with pytest.raises(ValueError, match=told):
        RobustnessSettings(**change)

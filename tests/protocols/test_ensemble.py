"""Ensembles: stored scores of several runs, added clip by clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from kinemask.protocols.ensemble import ensemble
from kinemask.reports.published import place
from kinemask.runs.measures import accuracy, measure
from kinemask.runs.result import Results, read_result, read_results
from kinemask.runs.text import table
from made_results import LABELS, NAMES, keep_scores


def test_scores_are_added_clip_by_clip(tmp_path):
    runs = [tmp_path / name for name in ("joint", "motion", "bone")]
    kept = [keep_scores(runs[0]), keep_scores(runs[1], order=range(39, -1, -1))]
    kept.append(keep_scores(runs[2], order=torch.randperm(40)))
    for weights, shares in ((None, [1 / 3] * 3), ([2, 1, 1], [0.5, 0.25, 0.25]), ([0, 3, 0], [0, 1, 0])):
        (found,) = ensemble(runs, weights=weights)
        fused = sum(share * scores for share, (_, scores) in zip(shares, kept, strict=True))
        assert found.accuracy == accuracy(fused, LABELS)
        assert found.unseen == accuracy(fused[5:], LABELS[5:])
        expected = measure(fused, LABELS, torch.arange(40) > 4)
        values = lambda measures: {name: one.value for name, one in measures.items()}
        assert values(found.measures) == pytest.approx(values(expected), abs=1e-4)
        assert found.measures["accuracy"].interval == expected["accuracy"].interval
        assert [m.weight for m in found.members] == pytest.approx(shares)
        assert [m.accuracy for m in found.members] == [result.measures["accuracy"] for result, _ in kept]
        assert [m.hash for m in found.members] == [result.hash for result, _ in kept]
        assert [m.stream for m in found.members] == ["joint", "motion", "bone"]
        path = Path(found.path)
        assert path.parent == runs[0] / "evaluations"
        assert read_result(path) == found
        stored = found.scores()
        np.testing.assert_allclose(stored["scores"], fused, atol=1e-6)
        assert list(stored["names"]) == NAMES
    assert len({r.hash for r in read_results(runs[0])}) == 4  # its own, and three ensembles
    assert "motion (motion, weight" in table(Results([found]))
    assert place(found) == ("nw-ucla", "xview", "linear", "")


def test_one_evaluation_of_each_run_must_be_left(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    results = [keep_scores(run, seed=seed)[0] for run in (a, b) for seed in (0, 1)]
    keep_scores(a, protocol="knn")
    with pytest.raises(ValueError, match=r"which evaluation.*knn nw-ucla xview, seed 0.*linear nw-ucla"):
        ensemble([a, b])
    with pytest.raises(ValueError, match=r"b has no evaluation with protocol knn.*it has: linear"):
        ensemble([a, b], protocol="knn")
    with pytest.raises(ValueError, match="has no evaluation with split xsub"):
        ensemble([a, b], split="xsub")
    both = ensemble([a, b], protocol="linear", data="nw-ucla", seed=[0, 1])
    assert [r.seed for r in both] == [0, 1]
    (one,) = ensemble([a, b], hashes=[results[1].hash, results[2].hash])
    assert [m.seed for m in one.members] == [1, 0]
    (again,) = ensemble([a, b], protocol="linear", seed=0)  # ensembles are no members
    assert again == both[0]


@pytest.mark.parametrize(
    "change, told",
    [
        ({"names": [*NAMES[:-1], "other"]}, r"other test clips.*lacks 1, such as clip39.*besides 1, such as other"),
        ({"names": NAMES[:30], "labels": LABELS[:30]}, "lacks 10, such as clip30"),
        ({"names": ["twice"] * 2 + NAMES[2:]}, "same name"),
        ({"labels": LABELS.flip(0)}, "other labels"),
        ({"split": "xsub"}, r"split xsub.*xview"),
        ({"data": "utd-mhad"}, r"data utd-mhad.*nw-ucla"),
        ({"protocol": "knn"}, r"protocol knn.*linear"),
        ({"classes": ["a", "b", "c", "e"]}, "classes"),
        ({"store_sha256": {"clips.csv": "1"}}, "different stores of nw-ucla"),
    ],
    ids=lambda v: str(v)[:30],
)
def test_members_that_do_not_fit_are_told(change, told, tmp_path):
    keep_scores(tmp_path / "a")
    keep_scores(tmp_path / "b", **change)
    with pytest.raises(ValueError, match=told):
        ensemble([tmp_path / "a", tmp_path / "b"])
    assert len(read_results(tmp_path / "a")) == 1  # nothing was written


def test_other_mistakes_of_ensembles_are_told(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    for weights in ([1], [1, -1], [0, 0], [float("nan"), 1]):
        with pytest.raises(ValueError, match="weights"):
            ensemble([a, b], weights=weights)
    with pytest.raises(ValueError, match="at least two"):
        ensemble([a])
    with pytest.raises(ValueError, match="it has: none"):
        ensemble([a, b])
    one, _ = keep_scores(a)
    old, _ = keep_scores(b, encoder_sha256="of an encoder that is gone")
    with pytest.raises(ValueError, match="encoder has changed"):
        ensemble([a, b])
    assert ensemble([a, b], hashes=[old.hash, one.hash])
    with pytest.warns(UserWarning, match="more than once"):
        ensemble([a, a], protocol="linear")
    with pytest.raises(ValueError, match="typo is not a run"):
        ensemble([a, b], out=tmp_path / "typo")
    old.scores_path.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="are damaged"):
        ensemble([a, b], hashes=[old.hash, one.hash])
    old.scores_path.unlink()
    with pytest.raises(ValueError, match="are absent"):
        ensemble([a, b], hashes=[old.hash, one.hash])

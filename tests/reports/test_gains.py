"""One run's evaluation beside another's: differences add up, whatever the order of clips and the classes shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from kinemask.reports.gains import OTHERS, confusion, gains, percentages, shares
from kinemask.reports.runs import Shown, read_runs
from made_results import CLASSES, LABELS, keep_scores

CONFIG = {"method": "mamp", "data": "gone", "split": "xview", "seed": 0}


def shown(path: Path, **changes) -> Shown:
    """A run of random scores."""
    path.mkdir()
    (path / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    keep_scores(path, **changes)
    return read_runs([path])[0]


@pytest.fixture
def pair(tmp_path):
    order = np.random.default_rng(0).permutation(40)
    return shown(tmp_path / "ours"), shown(tmp_path / "theirs", order=order)


@pytest.mark.parametrize("names", [[], ["a"], ["d", "b"]], ids=str)
def test_differences_add_up(pair, names):
    found = gains(*pair, names)
    table = found.confusion
    assert table.rows == (sorted(names) or CLASSES)
    assert table.columns == [*table.rows, *([OTHERS] if names else [])]
    np.testing.assert_allclose(table.values.sum(1), 0, atol=1e-9)
    assert table.clips == [10] * len(table.rows)
    by_class = {name: gain for name, gain, _ in found.classes}
    np.testing.assert_allclose(np.diag(table.values), [by_class[name] for name in table.rows])
    assert sum(gain * clips for _, gain, clips in found.classes) / found.clips == pytest.approx(found.gain)
    assert found.interval[0] <= found.gain <= found.interval[1]
    ours, theirs = (run.main.first for run in pair)
    assert found.accuracy == pytest.approx((ours.accuracy, theirs.accuracy))


def test_the_other_way_round_is_the_negative(pair):
    one, other = gains(*pair), gains(*pair[::-1])
    np.testing.assert_allclose(one.confusion.values, -other.confusion.values)
    assert one.gain == pytest.approx(-other.gain)
    assert one.interval == pytest.approx(tuple(-bound for bound in other.interval[::-1]), abs=0.01)


def test_a_run_gains_nothing_over_itself(pair):
    found = gains(pair[0], pair[0])
    assert not found.confusion.values.any()
    assert found.interval == (0, 0)


def test_several_seeds_are_averaged(tmp_path):
    both = shown(tmp_path / "both")
    keep_scores(both.run.path, seed=1)
    both = read_runs([both.run.path])[0]
    other = shown(tmp_path / "other")
    found = gains(both, other)
    assert found.seeds == (2, 1)
    assert found.accuracy[0] == pytest.approx(np.mean(both.main.values()))


def test_a_table_is_counted_by_hand():
    table = percentages(np.array([0, 0, 0, 0, 2, 2]), [np.array([0, 0, 0, 1, 2, 0])], 4)
    np.testing.assert_allclose(table, [[75, 25, 0, 0], [0] * 4, [50, 0, 50, 0], [0] * 4])
    found = shares(table, CLASSES, [0, 2])
    np.testing.assert_allclose(found.values, [[75, 0, 25], [50, 50, 0]])


def test_many_classes_are_those_that_change_most():
    labels, names = np.arange(60).repeat(3), [f"class {i}" for i in range(60)]
    guess = np.where(labels % 7 == 0, (labels + 1) % 60, labels)
    from kinemask.reports.gains import SHOWN, _chosen

    rows = _chosen(names, [], labels, percentages(labels, [guess], 60) - percentages(labels, [labels], 60))
    assert len(rows) == SHOWN
    assert set(range(0, 60, 7)) <= set(rows)


def test_what_cannot_be_compared_is_told(pair, tmp_path):
    with pytest.raises(ValueError, match="no class 'z'"):
        gains(*pair, ["z"])
    with pytest.raises(ValueError, match="no class 'z'"):
        confusion(pair[0].main.first, ["z"])
    with pytest.raises(ValueError, match="ours and elsewhere have no evaluation of the same protocol"):
        gains(pair[0], shown(tmp_path / "elsewhere", split="xsub"))
    pair[1].main.first.scores_path.unlink()
    with pytest.raises(ValueError, match="absent"):
        gains(*pair)


def test_a_confusion_matrix_is_in_percent_of_its_rows(pair):
    found = confusion(pair[0].main.first, [])
    assert found.rows == CLASSES
    np.testing.assert_allclose(found.values.sum(1), 100)
    assert sum(found.clips) == len(LABELS)

"""Geometry of charts."""

from __future__ import annotations

import numpy as np
import pytest

from kinemask.reports import charts


def test_confusion_has_only_classes_that_occur():
    drawn = charts.confusion(np.array([7, 7, 3]), np.array([7, 3, 3]), [f"class-{i}" for i in range(10)])
    assert [tick.label for tick in drawn.names] == ["class-3 4", "class-7 8"]
    assert len(drawn.counts) == 3
    assert "class-7: 1 of 2 taken for class-3" in [count.about for count in drawn.counts]


@pytest.mark.parametrize("low, high", [(0, 1), (0.2, 0.21), (-3, 4e5), (1e-7, 1e-3), (2, 2)])
def test_ticks_are_round_and_within(low, high):
    found = charts.ticks(low, high)
    assert 1 <= len(found) <= 6
    assert all(low - 1e-9 * abs(high) <= t <= high * (1 + 1e-9) for t in found)


def test_a_sweep_stands_at_its_values_with_error_bars():
    points = [("1", 50.0, 5.0), ("4", 60.0, None), ("2", 40.0, 2.0)]
    chart = charts.swept("here", "pretext.tau", [("one", points), ("two", [("1", 55.0, None)])])
    one, two = chart.series
    first, second, last = one.points  # in the order of the axis
    assert (last.x - first.x) == pytest.approx(3 * (second.x - first.x))
    assert first.y - first.high == pytest.approx(first.low - first.y)
    assert (first.low - first.y) / (second.low - second.y) == pytest.approx(2.5)
    assert last.low == last.high == last.y
    assert [p.about for p in one.points] == ["one, 1: 50.0 ± 5.0 %", "one, 2: 40.0 ± 2.0 %", "one, 4: 60.0 %"]
    assert two.points[0].x == first.x
    assert one.mark != two.mark
    assert all(chart.box.top <= p.high <= p.low <= chart.box.bottom for series in chart.series for p in series.points)


def test_values_that_are_no_numbers_stand_at_equal_distances():
    chart = charts.swept("here", "pretext.parts", [("one", [(v, 50.0, None) for v in ("[head]", "[torso]", "[arm]")])])
    first, second, last = (tick.at for tick in chart.x)
    assert second - first == pytest.approx(last - second)
    assert [tick.label for tick in chart.x] == ["[head]", "[torso]", "[arm]"]

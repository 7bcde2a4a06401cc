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

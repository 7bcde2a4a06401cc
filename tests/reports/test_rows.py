"""What a row of the page calls an evaluation."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from kinemask.reports.runs import Evaluation, Shown
from kinemask.reports.tables import results
from kinemask.runs.result import Curve, Results
from made_results import made_result

LABELS = {"labels": Curve(title="labels a class", levels=(1.0,), accuracy=(40.0,))}
NOISE = {"noise": Curve(title="noise", levels=(0.1,), accuracy=(60.0,))}


@pytest.mark.parametrize(
    "changes, protocol, called",
    [
        ({"protocol": "knn", "settings": {"neighbours": 1, "beside": "none"}}, "knn", "knn"),
        ({"protocol": "knn", "settings": {"beside": "convolutions"}}, *["knn + convolutions"] * 2),
        ({"protocol": "probe", "curves": LABELS}, "probe", "probe"),
        ({"protocol": "robustness", "curves": NOISE}, "robustness (clean clips)", "robustness"),
    ],
)
def test_a_row_says_what_stood_beside_and_of_which_clips_it_is(changes, protocol, called):
    run = Shown(
        SimpleNamespace(config={"method": "mamp", "seed": 0}), "run", [Evaluation(Results([made_result(**changes)]))]
    )
    view = results([run])
    assert view is not None
    assert [row.protocol for row in view.rows] == [protocol]
    assert view.bars[0].label == f"{called}, nw-ucla xview"

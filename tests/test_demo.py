"""What the demo says at its end. (The whole demo takes minutes: `make demo`.)"""

from __future__ import annotations

import pytest

from kinemask.demo import FEW, RECIPE, SPLIT, verdict
from kinemask.readers import reader
from kinemask.runs.measures import Measured
from kinemask.runs.result import Curve, Results, Scored
from kinemask.training.settings import Settings
from made_results import made_result


def curve(*values: float) -> dict[str, Curve]:
    return {"labels": Curve(title="labels a class", levels=tuple(map(float, FEW)), accuracy=values)}


def results(own: float, strongest: float) -> Results:
    baselines = {
        "random_convolutions_ridge": Scored(
            measures={"accuracy": Measured(value=strongest)}, curves=curve(20.0, 30.0, 50.0)
        ),
        "untrained_encoder": Scored(measures={"accuracy": Measured(value=5.0)}, curves=curve(22.0, 25.0, 28.0)),
    }
    accuracy = {"accuracy": Measured(value=own, interval=(own - 5, own + 5))}
    return Results([made_result(measures=accuracy, baselines=baselines, curves=curve(31.0, 32.0, 33.0))])


@pytest.mark.parametrize(
    ("own", "strongest", "expected"),
    [
        (45.0, 60.0, "HA-CM is behind by 15.0 points"),
        (60.0, 45.0, "HA-CM is ahead by 15.0 points"),
        (48.0, 50.0, "HA-CM is level: its 95 % interval, 43.0 to 53.0"),
    ],
)
def test_the_verdict_names_the_strongest_baseline_and_who_is_ahead(own, strongest, expected):
    said = verdict(results(own, strongest))
    assert expected in said
    assert f"HA-CM {own} %; strongest baseline {strongest} % (random convolutions, ridge)" in said
    assert "labels a class 1: HA-CM 31.0 %, strongest baseline 22.0 % (untrained encoder)" in said
    assert "labels a class 5: HA-CM 33.0 %, strongest baseline 50.0 % (random convolutions, ridge)" in said


def test_the_demo_names_a_split_and_a_recipe_that_there_are():
    assert SPLIT in reader("synthetic").splits
    assert Settings.from_recipe(RECIPE, {"data": "somewhere", "split": SPLIT}).method == "hacm"

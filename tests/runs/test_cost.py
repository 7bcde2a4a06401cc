"""What an encoder costs."""

from __future__ import annotations

import json

import pytest

from helpers import make_settings
from kinemask.models.encoders import TrainedEncoder, load_encoder
from kinemask.pretext import NAMES, method
from kinemask.runs.cost import Cost, cost, flops
from kinemask.runs.run import Run
from kinemask.skeleton import layout
from kinemask.training.pretraining import pretrain
from kinemask.training.settings import Settings
from made_results import made_result


def test_flops_are_those_of_the_products():
    settings = Settings.from_recipe("mamp-ntu60", {"data": "x", "split": "y", "encoder.layers": 2})
    encoder = method("mamp").build_encoder(layout("ntu25"), settings.sampling.frames, settings.encoder)
    L, D = 30 * 25, 256
    block = 2 * L * D * (3 * D + D + 2 * 4 * D) + 2 * 2 * L * L * D
    assert flops(TrainedEncoder(encoder, settings.sampling, {})) == 2 * L * 4 * 3 * D + 2 * block


@pytest.mark.parametrize("name", NAMES)
def test_every_method_has_a_cost(name, tiny):
    settings = make_settings(tiny, name)
    encoder = method(name).build_encoder(tiny.layout, settings.sampling.frames, settings.encoder)
    assert flops(TrainedEncoder(encoder, settings.sampling, {})) > 1000


def test_costs_of_several_models_add_up():
    one, two = Cost(parameters=1, flops=2, seconds=3.0), Cost(parameters=10, flops=20, seconds=None)
    assert one + one == Cost(parameters=2, flops=4, seconds=6.0)
    assert one + two == Cost(parameters=11, flops=22, seconds=None)


def test_the_cost_of_a_run(tiny, tmp_path):
    folder = pretrain(make_settings(tiny, training_epochs=1, training_warmup_epochs=0), tmp_path / "run", quiet=True)
    assert cost(Run(folder), made_result(weights=str(tmp_path / "gone"))) is None  # a classifier that is no more
    assert cost(Run(folder), made_result()) == cost(Run(folder))
    found = cost(Run(folder))
    assert found.parameters == sum(p.numel() for p in load_encoder(folder).encoder.parameters())
    assert found.seconds > 0
    lines = [{"step": 2, "seconds": 6.0}, {"step": 5, "seconds": 12.0}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert cost(Run(folder)).seconds == 18
    (folder / "metrics.jsonl").unlink()
    assert cost(Run(folder)).seconds is None

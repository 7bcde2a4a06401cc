"""Moving averages of weights, as teachers and momentum encoders are."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kinemask.nn.average import MovingAverage
from tasks import make, wander


@pytest.mark.parametrize(
    ("name", "decay"), [("skeleton2vec", lambda done: 0.9 + 0.1 * done), ("masksem", lambda done: 0.9)]
)
@pytest.mark.parametrize("resumed_at", [None, 37])
def test_the_average_against_a_reference_over_100_steps(name, decay, resumed_at):
    """In float64, one weight after the other; a task that takes over the state half way ends with the same bits."""
    ends = []
    for stop in (None, resumed_at):
        task, generator = make(name, pretext={"ema_decay": 0.9}), torch.Generator().manual_seed(0)
        expected = [p.detach().double().clone() for p in task.encoder.parameters()]
        for step in range(100):
            if step == stop:
                state, task = task.state_dict(), make(name, pretext={"ema_decay": 0.9}, seed=1)
                task.load_state_dict(state)
            wander(task.encoder, generator)
            task.after_step((step + 1) / 100)
            tau = decay((step + 1) / 100)
            expected = [tau * e + (1 - tau) * p for e, p in zip(expected, task.encoder.parameters(), strict=True)]
        average = task.teacher if name == "skeleton2vec" else task.momentum
        ends.append(list(average.module.parameters()))
        for found, wanted in zip(ends[-1], expected, strict=True):
            torch.testing.assert_close(found.double(), wanted, atol=1e-6, rtol=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


def test_an_average_is_never_trained():
    source = nn.Sequential(nn.Linear(3, 3), nn.Dropout())
    average = MovingAverage(source)
    holder = nn.ModuleList([average]).train()
    assert source.training
    assert not any(m.training for m in average.modules())
    assert not any(p.requires_grad for p in average.parameters())
    assert {"0.module.0.weight", "0.module.0.bias"} == set(holder.state_dict())
    source[0].weight.data += 1
    assert not torch.equal(source[0].weight, average.module[0].weight)
    average.update(source, 0.0)
    assert torch.equal(source[0].weight, average.module[0].weight)

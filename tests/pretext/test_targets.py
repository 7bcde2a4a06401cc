"""Targets and the loss on masked tokens, each against a loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kinemask.nn.encoder import segment
from kinemask.pretext import targets
from kinemask.pretext.settings import MAMPSettings
from kinemask.windows.streams import difference
from tasks import BATCH as B
from tasks import FRAMES, S, make, make_batch, outcome, wander

V, P = 15, FRAMES // S


@pytest.mark.parametrize("norm", ["token", "sequence", "none"])
def test_targets_against_a_loop(norm):
    frames = difference(make_batch().x)
    target, mean, scale = targets.normalise(frames, S, norm)
    x = frames.double().numpy()
    for b in range(B):
        for p in range(FRAMES // S):
            for v in range(15):
                values = x[b, p * S : p * S + S, v].reshape(-1)
                over = {"token": values, "sequence": x[b, :, v].reshape(-1), "none": None}[norm]
                if over is not None:
                    values = (values - over.mean()) / np.sqrt(over.var(ddof=1) + 1e-6)
                assert np.abs(target[b, p * 15 + v].numpy() - values).max() < 1e-4
    torch.testing.assert_close(target * scale + mean, segment(frames, S).flatten(1, 2), atol=1e-5, rtol=1e-5)


def test_a_still_token_has_a_finite_target():
    for norm in ("token", "sequence", "none"):
        assert targets.normalise(torch.zeros(1, FRAMES, 15, 3), S, norm)[0].abs().max() == 0


def test_mean_squared_error_against_a_loop():
    predicted, target = torch.randn(3, 10, 6), torch.randn(3, 10, 6)
    weight = torch.rand(3, 10) > 0.4
    expected = [
        np.mean([((predicted[b, i] - target[b, i]) ** 2).mean().item() for i in range(10) if weight[b, i]])
        for b in range(3)
    ]
    assert targets.masked_mean(targets.squared_error(predicted, target), weight).item() == pytest.approx(
        np.mean(expected), rel=1e-5
    )


def test_mae_predicts_coordinates_and_mamp_motion():
    batch = make_batch()
    mae, mamp = make("mae", pretext={"target_norm": "none"}), make("mamp", pretext={"target_norm": "none"})
    motion = torch.cat([batch.x[:, 1:] - batch.x[:, :-1], torch.zeros(B, 1, 15, 3)], 1)
    assert torch.equal(mae.target(batch).tokens, segment(batch.x, S).flatten(1, 2))
    torch.testing.assert_close(mamp.target(batch).tokens, segment(motion, S).flatten(1, 2))
    as_mamp = make("mae", pretext={"masking": "motion", "predict": "motion"})
    assert outcome(as_mamp, batch) == outcome(make("mamp"), batch)
    assert MAMPSettings().masking == "motion"


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_acceleration_of_few_frames(frames):
    found = targets.acceleration(torch.arange(frames).float().square().view(1, frames, 1, 1))
    assert found.flatten().tolist() == ([2.0, 0.0, 0.0] if frames == 3 else [0.0] * frames)


def slow_contextual(layers):
    """Instance then layer normalisation in float64, one channel and one token at a time."""
    mean = np.zeros(layers[0].shape)
    for y in layers:
        for b in range(y.shape[0]):
            for d in range(y.shape[2]):
                column = y[b, :, d]
                mean[b, :, d] += (column - column.mean()) / np.sqrt(column.var() + 1e-5) / len(layers)
    for b in range(mean.shape[0]):
        for i in range(mean.shape[1]):
            token = mean[b, i]
            mean[b, i] = (token - token.mean()) / np.sqrt(token.var() + 1e-5)
    return mean


@pytest.mark.parametrize("top_k", [0, 1, 2])
def test_contextual_targets_against_a_loop(top_k):
    """What the teacher's MLPs put out when it encodes the whole clip, caught in its ordinary forward pass."""
    task, batch = make("skeleton2vec", pretext={"top_k_layers": top_k}), make_batch()
    wander(task.teacher, torch.Generator().manual_seed(0))  # the student's are others
    caught = []
    for block in task.teacher.module.trunk.blocks:
        block.mlp.register_forward_hook(lambda m, i, out: caught.append(out.double().numpy()))
    with torch.no_grad():
        task.teacher.module(batch.x)
        expected = slow_contextual(caught[-top_k:] if top_k else caught)
        target = task.target(batch)
    np.testing.assert_allclose(target.tokens.numpy(), expected, atol=2e-5)
    assert target.mean.abs().max() == 0
    assert (target.scale == 1).all()


def test_targets_are_normalised_in_float32():
    layers = [100 + torch.randn(2, 40, 16) for _ in range(2)]
    with torch.autocast("cpu", torch.bfloat16):
        found = targets.contextual(layers)
    np.testing.assert_allclose(found.numpy(), slow_contextual([y.double().numpy() for y in layers]), atol=1e-4)
    assert targets.contextual([y.bfloat16() for y in layers]).dtype == torch.float32

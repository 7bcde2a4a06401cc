"""MaskSem: activations of a momentum encoder, what they mask, and losses of velocity and acceleration."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from kinemask.pretext import masks
from kinemask.pretext.settings import MaskSemSettings
from kinemask.skeleton import layout
from kinemask.windows.sampler import Sampler
from kinemask.windows.settings import SamplingSettings
from kinemask.windows.tracks import Tracks
from tasks import BATCH as B
from tasks import (
    FRAMES,
    S,
    again,
    make,
    make_batch,
    masked,
    outcome,
    wander,
)

V, P = 15, FRAMES // S


@pytest.mark.parametrize("reference", ["dataset", "batch"])
def test_activations_against_autograd_through_the_encoder(reference):
    """The whole of Eq. 3-7, on the momentum encoder's own output, with the reference encoded by itself."""
    task, batch = make("masksem", pretext={"smoothing": "none", "reference": reference}), make_batch()
    wander(task.momentum, torch.Generator().manual_seed(0))
    static = batch.x.mean(0) if reference == "batch" else task.reference
    encoder = task.momentum.module
    features = encoder(batch.x).requires_grad_()
    z, z_static = features.mean((1, 2)), encoder(static[None]).mean((1, 2))
    similarity = (z * z_static).sum(-1) / z.norm(dim=-1) / z_static.norm(dim=-1)
    (gradient,) = torch.autograd.grad(-similarity.sum(), features)
    expected = torch.einsum("bpvd,bd->bpv", features, gradient.relu().mean((1, 2))).relu()
    torch.testing.assert_close(task.activation(batch.x), expected.detach(), atol=1e-9, rtol=1e-3)


def test_smoothing_averages_over_the_neighbours():
    smooth, plain = (make("masksem", pretext={"smoothing": how}) for how in ("adjacency", "none"))
    x, joints = make_batch().x, smooth.encoder.joints.tolist()
    rough, found, of = plain.activation(x), smooth.activation(x), layout("sbu15")
    for i, a in enumerate(joints):
        near = [j for j, b in enumerate(joints) if b == a or (a, b) in of.edges or (b, a) in of.edges]
        torch.testing.assert_close(found[..., i], rough[..., near].mean(-1))


def test_the_map_does_not_saturate():
    task = make("masksem")
    found = task.activation(make_batch().x).flatten(1)
    share = found / found.amax(1, keepdim=True)
    assert (share == 1).sum(1).tolist() == [1] * B
    assert (share > 0.99).float().mean() < 0.05
    assert share.std() > 0.05


def test_the_papers_score_to_the_letter_is_uniform():
    task, x = make("masksem"), make_batch().x
    found = task.activation(x).flatten(1)
    raw, relative = (masks.log_probability(found, 0.8, relative=r).exp() for r in (False, True))
    assert raw.amax(1).div(raw.amin(1)).max() < 1.02
    assert relative.amax(1).div(relative.amin(1)).min() > 2


def test_what_is_most_active_is_masked():
    """Without chance (tau → 0) the masked token is the most active one."""
    batch = make_batch()
    tokens = make("masksem").encoder.tokens
    task = make("masksem", pretext={"tau": 1e-4, "mask_ratio": 1 / tokens})
    active = task.activation(batch.x).flatten(1)
    assert torch.equal(task.predict(again(batch))[0].masked[:, 0], active.argmax(1))
    shares = []
    for tau in (0.05, 0.8, 50.0):
        masked = make("masksem", pretext={"tau": tau, "mask_ratio": 0.5}).predict(again(batch))[0].masked
        shares.append((active.gather(1, masked).mean() / active.mean()).item())
    assert shares[0] > shares[1] > shares[2]


def test_the_criterion_costs_one_pass_without_gradient():
    task, batch = make("masksem"), make_batch()
    passes = []
    for block in (task.momentum.module.trunk.blocks[0], task.encoder.trunk.blocks[0]):
        block.register_forward_hook(lambda m, i, out: passes.append((len(out), out.requires_grad)))
    task(again(batch))
    assert passes == [(B + 1, False), (B, True)]


def test_the_reference_is_the_mean_of_all_tracks(tiny):
    task, tracks = make("masksem"), Tracks(tiny)
    sampler = Sampler(tracks, SamplingSettings(frames=FRAMES))
    task.prepare(sampler)
    expected = np.zeros((FRAMES, 15, 3))
    for i in range(len(tracks)):
        expected += sampler.test_view(torch.tensor([i]))[0].double().numpy() / len(tracks)
    np.testing.assert_allclose(task.reference.numpy(), expected, atol=1e-6)
    assert "reference" in task.state_dict()
    assert "reference" not in make("masksem", pretext={"reference": "batch"}).state_dict()


def test_an_unknown_reference_is_told():
    task, known = make("masksem"), make("masksem").state_dict()
    task.reference.fill_(torch.nan)  # as before prepare()
    task = load(task.state_dict())
    with pytest.raises(ValueError, match="reference is unknown"):
        task(make_batch())
    task.load_state_dict(known)
    assert task(make_batch())["loss"].isfinite()


def load(state):
    task = make("masksem", seed=1)
    task.load_state_dict(state)
    return task


@pytest.mark.parametrize("velocity", [True, False])
def test_motion_targets_against_a_loop(velocity):
    task, batch = make("masksem", pretext={"target_norm": "none"}, encoder={"joints": "all"}), make_batch()
    x, found = batch.x.double().numpy(), task.motion(batch, velocity).tokens
    for b in range(B):
        for p in range(P):
            for v in range(V):
                expected = []
                for t in range(p * S, p * S + S):
                    if velocity:
                        expected += list(x[b, t + 1, v] - x[b, t, v] if t < FRAMES - 1 else np.zeros(3))
                    else:
                        still = t >= FRAMES - 2
                        expected += list(np.zeros(3) if still else x[b, t + 2, v] - 2 * x[b, t + 1, v] + x[b, t, v])
                assert np.abs(found[b, p * V + v].numpy() - expected).max() < 1e-5


@pytest.mark.parametrize("heads", ["shared", "separate"])
@pytest.mark.parametrize("weighting", ["probability", "none"])
def test_the_loss_against_a_loop(heads, weighting):
    settings = {"heads": heads, "weighting": weighting, "acceleration_weight": 0.3, "tau": 0.2}
    task, batch = make("masksem", pretext=settings), make_batch()
    valid = batch.valid.clone()
    valid[0, :, task.encoder.joints[2]] = False
    batch = again(batch, valid=valid)
    losses = {name: value.item() for name, value in task(again(batch, valid=valid)).items()}
    mask, _, predicted, _ = task.predict(again(batch, valid=valid))
    chance = masks.log_probability(task.activation(batch.x).flatten(1), 0.2).exp().double().numpy()
    wanted = [task.motion(batch, velocity).tokens.double().numpy() for velocity in (True, False)]
    predicted, width, found = predicted.detach().double().numpy(), wanted[0].shape[-1], []
    assert predicted.shape[-1] == width * (2 if heads == "separate" else 1)
    for part, target in enumerate(wanted):
        guess = predicted[..., part * width :][..., :width] if heads == "separate" else predicted
        bodies = []
        for b in range(B):
            total = weights = 0.0
            for i, token in enumerate(mask.masked[b].tolist()):
                if b == 0 and token % task.encoder.num_joints == 2:
                    continue
                weight = chance[b, token] if weighting == "probability" else 1.0
                total += weight * ((guess[b, i] - target[b, token]) ** 2).mean()
                weights += weight
            bodies.append(total / weights)
        found.append(np.mean(bodies))
    assert losses["velocity"] == pytest.approx(found[0], rel=1e-4)
    assert losses["acceleration"] == pytest.approx(found[1], rel=1e-4)
    assert losses["loss"] == pytest.approx(0.7 * found[0] + 0.3 * found[1], rel=1e-4)


def test_token_weights_are_1_on_average_and_follow_the_mask():
    task, batch = make("masksem", pretext={"tau": 0.2}), make_batch()
    mask = task.predict(again(batch))[0]
    torch.testing.assert_close(mask.weight.mean(1), torch.ones(B))
    active = task.activation(batch.x).flatten(1).gather(1, mask.masked)
    assert torch.equal(active.argmax(1), mask.weight.argmax(1))
    assert make("masksem", pretext={"weighting": "none"}).predict(again(batch))[0].weight is None


def test_motion_masks_and_velocity_alone_are_mamp():
    """The first row of Table V."""
    options = {"masking": "motion", "predict": "velocity", "weighting": "none"}
    task, mamp, batch = make("masksem", pretext=options), make("mamp"), make_batch()
    assert task.state_dict().keys() == mamp.state_dict().keys()  # no second encoder that nobody asks
    (mask, losses), (mask2, losses2) = ((masked(each, batch), outcome(each, batch)) for each in (task, mamp))
    assert torch.equal(mask.keep, mask2.keep)
    assert losses == losses2


def test_settings_without_effect_are_told():
    with pytest.warns(UserWarning, match=r"smoothing has no effect with motion masks"):
        MaskSemSettings(masking="motion", smoothing="none")
    with pytest.warns(UserWarning, match=r"heads has no effect where one target"):
        MaskSemSettings(predict="velocity", heads="separate")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MaskSemSettings(masking="motion", predict="velocity", weighting="none")

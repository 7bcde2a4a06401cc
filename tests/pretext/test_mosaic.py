"""Mosaic: its targets against scikit-learn's PCA, and what each of its losses sees."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from kinemask.nn.places import COMMON
from kinemask.nn.random_convolutions import RandomConvolutions
from kinemask.pretext.convolution_targets import Components
from kinemask.windows.bodies import channels
from tasks import TRACKS, again, make, make_batch

JOINTS = list(range(len(COMMON)))


def windows(count: int, seed: int = 0) -> torch.Tensor:
    """Made-up common joints (N, T, J, C)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 24, len(COMMON), 3, generator=generator).cumsum(1)


@pytest.mark.parametrize("whiten", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("count", [30, 200])  # fewer and more windows than features
def test_components_are_a_whitened_pca_of_random_convolutions(count, whiten):
    x = windows(count)
    ours = Components.of(x, JOINTS, kernels=40, count=10, whiten=whiten, seed=3)
    channel = channels(x.unsqueeze(1), 0, JOINTS).numpy()
    channel = channel - channel.mean((0, 2), keepdims=True)
    channel /= 3 * np.sqrt(channel.var((0, 2)).mean())
    features = RandomConvolutions(channel.shape[1], 24, 3, 40)(torch.from_numpy(channel)).numpy()
    scale = features.std(0)
    pca = PCA(10, svd_solver="full")
    theirs = pca.fit_transform((features - features.mean(0)) / np.where(scale > 1e-6, scale, 1))
    theirs /= pca.explained_variance_ ** (whiten / 2)
    theirs /= np.sqrt(np.square(theirs).mean())
    found = ours(x).numpy()
    np.testing.assert_allclose(np.abs(found), np.abs(theirs), rtol=2e-2, atol=2e-2)  # up to sign
    assert torch.allclose(ours(windows(5, seed=1)), ours(windows(5, seed=1)))


@pytest.mark.parametrize(("whiten", "least"), [(0.5, 0.5), (1.0, 1.2)])
def test_few_tracks_have_few_components_and_the_rest_is_0(whiten, least):
    found = Components.of(windows(12), JOINTS, kernels=40, count=10, whiten=whiten, seed=0)(windows(12))
    assert (found[:, 6:] == 0).all()
    assert found.square().mean().item() == pytest.approx(1, abs=0.05)  # so the loss weighs as much as with many tracks
    assert (found[:, :6].std(0) > least).all()


def test_a_part_is_of_its_own_joints():
    x = windows(40)
    arm = [i for i, place in enumerate(COMMON) if place.limb == "left_arm"]
    part = Components.of(x, arm, kernels=40, count=5, whiten=0.5, seed=0)
    moved = x.clone()
    moved[:, :, [i for i in JOINTS if i not in (0, *arm)]] += 1.0
    assert torch.equal(part(moved), part(x))
    moved[:, :, arm[-1]] += torch.randn(40, 24, 3)
    assert not torch.allclose(part(moved), part(x))


def test_the_target_is_of_the_clean_clip_whatever_the_batch_is():
    """Augmentation changes what the encoder sees, not what it is to say."""
    task, batch = make("mosaic"), make_batch()
    assert task.clip_target.shape == (TRACKS, 1024)
    wanted = task.clip_target[batch.track]
    task.clip_head = torch.nn.Sequential()
    task.clip_head.forward = lambda tokens: wanted  # an encoder that says it
    terms = task.losses(batch, task.predict(again(batch)))
    assert terms["clip"][1] == 0
    assert terms["parts"][1] > 0
    turned = again(batch, x=-batch.x)
    assert task.losses(turned, task.predict(turned))["clip"][1] == 0


def test_a_part_without_a_kept_token_carries_no_loss():
    task, batch = make("mosaic", pretext={"mask_ratio": 0.5}), make_batch()
    valid = batch.valid.clone()
    arm = task.member[1].bool()
    valid[:, :, task.encoder.joints[arm]] = False  # so its tokens are the last to be kept
    blind = again(batch, valid=valid)
    done = task.predict(blind)
    assert not arm[done.mask.keep % task.encoder.num_joints].any()
    before = task.losses(blind, done)["parts"][1]
    task.part_target[:, 1] += 100
    assert task.losses(blind, done)["parts"][1] == before
    task.part_target[:, 0] += 100
    assert task.losses(blind, done)["parts"][1] > before + 1


def test_masks_are_tubes():
    task, batch = make("mosaic", pretext={"ragged": 0.0, "mask_ratio": 0.6}), make_batch()
    P, V = task.encoder.segments, task.encoder.num_joints
    keep = task.predict(again(batch)).mask.keep
    kept = torch.zeros(len(keep), P * V, dtype=torch.bool).scatter(1, keep, True).view(-1, P, V)
    tubes = kept[:, : P - P % 3].unflatten(1, (-1, 3)).sum(2)
    assert ((tubes == 0) | (tubes == 3)).float().mean() > 0.95  # the last one kept may be cut


def test_without_motion_there_is_no_decoder():
    task = make("mosaic", pretext={"motion_weight": 0.0})
    assert not list(task.decoder.parameters())
    done = task(again(make_batch()))
    assert set(done) == {"loss", "clip", "parts"}
    done["loss"].backward()
    assert all(p.grad is not None for p in task.parameters() if p.requires_grad)


def test_nothing_to_learn_is_refused():
    with pytest.raises(ValueError, match="there is nothing to learn"):
        make("mosaic", pretext=dict.fromkeys(("clip_weight", "part_weight", "motion_weight"), 0.0))

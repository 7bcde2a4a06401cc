"""Masks: how many tokens, which ones, and each criterion's formula against a slow reference."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from kinemask.draws import Draws
from kinemask.nn.encoder import segment
from kinemask.pretext import masks
from kinemask.skeleton import layout
from kinemask.windows.sampler import Batch
from tasks import BATCH as B
from tasks import FRAMES, S, again, make, make_batch, masked

V, P = 15, FRAMES // S


@pytest.mark.parametrize(
    ("tokens", "ratio", "kept"),
    [(750, 0.9, 75), (216, 0.9, 22), (432, 0.9, 43), (10, 0.99, 1), (10, 0.001, 9), (2, 0.5, 1)],
)
def test_counts(tokens, ratio, kept):
    assert masks.kept_count(tokens, ratio) == kept


def test_counts_of_the_papers():
    encoder = {"layers": 1, "width": 8, "heads": 1}
    mamp = make("mamp", "ntu25", encoder={**encoder, "segment_frames": 4}, frames=120)
    assert (mamp.encoder.tokens, mamp.kept) == (750, 75)
    hacm = make("hacm", "ntu25", encoder={**encoder, "segment_frames": 3}, frames=72)
    assert (hacm.encoder.segments, hacm.encoder.tokens, hacm.kept) == (24, 432, 22)
    mask = hacm.predict(make_batch("ntu25", frames=72))[0]
    assert mask.keep.shape == (B, 44)
    even = mask.keep // 18 % 2 == 0
    assert even.sum(1).tolist() == [22] * B


def test_split_keeps_the_lowest_or_highest():
    score = torch.tensor([[3.0, -1.0, 2.0, 0.0]])
    valid = torch.ones(1, 4, dtype=torch.bool)
    assert masks.split(score, 2, valid, "lowest").keep.tolist() == [[1, 3]]
    assert masks.split(score, 2, valid, "highest").keep.tolist() == [[0, 2]]
    assert masks.split(score, 2, valid, "lowest").masked.tolist() == [[2, 0]]
    valid[0, [0, 1]] = False
    assert set(masks.split(score, 2, valid, "lowest").keep[0].tolist()) == {2, 3}
    assert set(masks.split(score, 2, valid, "highest").keep[0].tolist()) == {2, 3}
    assert len(masks.split(score, 3, valid, "highest").keep[0]) == 3


def test_motion_intensity_token_by_token():
    x = make_batch().x.double()
    found = masks.motion_intensity(x, S)
    for b, p, v in [(0, 0, 0), (1, 3, 7), (3, 7, 14), (2, 1, 4)]:
        this, last = (x[b, q * S : q * S + S, v] for q in (max(p, 1), max(p, 1) - 1))
        assert found[b, p, v].item() == pytest.approx((this - last).abs().mean().item())


def test_log_probability_is_the_papers():
    intensity = torch.rand(3, 50).double()
    expected = torch.log(torch.softmax(intensity / (intensity.max(1, keepdim=True).values * 0.8), 1))
    torch.testing.assert_close(masks.log_probability(intensity, 0.8), expected)
    still = masks.log_probability(torch.zeros(2, 50), 0.8)
    torch.testing.assert_close(still, torch.full((2, 50), -math.log(50)))


@pytest.mark.parametrize("mover", [(2, 3), (5, 0), (7, 8)])
def test_mamp_masks_what_moves(mover):
    """One joint moves in one segment. Without chance (tau → 0) it is masked, in the place p*V + v."""
    p, v = mover
    task = make("mamp", pretext={"tau": 1e-3, "mask_ratio": 1 / 120})
    x = torch.zeros(1, FRAMES, 15, 3)
    x[:, p * S :, v] = 1.0
    batch = Batch(x, torch.ones(x.shape[:3], dtype=torch.bool), Draws(0, 1))
    assert task.predict(batch)[0].masked.tolist() == [[p * 15 + v]]


def test_mamp_masks_motion_more_often_and_tau_blurs_it():
    batch = make_batch(count=60)
    shares = []
    for tau in (0.05, 0.8, 50.0):
        task = make("mamp", pretext={"tau": tau, "mask_ratio": 0.5})
        intensity = masks.motion_intensity(batch.x, S).flatten(1)
        masked = task.predict(again(batch))[0].masked
        shares.append((intensity.gather(1, masked).mean() / intensity.mean()).item())
    assert shares[0] > shares[1] > shares[2] > 0.97
    assert shares[2] < 1.1


def test_mamp_without_noise_masks_exactly_what_moves_most():
    batch = make_batch(count=20)
    task = make("mamp", pretext={"gumbel": False})
    intensity = masks.motion_intensity(batch.x, S).flatten(1)
    first, repeated = (task.predict(again(batch, seed=seed))[0] for seed in (0, 1))
    assert torch.equal(first.keep, repeated.keep)
    kept, masked = intensity.gather(1, first.keep), intensity.gather(1, first.masked)
    assert (kept.amax(1) <= masked.amin(1) + 1e-6).all()
    with pytest.raises(ValueError, match=r"pretext\.gumbel: random masks are nothing but noise"):
        make("mae", pretext={"gumbel": False})


def test_mae_masks_at_random():
    task = make("mae")
    keep = task.predict(make_batch(count=500))[0].keep
    share = torch.bincount(keep.flatten(), minlength=120) / 500
    assert (share - 0.1).abs().max() < 6 * math.sqrt(0.09 / 500)


@pytest.mark.parametrize(
    ("name", "pretext"), [("mae", {}), ("mamp", {}), ("hacm", {"criteria": "temporal", "contrast_weight": 0})]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_motion_gives_a_uniform_mask(name, pretext, dtype):
    """Nothing moves, nothing is preferred: every token is kept as often as any other."""
    task, batch = make(name, "sbu15", pretext), make_batch(count=400, still=True)
    nn.init.zeros_(task.encoder.embedding.temporal_position)  # a criterion on embeddings sees positions move
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16), torch.no_grad():
        mask = task.predict(again(batch))[0]
    share = torch.bincount(mask.keep.flatten(), minlength=task.encoder.tokens) / 400
    expected = task.kept / task.encoder.tokens
    assert (share - expected).abs().max() < 6 * math.sqrt(expected / 400)


@pytest.mark.parametrize(
    ("name", "pretext", "touched"),
    [
        ("mae", {}, False),
        ("mamp", {}, False),
        ("hacm", {"radial_weight": 0.0}, False),
        ("hacm", {"gumbel": False}, True),  # they are the root
        ("skeleton2vec", {}, False),
        ("masksem", {}, False),
    ],
)
def test_dropped_joints_and_the_mask(name, pretext, touched):
    task, batch = make(name, "ntu25", pretext, {"joints": "pruned"}), make_batch("ntu25")
    moved = batch.x.clone()
    moved[:, :, [0, 1, 4, 8, 12, 16, 20]] += torch.randn(B, FRAMES, 7, 3)
    before, after = (masked(task, again(batch, x=x)).keep for x in (batch.x, moved))
    assert torch.equal(before, after) != touched


def test_masked_tokens_do_not_leak_into_the_encoder():
    task, batch = make("mamp", encoder={"layers": 2}), make_batch()
    mask, encoded, predicted, _ = task.predict(again(batch))
    tokens = segment(batch.x, S).flatten(1, 2).clone()
    tokens.scatter_(1, mask.masked.unsqueeze(-1).expand(-1, -1, 9), 7.0)
    x = tokens.view(B, FRAMES // S, 15, S, 3).transpose(2, 3).reshape(batch.x.shape)
    task.mask = lambda *_: mask
    _, encoded2, predicted2, _ = task.predict(again(batch, x=x))
    torch.testing.assert_close(encoded2, encoded)
    torch.testing.assert_close(predicted2, predicted)


@pytest.mark.parametrize(
    ("segments", "joints", "length", "ratio", "expected"),
    [
        (30, 25, 5, 0.9, [3, 3, 3, 2, 2, 2]),  # the paper's: 15 joints over 6 tubes, 75 of 750 tokens
        (30, 25, 1, 0.9, [3] * 15 + [2] * 15),
        (30, 25, 30, 0.9, [2]),
        (8, 15, 5, 0.9, [2, 1]),
        (8, 15, 3, 0.5, [8, 7, 7]),
        (4, 2, 1, 0.99, [1, 0, 0, 0]),  # something is seen, and something is masked
        (4, 2, 1, 0.01, [2, 2, 2, 1]),
    ],
)
def test_tube_counts(segments, joints, length, ratio, expected):
    assert masks.tube_counts(segments, joints, length, ratio) == expected


def slow_tube_mask(x, eta, length, beta, ratio):
    """Kept tokens of one body, tube by tube and joint by joint. x (T, V, C), eta (tubes, V)."""
    T, joints, _ = x.shape
    segments = T // S
    tubes = [range(first, min(first + length, segments)) for first in range(0, segments, length)]
    total = round(len(tubes) * joints * (1 - ratio))
    kept = set()
    for i, tube in enumerate(tubes):
        motion = [
            sum(np.abs(x[t + 1, v] - x[t, v]).sum() for p in tube for t in range(p * S, p * S + S) if t + 1 < T)
            for v in range(joints)
        ]
        largest = max(motion) or 1
        chance = [eta[i, v] + beta * motion[v] / largest for v in range(joints)]
        count = total // len(tubes) + (i < total % len(tubes))
        for v in sorted(range(joints), key=chance.__getitem__)[:count]:
            kept |= {p * joints + v for p in tube}
    return kept


@pytest.mark.parametrize("length", [1, 3, 5, P, 99])
@pytest.mark.parametrize(("beta", "ratio"), [(0.0, 0.9), (0.1, 0.9), (2.0, 0.6)])
def test_tube_masks_against_brute_force(length, beta, ratio):
    settings = {"tube_segments": length, "motion_weight": beta, "mask_ratio": ratio}
    task, batch = make("skeleton2vec", pretext=settings, encoder={"joints": "all"}), make_batch()
    found = task.predict(again(batch))[0].keep
    eta = Draws(0, B).uniform(-(-P // length), V).double().numpy()
    for b in range(B):
        expected = slow_tube_mask(batch.x[b].double().numpy(), eta[b], min(length, P), beta, ratio)
        assert set(found[b].tolist()) == expected
        assert len(expected) == task.kept == found.shape[1]


def test_tubes_mask_motion_more_often_unless_they_are_blind():
    batch, shares = make_batch(count=80), []
    for beta in (0.0, 0.5, 5.0):
        task = make("skeleton2vec", pretext={"motion_weight": beta, "mask_ratio": 0.5}, encoder={"joints": "all"})
        motion = masks.tube_intensity(batch.x, S, 5).repeat_interleave(5, 1)[:, :P].flatten(1)
        masked = task.predict(again(batch))[0].masked
        shares.append((motion.gather(1, masked).mean() / motion.mean()).item())
    assert abs(shares[0] - 1) < 0.03
    assert shares[0] < shares[1] < shares[2]


def test_no_motion_gives_uniform_tubes():
    task, batch = make("skeleton2vec", encoder={"joints": "all"}), make_batch(count=400, still=True)
    keep = task.predict(again(batch))[0].keep
    share = torch.bincount(keep.flatten(), minlength=P * V).view(P, V) / 400
    for tube, count in zip((share[:5], share[5:]), task.counts.tolist(), strict=True):
        assert (tube - count / V).abs().max() < 6 * math.sqrt(count / V / 400)


def test_gaps_break_a_tube_no_more_than_they_must():
    """A joint never seen in a tube is not kept there, and the others stay whole tubes."""
    task = make("skeleton2vec", pretext={"mask_ratio": 0.5}, encoder={"joints": "all"})
    batch = make_batch()
    valid = batch.valid.clone()
    valid[:, : 5 * S, :4] = False
    kept = torch.zeros(B, P * V, dtype=torch.bool).scatter_(1, task.predict(again(batch, valid=valid))[0].keep, True)
    kept = kept.view(B, P, V)
    assert not kept[:, :5, :4].any()
    for tube in (kept[:, :5], kept[:, 5:]):
        assert torch.equal(tube, tube[:, :1].expand_as(tube))


def test_grad_cam_against_autograd():
    g = torch.Generator().manual_seed(0)
    features, reference = torch.randn(B, P, V, 16, generator=g), torch.randn(P, V, 16, generator=g)
    features, reference = features.double().requires_grad_(), reference.double()
    z, static = features.mean((1, 2)), reference.mean((0, 1))
    similarity = torch.cosine_similarity(z, static.expand_as(z), dim=-1)
    (gradient,) = torch.autograd.grad(-similarity.sum(), features)
    weight = gradient.relu().mean((1, 2))
    expected = (features * weight[:, None, None]).sum(-1).relu()
    torch.testing.assert_close(masks.grad_cam(features, reference), expected, atol=1e-12, rtol=1e-9)
    assert (expected > 0).double().mean() > 0.2


@pytest.mark.parametrize("joints", ["all", "pruned"])
@pytest.mark.parametrize("how", ["adjacency", "parts", "none"])
def test_smoothing_against_a_loop(how, joints):
    of = layout("ntu25")
    kept = of.kept(joints)
    found = masks.smoothing(of, kept, how)
    part = {v: name for name, members in of.parts.items() for v in members}
    for i, a in enumerate(kept):
        match how:
            case "adjacency":
                near = [b for b in kept if b == a or (a, b) in of.edges or (b, a) in of.edges]
            case "parts":
                near = [b for b in kept if part[b] == part[a]]
            case _:
                near = [a]
        expected = [1 / len(near) if b in near else 0 for b in kept]
        np.testing.assert_allclose(found[i], expected, rtol=1e-6)


def test_grad_cam_by_hand():
    """Two tokens (1, 0) and (0, 1) against (1, 0): the slope of the cosine at their mean is (√½, −√½)."""
    features = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]])
    found = masks.grad_cam(features, torch.tensor([[[1.0, 0.0], [1.0, 0.0]]]))
    torch.testing.assert_close(found, torch.tensor([[[0.0, 0.5**1.5]]]))

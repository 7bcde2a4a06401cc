"""Skeleton2vec and MaskSem: each formula against a slow reference, and what is their own."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import kinemask
from kinemask.draws import Draws
from kinemask.nn.average import MovingAverage
from kinemask.pretext import masks, targets
from kinemask.pretext.settings import MaskSemSettings
from kinemask.skeleton import layout
from kinemask.windows.sampler import Sampler
from kinemask.windows.settings import SamplingSettings
from kinemask.windows.tracks import Tracks
from test_pretext import FRAMES, B, S, again, make, make_batch, outcome, train

V, P = 15, FRAMES // S


# moving averages


def wander(module, generator):
    with torch.no_grad():
        for p in module.parameters():
            p += 0.02 * torch.randn(p.shape, generator=generator)


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


def test_the_teacher_is_the_encoder_for_use_and_stops_at_the_end():
    task = make("skeleton2vec", pretext={"ema_decay": 0.5})
    encoders = task.encoders()
    assert encoders["encoder-student"] is task.encoder
    assert encoders["encoder"] is task.teacher.module
    x = make_batch().x
    assert torch.equal(encoders["encoder"](x), task.encoder(x))  # they start alike
    train(task, make_batch(), steps=2)
    after = [p.clone() for p in encoders["encoder"].parameters()]
    task.after_step(1.0)
    assert all(torch.equal(a, b) for a, b in zip(after, encoders["encoder"].parameters(), strict=True))
    assert not torch.equal(encoders["encoder"](x), task.encoder(x))


# Skeleton2vec


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


def test_targets_do_not_collapse(tiny):
    """A tiny model in training: its targets keep differing from clip to clip. Blind to its input they would not."""
    task = make("skeleton2vec", pretext={"ema_decay": 0.9})
    tracks = Tracks(tiny)
    sampler = Sampler(tracks, SamplingSettings(frames=FRAMES, window="uniform"))
    optimizer = torch.optim.AdamW([p for p in task.parameters() if p.requires_grad], 3e-3)
    spread, losses = [], []
    for step in range(60):
        draws = Draws(step, 16)
        out = task(sampler.sample(torch.arange(step % 2, 32, 2), draws))
        optimizer.zero_grad()
        out["loss"].backward()
        optimizer.step()
        task.after_step(step / 120)
        spread.append(out["target_std"].item())
        losses.append(out["loss"].item())
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])
    assert min(spread) > 0.2
    nn.init.zeros_(task.teacher.module.embedding.tokenizer.weight)
    with torch.no_grad():
        assert task(make_batch())["target_std"] < 1e-3


def test_more_layers_than_there_are_is_told():
    with pytest.raises(ValueError, match=r"top_k_layers 3 is more than encoder\.layers 2"):
        make("skeleton2vec", pretext={"top_k_layers": 3})


# MaskSem


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


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_acceleration_of_few_frames(frames):
    found = targets.acceleration(torch.arange(frames).float().square().view(1, frames, 1, 1))
    assert found.flatten().tolist() == ([2.0, 0.0, 0.0] if frames == 3 else [0.0] * frames)


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
    (mask, losses), (mask2, losses2) = outcome(task, batch), outcome(mamp, batch)
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


# what a run leaves


TINY = {
    "training.epochs": 1,
    "training.warmup_epochs": 0,
    "training.batch_size": 8,
    "training.device": "cpu",
    "encoder.width": 16,
    "encoder.layers": 1,
    "decoder.width": 16,
    "decoder.layers": 1,
    "encoder.joints": "pruned",
}


@pytest.fixture(scope="module")
def runs(tiny, tmp_path_factory):
    """A run with teacher and student, and one without."""
    folder = tmp_path_factory.mktemp("roles")
    recipes = ("skeleton2vec-nw-ucla-small", "masksem-nw-ucla-small")
    return [kinemask.pretrain(r, tiny.path, "xsub", folder / r, quiet=True, **TINY) for r in recipes]


def test_teacher_and_student_are_evaluated_by_their_names(runs, tiny):
    run = runs[0]
    found = {}
    for name in ("encoder", "teacher", "student", "encoder-student"):
        (found[name],) = kinemask.evaluate("knn", run, tiny.path, "xsub", encoder=name, controls=False, device="cpu")
    assert found["teacher"]["path"] == found["encoder"]["path"]
    assert found["student"]["path"] == found["encoder-student"]["path"]
    assert found["teacher"]["encoder_sha256"] != found["student"]["encoder_sha256"]
    assert found["student"]["encoder"] == "encoder-student"


@pytest.mark.parametrize("name", ["teacher", "student"])
def test_a_run_of_one_encoder_says_so(runs, tiny, name):
    with pytest.raises(ValueError, match=r"masksem-nw-ucla-small has no teacher and student"):
        kinemask.evaluate("knn", runs[1], tiny.path, "xsub", encoder=name, device="cpu")


def test_a_run_prepares_its_reference(runs, tiny):
    state = torch.load(runs[1] / "last.pt", weights_only=True)
    assert state["task"]["reference"].isfinite().all()

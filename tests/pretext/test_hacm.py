"""HA-CM: criteria in the Poincaré ball against loops, crossed masks, cross-contrast."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from kinemask.draws import Draws
from kinemask.nn.encoder import segment
from kinemask.pretext.contrast import cross_contrast
from kinemask.pretext.settings import HACMSettings
from kinemask.skeleton import layout
from kinemask.windows.sampler import Batch
from tasks import BATCH as B
from tasks import (
    FRAMES,
    S,
    again,
    make,
    make_batch,
    masked,
    outcome,
)


def reference_distance(u, v):
    return np.arccosh(1 + 2 * ((u - v) ** 2).sum() / ((1 - (u**2).sum()) * (1 - (v**2).sum())))


def embeddings(task, x):
    embedded = task.encoder.embed(x)
    return embedded.detach(), task.encoder.project(embedded).detach()


@pytest.mark.parametrize("joints", ["pruned", "all"])
@pytest.mark.parametrize("radial_weight", [1.0, 0.01])
def test_spatial_criterion_against_a_loop(joints, radial_weight):
    task = make("hacm", pretext={"radial_weight": radial_weight}, encoder={"joints": joints})
    batch, of, encoder = make_batch(), layout("sbu15"), task.encoder
    embedded, mapped = embeddings(task, batch.x)
    segments = torch.tensor([1, 4, 6])
    found = task.spatial(batch.x, embedded, mapped, segments).detach()
    hub = list(of.dropped["pruned"]) if joints == "pruned" else list(of.torso)
    assert set(hub) == set(of.torso)
    with torch.no_grad():
        tokens = encoder.embedding.tokenizer(segment(batch.x[:, :, hub], S)).mean(
            2
        )  # averaged, then mapped; no positions
        root = encoder.project(tokens).double().numpy()
    points = mapped.double().numpy()
    for b, (i, p), v in [(0, (0, 1), 0), (1, (1, 4), 5), (3, (2, 6), encoder.num_joints - 1)]:
        expected = radial_weight * reference_distance(points[b, p, v], root[b, p])
        expected += sum(reference_distance(points[b, p, v], points[b, p, w]) for w in range(encoder.num_joints))
        assert found[b, i, v].item() == pytest.approx(expected, rel=1e-3)


def test_temporal_criterion_1_against_a_loop():
    task, batch = make("hacm"), make_batch()
    embedded, mapped = embeddings(task, batch.x)
    segments = torch.tensor([0, 2, 4, 6])
    found = task.temporal(batch.x, embedded, mapped, segments)
    points = mapped.double().numpy()
    assert (found <= 1e-6).all()
    for b, i, v in [(0, 0, 0), (1, 2, 5), (3, 3, 8)]:
        expected = sum(
            1 - np.cosh(reference_distance(points[b, int(segments[i]), v], points[b, int(q), v])) for q in segments
        )
        assert found[b, i, v].item() == pytest.approx(expected, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("projection", ["frozen", "first_block"])
def test_temporal_criterion_2_against_a_loop_and_not_constant(projection):
    task, batch = make("hacm", pretext={"temporal_strategy": 2, "temporal_projection": projection}), make_batch()
    embedded, mapped = embeddings(task, batch.x)
    segments = torch.tensor([0, 2, 4, 6])
    with torch.no_grad():
        found = task.temporal(batch.x, embedded, mapped, segments)
        if projection == "frozen":
            q, k = task.psi(embedded), task.phi(embedded)
        else:
            block = task.encoder.trunk.blocks[0]
            q, k, _ = block.attention.qkv(block.norm1(embedded)).chunk(3, -1)
    q, k = (t[:, segments].double().numpy() for t in (q, k))
    for b, v in [(0, 0), (2, 5), (3, 8)]:
        scores = np.exp(q[b, :, v] @ k[b, :, v].T / 4)  # √D = 4
        expected = (scores / scores.sum(1, keepdims=True)).sum(0)
        np.testing.assert_allclose(found[b, :, v], expected, rtol=1e-4)
    assert found.std() > 1e-4


def test_frozen_projections_do_not_train_and_borrowed_ones_follow_the_encoder():
    batch = make_batch()
    frozen = make("hacm", pretext={"temporal_strategy": 2})
    trained = {name for name, p in frozen.named_parameters() if p.requires_grad}
    assert not any("psi" in name or "phi" in name for name in trained)
    assert {"psi.weight", "phi.weight"} <= set(frozen.state_dict())  # a resumed run masks with the same maps
    assert not any("psi" in n for n, _ in make("hacm", pretext={"temporal_strategy": 1}).named_parameters())
    for projection, follows in (("frozen", False), ("first_block", True)):
        settings = {"temporal_strategy": 2, "temporal_projection": projection, "criteria": "temporal"}
        task = make("hacm", pretext=settings | {"contrast_weight": 0, "gumbel": False})
        before = masked(task, batch).keep
        nn.init.normal_(task.encoder.trunk.blocks[0].attention.qkv.weight)
        assert torch.equal(before, masked(task, batch).keep) != follows


def crafted(extreme, pretext):
    """A task whose token (p, v) lies at the coordinate of its first frame, all at 0 except the extreme ones."""
    task = make("hacm", pretext={"gumbel": False, "contrast_weight": 0} | pretext)
    encoder = task.encoder
    with torch.no_grad():
        for parameter in encoder.embedding.parameters():
            parameter.zero_()
        encoder.embedding.tokenizer.weight[0, 0] = 1
    x = torch.zeros(1, FRAMES, 15, 3)
    for p, v in extreme:
        x[:, p * S, encoder.joints[v]] = 1.0
    return task, Batch(x, torch.ones(x.shape[:3], dtype=torch.bool), Draws(0, 1))


@pytest.mark.parametrize("temporal_group", ["even", "odd"])
@pytest.mark.parametrize("mask", ["high", "low"])
def test_cross_masks_fall_on_exactly_the_extreme_tokens(temporal_group, mask):
    """One joint is far out in one segment of either group: lowest in the hierarchy there, least like itself here."""
    V, in_even, in_odd = 9, (2, 7), (5, 3)
    spatial, temporal = (in_odd, in_even) if temporal_group == "even" else (in_even, in_odd)
    keep_one, mask_one = 0.999, 1 / 36  # of the 36 tokens of a group
    ratio = {"high": mask_one, "low": keep_one}[mask]
    task, batch = crafted([in_even, in_odd], {"temporal_group": temporal_group, "mask": mask, "mask_ratio": ratio})
    found = task.predict(batch)[0]
    kept, masked = set(found.keep[0].tolist()), set(found.masked[0].tolist())
    token = spatial[0] * V + spatial[1]
    assert (masked if mask == "high" else kept) & group(spatial, V) == {token}
    # the temporal criterion is lowest there: kept by `high`, masked by `low`
    ratio = {"high": keep_one, "low": mask_one}[mask]
    task, batch = crafted([in_even, in_odd], {"temporal_group": temporal_group, "mask": mask, "mask_ratio": ratio})
    found = task.predict(batch)[0]
    kept, masked = set(found.keep[0].tolist()), set(found.masked[0].tolist())
    token = temporal[0] * V + temporal[1]
    assert (kept if mask == "high" else masked) & group(temporal, V) == {token}


def group(of, V):
    """Tokens of all segments that are even, or odd, as that of `of`."""
    return {p * V + v for p in range(of[0] % 2, FRAMES // S, 2) for v in range(V)}


@pytest.mark.parametrize("criteria", ["spatial", "temporal"])
def test_a_single_criterion_masks_over_all_tokens(criteria):
    V, extreme = 9, (5, 3)
    ratio = {"spatial": 1 / 72, "temporal": 0.999}[criteria]
    task, batch = crafted([extreme], {"criteria": criteria, "mask_ratio": ratio})
    found = task.predict(batch)[0]
    one = found.masked if criteria == "spatial" else found.keep
    assert one.tolist() == [[extreme[0] * V + extreme[1]]]


def test_noise_softens_the_mask_and_tau_says_how_much():
    batch = make_batch(count=40)
    task = make("hacm", pretext={"gumbel": False, "contrast_weight": 0})
    sure = task.predict(again(batch))[0].keep.sort(1).values
    assert torch.equal(sure, task.predict(again(batch, seed=1))[0].keep.sort(1).values)
    shared = []
    for tau in (0.01, 0.9, 100.0):
        keep = make("hacm", pretext={"tau": tau, "contrast_weight": 0}).predict(again(batch))[0].keep
        shared.append(np.mean([len(set(a) & set(b)) for a, b in zip(sure.tolist(), keep.tolist(), strict=True)]))
    assert shared[0] > shared[1] > shared[2]


@pytest.mark.parametrize(("space", "vector"), [("poincare", "frame"), ("poincare", "token"), ("euclidean", "frame")])
def test_hacm_target_against_a_loop(space, vector):
    """Mapped frame by frame and then stacked, or stacked and then mapped (Eq. 23)."""
    pretext = {"target_space": space, "target_vector": vector, "target_norm": "none"}
    task, batch = make("hacm", pretext=pretext), make_batch()
    x = batch.x[:, :, task.encoder.joints].double().numpy()
    motion = np.concatenate([x[:, 1:] - x[:, :-1], np.zeros((B, 1, 9, 3))], 1)
    ball = lambda v: np.tanh(np.linalg.norm(v)) * v / max(np.linalg.norm(v), 1e-12)
    found = task.target(batch).tokens.unflatten(1, (FRAMES // S, 9))
    for b in range(B):
        for p in range(FRAMES // S):
            for v in range(9):
                frames = motion[b, p * S : p * S + S, v]
                if space == "poincare" and vector == "frame":
                    frames = np.stack([ball(frame) for frame in frames])
                token = ball(frames.ravel()) if vector == "token" else frames.ravel()
                np.testing.assert_allclose(found[b, p, v].numpy(), token, atol=1e-6, rtol=1e-5)


def test_an_odd_number_of_segments_is_told():
    with pytest.raises(ValueError, match=r"even number of segments, not 7"):
        make("hacm", frames=21)
    make("hacm", frames=21, pretext={"criteria": "spatial", "contrast_weight": 0})


def test_settings_that_cannot_be_are_told():
    with pytest.raises(ValueError, match="contrast_weight"):
        HACMSettings(criteria="spatial")
    with pytest.raises(ValueError, match="poincare"):
        make("hacm", encoder={"space": "euclidean"})
    with pytest.warns(UserWarning, match="no effect"):
        HACMSettings(temporal_projection="first_block")


def test_the_mapping_serves_downstream_use():
    task, batch = make("hacm"), make_batch()
    encoder = task.encoder
    mapped = encoder.project(encoder.embed(batch.x))
    assert (mapped.norm(dim=-1) < 1).all()
    torch.testing.assert_close(encoder(batch.x), encoder.encode(mapped.flatten(1, 2)).view(mapped.shape))
    encoder.settings = replace(encoder.settings, space="euclidean")
    assert not torch.allclose(encoder(batch.x), encoder.encode(mapped.flatten(1, 2)).view(mapped.shape), atol=1e-3)


def slow_contrast(odd, even, whole, similarity, reduction):
    total = 0.0
    for a, b in ((odd, whole), (even, whole), (even, odd)):
        a, b = a.double().numpy(), b.double().numpy()
        matrix = np.array([[x @ y for y in b] for x in a])
        if similarity == "cosine":
            matrix /= np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)
        else:
            matrix = np.exp(matrix) / np.exp(matrix).sum(1, keepdims=True)
        error = (matrix - np.eye(len(a))) ** 2
        total += {"mean": error.mean(), "rows": error.sum(1).mean(), "sum": error.sum()}[reduction]
    return total


@pytest.mark.parametrize("similarity", ["softmax", "cosine"])
@pytest.mark.parametrize("reduction", ["mean", "rows", "sum"])
def test_cross_contrast_against_a_loop(similarity, reduction):
    g = torch.Generator().manual_seed(0)
    odd, even, whole = (0.7 * torch.randn(6, 8, generator=g) for _ in range(3))
    expected = slow_contrast(odd, even, whole, similarity, reduction)
    for negatives in ("local", "gathered"):  # the same in one process
        found = cross_contrast(odd, even, whole, similarity, reduction, negatives).item()
        assert found == pytest.approx(expected, rel=1e-4)


def test_reductions_differ_by_the_batch():
    found = {
        r: outcome(make("hacm", pretext={"contrast_reduction": r}), make_batch())["contrast"].item()
        for r in ("mean", "rows", "sum")
    }
    assert found["rows"] == pytest.approx(B * found["mean"])
    assert found["sum"] == pytest.approx(B * B * found["mean"])


@pytest.mark.parametrize("temporal_group", ["even", "odd"])
def test_the_loss_weight_is_heeded(temporal_group):
    batch = make_batch()
    losses = {}
    for weight in (0.0, 1.0, 2.5):
        task = make("hacm", pretext={"contrast_weight": weight, "temporal_group": temporal_group})
        losses[weight] = out = task(again(batch))
        if weight:
            torch.testing.assert_close(out["loss"], out["reconstruction"] + weight * out["contrast"])
        else:
            assert "contrast" not in out
    assert losses[0.0]["loss"] == losses[0.0]["reconstruction"] == losses[1.0]["reconstruction"]
    mask, encoded, _, _ = task.predict(again(batch))
    even = mask.keep // task.encoder.num_joints % 2 == 0
    pooled = [torch.stack([e[k].mean(0) for e, k in zip(encoded, which, strict=True)]) for which in (~even, even)]
    expected = slow_contrast(*(p.detach() for p in (*pooled, encoded.mean(1))), "softmax", "mean")
    assert losses[2.5]["contrast"].item() == pytest.approx(expected, rel=1e-4)

"""The Poincaré ball against a float64 textbook formula, and its behaviour where formulas divide by zero."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from kinemask import poincare

TOLERANCE = 5e-3  # float32 near the boundary
CURVATURES = (0.3, 1.0, 2.5)


def textbook(u, v, k):
    """Distance in the ball of curvature −k, point by point in float64."""
    u, v = (np.asarray(p, np.float64) for p in (u, v))
    square = ((u - v) ** 2).sum(-1)
    return np.arccosh(1 + 2 * k * square / ((1 - k * (u**2).sum(-1)) * (1 - k * (v**2).sum(-1)))) / math.sqrt(k)


def points(count, dims, k, seed=0):
    """Points of every norm from 0 to the boundary that `clip` allows, a third of them close together."""
    g = torch.Generator().manual_seed(seed)
    direction = torch.nn.functional.normalize(torch.randn(count, dims, generator=g), dim=-1)
    direction[: count // 3] = direction[0] + 1e-3 * direction[: count // 3]
    norm = torch.linspace(0, 8, count)[torch.randperm(count, generator=g)].unsqueeze(1)
    return poincare.to_ball(norm * torch.nn.functional.normalize(direction, dim=-1), k)


@pytest.mark.parametrize("k", CURVATURES)
@pytest.mark.parametrize("dims", [2, 3, 256])
def test_distance_is_the_textbooks(k, dims):
    u = points(40, dims, k)
    assert (u.norm(dim=-1) * math.sqrt(k)).max() > 0.99, "the points must reach the boundary"
    expected = textbook(u[:, None], u[None], k)
    assert np.abs(poincare.distance(u[:, None], u[None], k).numpy() - expected).max() < TOLERANCE
    together = poincare.pairwise_distance(u, k)
    assert np.abs(together.numpy() - expected).max() < TOLERANCE
    assert torch.equal(together.diagonal(), torch.zeros(40))


def test_pairwise_distance_keeps_leading_dimensions():
    u = points(60, 8, 1.0).view(3, 4, 5, 8)
    together = poincare.pairwise_distance(u)
    assert together.shape == (3, 4, 5, 5)
    torch.testing.assert_close(together[1, 2], poincare.pairwise_distance(u[1, 2]))


def test_the_factor_is_two_not_four():
    v = torch.tensor([math.sqrt(17 / 53), 0.0])  # ‖v‖²/(1−‖v‖²) = 17/36
    assert poincare.distance(torch.zeros(2), v).item() == pytest.approx(1.2843, abs=1e-4)  # a factor 4 gives 1.7226
    assert poincare.pairwise_distance(torch.stack([torch.zeros(2), v]))[0, 1].item() == pytest.approx(1.2843, abs=1e-4)
    assert poincare.distance(torch.zeros(2), v).item() == pytest.approx(2 * math.atanh(v.norm().item()), abs=1e-5)


@pytest.mark.parametrize("k", CURVATURES)
def test_agrees_with_geoopt(k):
    geoopt = pytest.importorskip("geoopt")
    ball = geoopt.PoincareBall(c=k)
    v = 0.3 * torch.randn(50, 16, generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(poincare.exp_map(v, k), ball.expmap0(v), atol=1e-4, rtol=0)  # its constants are float32
    u = 0.95 * points(50, 16, k).double()  # nearer to the boundary its own limits set in
    expected = ball.dist(u[:, None], u[None])
    assert (poincare.pairwise_distance(u, k) - expected).abs().max() < TOLERANCE
    assert (poincare.distance(u[:, None], u[None], k) - expected).abs().max() < TOLERANCE


@pytest.mark.parametrize("k", CURVATURES)
def test_projections(k):
    v = torch.tensor([[0.0, 0.0], [1e-3, 0.0], [0.3, 0.4], [30.0, 40.0], [-3e4, 4e4]])
    in_ball = poincare.exp_map(v, k)
    torch.testing.assert_close(in_ball[2], torch.tanh(torch.tensor(0.5 * k**0.5)) / k**0.5 * torch.tensor([0.6, 0.8]))
    clipped = poincare.project(in_ball, k, 4e-3, "clip")
    assert torch.equal(clipped[:2], in_ball[:2])  # what is inside stays
    torch.testing.assert_close(clipped[3:].norm(dim=-1), torch.full((2,), 0.996 / k**0.5))
    wider = poincare.project(in_ball, k, 1e-5, "clip")
    assert (wider[3:].norm(dim=-1) > clipped[3:].norm(dim=-1)).all()
    paper = poincare.project(in_ball, k, how="paper")
    torch.testing.assert_close(paper, in_ball / (1 + in_ball.square().sum(-1, keepdim=True) / k))
    assert (paper.norm(dim=-1) * k**0.5 < 1).all()
    assert torch.equal(poincare.to_ball(v, k, 4e-3, "paper"), paper)


HARD = {
    "zero vectors": lambda: torch.zeros(3, 4),
    "equal points": lambda: torch.full((3, 4), 0.3),
    "nearly equal points": lambda: 0.4 + 1e-7 * torch.arange(12.0).view(3, 4),
    "at the boundary": lambda: 100 * torch.eye(3, 4),
    "opposite at the boundary": lambda: torch.tensor([[1e4, 0], [-1e4, 0], [0.0, 0]]),
    "tiny": lambda: 1e-20 * torch.randn(3, 4),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("how", ["clip", "paper"])
@pytest.mark.parametrize("case", HARD)
def test_values_and_gradients_are_finite(case, how, dtype):
    v = HARD[case]().to(dtype).requires_grad_()
    u = poincare.to_ball(v, 1.0, 1e-5, how)
    for d in (poincare.pairwise_distance(u), poincare.distance(u[:2], u[1:])):
        assert d.isfinite().all()
        assert (d >= 0).all()
        (gradient,) = torch.autograd.grad(d.sum(), v, retain_graph=True)
        assert gradient.isfinite().all()


def test_gradient_is_right_away_from_the_hard_points():
    u = points(6, 3, 1.0, seed=3).double() * 0.9
    assert torch.autograd.gradcheck(lambda x: poincare.pairwise_distance(x, 1.0), u.requires_grad_())
    assert torch.autograd.gradcheck(lambda x: poincare.to_ball(x), torch.randn(4, 3).double().requires_grad_())


def test_half_precision_and_autocast_compute_in_float32():
    v = 0.8 * torch.randn(20, 64, generator=torch.Generator().manual_seed(0))
    expected = poincare.pairwise_distance(poincare.to_ball(v))
    with torch.autocast("cpu", torch.bfloat16):
        u = poincare.to_ball(v)
        together, apart = poincare.pairwise_distance(u), poincare.distance(u[:, None], u[None])
    assert u.dtype == together.dtype == apart.dtype == torch.float32
    assert torch.equal(together, expected)
    torch.testing.assert_close(apart, expected, atol=TOLERANCE, rtol=0)
    half = v.bfloat16()
    assert poincare.to_ball(half).dtype == torch.float32
    assert torch.equal(poincare.to_ball(half), poincare.to_ball(half.float()))
    inside = poincare.to_ball(0.1 * v).bfloat16()
    expected = textbook(inside[:, None].float(), inside[None].float(), 1)
    assert np.abs(poincare.pairwise_distance(inside).numpy() - expected).max() < TOLERANCE

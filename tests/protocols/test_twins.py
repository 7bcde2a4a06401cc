"""Generated twins agree in what is done; a metric of what they differ in is a prior on weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kinemask.protocols import twins as made
from kinemask.protocols.metric import Metric
from kinemask.protocols.twins import ASTRAY, PERFORMANCES, differences, performable, twins
from kinemask.skeleton import layout
from kinemask.windows.align import turns
from kinemask.windows.bodies import side_by_side
from kinemask.windows.tracks import Recordings, Tracks

SBU, NTU = layout("sbu15"), layout("ntu25")


def dense(own: torch.Tensor) -> torch.Tensor:
    """The prior's covariance as it is defined, but for its size."""
    covariance = own.double().T @ own.double()
    size = covariance.diagonal().mean()
    return torch.linalg.inv(torch.eye(own.shape[1]).double() + covariance / size)


def test_where_nothing_differs_the_metric_is_none():
    rows = torch.randn(3, 6)
    torch.testing.assert_close(Metric(torch.zeros(4, 6), rows)(rows.double()), rows.double())
    assert torch.equal(
        Metric(torch.ones(4, 6), torch.zeros(3, 6))(torch.zeros(3, 6).double()), torch.zeros(3, 6).double()
    )


@pytest.mark.parametrize("width", [5, 40])
def test_the_metric_is_the_inverse_of_a_covariance(width):
    torch.manual_seed(0)
    own, rows = torch.randn(24, width) * torch.linspace(0.1, 2, width), torch.randn(7, width)
    found = Metric(own, rows)(rows.double())
    expected = rows.double() @ dense(own)
    torch.testing.assert_close(found, expected * (rows.square().sum() / (expected * rows).sum()))
    torch.testing.assert_close((found * rows).sum().float(), rows.square().sum())


def test_the_metric_knows_no_units():
    own, rows = torch.randn(12, 6), torch.randn(4, 6)
    torch.testing.assert_close(Metric(own, rows)(rows.double()), Metric(0.01 * own, rows)(rows.double()))


def test_what_twins_differ_in_counts_less():
    """Two directions of equal variance in the rows: twins differ along one of them."""
    own, rows = torch.tensor([[1.0, 0.0], [-1.0, 0.0]] * 3), torch.eye(2)
    along, across = Metric(own, rows)(rows.double()).diagonal()
    assert along < 0.5 * across


def test_differences_are_from_the_mean_of_a_programme():
    x = torch.randn(4 * PERFORMANCES, 3)
    found = differences(x).view(4, PERFORMANCES, 3)
    torch.testing.assert_close(found.sum(1), torch.zeros(4, 3))
    torch.testing.assert_close(found[:, 0] - found[:, 1], x[::PERFORMANCES] - x[1::PERFORMANCES])


def real(of, bodies=1, seed=0):
    rng = np.random.default_rng(seed)
    body = rng.normal(0, 0.3, (of.num_joints, 3))
    for left, right in of.pairs:
        body[left], body[right] = [-0.2, body[left, 1], 0.0], [0.2, body[left, 1], 0.0]
    turned = []
    for yaw in rng.uniform(0.8, 1.2, 6):  # all face much the same way
        c, s = np.cos(yaw), np.sin(yaw)
        one = body @ np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
        people = np.stack([one + np.array([0, 0, 1.5 * n]) for n in range(bodies)])
        turned.append(np.repeat(people[:, None], 20, 1) + rng.normal(0, 1e-3, (bodies, 20, of.num_joints, 3)))
    return Tracks(Recordings.of(of, [one.astype(np.float32) for one in turned]))


@pytest.mark.parametrize("name", ["sbu15", "kinect20", "ntu25", "mediapipe33"])
def test_twins_stand_as_clips_do_that_are_turned(name):
    """But for the heading that a body's own makes uncertain."""
    tracks = real(layout(name))
    heading = lambda align: turns(twins(tracks, align, 8), "heading")
    assert heading("heading").abs().median() < ASTRAY
    assert (heading("none") - turns(tracks, "heading").mean()).abs().median() < ASTRAY + 0.2


def test_twins_of_two_face_each_other():
    tracks = real(SBU, bodies=2)
    found = twins(tracks, "pair", 5)
    assert len(found.clips) == 5 * PERFORMANCES
    assert len(found) == 2 * len(found.clips)
    assert turns(found, "pair").abs().max() < ASTRAY + 0.3
    windows = side_by_side(found, 16, "none", 2)
    apart = (windows[:, 1, 0, SBU.root] - windows[:, 0, 0, SBU.root]).norm(dim=-1)
    assert apart.min() > 0.2
    assert apart.max() < 3


def test_twins_of_one_and_of_two_each_face_as_their_like():
    """Clips of one person face one way; the line of two lies another way. Half of the clips are of each."""
    of_one, of_two = real(SBU), real(SBU, bodies=2)
    arrays = [tracks.frames.numpy().reshape(-1, 20, 15, 3) for tracks in (of_one, of_two)]
    clips = [*arrays[0][:, None], *arrays[1].reshape(6, 2, 20, 15, 3)]
    found = twins(Tracks(Recordings.of(SBU, clips)), "none", 8)
    one = torch.bincount(found.clip)[found.clip] == 1
    for alike, tracks, align in ((one, of_one, "heading"), (~one, of_two, "pair")):
        assert alike.sum() > 0
        assert (turns(found, align)[alike] - turns(tracks, align).mean()).abs().max() < ASTRAY + 0.7


def test_twins_are_nearer_to_each_other_than_to_others():
    found = twins(real(NTU), "heading", 30)
    x = side_by_side(found, 32, "none", 1).flatten(1)
    between = torch.cdist(x, x).fill_diagonal_(float("inf"))
    number = torch.arange(len(x)) // PERFORMANCES
    assert (number[between.argmin(1)] == number).float().mean() > 0.4  # one in 45 by chance


def test_twins_are_the_same_every_time():
    tracks = real(SBU)
    again = twins(tracks, "none", 4)
    made._performed.cache_clear()
    assert torch.equal(again.frames, twins(tracks, "none", 4).frames)


def test_there_are_none_in_the_plane():
    assert performable(SBU)
    flat = layout("coco17")
    assert not performable(flat)
    with pytest.raises(ValueError, match="twins are generated in 3D, with left and right; layout coco17 is not so"):
        twins(Tracks(Recordings.of(flat, [np.zeros((5, 17, 2), np.float32)])), "none")

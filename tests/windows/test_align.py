"""Turning clips about the vertical: what it undoes, what it leaves, what has no say in it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kinemask.skeleton import layout, layouts
from kinemask.windows.align import trunk_pairs, turns
from kinemask.windows.bodies import channels, side_by_side
from kinemask.windows.sampler import Sampler
from kinemask.windows.settings import SamplingSettings
from kinemask.windows.tracks import Recordings, Tracks

OF = layout("sbu15")
THREE_D = [name for name in layouts() if layout(name).dims == 3]


def standing(frames=30, of=OF, seed=0):
    """A body (T, V, 3) whose left joints are at −x and right ones at +x, moving a little."""
    rng = np.random.default_rng(seed)
    pose = rng.normal(0, 0.2, (of.num_joints, 3))
    for left, right in of.pairs:
        pose[left, 0], pose[right, 0] = -0.3, 0.3
    return (pose + 0.02 * rng.normal(size=(frames, of.num_joints, 3))).astype(np.float32)


def turned(x, angle):
    """About y, by an angle in radians."""
    c, s = np.cos(angle), np.sin(angle)
    return (x @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]).T).astype(np.float32)


def windows(arrays, align, of=OF):
    tracks = Tracks(Recordings.of(of, arrays))
    return Sampler(tracks, SamplingSettings(frames=24, align=align)).test_view(torch.arange(len(tracks)))


def pair(distance=1.0, seed=0):
    """Two bodies (2, T, V, 3) that face each other along z."""
    return np.stack([standing(seed=seed), turned(standing(seed=seed + 1), np.pi) + np.float32([0, 0, distance])])


@pytest.mark.parametrize("align, clip", [("heading", standing()), ("pair", standing()), ("pair", pair())])
@pytest.mark.parametrize("angle", [0.4, -2.0, np.pi])
def test_where_the_camera_stood_no_longer_matters(align, clip, angle):
    torch.testing.assert_close(windows([turned(clip, angle)], align), windows([clip], align), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", THREE_D)
def test_a_body_faces_one_way_in_every_layout(name):
    of = layout(name)
    x = windows([turned(standing(of=of), 1.1)], "heading", of)[0]
    left, right = (list(side) for side in zip(*trunk_pairs(of), strict=True))
    across = (x[:, right] - x[:, left]).sum((0, 1))
    assert across[0] > 0
    assert abs(across[2]) < 0.05 * across[0]


@pytest.mark.parametrize("align", ["heading", "pair"])
def test_bones_height_handedness_and_places_to_each_other_stay(align):
    clip = pair()
    before, after = windows([clip], "none"), windows([clip], align)
    parents = list(OF.parents)
    bones = lambda x: (x - x[:, :, parents]).norm(dim=-1)
    torch.testing.assert_close(bones(after), bones(before), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(after[..., 1], before[..., 1])
    torch.testing.assert_close((after[1] - after[0]).norm(dim=-1), (before[1] - before[0]).norm(dim=-1))
    volume = lambda x: torch.linalg.det(x[:, :, [1, 4, 7]])  # its sign is handedness
    torch.testing.assert_close(volume(after), volume(before), rtol=1e-3, atol=1e-5)


def test_the_line_between_two_bodies_lies_along_x():
    x = windows([turned(pair(), 0.7)], "pair")
    line = (x[1] - x[0])[:, OF.root].mean(0)
    assert line[0] > 0.9
    assert abs(line[2]) < 0.1


def test_missing_joints_have_no_say():
    whole = turned(standing(40), 0.9)
    holes = whole.copy()
    shoulder = OF.pairs[0]
    holes[:5, shoulder[0]] = np.nan  # the fill copies a later frame: a joint that moved would turn the clip
    wild = holes.copy()
    wild[:5, shoulder[1]] += 3  # its partner is missing, so it says nothing
    angle = lambda clip: turns(Tracks(Recordings.of(OF, [clip])), "heading")
    torch.testing.assert_close(angle(holes), angle(wild))
    nothing = whole.copy()
    for left, _ in OF.pairs:
        nothing[:, left] = np.nan
    assert angle(nothing) == 0


def test_a_clip_decides_for_itself_alone():
    clips = [turned(standing(30, seed=i), i) for i in range(3)] + [pair(), turned(pair(seed=5), 1.0)]
    together = turns(Tracks(Recordings.of(OF, clips)), "pair")
    alone = torch.cat([turns(Tracks(Recordings.of(OF, [clip])), "pair") for clip in clips])
    torch.testing.assert_close(together, alone)
    assert together[3] == together[4]  # bodies of a clip turn together


def test_the_plane_has_no_vertical():
    of = layout("coco17")
    with pytest.raises(ValueError, match="align heading turns about the vertical; layout coco17 is 2D"):
        windows([np.zeros((5, 17, 2), np.float32) + np.arange(17)[None, :, None]], "heading", of)


def test_bodies_stand_side_by_side(tiny):
    tracks = Tracks(tiny)
    x = side_by_side(tracks, 16)
    assert x.shape == (len(tiny), 2, 16, 15, 3)
    several = torch.from_numpy(tiny.bodies == 2)
    assert (x[~several, 1] == 0).all()
    assert x[several, 1].abs().sum((1, 2, 3)).all()
    first = int(several.nonzero()[0])
    own = Sampler(tracks, SamplingSettings(frames=16, test_crop=1.0)).test_view((tracks.clip == first).nonzero()[:, 0])
    torch.testing.assert_close(x[first], own)
    flat = channels(x, tiny.layout.root)
    assert flat.shape == (len(tiny), 2 * (14 * 3 + 15 * 3 + 3) + 3, 16)
    root = tiny.layout.root
    torch.testing.assert_close(flat[first, -3:].T, x[first, 1, :, root] - x[first, 0, :, root])

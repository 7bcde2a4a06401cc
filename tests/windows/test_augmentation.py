"""Augmentation of the body and of what is seen: what each change does, what it leaves, and who shares its draws."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from kinemask.draws import Draws
from kinemask.layout_file import depth
from kinemask.skeleton import Layout, layout, layouts
from kinemask.windows.anatomy import Anatomy, scale_limbs
from kinemask.windows.fill import fill
from kinemask.windows.occlusion import random_spans
from kinemask.windows.sampler import Batch, Sampler
from kinemask.windows.settings import SamplingSettings
from kinemask.windows.tracks import Recordings, Tracks

SBU, COCO = layout("sbu15"), layout("coco17")
PLAIN = SamplingSettings(frames=24, rotation=0, min_crop_frames=8)
NEW = {"limbs": 0.3, "mirror": 0.5, "stretch": 0.3, "drop_joints": 0.6, "drop_axis": 0.5}
several = pytest.mark.parametrize("of", [SBU, COCO, layout("ntu25"), layout("mpii16")], ids=lambda of: of.name)


def walk(of=SBU, bodies=1, seed=0, frames=30):
    """A random body (M, T, V, C) that moves a little, its bones of ordinary length."""
    rng = np.random.default_rng(seed)
    pose = rng.normal(0, 0.4, (bodies, 1, of.num_joints, of.dims))
    steps = rng.normal(0, 0.02, (bodies, frames, of.num_joints, of.dims))
    return (pose + steps.cumsum(1)).astype(np.float32)


def tracks(*clips, of=SBU, missing="fill"):
    return Tracks(Recordings.of(of, clips), missing=missing)


def sample(of: Tracks, seed=0, **changes) -> Batch:
    """Training windows of every track, a clip's bodies sharing their draws."""
    track, clip_index = of.of_clips(torch.arange(len(of.clips)))
    return Sampler(of, replace(PLAIN, **changes)).sample(track, Draws(seed, len(of.clips)), clip_index)


def bones(x, of=SBU):
    """From its parent to each joint but the root: (B, T, V - 1, C)."""
    others = [v for v in range(of.num_joints) if v != of.root]
    return x[:, :, others] - x[:, :, [of.parents[v] for v in others]]


def sides(of=SBU):
    """The joint on the other side, found by name."""
    other = {}
    for v, name in enumerate(of.joints):
        for a, b in (("left", "right"), ("right", "left")):
            if a in name and name.replace(a, b) in of.joints:
                other[v] = of.joints.index(name.replace(a, b))
    return [other.get(v, v) for v in range(of.num_joints)]


# rotation


def test_full_yaw_turns_any_way_about_the_vertical_and_leaves_body_and_height():
    still = np.repeat(walk(frames=1), 30, axis=1)
    data = tracks(*[still] * 400)
    base, x = sample(data).x, sample(data, rotation=[0, math.pi, 0]).x
    torch.testing.assert_close(x[..., 1], base[..., 1])
    torch.testing.assert_close(bones(x).norm(dim=-1), bones(base).norm(dim=-1))
    bearing = lambda x: torch.atan2(x[:, 0, 3, 0], x[:, 0, 3, 2])
    quarters = torch.histc((bearing(x) - bearing(base)) % (2 * math.pi), 4, 0, 2 * math.pi)
    assert quarters.min() > 70  # of 400: each quarter of a turn is as likely


# mirror


def wave(side):
    """Somebody symmetric about x = 0 who lifts the hand of a side, that of the left side at x < 0."""
    rng, body = np.random.default_rng(1), np.zeros((30, SBU.num_joints, 3), np.float32)
    for v, w in enumerate(sides()):
        if v <= w:
            place = rng.normal(0, 0.4, 3) * ([0, 1, 1] if v == w else 1)
            body[:, v], body[:, w] = place, place * [-1, 1, 1]
    hand = SBU.index(f"{side}_hand")
    t = np.arange(30)
    outwards = 1 if side == "right" else -1
    body[:, hand] += np.stack([outwards * np.sin(t), t / 10, np.cos(t)], 1).astype(np.float32)
    return body


def test_a_mirrored_left_wave_is_a_right_wave():
    left, right = tracks(wave("left")), tracks(wave("right"))
    torch.testing.assert_close(sample(left, mirror=1.0).x, sample(right).x)
    assert not torch.allclose(sample(left).x, sample(right).x)


@several
def test_a_mirror_leaves_bones_height_time_and_what_is_valid_on_the_other_side(of):
    clip = walk(of)
    clip[0, :, of.pairs[0][0]] = np.nan
    clip[0, 10:, of.pairs[-1][1]] = np.nan
    data, other = tracks(clip, of=of), sides(of)
    base, out = sample(data), sample(data, mirror=1.0)
    assert torch.equal(out.x[..., 1:], base.x[:, :, other, 1:])
    assert torch.equal(out.x[..., 0], -base.x[:, :, other, 0])
    assert torch.equal(out.valid, base.valid[:, :, other])
    assert not torch.equal(out.valid, base.valid)
    for v, w in enumerate(other):
        own, partner = (x[:, :, joint] - x[:, :, of.parents[joint]] for x, joint in ((out.x, v), (base.x, w)))
        if other[of.parents[v]] == of.parents[w]:  # false at joints that hang on one side of the body
            torch.testing.assert_close(own.norm(dim=-1), partner.norm(dim=-1))
    speed = lambda x: x.diff(dim=1).norm(dim=-1)
    torch.testing.assert_close(speed(out.x), speed(base.x)[:, :, other])


@pytest.mark.parametrize("name", layouts())
def test_the_mirror_knows_the_sides_of_every_layout(name):
    of = layout(name)
    anatomy = Anatomy.of(of)
    assert (anatomy.mirrored != torch.arange(of.num_joints)).sum() == 2 * len(of.pairs) > 0
    assert anatomy.mirrored[anatomy.mirrored].tolist() == list(range(of.num_joints))
    assert torch.equal(anatomy.bone, anatomy.bone[anatomy.mirrored])
    for left, right in of.pairs:
        assert anatomy.mirrored[left] == right


def test_a_mirror_keeps_who_faces_where_and_where_a_pair_stands():
    """Mirrored clips stay aligned, so they look like test clips: by heading, and along the line between two bodies."""
    one, two = walk(seed=3), walk(bodies=2, seed=4)
    two[1] += np.float32([2, 0, 1])
    across = lambda x: (x[0, :, SBU.index("right_hand")] - x[0, :, SBU.index("left_hand")]).mean(0)
    data = tracks(one, two)
    base, out = (sample(data, align="pair", mirror=chance).x for chance in (0.0, 1.0))
    torch.testing.assert_close(across(out) * torch.tensor([1.0, -1, -1]), across(base))
    line = lambda x: (x[2] - x[1])[:, SBU.root].mean(0)
    torch.testing.assert_close(line(out)[:2], line(base)[:2])
    torch.testing.assert_close(line(out)[2], -line(base)[2])
    assert line(out)[0] > 1.5


def test_as_many_clips_are_mirrored_as_asked_for_and_their_bodies_together():
    data = tracks(*[walk(bodies=2)] * 300)
    base, x = sample(data).x, sample(data, mirror=0.3).x
    mirrored = (x != base).flatten(1).any(1)
    assert torch.equal(mirrored[::2], mirrored[1::2])
    assert 60 < mirrored[::2].sum() < 120
    distance = lambda x: (x[1::2] - x[::2])[:, :, SBU.root].norm(dim=-1)
    torch.testing.assert_close(distance(x), distance(base))


def test_a_layout_without_sides_cannot_be_mirrored():
    blob = Layout.from_dict(SBU.to_dict() | {"name": "blob", "pairs": []})
    with pytest.raises(ValueError, match=r"sampling\.mirror swaps left and right; layout blob has no mirrored pairs"):
        sample(tracks(walk(), of=blob), mirror=0.5)


# limbs


@several
def test_limbs_change_length_and_nothing_else(of):
    data = tracks(*(walk(of, bodies=2, seed=i) for i in range(40)), of=of)
    base, x = sample(data).x, sample(data, limbs=0.3).x
    torch.testing.assert_close(x[:, :, of.root], base[:, :, of.root])
    factor = bones(x, of).norm(dim=-1) / bones(base, of).norm(dim=-1)
    torch.testing.assert_close(bones(x, of), factor.unsqueeze(-1) * bones(base, of), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(factor, factor[:, :1].expand_as(factor), atol=1e-3, rtol=0)  # the same in every frame
    assert factor.min() > 0.7 - 1e-3
    assert factor.max() < 1.3 + 1e-3
    assert factor.min() < 0.75
    assert factor.max() > 1.25
    of_joint = {v: factor[:, 0, i] for i, v in enumerate(v for v in range(of.num_joints) if v != of.root)}
    for left, right in of.pairs:
        if of.root not in (left, right):
            torch.testing.assert_close(of_joint[left], of_joint[right], atol=1e-3, rtol=1e-3)
    assert (factor[::2, 0] - factor[1::2, 0]).abs().mean() > 0.1  # two people have bones of their own


def by_hand(x, valid, factor, of):
    """Limbs scaled joint by joint, for one window: (T, V, C)."""
    seen, out = valid.any(0), x.clone()
    for v in sorted(range(of.num_joints), key=lambda v: depth(v, of.parents)):
        parent = of.parents[v]
        while not seen[parent] and parent != of.root:
            parent = of.parents[parent]
        if v != of.root and seen[v] and seen[parent]:
            out[:, v] = out[:, parent] + factor[v] * (x[:, v] - x[:, parent])
    return out


@several
@pytest.mark.parametrize("root_seen", [True, False])
def test_limbs_pass_over_joints_that_are_not_seen(of, root_seen):
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(20, 6, of.num_joints, of.dims, generator=rng)
    valid = (torch.rand(20, 1, of.num_joints, generator=rng) < 0.7).expand(-1, 6, -1).clone()
    valid[:, :, of.root] = root_seen
    valid[0] = False
    valid[1, 1:] = False  # seen once is seen
    factor = 0.5 + torch.rand(20, of.num_joints, generator=rng)
    out = scale_limbs(x, valid, factor, Anatomy.of(of))
    for i in range(20):
        torch.testing.assert_close(out[i], by_hand(x[i], valid[i], factor[i], of), atol=1e-5, rtol=1e-5)
    unseen = ~valid.any(1)
    assert torch.equal(out.transpose(1, 2)[unseen], x.transpose(1, 2)[unseen])


def test_a_joint_never_seen_keeps_the_roots_place():
    clip = walk()
    elbow = SBU.index("left_elbow")
    clip[0, :, elbow] = np.nan
    x = sample(tracks(clip), limbs=0.3).x
    assert torch.equal(x[:, :, elbow], x[:, :, SBU.root])


# stretch


@several
def test_stretch_is_a_factor_for_each_axis(of):
    data = tracks(*(walk(of, bodies=2, seed=i) for i in range(60)), of=of)
    base, x = sample(data).x, sample(data, stretch=0.3).x
    factor = (x * base).sum((1, 2)) / base.square().sum((1, 2))  # (B, C)
    torch.testing.assert_close(x, factor[:, None, None] * base, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(factor[::2], factor[1::2])  # of a clip
    assert (factor - 1).abs().max() < 0.3 + 1e-4
    assert factor.amin(0).max() < 0.8
    assert factor.amax(0).min() > 1.2
    assert (factor - factor.mean(1, keepdim=True)).abs().mean() > 0.05  # of each axis


def test_a_clip_is_stretched_after_it_is_turned_and_before_it_is_sheared():
    data = tracks(walk())
    each = {"rotation": 0.5, "stretch": 0.4, "shear": 0.4}
    matrix = lambda **changes: torch.linalg.lstsq(sample(data).x[0, 0], sample(data, **changes).x[0, 0]).solution.mT
    turn, stretch = matrix(rotation=0.5), matrix(stretch=0.4)
    turn_and_shear, every = matrix(rotation=0.5, shear=0.4), matrix(**each)
    shear = turn_and_shear @ turn.mT
    torch.testing.assert_close(every, shear @ stretch @ turn, atol=1e-4, rtol=1e-4)


# what is hidden


@several
def test_an_axis_is_dropped_of_whole_clips_as_often_as_asked_for(of):
    data = tracks(*(walk(of, bodies=2, seed=i) for i in range(200)), of=of)
    base, out = sample(data), sample(data, drop_axis=0.4)
    gone = (out.x == 0).all(2).all(1)  # (B, C)
    assert torch.equal(out.x, base.x.masked_fill(gone[:, None, None], 0))
    assert torch.equal(gone[::2], gone[1::2])
    assert gone.sum(1).max() == 1
    assert 0.3 < gone.any(1).float().mean() < 0.5
    assert gone.sum(0).min() > 0.5 * gone.sum() / of.dims
    assert torch.equal(out.valid, base.valid)


@several
def test_hidden_joints_are_few_enough_and_over_one_span_of_a_body(of):
    V, T, share = of.num_joints, 24, 0.4
    hidden = random_spans(torch.rand(2000, V + 3, generator=torch.Generator().manual_seed(0)), share, T)
    joints, frames = hidden.any(1), hidden.any(2)
    assert torch.equal(hidden, joints.unsqueeze(1) & frames.unsqueeze(2))
    count = torch.bincount(joints.sum(1), minlength=V)
    most = round(share * V)
    assert not count[most + 1 :].any()
    assert count[: most + 1].min() > 0.7 * 2000 / (most + 1)
    assert (joints.float().mean(0) - share / 2).abs().max() < 0.06  # every joint as often
    span = frames.sum(1)[joints.any(1)]
    assert (span.min(), span.max()) == (T / 4, T)
    assert (frames.int().diff(dim=1).abs().sum(1) <= 2).all()
    middle = hidden.any(2).float().mean(0)
    assert middle.min() > 0.1  # first and last frames too


@pytest.mark.parametrize("share, most", [(0.001, 1), (1.0, 14)])
def test_one_joint_at_least_may_be_hidden_and_one_is_left(share, most):
    hidden = random_spans(torch.rand(500, 18, generator=torch.Generator().manual_seed(0)), share, 8)
    assert hidden.any(1).sum(1).max() == most


@several
@pytest.mark.parametrize("missing", ["fill", "zero"])
def test_hidden_joints_are_no_longer_valid_and_are_filled_as_missing_ones(of, missing):
    clips, gap = [walk(of, bodies=2, seed=i) for i in range(20)], of.pairs[0][0]
    for clip in clips:
        clip[0, :8, gap] = np.nan
    data = tracks(*clips, of=of, missing=missing)
    base, out = sample(data, missing=missing), sample(data, missing=missing, drop_joints=0.8)
    hidden = base.valid & ~out.valid
    assert hidden.any()
    assert not (out.valid & ~base.valid).any()
    assert torch.equal(out.x[out.valid], base.x[out.valid])
    assert out.x.isfinite().all()
    assert not torch.equal(hidden[::2], hidden[1::2])  # bodies lose joints of their own
    for before, after, hole in zip(base.x, out.x, hidden, strict=True):
        if missing == "zero":
            assert torch.equal(after, before.masked_fill(hole.unsqueeze(-1), 0))
        elif not hole[:, gap].any():  # a joint that was missing before may be hidden where it was missing, too
            assert torch.equal(after, fill(before, ~hole, torch.tensor([0]), of.root))


# draws


def test_every_change_is_off_by_default_and_draws_nothing_then(monkeypatch):
    assert {name: getattr(SamplingSettings(), name) for name in NEW} == dict.fromkeys(NEW, 0.0)
    names = []
    monkeypatch.setattr(Draws, "named", lambda self, *parts: names.append(parts))
    sample(tracks(walk(), walk(bodies=2, seed=1)), rotation=0.3, shear=0.1, noise=0.1)
    assert names == []


@pytest.mark.parametrize("name", NEW)
def test_a_change_does_not_move_the_draws_of_the_others(name):
    """With it on, a clip still has the crop, the turn, the noise and the mask that it has without."""
    data = tracks(walk(), walk(bodies=2, seed=1))
    others = {"rotation": 0.3, "shear": 0.1, "noise": 0.01, **NEW}
    off, on = sample(data, **others | {name: 0.0}), sample(data, **others | {name: 1e-9})
    torch.testing.assert_close(on.x[on.valid], off.x[on.valid])
    if name != "drop_joints":  # which hides one joint at least
        assert torch.equal(on.valid, off.valid)
    assert torch.equal(on.draws.gumbel(5), off.draws.gumbel(5))


@pytest.mark.parametrize("name", NEW)
def test_what_a_seed_draws_is_drawn_again(name):
    data = tracks(*(walk(seed=i) for i in range(20)))
    again = [sample(data, seed=seed, **{name: NEW[name]}) for seed in (0, 0, 1)]
    assert torch.equal(again[0].x, again[1].x)
    assert torch.equal(again[0].valid, again[1].valid)
    assert not torch.equal(again[0].x, again[2].x)


def test_draws_do_not_depend_on_the_number_of_processes():
    data = tracks(walk(), walk(seed=1), walk(bodies=2, seed=2), walk(bodies=2, seed=3))
    sampler = Sampler(data, replace(PLAIN, rotation=0.3, noise=0.01, **NEW))
    track, clip_index = data.of_clips(torch.arange(4))
    whole = sampler.sample(track, Draws(7, 4), clip_index)
    for rows in (slice(0, 2), slice(2, 4), slice(1, 3)):
        track, clip_index = data.of_clips(torch.arange(4)[rows])
        part = sampler.sample(track, Draws(7, 4, rows), clip_index)
        own = torch.isin(data.clip, torch.arange(4)[rows])
        torch.testing.assert_close(part.x, whole.x[own])
        assert torch.equal(part.valid, whole.valid[own])


@pytest.mark.parametrize("window", ["crop", "uniform"])
def test_unaugmented_draws_nothing_but_frames(window, recwarn):
    settings = SamplingSettings(frames=30, window=window, min_crop_frames=64, rotation=0.3, shear=0.1, noise=0.1, **NEW)
    recwarn.clear()
    plain = settings.unaugmented()
    assert not recwarn.list
    assert (plain.window, plain.frames) == (window, 30)
    data = tracks(walk(), walk(seed=1))
    x = Sampler(data, plain).sample(torch.arange(2), Draws(0, 2)).x
    torch.testing.assert_close(x, data.frames.view_as(x))  # as many frames as the window: the clip itself

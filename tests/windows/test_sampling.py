"""Sampling: resampling, crops, augmentation, streams, missing joints, and draws that do not depend on the batch."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from kinemask.draws import Draws, key
from kinemask.skeleton import layout
from kinemask.windows.anatomy import Anatomy
from kinemask.windows.augment import augment, rotation_matrix
from kinemask.windows.fill import fill
from kinemask.windows.resample import fixed_crop, interpolate, linear_positions
from kinemask.windows.sampler import Sampler
from kinemask.windows.settings import AUGMENTATION, OF_ENCODER, TEST_VIEW, SamplingSettings
from kinemask.windows.streams import difference
from kinemask.windows.tracks import Recordings, Tracks

SBU, PENN, NTU = layout("sbu15"), layout("penn13"), layout("ntu25")
PLAIN = SamplingSettings(frames=24, rotation=0, min_crop_frames=8)


def walk(frames, of=SBU, bodies=1, seed=0):
    """Smooth random recording (M, T, V, C)."""
    steps = np.random.default_rng(seed).normal(0, 0.1, (bodies, frames, of.num_joints, of.dims))
    return steps.cumsum(1).astype(np.float32)


def clock(frames, of=SBU, bodies=1):
    """A recording whose every coordinate is the number of its frame: a sample shows where it was taken."""
    t = np.arange(frames, dtype=np.float32)[:, None, None]
    return np.broadcast_to(t, (bodies, frames, of.num_joints, of.dims)).copy()


def tracks(*arrays, of=SBU, missing="fill"):
    return Tracks(Recordings.of(of, arrays), missing=missing)


def every(of):
    return torch.arange(len(of))


def times(of, settings, seed=0, count=1):
    """Sampled frame numbers of clocks: (count, tracks, T)."""
    sampler, track = Sampler(of, settings), every(of)
    return torch.stack([sampler.sample(track, Draws(key(seed, i), len(track))).x[:, :, 0, 0] for i in range(count)])


# resampling


@pytest.mark.parametrize("frames", [1, 7, 64, 120])
def test_linear_resampling_is_interpolate(frames):
    lengths = [*range(1, 20), 31, 63, 64, 65, 119, 120, 121, 240, 300, 997]
    arrays = [walk(n, seed=n) for n in lengths]
    x = Sampler(tracks(*arrays), SamplingSettings(frames=frames, test_crop=1.0)).test_view(torch.arange(len(arrays)))
    for one, array in zip(x, arrays, strict=True):
        flat = torch.from_numpy(array[0]).flatten(1).T[None]
        expected = F.interpolate(flat, frames, mode="linear", align_corners=False)[0].T.view(one.shape)
        torch.testing.assert_close(one, expected, atol=1e-4, rtol=0)


def test_resampling_of_a_crop_is_interpolate_of_the_crop():
    array = walk(100)
    position = linear_positions(torch.tensor([13]), torch.tensor([40]), 64)
    of = tracks(array)
    x, _ = interpolate(of.frames, of.seen, of.start, of.length, position)
    flat = torch.from_numpy(array[0, 13:53]).flatten(1).T[None]
    expected = F.interpolate(flat, 64, mode="linear", align_corners=False)[0].T.view(x[0].shape)
    torch.testing.assert_close(x[0], expected, atol=1e-5, rtol=0)


# crops


def crop_of(t):
    """(start, length) of linearly resampled crops from sampled times (..., T) that do not touch the crop's ends."""
    step = (t[..., -2] - t[..., 1]) / (t.shape[-1] - 3)
    length = step * t.shape[-1]
    return t[..., 1] - 1.5 * step + 0.5, length


def test_crops_lie_within_clip_and_limits():
    of = tracks(*map(clock, (100, 300, 64, 40, 1)))
    settings = replace(PLAIN, frames=16, crop=(0.5, 0.8), min_crop_frames=30)
    t = times(of, settings, count=300)
    assert (t >= 0).all()
    assert (t <= of.length.unsqueeze(-1) - 1).all()
    assert (t.diff(dim=-1) >= 0).all()
    start, length = crop_of(t)
    for i, (low, high) in enumerate([(50, 80), (150, 240), (32, 51), (30, 32)]):
        assert length[:, i].min() >= low - 0.01
        assert length[:, i].max() <= high + 0.01
        assert length[:, i].max() - length[:, i].min() > 0.8 * (high - low) - 1  # lengths are spread
        first, last = start[:, i].min(), (start + length)[:, i].max()
        assert first < 0.05 * of.length[i] + 1  # crops reach both ends
        assert last > 0.95 * of.length[i] - 1


def test_no_crop_is_shorter_than_the_minimum_or_the_clip():
    of = tracks(clock(100), clock(50))
    _, length = crop_of(times(of, replace(PLAIN, frames=16, crop=(0.1, 0.1), min_crop_frames=64), count=20))
    torch.testing.assert_close(length, torch.tensor([64.0, 50.0]).expand(20, 2), atol=1e-3, rtol=0)


def test_test_crop_is_the_centre():
    of = tracks(*map(clock, (100, 33, 2, 1)))
    for crop in (0.5, 0.9, 0.95, 1.0):
        t = Sampler(of, replace(PLAIN, test_crop=crop)).test_view(every(of))[..., 0, 0]
        torch.testing.assert_close(t.mean(1), (of.length - 1) / 2, atol=1e-3, rtol=0)
        assert crop_of(t[0])[1].item() == pytest.approx(100 * crop, abs=1.01)


def test_several_test_clips_pass_over_the_whole_clip():
    of = tracks(clock(100))
    sampler = Sampler(of, replace(PLAIN, test_crop=0.5, test_clips=5))
    starts = [crop_of(sampler.test_view(every(of), i)[..., 0, 0])[0].item() for i in range(5)]
    assert starts == sorted(starts)
    assert len({round(s) for s in starts}) == 5
    assert starts[0] >= 0
    assert starts[-1] <= 50
    assert starts[2] == pytest.approx(25, abs=1)  # the middle one is the centre


@pytest.mark.parametrize("n", [2, 31, 100])
@pytest.mark.parametrize("crop", [0.5, 0.95])
def test_several_test_clips_are_spread_from_end_to_end(n, crop):
    """Ten crops of the same length, evenly, the first at the clip's first frame and the last at its last."""
    start = torch.tensor([0])
    settings = replace(PLAIN, test_crop=crop, test_clips=10)
    found = torch.cat([fixed_crop(torch.tensor([n]), number, settings) for number in range(10)])
    length = max(n * crop, 1)
    for number, t in enumerate(found):
        torch.testing.assert_close(
            t - (n - length) * number / 9, linear_positions(start, torch.tensor([length]), 24)[0]
        )
    assert (found >= 0).all()
    assert (found <= n - 1 + 1e-5).all()
    assert len(found.mean(1).round(decimals=3).unique()) == 10
    torch.testing.assert_close(found.mean(1).diff(), torch.full((9,), (n - length) / 9), atol=1e-5, rtol=1e-4)


def test_crops_that_are_all_the_whole_clip_are_told():
    with pytest.warns(UserWarning, match=r"sampling\.test_clips has no effect with test_crop 1"):
        SamplingSettings(test_crop=1.0, test_clips=3)


# uniform-interval sampling


def test_a_long_clip_gives_one_random_frame_of_each_interval():
    T, n = 12, 100
    t = times(tracks(clock(n)), replace(PLAIN, frames=T, window="uniform"), count=400)[:, 0]
    assert torch.equal(t, t.round())
    for i in range(T):
        assert set(t[:, i].tolist()) == set(range(i * n // T, (i + 1) * n // T))


def skipping(n, T, gaps):
    """Frames of a window of T, one left out at each of the places `gaps`: place t is before frame t, T after the last.

    As DG-STGCN's public code has it for T ≤ n < 2T.
    """
    taken, frame = [], 0
    for place in range(T):
        frame += place in gaps
        taken.append(frame)
        frame += 1
    assert len(gaps) == n - T
    assert frame + (T in gaps) == n
    return tuple(taken)


@pytest.mark.parametrize(("n", "T"), [(6, 6), (7, 6), (9, 6), (11, 6), (3, 2), (1, 1)])
def test_a_clip_of_t_to_2t_frames_leaves_out_single_frames(n, T):
    """Every choice of places is as likely, and nothing else comes up."""
    count = 2000
    t = times(tracks(clock(n)), replace(PLAIN, frames=T, window="uniform"), count=count)[:, 0]
    found = Counter(tuple(row) for row in t.long().tolist())
    choices = [skipping(n, T, gaps) for gaps in itertools.combinations(range(T + 1), n - T)]
    assert set(found) == set(choices)
    expected = count / len(choices)
    assert max(abs(found[choice] - expected) for choice in set(choices)) < 6 * expected**0.5


def test_uniform_sampling_of_a_short_clip_skips_at_most_one_frame_at_a_time():
    of = tracks(*map(clock, range(90, 180, 7)))
    t = times(of, replace(PLAIN, frames=90, window="uniform"), count=20)
    assert set(t.diff(dim=-1).unique().tolist()) == {1, 2}


@pytest.mark.parametrize("n", [1, 2, 5, 11])
def test_a_short_clip_gives_consecutive_frames_modulo_its_length(n):
    T = 12
    t = times(tracks(clock(n)), replace(PLAIN, frames=T, window="uniform"), count=100)[:, 0]
    assert torch.equal((t[:, 1:] - t[:, :-1]) % n, torch.ones(100, T - 1) % n)
    assert set(t[:, 0].tolist()) == set(range(n))


def test_uniform_test_views_are_fixed_different_and_shared_by_bodies():
    of = tracks(clock(100, bodies=2), clock(20), clock(5, bodies=2))
    sampler = Sampler(of, replace(PLAIN, window="uniform", test_clips=3))
    views = [sampler.test_view(every(of), i)[..., 0, 0] for i in (0, 1, 2, 0)]
    assert torch.equal(views[0], views[3])
    assert not torch.equal(views[0], views[1])
    assert not torch.equal(views[1], views[2])
    assert torch.equal(views[0][0], views[0][1])  # the two bodies of the first clip
    assert torch.equal(views[0][3], views[0][4])
    part = Sampler(of, sampler.settings).test_view(torch.tensor([3, 2]))[..., 0, 0]
    assert torch.equal(part, views[0][[3, 2]]), "a test view depends on the batch it is asked for in"


@pytest.mark.parametrize(
    ("n", "starts"), [(11, [0, 2, 4, 6, 8]), (6, [0, 1, 2, 3, 4]), (3, [0, 1, 2, 0, 1]), (1, [0] * 5)]
)
def test_uniform_test_views_of_a_short_clip_start_spread_over_it(n, starts):
    sampler = Sampler(tracks(clock(n)), replace(PLAIN, frames=12, window="uniform", test_clips=5))
    for number, start in enumerate(starts):
        found = sampler.test_view(torch.tensor([0]), number)[0, :, 0, 0]
        assert found.tolist() == [(start + t) % n for t in range(12)]


# augmentation


def test_rotation_matrices_are_rotations():
    angles = torch.rand(200, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    R = rotation_matrix(angles, 3)
    torch.testing.assert_close(R @ R.mT, torch.eye(3).expand(200, 3, 3), atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.linalg.det(R), torch.ones(200))
    for axis in range(3):
        only = torch.zeros(1, 3)
        only[0, axis] = 0.3
        R = rotation_matrix(only, 3)[0]
        unit = torch.eye(3)[axis]
        torch.testing.assert_close(R @ unit, unit)  # the axis stays
        assert math.acos((R.trace().item() - 1) / 2) == pytest.approx(0.3, abs=1e-4)
    R = rotation_matrix(angles, 2)
    assert R.shape == (200, 2, 2)
    torch.testing.assert_close(R @ R.mT, torch.eye(2).expand(200, 2, 2), atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.atan2(R[:, 1, 0], R[:, 0, 0]), angles[:, 2])


@pytest.mark.parametrize("of", [SBU, PENN], ids=lambda of: of.name)
def test_a_window_is_rotated_as_a_whole_and_within_the_limit(of):
    still = np.repeat(walk(1, of), 30, axis=1)
    data = tracks(*[still] * 300, of=of)
    base = Sampler(data, PLAIN).sample(every(data), Draws(0, 300)).x
    turned = Sampler(data, replace(PLAIN, rotation=0.3)).sample(every(data), Draws(0, 300)).x
    torch.testing.assert_close(turned.norm(dim=-1), base.norm(dim=-1))
    assert (turned - turned[:, :1]).abs().max() < 1e-6  # one rotation for all frames
    if of.dims == 2:
        angle = torch.atan2(turned[..., 1], turned[..., 0]) - torch.atan2(base[..., 1], base[..., 0])
        angle = (angle + math.pi) % (2 * math.pi) - math.pi
        assert (angle - angle[:, :1, :1]).abs().max() < 1e-4  # one angle for all joints
        angle = angle[:, 0, 0]
        assert angle.abs().max() < 0.3 + 1e-4
        assert angle.min() < -0.25
        assert angle.max() > 0.25


def test_rotation_can_be_given_per_axis():
    data = tracks(walk(30))
    base = Sampler(data, PLAIN).sample(every(data), Draws(0, 1)).x
    for axis in range(3):
        angles = tuple(0.5 if a == axis else 0.0 for a in range(3))
        x = Sampler(data, replace(PLAIN, rotation=angles)).sample(every(data), Draws(0, 1)).x
        torch.testing.assert_close(x[..., axis], base[..., axis])
        assert not torch.allclose(x, base)


def test_zero_rotation_is_the_same_however_it_is_written():
    """Settings that come back from a file hold lists; the random numbers that follow must not depend on that."""
    data = tracks(walk(30))
    noisy = replace(PLAIN, noise=0.1)
    samples = [
        Sampler(data, replace(noisy, rotation=rotation)).sample(every(data), Draws(0, 1)).x
        for rotation in (0, 0.0, (0.0, 0.0, 0.0), [0.0, 0.0, 0.0])
    ]
    assert all(torch.equal(samples[0], x) for x in samples)


def test_shear_is_linear_with_unit_diagonal():
    still = np.repeat(walk(1), 30, axis=1)
    data = tracks(*[still] * 200)
    base = Sampler(data, PLAIN).sample(every(data), Draws(0, 200)).x
    x = Sampler(data, replace(PLAIN, shear=0.4)).sample(every(data), Draws(0, 200)).x
    matrix = torch.linalg.lstsq(base[:, 0].double(), x[:, 0].double()).solution.mT
    torch.testing.assert_close(matrix.diagonal(dim1=1, dim2=2), torch.ones(200, 3).double(), atol=1e-4, rtol=0)
    off = matrix[:, ~torch.eye(3, dtype=torch.bool)]
    assert off.abs().max() < 0.4 + 1e-4
    assert (off.std(0) - 0.4 / math.sqrt(3)).abs().max() < 0.04


def augmented(x, clip_index, **changes):
    valid, axis = torch.ones(x.shape[:3], dtype=torch.bool), torch.zeros(len(x), dtype=torch.long)
    return augment(x, valid, Draws(0, 2), clip_index, replace(PLAIN, **changes), Anatomy.of(SBU), axis)[0]


def test_bodies_of_a_clip_share_rotation_and_shear_but_not_noise():
    x, clip_index = torch.randn(1, 12, 15, 3).expand(3, -1, -1, -1), torch.tensor([0, 0, 1])
    turned = augmented(x, clip_index, rotation=0.5, shear=0.5)
    assert torch.equal(turned[0], turned[1])
    assert not torch.allclose(turned[0], turned[2])
    noise = augmented(x, clip_index, noise=0.1) - x
    alone = augmented(x[::2], torch.arange(2), noise=0.1) - x[::2]
    assert torch.equal(noise[::2], alone)  # first bodies do not depend on there being second ones
    assert abs(torch.corrcoef(noise[:2].flatten(1))[0, 1]) < 0.1


def test_noise_has_its_standard_deviation():
    data = tracks(walk(30), walk(30, seed=1))
    base = Sampler(data, PLAIN).sample(every(data), Draws(0, 2)).x
    noise = Sampler(data, replace(PLAIN, noise=0.05)).sample(every(data), Draws(0, 2)).x - base
    assert noise.std().item() == pytest.approx(0.05, rel=0.1)
    assert not torch.allclose(noise[0], noise[1])
    assert not torch.allclose(noise[0, 0], noise[0, 1])


def test_bodies_of_a_clip_share_crop_and_rotation():
    one, apart = walk(80), np.float32([1.0, 0.2, -0.5])
    data = tracks(np.concatenate([one, one + apart]), walk(80, seed=5))
    track, clip_index = data.of_clips(torch.tensor([1, 0, 0]))
    assert track.tolist() == [2, 0, 1, 0, 1]
    assert clip_index.tolist() == [0, 1, 1, 2, 2]
    for window in ("crop", "uniform"):
        settings = SamplingSettings(frames=24, window=window, shear=0.2)
        x = Sampler(data, settings).sample(track, Draws(3, 3), clip_index).x
        shift = x[2] - x[1]
        torch.testing.assert_close(shift, shift[:1, :1].expand_as(shift), atol=1e-5, rtol=0)
        assert not torch.allclose(shift[0, 0], torch.from_numpy(apart), atol=1e-3)  # turned
        assert not torch.allclose(x[3], x[1])  # the same clip drawn again is another sample


# streams


def test_streams():
    data = tracks(walk(40), of=SBU)
    joint, motion, bone = (
        Sampler(data, replace(PLAIN, stream=stream)).sample(every(data), Draws(0, 1)).x
        for stream in ("joint", "motion", "bone")
    )
    torch.testing.assert_close(motion[:, :-1], joint[:, 1:] - joint[:, :-1])
    assert not motion[:, -1].any()
    for v, parent in enumerate(SBU.parents):
        torch.testing.assert_close(bone[:, :, v], joint[:, :, v] - joint[:, :, parent])
    assert not bone[:, :, SBU.root].any()


def test_difference_has_a_stride():
    x = torch.randn(2, 10, 3, 3)
    for stride in (1, 3, 9):
        d = difference(x, stride)
        assert torch.equal(d[:, : 10 - stride], x[:, stride:] - x[:, : 10 - stride])
        assert not d[:, 10 - stride :].any()


# missing joints


def slow_fill(body, root):
    """Joint by joint and frame by frame, for one body (T, V, C)."""
    frames, joints, _ = body.shape
    out = np.full(body.shape, np.nan)
    seen = np.isfinite(body).all(-1)
    for v in range(joints):
        known = np.flatnonzero(seen[:, v])
        for t in range(frames):
            if not len(known):
                continue
            before, after = known[known <= t], known[known >= t]
            a = before[-1] if len(before) else after[0]
            b = after[0] if len(after) else before[-1]
            share = 0 if a == b else (t - a) / (b - a)
            out[t, v] = (1 - share) * body[a, v] + share * body[b, v]
    out[np.isnan(out[:, root]).any(1), root] = 0
    for v in range(joints):
        if not seen[:, v].any():
            out[:, v] = out[:, root]
    return out


def holes(frames, seed, of=SBU, bodies=1):
    rng = np.random.default_rng(seed)
    data = walk(frames, of, bodies, seed)
    data[rng.random(data.shape[:3]) < 0.4] = np.nan
    data[:, :, 1] = np.nan  # never seen
    data[:, : frames // 3, 4] = np.nan  # held at the start
    data[:, frames // 2 :, 5] = np.nan  # and at the end
    data[:, :, 7] = walk(frames, of, bodies, seed + 1)[:, :, 7]
    return data


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_missing_joints_are_filled_linearly_held_at_the_ends_and_placed_at_the_root(dtype):
    bodies = [holes(n, n)[0].astype(dtype) for n in (1, 2, 3, 20, 50)]
    bodies[3][:, SBU.root] = np.nan  # a root that is never seen lies at the origin
    bodies.append(walk(9, seed=9)[0].astype(dtype))
    bodies[5][3:5, 8], bodies[5][5:7, 9] = np.nan, np.nan  # the next joint's gap begins where this one's ends
    values = torch.from_numpy(np.concatenate(bodies))
    starts = torch.tensor([0, *map(len, bodies)]).cumsum(0)[:-1]
    filled = fill(values, values.isfinite().all(-1), starts, SBU.root)
    assert filled.dtype == values.dtype
    expected = np.concatenate([slow_fill(b.astype(np.float64), SBU.root) for b in bodies])
    assert np.abs(filled.numpy() - expected).max() < (1e-5 if dtype == np.float32 else 2e-3)


@pytest.mark.parametrize("missing", ["fill", "zero"])
def test_a_joint_with_one_coordinate_missing_is_missing(missing):
    part, whole = holes(20, 0), holes(20, 0)
    gaps = np.isnan(part).any(-1)
    part[gaps] = np.float32([7.0, np.nan, 7.0])  # trackers leave such rubbish
    a, b = tracks(part, missing=missing), tracks(whole, missing=missing)
    assert torch.equal(a.seen, b.seen)
    assert torch.equal(a.frames, b.frames)


def test_zero_puts_missing_joints_at_the_origin():
    data = holes(30, 1)
    zero = tracks(data, missing="zero")
    assert torch.equal(zero.frames, torch.from_numpy(np.nan_to_num(data[0])))
    assert zero.seen.all()  # as in the published codes, where they are positions like any other


def test_valid_says_what_was_seen():
    data = clock(30)
    data[0, 10, 3] = np.nan
    data[0, 20:, 4] = np.nan
    of = tracks(data)
    batch = Sampler(of, replace(PLAIN, frames=30, crop=(1, 1))).sample(every(of), Draws(0, 1))
    expected = torch.from_numpy(np.isfinite(data).all(-1))
    assert batch.x.isfinite().all()
    assert torch.equal(batch.valid, expected)  # resampled to its own length a clip is itself
    batch = Sampler(of, replace(PLAIN, frames=60, crop=(1, 1))).sample(every(of), Draws(0, 1))
    t = batch.x[0, :, 0, 0]
    touches = (t > 9 + 1e-4) & (t < 11 - 1e-4)
    assert torch.equal(batch.valid[0, :, 3], ~touches)
    assert torch.equal(batch.valid[0, :, 4], t < 19 + 1e-4)
    bone = Sampler(of, replace(PLAIN, frames=30, crop=(1, 1), stream="bone")).sample(every(of), Draws(0, 1)).valid
    child = SBU.parents.index(3)  # a bone needs both its ends
    assert not bone[0, 10, child]
    assert not bone[0, 10, 3]
    motion = Sampler(of, replace(PLAIN, frames=30, crop=(1, 1), stream="motion")).sample(every(of), Draws(0, 1)).valid
    assert not motion[0, [9, 10], 3].any()
    assert motion[0, 11, 3]


# tracks


def test_absent_bodies_are_no_tracks():
    two = walk(20, bodies=2)
    two[1] = np.nan
    of = tracks(two, walk(10, seed=1), walk(30, bodies=3, seed=2))
    assert len(of) == 5
    assert of.clip.tolist() == [0, 1, 2, 2, 2]
    assert of.length.tolist() == [20, 10, 30, 30, 30]
    track, clip_index = of.of_clips(torch.tensor([2, 0]))
    assert track.tolist() == [2, 3, 4, 0]
    assert clip_index.tolist() == [0, 0, 0, 1]
    only = np.full((2, 5, 15, 3), np.nan, np.float32)
    with pytest.raises(ValueError, match="missing"):
        tracks(walk(10), only)
    with pytest.raises(ValueError, match="missing"):
        tracks(only)


def test_tracks_of_a_store_are_its_bodies(tiny):
    clips = np.array([7, 0, 20, 5])
    of = Tracks(tiny, clips)
    assert len(of) == tiny.bodies[clips].sum()
    row = 0
    for position, clip in enumerate(clips):
        for body in tiny.clip(clip):
            assert of.clip[row] == position
            rows = slice(of.start[row], of.start[row] + of.length[row])
            np.testing.assert_allclose(of.frames[rows], slow_fill(body.astype(np.float64), SBU.root), atol=1e-5)
            row += 1
    with pytest.raises(ValueError, match="no clips"):
        Tracks(tiny, np.array([], int))


def test_tracks_of_several_stores_are_those_of_each(tiny):
    two = walk(20, bodies=2)
    two[1] = np.nan
    other = Recordings.of(SBU, [walk(9, seed=1), two.astype(np.float16)])
    parts = [(tiny, np.array([7, 0])), (other, np.array([1, 0]))]
    both, each = Tracks(parts), [Tracks(store, clips) for store, clips in parts]
    for name in ("frames", "seen", "length", "scale"):
        assert torch.equal(getattr(both, name), torch.cat([getattr(one, name) for one in each]))
    assert both.start.tolist() == [0, *both.length.cumsum(0)[:-1].tolist()]
    assert both.clip.tolist() == [*each[0].clip.tolist(), 2, 3]
    assert both.clips.tolist() == [7, 0, 1, 0]
    assert both.store_of.tolist() == [0, 0, 1, 1]
    assert both.names([3, 0]) == ["0 of memory", f"{tiny.names[7]} of {tiny.path}"]
    assert each[0].names([1]) == [tiny.names[0]]
    track, clip_index = both.of_clips(torch.tensor([3, 0]))
    assert both.clip[track].tolist() == [3, *[0] * tiny.bodies[7]]
    assert clip_index.tolist() == [0, *[1] * tiny.bodies[7]]


def test_stores_of_several_layouts_are_told(tiny):
    other = Recordings.of(PENN, [walk(9, PENN)])
    with pytest.raises(ValueError, match=r"has sbu15, memory has penn13"):
        Tracks([(tiny, np.array([0])), (other, np.array([0]))])
    with pytest.raises(ValueError, match="no clips were chosen from the store memory"):
        Tracks([(tiny, np.array([0])), (Recordings.of(SBU, [walk(9)]), np.array([], int))])


def test_reading_in_chunks_changes_nothing(tiny, monkeypatch):
    whole = Tracks(tiny)
    monkeypatch.setattr("kinemask.windows.tracks._CHUNK_ROWS", 50)
    pieces = Tracks(tiny)
    for name in ("frames", "seen", "start", "length", "clip", "scale"):
        assert torch.equal(getattr(whole, name), getattr(pieces, name))


def test_bad_recordings_are_told():
    with pytest.raises(ValueError, match=r"recording 1 has shape \(4, 14, 3\)"):
        Recordings.of(SBU, [walk(4)[0], np.zeros((4, 14, 3), np.float32)])
    with pytest.raises(ValueError, match="recording 0"):
        Recordings.of(SBU, [np.zeros((0, 15, 3), np.float32)])
    with pytest.raises(ValueError, match="infinity"):
        Recordings.of(SBU, [np.full((4, 15, 3), np.inf, np.float32)])


def test_torso_scale_makes_size_irrelevant_and_keeps_bodies_in_place():
    one = walk(30, bodies=2)
    one[0, 5:9, list(SBU.torso)] = np.nan
    small, large = tracks(one), tracks(3 * one)
    scaled = replace(PLAIN, scale="torso")
    a, b = (Sampler(of, scaled).sample(every(of), Draws(0, 2)).x for of in (small, large))
    torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
    assert small.scale[0] == small.scale[1]
    ends = [one[0][:, list(e)].mean(1) for e in SBU.torso_length]
    expected = 1 / np.nanmedian(np.linalg.norm(ends[0] - ends[1], axis=-1))
    assert small.scale[0].item() == pytest.approx(expected, rel=1e-4)
    unseen = walk(30, seed=1)
    unseen[:, :, list(SBU.torso_length[0])] = np.nan
    assert tracks(unseen).scale.tolist() == [1.0]


# draws


def test_draws_of_parts_are_parts_of_the_whole():
    whole = Draws(key("x", 1), 12)
    expected = [whole.uniform(3), whole.normal(2, 5), whole.gumbel(7)]
    for rows in (slice(0, 12), slice(0, 4), slice(4, 9), slice(11, 12)):
        part = Draws(key("x", 1), 12, rows)
        for value, all_rows in zip([part.uniform(3), part.normal(2, 5), part.gumbel(7)], expected, strict=True):
            assert torch.equal(value, all_rows[rows])
    assert len({key("x", 1), key("x", 2), key("y", 1)}) == 3


def test_named_draws_are_of_the_same_rows_and_leave_the_others():
    one, other = Draws(5, 12), Draws(5, 12)
    named = one.named("a", 1).uniform(3)
    assert torch.equal(one.uniform(3), other.uniform(3))
    assert torch.equal(other.named("a", 1).uniform(3), named)  # whenever they are drawn
    assert torch.equal(Draws(5, 12, slice(4, 9)).named("a", 1).uniform(3), named[4:9])
    assert not torch.equal(one.named("a", 2).uniform(3), named)
    assert not torch.equal(Draws(6, 12).named("a", 1).uniform(3), named)


def test_gumbel_noise_is_gumbel_and_finite():
    noise = Draws(0, 1000).gumbel(200)
    assert noise.isfinite().all()
    assert noise.mean().item() == pytest.approx(0.5772, abs=0.01)
    assert noise.var().item() == pytest.approx(math.pi**2 / 6, abs=0.03)


@pytest.mark.parametrize("window", ["crop", "uniform"])
def test_samples_do_not_depend_on_the_number_of_processes(window, tiny):
    of = Tracks(tiny)
    sampler = Sampler(of, SamplingSettings(frames=24, window=window, min_crop_frames=8, shear=0.1, noise=0.01))
    order = torch.randperm(len(of), generator=torch.Generator().manual_seed(0))[:12]
    whole = sampler.sample(order, Draws(5, 12))
    noise = whole.draws.gumbel(9)
    for rows in (slice(0, 6), slice(6, 12), slice(5, 7)):
        part = sampler.sample(order[rows], Draws(5, 12, rows))
        torch.testing.assert_close(part.x, whole.x[rows])
        assert torch.equal(part.valid, whole.valid[rows])
        assert torch.equal(part.draws.gumbel(9), noise[rows])


@pytest.mark.parametrize("window", ["crop", "uniform"])
def test_windows_are_sampled_in_float32_under_autocast(window):
    """Rotation, stretch, shear and turning are matrix products, which bfloat16 rounds; also in making the sampler."""
    of = tracks(walk(60), walk(30, bodies=2, seed=1))
    changes = {"rotation": 0.3, "shear": 0.1, "stretch": 0.1, "limbs": 0.1, "mirror": 0.5, "align": "heading"}
    make = lambda: Sampler(of, SamplingSettings(frames=24, window=window, **changes))
    views = lambda sampler: (sampler.sample(every(of), Draws(0, len(of))).x, sampler.test_view(every(of)))
    expected = views(make())
    with torch.autocast("cpu", torch.bfloat16):
        found = views(make())
    for a, b in zip(expected, found, strict=True):
        assert b.dtype == torch.float32
        assert torch.equal(a, b)


# settings

OTHER = {
    "frames": 30,
    "window": "uniform",
    "crop": (0.3, 0.6),
    "test_crop": 0.5,
    "test_clips": 3,
    "min_crop_frames": 50,
    "rotation": 0.1,
    "shear": 0.1,
    "noise": 0.1,
    "limbs": 0.3,
    "mirror": 1.0,
    "stretch": 0.3,
    "drop_joints": 0.9,
    "drop_axis": 1.0,
    "stream": "bone",
    "missing": "zero",
    "scale": "torso",
    "align": "heading",
}


def test_every_option_is_covered():
    assert set(OTHER) == {f.name for f in fields(SamplingSettings)}
    groups = [*AUGMENTATION, *TEST_VIEW, *OF_ENCODER]
    assert len(groups) == len(set(groups))
    assert set(groups) <= set(OTHER)


def test_settings_need_no_torch():
    code = "import sys, kinemask.windows.settings; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", OTHER)
def test_every_option_changes_something(name):
    base = SamplingSettings(frames=24, crop=(0.5, 1), min_crop_frames=8)
    outs = []
    for settings in (base, replace(base, **{name: OTHER[name]})):
        of = tracks(walk(60), holes(60, 3), missing=settings.missing)
        sampler = Sampler(of, settings)
        outs.append((sampler.sample(every(of), Draws(0, 2)).x, sampler.test_view(every(of))))
    changed = [a.shape != b.shape or not torch.allclose(a, b) for a, b in zip(*outs, strict=True)]
    assert changed == [name not in TEST_VIEW, name not in AUGMENTATION]


@pytest.mark.parametrize(
    "bad",
    [
        {"crop": (0.0, 1.0)},
        {"crop": (0.9, 0.5)},
        {"crop": (0.5, 1.5)},
        {"test_crop": 0},
        {"test_crop": 1.2},
        {"frames": 0},
        {"min_crop_frames": 0},
        {"test_clips": 0},
        {"limbs": 1.0},
        {"stretch": -0.1},
        {"stretch": float("nan")},
        {"mirror": 1.5},
        {"drop_joints": -0.1},
        {"drop_axis": float("nan")},
    ],
    ids=str,
)
def test_bad_settings_are_told_by_name(bad):
    (name,) = bad
    with pytest.raises(ValueError, match=name):
        SamplingSettings(**bad)

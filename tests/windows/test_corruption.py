"""Corrupted recordings: what a level of each kind does to them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kinemask.skeleton import layout
from kinemask.store.format import Clip
from kinemask.store.writer import write_store
from kinemask.windows.corruption import corrupt
from kinemask.windows.settings import CORRUPTIONS
from kinemask.windows.tracks import Recordings, Tracks

LEVELS = {"joints": 0.4, "parts": 2, "noise": 0.05, "dropped": 0.6, "rate": 0.4, "camera": 0.7}
CLEAN = {"rate": 1.0}


def made(source, kind, level, seed=0, missing="fill") -> Tracks:
    """Tracks of every clip, corrupted."""
    return Tracks(corrupt(source, np.arange(len(source)), kind, level, seed), missing=missing)


@pytest.fixture(scope="module")
def whole() -> Recordings:
    """Clips without gaps: two of two bodies, one of one frame."""
    rng = np.random.default_rng(0)
    shapes = ((2, 20), (1, 1), (1, 33), (2, 7))
    return Recordings.of(layout("sbu15"), [rng.normal(size=(m, t, 15, 3)).astype(np.float32) for m, t in shapes])


def bodies(t: Tracks | Recordings) -> list[torch.Tensor]:
    """Frames of each body."""
    t = t if isinstance(t, Tracks) else Tracks(t)
    return list(t.frames.split(t.length.tolist()))


@pytest.mark.parametrize("missing", ["fill", "zero"])
@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_a_level_of_nothing_changes_nothing(kind, missing, tiny):
    before = Tracks(tiny, missing=missing)
    after = made(tiny, kind, CLEAN.get(kind, 0), missing=missing)
    torch.testing.assert_close(after.frames, before.frames, rtol=0, atol=1e-6)
    for name in ("seen", "length", "start", "clip"):
        assert torch.equal(getattr(after, name), getattr(before, name)), name
    torch.testing.assert_close(after.scale, before.scale)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_a_seed_decides_what_is_hit(kind, tiny):
    a, b, c = (made(tiny, kind, LEVELS[kind], seed).frames for seed in (3, 3, 4))
    assert torch.equal(a, b)
    assert (a.shape == c.shape and torch.equal(a, c)) == (kind == "rate")  # which leaves nothing to chance
    assert a.isfinite().all()


def test_occluded_joints_are_missing_and_filled_as_in_any_recording(whole):
    after = made(whole, "joints", 0.4)
    assert torch.equal(Tracks(whole).length, after.length)
    hidden = [~s[0] for s in after.seen.split(after.length.tolist())]
    assert all(h.sum() == 6 for h in hidden)  # of 15
    assert len({tuple(h.tolist()) for h in hidden}) > 1  # every body its own
    for before, now, gone in zip(bodies(whole), bodies(after), hidden, strict=True):
        values = before.clone()
        values[:, gone] = torch.nan
        filled = Tracks(Recordings.of(whole.layout, [values.numpy()])).frames
        torch.testing.assert_close(now, filled)
    more = made(whole, "joints", 0.8)
    assert not (more.seen & ~after.seen).any()  # the same joints, and others
    assert made(whole, "joints", 0.999).seen.sum() == len(whole.frames)  # one joint stays


def test_occluded_parts_are_whole_parts(whole):
    after = made(whole, "parts", 2)
    for seen in after.seen.split(after.length.tolist()):
        gone = [all(not seen[0, j] for j in joints) for joints in whole.layout.parts.values()]
        assert sum(gone) == 2
        assert (~seen[0]).sum() == sum(len(p) for p, g in zip(whole.layout.parts.values(), gone, strict=True) if g)


def test_noise_is_as_large_as_asked(whole):
    moved = made(whole, "noise", 0.05).frames - Tracks(whole).frames
    assert moved.std().item() == pytest.approx(0.05, rel=0.05)
    assert abs(moved.mean().item()) < 0.005


@pytest.mark.parametrize("level", [0.25, 0.6, 1.0])
def test_dropped_frames_are_gone_for_all_bodies(whole, level):
    after = made(whole, "dropped", level)
    left = [max(1, round(n * (1 - level))) for n in Tracks(whole).length.tolist()]
    assert after.length.tolist() == left
    kept = []
    for before, now in zip(bodies(whole), bodies(after), strict=True):
        place = [int((before == frame).all(-1).all(-1).nonzero()) for frame in now]
        assert place == sorted(place)
        kept.append(place)
    assert kept[0] == kept[1]  # the two bodies of the first clip
    assert kept[-1] == kept[-2]


@pytest.mark.parametrize("rate", [0.4, 0.5, 0.3, 2.0])
def test_another_frame_rate_is_interpolation(whole, rate):
    after = made(whole, "rate", rate)
    for before, now in zip(bodies(whole), bodies(after), strict=True):
        t = np.arange(int((len(before) - 1) * rate + 1e-6) + 1) / rate
        flat = before.flatten(1).numpy()
        expected = np.stack([np.interp(t, np.arange(len(flat)), column) for column in flat.T], 1)
        np.testing.assert_allclose(now.flatten(1).numpy(), expected, atol=1e-5)


def test_a_gap_stays_a_gap_at_another_rate():
    values = np.random.default_rng(0).normal(size=(9, 15, 3)).astype(np.float32)
    values[4, 3] = np.nan
    after = made(Recordings.of(layout("sbu15"), [values]), "rate", 0.8)  # frames 0, 1.25, 2.5, 3.75, 5, 6.25, 7.5
    assert (~after.seen).nonzero().tolist() == [[3, 3]]


@pytest.mark.parametrize("name, still", [("sbu15", 1), ("penn13", None)])
def test_the_camera_turns_about_the_vertical(name, still):
    of = layout(name)
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(2, 5, of.num_joints, of.dims)).astype(np.float32) for _ in range(6)]
    source = Recordings.of(of, arrays)
    before, after = Tracks(source), made(source, "camera", 0.7)
    torch.testing.assert_close(after.frames.norm(dim=-1), before.frames.norm(dim=-1))
    if still is not None:
        torch.testing.assert_close(after.frames[..., still], before.frames[..., still])
    plane = [i for i in range(of.dims) if i != still]
    angle = lambda t: torch.atan2(t.frames[..., plane[1]], t.frames[..., plane[0]])
    turned = torch.remainder(angle(after) - angle(before) + torch.pi, 2 * torch.pi) - torch.pi
    torch.testing.assert_close(turned.abs(), torch.full_like(turned, 0.7), atol=1e-4, rtol=0)
    by_clip = turned.sign().view(6, -1)
    assert (by_clip == by_clip[:, :1]).all()  # both bodies, all frames
    assert len(by_clip[:, 0].unique()) == 2


@pytest.mark.parametrize("kind", ["joints", "parts", "dropped"])
def test_a_clip_that_nothing_is_left_of_is_a_point(kind):
    of = layout("sbu15")
    arrays = []
    for _ in range(12):
        one = np.full((6, 15, 3), np.nan, np.float32)
        one[2, 4] = 1.0  # one joint, seen once
        arrays.append(one)
    after = made(Recordings.of(of, arrays), kind, {"parts": 5}.get(kind, 0.9))
    assert len(after.clips) == 12
    points = [bool((body == 0).all()) for body in bodies(after)]
    assert any(points)
    assert not all(points) or kind == "joints"
    assert after.frames.isfinite().all()


def test_a_store_in_half_precision_is_corrupted_too(tmp_path):
    of = layout("sbu15")
    clips = [Clip("a", np.random.default_rng(0).normal(size=(1, 9, 15, 3)), 0, {"split:x": "test"})]
    half = write_store(tmp_path / "half", clips, of, ["a"], dtype="float16")
    assert made(half, "noise", 0.1).frames.isfinite().all()

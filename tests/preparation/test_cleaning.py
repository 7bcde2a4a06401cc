"""Cleaning: missing data, origin, scale, and the actors of NTU recordings against a slow reference."""

from __future__ import annotations

import numpy as np
import pytest

from helpers import DATA
from kinemask.readers.cleaning import (
    Rejected,
    clean_2d,
    clean_3d,
    cut_empty_frames,
    drop_unseen,
    find_origin,
    mark_missing,
    torso_length,
)
from kinemask.readers.ntu_actors import merge_actors
from kinemask.readers.skeleton_file import parse_skeleton
from kinemask.skeleton import layout

NTU = sorted((DATA / "ntu-rgbd").rglob("*.skeleton"))
FIRST_ID = 72057594037927936  # 2**56: ids that lie so close together are one float64


def clip(frames=4, joints=25, bodies=1, dims=3, seed=0):
    return np.random.default_rng(seed).normal(1, 0.3, (bodies, frames, joints, dims))


class TestMissing:
    def test_zero_and_partly_nan_joints_are_missing_whole(self):
        data = clip()
        data[0, 1, 2] = 0
        data[0, 2, 3, 1] = np.nan
        data[0, 3, 4, 0] = 0  # one zero coordinate is a coordinate
        before = data.copy()
        marked = mark_missing(data)
        assert np.array_equal(np.argwhere(np.isnan(marked).any(-1)), [[0, 1, 2], [0, 2, 3]])
        assert np.isnan(marked).any(-1).sum() == np.isnan(marked).all(-1).sum()
        assert np.array_equal(data, before, equal_nan=True)

    @pytest.mark.parametrize("value", [np.inf, -np.inf, 1e300])
    def test_infinity_is_an_error(self, value):
        data = clip()
        data[0, 1, 2, 0] = value
        with pytest.raises(ValueError, match=r"coordinate .* at index \(0, 1, 2, 0\) .* not a finite"):
            mark_missing(data)

    def test_unseen_bodies_and_frames(self):
        data = clip(bodies=3, frames=5)
        data[1] = np.nan
        data[:, 2] = np.nan
        data[0, 4] = np.nan
        kept, notes = drop_unseen(data)
        assert kept.shape[0] == 2
        assert notes == ("dropped body 2: no joint is seen in any frame",)
        assert cut_empty_frames(kept).shape[1] == 4
        with pytest.raises(Rejected, match="no joint is seen"):
            drop_unseen(np.full((2, 3, 25, 3), np.nan))


class TestOrigin:
    def test_first_valid_frame_of_the_first_body(self):
        data = clip(bodies=2)
        data[0, 0, 1] = np.nan
        clean, notes = clean_3d(data, layout("ntu25"))
        assert clean.dtype == np.float32
        assert notes == ()
        assert np.array_equal(clean[0, 1, 1], [0, 0, 0])
        assert np.isnan(clean[0, 0, 1]).all()
        assert np.allclose(clean, data - data[0, 1, 1], atol=1e-6, equal_nan=True)

    def test_where_the_origin_is_never_seen(self):
        data = clip(dims=2, joints=13)
        hips = layout("penn13").origin
        data[0, :, hips[0]] = np.nan
        data[0, 0, hips[1]] = np.nan
        origin, (note,) = find_origin(data, hips)
        assert np.array_equal(origin, data[0, 1, hips[1]])
        assert "never seen together" in note
        data[0, :, hips[1]] = np.nan
        data[0, 0] = np.nan
        data[0, 1, 3] = np.nan
        origin, (note,) = find_origin(data, hips)
        assert np.allclose(origin, np.nanmean(data[0, 1], axis=0))
        assert "never seen;" in note


class TestScale:
    def test_image_height(self):
        own = layout("coco17")
        data = clip(dims=2, joints=17) * 100
        clean, unit, _ = clean_2d(data, own, image_height=480)
        hips = data[0, 0, list(own.origin)].mean(0)
        assert unit == 240
        assert np.allclose(clean, (data - hips) * [1, -1] / 240, atol=1e-5)

    def test_torso_where_the_height_is_unknown(self):
        own = layout("coco17")
        data = clip(dims=2, joints=17, frames=7) * 100
        data[0, 2] = np.nan
        clean, unit, _ = clean_2d(data, own)
        upper, lower = (data[:, :, list(side)].mean(2) for side in own.torso_length)
        assert unit == pytest.approx(np.nanmedian(np.linalg.norm(upper - lower, axis=-1)))
        assert torso_length(clean.astype(float), own) == pytest.approx(1, abs=1e-5)

    def test_no_scale_at_all(self):
        data = clip(dims=2, joints=17)
        data[:, :, list(layout("coco17").torso_length[0])] = np.nan
        with pytest.raises(Rejected, match="scale"):
            clean_2d(data, layout("coco17"))


def reference_merge(ids, frames, joints):
    """The actors by the rules, one observation at a time, in plain Python; None for a rejected clip."""
    bodies: dict[int, dict[int, np.ndarray]] = {}
    for i, t, points in zip(ids.tolist(), frames.tolist(), joints, strict=True):
        if not np.isnan(points).all():
            bodies.setdefault(i, {}).setdefault(t, points)
    if not bodies:
        return None
    if len(bodies) > 1:
        bodies = {i: seen for i, seen in bodies.items() if len(seen) > 11}
        if not bodies:
            return None
        motion = {}
        for i in list(bodies):
            upright, everything = [], []
            for points in bodies[i].values():
                points = points[~np.isnan(points).any(-1)]
                everything.extend(points)
                if np.ptp(points[:, 0]) <= 0.8 * np.ptp(points[:, 1]):
                    upright.append(points)
            share = 1 - len(upright) / len(bodies[i])
            if len(bodies) > 1 and share >= 0.69754:
                del bodies[i]
                continue
            motion[i] = np.var(everything, axis=0).sum()
            if upright:
                motion[i] = min(motion[i], np.var(np.concatenate(upright), axis=0).sum())
        bodies = {i: bodies[i] for i in sorted(bodies, key=lambda i: motion[i], reverse=True)}
    actors: list[dict[int, np.ndarray]] = []
    for seen in bodies.values():
        for actor in actors:
            if max(seen) < min(actor) or min(seen) > max(actor):
                actor.update(seen)
                break
        else:
            if len(actors) < 2:
                actors.append(dict(seen))
    times = sorted({t for actor in actors for t in actor})
    empty = np.full(joints.shape[1:], np.nan)
    return np.array([[actor.get(t, empty) for t in times] for actor in actors])


def random_recording(seed):
    """Observations with ids that come and go: people, furniture, gaps, ids seen twice, missing joints."""
    rng = np.random.default_rng(seed)
    length = int(rng.integers(5, 70))
    rows = []
    for k in range(rng.integers(1, 7)):
        start = rng.integers(0, length)
        stop = rng.integers(start, length) + 1 if rng.random() < 0.7 else min(length, start + 14)
        width, size = rng.choice([0.3, 0.78, 0.82, 2.0]), rng.choice([0.0, 0.01, 0.2])
        shape = rng.uniform(-1, 1, (25, 3)) * [width, 1, 0.3]
        for t in range(start, stop):
            if rng.random() < 0.1:
                continue
            points = shape * [rng.choice([1, 1, 3]), 1, 1] + rng.normal(0, size, 3) + rng.normal(0, 0.01, (25, 3))
            points[rng.random(25) < 0.05] = np.nan
            if rng.random() < 0.03:
                points[:] = np.nan
            rows += [(t, FIRST_ID + k, points)] * (2 if rng.random() < 0.02 else 1)
    rows.sort(key=lambda row: row[0])
    ids, frames = np.array([r[1] for r in rows], np.int64), np.array([r[0] for r in rows], np.int64)
    return ids, frames, np.array([r[2] for r in rows]).reshape(-1, 25, 3)


def check_against_reference(ids, frames, joints):
    expected = reference_merge(ids, frames, joints)
    if expected is None:
        with pytest.raises(Rejected):
            merge_actors(ids, frames, joints)
        return ("rejected",)
    data, notes = merge_actors(ids, frames, joints)
    assert np.array_equal(data, expected, equal_nan=True)
    return f"{len(data)} actors", *(w for w in ("seen in", "wider", "overlap", "twice") if w in " ".join(notes))


class TestActors:
    def test_random_recordings_as_the_reference(self):
        met = {what for seed in range(400) for what in check_against_reference(*random_recording(seed))}
        assert met == {"rejected", "1 actors", "2 actors", "seen in", "wider", "overlap", "twice"}

    @pytest.mark.skipif(not NTU, reason=f"no NTU RGB+D files in {DATA}")
    @pytest.mark.parametrize("path", NTU, ids=lambda path: path.stem)
    def test_real_files_as_the_reference(self, path):
        seen = parse_skeleton(path)
        check_against_reference(seen.ids, seen.frames, mark_missing(seen.joints))
        rng = np.random.default_rng(0)  # and with ids that change in the middle
        ids = seen.ids + 1000 * (seen.frames // 20) * rng.integers(0, 2, len(seen.ids))
        check_against_reference(ids, seen.frames, mark_missing(seen.joints))

    def test_one_id_is_kept_however_short_or_wide(self):
        joints = clip(3)[0] * [5, 1, 1]
        data, notes = merge_actors(np.full(3, FIRST_ID), np.arange(3), joints)
        assert np.array_equal(data, joints[None])
        assert notes == ()

    def test_an_id_that_changes_continues_its_actor(self):
        shape = clip(40)[0] * [0.1, 1, 1]
        ids = FIRST_ID + (np.arange(40) >= 20)
        data, notes = merge_actors(ids, np.arange(40), shape)
        assert np.array_equal(data, shape[None])
        assert notes == ()

    def test_notes_name_each_dropped_body_and_why(self):
        ids = np.repeat([FIRST_ID + 1, FIRST_ID + 2, FIRST_ID + 3], [30, 11, 30])
        frames = np.concatenate([np.arange(30), np.arange(11), np.arange(30)])
        joints = np.concatenate([clip(30)[0] * [0.1, 1, 1], clip(11)[0], clip(30)[0] * [9, 1, 1]])
        order = np.argsort(frames, kind="stable")
        data, notes = merge_actors(ids[order], frames[order], joints[order])
        assert data.shape == (1, 30, 25, 3)
        assert notes == (
            f"dropped body {FIRST_ID + 2}: seen in 11 frames only",
            f"dropped body {FIRST_ID + 3}: wider than tall in 100.0% of its 30 frames",
        )

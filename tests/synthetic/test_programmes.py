"""Motion programmes: bodies that stay bodies, and no two alike."""

import numpy as np
import pytest

from kinemask.skeleton import layout
from kinemask.synthetic.programmes import LONGEST, SHORTEST, programme, sensed
from kinemask.synthetic.timing import RATE

NTU = layout("ntu25")
BONES = [(a, b) for a, b in ((5, 6), (9, 10), (13, 14), (12, 13), (0, 1))]


@pytest.fixture(scope="module")
def clips():
    return [programme(np.random.default_rng([0, number])) for number in range(60)]


def test_they_follow_from_their_numbers(clips):
    assert np.array_equal(clips[7], programme(np.random.default_rng([0, 7])))
    assert len({round(float(clip[0, 0, 1]), 6) for clip in clips}) > 50


def test_bodies_of_many_sizes_move_within_reason(clips):
    for clip in clips:
        assert SHORTEST * RATE - 1 <= len(clip) <= LONGEST * RATE + 1
        assert clip.shape[1:] == (25, 3)
        assert np.isfinite(clip).all()
        for a, b in BONES:  # median: a limb may be stuck off its place for a while
            assert 0.05 < np.median(np.linalg.norm(clip[:, a] - clip[:, b], axis=-1)) < 0.75
        steps = np.linalg.norm(np.diff(clip, axis=0), axis=-1)
        assert np.quantile(steps, 0.99) < 0.6  # metres a frame: a fast hand
    thighs = [np.median(np.linalg.norm(clip[:, 12] - clip[:, 13], axis=-1)) for clip in clips]
    assert max(thighs) / min(thighs) > 1.5


def test_bones_keep_their_length_where_no_sensor_looks(monkeypatch):
    monkeypatch.setattr("kinemask.synthetic.programmes.sensed", lambda rng, joints: joints)
    for number in range(40):
        clip = programme(np.random.default_rng([1, number]))
        for a, b in BONES[:4]:
            length = np.linalg.norm(clip[:, a] - clip[:, b], axis=-1)
            np.testing.assert_allclose(length, length[0], rtol=0.05)


def test_there_is_motion_of_hands_feet_trunk_and_place(clips):
    def moved(joint, seen_from=None):
        there = [clip[:, joint] - (0 if seen_from is None else clip[:, seen_from]) for clip in clips]
        return np.array([np.linalg.norm(x - x[0], axis=-1).max() for x in there])

    assert (moved(7, 20) > 0.25).mean() > 0.3  # a hand, seen from the shoulders
    assert (moved(15, 0) > 0.25).mean() > 0.1  # a foot, seen from the hips
    assert (moved(20, 0) > 0.15).mean() > 0.1
    assert (moved(0) > 0.5).mean() > 0.1


def test_a_sensor_trembles_and_gets_stuck():
    still = np.tile(np.random.default_rng(0).normal(size=(1, 25, 3)), (60, 1, 1))
    seen = np.stack([sensed(np.random.default_rng(n), still) for n in range(50)])
    off = np.linalg.norm(seen - still, axis=-1)
    assert 0 < np.median(off) < 0.03
    assert (off.max((1, 2)) > 0.1).any()


def test_a_programme_is_performed_by_many():
    """They differ in build and tempo, and move the same limbs."""
    one, other = (programme(np.random.default_rng([0, 3]), np.random.default_rng(who)) for who in (0, 1))
    assert len(one) != len(other)
    moved = [np.ptp(clip - clip[:, :1], axis=0).max(-1) for clip in (one, other)]
    assert np.corrcoef(*moved)[0, 1] > 0.8
    assert np.array_equal(one, programme(np.random.default_rng([0, 3]), np.random.default_rng(0)))

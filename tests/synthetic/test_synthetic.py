"""Synthetic recordings: real `.skeleton` files of plausible people, hard to tell apart, faulty as sensors are."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from kinemask.readers import ReadOptions, reader
from kinemask.skeleton import layout
from kinemask.synthetic.actions import DUET, drawer, hat, low_thing
from kinemask.synthetic.kinematics import SIGNS, Body, Pose, joints
from kinemask.synthetic.performer import Performer, Person
from kinemask.synthetic.recordings import CLASSES, write_recordings
from kinemask.synthetic.timing import Timing


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    write_recordings(folder, subjects=6, cameras=2, repetitions=2)
    return folder


@pytest.fixture(scope="module")
def clips(folder):
    source = reader("synthetic")
    return [source.read(item, ReadOptions()) for item in source.scan(folder).items]


def frames_of(path: Path) -> list[dict[str, np.ndarray]]:
    """A file's frames as written: tracking id -> 25 lines of 12 numbers. Independent of the reader."""
    lines = iter(path.read_text().splitlines())
    frames = []
    for _ in range(int(next(lines))):
        bodies = {}
        for _ in range(int(next(lines))):
            head = next(lines).split()
            assert len(head) == 10
            assert len(head[0]) == 17
            assert next(lines) == "25"
            bodies[head[0]] = np.array([next(lines).split(" ") for _ in range(25)], dtype=float)
            assert bodies[head[0]].shape == (25, 12)
        frames.append(bodies)
    assert next(lines, None) is None
    return frames


def resampled(data: np.ndarray, frames: int = 64) -> np.ndarray:
    """(M, T, V, C) -> (frames, V, C): bodies averaged where seen, frames at equal distances."""
    mean = np.nanmean(data, axis=0)
    at = np.linspace(0, len(mean) - 1, frames)
    low = at.astype(int)
    high, share = np.minimum(low + 1, len(mean) - 1), (at - low)[:, None, None]
    return (1 - share) * mean[low] + share * mean[high]


def nearest(features: np.ndarray, labels: np.ndarray, train: np.ndarray) -> float:
    """Accuracy of the nearest training clip in cosine."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    guess = labels[train][(unit[~train] @ unit[train].T).argmax(1)]
    return float((guess == labels[~train]).mean())


def test_the_set_is_whole(clips):
    assert len(CLASSES) == len(set(CLASSES)) >= 14
    assert {clip.label for clip in clips} == set(range(len(CLASSES)))
    assert {clip.fields["subject"] for clip in clips} == {str(s) for s in range(1, 7)}
    assert {clip.fields["camera"] for clip in clips} == {"1", "2"}
    assert len(clips) == 6 * 2 * 2 * len(CLASSES)
    assert all(30 <= clip.data.shape[1] <= 120 for clip in clips)


def test_two_bodies_where_the_action_needs_two(clips):
    for clip in clips:
        assert len(clip.data) == (2 if CLASSES[clip.label] in DUET else 1), clip.name


def test_a_recording_depends_on_the_seed_and_its_own_numbers(folder, tmp_path):
    seen = []
    again = write_recordings(
        tmp_path / "a", subjects=1, cameras=1, repetitions=1, progress=lambda n, of: seen.append((n, of))
    )
    assert all(path.read_bytes() == (folder / path.name).read_bytes() for path in again)
    assert seen == [(n, len(CLASSES)) for n in range(1, len(CLASSES) + 1)]
    other = write_recordings(tmp_path / "b", subjects=1, cameras=1, repetitions=1, seed=1)
    assert all(path.read_bytes() != (folder / path.name).read_bytes() for path in other)


def test_the_text_holds_what_was_measured(folder):
    """Pixels agree with the coordinates to the written digits, so signs and leading zeros are right."""
    for path in sorted(folder.iterdir())[::29]:
        for frame in frames_of(path):
            for body in frame.values():
                x, y, z = body[:, :3].T
                assert np.all((z > 1.0) & (z < 6.0))
                np.testing.assert_allclose(body[:, 3], 256 + 365.5 * x / z, atol=0.05)
                np.testing.assert_allclose(body[:, 4], 212 - 365.5 * y / z, atol=0.05)
                assert set(body[:, 11]) <= {1.0, 2.0}


def test_bones_are_constant_up_to_noise(clips):
    parents = layout("ntu25").parents
    bones = [0, 2, 3, 4, 5, 6, 8, 9, 12, 13, 14, 16, 17, 18]
    lengths = defaultdict(list)
    for clip in clips:
        if CLASSES[clip.label] in DUET:
            continue
        body = clip.data[0]
        bone = body[:, bones] - body[:, [parents[joint] for joint in bones]]
        lengths[clip.fields["subject"]].append(np.nanmedian(np.linalg.norm(bone, axis=-1), axis=0))
    means = {subject: np.mean(values, axis=0) for subject, values in lengths.items()}
    for subject, values in lengths.items():
        assert np.median(np.std(values, axis=0) / means[subject]) < 0.06
    assert np.std([mean.sum() for mean in means.values()]) > 0.05  # people differ


def test_limbs_keep_their_length_whatever_they_reach_for():
    rng = np.random.default_rng(0)
    body, frames = Body.sample(rng), 50
    pose = Pose(
        *(rng.normal(0.0, 0.5, (frames, *s)) for s in ((3,), (3,), (3,), (3,), (2, 3), (2,), (2, 3), (2, 3), (2,)))
    )
    found = joints(body, pose)
    for end, start, length in (
        (5, 4, body.upper_arm),
        (10, 9, body.forearm),
        (13, 12, body.thigh),
        (18, 17, body.shin),
    ):
        np.testing.assert_allclose(np.linalg.norm(found[:, end] - found[:, start], axis=-1), length, rtol=1e-6)


def test_faults_of_real_sensors_are_present(folder):
    empty = changed = spare = guessed = 0
    for path in folder.iterdir():
        frames = frames_of(path)
        people = 2 if CLASSES[int(path.stem[-3:]) - 1] in DUET else 1
        idents = {ident for frame in frames for ident in frame}
        empty += any(not frame for frame in frames)
        spare += any(len(frame) > people for frame in frames)
        changed += len(idents) > people and all(len(frame) <= people for frame in frames)
        guessed += any((body[:, 11] == 1).any() for frame in frames for body in frame.values())
    assert empty >= 3
    assert changed >= 3
    assert spare >= 3
    assert guessed > len(list(folder.iterdir())) / 2


def test_neighbours_do_not_know_other_people(clips):
    """Far from solved, far above chance."""
    labels = np.array([clip.label for clip in clips])
    train = np.array([int(clip.fields["subject"]) % 2 == 1 for clip in clips])
    paths = np.stack([resampled(clip.data) for clip in clips])
    assert 0.15 < nearest(paths.reshape(len(clips), -1), labels, train) < 0.5


def test_people_prefer_either_hand(clips):
    """The hand that is higher while they wave."""
    up = defaultdict(list)
    for clip in clips:
        if CLASSES[clip.label] == "wave":
            up[clip.fields["subject"]].append(int(np.nanargmax(np.nanmax(clip.data[0, :, [6, 10], 1], axis=1))))
    assert {round(np.mean(sides)) for sides in up.values()} == {0, 1}


FRAMES, WHOLE = 75, Timing(75, 0.2, 2.3)


def quiet(number: int) -> Performer:
    """A performer who hardly sways, with a hand that rests away from everything."""
    performer = Performer(Person.sample(np.random.default_rng(number)), np.random.default_rng(number), FRAMES)
    body = performer.person.body
    for side, sign in enumerate(SIGNS):
        performer.pose.wrists[:, side] = [sign * (body.shoulders + 0.07), -0.96 * body.arm, 0.03]
    return performer


@pytest.mark.parametrize("act", [hat, low_thing, drawer])
def test_an_action_and_its_reverse_share_their_poses_but_not_their_order(act):
    same = turned_back = 0.0
    for number in range(12):
        paths = []
        for way in (1, -1):
            performer = quiet(number)
            act(performer, WHOLE, way)
            paths.append(performer.joints(0.0, np.zeros(3))[:, 6 if performer.side == 0 else 10])
        same += np.linalg.norm(paths[0] - paths[1], axis=-1).mean()
        turned_back += np.linalg.norm(paths[0] - paths[1][::-1], axis=-1).mean()
    assert turned_back < 0.8 * same


@pytest.mark.parametrize("way", [1, -1])
def test_a_hand_goes_down_for_what_is_low_and_the_feet_stay(way):
    for number in range(12):
        performer = quiet(number)
        low_thing(performer, WHOLE, way)
        found = performer.joints(0.0, np.zeros(3))
        hand = found[:, 6 if performer.side == 0 else 10, 1]
        assert hand.min() < hand[0] - 0.1
        np.testing.assert_allclose(np.ptp(found[:, [14, 18]], axis=0), 0.0, atol=0.02)


def test_a_step_moves_the_body_and_both_feet_alike():
    performer = quiet(0)
    before = performer.pose.ankles.copy(), performer.pose.pelvis.copy()
    way = np.array([0.3, 0.0, 0.1])
    performer.step(WHOLE, way)
    ankles, pelvis = performer.pose.ankles - before[0], performer.pose.pelvis - before[1]
    np.testing.assert_allclose(ankles[-1], [way, way], atol=1e-9)
    np.testing.assert_allclose(pelvis[-1], way, atol=1e-9)
    lifted = ankles[:, :, 1] > 0.01
    assert lifted.any(0).all()
    assert lifted.all(1).mean() < 0.1  # one foot stays on the floor, nearly always


@pytest.mark.parametrize("wrong", [{"subjects": 0}, {"cameras": 4}, {"repetitions": 1000}])
def test_impossible_counts(tmp_path, wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is .*expected 1 to"):
        write_recordings(tmp_path, **wrong)
    assert not list(tmp_path.iterdir())

"""Synthetic recordings: real `.skeleton` files of plausible people, hard for poses, faulty as sensors are."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from kinemask.readers import ReadOptions, reader
from kinemask.skeleton import layout
from kinemask.synthetic.actions import DUET
from kinemask.synthetic.kinematics import Body, Pose, joints
from kinemask.synthetic.recordings import CLASSES, write_recordings


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
    assert all(20 <= clip.data.shape[1] <= 90 for clip in clips)


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


def test_poses_do_not_name_the_action_but_motion_does(clips):
    """Raw coordinates stay far from solving it; actions that share a pose differ in how far the hand travels."""
    labels = np.array([clip.label for clip in clips])
    train = np.array([int(clip.fields["subject"]) % 2 == 1 for clip in clips])
    paths = np.stack([resampled(clip.data) for clip in clips])
    assert 0.2 < nearest(paths.reshape(len(clips), -1), labels, train) < 0.75
    hand = paths[:, 16:48, [6, 10]] - paths[:, 16:48, [20]]
    moves = np.linalg.norm(np.diff(hand, axis=1), axis=-1).sum(1).max(-1)  # the busier wrist's way, metres
    way = {name: np.median(moves[labels == i]) for i, name in enumerate(CLASSES)}
    pairs = {"rub hands": "fold hands", "turn a crank": "point at something", "saw": "give an object"}
    for moving, still in pairs.items():
        assert way[moving] > 1.4 * way[still], moving


@pytest.mark.parametrize("wrong", [{"subjects": 0}, {"cameras": 4}, {"repetitions": 1000}])
def test_impossible_counts(tmp_path, wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is .*expected 1 to"):
        write_recordings(tmp_path, **wrong)
    assert not list(tmp_path.iterdir())

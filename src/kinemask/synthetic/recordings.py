"""Synthetic recordings in the format of NTU RGB+D: people before depth cameras, as `.skeleton` files.

For trying things out where no data set is at hand. The files carry what real ones do: noise that grows with
depth, joints guessed while hidden, frozen and jumping limbs, empty frames, ids that change amid a clip,
furniture taken for a person.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from kinemask.synthetic.actions import CLASSES, perform
from kinemask.synthetic.performer import Person
from kinemask.synthetic.timing import drift

__all__ = ["CLASSES", "write_recordings"]

CAMERAS = (0.0, 0.78, -0.78)  # yaw of the cameras around the scene, radians, as in NTU RGB+D
SETUPS = (
    (0.9, 2.9),
    (1.4, 3.4),
    (1.1, 3.9),
    (1.7, 3.2),
)  # height and distance of the cameras, metres, by setup
SUBJECTS_A_SETUP = 8
FIRST_ID = 72057594037927936  # 2**56: Kinect's tracking ids lie above it, beyond what a float64 tells apart

# white jitter and slow error of each joint at 3 m, metres: trunk and head are steady, hands and feet are not
JITTER = 1e-3 * np.array([0.5, 0.5, 0.5, 0.7, *(0.6, 1, 1.5, 2) * 2, *(0.5, 0.8, 1.2, 2) * 2, 0.5, 3, 3, 3, 3])
WANDER = 1e-3 * np.array([6, 5, 6, 8, *(9, 13, 17, 20) * 2, *(7, 11, 16, 20) * 2, 6, 24, 28, 24, 28])
LIMBS = [np.array(limb) for limb in ((5, 6, 7, 21, 22), (9, 10, 11, 23, 24), (13, 14, 15), (17, 18, 19))]
TAIL = np.frombuffer(b"0 0 0 0 2\n", dtype=np.uint8)  # the end of a joint's line: orientation, tracking state
CELL = 11  # bytes of a number: sign, four digits, point, four digits, space


@dataclass
class Track:
    """What a camera reports under one id: joints (T, 25, 3), states (T, 25), in which frames (T,)."""

    ident: int
    joints: np.ndarray
    states: np.ndarray
    seen: np.ndarray


def write_recordings(
    folder: str | Path,
    *,
    subjects: int = 24,
    cameras: int = 3,
    repetitions: int = 2,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write one `SsssCcccPpppRrrrAaaa.skeleton` file per subject, camera, repetition and class into `folder`.

    Class A001 is `CLASSES[0]`. The cameras record the same performances. Coordinates are metres in the
    camera's axes, joint orientations are written as 0. A recording depends on `seed` and on its own numbers
    alone, so that a smaller set is part of a larger one. `progress(done, total)` is called after each file.
    Returns the paths, sorted. Raises ValueError for counts that file names or cameras cannot hold.
    """
    for name, value, most in (
        ("subjects", subjects, 999),
        ("cameras", cameras, len(CAMERAS)),
        ("repetitions", repetitions, 999),
    ):
        if not 1 <= value <= most:
            raise ValueError(f"write_recordings: {name} is {value}; expected 1 to {most}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    total = subjects * cameras * repetitions * len(CLASSES)
    for subject in range(1, subjects + 1):
        people = _person(seed, subject, 0), _person(seed, subject, 1)  # each subject has a partner of its own
        setup = 1 + (subject - 1) // SUBJECTS_A_SETUP
        for action, name in enumerate(CLASSES, 1):
            for repetition in range(1, repetitions + 1):
                key = seed, subject, action, repetition
                room = perform(name, people, np.random.default_rng([*key, 0]))
                for camera in range(1, cameras + 1):
                    path = folder / f"S{setup:03d}C{camera:03d}P{subject:03d}R{repetition:03d}A{action:03d}.skeleton"
                    path.write_bytes(_record(room, setup, camera, np.random.default_rng([*key, camera])))
                    paths.append(path)
                    if progress is not None:
                        progress(len(paths), total)
    return sorted(paths)


def _person(seed: int, subject: int, partner: int) -> Person:
    return Person.sample(np.random.default_rng([seed, subject, 0, partner]))


def _record(room: np.ndarray, setup: int, camera: int, rng: np.random.Generator) -> bytes:
    """The file that a camera makes of joints (M, T, 25, 3) in the room."""
    true = seen_from(room, setup, camera)
    hidden = _hidden(true)
    idents = FIRST_ID + int(rng.integers(1000, 9000)) + 4 * np.arange(len(true))
    tracks = []
    for ident, body, inferred in zip(idents.tolist(), true, hidden, strict=True):
        states = np.where(inferred, 1, 2)
        tracks.append(Track(ident, _noisy(body, inferred, rng), states, np.ones(len(body), dtype=bool)))
    return _encode(_faulty(tracks, rng))


def seen_from(room: np.ndarray, setup: int, camera: int) -> np.ndarray:
    """Joints in the axes of a camera: y up, z away from it, metres, tilted as the camera is."""
    height, distance = SETUPS[(setup - 1) % len(SETUPS)]
    yaw, distance = CAMERAS[camera - 1], distance + 0.25 * (camera - 1)
    height += 0.1 * (camera - 1)
    tilt = np.arctan2(height - 0.9, distance)  # the camera looks at the middle of a standing body
    c, s = np.cos(yaw), np.sin(yaw)
    level = room @ np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]]) + np.array([0.0, -height, distance])
    c, s = np.cos(tilt), np.sin(tilt)
    return level @ np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def _hidden(bodies: np.ndarray) -> np.ndarray:
    """Which joints (M, T, 25) have a joint at least 12 cm before them and within 8 cm in the view."""
    points = np.concatenate(bodies, axis=1)  # (T, M * 25, 3)
    flat, depth = points[..., :2] / points[..., 2:], points[..., 2]
    apart = flat[:, :, None] - flat[:, None]
    near = (apart**2).sum(-1) * depth[:, :, None] ** 2 < 0.08**2
    behind = depth[:, :, None] - depth[:, None] > 0.12
    return np.moveaxis((near & behind).any(-1).reshape(len(points), len(bodies), 25), 1, 0)


def _noisy(body: np.ndarray, hidden: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Joints (T, 25, 3) as measured: jitter and slow error that grow with depth, spikes where hidden."""
    frames = len(body)
    scale = (body[..., 2:] / 3.0) ** 2 * np.array([1.0, 1.0, 1.6])
    loose = np.where(hidden, 2.0, 1.0)[..., None]
    noise = JITTER[:, None] * loose * rng.normal(size=body.shape) + WANDER[:, None] * drift(rng, frames, (25, 3))
    spikes = (rng.random((frames, 25)) < np.where(hidden, 0.06, 0.001))[..., None] * rng.normal(0.0, 0.07, body.shape)
    return body + scale * noise + spikes


def _faulty(tracks: list[Track], rng: np.random.Generator) -> list[Track]:
    """The tracks with what goes wrong in some clips: stuck limbs, empty frames, a change of id, furniture."""
    frames = len(tracks[0].seen)
    track = tracks[int(rng.integers(len(tracks)))]
    if rng.random() < 0.18:
        start, length = int(rng.integers(0, frames - 4)), int(rng.integers(3, 12))
        run, limb = np.arange(start, min(start + length, frames)), LIMBS[int(rng.integers(4))]
        stuck = (
            track.joints[start, limb] if rng.random() < 0.6 else track.joints[run][:, limb] + rng.normal(0.0, 0.12, 3)
        )
        track.joints[run[:, None], limb], track.states[run[:, None], limb] = stuck, 1
    if rng.random() < 0.1:
        start = int(rng.integers(1, frames - 5))
        for each in tracks:
            each.seen[start : start + int(rng.integers(1, 5))] = False
    tracks = list(tracks)
    if rng.random() < 0.05:
        change = np.arange(frames) >= rng.integers(13, frames - 13)
        tracks.append(Track(track.ident + 40, track.joints, track.states, track.seen & change))
        track.seen = track.seen & ~change
    if rng.random() < 0.05:
        start, length = int(rng.integers(0, frames - 12)), int(rng.integers(4, 24))
        block = rng.uniform([-0.55, -0.35, -0.1], [0.55, 0.25, 0.1], (25, 3)) + np.array([0.9, -0.5, 3.6])
        still = block + rng.normal(0.0, 0.004, (frames, 25, 3))
        seen = (np.arange(frames) >= start) & (np.arange(frames) < start + length)
        tracks.append(Track(tracks[0].ident + 80, still, np.ones((frames, 25), dtype=int), seen))
    return tracks


@cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Of each number under 10,000: its four ASCII digits, and which of them are not leading zeros.

    The files of a set hold some 40 million numbers: looked up so, digits cost a tenth of formatting.
    """
    numbers, place = np.arange(10_000)[:, None], np.array([1000, 100, 10, 1])
    return (ord("0") + numbers // place % 10).astype(np.uint8), (numbers >= place) | (place == 1)


def _encode(tracks: list[Track]) -> bytes:
    """The tracks of one clip as a `.skeleton` file."""
    blocks = [_joint_lines(track.joints, track.states) for track in tracks]
    parts = [b"%d\n" % len(tracks[0].seen)]
    for frame in range(len(tracks[0].seen)):
        there = [n for n, track in enumerate(tracks) if track.seen[frame]]
        parts.append(b"%d\n" % len(there))
        for n in there:
            lean = tracks[n].joints[frame, 20] - tracks[n].joints[frame, 0]
            parts.append(b"%d 0 1 1 1 1 0 %.4f %.4f 2\n25\n" % (tracks[n].ident, lean[0], lean[2]))
            parts.append(blocks[n][frame])
    return b"".join(parts)


def _joint_lines(joints: np.ndarray, states: np.ndarray) -> list[bytes]:
    """The 25 lines of 12 numbers of each frame: x y z, depth and colour pixels, orientation 0, state."""
    x, y, z = np.moveaxis(joints, -1, 0)
    depth = 256.0 + 365.5 * x / z, 212.0 - 365.5 * y / z
    colour = 960.0 + 1081.4 * (x + 0.052) / z, 540.0 - 1081.4 * y / z
    numbers = np.stack([x, y, z, *depth, *colour], -1).reshape(-1, 7)  # (T * 25, 7)
    ticks = np.rint(np.abs(numbers) * 1e4).astype(np.int64)
    whole, part = ticks // 10_000, ticks % 10_000
    four, significant = _digits()
    text = np.empty((len(numbers), 7 * CELL + len(TAIL)), dtype=np.uint8)
    keep = np.ones(text.shape, dtype=bool)
    cells = text[:, : 7 * CELL].reshape(-1, 7, CELL)
    kept = keep[:, : 7 * CELL].reshape(-1, 7, CELL)
    cells[..., 0], kept[..., 0] = ord("-"), (numbers < 0) & (ticks > 0)
    cells[..., 1:5], kept[..., 1:5] = four[whole], significant[whole]
    cells[..., 5], cells[..., 6:10], cells[..., 10] = ord("."), four[part], ord(" ")
    text[:, 7 * CELL :] = TAIL
    text[:, -2] = ord("0") + states.reshape(-1)
    ends = np.cumsum(keep.reshape(len(joints), -1).sum(1))
    flat = text[keep].tobytes()
    return [flat[a:b] for a, b in zip(np.append(0, ends), ends, strict=False)]

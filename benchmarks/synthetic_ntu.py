"""Writes a stand-in for NTU RGB+D 60 of its true size: 56,880 `.skeleton` files under its names, about 14 GB of text.

    python benchmarks/synthetic_ntu.py FOLDER [--subjects 40] [--missing NTU_RGBD_samples_with_missing_skeletons.txt]

Names, counts (40 subjects in 17 setups, 3 cameras, 2 replications, 60 classes, 40,320 files of training subjects and
18,960 of camera 1), two people in A050 to A060, 32 to 300 frames a file (85 on average) and the width of the numbers
are NTU's; the motion is that of `kinemask.synthetic`, its 14 actions standing for the 60 classes, so accuracies on it
mean nothing. The text of some 500 recordings is made once, and a file is a part of one, forwards and backwards from a
frame of its own. Files that `--missing` names are written without bodies, as the owners' list has them.
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import chain, product
from pathlib import Path

import numpy as np

from kinemask.readers.ntu import NTU60
from kinemask.synthetic.actions import DUET, SOLO, perform
from kinemask.synthetic.performer import Person
from kinemask.synthetic.recordings import FIRST_ID, SETUPS, seen_from

SUBJECTS, CAMERAS, REPLICATIONS, CLASSES, SETUP_COUNT = 40, 3, 2, 60, 17
FIRST_PAIR = 50  # the first class of two people
PERFORMERS = 12
SHORTEST, LONGEST, TYPICAL, SPREAD = 32, 300, 79, 0.38  # frames; of a log-normal the median, and its deviation
LEAVES = [3, 15, 19, 21, 22, 23, 24]  # joints without an orientation
LINE = " ".join(["%.7g"] * 11) + " 2\n"


def appearances() -> list[tuple[int, int]]:
    """Setups and subjects that meet: 158 pairs, 112 of training subjects and 46 of test subjects, as in NTU RGB+D."""
    side = {p: NTU60.splits["xsub"].side({"subject": str(p)}) for p in range(1, SUBJECTS + 1)}
    pairs: list[tuple[int, int]] = []
    for name, most, of_most, fewer in (("train", 6, 12, 5), ("test", 3, 6, 2)):
        subjects = [p for p, where in side.items() if where == name]
        times = [most if i < of_most else fewer for i in range(len(subjects))]
        turn = 0
        for subject, count in zip(subjects, times, strict=True):
            pairs += [(1 + (turn + i) % SETUP_COUNT, subject) for i in range(count)]
            turn += count
    return sorted(pairs)


def recordings() -> dict[tuple[str, int, int], list[list[bytes]]]:
    """Text of each action by each performer before each camera: of every body, the lines of each frame."""
    made = {}
    for performer in range(PERFORMERS):
        people = tuple(Person.sample(np.random.default_rng([performer, one])) for one in range(2))
        for number, action in enumerate((*SOLO, *DUET)):
            rng = np.random.default_rng([performer, number, 2])
            room = perform(action, (people[0], people[1]), rng)
            for camera in range(CAMERAS):
                bodies = seen_from(room, 1 + performer % len(SETUPS), 1 + camera)
                bodies = bodies + rng.normal(0, 0.004, bodies.shape)
                made[action, performer, camera] = [lines(body, m, rng) for m, body in enumerate(bodies)]
    return made


def lines(body: np.ndarray, number: int, rng: np.random.Generator) -> list[bytes]:
    """A body's part of each frame: joints (T, 25, 3) -> T pieces of text."""
    x, y, z = np.moveaxis(body, -1, 0)
    turned = rng.normal(size=(*x.shape, 4))
    turned /= np.linalg.norm(turned, axis=-1, keepdims=True)
    turned[:, LEAVES] = 0
    depth = [256 + 365.5 * x / z, 212 - 365.5 * y / z]
    colour = [960 + 1081.4 * (x + 0.052) / z, 540 - 1081.4 * y / z]
    numbers = np.stack([x, y, z, *depth, *colour, *np.moveaxis(turned, -1, 0)], -1)
    text = []
    for frame in numbers.tolist():
        head = f"{FIRST_ID + 36113 + 84 * number} 0 1 1 1 1 0 {frame[20][0] - frame[0][0]:.7g} 0.05745083 2\n25\n"
        text.append((head + LINE * len(frame) % tuple(chain.from_iterable(frame))).encode())
    return text


def file_text(bodies: list[list[bytes]], frames: int, start: int) -> bytes:
    """A file of so many frames: the recording from `start` on, backwards from its end, and so forth."""
    length = len(bodies[0])
    there = np.arange(start, start + frames) % (2 * length)
    order = np.where(there < length, there, 2 * length - 1 - there).tolist()
    count = b"%d\n" % len(bodies)
    return b"".join([b"%d\n" % frames, *chain.from_iterable((count, *(body[t] for body in bodies)) for t in order)])


def write(folder: Path, subjects: int = SUBJECTS, missing: frozenset[str] = frozenset()) -> dict[str, float]:
    """The files of the first so many subjects; counts, bytes and seconds."""
    folder.mkdir(parents=True)
    begun, used = time.perf_counter(), time.process_time()
    made, rng = recordings(), np.random.default_rng(0)
    solo, pairs = list(SOLO), list(DUET)
    files = size = total = without = 0
    for setup, subject in appearances():
        if subject > subjects:
            continue
        numbers = product(range(CAMERAS), range(REPLICATIONS), range(1, CLASSES + 1))
        for camera, replication, label in numbers:
            name = f"S{setup:03d}C{camera + 1:03d}P{subject:03d}R{replication + 1:03d}A{label:03d}"
            actions = pairs if label >= FIRST_PAIR else solo
            bodies = made[actions[label % len(actions)], (subject + label) % PERFORMERS, camera]
            frames = int(np.clip(rng.lognormal(np.log(TYPICAL), SPREAD), SHORTEST, LONGEST))
            text = file_text(bodies, frames, int(rng.integers(len(bodies[0]))))
            if name in missing:
                text = b"%d\n" % frames + b"0\n" * frames
                without += 1
            (folder / f"{name}.skeleton").write_bytes(text)
            files, size, total = files + 1, size + len(text), total + frames
    return {
        "files": files,
        "without_bodies": without,
        "gigabytes": round(size / 1e9, 2),
        "mean_frames": round(total / files, 1),
        "seconds": round(time.perf_counter() - begun, 1),
        "cpu_seconds": round(time.process_time() - used, 1),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder to make; it must not exist")
    parser.add_argument("--subjects", type=int, default=SUBJECTS, help="of the first so many subjects (default: all)")
    parser.add_argument("--missing", type=Path, help="the owners' list of files without skeletons")
    given = parser.parse_args()
    named = frozenset(given.missing.read_text().split()) if given.missing else frozenset[str]()
    print(json.dumps(write(given.folder, given.subjects, named)))

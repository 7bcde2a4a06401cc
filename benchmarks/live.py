"""Seconds from the frame that ends a hop to its label, on one core.

    OMP_NUM_THREADS=1 python benchmarks/live.py --out benchmarks/results/live.json

The recogniser looks at 2,000 random convolutions beside statistics, as `kinemask train` chose on NW-UCLA, UTD-MHAD and
SBU with all labels (`results/recognition.json`). It is not left to choose: these made-up clips are easy, and it would
take statistics alone, in less than half of the time. Clips are of ntu25 (25 joints, 3D), 60 frames each, and the window
is as long. Told are the frames that end a hop, parsing of the line included.
"""

from __future__ import annotations

import json
import time

import numpy as np
import torch

from common import arguments, finish
from kinemask import Recogniser, layout
from kinemask.recognition.live import LiveWindow
from kinemask.recognition.stream import parse_line

FRAMES, CLASSES = 60, 10


def clip(label: int, frames: int, random: np.random.Generator) -> np.ndarray:
    """Somebody (T, V, C) whose joints sway, some of them faster by class."""
    of = layout("ntu25")
    body = random.normal(0, 0.3, (1, of.num_joints, 3))
    sway = np.sin(np.arange(frames)[:, None] / (2 + label) + np.arange(of.num_joints))[:, :, None] * 0.2
    return (body + sway + random.normal(0, 0.01, (frames, of.num_joints, 3))).astype(np.float32)


def latency(made: Recogniser, people: int, hops: int, random: np.random.Generator) -> dict[str, float]:
    """Milliseconds a hop, of so many people in every frame: median, 95th percentile and longest."""
    window = LiveWindow(made)
    stream = [clip(m % CLASSES, FRAMES // 2 * (hops + 3), random) + np.array([2.0 * m, 0, 0]) for m in range(people)]
    lines = [json.dumps({"people": [one[t].tolist() for one in stream]}) for t in range(len(stream[0]))]
    spent = []
    for line in lines:
        start = time.perf_counter()
        if window.push(*parse_line(line)) is not None:
            spent.append(1000 * (time.perf_counter() - start))
    spent = spent[2:]  # the first ones warm up
    return {
        "hops": len(spent),
        "median_ms": round(float(np.median(spent)), 2),
        "p95_ms": round(float(np.percentile(spent, 95)), 2),
        "longest_ms": round(max(spent), 2),
    }


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--hops", type=int, default=100)
    given = parser.parse_args()
    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    labels = [i % CLASSES for i in range(100)]
    asked = {"features": ["convolutions", "statistics"], "align": "heading", "mirrored": True}
    made = Recogniser("ntu25", device="cpu", **asked).fit([clip(i, FRAMES, random) for i in labels], labels)  # type: ignore[arg-type]
    by_people = {str(people): latency(made, people, given.hops, random) for people in (1, 2, 10, 50)}
    finish({"benchmark": "live", "window_frames": FRAMES, "choice": str(made.choice_), "people": by_people}, given.out)


if __name__ == "__main__":
    main()

"""Seconds and memory of `prepare` on a synthetic PKU-MMD of 200 long videos and a PYSKL pickle of 5,000 clips.

    python benchmarks/readers.py --out benchmarks/results/readers.json [--videos 200] [--clips 5000]

Both are made in a temporary folder (about 1 GB). Memory is the peak resident set of the process that prepares, less
what it held before, its modules imported (Linux); with several workers it is that of the process that writes.
On a shared machine the seconds of its processors say more than those of the clock.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from common import arguments, finish
from kinemask.readers.pku_mmd import CLASSES

CHILD = """
import json, os, re, sys, time
from pathlib import Path
import kinemask.preparation.prepare, scipy.optimize
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024 / 1e6
before, start, used = peak(), time.perf_counter(), sum(os.times()[:4])
summary = kinemask.preparation.prepare.prepare(*sys.argv[1:4], workers=int(sys.argv[4]), progress=False)
seconds, used = time.perf_counter() - start, sum(os.times()[:4]) - used
rejected = summary.rejected + summary.rejected_clips
told = {"clips": summary.clips, "rejected": rejected, "seconds": seconds, "cpu_seconds": used}
print(json.dumps(told | {"baseline_mb": before, "peak_mb_above_it": peak() - before}))
"""
FRAMES = 5000  # of a video; PKU-MMD I has 5,312,580 in 1,076
ACTIONS = 20  # in a video
TEXTS = 8  # videos that differ; the others are copies


def prepared(dataset: str, src: Path, store: Path, workers: int) -> dict[str, float]:
    command = [sys.executable, "-c", CHILD, dataset, str(src), str(store), str(workers)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def write_videos(folder: Path, count: int) -> None:
    """PKU-MMD I as its owners pack it: one person in front, in every fourth video two."""
    random = np.random.default_rng(0)
    for name in ("Skeleton", "Label", "Split"):
        (folder / name).mkdir(parents=True)
    texts = []
    for i in range(TEXTS):
        walk = random.normal(0, 0.01, (FRAMES, 2, 25, 3)).cumsum(0) + random.normal(0, 0.3, (1, 2, 25, 3)) + (0, 0, 3)
        if i % 4:
            walk[:, 1] = 0
        rows = [" ".join([f"{x:.6f}" if x else "0" for x in frame]) for frame in walk.reshape(FRAMES, -1).tolist()]
        texts.append("\n".join(rows) + "\n")
    names = [f"{1 + i // 3:04d}-{'LMR'[i % 3]}" for i in range(count)]
    for i, name in enumerate(names):
        (folder / "Skeleton" / f"{name}.txt").write_text(texts[i % TEXTS])
        starts = np.linspace(30, FRAMES - 300, ACTIONS).astype(int)
        lines = [f"{1 + random.integers(len(CLASSES))},{s},{s + random.integers(60, 200)},2" for s in starts]
        (folder / "Label" / f"{name}.txt").write_text("\n".join(lines) + "\n")
    for split, part in (("cross-subject", names[: count * 7 // 8]), ("cross-view", [n for n in names if n[-1] != "L"])):
        (folder / "Split" / f"{split}.txt").write_text(f"Training videos:\n{', '.join(part)}\n")


def write_pickle(path: Path, count: int) -> None:
    """As PYSKL's tools write it: protocol 2, numbers of 16 bits."""
    random = np.random.default_rng(0)
    notes = []
    for i in range(count):
        bodies, frames = 1 + i % 2, int(random.integers(60, 141))
        walk = random.normal(0, 3, (bodies, frames, 17, 2)).cumsum(1) + random.uniform(300, 700, (bodies, 1, 17, 2))
        notes.append(
            {
                "frame_dir": f"video{i:05d}",
                "label": i % 99,
                "img_shape": (1080, 1920),
                "original_shape": (1080, 1920),
                "total_frames": frames,
                "keypoint": walk.astype(np.float16),
                "keypoint_score": random.uniform(0.3, 1, (bodies, frames, 17)).astype(np.float16),
            }
        )
    names = [note["frame_dir"] for note in notes]
    lists = {"train": names[: count * 4 // 5], "val": names[count * 4 // 5 :]}
    with path.open("wb") as file:
        pickle.dump({"split": lists, "annotations": notes}, file, protocol=2)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--videos", type=int, default=200)
    parser.add_argument("--clips", type=int, default=5000)
    given = parser.parse_args()
    results: dict[str, object] = {"benchmark": "readers"}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_videos(place / "pku", given.videos)
        megabytes = sum(file.stat().st_size for file in (place / "pku" / "Skeleton").iterdir()) / 1e6
        runs = {}
        for workers in sorted({1, os.cpu_count() or 1}):
            run = prepared("pku-mmd-1", place / "pku", place / f"store{workers}", workers)
            runs[f"{workers} workers"] = run | {"mb_per_second": megabytes / run["seconds"]}
        results["pku-mmd"] = {"videos": given.videos, "frames": given.videos * FRAMES, "megabytes": megabytes, **runs}
        start = time.perf_counter()
        write_pickle(place / "gym.pkl", given.clips)
        print(f"made the pickle in {time.perf_counter() - start:.0f} s", file=sys.stderr)
        megabytes = (place / "gym.pkl").stat().st_size / 1e6
        run = prepared("pyskl", place / "gym.pkl", place / "gym", 1)
        results["pyskl"] = {
            "megabytes": megabytes,
            **run,
            "memory_per_byte_of_pickle": run["peak_mb_above_it"] / megabytes,
        }
    finish(results, given.out)


if __name__ == "__main__":
    main()

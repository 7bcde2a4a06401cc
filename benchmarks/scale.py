"""Large stores: seconds and peak memory of opening one, making its tracks ready for pre-training, and `info`.

python benchmarks/scale.py [--clips 100000] [--store FOLDER] [--out FILE.json]

The store is half-precision NTU-25 of 30 to 104 frames a clip, every eighth of two people, every tenth with gaps, made
once in FOLDER. Each measurement is a process of its own; memory is counted beyond what its imports take.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from common import arguments, machine
from kinemask.skeleton import layout
from kinemask.store.format import Clip
from kinemask.store.writer import write_store

MEASURE = """
import resource, sys, time
import torch
from kinemask.preparation.info import info
from kinemask.store.opening import open_store
from kinemask.windows.tracks import Tracks
torch.set_num_threads(1)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before, start = peak(), time.perf_counter()
result = info(sys.argv[2]) if sys.argv[1] == "info" else Tracks(open_store(sys.argv[2]))
print(time.perf_counter() - start, peak() - before)
"""


def clips(count: int) -> Iterator[Clip]:
    """Made-up clips, cheap to make."""
    random = np.random.default_rng(0)
    motion = random.normal(0, 0.5, (4000, 25, 3)).astype(np.float32)
    for i in range(count):
        bodies, frames = 1 + (i % 8 == 0), int(random.integers(30, 104))
        start = int(random.integers(0, len(motion) - bodies * frames))
        data = motion[start : start + bodies * frames].reshape(bodies, frames, 25, 3) + np.float32(0.001 * (i % 97))
        if i % 10 == 0:
            data[:, ::7, 5] = np.nan
        yield Clip(f"clip{i:06d}", data, i % 60, {"subject": str(i % 40), "split:xsub": "train" if i % 4 else "test"})


def measure(what: str, store: Path) -> dict[str, float]:
    """Seconds, and bytes of peak memory for each byte of the store's frames."""
    done = subprocess.run([sys.executable, "-c", MEASURE, what, str(store)], capture_output=True, text=True, check=True)
    seconds, peak = map(float, done.stdout.split())
    return {"seconds": round(seconds, 2), "peak_bytes_a_byte": round(peak / (store / "frames.npy").stat().st_size, 2)}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--clips", type=int, default=100_000)
    parser.add_argument("--store", type=Path, help="where the store is, or is to be made (default: a temporary folder)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = given.store or Path(folder) / "store"
        start = time.perf_counter()
        if not store.exists():
            write_store(store, clips(given.clips), layout("ntu25"), map(str, range(60)), dtype="float16")
        results = {
            "machine": machine(),
            "clips": given.clips,
            "gigabytes": round((store / "frames.npy").stat().st_size / 1e9, 2),
            "writing_seconds": round(time.perf_counter() - start, 1),
            "set_up": measure("tracks", store),
            "info": measure("info", store),
        }
    print(json.dumps(results, indent=1))
    if given.out:
        given.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()

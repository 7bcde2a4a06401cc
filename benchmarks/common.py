"""What the benchmarks share: a store of one-person clips, the machine's description, and writing results."""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from kinemask.skeleton import layout
from kinemask.store.format import Clip
from kinemask.store.opening import Store
from kinemask.store.writer import write_store


def machine() -> dict[str, object]:
    """What the numbers were measured on."""
    processor = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), processor)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "load_at_start": os.getloadavg()[0],
    }


@contextmanager
def one_person_store(clips: int = 64) -> Iterator[Store]:
    """A temporary NTU-25 store of smooth random motion, one body a clip, 60 to 120 frames."""
    random = np.random.default_rng(0)

    def make() -> Iterator[Clip]:
        for i in range(clips):
            frames = int(random.integers(60, 121))
            walk = random.normal(0, 0.02, (1, frames, 25, 3)).cumsum(1) + random.normal(0, 0.3, (1, 1, 25, 3))
            yield Clip(f"clip{i}", walk, 0, {"split:train": "train"})

    with tempfile.TemporaryDirectory() as folder:
        yield write_store(Path(folder) / "store", make(), layout("ntu25"), ["motion"])


def arguments(description: str | None) -> argparse.ArgumentParser:
    """A parser with --out, the JSON file to write."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, help="JSON file to write (default: print only)")
    return parser


def finish(results: dict[str, object], out: Path | None) -> None:
    """Print the results as JSON, and write them where asked."""
    text = json.dumps({"machine": machine(), **results}, indent=1)
    print(text)
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n")

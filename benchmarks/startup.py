"""Start-up time of the command line, prepare speed, and peak memory of pre-training.

python benchmarks/startup.py --out benchmarks/results/startup.json
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from common import arguments, finish, one_person_store
from kinemask.data.readers import READERS, ReadOptions
from kinemask.data.synthetic import write_recordings


def seconds(*command: str, repeat: int = 5) -> float:
    """Median wall-clock time of a command."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "kinemask", *command], check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return median(times)


def parsing() -> dict[str, float]:
    """MB/s per core of reading .skeleton text, cleaning included; and of writing the recordings."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        files = write_recordings(folder, subjects=4)
        written = time.perf_counter() - start
        size = sum(f.stat().st_size for f in files) / 1e6
        source = READERS["synthetic"]
        options = ReadOptions(layout=source.choose_layout(None))
        best = min(_timed(lambda: [source.read(f, options) for f in files]) for _ in range(3))
    return {"megabytes": size, "read_mb_per_second": size / best, "write_mb_per_second": size / written}


def _timed(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def peak_memory(recipe: str, batch: int) -> float:
    """Peak resident memory in GB of a process that pre-trains three steps."""
    code = f"""
import resource
from kinemask.train.loop import Loop
from kinemask.train.distributed import world
from kinemask.train.settings import parse
from pathlib import Path
import sys
settings, _ = parse(None, {{"data": sys.argv[1], "split": "all", "training.batch_size": {batch}}}, "{recipe}")
with world("cpu") as w:
    loop = Loop(settings, Path(sys.argv[2]), w, True)
    for _ in range(3):
        loop.advance(loop.task)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)
"""
    with one_person_store() as store, tempfile.TemporaryDirectory() as run:
        command = [sys.executable, "-c", code, str(store.path), str(Path(run) / "run")]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    given = arguments(__doc__).parse_args()
    results = {
        "benchmark": "start-up, preparation, memory",
        "help_seconds": seconds("--help"),
        "layouts_seconds": seconds("layouts"),
        "python_seconds": _timed(lambda: subprocess.run([sys.executable, "-c", ""], check=True)),
        "skeleton_files": parsing(),
        "peak_memory_gb": {
            r: peak_memory(r, b) for r, b in (("mamp-ntu120", 16), ("hacm-ntu60", 16), ("hacm-demo", 64))
        },
        "this_process_peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }
    finish(results, given.out)


if __name__ == "__main__":
    main()

"""Start-up time of the command line, prepare speed, and peak memory of pre-training and of the demo.

    python benchmarks/startup.py --out benchmarks/results/startup.json [--demo]
    python benchmarks/startup.py --answers --out benchmarks/results/answers.json

Peak memory is the largest resident set that the kernel saw of the process (Linux).
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from common import arguments, finish, one_person_store
from kinemask.cli import COMMANDS
from kinemask.protocols.catalogue import PROTOCOLS
from kinemask.readers import ReadOptions, reader
from kinemask.synthetic.recordings import write_recordings

PEAK = """
import resource, sys
from kinemask.cli import main
status = main(sys.argv[1:])
children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print("PEAK", max(children, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 1e6)
sys.exit(status)
"""


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def command(*words: str, mistaken: bool = False) -> Callable[[], object]:
    return lambda: subprocess.run([sys.executable, "-m", "kinemask", *words], check=not mistaken, capture_output=True)


def answer(rounds: int, *words: str, mistaken: bool = False) -> dict[str, float]:
    """Seconds until a command answers, and the processor's share of them, which says little of what else runs."""
    used = lambda spent: spent.ru_utime + spent.ru_stime
    seconds, cpu = [], []
    for _ in range(rounds):
        before = used(resource.getrusage(resource.RUSAGE_CHILDREN))
        seconds.append(timed(command(*words, mistaken=mistaken)))
        cpu.append(used(resource.getrusage(resource.RUSAGE_CHILDREN)) - before)
    return {"seconds": round(median(seconds), 3), "cpu_seconds": round(median(cpu), 3)}


def answers(rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """Until every command's help, and a mistyped option of each, is answered."""
    asked = [("pretrain", "--recipe", "hacm-nw-ucla-small"), *(("evaluate", protocol) for protocol in PROTOCOLS)]
    asked += [(name,) for name in COMMANDS if name not in ("pretrain", "evaluate")]
    helps = [(), ("pretrain",), ("evaluate",), *asked]
    return {
        "help": {" ".join(words): answer(rounds, *words, "--help") for words in helps},
        "a mistyped option": {
            " ".join(words): answer(rounds, *words, "--wieght", "3", mistaken=True) for words in asked
        },
        "a mistyped command": {"preprae": answer(rounds, "preprae", mistaken=True)},
    }


def preparing() -> dict[str, float]:
    """MB/s of writing recordings, of reading .skeleton text on one core, and of `prepare` as a whole."""
    with tempfile.TemporaryDirectory() as folder:
        recordings = Path(folder) / "recordings"
        written = timed(lambda: write_recordings(recordings, subjects=8))
        files = sorted(recordings.iterdir())
        size = sum(f.stat().st_size for f in files) / 1e6
        source = reader("synthetic")
        items = source.scan(recordings).items
        read = min(timed(lambda: [source.read(item, ReadOptions()) for item in items]) for _ in range(3))
        stores = iter(range(100))
        prepare = ("prepare", "synthetic", str(recordings))
        whole = {
            workers: min(timed(command(*prepare, f"{folder}/s{next(stores)}", "--workers", workers)) for _ in range(2))
            for workers in ("1", str(os.cpu_count()))
        }
    return {
        "files": len(files),
        "megabytes": size,
        "write_recordings_mb_per_second": size / written,
        "read_one_core_mb_per_second": size / read,
        **{f"prepare_{workers}_workers_mb_per_second": size / t for workers, t in whole.items()},
    }


def peak_memory(*words: str) -> tuple[float, float]:
    """Peak resident memory in GB of a command, and its seconds."""
    start = time.perf_counter()
    out = subprocess.run([sys.executable, "-c", PEAK, *words], check=True, capture_output=True, text=True).stdout
    return float(out.split("PEAK")[1]), time.perf_counter() - start


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="answers of which the median counts")
    parser.add_argument("--answers", action="store_true", help="only how fast the command line answers")
    parser.add_argument("--demo", action="store_true", help="also run the whole demo (minutes)")
    given = parser.parse_args()
    results: dict[str, object] = {
        "benchmark": "start-up, preparation, memory",
        "python_alone_seconds": median(
            timed(lambda: subprocess.run([sys.executable, "-c", ""], check=True)) for _ in range(9)
        ),
        "rounds": given.rounds,
        "answers": answers(given.rounds),
    }
    if given.answers:
        finish(results, given.out)
        return
    results["preparation"] = preparing()
    memory = {}
    with one_person_store(32) as store, tempfile.TemporaryDirectory() as runs:
        for recipe, batch in (("mamp-ntu120", 16), ("hacm-ntu60", 16), ("hacm-demo", 32)):
            where = ["--recipe", recipe, "--data", str(store.path), "--split", "all", "--out", f"{runs}/{recipe}"]
            short = ["--training.epochs", "1", "--training.warmup-epochs", "0", "--training.batch-size", str(batch)]
            memory[f"{recipe}, batch {batch}"] = peak_memory("pretrain", *where, *short)[0]
        if given.demo:
            results["demo_peak_gb"], results["demo_seconds"] = peak_memory("demo", "--out", f"{runs}/demo")
    finish(results | {"pretrain_peak_gb": memory}, given.out)


if __name__ == "__main__":
    main()

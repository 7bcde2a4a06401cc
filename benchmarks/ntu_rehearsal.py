"""Rehearses docs/reproduce-ntu.md on a stand-in for NTU RGB+D 60, and writes seconds, memory and disk of every part.

    python benchmarks/synthetic_ntu.py FOLDER/nturgb+d_skeletons
    python benchmarks/ntu_rehearsal.py FOLDER --out benchmarks/results/ntu-rehearsal.json [--only PART ...] [--every 10]

Each part is a process of its own, one after the other, and its result is written as soon as it is there: a rehearsal
that was stopped goes on with the parts that are missing. Seconds of the processor say more than those of the clock
where a machine is shared. With `--every 10` a tenth of the files is prepared, and its store repeated to the true size,
for all parts that follow. Peak memory is that of the process with all its modules (Linux).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common import machine

RECIPES = ("hacm", "mamp", "mae", "skeleton2vec", "masksem", "mosaic")
STEPS = """
import json, statistics, sys, time
from pathlib import Path
import torch
from kinemask.training.distributed import World
from kinemask.training.loop import Loop
from kinemask.training.pretraining import Pretraining
from kinemask.training.settings import Settings
torch.set_num_threads(int(sys.argv[6]))
recipe, store, run, steps, batch = *sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5])
settings = {"data": store, "split": "xsub", "training.batch_size": batch, "training.device": "cpu"}
began = time.process_time()
world = World.alone("cpu")
job = Pretraining(Settings.from_recipe(recipe, settings), world)
opened = time.process_time() - began
began = time.process_time()
loop = Loop(job, Path(run), world, quiet=True)  # with what the method finds in the training set
prepared, seconds = time.process_time() - began, []
loop.task.train()
for _ in range(steps):
    began = time.process_time()
    parts = loop.advance(loop.task)
    seconds.append(time.process_time() - began)
    assert parts["loss"].isfinite()
told = {"tracks": sum(map(len, job.sets)), "opening_cpu_seconds": opened, "preparing_cpu_seconds": prepared}
told |= {"steps": steps, "batch": batch, "step_cpu_seconds": statistics.median(seconds)}
print(json.dumps({k: round(v, 3) for k, v in told.items()}))
"""
REPEAT = """
import json, sys
import numpy as np
from kinemask.store.format import Clip
from kinemask.store.opening import open_store
from kinemask.store.writer import write_store
part, whole, times = open_store(sys.argv[1]), sys.argv[2], int(sys.argv[3])
clips = (
    Clip(f"{clip.name}-{turn}", np.array(clip.data), clip.label, dict(clip.fields))
    for turn in range(times)
    for clip in part
)
meta = {"dataset": "synthetic-ntu60", "units": "metres"}
train, test = write_store(whole, clips, part.layout, part.classes, meta=meta).split("xsub")
print(json.dumps({"training_clips": len(train), "test_clips": len(test)}))
"""
# an encoder of a size that a processor evaluates in minutes; features are as wide as the papers'
SMALL = {
    "encoder.layers": 1,
    "encoder.width": 256,
    "encoder.heads": 8,
    "sampling.frames": 24,
    "encoder.segment_frames": 8,
}


def measured(command: list[str], told: Path) -> dict[str, Any]:
    """A process from start to end: seconds of clock and processor, peak memory, and what its last line says in JSON."""
    begun = time.monotonic()
    with told.open("w") as file:
        actions = [(os.POSIX_SPAWN_DUP2, file.fileno(), one) for one in (1, 2)]
        pid = os.posix_spawn(command[0], command, os.environ, file_actions=actions)
        _, status, use = os.wait4(pid, 0)
    text = told.read_text()
    if code := os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{' '.join(command)} ended with {code}:\n{text[-2000:]}")
    last = text.strip().splitlines()[-1] if text.strip() else ""
    found = {
        "seconds": round(time.monotonic() - begun, 1),
        "cpu_seconds": round(use.ru_utime + use.ru_stime, 1),
        "peak_gb": round(use.ru_maxrss * 1024 / 1e9, 2),
    }
    return found | (json.loads(last) if last.startswith("{") else {"said": last})


def shown(command: list[str]) -> str:
    """As in a shell, without folders, and a script by its first words."""
    words = [word if "\n" not in word else "..." for word in command[1:]]
    return " ".join(["python", *(Path(word).name if word.startswith("/") else word for word in words)])


def gigabytes(folder: Path) -> float:
    return round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e9, 2)


def thinned(source: Path, folder: Path, every: int) -> Path:
    """A folder with one of so many of the files, drawn at random, as hard links."""
    if not folder.is_dir():
        folder.mkdir()
        names = sorted(path.name for path in source.iterdir())
        for name in random.Random(0).sample(names, len(names) // every):
            (folder / name).hardlink_to(source / name)
    return folder


def parts(folder: Path, given: argparse.Namespace) -> Iterator[tuple[str, list[str]]]:
    """Names and commands, in the order in which they need each other."""
    python, kinemask = sys.executable, [sys.executable, "-m", "kinemask"]
    source, store = folder / "nturgb+d_skeletons", folder / "stores" / "ntu60"
    excluded = ["--exclude", str(given.missing)] if given.missing else []
    reading = [*excluded, "--workers", str(given.workers)]
    if given.every == 1:
        yield "prepare", [*kinemask, "prepare", "ntu60", str(source), str(store), *reading]
    else:
        some, few = thinned(source, folder / f"every-{given.every}", given.every), folder / "stores" / "some"
        yield "prepare", [*kinemask, "prepare", "ntu60", str(some), str(few), *reading]
        yield "repeat", [python, "-c", REPEAT, str(few), str(store), str(given.every)]
    yield "info", [*kinemask, "info", str(store)]
    for name in RECIPES:
        run = folder / "runs" / name
        numbers = [str(given.steps), str(given.batch), str(given.threads)]
        yield f"steps of {name}-ntu60", [python, "-c", STEPS, f"{name}-ntu60", str(store), str(run), *numbers]
    small = [word for key, value in SMALL.items() for word in (f"--{key}", str(value))]
    shortest = ["--training.epochs", "1", "--training.warmup-epochs", "0", "--training.device", "cpu"]
    run = ["--run", str(folder / "runs" / "small")]
    where = ["--data", str(store), "--split", "xsub", "--out", run[1]]
    yield "small encoder", [*kinemask, "pretrain", "--recipe", "mamp-ntu60", *where, *small, *shortest]
    for name, more in (("knn", []), ("probe", []), ("linear", ["--epochs", "5", "--views", "1"])):
        yield name, [*kinemask, "evaluate", name, *run, *more, "--no-baselines", "--device", "cpu"]
    yield "knn with baselines", [*kinemask, "evaluate", "knn", *run, "--device", "cpu"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where nturgb+d_skeletons is, and stores and runs are to be made")
    parser.add_argument("--out", type=Path, help="JSON file to write (default: print only)")
    parser.add_argument("--only", nargs="+", metavar="PART", help="parts to measure, again if they are there")
    parser.add_argument("--missing", type=Path, help="the owners' list of files without skeletons, for prepare")
    parser.add_argument(
        "--every", type=int, default=1, help="prepare one of so many files, drawn at random (default: all)"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes that read files (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="steps of each recipe (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=128, help="tracks of a step (default: the papers' %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="threads of a step (default: %(default)s)")
    given = parser.parse_args()
    done: dict[str, Any] = json.loads(given.out.read_text()) if given.out and given.out.is_file() else {}
    done.setdefault("machine", machine())
    for name, command in parts(given.folder, given):
        if name not in given.only if given.only else name in done:
            continue
        done[name] = measured(command, given.folder / "told.txt") | {"command": shown(command)}
        if name in ("prepare", "repeat"):
            done[name]["store_gigabytes"] = gigabytes(Path(command[6 if name == "prepare" else 4]))
        print(name, json.dumps(done[name]), flush=True)
        if given.out:
            given.out.write_text(json.dumps(done, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""What a step of each method costs at its paper's size, beside MAMP's, in one run.

    python benchmarks/methods.py --out benchmarks/results/methods.json

seconds: an optimizer step. Mask and target are the parts of it that need no gradient, in passes of the encoder over all
tokens without gradient. Every round measures every method once; the median over rounds counts. Memory: on CUDA the most
that a step allocates, elsewhere the growth of a process of its own (Linux).
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

from common import arguments, finish, one_person_store
from kinemask.pretext.base import MaskedPrediction
from kinemask.store.opening import open_store
from throughput import Trial, all_measures

RECIPES = ("mamp-ntu60", "mae-ntu60", "hacm-ntu60", "skeleton2vec-ntu60", "masksem-ntu60")


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


class Parts:
    """The parts of a method's step."""

    def __init__(self, recipe: str, store, batch: int):
        self.trial = Trial(recipe, store, all_measures(), batch)
        self.task = self.trial.job.task
        assert isinstance(self.task, MaskedPrediction)
        self.batch = self.trial.data(0)

    def run(self) -> dict[str, float]:
        bf16 = torch.autocast(self.trial.device.type, torch.bfloat16, enabled="bf16" in self.trial.on)
        step = self.trial.step()
        with torch.no_grad(), bf16:
            whole = seconds(lambda: self.task.encoder(self.batch.x))
            embedded = self.task.encoder.embed(self.batch.x)
            given = embedded, self.task.encoder.project(embedded), self.task.token_valid(self.batch)
            mask = seconds(lambda: self.task.mask(self.batch, *given))
            target = seconds(lambda: self.task.target(self.batch))
        return {"step": step, "mask": mask, "target": target, "encoder_pass": whole}


def memory(recipe: str, store: Path, batch: int) -> float:
    """GB that three steps need, model and optimizer included."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before, peak = torch.cuda.memory_allocated() / 1e9, lambda: torch.cuda.max_memory_allocated() / 1e9
    else:
        peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        before = peak()
    trial = Trial(recipe, open_store(store), all_measures(), batch)
    for _ in range(3):
        trial.step()
    return peak() - before


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), help="ratios are to the first")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    times: dict[str, list[dict[str, float]]] = {recipe: [] for recipe in given.recipes}
    with one_person_store(max(64, given.batch)) as store:
        work = [(recipe, store.path, given.batch) for recipe in given.recipes]
        with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            found = [memory(*w) for w in work] if torch.cuda.is_available() else pool.starmap(memory, work, chunksize=1)
        peaks = dict(zip(given.recipes, found, strict=True))
        methods = {recipe: Parts(recipe, store, given.batch) for recipe in given.recipes}
        for number in range(given.rounds + 2):
            for recipe, parts in methods.items():
                found = parts.run()
                if number > 1:  # the first two warm up
                    times[recipe].append(found)
    results = {}
    first = given.recipes[0]
    for recipe, rounds in times.items():
        middle = {name: median(r[name] for r in rounds) for name in rounds[0]}
        encoder = methods[recipe].task.encoder
        results[recipe] = {
            "tokens": encoder.tokens,
            "seconds": middle["step"],
            "slowest_and_fastest": [max(r["step"] for r in rounds), min(r["step"] for r in rounds)],
            "encoder_pass_seconds": middle["encoder_pass"],
            "mask_in_encoder_passes": median(r["mask"] / r["encoder_pass"] for r in rounds),
            "target_in_encoder_passes": median(r["target"] / r["encoder_pass"] for r in rounds),
            "peak_gb": peaks[recipe],
        }
    for result in results.values():
        result["seconds_over_first"] = result["seconds"] / results[first]["seconds"]
        result["peak_over_first"] = result["peak_gb"] / results[first]["peak_gb"]
    finish({"benchmark": f"a step of each method, batch {given.batch}", "methods": results}, given.out)


if __name__ == "__main__":
    main()

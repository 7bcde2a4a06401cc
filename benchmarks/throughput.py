"""Pre-training throughput against the plain published recipe, each speed measure alone and all together, in one run.

    python benchmarks/throughput.py --out benchmarks/results/throughput.json

A clip has one person. `plain` encodes two bodies a clip, loads clip by clip, writes attention out and computes in
float32. Every round measures every variant once, so that a slow moment of the machine hits all alike; the median over
rounds counts. On CUDA the whole is also measured compiled.
"""

from __future__ import annotations

import time
from itertools import chain
from statistics import median
from unittest.mock import patch

import numpy as np
import torch

import plain
from common import arguments, finish, one_person_store
from kinemask.draws import Draws, key
from kinemask.nn import transformer
from kinemask.store.opening import Store
from kinemask.training.distributed import World
from kinemask.training.loop import bf16_pays
from kinemask.training.pretraining import Pretraining
from kinemask.training.settings import Settings
from kinemask.windows.sampler import Batch

MEASURES = ("bf16", "skip_absent_bodies", "fused_attention", "device_sampling")
WARM_UP = 3 if torch.cuda.is_available() else 1  # steps that are not counted; compiling may take more than one


class Trial:
    """One method at one size with some of the speed measures on."""

    def __init__(self, recipe: str, store: Store, on: frozenset[str], batch: int):
        self.on, self.store, self.batch, self.number = on, store, batch, 0
        options = {"data": str(store.path), "split": "all", "training.batch_size": batch, "training.device": "auto"}
        settings = Settings.from_recipe(recipe, options)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.job = Pretraining(settings, World(0, 1, self.device))
        self.job.prepare()
        self.bodies = 1 if "skip_absent_bodies" in on else 2
        self.random = np.random.default_rng(0)
        self.job.task.train()
        if "compile" in on:
            self.job.task.compile()

    def data(self, step: int) -> Batch:
        job, size = self.job, self.batch * self.bodies
        source, order = job.batch(step)
        draws = Draws(key(0, step), size, None, self.device)
        if "device_sampling" in self.on:
            batch = job.samplers[source].sample(order, Draws(key(1, step), self.batch, None, self.device))
            x, valid = batch.x, batch.valid
            if self.bodies == 2:
                x, valid = torch.cat([x, torch.zeros_like(x)]), torch.cat([valid, valid])
        else:
            x = plain.load(self.store, order.cpu().numpy(), job.settings.sampling, self.bodies, self.random)
            x = x.to(self.device)
            valid = torch.ones(x.shape[:3], dtype=torch.bool, device=x.device)
        return Batch(x, valid, draws, order.repeat(self.bodies))

    def step(self) -> float:
        """Seconds of one optimizer step."""
        job = self.job
        attend = transformer.attend if "fused_attention" in self.on else plain.attend
        start = time.perf_counter()
        with patch.object(transformer, "attend", attend):
            batch = self.data(self.number)
            with torch.autocast(self.device.type, torch.bfloat16, enabled="bf16" in self.on):
                loss = job.task(batch)["loss"]
            loss.backward()
        job.optimizer.step()
        job.optimizer.zero_grad(set_to_none=True)
        job.after_step(0.0)
        self.number += 1
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start


def all_measures() -> frozenset[str]:
    """Those that pay on this machine."""
    pays = bf16_pays(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    return frozenset(MEASURES if pays else MEASURES[1:])


def measure(recipe: str, store: Store, batch: int, rounds: int, alone: bool) -> dict[str, object]:
    """Clips per second of every variant, and ratios to plain."""
    everything = all_measures()
    variants = {"plain": frozenset(), "all": everything}
    if torch.cuda.is_available():
        variants["all, compiled"] = everything | {"compile"}
    if alone:
        variants |= {f"plain + {name}": frozenset({name}) for name in sorted(everything)}
    trials = {name: Trial(recipe, store, on, batch) for name, on in variants.items()}
    for trial in trials.values():
        for _ in range(WARM_UP):
            trial.step()
    seconds: dict[str, list[float]] = {name: [] for name in trials}
    for _ in range(rounds):
        for name, trial in trials.items():
            seconds[name].append(trial.step())
    rate = {name: batch / median(s) for name, s in seconds.items()}
    spread = {name: [batch / max(s), batch / min(s)] for name, s in seconds.items()}
    ratio = {name: value / rate["plain"] for name, value in rate.items()}
    return {"batch": batch, "clips_per_second": rate, "slowest_and_fastest": spread, "ratio_to_plain": ratio}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument(
        "--recipes", nargs="+", default=["mamp-ntu120", "mae-ntu120", "hacm-ntu60", "mamp-demo", "hacm-demo"]
    )
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with one_person_store() as store:
        results = {
            recipe: measure(recipe, store, given.batch, given.rounds, alone=i == 0)
            for i, recipe in enumerate(given.recipes)
        }
    best = dict(chain.from_iterable(((r, v["ratio_to_plain"]["all"]),) for r, v in results.items()))  # type: ignore[index]
    finish({"benchmark": "pre-training throughput", "throughput": results, "ratio_of_all_to_plain": best}, given.out)


if __name__ == "__main__":
    main()

"""The one training loop: sample, step, log, save. A job says what it trains."""

from __future__ import annotations

import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from kinemask.draws import key
from kinemask.errors import Stopped
from kinemask.progress import Report, progress
from kinemask.runs import checkpoint
from kinemask.runs.log import Log
from kinemask.runs.result import Source, Trained
from kinemask.runs.run import Run
from kinemask.training import distributed, optim
from kinemask.training.settings import LoopSettings, Precision


class Job:
    """What a loop trains, on which batches, and what it leaves behind. Pre-training and fine-tuning each are one.

    task: a module whose forward(batch) returns {"loss": …} and named parts for the log. unit: what batches count;
    batch_size: how many of them a step has. measures: whether `measure` has something to say at the end of an epoch.
    snapshot_every: epochs between results that are kept.
    config: all settings, as config.yaml has them; sources: the stores that it is trained on (`runs.result.Source`).
    """

    unit = "tracks"
    measures = False
    snapshot_every = 0
    seed: int
    training: LoopSettings
    batch_size: int
    task: nn.Module
    optimizer: torch.optim.Optimizer
    steps_per_epoch: int
    config: dict[str, Any]
    sources: list[Source]

    def record(self, step: int) -> dict[str, Any]:
        """How what is saved at a step came about, as plain values (`runs.result.Trained`)."""
        trained = Trained(
            method=self.config["method"],
            settings=self.config,
            sources=self.sources,
            split=self.config["split"],
            steps=step,
            epochs=step / self.steps_per_epoch,
        )
        return asdict(trained)

    def prepare(self) -> None:
        """Called before the first step, and before a run goes on from a checkpoint."""

    def learning_rate(self, step: int) -> float:
        """Of a step; a parameter group that has a `scale` takes that multiple of it."""
        return optim.learning_rate(step, self.steps_per_epoch, self.training)

    def sample(self, step: int, part: int, parts: int) -> Any:
        """One of the `parts` that the global batch of a step is cut into."""
        raise NotImplementedError

    def names(self, step: int) -> list[str]:
        """Names of the clips in the global batch of a step."""
        raise NotImplementedError

    def after_step(self, progress: float) -> None:
        """Called after every optimizer step; progress in (0, 1]."""

    def measure(self, epoch: float) -> dict[str, float]:
        """More numbers for a line of the log. Called on the main process alone."""
        return {}

    def save(self, run: Path, step: int, suffix: str = "") -> None:
        """Write what the job is for into the run's folder. Called on the main process alone."""
        raise NotImplementedError


def run_job(job: Job, run: Path, world: distributed.World, quiet: bool) -> None:
    """Do a job, or resume it, in the folder `run`. Raises what the job and the loop raise.

    Writes config.yaml, metrics.jsonl, last.pt and what the job saves. SIGTERM and Ctrl-C save and raise Stopped. One
    process, or group of processes, at a time: ValueError says who is at it.
    """
    with stop_signals() as stopping, Run(run).hold() if world.main else nullcontext():
        Loop(job, run, world, quiet).train(stopping)


def pace(job: Job, world: distributed.World) -> float:
    """Seconds that an optimizer step of a job that is prepared takes here; what it trains stays as it is."""
    task, start = deepcopy(job.task).train(), 0.0
    for _ in range(2):  # the first is slower
        start = time.monotonic()
        with autocast(world.device, job.training.precision):
            out = task(job.sample(0, 0, world.size))
        out["loss"].backward()
        float(out["loss"].detach())
    return time.monotonic() - start


NEVER = 2**62  # the step of a loss that was not finite, while there was none


class Loop:
    """The state of one run in one process."""

    def __init__(self, job: Job, run: Path, world: distributed.World, quiet: bool = False):
        self.job, self.run, self.world, self.quiet = job, run, world, quiet
        self.task, self.optimizer = job.task, job.optimizer
        s = job.training
        if world.main and s.warmup_epochs > s.epochs:
            warnings.warn(
                f"the warm-up ({s.warmup_epochs:g} epochs) is longer than training ({s.epochs}), so the learning rate "
                "stays below its setting",
                stacklevel=2,
            )
        self.step = 0
        self.sums: dict[str, Tensor] = {}  # of the loss and its parts, over the steps after `since`
        self.since = 0
        self.bad_step = torch.full((), NEVER, device=world.device)
        self.total = s.epochs * job.steps_per_epoch
        self.log_every = s.log_every or job.steps_per_epoch
        if world.main:
            Run(run).claim(job.config)
        world.barrier()
        self._resume()

    def _resume(self) -> None:
        check = lambda state: checkpoint.check_fit(state, self.task, self.optimizer, self.total)
        state = checkpoint.load_checkpoint(self.run, check, drop_damaged=self.world.main)
        self.job.prepare()
        if state is None:
            return
        if state["sources"] != [source.sha256 for source in self.job.sources]:
            stores = ", ".join(self.job.config["data"])
            raise ValueError(f"{self.run} was trained on another store than {stores}; choose another --out")
        self.task.load_state_dict(state["task"])
        groups = self.optimizer.state_dict()["param_groups"]  # of the settings, which are the run's
        self.optimizer.load_state_dict({**state["optimizer"], "param_groups": groups})
        self.step = state["step"]
        log = state.get("log", {"since": self.step, "sums": {}})
        self.since = log["since"]
        for name, value in log["sums"].items():  # over all processes, so that the main one alone goes on from them
            self.sums[name] = torch.tensor(value if self.world.main else 0.0, device=self.world.device)

    def train(self, stopping: threading.Event) -> None:
        """To the end, or until `stopping` is set."""
        s, world = self.job.training, self.world
        module: nn.Module = self.task
        if world.size > 1:
            devices = [world.device] if world.device.type == "cuda" else None
            module = DistributedDataParallel(self.task, devices)
        if s.compile:
            module.compile()
        log = Log(self.run, self.step) if world.main else None
        self.task.train()
        shown = world.main and not self.quiet
        try:
            with progress("training, step", self.total, first=self.step, shown=shown) as report:
                self._steps(module, stopping, log, report)
            self.save_result()
        finally:
            if log:
                log.close()

    def _steps(self, module: nn.Module, stopping: threading.Event, log: Log | None, report: Report) -> None:
        job, s, world = self.job, self.job.training, self.world
        first, began, note = self.step, time.monotonic(), ""
        while self.step < self.total:
            for name, value in self.advance(module).items():
                self.sums[name] = self.sums.get(name, 0) + value
            epoch, within = divmod(self.step, job.steps_per_epoch)
            if self.step % self.log_every == 0 or self.step == self.total or (job.measures and within == 0):
                self.check_finite()
                sums, steps = self.summed(), (self.step - self.since) * world.size
                means = {name: value / steps for name, value in sums.items()}
                seconds = time.monotonic() - began
                rate = (self.step - first) * job.batch_size / seconds
                if log:
                    line = {"epoch": self.step / job.steps_per_epoch, **means, "lr": job.learning_rate(self.step - 1)}
                    pace = {"seconds": seconds, f"{job.unit}_per_second": rate}
                    log.write(self.step, {**line, **pace, **self.measure()})
                self.sums, self.since = {}, self.step
                first, began = self.step, time.monotonic()
                note = f"loss {means['loss']:.4f}"
            report(self.step, note)
            asked = self.asked_to_stop(stopping)
            if asked or self.step == self.total or (within == 0 and epoch % s.save_every == 0):
                self.save()
            if within == 0 and job.snapshot_every and epoch % job.snapshot_every == 0:
                self.save_result(f"-epoch{epoch:04d}")
            if asked and self.step < self.total:
                raise Stopped(f"stopped at step {self.step} of {self.total}; run the same command to resume")

    def measure(self) -> dict[str, float]:
        """The job's own numbers for the log."""
        with autocast(self.world.device, self.job.training.precision):
            return self.job.measure(self.step / self.job.steps_per_epoch)

    def summed(self) -> dict[str, float]:
        """The sums for the log's next line, over all processes."""
        if not self.sums:
            return {}
        sums = self.world.sum(torch.stack(list(self.sums.values())))
        return dict(zip(self.sums, sums.tolist(), strict=True))

    def advance(self, module: nn.Module) -> dict[str, Tensor]:
        """One optimizer step; returns the loss and its parts, averaged over this process's share."""
        job, s, world = self.job, self.job.training, self.world
        lr = job.learning_rate(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group.get("scale", 1.0)
        torch.manual_seed(key(job.seed, "noise", self.step, world.rank))  # of dropout, so that resumed runs go on alike
        total: dict[str, Tensor] = {}
        for part in range(s.accumulate):
            batch = job.sample(self.step, world.rank * s.accumulate + part, world.size * s.accumulate)
            last = part == s.accumulate - 1
            sync = nullcontext() if last or world.size == 1 else module.no_sync()  # type: ignore[operator]
            with sync:
                with autocast(world.device, s.precision):
                    out = module(batch)
                (out["loss"] / s.accumulate).backward()
            for name, value in out.items():
                total[name] = total.get(name, 0) + value.detach().float() / s.accumulate
        bad = ~total["loss"].isfinite() & (self.bad_step == NEVER)
        self.bad_step = torch.where(bad, self.step, self.bad_step)
        if s.clip_grad:
            nn.utils.clip_grad_norm_(self.task.parameters(), s.clip_grad)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        job.after_step(self.step / self.total)
        return total

    def asked_to_stop(self, stopping: threading.Event) -> bool:
        """Whether any process was asked to stop; agreed upon at every step, on CUDA at the steps that log."""
        if self.world.size == 1:
            return stopping.is_set()
        if self.world.device.type == "cuda" and self.step % self.log_every:
            return False
        return bool(self.world.sum(torch.tensor(float(stopping.is_set()), device=self.world.device)))

    def check_finite(self, state: checkpoint.State | None = None) -> None:
        """Raise if a loss was not finite, or a value of `state` is not. Looks at the device only when called."""
        first, what = self.bad_step.clone(), "the loss"
        if state and (found := next(checkpoint.not_finite(state), None)):
            what = f"the loss or {found}"
            first.clamp_(max=self.step - 1)
        step = int(self.world.min(first))
        if step == NEVER:
            return
        last = "; last.pt is the last good state" if (self.run / "last.pt").exists() else ""
        raise FloatingPointError(
            f"{what} is not finite after step {step}{last}. Clips of the batch: {', '.join(self.job.names(step))}"
        )

    def checked(self) -> checkpoint.State:
        """The state to be saved, all of it finite."""
        state: checkpoint.State = {
            "step": self.step,
            "task": self.task.state_dict(),
            "optimizer": self.optimizer.state_dict(),  # type: ignore[typeddict-item]
            "log": {"since": self.since, "sums": self.summed()},
            "sources": [source.sha256 for source in self.job.sources],
        }
        self.check_finite(state)
        return state

    def save(self) -> None:
        """Write last.pt from the main process."""
        state = self.checked()
        if self.world.main:
            checkpoint.save_checkpoint(self.run, state)
        self.world.barrier()

    def save_result(self, suffix: str = "") -> None:
        """Have the main process write what the job is for."""
        self.checked()
        if self.world.main:
            self.job.save(self.run, self.step, suffix)
        self.world.barrier()


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and Ctrl-C set, instead of killing the process; a second Ctrl-C does kill it."""
    stopping = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopping
        return

    def ask(number: int, frame: object) -> None:
        if stopping.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stopping.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def bf16_pays(device: torch.device) -> bool:
    """Whether bfloat16 autocast is faster than float32 on this device."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def precision(device: torch.device, asked: Precision = "auto") -> str:
    """What is computed in on this device, bf16 or fp32, where a setting asks for one or leaves it open."""
    return ("bf16" if bf16_pays(device) else "fp32") if asked == "auto" else asked


def autocast(device: torch.device, asked: Precision = "auto") -> torch.autocast:
    """The context in which that precision is computed in."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision(device, asked) == "bf16")

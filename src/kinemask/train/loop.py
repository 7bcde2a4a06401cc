"""The one training loop: sample, step, log, save."""

from __future__ import annotations

import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from kinemask.data.draws import Draws, key
from kinemask.data.format import EVERY
from kinemask.data.sampling import Sampler
from kinemask.data.store import Store, open_store
from kinemask.data.tracks import Tracks
from kinemask.errors import Stopped
from kinemask.pretext import method
from kinemask.progress import Report, progress
from kinemask.train import checkpoint, distributed, optim
from kinemask.train.encoders import save_encoder
from kinemask.train.log import Log
from kinemask.train.settings import Settings


def pretrain(settings: Settings, run: str | Path, quiet: bool = False) -> Path:
    """Pre-train, or go on with, the run in the folder `run`; returns the folder.

    Writes config.yaml, metrics.jsonl, last.pt and encoder.safetensors there. Starting a stopped run again with the
    same settings ends with the same weights as if it had not stopped. Raises ValueError for settings that do not fit
    the store or the run, FloatingPointError (naming the batch's clips) when the loss is not finite, and Stopped.
    """
    run = Path(run)
    with distributed.world(settings.training.device) as world, stop_signals() as stopping:
        loop = Loop(settings, run, world, quiet)
        loop.train(stopping)
    return run


def training_clips(store: Store, split: str) -> np.ndarray:
    """Clip indices of a split's training part; every clip for `all`."""
    return np.arange(len(store)) if split == EVERY else store.split(split)[0]


NEVER = 2**62  # the step of a loss that was not finite, while there was none


class Loop:
    """The state of one run in one process."""

    def __init__(self, settings: Settings, run: Path, world: distributed.World, quiet: bool = False):
        self.settings, self.run, self.world, self.quiet = settings, run, world, quiet
        s = settings.training
        if s.batch_size % (world.size * s.accumulate):
            raise ValueError(
                f"training.batch_size {s.batch_size} is not a multiple of {world.size} processes "
                f"× training.accumulate {s.accumulate}"
            )
        if world.main and s.warmup_epochs > s.epochs:
            warnings.warn(
                f"the warm-up ({s.warmup_epochs:g} epochs) is longer than training ({s.epochs}), so training.lr is "
                "never reached",
                stacklevel=2,
            )
        self.store = open_store(settings.data)
        clips = training_clips(self.store, settings.split)
        self.tracks = Tracks(self.store, clips, world.device, settings.sampling.missing)
        self.sampler = Sampler(self.tracks, settings.sampling)
        torch.manual_seed(key(settings.seed, "weights"))
        chosen = method(settings.method)
        encoder = chosen.build_encoder(self.store.layout, settings.sampling.frames, settings.encoder)
        self.task = chosen.build(encoder, settings.decoder, settings.pretext).to(world.device)
        self.optimiser = optim.adamw(self.task, s)
        self.step = 0
        self.sums: dict[str, Tensor] = {}  # of the loss and its parts, over the steps after `since`
        self.since = 0
        self.bad_step = torch.full((), NEVER, device=world.device)
        self.steps_per_epoch = max(1, len(self.tracks) // s.batch_size)
        self.total = s.epochs * self.steps_per_epoch
        self.bf16 = s.precision == "bf16" or (s.precision == "auto" and bf16_pays(world.device))
        self.source = {
            "data": {
                "dataset": self.store.meta.get("dataset"),
                "sha256": self.store.meta["sha256"],
                "split": settings.split,
            },
            "settings": settings.to_dict(),
        }
        if world.main:
            checkpoint.claim_run(run, settings.to_dict())
        world.barrier()
        self._resume()

    def _resume(self) -> None:
        state = checkpoint.load_checkpoint(self.run, drop_damaged=self.world.main)
        if state is None:
            return
        if state["source"]["data"]["sha256"] != self.source["data"]["sha256"]:
            raise ValueError(f"{self.run} was trained on another store than {self.settings.data}; choose another --out")
        self.task.load_state_dict(state["task"])
        self.optimiser.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["random"])
        self.step = state["step"]
        log = state.get("log", {"since": self.step, "sums": {}})
        self.since = log["since"]
        for name, value in log["sums"].items():  # over all processes, so that the main one alone goes on from them
            self.sums[name] = torch.tensor(value if self.world.main else 0.0, device=self.world.device)

    def train(self, stopping: threading.Event) -> None:
        """To the end, or until `stopping` is set."""
        s, world = self.settings.training, self.world
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
            self.save_encoders()
        finally:
            if log:
                log.close()

    def _steps(self, module: nn.Module, stopping: threading.Event, log: Log | None, report: Report) -> None:
        s, world = self.settings.training, self.world
        first, began, note = self.step, time.monotonic(), ""
        while self.step < self.total:
            for name, value in self.advance(module).items():
                self.sums[name] = self.sums.get(name, 0) + value
            if self.step % s.log_every == 0 or self.step == self.total:
                self.check_finite()
                sums, steps = self.summed(), (self.step - self.since) * world.size
                means = {name: value / steps for name, value in sums.items()}
                rate = (self.step - first) * s.batch_size / (time.monotonic() - began)
                lr = self.optimiser.param_groups[0]["lr"]
                if log:
                    epoch = self.step / self.steps_per_epoch
                    log.write(self.step, {"epoch": epoch, **means, "lr": lr, "tracks_per_second": rate})
                self.sums, self.since = {}, self.step
                first, began = self.step, time.monotonic()
                note = f"loss {means['loss']:.4f}"
            report(self.step, note)
            asked = self.asked_to_stop(stopping)
            epoch, within = divmod(self.step, self.steps_per_epoch)
            if asked or self.step == self.total or (within == 0 and epoch % s.save_every == 0):
                self.check_finite(weights=True)
                self.save()
            if within == 0 and s.snapshot_every and epoch % s.snapshot_every == 0:
                self.check_finite(weights=True)
                self.save_encoders(f"-epoch{epoch:04d}")
            if asked and self.step < self.total:
                raise Stopped(f"stopped at step {self.step} of {self.total}; the same command goes on from there")

    def summed(self) -> dict[str, float]:
        """The sums for the log's next line, over all processes."""
        if not self.sums:
            return {}
        sums = self.world.sum(torch.stack(list(self.sums.values())))
        return dict(zip(self.sums, sums.tolist(), strict=True))

    def advance(self, module: nn.Module) -> dict[str, Tensor]:
        """One optimiser step; returns the loss and its parts, averaged over this process's share."""
        s, world = self.settings.training, self.world
        lr = optim.learning_rate(self.step, self.steps_per_epoch, s)
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        order = self.batch(self.step)
        share = s.batch_size // world.size // s.accumulate
        total: dict[str, Tensor] = {}
        for part in range(s.accumulate):
            first = (world.rank * s.accumulate + part) * share
            rows = slice(first, first + share)
            draws = Draws(key(self.settings.seed, "draws", self.step), s.batch_size, rows, world.device)
            batch = self.sampler.sample(order[rows], draws)
            last = part == s.accumulate - 1
            sync = nullcontext() if last or world.size == 1 else module.no_sync()  # type: ignore[operator]
            with sync:
                with torch.autocast(world.device.type, torch.bfloat16, enabled=self.bf16):
                    out = module(batch)
                (out["loss"] / s.accumulate).backward()
            for name, value in out.items():
                total[name] = total.get(name, 0) + value.detach().float() / s.accumulate
        bad = ~total["loss"].isfinite() & (self.bad_step == NEVER)
        self.bad_step = torch.where(bad, self.step, self.bad_step)
        if s.clip_grad:
            nn.utils.clip_grad_norm_(self.task.parameters(), s.clip_grad)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.step += 1
        self.task.after_step(self.step / self.total)
        return total

    def batch(self, step: int) -> Tensor:
        """Tracks of the global batch of a step: each epoch a new order, too few tracks repeated."""
        size, tracks = self.settings.training.batch_size, len(self.tracks)
        epoch, within = divmod(step, self.steps_per_epoch)
        orders = []
        for repeat in range(-(-size // tracks)):
            generator = torch.Generator().manual_seed(key(self.settings.seed, "order", epoch, repeat))
            orders.append(torch.randperm(tracks, generator=generator))
        return torch.cat(orders)[within * size : (within + 1) * size].to(self.world.device)

    def asked_to_stop(self, stopping: threading.Event) -> bool:
        """Whether any process was asked to stop; agreed upon at every step, on CUDA at the steps that log."""
        if self.world.size == 1:
            return stopping.is_set()
        if self.world.device.type == "cuda" and self.step % self.settings.training.log_every:
            return False
        return bool(self.world.sum(torch.tensor(float(stopping.is_set()), device=self.world.device)))

    def check_finite(self, weights: bool = False) -> None:
        """Raise if a loss was not finite, or (`weights`) if a weight is not. Looks at the device only when called."""
        step = int(self.world.min(self.bad_step.clone()))
        if step == NEVER and weights:
            sound = torch.stack([p.isfinite().all() for p in self.task.parameters()]).all()
            step = NEVER if sound else self.step - 1
        if step == NEVER:
            return
        names = [self.store.names[self.tracks.clips[i]] for i in self.tracks.clip.cpu()[self.batch(step).cpu()]]
        last = "; last.pt is the last good state" if (self.run / "last.pt").exists() else ""
        raise FloatingPointError(
            f"the loss or a weight is not finite after step {step}{last}. Clips of the batch: {', '.join(names)}"
        )

    def save(self) -> None:
        """Write last.pt from the main process."""
        sums = self.summed()
        if self.world.main:
            state = {
                "step": self.step,
                "task": self.task.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "random": torch.get_rng_state(),
                "log": {"since": self.since, "sums": sums},
                "source": self.source,
            }
            checkpoint.save_checkpoint(self.run, state)
        self.world.barrier()

    def save_encoders(self, suffix: str = "") -> None:
        if not self.world.main:
            return
        s = self.settings
        record: dict[str, Any] = self.source | {
            "steps": self.step,
            "epochs": self.step / self.steps_per_epoch,
        }
        for name, encoder in self.task.encoders().items():
            path = self.run / f"{name}{suffix}.safetensors"
            save_encoder(path, encoder, s.method, self.store.layout, s.encoder, s.sampling, record)


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

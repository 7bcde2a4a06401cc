"""Runs that are stopped half way, broken on purpose, or looked at step by step."""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path

import torch

from helpers import make_settings
from kinemask.models.encoders import load_encoder
from kinemask.runs.log import read_metrics
from kinemask.training.distributed import World
from kinemask.training.loop import Loop, run_job
from kinemask.training.pretraining import Pretraining
from kinemask.training.settings import Settings

ALONE = World.alone("cpu")


def loop_of(store, run: Path, **changes) -> Loop:
    """The loop of a run in one process, before its next step; changes: as of `make_settings`."""
    return Loop(Pretraining(make_settings(store, **changes), ALONE), run, ALONE, quiet=True)


class Interrupted(Pretraining):
    """Pre-training that `event` befalls after so many steps."""

    def __init__(self, settings: Settings, after: int, event):
        super().__init__(settings, ALONE)
        self.left, self.event = after, event

    def after_step(self, progress: float) -> None:
        super().after_step(progress)
        self.left -= 1
        if not self.left:
            self.event()


def pretrain_until(settings: Settings, run: Path, steps: int, event=lambda: signal.raise_signal(signal.SIGINT)) -> None:
    """Pre-train, or resume, until `event` comes after so many further steps: by default Ctrl-C."""
    run_job(Interrupted(settings, steps, event), run, ALONE, quiet=True)


def pretrain_broken(
    settings: Settings, run: Path, step: int, value: float = math.nan, gradient_only: bool = False
) -> None:
    """Pre-train; from the step of that number on, the loss (or only its gradient) is multiplied by `value`."""
    job, calls = Pretraining(settings, ALONE), []

    def spoil(task, args, out):
        calls.append(1)
        if len(calls) <= step:
            return
        if gradient_only:
            out["loss"].register_hook(lambda g: g * value)
        else:
            out["loss"] = out["loss"] * value

    job.task.register_forward_hook(spoil)
    run_job(job, run, ALONE, quiet=True)


def logged(run: Path) -> list[dict]:
    """The lines of the log, all but what depends on the clock."""
    clock = ("seconds", "tracks_per_second", "clips_per_second")
    return [{k: v for k, v in line.items() if k not in clock} for line in read_metrics(run)]


def alike(one: Path, two: Path) -> None:
    """Two encoders compute the same but for rounding; weights without a gradient (the keys' biases) may differ."""
    a, b = (load_encoder(run) for run in (one, two))
    shape = (20, a.sampling.frames, a.layout.num_joints, a.layout.dims)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        a, b = (model.encoder(x).mean((1, 2)) for model in (a, b))
    torch.testing.assert_close(a, b, atol=1e-2 * a.std().item(), rtol=0)


def environment() -> dict[str, str]:
    """Of a process that a test starts: one thread, no GPU."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}

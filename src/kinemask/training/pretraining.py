"""Pre-training: a method's task on the body tracks of a split's training part."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kinemask.draws import Draws, key
from kinemask.models.encoders import TrainedEncoder, load_encoder, placed, save_encoder
from kinemask.nn.encoder import Encoder
from kinemask.pretext import method
from kinemask.pretext.base import Pretext
from kinemask.pretext.mixed import Mixed
from kinemask.runs.result import Source
from kinemask.store.format import EVERY
from kinemask.store.opening import Store, open_store
from kinemask.training import distributed, optim
from kinemask.training.loop import Job, run_job
from kinemask.training.settings import Settings
from kinemask.windows.sampler import Batch, Sampler
from kinemask.windows.settings import SamplingSettings
from kinemask.windows.tracks import Tracks


def pretrain(settings: Settings, run: str | Path, quiet: bool = False) -> Path:
    """Pre-train, or resume, the run in the folder `run`; returns the folder.

    Writes config.yaml, metrics.jsonl, last.pt and encoder.safetensors there. Starting a stopped run again with the
    same settings ends with the same weights as if it had not stopped. Raises ValueError for settings that do not fit
    the store or the run, FloatingPointError (naming the batch's clips) when the loss is not finite, and Stopped.
    """
    run = Path(run)
    with distributed.world(settings.training.device) as world:
        run_job(Pretraining(settings, world), run, world, quiet)
    return run


def training_clips(store: Store, split: str) -> np.ndarray:
    """Clip indices of a split's training part; every clip for `all`."""
    return np.arange(len(store)) if split == EVERY else store.split(split)[0]


def clips_of(stores: Sequence[Store], split: str) -> list[np.ndarray]:
    """The training clips of each store; split: one for all of them, or one for each, joined by +."""
    splits = split.split("+")
    if len(splits) not in (1, len(stores)):
        raise ValueError(f"split {split} names {len(splits)} splits for {len(stores)} stores")
    return [training_clips(store, splits[i % len(splits)]) for i, store in enumerate(stores)]


def turns(weights: Sequence[float], steps: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Which set each step's batch is of, drawn by weight, and how many batches were of it before: (steps,) each."""
    if len(weights) == 1:
        return np.zeros(steps, np.int64), np.arange(steps)
    generator = torch.Generator().manual_seed(key(seed, "sets"))
    chances = torch.tensor(weights, dtype=torch.float64).cumsum(0)
    drawn = torch.rand(steps, generator=generator, dtype=torch.float64) * chances[-1]
    source = torch.searchsorted(chances, drawn, right=True).clamp_max(len(weights) - 1).numpy()
    visits = np.empty(steps, np.int64)
    for one in range(len(weights)):
        visits[source == one] = np.arange((source == one).sum())
    return source, visits


class Pretraining(Job):
    """A recipe on one store, or on several.

    sets: what batches are drawn from, each batch from one. Stores of one layout are one set unless they have weights;
    else each is its own, and the layouts share all weights of the method.
    """

    task: Pretext

    def __init__(self, settings: Settings, world: distributed.World):
        self.settings, self.training, self.seed = settings, settings.training, settings.seed
        s = settings.training
        self.batch_size, self.snapshot_every = s.batch_size, s.snapshot_every
        if s.batch_size % (world.size * s.accumulate):
            raise ValueError(
                f"training.batch_size {s.batch_size} is not a multiple of {world.size} processes "
                f"× training.accumulate {s.accumulate}"
            )
        stores = [open_store(path) for path in settings.data]
        parts = list(zip(stores, clips_of(stores, settings.split), strict=True))
        if s.weights and len(s.weights) != len(stores):
            raise ValueError(f"training.weights has {len(s.weights)} numbers for {len(stores)} stores")
        together = not s.weights and all(store.layout == stores[0].layout for store in stores)
        grouped = [parts] if together else [[part] for part in parts]
        self.sets = [Tracks(group, None, world.device, settings.sampling.missing) for group in grouped]
        self.samplers = [Sampler(tracks, settings.sampling) for tracks in self.sets]
        self.start = load_encoder(s.init_from) if s.init_from else None
        if self.start is not None and world.main:
            _say_how_clips_differ(self.start.sampling, settings.sampling, s.init_from)
        torch.manual_seed(key(settings.seed, "weights"))
        self._tasks = [self._build(tracks) for tracks in self.sets]
        self.task = (self._tasks[0] if len(self._tasks) == 1 else Mixed(self._tasks)).to(world.device)
        self.optimizer = optim.optimizer(optim.decay_groups(self.task, s.weight_decay), s)
        self.steps_per_epoch = max(1, sum(map(len, self.sets)) // s.batch_size)
        self.turns, self.visits = turns(
            s.weights or [len(tracks) for tracks in self.sets], s.epochs * self.steps_per_epoch, settings.seed
        )
        self._prepared = False
        self.config = settings.to_dict()
        self.sources = [Source(dataset=store.name, sha256=store.identity) for store in stores]

    def _build(self, tracks: Tracks) -> Pretext:
        """The task for a set's layout."""
        settings, chosen = self.settings, method(self.settings.method)
        encoder = chosen.build_encoder(tracks.layout, settings.sampling.frames, settings.encoder)
        if self.start is not None:
            warm_start(encoder, self.start, f"training.init_from {settings.training.init_from}")
        return chosen.build(encoder, settings.decoder, settings.pretext)

    def prepare(self) -> None:
        if not self._prepared:
            self._tasks[0].prepare_together(self._tasks, self.samplers)
        self._prepared = True

    def sample(self, step: int, part: int, parts: int) -> Batch:
        size = self.training.batch_size
        rows = slice(part * size // parts, (part + 1) * size // parts)
        source, track = self.batch(step)
        draws = Draws(key(self.seed, "draws", step), size, rows, track.device)
        return replace(self.samplers[source].sample(track[rows], draws), source=source)

    def batch(self, step: int) -> tuple[int, Tensor]:
        """Set and tracks of the global batch of a step: a set's tracks in a new order each time round.

        Too few tracks are repeated.
        """
        source, visit = int(self.turns[step]), int(self.visits[step])
        tracks, size = self.sets[source], self.training.batch_size
        epoch, within = divmod(visit, max(1, len(tracks) // size))
        which = (epoch,) if len(self.sets) == 1 else (epoch, source)
        orders = []
        for repeat in range(-(-size // len(tracks))):
            generator = torch.Generator().manual_seed(key(self.seed, "order", *which, repeat))
            orders.append(torch.randperm(len(tracks), generator=generator))
        return source, torch.cat(orders)[within * size : (within + 1) * size].to(tracks.device, non_blocking=True)

    def names(self, step: int) -> list[str]:
        source, track = self.batch(step)
        tracks = self.sets[source]
        return tracks.names(tracks.clip[track].tolist())

    def after_step(self, progress: float) -> None:
        self.task.after_step(progress)

    def save(self, run: Path, step: int, suffix: str = "") -> None:
        s = self.settings
        for name, encoder in self.task.encoders().items():
            save_encoder(run / f"{name}{suffix}.safetensors", encoder, s.sampling, self.record(step))


def warm_start(encoder: Encoder, start: TrainedEncoder, name: str) -> None:
    """Give a fresh encoder the weights of another run's; ValueError unless window and settings fit.

    Of the same layout, or of any where positions follow from joints' names.
    """
    given = placed(start, encoder.layout, name, "the store").encoder
    there, here = ({"sampling.frames": e.frames, **asdict(e.settings)} for e in (given, encoder))
    if differ := _differences(there, here):
        raise ValueError(f"{name} does not fit this run's encoder: {differ}")
    encoder.load_state_dict(given.state_dict())


def _say_how_clips_differ(there: SamplingSettings, here: SamplingSettings, path: str | None) -> None:
    """Warn where clips are prepared differently, apart from augmentation; heading and pair count as the same."""

    def prepared(sampling: SamplingSettings) -> dict[str, str]:
        own = {f"sampling.{name}": getattr(sampling, name) for name in ("stream", "missing", "scale")}
        return own | {"sampling.align": "none" if sampling.align == "none" else "turned"}

    if differ := _differences(prepared(there), prepared(here)):
        warnings.warn(f"training.init_from {path} was trained on clips prepared differently: {differ}", stacklevel=3)


def _differences(there: dict[str, Any], here: dict[str, Any]) -> str:
    differ = [k for k in there | here if there.get(k) != here.get(k)]
    return ", ".join(f"{k} ({there.get(k)} there, {here.get(k)} here)" for k in differ)

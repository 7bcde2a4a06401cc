"""Pre-training: a method's task on the body tracks of a split's training part."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kinemask.draws import Draws, key
from kinemask.models.encoders import load_encoder, save_encoder
from kinemask.nn.encoder import Encoder
from kinemask.pretext import method
from kinemask.pretext.base import Pretext
from kinemask.runs.result import Source
from kinemask.store.format import EVERY
from kinemask.store.opening import Store, open_store
from kinemask.training import distributed, optim
from kinemask.training.loop import Job, run_job
from kinemask.training.settings import Settings
from kinemask.windows.sampler import Batch, Sampler
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


class Pretraining(Job):
    """A recipe on one store, or on several of one layout."""

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
        parts = [(store, training_clips(store, settings.split)) for store in stores]
        self.tracks = Tracks(parts, None, world.device, settings.sampling.missing)
        self.sampler = Sampler(self.tracks, settings.sampling)
        torch.manual_seed(key(settings.seed, "weights"))
        chosen = method(settings.method)
        encoder = chosen.build_encoder(self.tracks.layout, settings.sampling.frames, settings.encoder)
        if s.init_from:
            warm_start(encoder, s.init_from)
        self.task = chosen.build(encoder, settings.decoder, settings.pretext).to(world.device)
        self.optimizer = optim.optimizer(optim.decay_groups(self.task, s.weight_decay), s)
        self.steps_per_epoch = max(1, len(self.tracks) // s.batch_size)
        self.config = settings.to_dict()
        self.sources = [Source(dataset=store.name, sha256=store.identity) for store in stores]

    def prepare(self) -> None:
        self.task.prepare(self.sampler)

    def sample(self, step: int, part: int, parts: int) -> Batch:
        size = self.training.batch_size
        rows = slice(part * size // parts, (part + 1) * size // parts)
        draws = Draws(key(self.seed, "draws", step), size, rows, self.tracks.device)
        return self.sampler.sample(self.batch(step)[rows], draws)

    def batch(self, step: int) -> Tensor:
        """Tracks of the global batch of a step: each epoch a new order, too few tracks repeated."""
        size, tracks = self.training.batch_size, len(self.tracks)
        epoch, within = divmod(step, self.steps_per_epoch)
        orders = []
        for repeat in range(-(-size // tracks)):
            generator = torch.Generator().manual_seed(key(self.seed, "order", epoch, repeat))
            orders.append(torch.randperm(tracks, generator=generator))
        return torch.cat(orders)[within * size : (within + 1) * size].to(self.tracks.device, non_blocking=True)

    def names(self, step: int) -> list[str]:
        return self.tracks.names(self.tracks.clip[self.batch(step)].tolist())

    def after_step(self, progress: float) -> None:
        self.task.after_step(progress)

    def save(self, run: Path, step: int, suffix: str = "") -> None:
        s = self.settings
        for name, encoder in self.task.encoders().items():
            save_encoder(run / f"{name}{suffix}.safetensors", encoder, s.sampling, self.record(step))


def warm_start(encoder: Encoder, path: str) -> None:
    """Give a fresh encoder the weights of another run's; ValueError unless layout, window and settings are the same."""
    given = load_encoder(path).encoder
    if given.layout.to_dict() != encoder.layout.to_dict():
        raise ValueError(f"training.init_from {path} has layout {given.layout.name}, the store {encoder.layout.name}")
    there, here = ({"sampling.frames": e.frames, **asdict(e.settings)} for e in (given, encoder))
    differ = [f"{k} ({there.get(k)} there, {here.get(k)} here)" for k in there | here if there.get(k) != here.get(k)]
    if differ:
        raise ValueError(f"training.init_from {path} does not fit this run's encoder: {', '.join(differ)}")
    encoder.load_state_dict(given.state_dict())

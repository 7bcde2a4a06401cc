"""What the tests of fine-tuning share: quick settings, a job, how its weights and steps are looked at."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from helpers import same
from kinemask import load_encoder
from kinemask.models.classifiers import TrainedClassifier
from kinemask.nn.heads import MLPClassifier
from kinemask.nn.settings import HeadSettings
from kinemask.training.distributed import World
from kinemask.training.finetuning import Finetuning
from kinemask.training.settings import FinetuneSettings
from kinemask.windows.parts import parts

QUICK = {"epochs": 3, "warmup_epochs": 1, "batch_size": 16, "device": "cpu", "precision": "fp32", "head.hidden": 16}


def make_job(run: Path, store, clips: int | None = None, **changes) -> Finetuning:
    """A job on the training part of xsub, or on its first clips; changes: of its settings."""
    world = World.alone("cpu")
    train, test = parts(store, "xsub", world.device, "fill")
    if clips is not None:
        train = train.subset(np.arange(clips))
    usual = {"epochs": 2, "warmup_epochs": 0, "batch_size": 8, "layer_decay": 0.8, "precision": "fp32"}
    settings = FinetuneSettings(**usual | changes)
    torch.manual_seed(0)
    model = load_encoder(run)
    classifier = MLPClassifier(model.encoder, len(store.classes), HeadSettings(hidden=8))
    trained = TrainedClassifier(classifier, model.sampling, store.classes, {"pretraining": dict(model.record)})
    config = {"seed": 0, "split": "xsub", "data": [str(store.path)], "method": "mamp"}
    return Finetuning(trained, model.encoder, train, test, settings, config, world)


def same_weights(*folders: Path) -> bool:
    """Whether two fine-tuned runs ended alike."""
    return same(*(load_file(folder / "classifier.safetensors") for folder in folders))


def count_steps(monkeypatch, stop_at: int | None = None) -> list[float]:
    """The progress after each step of fine-tuning that is taken from now on; that many steps are followed by Ctrl-C."""
    after_step, steps = Finetuning.after_step, []

    def counted(self, progress):
        after_step(self, progress)
        steps.append(progress)
        if len(steps) == stop_at:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Finetuning, "after_step", counted)
    return steps

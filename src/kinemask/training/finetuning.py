"""The job of fine-tuning: a classifier on labelled clips, in the same loop as pre-training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinemask.draws import Draws, key
from kinemask.models.classifiers import TrainedClassifier, save_classifier
from kinemask.models.encoders import save_encoder
from kinemask.nn.encoder import Encoder
from kinemask.runs.result import Source
from kinemask.training import optim
from kinemask.training.distributed import World
from kinemask.training.loop import Job
from kinemask.training.settings import FinetuneSettings
from kinemask.windows.parts import Part
from kinemask.windows.sampler import Sampler


@dataclass
class Clips:
    """Bodies x (B, T, V, C), clip_index (B,) each one's clip, and the clips' labels (N,)."""

    x: Tensor
    clip_index: Tensor
    labels: Tensor


class Recognition(nn.Module):
    """Cross-entropy of a classifier, for the loop."""

    def __init__(self, classifier: nn.Module, label_smoothing: float):
        super().__init__()
        self.classifier, self.label_smoothing = classifier, label_smoothing

    def forward(self, batch: Clips) -> dict[str, Tensor]:
        logits = self.classifier(batch.x, batch.clip_index, len(batch.labels)).float()
        loss = F.cross_entropy(logits, batch.labels, label_smoothing=self.label_smoothing)
        return {"loss": loss, "training_accuracy": (logits.argmax(1) == batch.labels).float().mean()}


class Finetuning(Job):
    """A classifier around an encoder, trained on the clips of one part and scored on those of another.

    An epoch is cut into steps of nearly equal size, so that no step is of a single clip.
    `scores` are the last ones that were measured on the test part: (N, classes).
    """

    unit = "clips"
    measures = True
    training: FinetuneSettings

    def __init__(
        self,
        model: TrainedClassifier,
        encoder: Encoder,
        train: Part,
        test: Part,
        settings: FinetuneSettings,
        config: dict[str, Any],
        world: World,
    ):
        s, count = settings, len(train.clips)
        self.model, self.encoder, self.training = model.to(world.device), encoder, settings
        self.train, self.config, self.seed = train, config, config["seed"]
        fewest = 2 * world.size * s.accumulate
        if count < fewest:
            raise ValueError(
                f"fine-tuning needs at least {fewest} labelled training clips, two per process and accumulated part "
                f"for batch normalisation, and there are {count}"
            )
        self.steps_per_epoch = min(math.ceil(count / s.batch_size), count // fewest)
        self.batch_size = round(count / self.steps_per_epoch)
        self.sampler = Sampler(train.tracks, model.sampling)
        self.test = Sampler(test.tracks, model.sampling)
        self.truth = test.labels
        self.scores: Tensor | None = None
        self.task = Recognition(model.classifier, s.label_smoothing)
        encoder.set_drop_path(s.drop_path)
        assert s.layer_decay is not None, "the protocol decides what None stands for"
        groups = optim.layer_groups(self.task, model.classifier.depth_groups(), s.weight_decay, s.layer_decay)
        self.optimizer = optim.optimizer(groups, s)
        self.sources = [Source(dataset=train.store.name, sha256=train.store.identity)]

    def clips(self, step: int) -> Tensor:
        """Positions in the training part of the global batch of a step; each epoch a new order."""
        epoch, within = divmod(step, self.steps_per_epoch)
        generator = torch.Generator().manual_seed(key(self.seed, "order", epoch))
        return torch.randperm(len(self.train.clips), generator=generator).tensor_split(self.steps_per_epoch)[within]

    def sample(self, step: int, part: int, parts: int) -> Clips:
        every = self.clips(step)
        rows = slice(part * len(every) // parts, (part + 1) * len(every) // parts)
        positions = every[rows].to(self.train.labels.device)
        track, clip_index = self.train.tracks.of_clips(positions)
        draws = Draws(key(self.seed, "draws", step), len(every), rows, positions.device)
        return Clips(self.sampler.sample(track, draws, clip_index).x, clip_index, self.train.labels[positions])

    def names(self, step: int) -> list[str]:
        return [self.train.names[i] for i in self.clips(step).tolist()]

    def measure(self, epoch: float) -> dict[str, float]:
        every, last = self.training.test_every, epoch == self.training.epochs
        if not last and (not every or epoch % every):
            return {}
        self.scores = self.model.eval().scores(self.test)
        self.model.train()
        return {"test_accuracy": (self.scores.argmax(1) == self.truth).float().mean().item()}

    def save(self, run: Path, step: int, suffix: str = "") -> None:
        self.model.record = self.record(step) | {"pretraining": self.model.record["pretraining"]}
        save_encoder(run / f"encoder{suffix}.safetensors", self.encoder, self.model.sampling, self.model.record)
        save_classifier(run / f"classifier{suffix}.safetensors", self.model)

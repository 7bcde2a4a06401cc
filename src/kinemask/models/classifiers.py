"""Classifiers on disk: a fine-tuned encoder with its head, and the names of the classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kinemask.models.encoders import (
    build_encoder,
    describe,
    find,
    read_weights,
    rebuilding,
    sampler_of,
    settings_of,
    write_weights,
)
from kinemask.models.metadata import check_size
from kinemask.nn.encoder import Encoder
from kinemask.nn.graph import GraphEncoder
from kinemask.nn.heads import Classifier, MLPClassifier
from kinemask.nn.settings import HeadSettings
from kinemask.nn.strl import STRL
from kinemask.skeleton import Layout
from kinemask.windows.sampler import Sampler
from kinemask.windows.settings import SamplingSettings


def build_classifier(encoder: Encoder, classes: int, head: HeadSettings) -> Classifier:
    """A classifier of the head's kind around an encoder; ValueError where the kind needs another encoder."""
    if head.kind == "mlp":
        return MLPClassifier(encoder, classes, head)
    if not isinstance(encoder, GraphEncoder):
        raise ValueError(
            f"head.kind strl copies the encoder's graph layers, and an encoder of architecture {encoder.architecture} "
            "has none; take head.kind mlp"
        )
    return STRL(encoder, classes, head)


class TrainedClassifier(nn.Module):
    """A classifier with what it needs to be used: sampling, the classes' names, and how it was trained."""

    def __init__(self, classifier: Classifier, sampling: SamplingSettings, classes: list[str], record: dict[str, Any]):
        super().__init__()
        self.classifier, self.sampling, self.classes, self.record = classifier, sampling, classes, record

    @property
    def layout(self) -> Layout:
        return self.classifier.encoder.layout

    def predict(self, x: Tensor | np.ndarray | Sequence[np.ndarray], batch_size: int = 64) -> Tensor:
        """Probabilities of `classes` for recordings as `TrainedEncoder.encode` takes them: (N, classes)."""
        sampler = sampler_of(x, self.layout, self.sampling, next(self.parameters()).device)
        return self.eval().scores(sampler, batch_size)

    @torch.no_grad()
    def scores(self, sampler: Sampler, batch_size: int = 64) -> Tensor:
        """Probabilities for every clip of a sampler's tracks, averaged over test views: (N, classes)."""
        tracks, views = sampler.tracks, []
        for view in range(self.sampling.test_clips):
            out = []
            for positions in torch.arange(len(tracks.clips), device=tracks.device).split(batch_size):
                track, clip_index = tracks.of_clips(positions)
                logits = self.classifier(sampler.test_view(track, view), clip_index, len(positions))
                out.append(logits.float().softmax(-1))
            views.append(torch.cat(out))
        return torch.stack(views).mean(0)


def head_of(values: dict[str, Any]) -> HeadSettings:
    """A head's settings from a file's plain values; before people had encoders of their own, they shared one."""
    before = {"encoders": "shared"} if values.get("kind") == "strl" else {}
    return settings_of(HeadSettings, before | values)


def save_classifier(path: Path, model: TrainedClassifier) -> None:
    """Write classifier.safetensors: weights, and in its metadata what rebuilds it."""
    write_weights(path, model.classifier, describe_classifier(model))


def describe_classifier(model: TrainedClassifier) -> dict[str, Any]:
    """The metadata that rebuilds a classifier."""
    classifier = model.classifier
    about = describe(classifier.encoder, model.sampling, model.record)
    return about | {"head": asdict(classifier.settings), "classes": model.classes}


def load_classifier(path: str | Path, device: str | torch.device = "cpu") -> TrainedClassifier:
    """A classifier file, or a fine-tuned run's folder -> a module with `predict(x) -> (N, classes)`, in eval mode.

    Raises ValueError for a file that is absent, damaged, not a classifier of kinemask or of another format.
    """
    path = find(Path(path), "classifier")
    about, weights = read_weights(path, "a classifier")
    with rebuilding(path):
        model = rebuild_classifier(about, weights)
    return model.to(device).eval()


def rebuild_classifier(about: dict[str, Any], weights: dict[str, Tensor]) -> TrainedClassifier:
    """A classifier from its metadata and weights; raises what building and loading it raise."""
    classes, head = about["classes"], head_of(about["head"])
    check_size(lambda: build_classifier(build_encoder(about).encoder, len(classes), head), weights)
    base = build_encoder(about)
    classifier = build_classifier(base.encoder, len(classes), head)
    classifier.load_state_dict(weights)
    return TrainedClassifier(classifier, base.sampling, classes, base.record)

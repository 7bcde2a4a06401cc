"""Classifiers on disk: a fine-tuned encoder with its head, and the names of the classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kinemask.models.encoders import build_encoder, find, read_weights, rebuilding, sampler_of, write_weights
from kinemask.nn.settings import HeadSettings
from kinemask.pretext import method
from kinemask.skeleton import Layout
from kinemask.windows.sampling import Sampler, SamplingSettings


class TrainedClassifier(nn.Module):
    """A classifier with what it needs to be used: layout, sampling, the classes' names, and how it was trained."""

    def __init__(
        self,
        classifier: nn.Module,
        layout: Layout,
        sampling: SamplingSettings,
        classes: list[str],
        record: dict[str, Any],
    ):
        super().__init__()
        self.classifier, self.layout, self.sampling = classifier, layout, sampling
        self.classes, self.record = classes, record

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


def save_classifier(path: Path, model: TrainedClassifier, head: Any) -> None:
    """Write classifier.safetensors: weights, and in its metadata what rebuilds it. head: the head's settings."""
    write_weights(path, model.classifier, model.record | {"head": asdict(head), "classes": model.classes})


def load_classifier(path: str | Path, device: str | torch.device = "cpu") -> TrainedClassifier:
    """A classifier file, or a fine-tuned run's folder -> a module with `predict(x) -> (N, classes)`, in eval mode.

    Raises ValueError for a file that is absent, damaged, not a classifier of kinemask or of another format.
    """
    path = find(Path(path), "classifier")
    about, weights = read_weights(path, "a classifier")
    with rebuilding(path):
        chosen, base = method(about["method"]), build_encoder(about)
        head, classes = HeadSettings(**about["head"]), [str(name) for name in about["classes"]]
        classifier = chosen.build_classifier(base.encoder, len(classes), head)
        classifier.load_state_dict(weights)
    return TrainedClassifier(classifier, base.layout, base.sampling, classes, about).to(device).eval()

"""What a model costs: parameters, FLOPs, and the seconds that its pre-training took."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from kinemask.models.classifiers import TrainedClassifier, load_classifier
from kinemask.models.encoders import TrainedEncoder, load_encoder
from kinemask.runs.result import Result
from kinemask.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Parameters, FLOPs of one body's window, seconds of pre-training (None: no log)."""

    parameters: int
    flops: int
    seconds: float | None

    def __add__(self, other: Cost) -> Cost:
        """Of two models side by side."""
        known = self.seconds is not None and other.seconds is not None
        seconds = (self.seconds or 0.0) + (other.seconds or 0.0) if known else None
        return Cost(parameters=self.parameters + other.parameters, flops=self.flops + other.flops, seconds=seconds)


def cost(run: Run, result: Result | None = None) -> Cost | None:
    """Of a finished run's encoder; of a result's encoder, or of the classifier that its protocol trained around it.

    None where that classifier's weights are gone.
    """
    if result is None or not result.weights:
        model = load_encoder(run.encoder((result and result.encoder) or "encoder"))
    elif (model := _classifier(run, result.weights)) is None:
        return None
    inner = model.classifier if isinstance(model, TrainedClassifier) else model.encoder
    parameters = sum(p.numel() for p in inner.parameters())
    return Cost(parameters=parameters, flops=flops(model), seconds=run.training_seconds())


def _classifier(run: Run, weights: str) -> TrainedClassifier | None:
    """Of the folder that a result names, also where its run has been moved."""
    for folder in (Path(weights), run.path / "finetune" / Path(weights).name):
        if (folder / "classifier.safetensors").is_file():
            return load_classifier(folder)
    return None


@torch.no_grad()
def flops(model: TrainedEncoder | TrainedClassifier) -> int:
    """FLOPs of encoding, or classifying, one body's window; a product and its sum are two; matrix products alone."""
    x = torch.zeros(1, model.sampling.frames, model.layout.num_joints, model.layout.dims)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # the fused kernels are not counted
        _on_cpu(model)(x) if isinstance(model, TrainedEncoder) else _on_cpu(model)(x, torch.zeros(1).long(), 1)
    return counter.get_total_flops()


def _on_cpu(model: TrainedEncoder | TrainedClassifier) -> nn.Module:
    model = model.cpu().float().eval()
    return model.encoder if isinstance(model, TrainedEncoder) else model.classifier

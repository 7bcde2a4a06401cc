"""A fine-tuned encoder beside a recogniser's ridge: what it says of clips, and how much that counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kinemask.models.classifiers import TrainedClassifier
from kinemask.recognition.calibration import calibrate
from kinemask.recognition.choice import BETTER, SHARES
from kinemask.windows.sampler import Sampler
from kinemask.windows.tracks import Tracks

_LEAST = 1e-12  # probability, so that every logarithm is finite


class Tuned(nn.Module):
    """A classifier around a fine-tuned encoder, with its place beside a ridge.

    columns (classes,): which of the classifier's classes are the recogniser's. counts (2,): what the ridge's logits and
    the classifier's log probabilities are multiplied by.
    """

    columns: Tensor
    counts: Tensor

    def __init__(self, model: TrainedClassifier, columns: Tensor, counts: Tensor):
        super().__init__()
        self.model = model
        self.register_buffer("columns", columns)
        self.register_buffer("counts", counts)

    @torch.no_grad()
    def of_tracks(self, tracks: Tracks) -> Tensor:
        """Log probabilities (N, classes) of every clip."""
        return self.logarithms(self.model.eval().scores(Sampler(tracks, self.model.sampling)))

    def logarithms(self, probabilities: Tensor) -> Tensor:
        """Of the recogniser's classes: (N, the classifier's) -> (N, classes)."""
        return logarithms(probabilities, self.columns)

    def beside(self, logits: Tensor, own: Tensor) -> Tensor:
        """The ridge's logits and the classifier's log probabilities as one: (N, classes) each."""
        return self.counts[0] * logits + self.counts[1] * own


def logarithms(probabilities: Tensor, columns: Tensor) -> Tensor:
    """Logarithms of some columns (classes,) of probabilities (N, more)."""
    return probabilities[:, columns].clamp_min(_LEAST).log()


@dataclass(frozen=True, eq=False)
class Blended:
    """A share of the fine-tuned encoder, and its log loss and accuracy (percent) on clips left out.

    counts: as `Tuned` has them.
    """

    share: float
    counts: tuple[float, float]
    loss: float
    accuracy: float


def blend(ridge: Tensor, own: Tensor, labels: Tensor) -> tuple[Blended, list[Blended]]:
    """The share of the least log loss, 0 unless another is clearly better; and all of them.

    ridge: decision values, own: log probabilities of a fine-tuned encoder, of clips left out, (n, classes) each.
    """
    scales = [calibrate(values, labels)[0] for values in (ridge, own)]
    tried = [_blended(share, ridge, own, labels, scales) for share in (0.0, *SHARES)]
    best = tried[0]
    for one in tried[1:]:
        best = one if one.loss < BETTER * best.loss else best
    return best, tried


def _blended(share: float, ridge: Tensor, own: Tensor, labels: Tensor, scales: Sequence[float]) -> Blended:
    """Counts are of a ridge's decision values divided by their own temperature, as a `Probe` has them."""
    values = (1 - share) * ridge / scales[0] + share * own / scales[1]
    temperature, loss = calibrate(values, labels) if share else (1.0, calibrate(ridge, labels)[1])
    counts = (1 - share) / temperature, share / scales[1] / temperature
    return Blended(share, counts, loss, 100 * float((values.argmax(1) == labels).float().mean()))

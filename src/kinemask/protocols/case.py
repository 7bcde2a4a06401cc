"""What a protocol is tried on, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kinemask.models.encoders import TrainedEncoder
from kinemask.runs.measures import Measured, measure, measure_accuracy
from kinemask.runs.result import Curve, Scored, Transfer
from kinemask.runs.run import Run
from kinemask.store.opening import Store
from kinemask.training.distributed import World
from kinemask.windows.parts import Part
from kinemask.windows.settings import Align


@dataclass(frozen=True, eq=False)
class Outcome:
    """scores (N, classes) of the test clips at the end; the best epoch's accuracy (percent) where there are epochs.

    measures, curves: what the protocol measures beside its scores. labels: names of the training clips that it drew.
    """

    scores: Tensor
    best_epoch: float | None = None
    measures: dict[str, Measured] = field(default_factory=dict)
    curves: dict[str, Curve] = field(default_factory=dict)
    labels: list[str] | None = None


@dataclass(frozen=True, eq=False)
class Case:
    """An encoder, and the two parts of a split of a store.

    run: the run that the encoder comes from, and origin the SHA-256 of its file; None where everything starts from
    random weights. out: folder for what is trained.
    """

    model: TrainedEncoder
    store: Store
    split: str
    train: Part
    test: Part
    run: Run | None
    origin: str | None
    out: Path | None
    world: World
    quiet: bool = True

    @cached_property
    def labels(self) -> Tensor:
        """Labels (N,) of the test clips, on the CPU."""
        return self.test.labels.cpu()

    @cached_property
    def unseen(self) -> Tensor:
        """Which test clips are no exact copies of training clips: (N,) bool."""
        return ~torch.from_numpy(self.store.duplicates(self.train.clips, self.test.clips))

    def measured(self, outcome: Outcome) -> dict[str, Measured]:
        """Every measure of the encoder under test."""
        return measure(outcome.scores, self.labels, self.unseen) | outcome.measures

    def baseline(self, outcome: Outcome, align: Align | None = None) -> Scored:
        """What a baseline scored: its accuracy, and what the protocol measures beside. align: how it turned clips."""
        own = {"accuracy": measure_accuracy(outcome.scores, self.labels, self.unseen)}
        return Scored(measures=own | outcome.measures, curves=outcome.curves, align=align)


@dataclass(frozen=True, kw_only=True, eq=False)
class Done:
    """A seed's outcome, the seconds that it took, its baselines (none where not asked for), the folder of its result.

    The rest is for the result's fields of these names.
    """

    outcome: Outcome
    seconds: float
    baselines: dict[str, Scored]
    folder: Path
    training_clips: int | None = None
    labels: list[str] | None = None
    transfer: Transfer | None = None
    weights: str | None = None


Score = Callable[[Case, Any, Sequence[int], bool], Iterator[Done]]

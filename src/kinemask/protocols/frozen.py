"""Protocols on frozen features, and their controls: untrained encoders and raw coordinates."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch

from kinemask.draws import key
from kinemask.models.encoders import TrainedEncoder
from kinemask.pretext import Method
from kinemask.protocols.case import Case, Protocol, Scored, as_control, raw_neighbour, with_defaults
from kinemask.protocols.features import Features, Part
from kinemask.protocols.linear import LinearSettings
from kinemask.runs.results import Outcome, mean_details
from kinemask.windows.sampling import SamplingSettings

UNTRAINED_SEEDS = 3


@dataclass(frozen=True)
class FrozenProtocol(Protocol):
    """A protocol on frozen features. run: features, number of classes, settings, seed -> outcome.

    raw: the outcome's details as raw coordinates have them, where it has any: training part, test part, sampling,
    settings, seed -> details.
    """

    run: Callable[[Features, int, Any, int], Outcome]
    raw: Callable[[Part, Part, SamplingSettings, Any, int], dict[str, Any]] | None = None

    def settings_of(self, chosen: Method, scratch: bool) -> type:
        return with_defaults(self.settings, chosen.linear if issubclass(self.settings, LinearSettings) else {})

    def score(self, case: Case, settings: Any, seeds: Sequence[int], controls: bool) -> Iterator[Scored]:
        """Features are computed once, for all seeds."""
        assert case.run is not None
        start = time.monotonic()
        outcomes = self._outcomes(case, case.model, settings, seeds)
        seconds = (time.monotonic() - start) / len(seeds)
        found = self._controls(case, settings, seeds) if controls else [None] * len(seeds)
        for outcome, control in zip(outcomes, found, strict=True):
            yield Scored(outcome, seconds, control, case.run)

    def _outcomes(self, case: Case, model: TrainedEncoder, settings: Any, seeds: Sequence[int]) -> list[Outcome]:
        features = Features(model, case.train, case.test, quiet=case.quiet)
        return [self.run(features, len(case.store.classes), settings, seed) for seed in seeds]

    def _controls(self, case: Case, settings: Any, seeds: Sequence[int]) -> list[dict[str, Any]]:
        """Per seed: the same protocol on untrained encoders (mean of three), and 1-NN on raw coordinates.

        Where the protocol's outcome has details of its own, so have the controls.
        """
        model = case.model
        untrained = []
        for number in range(UNTRAINED_SEEDS):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(key(number, "weights"))
                fresh = model.encoder.fresh(model.layout, model.sampling.frames)
            fresh = TrainedEncoder(fresh, model.sampling, model.record, model.readout).to(case.world.device)
            untrained.append(self._outcomes(case, fresh, settings, seeds))
        raw, found = raw_neighbour(case, case.train), []
        for i, seed in enumerate(seeds):
            each = [as_control("untrained_encoder", outcomes[i].scores, case) for outcomes in untrained]
            control: dict[str, Any] = {name: _mean(one[name] for one in each) for name in each[0]} | raw
            if self.raw is not None:
                details = mean_details([outcomes[i].details for outcomes in untrained])
                own = self.raw(case.train, case.test, model.sampling, settings, seed)
                control["details"] = {"untrained_encoder": details, "raw_coordinates": own}
            found.append(control)
        return found


def _mean(values: Iterable[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return fmean(known) if known else None

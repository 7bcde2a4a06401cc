"""Protocols on frozen features, and their baselines: untrained encoders, and what needs no encoder."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from statistics import fmean
from typing import Any

import torch

from kinemask.draws import key
from kinemask.models.encoders import TrainedEncoder
from kinemask.nn.encoder import Encoder
from kinemask.nn.readouts import read_by
from kinemask.protocols.baselines import Baseline, Baselines
from kinemask.protocols.case import Case, Done, Outcome
from kinemask.protocols.features import Features
from kinemask.runs.measures import Measured
from kinemask.runs.result import Curve, Scored

UNTRAINED_SEEDS = 3

Run = Callable[[Features, int, Any, int], Outcome]  # features, number of classes, settings, seed
Complete = Callable[[Case, Any, int, Baseline, Outcome], Outcome]  # case, settings, seed, what scored so -> completed


def score(
    case: Case, settings: Any, seeds: Sequence[int], baselines: bool, *, run: Run, complete: Complete | None = None
) -> Iterator[Done]:
    """A protocol's outcome for each seed; features are computed once. complete: what else it measures of a baseline."""
    assert case.run is not None
    start = time.monotonic()
    plain = cache(partial(Baselines, case.train, case.test, len(case.store.classes)))  # made when first needed
    outcomes = _outcomes(case, case.model.encoder, settings, seeds, run, plain)
    seconds = (time.monotonic() - start) / len(seeds)
    found = _baselines(case, settings, seeds, run, complete, plain) if baselines else [{}] * len(seeds)
    for outcome, scored in zip(outcomes, found, strict=True):
        yield Done(outcome=outcome, seconds=seconds, baselines=scored, folder=case.run.path, labels=outcome.labels)


def _outcomes(
    case: Case, encoder: Encoder, settings: Any, seeds: Sequence[int], run: Run, plain: Callable[[], Baselines]
) -> list[Outcome]:
    """For each seed, on features of an encoder, read out as the settings say."""
    encoder, readout = read_by(settings.readout, encoder)
    model = TrainedEncoder(encoder, case.model.sampling, case.model.record, readout)
    features = Features(model, case.train, case.test, quiet=case.quiet, baselines=plain, keep=len(seeds) > 1)
    return [run(features, len(case.store.classes), settings, seed) for seed in seeds]


def _baselines(
    case: Case, settings: Any, seeds: Sequence[int], run: Run, complete: Complete | None, plain: Callable[[], Baselines]
) -> list[dict[str, Scored]]:
    """Per seed: the same protocol on untrained encoders (mean of three), and the baselines without an encoder."""
    model, untrained = case.model, []
    for number in range(UNTRAINED_SEEDS):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(key(number, "weights"))
            fresh = model.encoder.fresh(model.layout, model.sampling.frames)
        untrained.append(_outcomes(case, fresh.to(case.world.device), settings, seeds, run, plain))
    out = []
    for i, seed in enumerate(seeds):
        scored = {"untrained_encoder": mean_scored([case.baseline(outcomes[i]) for outcomes in untrained])}
        for name, baseline in plain().fit(case.train, seed).items():
            outcome = Outcome(baseline.scores(baseline.test.tracks).cpu())
            if complete is not None:
                outcome = complete(case, settings, seed, baseline, outcome)
            scored[name] = case.baseline(outcome, baseline.align)
        out.append(scored)
    return out


def mean_scored(scored: Sequence[Scored]) -> Scored:
    """Means of measures and curves of the same names; intervals have none."""

    def mean(values: Sequence[float | None]) -> float | None:
        known = [v for v in values if v is not None]
        return fmean(known) if known else None

    def measured(found: Sequence[Measured]) -> Measured:
        return Measured(value=fmean(m.value for m in found), unseen=mean([m.unseen for m in found]))

    def curve(found: Sequence[Curve]) -> Curve:
        accuracies = zip(*(c.accuracy for c in found), strict=True)
        return Curve(title=found[0].title, levels=found[0].levels, accuracy=tuple(map(fmean, accuracies)))

    first: Mapping[str, Any] = scored[0].measures
    return Scored(
        measures={name: measured([s.measures[name] for s in scored]) for name in first},
        curves={name: curve([s.curves[name] for s in scored]) for name in scored[0].curves},
    )

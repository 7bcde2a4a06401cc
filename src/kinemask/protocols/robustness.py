"""Robustness protocol: how a fixed probe, trained on clean clips, fares as the test clips get worse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from torch import Tensor

from kinemask.progress import progress
from kinemask.protocols import frozen
from kinemask.protocols.baselines import Baseline
from kinemask.protocols.case import Case, Outcome
from kinemask.protocols.features import Features
from kinemask.protocols.linear import class_scores, train_head
from kinemask.protocols.settings import RobustnessSettings
from kinemask.runs.measures import accuracy
from kinemask.runs.result import Curve
from kinemask.windows.corruption import corrupt
from kinemask.windows.parts import Part
from kinemask.windows.settings import CORRUPTIONS
from kinemask.windows.tracks import Tracks

_CLEAN = {"rate": 1.0}  # the level that changes nothing; 0 for the others


def robustness(features: Features, classes: int, settings: RobustnessSettings, seed: int) -> Outcome:
    """Scores are the clean clips'; a curve of accuracies for each corruption.

    The seed decides the head and what is corrupted.
    """
    head = train_head(features, classes, settings, seed)
    score = lambda tracks: class_scores(head, features.test_views(tracks))
    found = curves(features.test, settings, seed, score, not features.quiet)
    return Outcome(score(features.test.tracks).cpu(), curves=found)


def worsened(case: Case, settings: RobustnessSettings, seed: int, baseline: Baseline, outcome: Outcome) -> Outcome:
    """The curves of a baseline, training clips clean."""
    return replace(outcome, curves=curves(baseline.test, settings, seed, baseline.scores))


def curves(
    test: Part, settings: RobustnessSettings, seed: int, score: Callable[[Tracks], Tensor], shown: bool = False
) -> dict[str, Curve]:
    """Accuracy of `score`, tracks -> (N, classes), at every level, the clean clips first."""
    clean, out = accuracy(score(test.tracks), test.labels), {}
    levels = {kind: chosen for kind, chosen in settings.levels().items() if chosen}
    with progress("corrupted copies of the test part", sum(map(len, levels.values())), shown=shown) as report:
        done = 0
        for kind, chosen in levels.items():
            found = [clean]
            for level in chosen:
                worse = corrupt(test.store, test.clips, kind, level, seed, test.device)
                found.append(accuracy(score(Tracks(worse, None, test.device, test.missing)), test.labels))
                report(done := done + 1)
            grown = (_CLEAN.get(kind, 0.0), *map(float, chosen))
            out[kind] = Curve(title=CORRUPTIONS[kind], levels=grown, accuracy=tuple(found))
    return out


score = partial(frozen.score, run=robustness, complete=worsened)

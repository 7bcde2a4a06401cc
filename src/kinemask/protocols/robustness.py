"""Robustness protocol: how a fixed probe, trained on clean clips, fares as the test clips get worse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from torch import Tensor

from kinemask.progress import progress
from kinemask.protocols.features import Features, Part, raw_coordinates
from kinemask.protocols.knn import vote
from kinemask.protocols.linear import LinearSettings, class_scores, train_head
from kinemask.runs.results import Outcome, accuracy
from kinemask.skeleton import PARTS
from kinemask.windows.corruption import corrupt
from kinemask.windows.settings import CORRUPTIONS, SamplingSettings
from kinemask.windows.tracks import Tracks

_CLEAN = {"rate": 1.0}  # the level that changes nothing; 0 for the others


@dataclass(kw_only=True)
class RobustnessSettings(LinearSettings):
    """Robustness: the linear protocol's head, trained on clean clips, on test clips that are corrupted more and more.

    Args:
        epochs: epochs of the head
        batch_size: clips of a step
        lr: learning rate, cosine to 0
        momentum: of SGD
        views: augmented views of each training clip that are encoded once and used in turn; 0 encodes a new one every
            epoch
        joints: shares of a body's joints that are missing throughout; [] leaves a corruption out
        parts: numbers of body parts that are missing throughout
        noise: standard deviations of Gaussian noise, in the store's units (metres in 3D)
        dropped: shares of the frames that are lost
        rate: multiples of the frame rate
        camera: angles in radians by which the camera is turned about the vertical
    """

    joints: list[float] = field(default_factory=lambda: [0.1, 0.25, 0.5, 0.75])
    parts: list[float] = field(default_factory=lambda: [1, 2, 3, 4])
    noise: list[float] = field(default_factory=lambda: [0.02, 0.05, 0.1, 0.2])
    dropped: list[float] = field(default_factory=lambda: [0.25, 0.5, 0.75, 0.9])
    rate: list[float] = field(default_factory=lambda: [0.5, 0.25, 0.125])
    camera: list[float] = field(default_factory=lambda: [0.25, 0.5, 1.0, 1.5])

    def __post_init__(self):
        super().__post_init__()
        within = {"joints": (0, 1), "dropped": (0, 1), "parts": (0, len(PARTS) - 1)}
        for kind, levels in self.levels().items():
            low, high = within.get(kind, (0, float("inf")))
            if not all(low < level <= high and level < float("inf") for level in levels):
                to = f" and at most {high}" if kind in within else ""
                raise ValueError(f"robustness: levels of {kind} must be above {low}{to}, not {levels}")
        if any(level != int(level) for level in self.parts):
            raise ValueError(f"robustness: levels of parts are whole numbers of body parts, not {self.parts}")
        if not any(self.levels().values()):
            raise ValueError("robustness: every list of levels is empty, so there is nothing to measure")

    def levels(self) -> dict[str, list[float]]:
        """Levels of each kind of corruption."""
        return {kind: getattr(self, kind) for kind in CORRUPTIONS}


def robustness(features: Features, classes: int, settings: RobustnessSettings, seed: int) -> Outcome:
    """Scores are the clean clips'; the detail `curves` holds levels and accuracies (percent) of each corruption.

    The seed decides the head and what is corrupted.
    """
    head = train_head(features, classes, settings, seed)
    score = lambda part: class_scores(head, features.test_views(part))
    found = curves(features.test, settings, features.model.sampling.missing, seed, score, not features.quiet)
    return Outcome(score(features.test).cpu(), details=found)


def raw_robustness(
    train: Part, test: Part, sampling: SamplingSettings, settings: RobustnessSettings, seed: int
) -> dict[str, Any]:
    """The curves of the nearest neighbour on raw coordinates, training clips clean."""
    gallery, classes = raw_coordinates(train, sampling.frames), int(train.labels.max()) + 1
    score = lambda part: vote(gallery, train.labels, raw_coordinates(part, sampling.frames), classes, 1)
    return curves(test, settings, sampling.missing, seed, score)


def curves(
    test: Part,
    settings: RobustnessSettings,
    missing: Literal["fill", "zero"],
    seed: int,
    score: Callable[[Part], Tensor],
    shown: bool = False,
) -> dict[str, Any]:
    """Accuracy of `score`, part -> (N, classes), at every level, the clean clips first."""
    clean, out, device = accuracy(score(test), test.labels), {}, test.tracks.device
    levels = {kind: chosen for kind, chosen in settings.levels().items() if chosen}
    with progress("corrupted copies of the test part", sum(map(len, levels.values())), shown=shown) as report:
        done = 0
        for kind, chosen in levels.items():
            found = []
            for level in chosen:
                worse = corrupt(test.store, test.clips, kind, level, seed, device)
                part = replace(test, tracks=Tracks(worse, None, device, missing))
                found.append(accuracy(score(part), test.labels))
                report(done := done + 1)
            out[kind] = {"levels": [_CLEAN.get(kind, 0.0), *map(float, chosen)], "accuracy": [clean, *found]}
    return {"curves": out}

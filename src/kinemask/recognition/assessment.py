"""How good a recogniser is on unseen clips: each is scored once, by one that was fitted without its person."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kinemask.protocols.neighbours import vote
from kinemask.recognition.bank import Bank
from kinemask.recognition.choice import FRAMES, Asked
from kinemask.recognition.fitting import FineTuning, predict_held_out
from kinemask.runs.measures import BASELINES, calibration_error
from kinemask.windows.bodies import side_by_side
from kinemask.windows.settings import Align
from kinemask.windows.tracks import Tracks

MOST_FOLDS = 5
THRESHOLDS = tuple(k / 20 for k in range(20))  # of confidence
WANTED = 0.95  # right, of the clips that are answered, where a threshold is advised
MAJORITY = "most frequent class"


Sides = Mapping[Align, tuple[Tensor, Tensor]]  # windows of labelled clips and of others, by how they are turned


@dataclass(frozen=True, eq=False)
class Fold:
    """Positions of clips: fitted on `train`, which may have clips without a label, scored on `test`."""

    train: np.ndarray
    test: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Point:
    """Below a confidence the answer is "unsure": which share of clips is answered, and how many of those rightly."""

    threshold: float
    answered: int
    right: int


@dataclass(frozen=True, kw_only=True)
class Confused:
    """How many of `of` clips of a class are taken for another."""

    true: str
    taken: str
    count: int
    of: int


@dataclass(frozen=True, eq=False)
class Assessment:
    """What is known of clips that were held out.

    by: what they were held out by, in words. labels (n,), probabilities (n, classes): of them. baselines: how many are
    right by the name of what needs no fitting. note: what else the recogniser knew of these clips, "" for nothing.
    """

    by: str
    classes: list[str]
    labels: np.ndarray
    probabilities: np.ndarray
    baselines: dict[str, int]
    note: str = ""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def guesses(self) -> np.ndarray:
        return self.probabilities.argmax(1)

    @property
    def right(self) -> int:
        return int((self.guesses == self.labels).sum())

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the share of right answers, exact (Clopper and Pearson), clips taken as independent."""
        return exact_interval(self.right, len(self))

    @property
    def strongest(self) -> tuple[str, int]:
        """The baseline that is right most often, and how often."""
        return max(self.baselines.items(), key=lambda one: one[1])

    @property
    def calibration(self) -> float | None:
        """Expected calibration error, in percent."""
        return calibration_error(torch.from_numpy(self.probabilities), torch.from_numpy(self.labels))

    @property
    def per_class(self) -> list[tuple[str, int, int]]:
        """Each class that has clips, how many are right, of how many."""
        right = self.guesses == self.labels
        return [
            (self.classes[i], int(right[self.labels == i].sum()), int((self.labels == i).sum()))
            for i in np.unique(self.labels).tolist()
        ]

    @property
    def confused(self) -> list[Confused]:
        """Pairs of classes by how often the first is taken for the second."""
        wrong = self.guesses != self.labels
        pairs, counts = np.unique(np.stack([self.labels[wrong], self.guesses[wrong]], 1), axis=0, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        return [
            Confused(
                true=self.classes[pairs[k, 0]],
                taken=self.classes[pairs[k, 1]],
                count=int(counts[k]),
                of=int((self.labels == pairs[k, 0]).sum()),
            )
            for k in order
        ]

    @property
    def curve(self) -> list[Point]:
        """What is answered, and how well, as more confidence is asked for."""
        confidence, right = self.probabilities.max(1), self.guesses == self.labels
        return [
            Point(threshold=t, answered=int((confidence >= t).sum()), right=int(right[confidence >= t].sum()))
            for t in THRESHOLDS
        ]

    @property
    def advised(self) -> Point | None:
        """The lowest threshold at which nearly all answers are right; None where none is, or it is not needed."""
        good = [p for p in self.curve if p.answered and p.right >= WANTED * p.answered]
        return good[0] if good and good[0].threshold > 0 else None

    def to_dict(self) -> dict[str, Any]:
        """In plain values."""
        return {
            "by": self.by,
            "note": self.note,
            "clips": len(self),
            "right": self.right,
            "interval": list(self.interval),
            "baselines": self.baselines,
            "curve": [asdict(point) for point in self.curve],
        }


def exact_interval(right: int, of: int, confidence: float = 0.95) -> tuple[float, float]:
    """Clopper and Pearson's interval of a share, `right` of `of`."""
    from scipy.stats import binomtest

    found = binomtest(right, of).proportion_ci(confidence, method="exact")
    return float(found.low), float(found.high)


def group_folds(groups: np.ndarray) -> list[Fold]:
    """At most five folds that share no group (N,) of values; none where there is one group."""
    from sklearn.model_selection import GroupKFold

    count = len(np.unique(groups))
    if count < 2:
        return []
    return [Fold(*split) for split in GroupKFold(min(MOST_FOLDS, count)).split(groups, groups, groups)]


def clip_folds(labels: np.ndarray, together: np.ndarray) -> list[Fold]:
    """At most five folds of clips, class by class; none where no class has two. together (N,): not to be parted."""
    from sklearn.model_selection import StratifiedGroupKFold

    count = min(MOST_FOLDS, int(np.bincount(labels).max()), len(np.unique(together)))
    if count < 2:
        return []
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes with fewer clips than folds
        found = [Fold(*split) for split in splitter.split(labels, labels, together)]
    return [fold for fold in found if len(fold.train) and len(fold.test)]


def assess(
    bank: Bank,
    folds: Sequence[Fold],
    classes: list[str],
    asked: Asked,
    by: str,
    tuning: FineTuning | None = None,
) -> Assessment:
    """Choose and fit anew in every fold, on its training clips alone, and score the others."""
    labels, found, guesses = bank.labels.cpu().numpy(), [], []
    for fold in folds:
        found.append(predict_held_out(bank, fold.train, fold.test, len(classes), asked, tuning).cpu())
        train, test = torch.from_numpy(bank.labelled(fold.train)), torch.from_numpy(fold.test)
        sides: Sides = {a: (bank.windows(a)[train], bank.windows(a)[test]) for a in _ends(bank.alignments)}
        guesses.append(baselines(sides, bank.labels[train], len(classes)))
    tested = labels[np.concatenate([fold.test for fold in folds])]
    joined = {name: np.concatenate([one[name] for one in guesses]) for name in guesses[0]}
    right = {name: int((guess == tested).sum()) for name, guess in joined.items()}
    return Assessment(by, classes, tested, torch.cat(found).numpy(), right)


def assess_on(
    bank: Bank, probabilities: np.ndarray, tracks: Tracks, labels: np.ndarray, classes: list[str], by: str
) -> Assessment:
    """Of clips that are not in the bank: their body tracks, labels (n,), and what was predicted, (n, classes)."""
    known = bank.labels >= 0
    sides: Sides = {
        align: (bank.windows(align)[known], side_by_side(tracks, FRAMES, align, bank.bodies))
        for align in _ends(bank.alignments)
    }
    guesses = baselines(sides, bank.labels[known], len(classes))
    right = {name: int((guess == labels).sum()) for name, guess in guesses.items()}
    return Assessment(by, classes, labels, probabilities, right)


def baselines(sides: Sides, labels: Tensor, classes: int) -> dict[str, np.ndarray]:
    """Classes (n,) that baselines give to clips, by name.

    sides: windows of the labelled clips (G, ...) and of the others (n, ...), by how they are turned; labels (G,).
    """
    count = len(next(iter(sides.values()))[1])
    found = {MAJORITY: np.full(count, int(torch.bincount(labels).argmax()))}
    for align, (gallery, queries) in sides.items():
        name = BASELINES["raw_coordinates_knn" if align == "none" else "aligned_coordinates_knn"]
        found[name] = vote(gallery.flatten(1), labels, queries.flatten(1), classes, 1).argmax(1).cpu().numpy()
    return found


def _ends(alignments: Sequence[Align]) -> tuple[Align, ...]:
    return tuple(dict.fromkeys((alignments[0], alignments[-1])))

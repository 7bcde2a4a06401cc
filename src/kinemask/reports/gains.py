"""What one evaluation gains over another on the same clips: by class, and in what is taken for what. HA-CM Fig. 5."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kinemask.checks import among
from kinemask.reports.runs import Evaluation, Shown
from kinemask.runs.measures import interval
from kinemask.runs.result import Result

FEW = 20  # classes up to which all are shown
SHOWN = 12  # of more classes, those that change most
OTHERS = "all others"


@dataclass(frozen=True, eq=False)
class Shares:
    """What clips of true classes (rows) are taken for, in percent of each row's clips.

    columns: the rows' classes and, where some are left out, all the others together: rows add up to 100, and those of a
    difference to 0. clips: of each row.
    """

    rows: list[str]
    columns: list[str]
    values: np.ndarray
    clips: list[int]


@dataclass(frozen=True, eq=False)
class Gains:
    """A result over another, of the same protocol on the same test clips, means over their seeds; in points.

    confusion: the difference of shares. classes: of every class with clips, name, gain and clips, most gained first.
    accuracy: of both; gain, interval: of the first over the second, 95 % by bootstrap over the clips, paired.
    """

    first: str
    second: str
    protocol: str
    place: str
    seeds: tuple[int, int]
    confusion: Shares
    classes: list[tuple[str, float, int]]
    accuracy: tuple[float, float]
    interval: tuple[float, float]
    clips: int

    @property
    def gain(self) -> float:
        """In points of accuracy."""
        return self.accuracy[0] - self.accuracy[1]


def shares(table: np.ndarray, classes: Sequence[str], chosen: Sequence[int]) -> Shares:
    """Rows of chosen classes of a table (classes, classes) of counts or of their differences in percent."""
    left = sorted(set(range(len(classes))) - set(chosen))
    rows, counts = table[chosen], np.zeros(len(chosen), int)
    columns, values = [classes[i] for i in chosen], rows[:, chosen]
    if left and (rows[:, left] != 0).any():
        columns, values = [*columns, OTHERS], np.column_stack([values, rows[:, left].sum(1)])
    return Shares([classes[i] for i in chosen], columns, values, counts.tolist())


def percentages(labels: np.ndarray, guesses: Sequence[np.ndarray], classes: int) -> np.ndarray:
    """What each class is taken for, in percent of its clips, mean over guesses (N,): (classes, classes)."""
    table = np.zeros((classes, classes))
    for guess in guesses:
        np.add.at(table, (labels, guess), 1)
    return 100 * table / np.maximum(table.sum(1, keepdims=True), 1)


def confusion(result: Result, names: Sequence[str]) -> Shares:
    """What a result's clips are taken for: of named classes, or of all that occur where they are few.

    ValueError where its scores are not there, and for a name that is no class of it.
    """
    found = result.scores()
    labels, guess = found["labels"], found["scores"].argmax(1)
    table = percentages(labels, [guess], len(result.classes))
    rows = _chosen(result.classes, names, labels, table - np.diag(np.diag(table)))
    return _counted(shares(table, result.classes, rows), labels, rows)


def gains(first: Shown, second: Shown, names: Sequence[str] = ()) -> Gains:
    """What a run's leading evaluation gains over another run's of the same protocol, data and split.

    names: of the classes to show; by default all, or those that change most. ValueError where the runs have no such
    evaluations, with their scores, on the same clips.
    """
    own, other = _alike(first, second)
    (labels, guesses), (_, theirs) = _guesses(own), _guesses(other)
    classes = own.first.classes
    before, after = percentages(labels, theirs, len(classes)), percentages(labels, guesses, len(classes))
    right = [np.mean([guess == labels for guess in found], 0) for found in (guesses, theirs)]
    rows = _chosen(classes, names, labels, after - before)
    counts = np.bincount(labels, minlength=len(classes))
    each = [(classes[i], float(after[i, i] - before[i, i]), int(counts[i])) for i in np.flatnonzero(counts)]
    low, high = interval(100.0 * (right[0] - right[1]))
    return Gains(
        first=first.name,
        second=second.name,
        protocol=own.first.protocol,
        place=f"{own.first.data} {own.first.split}",
        seeds=(len(own.results), len(other.results)),
        confusion=_counted(shares(after - before, classes, rows), labels, rows),
        classes=sorted(each, key=lambda one: -one[1]),
        accuracy=(100 * float(right[0].mean()), 100 * float(right[1].mean())),
        interval=(low, high),
        clips=len(labels),
    )


def _alike(first: Shown, second: Shown) -> tuple[Evaluation, Evaluation]:
    """The first run's leading evaluation that the other has too, and the other's."""
    same = lambda e: (e.first.protocol, e.first.data, e.first.split, e.first.store_sha256)
    for e in first.ranked:
        for other in second.ranked:
            if same(other) == same(e):
                return e, other
    raise ValueError(f"{first.name} and {second.name} have no evaluation of the same protocol, data and split")


def _guesses(e: Evaluation) -> tuple[np.ndarray, list[np.ndarray]]:
    """Labels, and each seed's guesses, clips by name."""
    labels, guesses = np.empty(0, int), []
    for result in e.results:
        found = result.scores()
        order = np.argsort(found["names"], kind="stable")
        labels = found["labels"][order]
        guesses.append(found["scores"].argmax(1)[order])
    return labels, guesses


def _chosen(classes: Sequence[str], names: Sequence[str], labels: np.ndarray, change: np.ndarray) -> list[int]:
    """Numbers of the classes to show, ascending."""
    present = np.unique(labels)
    if names:
        for name in names:
            if name not in classes:
                raise ValueError(f"classes: there is no class {name!r}{among(name, list(classes))}")
        chosen = sorted({classes.index(name) for name in names} & set(present.tolist()))
        if not chosen:
            raise ValueError("none of these classes has test clips")
        return chosen
    if len(present) <= FEW:
        return present.tolist()
    most = np.abs(change[present]).sum(1).argsort(kind="stable")[::-1][:SHOWN]
    return sorted(present[most].tolist())


def _counted(found: Shares, labels: np.ndarray, rows: Sequence[int]) -> Shares:
    return Shares(found.rows, found.columns, found.values, [int((labels == i).sum()) for i in rows])

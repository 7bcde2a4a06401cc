"""Choosing what to look at and fitting it, from the labelled clips alone.

A candidate is judged by its decision values for clips left out: everybody's clips without those of the same person, and
likewise for cameras and whatever else groups the clips; ridge has these in closed form.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from kinemask.models.classifiers import TrainedClassifier
from kinemask.protocols.ridge import Dual, fit_dual
from kinemask.protocols.spreading import Graph, fit_spread
from kinemask.recognition.bank import Bank
from kinemask.recognition.calibration import calibrate
from kinemask.recognition.choice import (
    BETTER,
    FRAMES,
    MOST_CHOOSING,
    TWINNED,
    Asked,
    Choice,
    Kind,
    blends,
    by_neighbours,
    others,
    without_tokens,
)
from kinemask.recognition.model import ClipModel, Probe, Window
from kinemask.recognition.tuned import Tuned, blend
from kinemask.windows.settings import Align

MOST_CLIPS = 700  # on which a choice is made


@dataclass(frozen=True, eq=False)
class Tried:
    """A candidate, and the log loss and accuracy (percent) of its decision values for clips left out."""

    choice: Choice
    loss: float
    accuracy: float


@dataclass(frozen=True, eq=False)
class Chosen:
    """A choice. tried: the candidates, empty where labels were too few to choose."""

    choice: Choice
    tried: tuple[Tried, ...]


class FineTuning(Protocol):
    """An encoder fine-tuned on the N labelled clips of a bank: several times, each without some of them, and on all.

    left_out (N, classes): log probabilities of each clip by one that has not learned from it, nor from its group.
    """

    @property
    def left_out(self) -> Tensor: ...

    def on_all(self) -> tuple[TrainedClassifier, Tensor]:
        """The classifier that has learned from every clip; and which of its columns are the classes."""
        ...


def fit(bank: Bank, classes: int, asked: Asked, tuning: FineTuning | None = None) -> tuple[ClipModel, Chosen]:
    """Choose and fit on all clips of the bank."""
    positions = np.arange(len(bank))
    if asked.spread and len(bank.labelled(positions)) == len(bank):
        warnings.warn("spread has no effect: every recording that it learns from has a label", stacklevel=2)
    chosen = choose(bank, positions, classes, asked)
    choice = chosen.choice
    ridge = _dual(bank, positions, classes, choice, asked.kernels, next(iter(_groups(bank, positions)), None))
    dual = torch.zeros((1 + choice.mirrored) * len(bank), classes, dtype=ridge.dual.dtype, device=ridge.dual.device)
    dual[_rows(bank, positions, choice)] = ridge.dual
    mean, scale, weights = bank.in_features(choice, asked.kernels, dual)
    labels, tuned = bank.labels[bank.labels >= 0], None
    if tuning is not None:
        best, tried = blend(ridge.left_out, tuning.left_out, labels)
        beside = [Tried(replace(choice, tuned=one.share), one.loss, one.accuracy) for one in tried if one.share]
        choice = replace(choice, tuned=best.share)
        chosen = Chosen(choice, (*chosen.tried, *beside))
        if best.share:
            tuned = Tuned(*tuning.on_all(), torch.tensor(best.counts)).to(bank.tracks.device)
    model = ClipModel(
        bank.layout,
        Window(frames=FRAMES, bodies=bank.bodies),
        choice,
        [bank.module(kind, choice.align, asked.kernels) for kind in choice.features if kind != "tokens"],
        Probe(mean, scale, weights, ridge.intercept, torch.tensor(calibrate(ridge.left_out, labels)[0])),
        bank.encoder if "tokens" in choice.features else None,
        tuned,
    )
    return model.eval(), chosen


def predict_held_out(
    bank: Bank, train: np.ndarray, test: np.ndarray, classes: int, asked: Asked, tuning: FineTuning | None = None
) -> Tensor:
    """Probabilities (n, classes) of test clips, at positions of the bank, after choosing and fitting on those of train.

    Test clips are to be a group of those that fine-tuning left out together. What it counts is decided by the others;
    those were scored by encoders that have learned from test clips, which is all that their labels are used for.
    """
    choice = choose(bank, train, classes, asked).choice
    fitted = _dual(bank, train, classes, choice, asked.kernels, next(iter(_groups(bank, train)), None))
    gram, _ = bank.gram(choice, asked.kernels)
    products = gram[torch.from_numpy(test)][:, _rows(bank, train, choice)]
    known = torch.from_numpy(bank.labelled(train))
    labels = bank.labels[known]
    temperature, _ = calibrate(fitted.left_out, labels)
    logits = fitted.scores(products) / temperature
    if tuning is not None:
        best, _ = blend(fitted.left_out, tuning.left_out[known], labels)
        logits = best.counts[0] * logits + best.counts[1] * tuning.left_out[torch.from_numpy(test)]
    return logits.softmax(1)


def choose(bank: Bank, positions: np.ndarray, classes: int, asked: Asked) -> Chosen:
    """The candidate of the least log loss: how clips are turned, mirrored copies, kinds of features, twins, then
    spreading.

    Turning and mirroring are settled without an encoder's tokens. Where there are too few clips, it is what is usual.
    """
    has_tokens = bank.encoder is not None
    usual: tuple[Kind, ...] = ("convolutions", "statistics", "tokens") if has_tokens else ("convolutions", "statistics")
    kinds = asked.kinds or usual
    wanted = blends(kinds)
    features, shares = wanted[len(wanted) // 2]
    aligns: list[Align] = [asked.align] if asked.align is not None else list(bank.alignments)
    twinned = bank.has_twins and bool(set(kinds) & set(TWINNED))
    some_unlabelled = len(bank.labelled(positions)) < len(positions)
    best = Choice(
        features=features,
        shares=shares,
        align=aligns[-1],
        mirrored=bool(asked.mirrored),
        twins=twinned if asked.twins is None else asked.twins,
        spread=some_unlabelled and asked.spread is not False,
    )
    chosen = _subset(bank, positions)
    if not can_tell(bank, chosen):
        return Chosen(best, ())
    kernels = min(asked.kernels, max(1, MOST_CHOOSING // len(bank)))
    tried: list[Tried] = []

    def try_out(candidates: Sequence[Choice]) -> Tried:
        """The best of those tried and of these; one that is there is left for a clearly better one alone."""
        for candidate in candidates:
            tried.append(_try(bank, chosen, classes, candidate, kernels))
        found = tried[0]
        for one in tried[1:]:
            found = one if one.loss < BETTER * found.loss else found
        return found

    quick = without_tokens(kinds) or kinds
    first, counts = blends(quick)[0]
    plain = Choice(features=first, shares=counts, mirrored=bool(asked.mirrored), twins=bool(asked.twins))
    at = try_out([replace(plain, align=align) for align in aligns[::-1]]).choice
    if asked.mirrored is None and bank.layout.pairs:
        at = try_out([replace(at, mirrored=True)]).choice
    if asked.kinds and quick != kinds:
        tried.clear()  # the encoder was asked for
    options = [*wanted, *([] if asked.kinds else others(has_tokens))]
    options = [one for one in options if tried == [] or one != (at.features, at.shares)]
    if asked.twins:
        options = [one for one in options if set(one[0]) & set(TWINNED)]
    found = try_out([replace(at, features=one, shares=share) for one, share in options])
    if asked.twins is None and bank.has_twins and set(found.choice.features) & set(TWINNED):
        tried.append(_try(bank, chosen, classes, replace(found.choice, twins=True), kernels))
        found = min(found, tried[-1], key=lambda one: one.loss)
    if some_unlabelled and asked.spread is not False:
        tried.append(_try(bank, chosen, classes, replace(found.choice, spread=True), kernels))
        if asked.spread or tried[-1].loss < BETTER * found.loss:
            found = tried[-1]
    return Chosen(found.choice, tuple(tried))


def _subset(bank: Bank, positions: np.ndarray) -> np.ndarray:
    """At most so many of those that have a label, and of those that have none."""
    labelled, rng = bank.labelled(positions), np.random.default_rng(0)
    parts = labelled, np.setdiff1d(positions, labelled)
    few = [part if len(part) <= MOST_CLIPS else rng.choice(part, MOST_CLIPS, replace=False) for part in parts]
    return np.sort(np.concatenate(few))


def _groups(bank: Bank, positions: np.ndarray) -> list[Tensor]:
    """The groupings of all clips of which those of these that have a label are in several groups."""
    known = torch.from_numpy(bank.labelled(positions))
    return [groups for groups in bank.groups.values() if len(groups[known].unique()) > 1]


def can_tell(bank: Bank, positions: np.ndarray) -> bool:
    """Whether most clips that have a label leave another one of their class when they are left out: without, nothing
    is learned from leaving out."""
    known = torch.from_numpy(bank.labelled(positions))
    labels = bank.labels[known].cpu()
    for of_all in _groups(bank, positions) or [torch.arange(len(bank))]:
        groups = of_all.cpu()[known]
        others = [bool(((labels == y) & (groups != g)).any()) for y, g in zip(labels, groups, strict=True)]
        if 2 * sum(others) <= len(others):
            return False
    return True


def _try(bank: Bank, positions: np.ndarray, classes: int, choice: Choice, kernels: int) -> Tried:
    found = [_dual(bank, positions, classes, choice, kernels, groups) for groups in _groups(bank, positions) or [None]]
    labels = bank.labels[torch.from_numpy(bank.labelled(positions))]
    right = [float((one.left_out.argmax(1) == labels).float().mean()) for one in found]
    losses = [calibrate(one.left_out, labels)[1] for one in found]
    return Tried(choice, sum(losses) / len(losses), 100 * sum(right) / len(right))


def _dual(bank: Bank, positions: np.ndarray, classes: int, choice: Choice, kernels: int, groups: Tensor | None) -> Dual:
    """Ridge on clips of the bank. groups (N,): of all of its clips, those that are left out together."""
    gram, width = bank.gram(choice, kernels)
    rows, used = _rows(bank, positions, choice), torch.from_numpy(_used(bank, positions, choice))
    own, labels = gram[rows][:, rows], bank.labels[used]
    copies, together = 1 + choice.mirrored, None if groups is None else groups.to(labels.device)[used]
    if choice.spread:
        near, _ = bank.gram(by_neighbours(choice), kernels)
        return fit_spread(own, Graph(near[used][:, used]), labels, classes, width, copies, together)
    return fit_dual(own, labels, classes, width, copies=copies, groups=together)


def _used(bank: Bank, positions: np.ndarray, choice: Choice) -> np.ndarray:
    """Those of some clips that a choice learns from."""
    return positions if choice.spread else bank.labelled(positions)


def _rows(bank: Bank, positions: np.ndarray, choice: Choice) -> Tensor:
    """Where a gram matrix has the clips that are learned from, and behind them their mirrored copies."""
    used = torch.from_numpy(_used(bank, positions, choice))
    return torch.cat([used + copy * len(bank) for copy in range(1 + choice.mirrored)])

"""Choosing what to look at and fitting it, from the labelled clips alone.

A candidate is judged by its decision values for clips left out: everybody's clips without those of the same person, and
likewise for cameras and whatever else groups the clips; ridge has these in closed form.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from kinemask.protocols.ridge import Ridge, fit_ridge
from kinemask.recognition.bank import Bank
from kinemask.recognition.choice import MOST_CHOOSING, Asked, Choice, Kind, blends
from kinemask.recognition.model import ClipModel, Probe, Window
from kinemask.windows.settings import Align

MOST_CLIPS = 1000  # on which a choice is made
_BETTER = 0.98  # times the log loss of what is there: less is no reason to change it


@dataclass(frozen=True, eq=False)
class Tried:
    """A candidate, and the log loss and accuracy (percent) of its decision values for clips left out."""

    choice: Choice
    loss: float
    accuracy: float


@dataclass(frozen=True, eq=False)
class Fitted:
    """A choice and the ridge on its features. tried: the candidates, empty where labels were too few to choose."""

    choice: Choice
    ridge: Ridge
    tried: tuple[Tried, ...]

    def scores(self, bank: Bank, positions: np.ndarray, kernels: int) -> Tensor:
        """Log probabilities, but for a constant, of clips of the bank: (n, classes)."""
        x = torch.cat(bank.features(replace(self.choice, mirrored=False), kernels), 1)
        return self.ridge.scores(x[torch.from_numpy(positions)]) / self.ridge.temperature


def fit(bank: Bank, positions: np.ndarray, classes: int, asked: Asked) -> Fitted:
    """Choose and fit on the clips at these positions of the bank."""
    choice, tried = _choose(bank, positions, classes, asked)
    groups = next(iter(_groups(bank, positions)), None)
    return Fitted(choice, _ridge(bank, positions, classes, choice, asked.kernels, groups), tried)


def build(bank: Bank, fitted: Fitted, kernels: int) -> ClipModel:
    """The module of what was fitted."""
    choice = fitted.choice
    return ClipModel(
        bank.layout,
        Window(frames=bank.windows(choice.align).shape[2], bodies=bank.bodies),
        choice,
        [bank.module(kind, choice.align, kernels) for kind in choice.features if kind != "tokens"],
        Probe.of(fitted.ridge),
        bank.encoder if "tokens" in choice.features else None,
    ).eval()


def _choose(bank: Bank, positions: np.ndarray, classes: int, asked: Asked) -> tuple[Choice, tuple[Tried, ...]]:
    """The candidate of the least log loss: first how clips are turned, then mirrored copies, then kinds of features."""
    has_tokens = bank.encoder is not None
    usual: tuple[Kind, ...] = ("convolutions", "tokens") if has_tokens else ("convolutions",)
    kinds = asked.kinds or usual
    features, shares = blends(kinds)[len(blends(kinds)) // 2]
    aligns: list[Align] = [asked.align] if asked.align is not None else list(bank.alignments)
    best = Choice(features=features, shares=shares, align=aligns[-1], mirrored=bool(asked.mirrored))
    chosen = _subset(bank, positions)
    if not _can_tell(bank, chosen):
        return best, ()
    kernels = min(asked.kernels, max(1, MOST_CHOOSING // len(bank)))
    tried: list[Tried] = []

    def try_out(candidates: Sequence[Choice]) -> Tried:
        """The best of those tried and of these; one that is there is left for a clearly better one alone."""
        for candidate in candidates:
            tried.append(_try(bank, chosen, classes, candidate, kernels))
        found = tried[0]
        for one in tried[1:]:
            found = one if one.loss < _BETTER * found.loss else found
        return found

    plain = Choice(features=("convolutions",), shares=(1.0,)) if "convolutions" in kinds else best
    at = try_out([replace(plain, align=align, mirrored=bool(asked.mirrored)) for align in aligns[::-1]]).choice
    if asked.mirrored is None and bank.layout.pairs:
        at = try_out([replace(at, mirrored=True)]).choice
    options = [*blends(kinds)]
    if not asked.kinds:
        options += [blend for one in _others(has_tokens) for blend in blends(one)]
    options = [blend for blend in options if blend != (at.features, at.shares)]
    if asked.kinds and plain.features != kinds:
        tried.clear()  # convolutions alone were not asked for
    if options:
        at = try_out([replace(at, features=one, shares=share) for one, share in options]).choice
    return at, tuple(tried)


def _others(has_tokens: bool) -> Iterator[tuple[Kind, ...]]:
    yield ("statistics",)
    yield ("convolutions", "statistics")
    if has_tokens:
        yield ("tokens",)


def _subset(bank: Bank, positions: np.ndarray) -> np.ndarray:
    if len(positions) <= MOST_CLIPS:
        return positions
    return np.sort(np.random.default_rng(0).choice(positions, MOST_CLIPS, replace=False))


def _groups(bank: Bank, positions: np.ndarray) -> list[Tensor]:
    """The groupings of these clips that have several groups."""
    own = [groups[torch.from_numpy(positions)] for groups in bank.groups.values()]
    return [groups for groups in own if len(groups.unique()) > 1]


def _can_tell(bank: Bank, positions: np.ndarray) -> bool:
    """Whether most clips, left out, leave another one of their class: without, nothing is learned from leaving out."""
    labels = bank.labels[torch.from_numpy(positions)].cpu()
    for groups in _groups(bank, positions) or [torch.arange(len(positions))]:
        groups = groups.cpu()
        others = [bool(((labels == y) & (groups != g)).any()) for y, g in zip(labels, groups, strict=True)]
        if 2 * sum(others) <= len(others):
            return False
    return True


def _try(bank: Bank, positions: np.ndarray, classes: int, choice: Choice, kernels: int) -> Tried:
    found = [_ridge(bank, positions, classes, choice, kernels, groups) for groups in _groups(bank, positions) or [None]]
    labels = bank.labels[torch.from_numpy(positions)]
    right = [float((ridge.left_out.argmax(1) == labels).float().mean()) for ridge in found]
    return Tried(choice, sum(ridge.log_loss for ridge in found) / len(found), 100 * sum(right) / len(right))


def _ridge(
    bank: Bank, positions: np.ndarray, classes: int, choice: Choice, kernels: int, groups: Tensor | None
) -> Ridge:
    """Ridge on the features of clips; kinds that stand side by side count as their shares say, whatever their width."""
    copies = 1 + choice.mirrored
    rows = torch.cat([torch.from_numpy(positions) + copy * len(bank) for copy in range(copies)])
    blocks = bank.features(choice, kernels)
    width = sum(block.shape[1] for block in blocks)
    weights = [
        block.new_full((block.shape[1],), (share * width / block.shape[1]) ** 0.5)
        for block, share in zip(blocks, choice.shares, strict=True)
    ]
    return fit_ridge(
        torch.cat(blocks, 1)[rows],
        bank.labels[torch.from_numpy(positions)],
        classes,
        copies=copies,
        groups=groups,
        weights=torch.cat(weights) if len(blocks) > 1 else None,
    )

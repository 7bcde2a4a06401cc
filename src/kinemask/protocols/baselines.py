"""What can be had in seconds, without pre-training: neighbours of coordinates, ridge on statistics and convolutions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from kinemask.nn.channel_features import Convolved, Statistics, scaling
from kinemask.nn.random_convolutions import RandomConvolutions
from kinemask.protocols.folds import folds
from kinemask.protocols.neighbours import vote
from kinemask.protocols.ridge import fit_ridge
from kinemask.protocols.twins import differences, twins
from kinemask.runs.measures import accuracy
from kinemask.windows.bodies import channels, side_by_side
from kinemask.windows.parts import Part
from kinemask.windows.settings import Align
from kinemask.windows.tracks import Tracks

FRAMES = 64  # of a clip's window, whatever the encoder's
MOST_CHOOSING = 4000  # clips on which an alignment is chosen

Kind = Literal["coordinates", "statistics", "convolutions"]


@dataclass(frozen=True, eq=False)
class Baseline:
    """A baseline that knows its labelled clips.

    align: how clips are turned for it. features: tracks -> (N, D); gallery (G, D) and labels (G,): of the labelled
    clips. scores: tracks -> (N, classes). test: the test part as it reads it. with_labels: the same baseline that knows
    other clips of the training part. twins: generated ones of the training part's layout, turned as its clips are.
    """

    align: Align
    features: Callable[[Tracks], Tensor]
    gallery: Tensor
    labels: Tensor
    scores: Callable[[Tracks], Tensor]
    test: Part
    with_labels: Callable[[Part], Baseline]
    twins: Callable[[], Tracks]

    def twins_differ(self) -> Tensor:
        """What the features of generated twins differ in: (n, D)."""
        return differences(self.features(self.twins()))


class Baselines:
    """The baselines of a split. Features of its parts are computed once, for every draw of labels."""

    def __init__(self, train: Part, test: Part, classes: int):
        self.train, self.test = (p if p.missing == "fill" else replace(p, missing="fill") for p in (train, test))
        self.classes, self.layout = classes, train.store.layout
        self._parts = {id(part.tracks): part.tracks for part in (self.train, self.test)}
        self._kept: dict[tuple[Kind, Align, int], dict[int, Tensor]] = {}
        self._known_moments: dict[Align, tuple[Tensor, Tensor]] = {}
        self._known_twins: dict[Align, Tracks] = {}
        self._last_kernels: tuple[int, RandomConvolutions] | None = None
        self._bodies = side_by_side(self.train.tracks, 1).shape[1]

    @property
    def alignments(self) -> tuple[Align, ...]:
        """How clips may be turned, not at all first; the last is for clips of so many bodies as most of these have."""
        if self.layout.dims != 3 or not self.layout.pairs:
            return ("none",)
        pairs = 2 * int((self.train.store.bodies[self.train.clips] > 1).sum()) > len(self.train.clips)
        return ("none", "heading", "pair") if pairs else ("none", "heading")

    def fit(self, labelled: Part, seed: int) -> dict[str, Baseline]:
        """Each baseline by name, with these labelled clips of the training part; the seed draws kernels."""
        found = {"raw_coordinates_knn": self._neighbour(labelled, "none")}
        if len(self.alignments) > 1:
            found["aligned_coordinates_knn"] = self._neighbour(labelled, self.alignments[-1])
        found["statistics_ridge"] = self._ridge(labelled, "statistics", 0)
        found["random_convolutions_ridge"] = self.convolutions(labelled, seed)
        return found

    def convolutions(self, labelled: Part, seed: int) -> Baseline:
        """Ridge on random convolutions alone, with these labelled clips of the training part."""
        return self._ridge(labelled, "convolutions", seed)

    def _neighbour(self, labelled: Part, align: Align) -> Baseline:
        """One nearest neighbour, by cosine similarity of coordinates."""
        features = lambda tracks: self._features("coordinates", align, 0, tracks)
        positions = self._positions(labelled)
        gallery, labels = features(self.train.tracks)[positions], self.train.labels[positions]
        score = lambda tracks: vote(gallery, labels, features(tracks), self.classes, 1)
        other, own_twins = lambda part: self._neighbour(part, align), lambda: self._twins(align)
        return Baseline(align, features, gallery, labels, score, self.test, other, own_twins)

    def _ridge(self, labelled: Part, kind: Kind, seed: int) -> Baseline:
        """Ridge on standardised features of a kind, for clips turned as serves folds of the labelled clips best."""
        positions = self._positions(labelled)
        align = self._choose(positions, kind, seed)
        x, labels = self._features(kind, align, seed, self.train.tracks)[positions], self.train.labels[positions]
        ridge = fit_ridge(x, labels, self.classes)
        standard = lambda features: ((features - ridge.mean) / ridge.scale).float()
        return Baseline(
            align=align,
            features=lambda tracks: standard(self._features(kind, align, seed, tracks)),
            gallery=standard(x),
            labels=labels,
            scores=lambda tracks: ridge.scores(self._features(kind, align, seed, tracks)),
            test=self.test,
            with_labels=lambda other: self._ridge(other, kind, seed),
            twins=lambda: self._twins(align),
        )

    def _twins(self, align: Align) -> Tracks:
        """Twins of the training part's clips; what is computed of them is kept, too."""
        if align not in self._known_twins:
            found = self._known_twins[align] = twins(self.train.tracks, align)
            self._parts[id(found)] = found
        return self._known_twins[align]

    def _positions(self, labelled: Part) -> np.ndarray:
        """Where the training part has these clips."""
        return np.searchsorted(self.train.clips, labelled.clips)

    def _choose(self, positions: np.ndarray, kind: Kind, seed: int) -> Align:
        """The alignment of the highest accuracy over folds; the last one where there are too few clips for folds."""
        if len(self.alignments) == 1:
            return self.alignments[0]
        if len(positions) > MOST_CHOOSING:
            positions = np.sort(np.random.default_rng(0).choice(positions, MOST_CHOOSING, replace=False))
        held_out = [fold for fold in folds(self.train.subset(positions), self.test) if (~fold).sum() > 1]
        if not held_out:
            return self.alignments[-1]
        labels, right = self.train.labels[positions], dict.fromkeys(self.alignments, 0.0)
        for align in self.alignments:
            x = self._features(kind, align, seed, self.train.tracks)[positions]
            for fold in held_out:
                out = torch.from_numpy(fold).to(x.device)
                ridge = fit_ridge(x[~out], labels[~out], self.classes)
                right[align] += accuracy(ridge.scores(x[out]), labels[out]) * int(fold.sum())
        return max(right, key=lambda align: right[align])

    def _features(self, kind: Kind, align: Align, seed: int, tracks: Tracks) -> Tensor:
        """Features (N, D) of clips; those of the two parts are kept until another seed is asked for."""
        if id(tracks) not in self._parts:
            return self._compute(kind, align, seed, tracks)
        self._kept = {k: v for k, v in self._kept.items() if k[0] != kind or k[2] == seed}
        kept = self._kept.setdefault((kind, align, seed), {})
        if id(tracks) not in kept:
            kept[id(tracks)] = self._compute(kind, align, seed, tracks)
        return kept[id(tracks)]

    def _compute(self, kind: Kind, align: Align, seed: int, tracks: Tracks) -> Tensor:
        turned = any(tracks is found for found in self._known_twins.values())
        windows = side_by_side(tracks, FRAMES, "none" if turned else align, self._bodies)
        if kind == "coordinates":
            return windows.flatten(1)
        if kind == "statistics":
            return Statistics(self.layout.root)(windows)
        mean, scale = self._moments(align)
        return Convolved(self.layout.root, self._kernels(mean.shape[1], seed), mean, scale)(windows)

    def _moments(self, align: Align) -> tuple[Tensor, Tensor]:
        """Mean and scale of channels over the training part's clips, for clips turned so: (1, Ch, 1) each."""
        if align not in self._known_moments:
            windows = side_by_side(self.train.tracks, FRAMES, align, self._bodies)
            self._known_moments[align] = scaling(channels(windows, self.layout.root), self.layout.dims)
        return self._known_moments[align]

    def _kernels(self, count: int, seed: int) -> RandomConvolutions:
        """A seed's kernels for so many channels; the last ones are kept."""
        if self._last_kernels is None or self._last_kernels[0] != seed:
            self._last_kernels = seed, RandomConvolutions(count, FRAMES, seed).to(self.train.device)
        return self._last_kernels[1]

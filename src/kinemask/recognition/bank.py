"""Clips that a recogniser learns from, with what is computed of them once, whatever is tried on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from kinemask.nn.channel_features import Convolved, Statistics, scaling
from kinemask.nn.random_convolutions import RandomConvolutions
from kinemask.protocols.metric import Metric
from kinemask.protocols.twins import differences, performable, twins
from kinemask.recognition.choice import FRAMES, TWINNED, Choice, Kind, alignments
from kinemask.recognition.tokens import ReadEncoder, token_features
from kinemask.store.opening import Store
from kinemask.windows.bodies import channels, side_by_side
from kinemask.windows.mapped import fits
from kinemask.windows.mirror import mirror_tracks, mirror_windows
from kinemask.windows.settings import Align
from kinemask.windows.tracks import Recordings, Tracks

_TABLES = 4  # of products of each clip with each, float64, that are held at once at least


class Bank:
    """N clips to learn from; ValueError where there are too many for the memory.

    labels (N,): numbers of classes, −1 where there is none; these come last. groups: by name (subject, camera, …), the
    number of each clip's, (N,): clips of one group are never on both sides of a fold.

    Mean and scale of channels and of features are those of all N clips, and twins face where all N do. These know
    no labels, and are all that folds share.
    """

    def __init__(
        self,
        source: Store | Recordings,
        clips: np.ndarray,
        labels: Tensor,
        groups: Mapping[str, Tensor],
        seed: int,
        encoder: ReadEncoder | None = None,
        device: torch.device | str = "cpu",
    ):
        check_fits(len(clips), device)
        self.tracks = Tracks(source, clips, device)
        self.layout, self.labels, self.groups, self.seed = self.tracks.layout, labels.to(device), groups, seed
        self.encoder = encoder
        self.bodies = side_by_side(self.tracks, 1).shape[1]
        several = int((source.bodies[clips] > 1).sum())
        self.alignments = alignments(self.layout, 2 * several > len(clips))
        self._windows: dict[tuple[Align, bool], Tensor] = {}
        self._moments: dict[Align, tuple[Tensor, Tensor]] = {}
        self._kernels: dict[int, RandomConvolutions] = {}
        self._features: dict[tuple[Kind, Align, bool, int], Tensor] = {}
        self._grams: dict[tuple[Choice, int], tuple[Tensor, int]] = {}
        self._twins: dict[Align, Tracks] = {}
        self._differences: dict[tuple[Kind, Align, int], Tensor] = {}
        self._source = source, clips

    def __len__(self) -> int:
        return len(self.labels)

    def labelled(self, positions: np.ndarray) -> np.ndarray:
        """Those of some positions at which clips have a label."""
        return positions[(self.labels[torch.from_numpy(positions)] >= 0).cpu().numpy()]

    def windows(self, align: Align, mirrored: bool = False) -> Tensor:
        """Every clip as a window, turned so: (N, M, T, V, C)."""
        if (align, mirrored) not in self._windows:
            made = (
                mirror_windows(self.windows(align), self.layout)
                if mirrored
                else side_by_side(self.tracks, FRAMES, align, self.bodies)
            )
            self._windows[align, mirrored] = made
        return self._windows[align, mirrored]

    def features(self, choice: Choice, kernels: int) -> list[Tensor]:
        """Features of every clip, one (copies·N, D) for each kind; mirrored copies follow all clips."""
        sides = (False, True) if choice.mirrored else (False,)
        return [
            torch.cat([self._of_side(kind, choice.align, side, kernels) for side in sides]) for kind in choice.features
        ]

    def gram(self, choice: Choice, kernels: int) -> tuple[Tensor, int]:
        """Products (copies·N, copies·N) of standardised features, and how many features there are."""
        known = replace(choice, spread=False, tuned=0.0), kernels  # which are not about features
        if known not in self._grams:
            blocks = self.features(choice, kernels)
            total = torch.zeros(len(blocks[0]), len(blocks[0]), dtype=torch.float64, device=blocks[0].device)
            width = sum(block.shape[1] for block in blocks)
            for z, metric in self._standardised(blocks, choice, kernels):
                total += (z if metric is None else metric(z)) @ z.T
            self._grams[known] = total, width
        return self._grams[known]

    def in_features(self, choice: Choice, kernels: int, dual: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Ridge in terms of clips, dual (copies·N, classes), in terms of features.

        Their mean and scale, (D,) each, and weights (D, classes) of what is standardised by these.
        """
        blocks = self.features(choice, kernels)
        scales = [deviation(x) / weight for x, weight in zip(blocks, block_weights(blocks, choice), strict=True)]
        weights = []
        for z, metric in self._standardised(blocks, choice, kernels):
            own = z.T @ dual
            weights.append(own if metric is None else metric(own.T).T)
        return torch.cat([block.mean(0) for block in blocks]), torch.cat(scales), torch.cat(weights)

    @property
    def has_twins(self) -> bool:
        """Whether there can be twins of its layout."""
        return performable(self.layout)

    def module(self, kind: Kind, align: Align, kernels: int) -> nn.Module:
        """What computes features of a kind from windows that are turned so."""
        if kind == "statistics":
            return Statistics(self.layout.root)
        if align not in self._moments:
            x = channels(self.windows(align), self.layout.root)
            self._moments[align] = scaling(x, self.layout.dims)
        mean, scale = self._moments[align]
        if kernels not in self._kernels:
            made = RandomConvolutions(mean.shape[1], FRAMES, self.seed, kernels)
            self._kernels[kernels] = made.to(mean.device)
        return Convolved(self.layout.root, self._kernels[kernels], mean, scale)

    def _standardised(
        self, blocks: Sequence[Tensor], choice: Choice, kernels: int
    ) -> Iterator[tuple[Tensor, Metric | None]]:
        """Each block of mean 0, as its weight has it, in float64; and the metric that it is compared by."""
        for kind, block, weight in zip(choice.features, blocks, block_weights(blocks, choice), strict=True):
            scale, metric = deviation(block), None
            z = ((block - block.mean(0)) / scale).double()
            if choice.twins and kind in TWINNED:
                metric = Metric(self._twins_differ(kind, choice.align, kernels) / scale, z)
            yield z * weight, metric

    @torch.no_grad()
    def _twins_differ(self, kind: Kind, align: Align, kernels: int) -> Tensor:
        """Differences between twins' features of a kind."""
        if kind == "tokens":
            assert self.encoder is not None
            align = self.encoder.sampling.align  # an encoder turns clips in its own way
        known = (kind, align, kernels if kind == "convolutions" else 0)
        if known not in self._differences:
            if align not in self._twins:
                self._twins[align] = twins(self.tracks, align)
            own = self._twins[align]
            if self.encoder is not None and kind == "tokens":
                features = token_features(self.encoder, own)
            else:  # as they are: they are turned already
                features = self.module(kind, align, kernels)(side_by_side(own, FRAMES, "none", self.bodies))
            self._differences[known] = differences(features)
        return self._differences[known]

    @torch.no_grad()
    def _of_side(self, kind: Kind, align: Align, mirrored: bool, kernels: int) -> Tensor:
        known = (kind, "none" if kind == "tokens" else align, mirrored, kernels if kind == "convolutions" else 0)
        if known not in self._features:
            if kind == "tokens":
                self._features[known] = self._tokens(mirrored)
            else:
                self._features[known] = self.module(kind, align, kernels)(self.windows(align, mirrored))
        return self._features[known]

    def _tokens(self, mirrored: bool) -> Tensor:
        assert self.encoder is not None
        missing = self.encoder.sampling.missing
        source, clips = self._source
        tracks = self.tracks if missing == "fill" else Tracks(source, clips, self.tracks.device, missing)
        return token_features(self.encoder, mirror_tracks(tracks) if mirrored else tracks)


def block_weights(blocks: Sequence[Tensor], choice: Choice) -> list[float]:
    """What the standardised features of each block are multiplied by, so that blocks count as the choice's shares say.

    The mean of their squares over all features is 1.
    """
    width = sum(block.shape[1] for block in blocks)
    return [(share * width / block.shape[1]) ** 0.5 for block, share in zip(blocks, choice.shares, strict=True)]


def deviation(block: Tensor) -> Tensor:
    """Deviation of each feature, 1 where it is 0."""
    scale = block.std(0, correction=0)
    return torch.where(scale > 1e-8, scale, 1.0)


def check_fits(clips: int, device: torch.device | str) -> None:
    """ValueError for more clips than a recogniser has memory for; a GPU's memory is not looked at."""
    size = _TABLES * 8 * clips**2
    if torch.device(device).type == "cpu" and not fits(size):
        raise ValueError(
            f"{clips:,} clips are too many for a recogniser, which compares each with each: that would take"
            f" {size / 1e9:,.0f} GB of memory. Train on fewer, or pre-train an encoder on all of them and evaluate it"
            " (kinemask pretrain, kinemask evaluate finetune)"
        )

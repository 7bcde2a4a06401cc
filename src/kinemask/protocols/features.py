"""Frozen features of a split's labelled clips: augmented views of the training part, test views of both parts."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from kinemask.draws import Draws, key
from kinemask.models.encoders import TrainedEncoder
from kinemask.progress import progress
from kinemask.protocols.baselines import Baseline, Baselines
from kinemask.protocols.settings import Beside
from kinemask.protocols.twins import differences, twins
from kinemask.training.loop import autocast
from kinemask.training.settings import Precision
from kinemask.windows.parts import Part
from kinemask.windows.sampler import Sampler
from kinemask.windows.tracks import Tracks

BATCH = 64  # clips encoded at once; a view's draws are made per batch, so it is part of what a view is


class Features:
    """What a protocol on frozen features needs to know of an encoder and a split.

    baselines: gives those of the same split, if asked: the features of one may stand beside the encoder's. keep: test
    views of the two parts, which are then encoded once for all seeds.
    """

    def __init__(
        self,
        model: TrainedEncoder,
        train: Part,
        test: Part,
        quiet: bool = True,
        precision: Precision = "auto",
        baselines: Callable[[], Baselines] | None = None,
        keep: bool = False,
    ):
        self.model, self.train, self.test = model.eval(), train, test
        self.quiet = quiet
        self.precision: Precision = precision
        self.baselines = baselines
        self.keep = keep
        self.device = train.device
        self._views: dict[int, Tensor] = {}
        self._test_views: dict[int, list[Tensor]] = {}  # by the identity of a part's tracks
        self._differences: Tensor | None = None

    def view(self, number: int) -> Tensor:
        """Training-time view of the training part, number by number the same: (N, D). Computed once and kept."""
        if number not in self._views:
            self._views[number] = self.fresh_view(number)
        return self._views[number]

    @torch.no_grad()
    def fresh_view(self, number: int) -> Tensor:
        """As `view`, without keeping it."""
        tracks = self.train.tracks
        sampler = Sampler(tracks, self.model.sampling)
        count, out = len(tracks.clips), []
        with progress(f"view {number}", count, shown=not self.quiet) as report, autocast(self.device, self.precision):
            for first in range(0, count, BATCH):
                rows = slice(first, min(first + BATCH, count))
                track, clip_index = tracks.of_clips(torch.arange(count, device=self.device)[rows])
                draws = Draws(key("view", number, first), rows.stop - first, device=self.device)
                x = sampler.sample(track, draws, clip_index).x
                out.append(self.model.clip_features(x, clip_index, rows.stop - first))
                report(rows.stop)
        return torch.cat(out)

    def test_views(self, tracks: Tracks) -> list[Tensor]:
        """Features of each of the `test_clips` test views of tracks, (N, D) each."""
        if id(tracks) in self._test_views:
            return self._test_views[id(tracks)]
        sampler = Sampler(tracks, self.model.sampling)
        with autocast(self.device, self.precision):
            numbers = range(self.model.sampling.test_clips)
            found = [torch.cat(self.model.test_features(sampler, BATCH, n)) for n in numbers]
        if self.keep and (tracks is self.train.tracks or tracks is self.test.tracks):
            self._test_views[id(tracks)] = found
        return found

    @torch.no_grad()
    def twins_differ(self) -> Tensor:
        """What features of generated twins differ in: (n, D). ValueError for a layout that has no twins."""
        if self._differences is None:
            views = self.test_views(twins(self.train.tracks, self.model.sampling.align))
            self._differences = differences(torch.stack(views).mean(0))
        return self._differences

    def beside(self, what: Beside, labelled: Part, seed: int) -> Baseline | None:
        """The baseline whose features stand beside the encoder's, with these labelled clips; None for those alone."""
        if what == "none":
            return None
        assert self.baselines is not None
        return self.baselines().convolutions(labelled, seed)

    def neighbours(self, beside: Beside, seed: int) -> tuple[Tensor, Tensor]:
        """Training and test features, of unit length, averaged over the test views: (G, D), (N, D).

        With those beside them, so that a cosine similarity is the mean of two. The seed decides only those.
        """
        gallery, queries = (
            torch.stack([F.normalize(x, dim=1) for x in self.test_views(part.tracks)]).mean(0)
            for part in (self.train, self.test)
        )
        other = self.beside(beside, self.train, seed)
        if other is None:
            return gallery, queries
        both = lambda x, y: torch.cat([F.normalize(x, dim=1), F.normalize(y, dim=1)], 1)
        return both(gallery, other.gallery), both(queries, other.features(other.test.tracks))

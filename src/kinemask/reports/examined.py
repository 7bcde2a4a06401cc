"""What figures of a run are made of: its store, encoder and task, and what they make of test clips."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from kinemask.models.encoders import TrainedEncoder, load_encoder, placed
from kinemask.reports import attention, features, skeletons
from kinemask.reports.attention import Attention
from kinemask.reports.features import Features, Plane
from kinemask.reports.runs import Shown, without_paths
from kinemask.reports.skeletons import Seen
from kinemask.store.opening import Store, open_store
from kinemask.training.settings import Settings


class Examined:
    """A run under examination. Everything is made when it is first asked for; ValueError says why it cannot be.

    given: a store in place of the run's. classes, clips: names of those to show; by default all classes, or some, and a
    clip each of a few.
    """

    def __init__(
        self, run: Shown, given: Path | str | None = None, classes: Sequence[str] = (), clips: Sequence[str] = ()
    ):
        self.run, self.given = run, given
        self._classes, self._clips = tuple(classes), tuple(clips)

    @cached_property
    def store(self) -> Store:
        """The one that was given, or the run's first."""
        if self.given is None and not self.run.stores:
            raise ValueError("the run names no store; name one (data)")
        return open_store(self.given or self.run.stores[0])

    @cached_property
    def split(self) -> str:
        """The split whose test part is shown: of the leading evaluation on this store, else the run's own."""
        run, store = self.run, self.store
        own = [e.first.split for e in (run.main, *run.evaluations) if e and e.first.store_sha256 == store.identity]
        return next((split for split in [*own, run.split] if split in store.splits), run.split)

    @cached_property
    def model(self) -> TrainedEncoder:
        """The run's encoder, for the store's layout."""
        device = "cuda" if torch.cuda.is_available() else "cpu"
        model = load_encoder(self.run.run.path, device)
        return placed(model, self.store.layout, self.run.run.path, f"the store {self.store.path}")

    @cached_property
    def chosen(self) -> np.ndarray | None:
        """Numbers of the chosen classes; None for all."""
        return features.class_numbers(self.store, self._classes) if self._classes else None

    @cached_property
    def features(self) -> Features:
        """Of test clips."""
        return features.features_of(self.model, self.store, self.split, self.chosen)

    @cached_property
    def tsne(self) -> Plane:
        return features.tsne(self.features)

    @cached_property
    def pca(self) -> Plane:
        """Of the chosen classes, or of five."""
        return features.pca(self.features, features.PCA_CLASSES if self.chosen is None else None)

    @cached_property
    def attention(self) -> Attention:
        """Over the clips that were named, or over some test clips of all classes or the chosen ones."""
        clips = skeletons.choose_clips(self.store, self.split, self._clips, self.chosen, attention.MOST_CLIPS)
        return attention.attention(self.model, self.store, clips)

    @cached_property
    def seen(self) -> Seen:
        """Clips as the run's task sees them."""
        config = Settings.from_dict(self.run.run.config)
        task = skeletons.load_task(self.run.run.path, config, self.store.layout)
        clips = skeletons.choose_clips(self.store, self.split, self._clips, self.chosen)
        return skeletons.see(task, config, self.store, clips, self._model_if_there())

    def _model_if_there(self) -> TrainedEncoder | None:
        try:
            return self.model
        except ValueError:
            return None  # a run that has not finished: its checkpoint is shown

    def check(self) -> None:
        """ValueError for names of classes and clips that the store does not have."""
        if self._classes or self._clips:
            _ = self.chosen
            skeletons.choose_clips(self.store, self.split, self._clips, self.chosen)

    def said(self, error: ValueError) -> str:
        """What an error says, without the folders of this machine."""
        paths = [self.run.run.path, *self.run.stores, *([self.given] if self.given else [])]
        return without_paths(str(error).splitlines()[0], *paths)

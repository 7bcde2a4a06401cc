"""The labelled clips of a split, as body tracks on a device."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from kinemask.store.opening import Store
from kinemask.windows.tracks import Tracks


@dataclass(frozen=True, eq=False)
class Part:
    """The labelled clips of one side of a split: the store and their indices in it. Tracks are read when asked for."""

    store: Store
    clips: np.ndarray
    device: torch.device
    missing: Literal["fill", "zero"]

    @cached_property
    def labels(self) -> Tensor:
        """Class numbers (N,), on the device."""
        return torch.from_numpy(self.store.labels[self.clips]).to(self.device)

    @cached_property
    def tracks(self) -> Tracks:
        """The clips' body tracks, on the device."""
        return Tracks(self.store, self.clips, self.device, self.missing)

    @property
    def names(self) -> list[str]:
        return [self.store.names[i] for i in self.clips]

    def subset(self, positions: np.ndarray) -> Part:
        """The clips at these positions of the part."""
        return replace(self, clips=self.clips[positions])


def parts(store: Store, split: str, device: torch.device, missing: Literal["fill", "zero"]) -> tuple[Part, Part]:
    """The training and the test part of a split; ValueError where one has no labelled clip."""
    found = []
    for side, clips in zip(("training", "test"), store.split(split), strict=True):
        labelled = clips[store.labels[clips] >= 0]
        if not len(labelled):
            raise ValueError(f"the {side} part of the split has no labelled clips in the store {store.path}")
        found.append(Part(store, labelled, device, missing))
    return found[0], found[1]

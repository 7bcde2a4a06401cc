"""The clips of a store as a PyTorch data set."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

if TYPE_CHECKING:
    from kinemask.store.opening import Store


class ClipDataset(Dataset[tuple[Any, int]]):
    """Pairs (clip, label) of chosen clips of a store, for a DataLoader.

    A clip is a tensor (M, T, V, C) float32, NaN where missing, or what `transform` makes of it; M and T differ between
    clips, so that a DataLoader needs a transform to one shape (`kinemask.Window`), or a `collate_fn`, or batches of 1.
    label: index into the store's classes, -1 where unlabelled. indices (N,): of the clips in the store.
    """

    def __init__(self, store: Store, indices: np.ndarray, transform: Callable[[Tensor], Any] | None = None):
        self.store, self.indices, self.transform = store, indices, transform

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> tuple[Any, int]:
        i = int(self.indices[position])
        clip = torch.from_numpy(np.array(self.store.clip(i), np.float32))
        return clip if self.transform is None else self.transform(clip), int(self.store.labels[i])

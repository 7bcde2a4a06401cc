"""Draws of a few labelled clips from a training part."""

from __future__ import annotations

import warnings

import numpy as np
import torch

from kinemask.draws import key
from kinemask.windows.parts import Part


def draw_labels(train: Part, seed: int, per_class: int = 0, fraction: float = 0.0) -> np.ndarray:
    """Positions in the training part, ascending: so many of each class, or a share of it and one at least.

    A smaller draw of a seed is part of a larger one. Warns where a class has fewer clips than asked for.
    """
    out, labels = [], train.labels.cpu()
    for label in labels.unique().tolist():
        own = (labels == label).nonzero().squeeze(1)
        name = train.store.classes[label]
        generator = torch.Generator().manual_seed(key(seed, "labels", name))
        count = per_class or max(1, round(fraction * len(own)))
        if count > len(own):
            warnings.warn(f"class {name} has {len(own)} labelled training clips; all are taken", stacklevel=2)
        out.append(own[torch.randperm(len(own), generator=generator)[:count]])
    return torch.cat(out).sort().values.numpy()

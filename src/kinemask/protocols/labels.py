"""Draws of a few labelled clips from a training part. A smaller draw of a seed is part of a larger one."""

from __future__ import annotations

import warnings

import numpy as np
import torch

from kinemask.draws import key
from kinemask.windows.parts import Part


def draw_labels(train: Part, seed: int, per_class: int = 0, fraction: float = 0.0) -> np.ndarray:
    """Positions in the training part, ascending: so many of each class, or a share of it and one at least.

    Warns where a class has fewer clips than asked for.
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


def draw_from_all(train: Part, seed: int, fraction: float) -> np.ndarray:
    """Positions in the training part, ascending: a share of all clips, rounded down, whatever their classes.

    Warns where that leaves classes without a label; ValueError where it leaves no clip.
    """
    count = int(fraction * len(train.clips))
    if not count:
        raise ValueError(f"fraction {fraction} of {len(train.clips)} labelled training clips is none of them")
    generator = torch.Generator().manual_seed(key(seed, "labels"))
    chosen = torch.randperm(len(train.clips), generator=generator)[:count].sort().values
    labels = train.labels.cpu()
    if without := len(labels.unique()) - len(labels[chosen].unique()):
        warnings.warn(f"the draw of seed {seed} has no label of {without} of the classes", stacklevel=2)
    return chosen.numpy()

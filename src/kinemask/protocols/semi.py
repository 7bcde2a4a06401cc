"""Semi-supervised protocol: fine-tuning with a part of the labels, drawn class by class."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from kinemask.checks import warn_unused
from kinemask.draws import key
from kinemask.protocols.case import Case
from kinemask.protocols.finetune import FinetuneSettings


@dataclass(kw_only=True)
class SemiSettings(FinetuneSettings):
    """Fine-tuning with few labels; a seed is a draw of them.

    Args:
        fraction: share of each class's training clips whose labels are used, one clip at least
        per_class: labels of each class, in place of a fraction; 0 takes the fraction
        labels: an earlier result file whose labelled clips are taken; then the seed decides the training alone
        test_every: epochs between scores of the test part, of which the best is reported beside the last; 0 has none
    """

    fraction: float = 0.1
    per_class: int = 0
    labels: str | None = None
    test_every: int = 10

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.fraction <= 1:
            raise ValueError(f"semi.fraction must be above 0 and at most 1, not {self.fraction}")
        if self.per_class < 0:
            raise ValueError(f"semi.per_class must not be negative, not {self.per_class}")
        if self.labels is not None:
            warn_unused("semi", self, "where labels are given", "fraction", "per_class")
        elif self.per_class:
            warn_unused("semi", self, "where per_class is given", "fraction")


def draw_labels(case: Case, settings: SemiSettings, seed: int) -> np.ndarray:
    """Positions in the training part, ascending. A smaller draw of the same seed is part of a larger one."""
    if settings.labels is not None:
        return _earlier(case, Path(settings.labels))
    out = []
    labels = case.train.labels.cpu()
    for label in labels.unique().tolist():
        own = (labels == label).nonzero().squeeze(1)
        generator = torch.Generator().manual_seed(key(seed, "labels", case.store.classes[label]))
        count = settings.per_class or max(1, round(settings.fraction * len(own)))
        if count > len(own):
            name = case.store.classes[label]
            warnings.warn(f"class {name} has {len(own)} labelled training clips; all are taken", stacklevel=2)
        out.append(own[torch.randperm(len(own), generator=generator)[:count]])
    return torch.cat(out).sort().values.numpy()


def _earlier(case: Case, path: Path) -> np.ndarray:
    if not path.is_file():
        raise ValueError(f"semi.labels: there is no file {path}")
    try:
        names = json.loads(path.read_text())["labels"]
        if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
            raise TypeError
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"semi.labels: {path} is not a result of `evaluate semi`: it has no list `labels`") from None
    place = {case.store.names[clip]: i for i, clip in enumerate(case.train.clips)}
    if unknown := [name for name in names if name not in place]:
        raise ValueError(
            f"semi.labels: {path} names {unknown[0]!r}, which is no labelled training clip of split {case.split} "
            f"of {case.store.path}"
        )
    return np.sort([place[name] for name in names])

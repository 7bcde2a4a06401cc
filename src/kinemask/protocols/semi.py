"""Semi-supervised protocol: fine-tuning with a part of the labels, drawn class by class."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path

import numpy as np
import torch

from kinemask.draws import key
from kinemask.protocols import finetune
from kinemask.protocols.case import Case
from kinemask.protocols.settings import SemiSettings
from kinemask.runs.result import read_result
from kinemask.windows.parts import Part


def part(case: Case, settings: SemiSettings, seed: int) -> Part:
    """The training clips whose labels a seed draws."""
    return case.train.subset(draw_labels(case, settings, seed))


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
        names = read_result(path).labels
    except ValueError as error:
        raise ValueError(f"semi.labels: {error}") from None
    if not names:
        raise ValueError(f"semi.labels: {path} is not a result of `evaluate semi`: it has no labels")
    place = {name: i for i, name in enumerate(case.train.names)}
    if unknown := [name for name in names if name not in place]:
        raise ValueError(
            f"semi.labels: {path} names {unknown[0]!r}, which is no labelled training clip of split {case.split} "
            f"of {case.store.path}"
        )
    return np.sort([place[name] for name in names])


score = partial(finetune.score, choose=part)

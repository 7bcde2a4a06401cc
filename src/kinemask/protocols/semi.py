"""Semi-supervised protocol: fine-tuning with a part of the labels, drawn class by class or of all clips together."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from kinemask.protocols import finetune
from kinemask.protocols.case import Case
from kinemask.protocols.labels import draw_from_all, draw_labels
from kinemask.protocols.settings import SemiSettings
from kinemask.runs.result import read_result
from kinemask.windows.parts import Part


def part(case: Case, settings: SemiSettings, seed: int) -> Part:
    """The training clips whose labels a seed draws."""
    if settings.labels is not None:
        return case.train.subset(_earlier(case, Path(settings.labels)))
    if settings.draw == "uniform" and not settings.per_class:
        return case.train.subset(draw_from_all(case.train, seed, settings.fraction))
    return case.train.subset(draw_labels(case.train, seed, settings.per_class, settings.fraction))


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

"""Folds inside a training part, for what is chosen without looking at the test part."""

from __future__ import annotations

import numpy as np

from kinemask.windows.parts import Part

MOST_FOLDS = 5


def folds(train: Part, test: Part) -> list[np.ndarray]:
    """Which clips of the training part are held out, (N,) bool a fold; none where there are too few clips.

    They imitate the split: where its sides share no subject (or else no camera, no setup), neither do a fold's. Else
    they are drawn class by class.
    """
    from sklearn.model_selection import GroupKFold, StratifiedKFold

    labels = train.store.labels[train.clips]
    groups = _groups(train, test)
    if groups is not None:
        splitter = GroupKFold(min(MOST_FOLDS, len(np.unique(groups)))).split(labels, labels, groups)
    else:
        fewest = np.bincount(labels)[np.unique(labels)].min()
        if fewest < 2:
            return []
        splitter = StratifiedKFold(min(MOST_FOLDS, int(fewest)), shuffle=True, random_state=0).split(labels, labels)
    return [np.isin(np.arange(len(labels)), held_out) for _, held_out in splitter]


def _groups(train: Part, test: Part) -> np.ndarray | None:
    """The column, of every clip of the training part, that the split goes by; None where it goes by none."""
    for name in ("subject", "camera", "setup"):
        column = train.store.fields.get(name)
        if column is None:
            continue
        here, there = column[train.clips], column[test.clips]
        if all(here) and len(set(here)) > 1 and not set(here) & set(there):
            return here
    return None

"""Which clips of a store a recogniser learns from, which it is tried on, and what is in the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from kinemask.store.format import digest
from kinemask.store.opening import Store

GROUPS = ("subject", "camera", "setup")  # columns of a store whose values are never on both sides of a fold
TOGETHER = "recording"  # the column of clips that are of one recording
FEW = 8  # names in a message


@dataclass(frozen=True, eq=False)
class Labelled:
    """Labelled clips of a store.

    train, test: indices of clips; test is empty unless a split was asked for. classes: those of the training clips.
    split: its name, None without one. said: sentences on what is not as it might be.
    """

    store: Store
    train: np.ndarray
    test: np.ndarray
    classes: list[str]
    split: str | None
    said: tuple[str, ...]

    def numbers(self, clips: np.ndarray) -> np.ndarray:
        """Numbers among `classes` of clips' labels."""
        index = {name: i for i, name in enumerate(self.classes)}
        return np.array([index[self.store.classes[label]] for label in self.store.labels[clips].tolist()], np.int64)

    @cached_property
    def groups(self) -> dict[str, np.ndarray]:
        """Values of the training clips that folds do not share, by column; those known of every clip."""
        return {name: values for name in GROUPS if (values := self._known(name)) is not None}

    @property
    def people(self) -> np.ndarray | None:
        """Who is in each training clip; None where that is not known of all, or all are of one person."""
        return self.groups.get("subject")

    @cached_property
    def together(self) -> np.ndarray:
        """Numbers of training clips that are one recording, or exact copies of each other: (n,)."""
        known = self._known(TOGETHER)
        if known is not None:
            return np.unique(known, return_inverse=True)[1]
        return np.unique([digest(self.store.clip(int(i))) for i in self.train], return_inverse=True)[1]

    def _known(self, name: str) -> np.ndarray | None:
        values = self.store.fields.get(name)
        if values is None or not all(values[self.train]) or len(set(values[self.train].tolist())) < 2:
            return None
        return values[self.train]


def find_labelled(store: Store, split: str | None, pretrain: bool = False) -> Labelled:
    """The labelled clips of a store, or of the sides of a split. pretrain: whether those without a label are of use.

    Raises ValueError where nothing has a label, there is one class, or a class is in the test part alone.
    """
    train, test = (np.arange(len(store)), np.arange(0)) if split is None else store.split(split)
    said, sides = [], []
    for side, clips in (("training", train), ("test", test)):
        with_label = clips[store.labels[clips] >= 0]
        if not len(with_label) and (split is not None or side == "training"):
            where = "" if split is None else f" of the {side} part of split {split}"
            raise ValueError(f"no clip{where} has a label in {store.path}: a recogniser learns from labelled clips")
        if (without := len(clips) - len(with_label)) and side == "training":
            use = "are for pre-training alone" if pretrain else "are left out (--pretrain learns from them too)"
            said.append(f"{without:,} of {len(clips):,} clips have no label and {use}")
        sides.append(with_label)
    train, test = sides
    present = np.unique(store.labels[train])
    if absent := sorted(set(store.labels[test].tolist()) - set(present.tolist())):
        names = listed([store.classes[i] for i in absent])
        raise ValueError(
            f"split {split} has classes in its test part alone, which nothing can be learned of: {names}; move some of"
            " their clips to the training part, or leave them out"
        )
    classes = [store.classes[i] for i in present.tolist()]
    if len(classes) < 2:
        raise ValueError(f"there is only one class, {classes[0]!r}; a recogniser needs two or more")
    counts = np.bincount(store.labels[train])
    single = [store.classes[i] for i in present.tolist() if counts[i] == 1]
    if single:
        have = "classes have" if len(single) > 1 else "class has"
        said.append(f"{len(single)} {have} one clip, held out of which nothing is left: {listed(single)}")
    found = Labelled(store, train, test, classes, split, tuple(said))
    return found if split is not None or found.people is not None else _by_clip(found)


def _by_clip(found: Labelled) -> Labelled:
    column = found.store.fields.get("subject")
    known = 0 if column is None else int((column[found.train] != "").sum())
    why = (
        "who is in a clip is not known (a column subject in clips.csv tells)"
        if not known
        else f"subject is known of {known:,} of {len(found.train):,} clips alone"
        if known < len(found.train)
        else "all clips are of one person"
    )
    said = f"{why}: clips are held out in place of people, and a new person may be recognised less well"
    return Labelled(found.store, found.train, found.test, found.classes, found.split, (*found.said, said))


def listed(names: Sequence[str]) -> str:
    """Names in a row, for messages."""
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return ", ".join(names[:FEW]) + more

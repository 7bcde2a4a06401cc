"""Which clips of a store a recogniser learns from, which it is tried on, and what is in the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from kinemask.recognition.choice import MOST_UNLABELLED
from kinemask.store.format import digest
from kinemask.store.opening import Store

GROUPS = ("subject", "camera", "setup")  # columns of a store whose values are never on both sides of a fold
TOGETHER = "recording"  # the column of clips that are of one recording
FEW = 8  # names in a message


@dataclass(frozen=True, eq=False)
class Labelled:
    """Labelled clips of a store.

    train, test: indices of clips; test is empty unless a split was asked for. unlabelled: those beside train that have
    no label. classes: those of the training clips. split: its name, None without one. said: sentences on what is not
    as it might be.
    """

    store: Store
    train: np.ndarray
    test: np.ndarray
    unlabelled: np.ndarray
    classes: list[str]
    split: str | None
    said: tuple[str, ...]

    def numbers(self, clips: np.ndarray) -> np.ndarray:
        """Numbers among `classes` of clips' labels."""
        index = {name: i for i, name in enumerate(self.classes)}
        return np.array([index[self.store.classes[label]] for label in self.store.labels[clips].tolist()], np.int64)

    @cached_property
    def groups(self) -> dict[str, np.ndarray]:
        """Values that folds do not share, by column, of the training clips and behind them of those without a label;
        the columns that are known of every training clip."""
        return {
            name: self.store.fields[name][np.concatenate([self.train, self.unlabelled])]
            for name in GROUPS
            if self._known(name) is not None
        }

    @property
    def people(self) -> np.ndarray | None:
        """Who is in each training clip; None where that is not known of all, or all are of one person."""
        return self._known("subject")

    def apart_from(self, clips: np.ndarray) -> np.ndarray:
        """Positions, counted on from the training clips, of clips without a label that are of other people than these
        (positions of training clips), or of other recordings where people are not known.

        Clips of unknown people are not among them where people are known.
        """
        count = len(self.train)
        if self.people is None:
            return count + np.flatnonzero(~np.isin(self._pieces[count:], self._pieces[clips]))
        who = self.groups["subject"]
        return count + np.flatnonzero((who[count:] != "") & ~np.isin(who[count:], who[clips]))

    @cached_property
    def together(self) -> np.ndarray:
        """Numbers of training clips that are one recording, or exact copies of each other: (n,)."""
        return np.unique(self._pieces[: len(self.train)], return_inverse=True)[1]

    @cached_property
    def _pieces(self) -> np.ndarray:
        """What tells recordings apart, of training clips and behind them of those without a label."""
        every = np.concatenate([self.train, self.unlabelled])
        if self._known(TOGETHER) is not None:
            return self.store.fields[TOGETHER][every]
        return np.array([digest(self.store.clip(int(i))) for i in every])

    def _known(self, name: str) -> np.ndarray | None:
        values = self.store.fields.get(name)
        if values is None or not all(values[self.train]) or len(set(values[self.train].tolist())) < 2:
            return None
        return values[self.train]


def find_labelled(store: Store, split: str | None, spread: bool = True, pretrain: bool = False) -> Labelled:
    """The labelled clips of a store, or of the sides of a split. spread: whether labels may be spread to the others;
    pretrain: whether an encoder is pre-trained on these.

    Of these it takes at most MOST_UNLABELLED, drawn at random. Raises ValueError where nothing has a label, there is
    one class, or a class is in the test part alone.
    """
    train, test = (np.arange(len(store)), np.arange(0)) if split is None else store.split(split)
    said, sides, unlabelled = [], [], np.arange(0)
    for side, clips in (("training", train), ("test", test)):
        with_label = clips[store.labels[clips] >= 0]
        if not len(with_label) and (split is not None or side == "training"):
            where = "" if split is None else f" of the {side} part of split {split}"
            raise ValueError(f"no clip{where} has a label in {store.path}: a recogniser learns from labelled clips")
        if side == "training" and len(with_label) < len(clips):
            unlabelled, line = _unlabelled(store, clips, spread, pretrain)
            said.append(line)
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
    found = Labelled(store, train, test, unlabelled, classes, split, tuple(said))
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
    return replace(found, said=(*found.said, said))


def _unlabelled(store: Store, clips: np.ndarray, spread: bool, pretrain: bool) -> tuple[np.ndarray, str]:
    """Clips without a label that labels may be spread to, and a sentence on them."""
    found = clips[store.labels[clips] < 0]
    have = f"{len(found):,} of {len(clips):,} clips have no label"
    if not spread:
        return found[:0], f"{have} and are {'for pre-training alone' if pretrain else 'left out'}"
    some = drawn(found)
    which = "them" if len(some) == len(found) else f"{len(some):,} of them, drawn at random,"
    return some, f"{have}; labels are spread to {which} where there are few labels, or where that helps"


def drawn(unlabelled: np.ndarray) -> np.ndarray:
    """At most MOST_UNLABELLED of these clips."""
    if len(unlabelled) <= MOST_UNLABELLED:
        return unlabelled
    return np.sort(np.random.default_rng(0).choice(unlabelled, MOST_UNLABELLED, replace=False))


def listed(names: Sequence[str]) -> str:
    """Names in a row, for messages."""
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return ", ".join(names[:FEW]) + more

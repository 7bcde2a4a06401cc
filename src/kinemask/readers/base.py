"""What a reader is: how it lists what a source holds, and reads, labels and splits it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from kinemask.readers.cleaning import Rejected
from kinemask.skeleton import Layout, layout
from kinemask.store.format import Clip

Side = Literal["train", "test", ""]


@dataclass(frozen=True)
class SplitRule:
    """A named split as a rule over a clip's fields: `side` gives train, test, or "" for neither."""

    description: str
    side: Callable[[Mapping[str, str]], Side]


@dataclass(frozen=True)
class Item:
    """A file or folder to read, and what the listing of its source tells of it.

    name, label (an index into the classes), fields: of its clip, as far as they are known without reading it.
    content: what else `scan` found, for `read`.
    """

    path: Path
    name: str
    label: int | None = None
    fields: dict[str, str] = field(default_factory=dict)
    content: Any = None


@dataclass(frozen=True)
class Scan:
    """What a source holds, found out without reading its clips.

    items: what there is to read, in order. classes: the names that labels index. layout: what the files are of,
    where they tell. clips: how many there are, where not one an item. splits: names of the splits that the source
    itself defines. unlisted: sentences on what it names but does not hold, or is not understood.
    """

    items: Sequence[Item]
    classes: tuple[str, ...]
    layout: Layout | None = None
    clips: int | None = None
    splits: frozenset[str] = frozenset()
    unlisted: tuple[str, ...] = ()

    @classmethod
    def of_files(cls, paths: Iterable[Path], classes: tuple[str, ...]) -> Scan:
        """A clip a file, called as the file is."""
        return cls([Item(path, path.stem) for path in paths], classes)


@dataclass(frozen=True)
class ReadOptions:
    """Settings of reading. layout: instead of the reader's own.

    min_score: joints whose confidence is at or below it are missing (sources that have confidences).
    axes: what the axes of arrays are, letters of T, M, V and C (`Reader.axes`); "" for the usual order.
    unit: of 3D coordinates, where the caller tells it, and converts them; "" where a reader may find it out.
    """

    layout: Layout | None = None
    min_score: float = 0.0
    axes: str = ""
    unit: str = ""


@dataclass(frozen=True)
class Failure:
    """Why there is no clip; by_rule: a rule dropped it, as opposed to a file that cannot be read.

    name: of the clip, where a file holds several.
    """

    reason: str
    by_rule: bool = False
    name: str = ""

    @classmethod
    def of(cls, error: ValueError | OSError, name: str = "") -> Failure:
        """The failure that an error of reading means."""
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        return cls(reason, isinstance(error, Rejected), name)


@dataclass(frozen=True)
class Complete:
    """What a complete copy of a data set holds: files, clips, and training and test clips by split.

    gaps: of the files found, more words on what is not there ("" for none), where their names tell.
    """

    files: int
    clips: int
    splits: dict[str, tuple[int, int]]
    gaps: Callable[[Sequence[Path]], str] = lambda files: ""


@dataclass(frozen=True)
class Reader:
    """A data set as its owners distribute it, or a file format.

    name, title, citation: for people. layout: the shipped layout of its files (None: the caller gives one),
    and `other_layouts` that its joints can be re-ordered to. classes: the owners' names (() where the source
    brings its own). splits: the named splits. expected: counts of a complete copy. units: of the store's
    coordinates.

    scan(src): what a source (a folder, at any depth, or a file) holds; ValueError saying what was looked for.
    read(item, options): one clip, or an iterator over those of a file that holds several, with a Failure in
    place of each that is bad; ValueError that names file and place, or Rejected for a clip dropped by rule.
    scores: whether its files give confidences. is_format: a file format of anybody's clips, and no data set by itself.
    axes: whether its arrays may have their axes in an order that the options tell.
    """

    name: str
    title: str
    citation: str
    layout: str | None
    scan: Callable[[Path], Scan]
    read: Callable[[Item, ReadOptions], Clip | Iterator[Clip | Failure]]
    classes: tuple[str, ...] = ()
    splits: dict[str, SplitRule] = field(default_factory=dict)
    expected: Complete | None = None
    units: str = "metres"
    other_layouts: tuple[str, ...] = ()
    scores: bool = False
    is_format: bool = False
    axes: bool = False

    def choose_layout(self, given: Layout | None = None) -> Layout:
        """Layout of the store: the one given, if this reader can deliver it, else the reader's own.

        Raises ValueError where it cannot, or where it needs one and none is given.
        """
        if given is None:
            if self.layout is None:
                raise ValueError(f"{self.name} needs a layout: the name of a shipped one or a YAML file")
            return layout(self.layout)
        if self.layout is not None and given.name not in (self.layout, *self.other_layouts):
            known = " or ".join((self.layout, *self.other_layouts))
            raise ValueError(f"{self.name} delivers layout {known}, not {given.name}")
        return given

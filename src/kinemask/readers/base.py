"""What a reader is: how a data set's files are found, read, labelled and split."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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
class Row:
    """What a catalogue says of one clip: its name, its label as an index into the classes, its fields.

    content: what else the reader's catalogue found of the file, for its `read`.
    """

    name: str
    label: int | None
    fields: dict[str, str] = field(default_factory=dict)
    content: Any = None


@dataclass(frozen=True)
class Catalogue:
    """The clips of a source that brings its own names and labels: files in order, each with its row.

    layout: what the source's files are of, where they tell. clips: how many there are, where not one a file.
    """

    classes: tuple[str, ...]
    rows: dict[Path, Row]
    layout: Layout | None = None
    clips: int | None = None


@dataclass(frozen=True)
class ReadOptions:
    """Settings of reading. layout: instead of the reader's own. row: the catalogue's word on this file.

    min_score: joints whose confidence is at or below it are missing (sources that have confidences).
    """

    layout: Layout | None = None
    row: Row | None = None
    min_score: float = 0.0


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
class Reader:
    """A data set in its owners' layout.

    name, title, citation: for people. layout: the shipped layout of its files (None: the caller gives one),
    and `other_layouts` that its joints can be re-ordered to. classes: the owners' names (() where the source
    brings its own). expected: counts of a complete copy. splits: the named splits. units: of the store's
    coordinates.

    find(src, options): the files of a source at any depth, sorted; ValueError saying what was looked for.
    read(path, options): one clip, or an iterator over those of a file that holds several, with a Failure in
    place of each that is bad; ValueError that names file and place, or Rejected for a clip dropped by rule.
    catalogue(src): where the source lists its own clips; pass each file's row on to `read` in the options.
    scores: whether its files give confidences. is_format: a file format of anybody's clips, and no data set by itself.
    """

    name: str
    title: str
    citation: str
    layout: str | None
    classes: tuple[str, ...]
    splits: dict[str, SplitRule]
    find: Callable[[Path, ReadOptions], list[Path]]
    read: Callable[[Path, ReadOptions], Clip | Iterator[Clip | Failure]]
    expected: dict[str, Any] = field(default_factory=dict)
    units: str = "metres"
    other_layouts: tuple[str, ...] = ()
    catalogue: Callable[[Path], Catalogue] | None = None
    scores: bool = False
    is_format: bool = False

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

"""From a data set's own files to clips in the store's convention, without writing anything."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kinemask.errors import shorten
from kinemask.preparation.folders import label_by_folder
from kinemask.preparation.shaping import ShapedRead, Shaping, Unit, Up
from kinemask.preparation.workers import reading
from kinemask.readers import Failure, Item, Reader, ReadOptions, Scan, reader
from kinemask.readers.files import naming_file
from kinemask.skeleton import Layout
from kinemask.skeleton import layout as find_layout
from kinemask.store.format import Clip


@dataclass(frozen=True)
class Source:
    """A data set, or recordings, listed and ready to be read; made by `open_source`.

    scan: what there is to read. layout: of the clips that reading gives. min_score, axes: as for `open_source`.
    shaping: what becomes of the clips that the reader gives.
    """

    path: Path
    reader: Reader
    scan: Scan
    layout: Layout
    min_score: float = 0.0
    axes: str = ""
    shaping: Shaping = field(default_factory=Shaping)

    @contextmanager
    def reading(self, items: Sequence[Item], workers: int = 1) -> Iterator[Iterator[tuple[Item, Clip | Failure]]]:
        """Gives an iterator over the clips of items of the scan, in order, or why there is none, each with its item.

        Leaving the context ends the processes that read.
        """
        options = ReadOptions(self.layout, self.min_score, self.axes, self.shaping.unit or "")
        read = ShapedRead(self.reader.read, self.shaping, self.layout)
        with reading(read, options, items, workers) as found:
            yield ((item, result) for item, results in zip(items, found, strict=True) for result in results)

    def clips(self, workers: int = 1, failed: Callable[[Item, Failure], object] | None = None) -> Iterator[Clip]:
        """The clips of all items; `failed` is as for `read_clips`."""
        with self.reading(self.scan.items, workers) as results:
            for item, result in results:
                if isinstance(result, Clip):
                    yield result
                elif failed is None:
                    raise ValueError(name_item(item, result))
                else:
                    failed(item, result)


def open_source(
    src: str | Path,
    dataset: str,
    *,
    layout: str | Path | Layout | None = None,
    min_score: float = 0.0,
    axes: str = "",
    unit: Unit | None = None,
    up: Up | None = None,
    bodies: int | None = None,
    per_person: bool = False,
    by_folder: bool = False,
) -> Source:
    """Lists what a source holds, by the reader called `dataset`, without reading its clips.

    src: the folder (or file) that holds it. layout: where the reader leaves a choice. min_score: joints of this
    confidence or less are missing, where the source gives confidences. axes: what the axes of arrays are, such as
    "TMVC" (frames, people, joints, coordinates). unit, up, bodies, per_person: see `Shaping`. by_folder: see
    `label_by_folder`. Raises ValueError where the reader cannot do as it is told, or finds nothing of its kind.
    """
    found, src = reader(dataset), Path(src)
    if layout is not None and not isinstance(layout, Layout):
        layout = find_layout(layout)
    if not math.isfinite(min_score):
        raise ValueError(f"min_score must be a number, not {min_score}")
    if min_score and not found.scores:
        raise ValueError(f"{dataset} gives no confidences, so min_score would have no effect")
    if axes and not found.axes:
        raise ValueError(f"{dataset} knows its arrays' axes, or has none, so axes would have no effect")
    if (unit or up) and not found.is_format:
        raise ValueError(f"{dataset} comes in {found.units}, y up: unit and up are for recordings of your own")
    shaping = Shaping(unit, up, bodies, per_person, checked=found.is_format)
    if layout is not None:
        shaping.check(found.choose_layout(layout))  # complains before a long listing
    scan = list_items(found, src)
    if by_folder:
        scan = label_by_folder(scan, src)
    with naming_file(src):
        chosen = found.choose_layout(layout or scan.layout)
    shaping.check(chosen)
    return Source(src, found, scan, chosen, min_score, axes, shaping)


def list_items(chosen: Reader, src: Path) -> Scan:
    """What a reader finds in a source; whatever goes wrong is a ValueError, or an OSError, that names a file."""
    try:
        return chosen.scan(src)
    except OSError:
        raise
    except ValueError as error:
        said = str(error)
    except Exception as error:  # damaged files have libraries raise errors of any type
        said = f"{src} cannot be read ({type(error).__name__}: {error})"
    raise ValueError(shorten(said if str(src) in said else f"{src}: {said}"))


def read_clips(
    src: str | Path,
    dataset: str,
    *,
    layout: str | Path | Layout | None = None,
    min_score: float = 0.0,
    axes: str = "",
    unit: Unit | None = None,
    up: Up | None = None,
    bodies: int | None = None,
    per_person: bool = False,
    workers: int = 1,
    failed: Callable[[Item, Failure], object] | None = None,
) -> Iterator[Clip]:
    """The clips of a source, cleaned, as a store would hold them; nothing is written.

    src, dataset and the settings of reading: as for `open_source`. workers: processes that read. failed: called with
    the item and the reason where there is no clip; without it, the first such failure is raised.

    Raises ValueError at once where `open_source` does.
    """
    source = open_source(
        src,
        dataset,
        layout=layout,
        min_score=min_score,
        axes=axes,
        unit=unit,
        up=up,
        bodies=bodies,
        per_person=per_person,
    )
    return source.clips(workers, failed)


def name_item(item: Item, failure: Failure) -> str:
    """Why an item, or one of its clips, could not be read, beginning with its path."""
    known = str(item.path) in failure.reason
    return shorten(failure.reason if known else f"{item.path}: {failure.reason}")

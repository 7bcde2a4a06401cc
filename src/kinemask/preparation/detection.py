"""Which reader a source is for, found out by looking: every reader that its files' endings allow tries some of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from kinemask.errors import shorten
from kinemask.preparation.folders import class_folders, label_by_folder
from kinemask.preparation.reading import Source, name_item, open_source
from kinemask.readers import NAMES, Failure, Item, reader, registered
from kinemask.readers.own import LIST
from kinemask.skeleton import Layout, layouts

_JSON = ("nw-ucla", "mediapipe", "openpose", "coco17", "kinetics-skeleton")
_PICKLE = ("pyskl", "st-gcn")
_OF_SUFFIX = {
    **dict.fromkeys((".json", ".jsonl", ".ndjson"), _JSON),
    **dict.fromkeys((".csv", ".tsv"), ("mediapipe", "arrays")),
    **dict.fromkeys((".npy", ".npz"), ("st-gcn", "arrays")),
    **dict.fromkeys((".pkl", ".pickle"), _PICKLE),
    ".bvh": ("bvh",),
    ".skeleton": ("ntu60", "ntu120", "synthetic"),
    ".mat": ("utd-mhad", "penn-action"),
    ".txt": ("sbu", "pku-mmd-1", "pku-mmd-2"),
}
_INCLUDES = {  # a reader -> those that read its files too, and are not meant
    "ntu60": ("ntu120", "synthetic"),
    "ntu120": ("synthetic",),
    "mediapipe": ("arrays",),
    "st-gcn": ("arrays",),
    "nw-ucla": ("mediapipe", "openpose", "coco17", "kinetics-skeleton"),
    "kinetics-skeleton": ("coco17", "openpose", "mediapipe"),
}
_OPENPOSE = "*_keypoints.json"
_LOOKED_AT = 3  # files, spread over the source
_MOST_LISTED = 20_000  # names of files that are looked at


@dataclass(frozen=True, eq=False)
class Detected:
    """A source with the reader that reads it. labelled: where its labels come from, "" where it has none.

    str() says what it was taken for.
    """

    source: Source
    labelled: str
    given: bool

    def __str__(self) -> str:
        found, of = self.source, self.source.layout
        title = found.reader.title.partition(":")[0].removeprefix("a ")
        how = "as told" if self.given else "found out by looking"
        endings = sorted({item.path.suffix.lower() for item in found.scan.items} - {""})
        files = f"{', '.join(endings[:3])}; " if endings else ""
        return f"{title} ({files}{found.reader.name}, {how}): {of.num_joints} joints in {of.dims}D ({of.name})"


def detect(
    src: str | Path,
    *,
    format: str | None = None,
    layout: str | Path | Layout | None = None,
    by_folder: bool | None = None,
    **options: Any,
) -> Detected:
    """The reader of a source, by name or by looking; and its labels: its own, or those of folders, one for each class.

    format: a reader's name. layout: where the reader leaves a choice. by_folder: whether folders are labels; None: if
    there are no others, and clips lie in two folders or more. options: of `open_source`.

    Raises ValueError where no reader reads it (with what each of them says), or where several do.
    """
    src = Path(src)
    if not src.exists():
        raise ValueError(f"{src} does not exist")
    if format is not None:
        return _labelled(_open(src, format, layout, options), by_folder, True)
    found, reasons = _try_readers(src, layout, options)
    if len(found) > 1:
        each = "; ".join(f"{name}: {', '.join(source.layout.name for source in found[name])}" for name in found)
        said = f"{src} may be of several formats ({shorten(each, 250)}); say which: --format {next(iter(found))}"
        raise ValueError(shorten(said))
    if not found:
        said = "; ".join(f"{name}: {shorten(reason, 80)}" for name, reason in list(reasons.items())[:4])
        why = f" ({said})" if said else ": it has no file of a known kind"
        raise ValueError(shorten(f"no reader takes {src}{why}"))
    (name, sources), *_ = found.items()
    if len(sources) > 1:
        known = ", ".join(source.layout.name for source in sources)
        raise ValueError(
            f"{src} is read by {name}, and its joints may be those of several layouts ({known}); say which: --layout"
            f" {sources[0].layout.name}"
        )
    return _labelled(sources[0], by_folder, False)


def _try_readers(
    src: Path, layout: str | Path | Layout | None, options: dict[str, Any]
) -> tuple[dict[str, list[Source]], dict[str, str]]:
    """Sources by the readers that read some of the files, one for each layout; and what the others say."""
    found: dict[str, list[Source]] = {}
    reasons: dict[str, str] = {}
    for name in _candidates(src):
        if any(name in _INCLUDES.get(taken, ()) for taken in found):
            continue
        try:
            found[name] = _try(src, name, layout, options)
        except (ValueError, OSError) as error:
            reasons[name] = str(error).removeprefix(f"{src}: ").replace(f"{src}/", "")
    if {"openpose", "coco17"} <= found.keys():  # each reads what the other's files hold
        del found["coco17" if src.match(_OPENPOSE) or any(src.rglob(_OPENPOSE)) else "openpose"]
    return found, reasons


def _candidates(src: Path) -> list[str]:
    """Names of the readers that files with these endings may be for; those of data sets first."""
    files = [src] if src.is_file() else islice(src.rglob("*"), _MOST_LISTED)
    endings = {path.suffix.lower() for path in files if path.name != LIST and not path.name.startswith(".")}
    names = [name for ending in endings for name in _OF_SUFFIX.get(ending, ())]
    return [*(name for name in NAMES if name in names), *registered()]


def _try(src: Path, name: str, layout: str | Path | Layout | None, options: dict[str, Any]) -> list[Source]:
    """The source by a reader, for each layout that it can be read in; ValueError with what the reader says."""
    if layout is not None:
        return [_open(src, name, layout, options)]
    chosen = reader(name)
    if chosen.layout is not None or name == "bvh":
        choices: Sequence[str | None] = (None, *chosen.other_layouts)
    else:
        choices = (None, *layouts())
    first: Exception | None = None
    sources: list[Source] = []
    for choice in choices:
        try:
            sources.append(_open(src, name, choice, options))
        except (ValueError, OSError) as error:
            first = error if first is None or "needs a layout" in str(first) else first
            continue
        if choice is None:
            break
    if not sources:
        assert first is not None
        raise first
    return _likeliest(sources)


def _open(src: Path, name: str, layout: str | Path | Layout | None, options: dict[str, Any]) -> Source:
    """A source whose files the reader could read, as far as it was tried; ValueError for another."""
    source = open_source(src, name, layout=layout, **options)
    items = source.scan.items
    chosen = items if len(items) <= _LOOKED_AT else [items[i * (len(items) - 1) // (_LOOKED_AT - 1)] for i in range(3)]
    failures = list(_failures(source, chosen))
    if len(failures) == len(chosen):
        raise ValueError(failures[0])
    return source


def _failures(source: Source, items: Sequence[Item]) -> Iterator[str]:
    for item in items:
        with source.reading([item]) as results:
            first = next((result for _, result in results), Failure("it holds no clip"))
        if isinstance(first, Failure):
            yield name_item(item, first)


def _likeliest(sources: list[Source]) -> list[Source]:
    """Of layouts that have as many joints, those in the plane: what is in the third place is then a confidence."""
    flat = [source for source in sources if source.layout.dims == 2]
    return flat or sources


def _labelled(source: Source, by_folder: bool | None, given: bool) -> Detected:
    has_labels = bool(source.scan.classes)
    folders = set(class_folders(source.scan.items, source.path)) - {""}
    listed = (source.path / LIST).is_file() or source.path.name == LIST
    if by_folder or (by_folder is None and not has_labels and not listed and len(folders) > 1):
        return Detected(replace(source, scan=label_by_folder(source.scan, source.path)), "its folders", given)
    if not has_labels:
        return Detected(source, "", given)
    return Detected(source, LIST if listed else "its files", given)

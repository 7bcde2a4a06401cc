"""From a data set's own files to a store: read, clean, split, write."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kinemask.errors import printable
from kinemask.preparation.completeness import what_lacks
from kinemask.preparation.doubts import Doubts
from kinemask.preparation.reading import Source, name_item, open_source
from kinemask.preparation.shaping import Unit, Up
from kinemask.preparation.splits import all_rules
from kinemask.progress import progress as show_progress
from kinemask.readers import Failure, Item, SplitRule, reader
from kinemask.skeleton import Layout
from kinemask.store.format import SPLIT, Clip
from kinemask.store.opening import Store, open_store
from kinemask.store.writer import StoreWriter

_LONGEST_NAME = 100
_SENTENCE = 4  # words of a line that is a remark, as the owners' lists of NTU RGB+D begin with, and no clip's name


@dataclass(frozen=True)
class Summary:
    """What `prepare` did: the store's path, counts, and warnings, each a sentence on what is not as expected.

    clips are stored; files were found; rejected files gave no clip, nor did the rejected_clips of files that
    hold several; excluded clips stood on the exclusion list; notes are remarks of the cleaning, such as a body
    dropped; doubts are sentences on what was stored, but may be wrong. rejected.csv names the last five.
    """

    dataset: str
    path: Path
    clips: int
    files: int
    rejected: int
    notes: int
    excluded: int
    seconds: float
    warnings: tuple[str, ...]
    rejected_clips: int = 0
    doubts: tuple[str, ...] = ()

    def __str__(self) -> str:
        """A line per warning and doubt; the counts are the last line."""
        left_out = ", ".join(
            (
                f"{_count(self.rejected, 'file')} rejected",
                *([f"{_count(self.rejected_clips, 'clip')} rejected"] if self.rejected_clips else []),
                f"{self.excluded:,} excluded",
                _count(self.notes, "cleaning note"),
            )
        )
        listed = self.rejected or self.rejected_clips or self.excluded or self.notes or self.doubts
        where = " (see rejected.csv)" if listed else ""
        read = f"{_count(self.clips, 'clip')} from {_count(self.files, 'file')}"
        counts = f"{self.dataset}: {read} in {self.seconds:.1f} s"
        said = [f"warning: {line}" for line in self.warnings]
        said += [f"doubt: {line} (kept; see rejected.csv)" for line in self.doubts]
        return "\n".join([*said, f"{counts}; {left_out}{where}"])


def prepare(
    dataset: str,
    src: str | Path,
    store: str | Path,
    *,
    layout: str | Path | Layout | None = None,
    exclude: str | Path | None = None,
    strict: bool = False,
    workers: int | None = None,
    dtype: str = "float32",
    overwrite: bool = False,
    split_rules: Sequence[str] = (),
    min_score: float = 0.0,
    axes: str = "",
    unit: Unit | None = None,
    up: Up | None = None,
    bodies: int | None = None,
    per_person: bool = False,
    by_folder: bool = False,
    name: str | None = None,
    progress: bool = True,
) -> Summary:
    """Reads a data set in its original file layout and writes it as a store.

    dataset: a reader's name. src: the folder (or file) that holds it. store: the folder to write.
    layout: where the reader leaves a choice. exclude: a text file of clips to leave out, one name a line.
    strict: stop at the first bad file; otherwise bad files go to rejected.csv. workers: processes that read
    (default: one per core). dtype: float32 or float16. split_rules: further splits, "NAME:COLUMN=a,b": clips
    whose COLUMN is a or b are for testing, all others for training. min_score: joints of this confidence or
    less are missing, where the source gives confidences. axes, unit, up, bodies, per_person, by_folder: as for
    `open_source`. name: what the data set is called in results (default: the reader's, or the store's folder's where
    the reader is of a file format); published numbers are found by it.

    Raises ValueError for bad arguments and, if strict, for a bad file; OSError where the store cannot be
    written. Then, as after Ctrl-C, nothing half-written remains and a store that was there is untouched.
    """
    start = time.monotonic()
    chosen = reader(dataset)
    workers = count_workers(workers)
    usual = Path(store).resolve().name if chosen.is_format else chosen.name
    meta = {"dataset": chosen.name, "name": usual if name is None else name}
    _check_name(meta["name"])
    listed = _read_names(Path(exclude)) if exclude is not None else frozenset()
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
        by_folder=by_folder,
    )
    writer = StoreWriter(Path(store), source.layout, dtype, overwrite)
    scan, rules = source.scan, all_rules(source, split_rules)
    skipped = {(item.path, item.name): name for item in scan.items if (name := _listed_name(item, listed))}
    items = [item for item in scan.items if (item.path, item.name) not in skipped]
    excluded = list(skipped.values())
    rejected, notes, done, last = Counter[str](), 0, 0, None
    doubts = Doubts(source)
    shown = show_progress(f"prepare {dataset}", scan.clips or len(items), shown=progress)
    with writer, source.reading(items, workers) as results, shown as report:
        for item, result in results:
            done += 1 if scan.clips or item is not last else 0
            last = item
            if isinstance(result, Clip) and result.name in listed:
                excluded.append(result.name)
            elif isinstance(failure := _add(writer, result, rules), Failure):
                if strict and not failure.by_rule:
                    raise ValueError(name_item(item, failure))
                kind, entry = ("clip", failure.name) if failure.name else ("file", _relative(item.path, source.path))
                rejected[kind] += 1
                place = f"{item.path}, clip {failure.name}: "
                writer.reject(kind, entry, failure.reason.removeprefix(place).removeprefix(f"{item.path}: "))
            elif isinstance(result, Clip):
                notes += len(result.notes)
                doubts.look(result)
            report(done)
        for entry in excluded:
            writer.reject("excluded", entry, "on the exclusion list")
        if not len(writer):
            raise ValueError(_nothing_left(source.path, writer.rejected))
        for entry, doubt in doubts.all():
            writer.reject("kept", entry, doubt)
        counts = {"rejected": rejected.total(), "excluded": len(excluded), "notes": notes}
        descriptions = {name: rule.description for name, rule in rules.items()}
        writer.finish(scan.classes, descriptions, meta | _meta(source, counts))
    written = open_store(store)
    warnings = [*scan.unlisted, *_warnings(source, written)]
    if min_score and written.scores is None:
        warnings.append(f"min_score {min_score:g} had no effect: no clip of {src} has confidences")
    names = {line for line in listed if len(line.split()) < _SENTENCE}
    if unknown := len(names - set(excluded)):
        warnings.append(f"{unknown:,} of the {len(names):,} names in {exclude} are not in this copy")
    return Summary(
        dataset=dataset,
        path=written.path,
        clips=len(written),
        files=len(scan.items),
        rejected=rejected["file"],
        notes=notes,
        excluded=len(excluded),
        seconds=time.monotonic() - start,
        warnings=tuple(warnings),
        rejected_clips=rejected["clip"],
        doubts=doubts.summary(),
    )


def _add(writer: StoreWriter, result: Clip | Failure, rules: Mapping[str, SplitRule]) -> Failure | None:
    """Writes a clip with its splits and notes; what hinders, if anything."""
    if isinstance(result, Failure):
        return result
    sides = {SPLIT + name: rule.side(result.fields) for name, rule in rules.items()}
    try:
        writer.add(replace(result, fields={**result.fields, **sides}))
    except ValueError as error:
        return Failure(str(error))
    for note in result.notes:
        writer.reject("body" if note.startswith("dropped body") else "note", result.name, note)
    return None


def _meta(source: Source, counts: Mapping[str, int]) -> dict[str, Any]:
    known, files = source.reader, len(source.scan.items)
    return {
        "title": known.title,
        "citation": known.citation,
        "units": known.units,
        "source": {"dataset": known.name, "files": files},
        "cleaning": {"min_score": source.min_score, "files": files, **counts},
    }


def _warnings(source: Source, store: Store) -> list[str]:
    counts = {name: (entry["train"], entry["test"]) for name, entry in store.meta["splits"].items()}
    expected, files = source.reader.expected, [item.path for item in source.scan.items]
    warnings = what_lacks(expected, files, len(store), counts) if expected else []
    for name, (train, test) in counts.items():
        if not (train and test) and not name.endswith("-val"):
            side = "train on" if test else "test" if train else "train on or test"
            warnings.append(f"split {name}: no clip to {side}")
    return warnings


def _check_name(name: str) -> None:
    if not name.strip() or not name.isprintable() or set(name) & set("/\\") or len(name) > _LONGEST_NAME:
        raise ValueError(
            f"the data set's name, {name[:_LONGEST_NAME]!r}, is empty, too long, or has slashes or control characters;"
            " give another (--name)"
        )


def count_workers(workers: int | None) -> int:
    if workers is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if workers < 1:
        raise ValueError(f"workers is {workers}; at least one process must read")
    return workers


def _read_names(path: Path) -> frozenset[str]:
    """Names on an exclusion list, one a line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read the exclusion list {path}: {error}") from None
    return frozenset(line.strip() for line in text.splitlines() if line.strip())


def _listed_name(item: Item, listed: frozenset[str]) -> str:
    """The item's name if it is on the list, with or without the file's ending; else ""."""
    return next((known for known in (item.name, item.path.name) if known in listed), "")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _relative(path: Path, src: Path) -> str:
    return printable(str(path.relative_to(src)) if path.is_relative_to(src) and path != src else path.name)


def _nothing_left(src: Path, rejected: Sequence[tuple[str, str, str]]) -> str:
    bad = [entry for entry in rejected if entry[0] in ("file", "clip")]
    first = f"; {_count(len(bad), bad[0][0])} rejected, the first, {bad[0][1]}: {bad[0][2]}" if bad else ""
    return f"no clip of {src} is left to store{first}"

"""From a data set's own files to a store: find, read, clean, split, write; and what a store holds."""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from kinemask.preparation.completeness import what_lacks
from kinemask.preparation.workers import Job, Results, reading
from kinemask.progress import progress as show_progress
from kinemask.readers import Catalogue, Failure, Reader, ReadOptions, SplitRule, reader
from kinemask.skeleton import Layout
from kinemask.skeleton import layout as find_layout
from kinemask.store.format import EVERY, SPLIT, Clip
from kinemask.store.opening import Store, open_store
from kinemask.store.writer import StoreWriter

_LONGEST_NAME = 100


@dataclass(frozen=True)
class Summary:
    """What `prepare` did: the store's path, counts, and warnings, each a sentence on what is not as expected.

    clips are stored; files were found; rejected files gave no clip, nor did the rejected_clips of files that
    hold several; excluded clips stood on the exclusion list; notes are remarks of the cleaning, such as a body
    dropped. rejected.csv names the last four.
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

    def __str__(self) -> str:
        """A line per warning; the counts are the last line."""
        left_out = ", ".join(
            (
                f"{_count(self.rejected, 'file')} rejected",
                *([f"{_count(self.rejected_clips, 'clip')} rejected"] if self.rejected_clips else []),
                f"{self.excluded:,} excluded",
                _count(self.notes, "cleaning note"),
            )
        )
        listed = self.rejected or self.rejected_clips or self.excluded or self.notes
        where = " (see rejected.csv)" if listed else ""
        read = f"{_count(self.clips, 'clip')} from {_count(self.files, 'file')}"
        counts = f"{self.dataset}: {read} in {self.seconds:.1f} s"
        return "\n".join([*(f"warning: {line}" for line in self.warnings), f"{counts}; {left_out}{where}"])


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
    name: str | None = None,
    progress: bool = True,
) -> Summary:
    """Reads a data set in its owners' layout and writes it as a store.

    dataset: a reader's name. src: the folder (or file) that holds it. store: the folder to write.
    layout: where the reader leaves a choice. exclude: a text file of clips to leave out, one name a line.
    strict: stop at the first bad file; otherwise bad files go to rejected.csv. workers: processes that read
    (default: one per core). dtype: float32 or float16. split_rules: further splits, "NAME:COLUMN=a,b": clips
    whose COLUMN is a or b are for testing, all others for training. min_score: joints of this confidence or
    less are missing, where the source gives confidences. name: what the data set is called in results (default: the
    reader's, or the store's folder's where the reader is of a file format); published numbers are found by it.

    Raises ValueError for bad arguments and, if strict, for a bad file; OSError where the store cannot be
    written. Then, as after Ctrl-C, nothing half-written remains and a store that was there is untouched.
    """
    start = time.monotonic()
    source, src = reader(dataset), Path(src)
    workers = _count_workers(workers)
    if layout is not None and not isinstance(layout, Layout):
        layout = find_layout(layout)
    usual = Path(store).resolve().name if source.is_format else source.name
    meta = {"dataset": source.name, "name": usual if name is None else name}
    _check_name(meta["name"])
    if not math.isfinite(min_score):
        raise ValueError(f"min_score must be a number, not {min_score}")
    if min_score and not source.scores:
        raise ValueError(f"{dataset} gives no confidences, so min_score would have no effect")
    listed = _read_names(Path(exclude)) if exclude is not None else frozenset()
    if layout is not None:
        source.choose_layout(layout)
    catalogue = source.catalogue(src) if source.catalogue else None
    layout = source.choose_layout(layout or (catalogue and catalogue.layout))
    options = ReadOptions(layout=layout, min_score=min_score)
    writer = StoreWriter(Path(store), layout, dtype, overwrite)
    rules = _all_rules(source, catalogue, split_rules)
    files = list(catalogue.rows) if catalogue else source.find(src, options)
    jobs: list[Job] = [(path, catalogue.rows[path] if catalogue else None) for path in files]
    skipped = {path: name for path, row in jobs if (name := _listed_name(path, row and row.name, listed))}
    excluded = list(skipped.values())
    jobs = [job for job in jobs if job[0] not in skipped]
    rejected, notes = Counter[str](), 0
    counted = catalogue.clips if catalogue else None
    shown = show_progress(f"prepare {dataset}", len(jobs) if counted is None else counted, shown=progress)
    with writer, reading(source.read, options, jobs, workers) as results, shown as report:
        for done, path, result in _one_by_one(jobs, results, by_clip=counted is not None):
            if isinstance(result, Clip) and result.name in listed:
                excluded.append(result.name)
            elif isinstance(failure := _add(writer, result, rules), Failure):
                if strict and not failure.by_rule:
                    raise ValueError(_name_file(path, failure.reason))
                kind, entry = ("clip", failure.name) if failure.name else ("file", _relative(path, src))
                rejected[kind] += 1
                reason = failure.reason.removeprefix(f"{path}, clip {failure.name}: ").removeprefix(f"{path}: ")
                writer.reject(kind, entry, reason)
            elif isinstance(result, Clip):
                notes += len(result.notes)
            report(done)
        for entry in excluded:
            writer.reject("excluded", entry, "on the exclusion list")
        if not len(writer):
            raise ValueError(_nothing_left(src, writer.rejected))
        counts = {"files": len(files), "rejected": rejected.total(), "excluded": len(excluded), "notes": notes}
        classes = catalogue.classes if catalogue else source.classes
        descriptions = {name: rule.description for name, rule in rules.items()}
        writer.finish(classes, descriptions, meta | _meta(source, options, counts))
    written = open_store(store)
    warnings = _warnings(source, written, files)
    if min_score and written.scores is None:
        warnings.append(f"min_score {min_score:g} had no effect: no clip of {src} has confidences")
    if unknown := len(listed) - len(excluded):
        warnings.append(f"{unknown:,} of the {len(listed):,} names in {exclude} are not in this copy")
    seconds = time.monotonic() - start
    return Summary(
        dataset,
        written.path,
        len(written),
        len(files),
        rejected["file"],
        notes,
        len(excluded),
        seconds,
        tuple(warnings),
        rejected["clip"],
    )


def info(store: Store | str | Path) -> dict[str, Any]:
    """What a store holds, as a dict that JSON can carry; also checks that its arrays are as written.

    name (as results call it), dataset, version, layout, units, dtype, confidences (whether the store keeps
    them), clips, classes, unlabelled, subjects (counts), bodies (histogram), frames {min, median, max},
    missing_fraction (of the joints of all bodies' frames), splits {name: {train, test,
    test_duplicates_of_train}}, the last the test clips that are exact copies of a training clip.
    """
    if isinstance(store, Store):
        store.verify()
    else:
        store = open_store(store, verify=True)
    splits = {}
    for name in store.splits:
        train, test = store.split(name)
        copies = int(store.duplicates(train, test).sum())
        splits[name] = {"train": len(train), "test": len(test), "test_duplicates_of_train": copies}
    subjects = set(store.fields["subject"].tolist()) - {""} if "subject" in store.fields else set()
    bodies = Counter(store.bodies.tolist())
    return {
        "name": store.name,
        "dataset": store.meta.get("dataset", ""),
        "version": store.meta["version"],
        "layout": store.layout.name,
        "units": store.meta.get("units", ""),
        "dtype": store.meta["dtype"],
        "confidences": store.scores is not None,
        "clips": len(store),
        "classes": len(store.classes),
        "unlabelled": int((store.labels < 0).sum()),
        "subjects": len(subjects),
        "bodies": {str(count): bodies[count] for count in sorted(bodies)},
        "frames": {
            "min": int(store.lengths.min()),
            "median": float(np.median(store.lengths)),
            "max": int(store.lengths.max()),
        },
        "missing_fraction": _missing_fraction(store.frames),
        "splits": splits,
    }


def _one_by_one(
    jobs: Sequence[Job], results: Iterable[Results], by_clip: bool
) -> Iterator[tuple[int, Path, Clip | Failure]]:
    """Each clip or failure with its file, and how many files (or clips) are done with it."""
    clips = 0
    for files, ((path, _), found) in enumerate(zip(jobs, results, strict=True), 1):
        for result in found:
            clips += 1
            yield clips if by_clip else files, path, result


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


def _meta(source: Reader, options: ReadOptions, counts: Mapping[str, int]) -> dict[str, Any]:
    return {
        "title": source.title,
        "citation": source.citation,
        "units": source.units,
        "source": {"dataset": source.name, "files": counts["files"]},
        "cleaning": {"min_score": options.min_score, **counts},
    }


def _warnings(source: Reader, store: Store, files: Sequence[Path]) -> list[str]:
    counts = {name: (entry["train"], entry["test"]) for name, entry in store.meta["splits"].items()}
    warnings = what_lacks(source.expected, files, len(store), counts)
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


def _count_workers(workers: int | None) -> int:
    if workers is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if workers < 1:
        raise ValueError(f"workers is {workers}; at least one process must read")
    return workers


def _all_rules(source: Reader, catalogue: Catalogue | None, texts: Sequence[str]) -> dict[str, SplitRule]:
    """The reader's split rules and the caller's; ValueError where two splits have one name, or one a taken name."""
    rules = dict(source.splits)
    columns = {key for row in catalogue.rows.values() for key in row.fields} if catalogue else set()
    for text in texts:
        name, rule = _parse_rule(text)
        if name in rules or SPLIT + name in columns:
            raise ValueError(f"split rule {text!r}: there is a split {name} already; choose another name")
        rules[name] = rule
    if EVERY in rules or SPLIT + EVERY in columns:
        raise ValueError(f"a split may not be called {EVERY!r}, which stands for every clip; choose another name")
    return rules


def _parse_rule(text: str) -> tuple[str, SplitRule]:
    """A split rule "NAME:COLUMN=a,b" as (name, rule)."""
    name, _, condition = text.partition(":")
    column, _, listed = condition.partition("=")
    values = [value.strip() for value in listed.split(",") if value.strip()]
    name, column = name.strip(), column.strip()
    if not (name and column and values):
        raise ValueError(f"split rule {text!r} should read NAME:COLUMN=a,b: test where COLUMN is a or b")

    def side(fields: Mapping[str, str]) -> Any:
        if column not in fields:
            raise ValueError(f"split rule {text!r}: the clips have no column {column!r}, only {', '.join(fields)}")
        return "test" if fields[column] in values else "train"

    return name, SplitRule(f"test where {column} is {', '.join(values)}; train on the rest", side)


def _read_names(path: Path) -> frozenset[str]:
    """Names on an exclusion list, one a line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read the exclusion list {path}: {error}") from None
    return frozenset(line.strip() for line in text.splitlines() if line.strip())


def _listed_name(path: Path, name: str | None, listed: frozenset[str]) -> str:
    """The clip's name if it is on the list, with or without the file's ending; else ""."""
    return next((known for known in (name or path.stem, path.name) if known in listed), "")


def _name_file(path: Path, reason: str) -> str:
    return reason if str(path) in reason else f"{path}: {reason}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _relative(path: Path, src: Path) -> str:
    return str(path.relative_to(src)) if path.is_relative_to(src) and path != src else path.name


def _nothing_left(src: Path, rejected: Sequence[tuple[str, str, str]]) -> str:
    bad = [entry for entry in rejected if entry[0] in ("file", "clip")]
    first = f"; {_count(len(bad), bad[0][0])} rejected, the first, {bad[0][1]}: {bad[0][2]}" if bad else ""
    return f"no clip of {src} is left to store{first}"


def _missing_fraction(frames: np.ndarray, rows: int = 1 << 16) -> float:
    """Share of joints (rows, V, C) that are missing, read in blocks of rows."""
    blocks = (frames[i : i + rows, :, 0] for i in range(0, len(frames), rows))
    return sum(int(np.isnan(block).sum()) for block in blocks) / (frames.shape[0] * frames.shape[1])

"""What an evaluation found, as a typed value: in memory, and in a file of its run's `evaluations`."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from torch import Tensor

from kinemask.errors import shorten
from kinemask.files import sweep, write_atomically
from kinemask.plain_file import JSON_BYTES, check_plain
from kinemask.runs.measures import Measured, confusion
from kinemask.windows.settings import Align

FORMAT = 2
SCORES_BYTES = 1 << 29  # of an evaluation's arrays: a million clips of 120 classes


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Accuracy (percent) at growing levels of a corruption; the first level is the clean clips."""

    title: str
    levels: tuple[float, ...]
    accuracy: tuple[float, ...]

    def __post_init__(self):
        if len(self.levels) != len(self.accuracy):
            raise ValueError(f"{len(self.levels)} levels, but {len(self.accuracy)} values of accuracy")


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What something scored on the test clips: measures and curves by name (`measures.MEASURES`).

    align: how clips were turned for a baseline that has no encoder (`SamplingSettings.align`).
    """

    measures: dict[str, Measured]
    curves: dict[str, Curve] = field(default_factory=dict)
    align: Align | None = None

    def __post_init__(self):
        if "accuracy" not in self.measures:
            raise ValueError("measures lack accuracy")

    @property
    def accuracy(self) -> float:
        """Top-1 accuracy on all test clips, percent."""
        return self.measures["accuracy"].value


@dataclass(frozen=True, kw_only=True)
class Source:
    """A store that something was trained on, by the data set's name and the store's identity."""

    dataset: str
    sha256: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """How an encoder came about: its method, the run's settings (config.yaml), what it was trained on, for how long.

    pretraining: what a fine-tuned encoder was before.
    """

    method: str
    settings: dict[str, Any]
    sources: list[Source]
    split: str
    steps: int = 0
    epochs: float = 0.0
    pretraining: Trained | None = None

    @classmethod
    def of(cls, record: dict[str, Any]) -> Trained:
        """From an encoder file's record, as plain values; ValueError for another one."""
        try:
            return msgspec.convert(record, cls)
        except msgspec.ValidationError as error:
            raise ValueError(f"the encoder's record of its training: {error}") from None

    @property
    def datasets(self) -> list[str]:
        """Names of the data sets it was trained on."""
        return [source.dataset for source in self.sources]

    @property
    def stream(self) -> str:
        """joint, motion or bone."""
        return self.settings["sampling"]["stream"]


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """A move to another layout: where from, joints matched by name, joints that start afresh."""

    layout: str
    matched: list[str]
    new: list[str]


@dataclass(frozen=True, kw_only=True)
class Member:
    """A member of an ensemble: the run's folder name, its result's hash and accuracy, its share of the scores."""

    run: str
    hash: str
    seed: int
    weight: float
    method: str
    stream: str
    accuracy: Measured


@dataclass(frozen=True, kw_only=True)
class Key:
    """Everything that decides a result's numbers; two results of one key are one.

    data: the data set's name. settings: the protocol's own; sampling: how windows were cut. encoder: the file, without
    ending, in its run's folder, and its SHA-256; None where it started from random weights, as `architecture` says.
    files: SHA-256 of the files that settings name.
    """

    protocol: str
    data: str
    split: str
    seed: int
    settings: dict[str, Any]
    sampling: dict[str, Any]
    encoder: str | None
    encoder_sha256: str | None
    architecture: dict[str, Any]
    store_sha256: dict[str, str]
    baselines_asked: bool
    precision: str
    numerics: int
    files: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """The key alone."""
        return Key(**self.fields())

    def fields(self) -> dict[str, Any]:
        """The key's fields by name."""
        return {f.name: getattr(self, f.name) for f in fields(Key)}

    @property
    def hash(self) -> str:
        """Eight hexadecimal digits that name the result's file."""
        return hash8(asdict(self.key))

    @property
    def stem(self) -> str:
        """PROTOCOL-DATA-SPLIT-HASH8."""
        return "-".join(name.replace("/", "_") for name in (self.protocol, self.data, self.split, self.hash))


@dataclass(frozen=True, kw_only=True)
class Result(Key, Scored):
    """A protocol's result for one seed.

    measures, curves: of the encoder under test, at the last epoch; best_epoch: the highest test accuracy over epochs,
    which selects on the test set. baselines: by name (`measures.BASELINES`), scored on the same clips. per_class:
    accuracy of each class that has test clips. trained: how the encoder came about. labels: training clips whose
    labels were used, where a protocol draws them. weights: the folder of the fine-tuned run. seconds: of this seed's
    own computation. dims: coordinates of a joint, 2 or 3. path: the file that it was read from or written to.
    """

    test_clips: int
    test_clips_unseen: int
    classes: list[str]
    per_class: dict[str, float]
    baselines: dict[str, Scored]
    trained: Trained
    version: str
    seconds: float
    best_epoch: float | None = None
    training_clips: int | None = None
    labels: list[str] | None = None
    transfer: Transfer | None = None
    members: list[Member] = field(default_factory=list)
    weights: str | None = None
    dims: int | None = None
    format: int = FORMAT
    path: str = ""

    @property
    def unseen(self) -> float | None:
        """Top-1 accuracy on the test clips that are no exact copies of training clips, percent."""
        return self.measures["accuracy"].unseen

    @property
    def copies(self) -> bool:
        """Whether some test clips are exact copies of training clips."""
        return self.test_clips_unseen < self.test_clips

    @property
    def scratch(self) -> bool:
        """Whether it started from random weights."""
        return self.encoder_sha256 is None

    @property
    def scores_path(self) -> Path:
        """The arrays beside the result: scores (N, classes), labels, names, unseen (N,), confusion."""
        return scores_path(Path(self.path))

    def scores(self) -> dict[str, np.ndarray]:
        """These arrays; raises ValueError where the file is absent or damaged."""
        return read_scores(self.scores_path)


class Results(list[Result]):
    """Results of one protocol, a seed each. Prints as a table; `to_frame()` is a pandas DataFrame, a row per seed."""

    def __str__(self) -> str:
        from kinemask.runs.text import table

        return table(self)

    def _repr_html_(self) -> str:
        from kinemask.runs.text import html_table

        return html_table(self)

    def to_frame(self) -> Any:
        """A DataFrame: what decides each result, its measures and its baselines. Needs pandas (extra `tables`)."""
        try:
            import pandas
        except ImportError:
            raise ValueError("to_frame needs pandas: pip install 'kinemask[tables]'") from None
        return pandas.DataFrame([_row(result) for result in self])


def _row(result: Result) -> dict[str, Any]:
    row: dict[str, Any] = {k: getattr(result, k) for k in ("protocol", "data", "split", "seed", "encoder")}
    row |= {"method": result.trained.method, "best_epoch": result.best_epoch, "seconds": result.seconds}
    for prefix, scored in (("", result), *((f"{name}.", b) for name, b in result.baselines.items())):
        for name, measured in scored.measures.items():
            row[f"{prefix}{name}"] = measured.value
            if measured.unseen is not None:
                row[f"{prefix}{name}.unseen"] = measured.unseen
    return row | {"path": result.path}


def hash8(settings: dict[str, Any]) -> str:
    """Eight hexadecimal digits of a hash of plain settings."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]


def result_path(run: Path, key: Key) -> Path:
    """Where a run keeps the result of a key."""
    return run / "evaluations" / f"{key.stem}.json"


def scores_path(path: Path) -> Path:
    return path.with_name(f"{path.stem}-scores.npz")


def write_result(run: Path, result: Result, scores: Tensor, labels: Tensor, names: list[str], unseen: Tensor) -> Result:
    """Write a result into a run's `evaluations`, and beside it what it was computed from; returns it with its path.

    scores (N, classes); of the N test clips: labels, names, and unseen (bool: no copy of a training clip).
    """
    path = result_path(run, result)
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent)

    def save_scores(partial: Path) -> None:
        with partial.open("wb") as f:
            arrays = {"scores": scores.numpy(), "labels": labels.numpy(), "names": np.array(names)}
            arrays |= {"confusion": confusion(scores, labels), "unseen": unseen.numpy()}
            np.savez_compressed(f, **arrays)  # type: ignore[arg-type]

    written = asdict(result)
    del written["path"]
    text = json.dumps(written, indent=1, allow_nan=False) + "\n"  # before any file: no scores without their result
    write_atomically(scores_path(path), save_scores)
    write_atomically(path, lambda p: p.write_text(text))
    return replace(result, path=str(path))


def read_result(path: Path) -> Result:
    """A result from its file; raises ValueError naming the file, and the field that is wrong or missing."""
    if (size := path.stat().st_size) > JSON_BYTES:
        raise ValueError(f"{path} is damaged: {size:,} bytes, at most {JSON_BYTES:,} are read")
    try:
        content = msgspec.json.decode(path.read_bytes())
        check_plain(content, "the JSON")
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise ValueError(shorten(f"{path} is damaged: {error}")) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path} is no result of this version of `kinemask evaluate`; move it away and evaluate again")
    try:
        result = msgspec.convert(content | {"path": str(path)}, Result)
    except (msgspec.ValidationError, OverflowError) as error:
        raise ValueError(shorten(f"{path}: {error}")) from None
    if unknown := next(_unknown(content, asdict(result)), ""):
        raise ValueError(shorten(f"{path}: unknown field `{unknown}`"))
    return result


def _unknown(given: Any, known: Any, before: str = "") -> Iterator[str]:
    """Dotted names of what nested plain values have and a result made from them has not."""
    if isinstance(given, dict):
        for name, value in given.items():
            if name in known:
                yield from _unknown(value, known[name], f"{before}{name}.")
            else:
                yield before + name
    elif isinstance(given, list):
        for number, (value, kept) in enumerate(zip(given, known, strict=True)):
            yield from _unknown(value, kept, f"{before}{number}.")


def read_results(run: Path) -> Results:
    """Every result of a run, in the order of its files' names."""
    return Results(read_result(path) for path in sorted((run / "evaluations").glob("*.json")))


def find_result(run: Path, key: Key) -> Result | None:
    """The run's result of exactly this key, if it has one with its scores."""
    path = result_path(run, key)
    if not (path.is_file() and scores_path(path).is_file()):
        return None
    found = read_result(path)
    return found if same_key(found, key) else None


def same_key(result: Result, key: Key) -> bool:
    """Whether a result read from a file is of a key in memory, where lists may be tuples."""
    return asdict(result.key) == json.loads(json.dumps(asdict(key)))


def read_scores(path: Path) -> dict[str, np.ndarray]:
    """scores (N, classes), labels, names and unseen (N,) of a result; ValueError where they are absent or damaged."""
    if not path.is_file():
        raise ValueError(f"the scores of this evaluation, {path}, are absent")
    try:
        _check_size(path)
        with np.load(path, allow_pickle=False) as arrays:
            found = dict(arrays)
    except Exception as error:  # zip, zlib and numpy each have errors of their own for damaged files
        raise ValueError(shorten(f"the scores of this evaluation, {path}, are damaged: {error}")) from None
    if not {"scores", "labels", "names", "unseen"} <= found.keys():
        raise ValueError(f"the scores of this evaluation, {path}, lack scores, labels, names or unseen")
    kinds = {"scores": ("f", 2), "labels": ("i", 1), "names": ("U", 1), "unseen": ("b", 1)}
    clips = np.shape(found["scores"])[:1]
    for name, (kind, axes) in kinds.items():
        array = np.asarray(found[name])  # a part of the file that is no array is bytes
        if array.dtype.kind != kind or array.ndim != axes or array.shape[:1] != clips:
            held = shorten(f"{array.dtype} {array.shape}", 100)
            raise ValueError(f"the scores of this evaluation, {path}, are damaged: {name} is {held}")
    return found


def _check_size(path: Path) -> None:
    """ValueError where the arrays of an .npz, unpacked, take more than any evaluation's."""
    with zipfile.ZipFile(path) as file:
        size = sum(info.file_size for info in file.infolist())
    if size > SCORES_BYTES:
        raise ValueError(f"{size:,} bytes, at most {SCORES_BYTES:,} are read")


def group_seeds(results: Iterable[Result]) -> list[Results]:
    """Results that differ in their seed alone, together, seeds ascending."""
    groups: dict[str, Results] = {}
    for result in sorted(results, key=lambda r: r.seed):
        shared = asdict(result.key) | {"seed": None}
        groups.setdefault(json.dumps(shared, sort_keys=True), Results()).append(result)
    return list(groups.values())

"""PYSKL's pickles: FineGym, Diving48, NTU RGB+D (2D and 3D), UCF101, HMDB51, Kinetics.

Format: PYSKL, tools/data/README.md. One pickle of `split`, lists of names, and `annotations`, a dict per clip. Pickles
as MMAction2 had them before hold the bare list of annotations, a pickle for each part: NAME_train, NAME_val, NAME_test.
Those of Kinetics have their keypoints in separate files (`raw_file`), to lie anywhere below the pickle's folder:
skeletons of unknown people, tracked here; boxes below the confidence that PYSKL's settings ask, 0.5, are left out.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from kinemask.readers.base import Failure, Item, Reader, ReadOptions, Scan
from kinemask.readers.cleaning import mark_missing
from kinemask.readers.detections import Detections, followed
from kinemask.readers.files import as_numbers, brief, find_files, name_file
from kinemask.readers.ntu import name_fields
from kinemask.readers.own import UNITS, make_clip
from kinemask.readers.pickle_file import PickledArray, read_pickle
from kinemask.skeleton import Layout, layout
from kinemask.store.format import SPLIT, Clip

LAYOUTS: dict[tuple[int, ...], str] = {(17, 2): "coco17", (25, 3): "ntu25"}  # by joints and channels
BOX_SCORE = 0.5
_TALLEST = 1e6  # pixels of an image
_KPFILES = "kpfiles"
_MOST_CLASSES = 100_000
_LONGEST_NAME = 500
_PART = re.compile(r".*?_?(?P<part>train|val|test)")
_LIST = re.compile(r"(?:(?P<name>.+)_)?(?P<part>train|val|test)(?P<number>\d*)")


@dataclass(frozen=True)
class _Content:
    """What a pickle holds: its annotations, and their sides in the splits, both by the clips' names.

    unlisted: sentences on what its lists name in vain.
    """

    annotations: dict[str, dict[str, Any]]
    sides: dict[str, dict[str, str]]
    unlisted: tuple[str, ...]


def scan(src: Path) -> Scan:
    """The one pickle of a source; classes are the labels' numbers, since the pickles do not name them."""
    found = find_files(src, "*.pkl", "pickle *.pkl")
    paths = [path for path in found if _KPFILES not in path.relative_to(src).parts]
    parts = {match["part"]: path for path in paths if (match := _PART.fullmatch(path.stem))}
    if len(paths) > 1 and (len(parts) < len(paths) or not all(_is_list(path) for path in paths)):
        raise ValueError(f"{src} holds {len(paths)} pickles ({', '.join(p.name for p in paths[:5])}…); name one file")
    contents = _join(parts) if len(paths) > 1 else {paths[0]: _read_content(paths[0])}
    notes = [note for content in contents.values() for note in content.annotations.values()]
    labels = [_label(note) for note in notes]
    classes = tuple(map(str, range(1 + max((label for label in labels if label is not None), default=-1))))
    items = [Item(path, path.stem, content=content) for path, content in contents.items()]
    sides = [sides for content in contents.values() for sides in content.sides.values()]
    splits = frozenset(key.removeprefix(SPLIT) for fields in sides for key in fields)
    known = next(filter(None, map(_find_layout, contents.values())), None)
    unlisted = tuple(line for content in contents.values() for line in content.unlisted)
    return Scan(items, classes, known, len(notes), splits, unlisted)


def read(item: Item, options: ReadOptions) -> Iterator[Clip | Failure]:
    """The clips (M, T, V, C) of a pickle, with the splits of its lists; 2D is in half image heights."""
    path, content = item.path, item.content
    given = READER.choose_layout(options.layout or _find_layout(content))
    apart = _Apart(path)
    for name, note in sorted(content.annotations.items(), key=lambda item: _raw_file(item[1])):
        clip = Item(path, name, _label(note), {**name_fields(name), **content.sides.get(name, {})})
        try:
            yield _read_clip(clip, note, given, apart, options.min_score)
        except ValueError as error:
            yield Failure.of(name_file(Path(f"{path}, clip {name}"), error), name)


def _read_clip(item: Item, note: dict[str, Any], layout: Layout, apart: _Apart, min_score: float) -> Clip:
    frames = _whole(note["total_frames"]) if "total_frames" in note else _count_frames(note)
    if (item.label is None and note.get("label") is not None) or not isinstance(frames, int) or frames < 1:
        told = f"label {brief(note.get('label'))} and total_frames {brief(note.get('total_frames'))}"
        raise ValueError(f"expected a label from 0 (or none) and total_frames from 1, found {told}")
    if "keypoint" not in note and _raw_file(note):
        found = apart.find(item.name, note, layout, frames)
        return followed(found, item, layout, min_score, _height(note, layout), mend=False)
    data = _load(note, "keypoint")
    score = _load(note, "keypoint_score") if note.get("keypoint_score") is not None else None
    if score is None and layout.dims == 2 and data.shape[-2:] == (layout.num_joints, 3):
        data, score = data[..., :2], data[..., 2]
    if data.ndim != 4 or data.shape[1:] != (frames, layout.num_joints, layout.dims) or not data.size:
        shape = f"(bodies, {frames}, {layout.num_joints}, {layout.dims})"
        raise ValueError(f"keypoint should have the shape {shape} for layout {layout.name}, found {data.shape}")
    data = mark_missing(data)
    if score is not None:
        score = score[..., 0] if score.shape == (*data.shape[:3], 1) else score
        if score.shape != data.shape[:3]:
            raise ValueError(f"keypoint_score should have the shape {data.shape[:3]}, found {score.shape}")
        data[~(score > min_score)] = np.nan
    return make_clip(item, data, score, layout, _height(note, layout))


class _Apart:
    """The files beside a pickle that hold the keypoints of its clips (Kinetics), one of them open at a time."""

    def __init__(self, path: Path) -> None:
        self.path, self.places, self.name, self.content = path, None, "", {}

    def find(self, clip: str, note: dict[str, Any], layout: Layout, frames: int) -> Detections:
        """The skeletons of a clip; their frames count from 1 in the pickle."""
        name = _raw_file(note)
        if self.places is None:
            self.places = {p.name: p for p in self.path.parent.rglob("*.pkl") if p != self.path}
        if name not in self.places:
            raise ValueError(f"its keypoints are in {name}, which is not below {self.path.parent}")
        if name != self.name:
            content = read_pickle(self.places[name])
            _check_size(self.places[name], content.values() if isinstance(content, dict) else ())
            self.name, self.content = name, content
        entry = self.content.get(clip) if isinstance(self.content, dict) else None
        if not isinstance(entry, dict):
            raise ValueError(f"{self.places[name]} has no entry for it")
        joints, inds = _load(entry, "keypoint"), _load(note, "frame_inds")
        box = _load(note, "box_score") if "box_score" in note else np.ones(inds.shape)
        fit = joints.ndim == 3 and joints.shape[1:] == (layout.num_joints, 3) and layout.dims == 2
        if not fit or not inds.shape == box.shape == joints.shape[:1]:
            shapes = f"{joints.shape}, {inds.shape} and {box.shape}"
            raise ValueError(
                f"expected keypoints (skeletons, {layout.num_joints}, 3), frame_inds and box_score, found {shapes}"
            )
        if not ((inds >= 1) & (inds <= frames) & (inds % 1 == 0)).all() or (np.diff(inds) < 0).any():
            raise ValueError(f"frame_inds should ascend from 1 to {frames}")
        kept = box >= BOX_SCORE
        return Detections(joints[kept, :, :2], joints[kept, :, 2], inds[kept].astype(np.int64) - 1, frames)


def _is_list(path: Path) -> bool:
    return isinstance(read_pickle(path), list)


def _join(parts: dict[str, Path]) -> dict[Path, _Content]:
    """Pickles of bare lists, one for each part of the split `official`."""
    contents = {path: _read_content(path) for path in parts.values()}
    lists = {part: list(contents[path].annotations) for part, path in parts.items()}
    names = [name for found in lists.values() for name in found]
    if len(set(names)) < len(names):
        twice = next(name for at, name in enumerate(names) if name in names[:at])
        raise ValueError(f"{', '.join(path.name for path in contents)}: two annotations are called {twice}")
    sides, _ = _sides(next(iter(contents)), lists, dict.fromkeys(names))
    return {path: replace(content, sides=sides) for path, content in contents.items()}


def _read_content(path: Path) -> _Content:
    value = read_pickle(path)
    if isinstance(value, list):
        match = _PART.fullmatch(path.stem)  # one part of several, by itself
        names = [note.get("frame_dir") for note in value if isinstance(note, dict)]
        value = {"annotations": value, "split": {match["part"]: names} if match else {}}
    lists = value.get("split", {}) if isinstance(value, dict) else None
    notes = value.get("annotations") if isinstance(value, dict) else None
    if not isinstance(lists, dict) or not isinstance(notes, list | tuple):
        raise ValueError(
            f"{path}: expected a list of annotations, or a dict of split, a dict, and annotations, a list; found"
            f" {brief(value)}"
        )
    annotations: dict[str, dict[str, Any]] = {}
    for i, note in enumerate(notes):
        name = note.get("frame_dir") if isinstance(note, dict) else None
        if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
            raise ValueError(f"{path}: annotation {i} is no dict with a name in frame_dir; found {brief(note)}")
        if name in annotations:
            raise ValueError(f"{path}: annotation {i}: there is one called {name} already")
        annotations[name] = note
    _check_size(path, notes)
    return _Content(annotations, *_sides(path, lists, annotations))


def _check_size(path: Path, entries: Iterable[Any]) -> None:
    """Raise ValueError where entries name the same keypoints so often that a small file would fill a disk."""
    arrays = (entry.get("keypoint") for entry in entries if isinstance(entry, dict))
    size = sum(array.size for array in arrays if isinstance(array, PickledArray))
    if size > 3 * path.stat().st_size:
        raise ValueError(f"{path}: its clips would take {size:,} bytes, by naming the same keypoints again and again")


def _sides(
    path: Path, lists: dict[Any, Any], known: dict[str, Any]
) -> tuple[dict[str, dict[str, str]], tuple[str, ...]]:
    """Columns `split:NAME` of each clip: X_train and X_val or X_test are X; train and val or test, official;
    trainN and testN, foldN. Where there are both, val is the test part of NAME-val. Also what is in vain."""
    unlisted = []
    folds: dict[str, dict[str, list[str]]] = defaultdict(dict)
    for title, names in lists.items():
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{path}: split {brief(title)} should be a list of names, found {brief(names)}")
        match = _LIST.fullmatch(str(title))
        if match is None or (match["name"] and match["number"]):
            unlisted.append(f"{path}: the list {str(title)[:80]!r} is no train, val or test; it is left out")
            continue
        fold = match["name"] or (f"fold{match['number']}" if match["number"] else "official")
        folds[fold][match["part"]] = list(names)
    absent = {name for parts in folds.values() for names in parts.values() for name in names} - known.keys()
    if absent:
        unlisted.append(f"{path}: {len(absent):,} clips of its lists have no annotation: {min(absent)}, …")
    sides: dict[str, dict[str, str]] = defaultdict(dict)
    for fold, parts in folds.items():
        splits = {fold: "test", f"{fold}-val": "val"} if {"val", "test"} <= parts.keys() else {fold: "test"}
        for split, part in splits.items():
            tested = parts.get(part, parts.get("val", []))
            for side, names in (("train", parts.get("train", [])), ("test", tested)):
                for name in names:
                    if sides[name].setdefault(f"split:{split}", side) != side:
                        raise ValueError(f"{path}: clip {name} is for both training and testing in split {split}")
    return sides, tuple(unlisted)


def _find_layout(content: _Content) -> Layout | None:
    """The layout of the first keypoints that tell; those in files of their own are of coco17."""
    for note in content.annotations.values():
        array = note.get("keypoint")
        if isinstance(array, PickledArray) and array.shape[-2:] in LAYOUTS:
            return layout(LAYOUTS[array.shape[-2:]])
        if array is None and _raw_file(note):
            return layout("coco17")
    return None


def _whole(value: Any) -> Any:
    """A whole number that was written as a float, as an int; anything else as it is."""
    return int(value) if type(value) is float and value.is_integer() else value


def _count_frames(note: dict[str, Any]) -> int | None:
    array = note.get("keypoint")
    return array.shape[1] if isinstance(array, PickledArray) and len(array.shape) == 4 else None


def _label(note: dict[str, Any]) -> int | None:
    label = _whole(note.get("label"))
    return label if type(label) is int and 0 <= label < _MOST_CLASSES else None


def _raw_file(note: dict[str, Any]) -> str:
    """Name of the file that holds a clip's keypoints; "" where the pickle itself does."""
    path = note.get("raw_file")
    return re.split(r"[/\\]", path)[-1] if isinstance(path, str) else ""


def _height(note: dict[str, Any], layout: Layout) -> float | None:
    """Half of it is the unit of 2D clips; None where it is not told."""
    shape = note.get("img_shape")
    if layout.dims == 3 or shape is None:
        return None
    if isinstance(shape, PickledArray) and shape.shape in ((2,), (3,)):
        shape = shape.load().tolist()
    numbers = shape[:2] if isinstance(shape, tuple | list) and len(shape) in (2, 3) else ()  # 3: with the channels
    if not numbers or not all(type(n) in (int, float) and 0 < n < _TALLEST for n in numbers):
        raise ValueError(f"img_shape should be (height, width), found {brief(shape)}")
    return float(numbers[0])


def _load(note: dict[str, Any], key: str) -> np.ndarray:
    array = note.get(key)
    if not isinstance(array, PickledArray):
        raise ValueError(f"{key} should be a number array, found {brief(array)}")
    try:
        return as_numbers(array.load(), key)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


READER = Reader(
    name="pyskl",
    title="a pickle of PYSKL: FineGym, Diving48, NTU RGB+D, UCF101, HMDB51, Kinetics (2D, 17 joints, or 3D, 25)",
    citation="Duan, Wang, Chen, Lin: PYSKL: Towards Good Practices for Skeleton Action Recognition. ACM MM 2022",
    layout=None,
    scan=scan,
    read=read,
    units=UNITS,
    scores=True,
    is_format=True,
)

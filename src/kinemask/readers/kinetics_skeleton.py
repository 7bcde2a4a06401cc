"""Kinetics-Skeleton and recordings in its format: a JSON file per clip.

Format: ST-GCN, feeder/feeder_kinetics.py and tools/kinetics_gendata.py: `data`, a list of
`frame_index` (from 1) and `skeleton`, of everybody `pose`, x0, y0, x1, … as shares of the image's width and height (y
down), and `score`, of OpenPose's 18 joints; `label` and `label_index`. MMSkeleton's own (its
doc/CUSTOM_DATASET.md) is read too: `annotations` of `frame_index`, `person_id` or `id`, `keypoints`, with `info` and
`category_id`; its joints are pixels. A file NAME_label.json beside the folder NAME, of each clip's `label`,
`label_index`, tells them before the clips are read. Folders with train and val in their names are the split official.

Shares need the image's shape: image_width and image_height in `clips.csv`; without them they are 340 × 256, as the
videos of Kinetics were made for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kinemask.readers.base import Item, Reader, ReadOptions, Scan
from kinemask.readers.cleaning import Rejected
from kinemask.readers.detections import Detection, Detections, followed
from kinemask.readers.files import as_numbers, brief, find_files, naming_file, read_json
from kinemask.readers.own import UNITS, existing, list_clips, part_sides, positive
from kinemask.skeleton import Layout, layout
from kinemask.store.format import SPLIT, Clip

KINETICS = (340.0, 256.0)  # pixels, width and height, of the videos that the format was made for
_LAYOUTS = {18: "coco18", 17: "coco17", 25: "openpose25"}
_TAIL = 512  # bytes at a file's end that mostly hold its label
_LABEL = re.compile(r'"label"\s*:\s*("(?:[^"\\]|\\.)*")')
_INDEX = re.compile(r'"label_index"\s*:\s*(-?\d{1,6})\b')
_PART = re.compile(r"(?:.*[_-])?(train|training|val|validation|test)(?:[_-].*)?", re.IGNORECASE)
_OUTSIDE = 1.5  # shares that joints stay within, though the image ends at 1

Told = tuple[str, int | None]  # a clip's label and its number


def scan(src: Path) -> Scan:
    """The clips of `clips.csv`, or else every JSON file, with the label that it, or a list of labels, tells."""
    find = lambda src: [path for path in find_files(src, "*.json", "files .json") if not _is_list(path)]
    found = list_clips(src, find, lambda path: existing(path, (".json",)), "file .json")
    if found.classes or not found.items:
        return replace(found, layout=_find_layout(found))
    lists = {folder: _read_labels(folder) for folder in {item.path.parent for item in found.items}}
    told = [lists[item.path.parent].get(item.path.stem) or _tail_label(item.path) for item in found.items]
    labels = {name: index for name, index in told if name}
    classes = tuple(sorted(labels, key=lambda name: (labels[name] is None, labels[name] or 0, name)))
    sides = [item.fields for item in found.items]
    if not found.splits:
        sides = part_sides([{f"{SPLIT}official": _part(item.path, src)} for item in found.items])
        sides = [{**item.fields, **side} for item, side in zip(found.items, sides, strict=True)]
    parted = {key for fields in sides for key, side in fields.items() if key.startswith(SPLIT) and side}
    items = [
        replace(
            item,
            label=classes.index(name) if name else None,
            fields={key: side for key, side in fields.items() if key in parted or not key.startswith(SPLIT)},
        )
        for item, fields, (name, _) in zip(found.items, sides, told, strict=True)
    ]
    splits = found.splits or frozenset(key.removeprefix(SPLIT) for key in parted)
    return replace(found, items=items, classes=classes, splits=splits, layout=_find_layout(found))


def read(item: Item, options: ReadOptions) -> Clip:
    """One clip (M, T, 18, 2), its people followed from frame to frame, or by their own numbers."""
    content = read_json(item.path)
    with naming_file(item.path):
        people, is_share = _frames(content)
        given = READER.choose_layout(options.layout or _layout_of(people))
        size, note = _size(item, content, is_share)
        found: dict[int, list[Detection]] = {}
        for number, crowd in people.items():
            found[number] = [_detection(one, given, size, f"frame {number}") for one in crowd]
        height = size[1] if is_share else positive(item.fields, "image_height") or _told_height(content)
        clip = followed(Detections.of(found), item, given, options.min_score, height)
    return replace(clip, notes=note + clip.notes)


_Person = tuple[Any, Any, str | None]  # joints, confidences (None: within the joints), who it is


def _frames(content: Mapping[str, Any]) -> tuple[dict[int, list[_Person]], bool]:
    """People by frame, and whether their coordinates are shares of the image."""
    match content:
        case {"data": [*frames]}:
            found = {}
            for at, frame in enumerate(frames):
                crowd = frame.get("skeleton") if isinstance(frame, dict) else None
                if crowd is None or not isinstance(crowd, list) or not all(isinstance(one, dict) for one in crowd):
                    raise ValueError(f"data, entry {at}: expected frame_index and skeleton, found {brief(frame)}")
                number = _number(frame.get("frame_index", at), f"data, entry {at}")
                if number in found:
                    raise ValueError(f"data, entry {at}: a second entry of frame_index {number}")
                found[number] = [(one.get("pose"), one.get("score"), None) for one in crowd if one.get("pose")]
            return found, True
        case {"annotations": [*notes]}:
            found = {}
            for at, note in enumerate(notes):
                if not isinstance(note, dict):
                    raise ValueError(f"annotations, entry {at}: expected an object, found {brief(note)}")
                number = _number(note.get("frame_index"), f"annotations, entry {at}")
                who = note.get("person_id")
                found.setdefault(number, []).append((note.get("keypoints"), None, None if who is None else str(who)))
            return found, False
    raise ValueError(f"expected data, a list of frames, or annotations, found {brief(dict(content))}")


def _number(value: Any, where: str) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or abs(value) >= 10**15:
        raise ValueError(f"{where}: frame_index should be a whole number, found {brief(value)}")
    return value


def _size(item: Item, content: Mapping[str, Any], is_share: bool) -> tuple[tuple[float, float], tuple[str, ...]]:
    """Width and height that coordinates are in units of, and a note where they are supposed."""
    if not is_share:
        return (1.0, 1.0), ()
    width, height = (positive(item.fields, name) for name in ("image_width", "image_height"))
    if width and height:
        return (width, height), ()
    return KINETICS, ("the image is taken for 340 × 256 pixels, as of Kinetics; clips.csv may tell others",)


def _told_height(content: Mapping[str, Any]) -> float | None:
    """The image's height as MMSkeleton tells it; None where it does not."""
    match content.get("info"):
        case {"resolution": [int() | float(), (int() | float()) as height]} if height > 0:
            return float(height)
    return None


def _detection(person: _Person, given: Layout, size: tuple[float, float], where: str) -> Detection:
    pose, score, who = person
    joints = as_numbers(pose, f"{where}: the pose")
    values = 2 if score is not None else 3
    if joints.size != values * given.num_joints:
        known = _LAYOUTS.get(joints.size // values) if joints.size % values == 0 else None
        hint = f"; that is layout {known}" if known else ""
        raise ValueError(
            f"{where}: expected {values} × {given.num_joints} numbers, as layout {given.name} has joints, found"
            f" {joints.size}{hint}"
        )
    joints = joints.reshape(given.num_joints, values)
    scores = joints[:, 2] if score is None else as_numbers(score, f"{where}: the score").ravel()
    if scores.shape != (given.num_joints,):
        raise ValueError(f"{where}: expected {given.num_joints} confidences, found {scores.size}")
    places = joints[:, :2]
    if size != (1.0, 1.0) and np.abs(places).max(initial=0) > _OUTSIDE:
        raise ValueError(f"{where}: expected shares of the image, from 0 to 1, found {np.abs(places).max():g}")
    return Detection(places * size, scores, who)


def _layout_of(people: Mapping[int, list[_Person]]) -> Layout | None:
    """The layout that the first person's numbers tell; Rejected where there is nobody."""
    first = next((one for crowd in people.values() for one in crowd), None)
    if first is None:
        raise Rejected("nobody is seen in any frame")
    pose, score, _ = first
    name = _LAYOUTS.get(np.size(pose) // (2 if score is not None else 3))
    return None if name is None else layout(name)


def _find_layout(found: Scan) -> Layout | None:
    """The layout of the first file that tells; None where none does."""
    for item in found.items[:20]:
        try:
            return _layout_of(_frames(read_json(item.path))[0])
        except (ValueError, OSError):
            continue
    return None


def _is_list(path: Path) -> bool:
    return path.stem.endswith("_label")


def _read_labels(folder: Path) -> dict[str, Told]:
    """Labels of a folder's clips by name, from the list beside it; none where there is none."""
    path = folder.with_name(f"{folder.name}_label.json")
    if not path.is_file():
        return {}
    entries = {name: entry for name, entry in read_json(path).items() if isinstance(entry, dict)}
    return {name: _told(entry) for name, entry in entries.items()}


def _tail_label(path: Path) -> Told:
    """A clip's label, mostly from the end of its file, without reading the rest."""
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - _TAIL))
        tail = file.read().decode("utf-8", "replace")
    label, index = _LABEL.search(tail), _INDEX.search(tail)
    if label:
        try:
            return json.loads(label[1]), int(index[1]) if index else None
        except ValueError:
            pass
    try:
        return _told(read_json(path))
    except ValueError:
        return "", None  # reading tells what is wrong


def _told(entry: Mapping[str, Any]) -> Told:
    index = entry.get("label_index", entry.get("category_id"))
    index = index if type(index) is int and index >= 0 else None
    name = entry.get("label")
    return (name if isinstance(name, str) else "" if index is None else str(index)), index


def _part(path: Path, src: Path) -> str:
    """train, val or test, as a folder's name tells; "" for none."""
    for folder in (path.parent, *path.parent.parents):
        if not folder.is_relative_to(src):
            break
        if match := _PART.fullmatch(folder.name):
            return {"training": "train", "validation": "val"}.get(match[1].lower(), match[1].lower())
    return ""


READER = Reader(
    name="kinetics-skeleton",
    title="Kinetics-Skeleton and clips in its format (ST-GCN, MMSkeleton): a JSON file per clip, with its label (2D)",
    citation="Yan, Xiong, Lin: Spatial Temporal Graph Convolutional Networks for Skeleton-Based Action Recognition."
    " AAAI 2018",
    layout="coco18",
    other_layouts=("coco17", "openpose25"),
    scan=scan,
    read=read,
    units=UNITS,
    scores=True,
    is_format=True,
)

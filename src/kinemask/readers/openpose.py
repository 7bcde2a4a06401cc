"""OpenPose: a folder of JSON files per clip, one per frame, of BODY_25 or COCO keypoints.

Format: OpenPose, doc/02_output.md (`--write_json`): files NAME_000000000000_keypoints.json, `people` in each, of
everybody `pose_keypoints_2d`, x0, y0, c0, x1, … (`pose_keypoints` in old versions). Coordinates are pixels (its
default `--keypoint_scale 0`); hands, faces and part candidates are not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kinemask.readers.base import Item, Reader, ReadOptions, Scan
from kinemask.readers.detections import Detection, Detections, followed, identity
from kinemask.readers.files import as_numbers, find_files, match_name, naming_file, read_json
from kinemask.readers.own import UNITS, existing, list_clips, positive
from kinemask.skeleton import Layout, layout
from kinemask.store.format import Clip

_FILES = "*_keypoints.json"
_SHAPE = "NAME_000000000000_keypoints.json"
_NAME = re.compile(r"(?P<video>.*?)_?(?P<frame>\d{1,15})_keypoints\.json")
_KEYS = ("pose_keypoints_2d", "pose_keypoints")
_LAYOUTS = {25: "openpose25", 18: "coco18"}


def scan(src: Path) -> Scan:
    """The clips of `clips.csv`, or else every folder that holds frames; the layout is the first person's."""
    listed = list_clips(src, _find_folders, lambda path: existing(path, (), True), f"folder of {_FILES}")
    return replace(listed, layout=_find_layout(item.path for item in listed.items))


def _find_folders(src: Path) -> list[Path]:
    return sorted({path.parent for path in find_files(src, _FILES, f"files {_SHAPE}")})


def read(item: Item, options: ReadOptions) -> Clip:
    """One clip (M, T, V, 2) out of a folder of frames, its people followed from frame to frame."""
    path = item.path
    given = READER.choose_layout(options.layout or _find_layout([path]))
    found: dict[int, list[Detection]] = {}
    videos: set[str] = set()
    for file in _frames(path):
        match = match_name(file, _NAME, _SHAPE)
        videos.add(match["video"])
        if len(videos) > 1 or int(match["frame"]) in found:
            raise ValueError(
                f"{path}: frames of several videos ({', '.join(sorted(videos))}); expected a folder for each"
            )
        found[int(match["frame"])] = _read_people(file, given)
    with naming_file(path):
        return followed(Detections.of(found), item, given, options.min_score, positive(item.fields, "image_height"))


def _frames(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder of files {_SHAPE}")
    return find_files(folder, _FILES, f"files {_SHAPE}")


def _read_people(file: Path, layout: Layout) -> list[Detection]:
    """Everybody in a frame who has a body."""
    people = []
    for i, person in enumerate(_people(file), 1):
        numbers = _keypoints(person)
        if numbers == []:
            continue
        where = f"{file}: person {i}"
        values = as_numbers(numbers, where)
        if values.shape != (3 * layout.num_joints,):
            other = _LAYOUTS.get(values.size // 3) if values.ndim == 1 and values.size % 3 == 0 else None
            hint = f"; that is layout {other}" if other else ""
            raise ValueError(
                f"{where}: expected {layout.num_joints} × 3 numbers, as layout {layout.name} has joints, found"
                f" {values.size}{hint}"
            )
        values = values.reshape(-1, 3)
        people.append(Detection(values[:, :2], values[:, 2], identity(person)))
    return people


def _people(file: Path) -> list[Any]:
    content = read_json(file)
    people = content.get("people")
    if not isinstance(people, list) or not all(isinstance(person, dict) for person in people):
        raise ValueError(
            f"{file}: expected people, a list of objects; found {', '.join(map(repr, content)) or 'nothing'}"
        )
    return people


def _keypoints(person: dict[str, Any]) -> Any:
    return next((person[key] for key in _KEYS if key in person), [])


def _find_layout(folders: Iterable[Path]) -> Layout | None:
    """Layout of the first person found; None where nobody is, or where it is none (which reading tells)."""
    for folder in folders:
        for file in sorted(folder.glob(_FILES)):
            try:
                sizes = [np.size(_keypoints(person)) for person in _people(file)]
            except ValueError:
                return None
            known = [_LAYOUTS[size // 3] for size in sizes if size % 3 == 0 and size // 3 in _LAYOUTS]
            if any(sizes):
                return layout(known[0]) if known else None
    return None


READER = Reader(
    name="openpose",
    title="OpenPose output: a folder of JSON files per clip, clips.csv if there are labels (2D, BODY_25 or COCO)",
    citation="",
    layout="openpose25",
    other_layouts=("coco18",),
    scan=scan,
    read=read,
    units=UNITS,
    scores=True,
    is_format=True,
)

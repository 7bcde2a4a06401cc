"""OpenPose: a folder of JSON files per clip, one per frame (BODY_25, COCO, MPI), or all frames in one.

Format: OpenPose, doc/02_output.md (`--write_json`): files NAME_000000000000_keypoints.json, `people` in each, of
everybody `pose_keypoints_2d`, x0, y0, c0, x1, … (`pose_keypoints` in old versions). Coordinates are pixels (its
default `--keypoint_scale 0`); hands, faces and part candidates are not read. Others write their joints in this form, as
many as Halpe's 26, COCO's 17 or 133; a layout whose joints are among them takes these.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kinemask.readers import coco
from kinemask.readers.base import Failure, Item, Reader, ReadOptions, Scan
from kinemask.readers.detections import Detection, Detections, followed, identity
from kinemask.readers.files import as_numbers, find_files, match_name, naming_file, read_json
from kinemask.readers.frames import gather_frames
from kinemask.readers.joint_names import match_joints
from kinemask.readers.own import UNITS, existing, list_clips, positive
from kinemask.skeleton import Layout, layout
from kinemask.store.format import Clip

_FILES = "*_keypoints.json"
_SHAPE = "NAME_000000000000_keypoints.json"
_NAME = re.compile(r"(?P<video>.*?)_?(?P<frame>\d{1,15})_keypoints\.json")
_KEYS = ("pose_keypoints_2d", "pose_keypoints")
_SUFFIXES = (".json", ".jsonl", ".ndjson")
_LAYOUTS = {25: "openpose25", 18: "coco18", 15: "mpi15", 26: "halpe26", 17: "coco17", 133: "coco133"}


def scan(src: Path) -> Scan:
    """The clips of `clips.csv`, or else every folder that holds frames, or else every JSON file; the layout is the
    first person's."""
    listed = list_clips(src, _find_clips, lambda path: existing(path, _SUFFIXES, True), f"folder of {_FILES}, or file")
    return replace(listed, layout=_find_layout(item.path for item in listed.items))


def _find_clips(src: Path) -> list[Path]:
    try:
        return sorted({path.parent for path in find_files(src, _FILES, f"files {_SHAPE}")})
    except ValueError as error:
        try:
            files = find_files(src, tuple(f"*{suffix}" for suffix in _SUFFIXES), "files .json")
            return gather_frames(files, lambda content: isinstance(content, dict) and "people" in content)
        except ValueError:
            raise error from None


def read(item: Item, options: ReadOptions) -> Clip | Iterator[Clip | Failure]:
    """One clip (M, T, V, 2) out of a folder of frames, its people followed from frame to frame; or a file's clips."""
    path = item.path
    given = READER.choose_layout(options.layout or _find_layout([path]))
    if _is_coco(path):
        return coco.read(item, replace(options, layout=given))
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


def _is_coco(path: Path) -> bool:
    """Whether it is a file, or a folder of files, that is not named as OpenPose's are."""
    if path.is_dir():
        return not any(path.rglob(_FILES)) and any(path.rglob("*.json"))
    return path.is_file() and not path.match(_FILES)


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
            if (joints := _as_others(values, layout)) is not None:
                people.append(Detection(joints[:, :2], joints[:, 2], identity(person)))
                continue
            other = _LAYOUTS.get(values.size // 3) if values.ndim == 1 and values.size % 3 == 0 else None
            hint = f"; that is layout {other}" if other else ""
            raise ValueError(
                f"{where}: expected {layout.num_joints} × 3 numbers, as layout {layout.name} has joints, found"
                f" {values.size}{hint}"
            )
        values = values.reshape(-1, 3)
        people.append(Detection(values[:, :2], values[:, 2], identity(person)))
    return people


def _as_others(values: np.ndarray, given: Layout) -> np.ndarray | None:
    """The joints (V, 3) of a layout out of those of another that has them all; None where they are of no such."""
    other = _LAYOUTS.get(values.size // 3) if values.ndim == 1 and values.size % 3 == 0 else None
    picked = match_joints(layout(other).joints, given) if other else [None]
    return None if None in picked else values.reshape(-1, 3)[[at for at in picked if at is not None]]


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
        if _is_coco(folder):
            files = [folder] if folder.is_file() else sorted(folder.rglob("*.json"))
            count = next(filter(None, map(coco.count_joints, files)), None)
            if count is not None:
                return layout(_LAYOUTS[count]) if count in _LAYOUTS else None
            continue
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
    title="OpenPose output: a folder of JSON files per clip, or a file; clips.csv if there are labels (2D)",
    citation="",
    layout="openpose25",
    other_layouts=("coco18", "mpi15", "coco17", "halpe26", "coco133"),
    scan=scan,
    read=read,
    units=UNITS,
    scores=True,
    is_format=True,
)

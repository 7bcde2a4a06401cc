"""COCO's 17 keypoints, in the JSON that pose estimators write: a file per clip, or a folder of a file per frame.

Formats (coordinates are pixels, y down):
- COCO results, as Detectron2, MMPose's evaluation and AlphaPose write them (cocodataset.org, "Results Format"): a
  list of people with `image_id` and `keypoints`, 17 × x, y, confidence;
- COCO data sets ("Data Format"): `images` and `annotations`, the third number being the visibility, 0 for none;
- MMPose's inferencers: a list of frames, or `instance_info`, of `frame_id` and `instances` with `keypoints` and
  `keypoint_scores`;
- Ultralytics' `Results.to_json()`: people with `keypoints` of x, y, visible; a list of such lists is a clip.
An `image_id` that is a file's name has the frame's number at its end. `track_id` tells who is who, if all have it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kinemask.readers.base import Item, Reader, ReadOptions, Scan
from kinemask.readers.detections import Detection, Detections, followed
from kinemask.readers.files import as_numbers, brief, find_files, naming_file, parse_json
from kinemask.readers.own import UNITS, existing, list_clips, positive
from kinemask.skeleton import layout
from kinemask.store.format import Clip

_JOINTS = 17
_CONFIDENCES = ("score", "bbox_score", "confidence")  # of a person as a whole
_NUMBER = re.compile(r"(\d{1,15})\D*$")
_TALLEST = 1e6  # pixels of an image

Crowd = list[dict[str, Any]]


def scan(src: Path) -> Scan:
    """The clips of `clips.csv`, which may name folders of frames, or else every JSON file."""
    find = lambda src: find_files(src, "*.json", "files .json")
    return list_clips(src, find, lambda path: existing(path, (".json",), True), "file .json or folder of them")


def read(item: Item, options: ReadOptions) -> Clip:
    """One clip (M, T, 17, 2), its people followed from frame to frame, or as the source tracked them.

    People who are as a whole no more confident than the options' `min_score` are not there.
    """
    path = item.path
    content = _read_folder(path) if path.is_dir() else parse_json(path)
    with naming_file(path):
        crowds, height = (content, None) if path.is_dir() else _split(content)
        found = {
            number: [_person(who, f"frame {number}") for who in crowd if _is_there(who, options.min_score)]
            for number, crowd in crowds.items()
        }
        height = positive(item.fields, "image_height") or height
        return followed(Detections.of(found), item, layout("coco17"), options.min_score, height)


def _read_folder(folder: Path) -> dict[int, Crowd]:
    """The people of a folder's files, each a frame, by the number at the end of its name."""
    crowds: dict[int, Crowd] = {}
    for file in find_files(folder, "*.json", "files .json"):
        number, content = _number(file.stem, str(file)), parse_json(file)
        if number in crowds:
            raise ValueError(f"{file}: a second file of frame {number}; expected a folder for each clip")
        crowds[number] = _crowd(content.get("instances") if isinstance(content, dict) else content, str(file))
    return crowds


def _split(content: Any) -> tuple[dict[int, Crowd], float | None]:
    """People by frame out of a file's content, and the image's height where it is told."""
    match content:
        case {"images": [*images], "annotations": [*notes]}:
            return _split_data_set(images, notes)
        case {"instance_info": [*frames]}:
            return _split_frames(frames), None
        case [{"instances": _}, *_]:
            return _split_frames(content), None
        case [{"image_id": _}, *_]:
            return _split_results(content, {}), None
        case [{"keypoints": _}, *_] | []:
            return {0: _crowd(content, "frame 0")}, None
        case [[*_], *_]:
            return {at: _crowd(crowd, f"frame {at}") for at, crowd in enumerate(content)}, None
    raise ValueError(
        "expected COCO results, a COCO data set, or the people in the frames of MMPose or Ultralytics, found"
        f" {brief(content)}"
    )


def _split_data_set(images: Sequence[Any], notes: Sequence[Any]) -> tuple[dict[int, Crowd], float | None]:
    """People by image; images are in order, or have a `frame_id`."""
    numbers: dict[Any, int] = {}
    for at, image in enumerate(images):
        name = image.get("id") if isinstance(image, dict) else None
        if not isinstance(name, int | str) or name in numbers:
            raise ValueError(f"images: expected objects, each with an id of its own; number {at} is {brief(image)}")
        numbers[name] = _number(image.get("frame_id", at), f"images: number {at}")
    for at, note in enumerate(notes):
        image = note.get("image_id") if isinstance(note, dict) else None
        if not isinstance(image, int | str) or image not in numbers:
            raise ValueError(f"annotations: expected each to have an image_id of images; number {at} is {brief(note)}")
    crowds = {number: [] for number in numbers.values()} | _split_results(notes, numbers)
    given = (image.get("height") for image in images)
    heights = {height for height in given if type(height) in (int, float) and 0 < height < _TALLEST}
    return crowds, float(heights.pop()) if len(heights) == 1 else None


def _split_results(people: Sequence[Any], numbers: Mapping[Any, int]) -> dict[int, Crowd]:
    """People by their `image_id`, whose number is in `numbers` or in itself."""
    crowds: dict[int, Crowd] = {}
    for at, person in enumerate(_crowd(people, "the list")):
        image = person.get("image_id")
        number = numbers[image] if numbers else _number(image, f"person {at}: image_id")
        crowds.setdefault(number, []).append(person)
    return crowds


def _split_frames(frames: Sequence[Any]) -> dict[int, Crowd]:
    """People by frame, as MMPose writes them."""
    crowds: dict[int, Crowd] = {}
    for at, frame in enumerate(frames):
        where = f"frame {at}"
        if not isinstance(frame, dict):
            raise ValueError(f"{where}: expected an object with frame_id and instances, found {brief(frame)}")
        number = _number(frame.get("frame_id", at), f"{where}: frame_id")
        if number in crowds:
            raise ValueError(f"{where}: a second frame of frame_id {number}")
        crowds[number] = _crowd(frame.get("instances"), where)
    return crowds


def _crowd(people: Any, where: str) -> Crowd:
    """A list of people, checked to be one."""
    if not isinstance(people, list) or not all(isinstance(who, dict) and "keypoints" in who for who in people):
        raise ValueError(f"{where}: expected a list of people with keypoints, found {brief(people)}")
    return people


def _number(value: Any, where: str) -> int:
    """A frame's number: itself, or the last one in a file's name."""
    if type(value) is int and abs(value) < 10**15:
        return value
    match = _NUMBER.search(Path(value).stem) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{where}: expected a frame's number, or a file's name that ends in it; found {brief(value)}")
    return int(match[1])


def _is_there(person: dict[str, Any], min_score: float) -> bool:
    score = next((person[key] for key in _CONFIDENCES if key in person), None)
    return not isinstance(score, int | float) or score > min_score


def _person(person: dict[str, Any], where: str) -> Detection:
    """Joints (17, 2) and confidences, written as a list of numbers, a list of joints, or by coordinate."""
    value, scores = person["keypoints"], person.get("keypoint_scores")
    if isinstance(value, dict):
        scores, value = value.get("visible"), np.stack([as_numbers(value.get(c), f"{where}: {c}") for c in "xy"], -1)
    joints = as_numbers(value, f"{where}: keypoints")
    if joints.size not in (2 * _JOINTS, 3 * _JOINTS):
        raise ValueError(f"{where}: expected 17 keypoints of x, y and perhaps confidence, found {joints.size} numbers")
    joints = joints.reshape(_JOINTS, -1)
    score = joints[:, 2] if joints.shape[1] == 3 else np.full(_JOINTS, np.nan)
    if scores is not None:
        score = as_numbers(scores, f"{where}: keypoint_scores").ravel()
    if score.shape != (_JOINTS,):
        raise ValueError(f"{where}: expected 17 confidences, found {score.size}")
    name = person.get("track_id")
    return Detection(joints[:, :2], score, None if name is None else str(name)[:60])


READER = Reader(
    name="coco17",
    title="COCO keypoints of Detectron2, MMPose, AlphaPose, Ultralytics: JSON per clip, clips.csv if there are labels",
    citation="",
    layout="coco17",
    scan=scan,
    read=read,
    units=UNITS,
    scores=True,
    is_format=True,
)

"""People in frames as AlphaPose, TensorFlow.js and OpenPose write them, turned into COCO's and MMPose's forms.

Formats:
- AlphaPose (alphapose/utils/pPose_nms.py, write_json): besides the list, `--format cmu` and `open`: an object keyed by
  image, of `bodies` with `joints`, or `people` with `pose_keypoints_2d`; PoseFlow's: an object keyed by image, of lists
  of people; and one keyed by person, in it by frame;
- TensorFlow.js pose-detection (its README): a list of frames, each of poses with `keypoints` of x, y, score, name;
- OpenPose's `people` (doc/02_output.md), all frames in one file: a list of them, or an object keyed by frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kinemask.readers.frames import NUMBERS, TIMES, as_whole, find_key

CROWDS = ("instances", "people", "bodies", "poses", "persons", "predictions", "detections", "skeletons", "annotations")
_NEAR = 0.3  # of a body's extent: as far as joints move from frame to frame
_MOSTLY = 0.8
FRAMES = ("frames", "predictions", "results", "data", "instance_info")
JOINTS = ("keypoints", "pose_keypoints_2d", "joints", "pose_keypoints", "keypoints_2d", "kpts", "keypoints2D")


def usual(content: Any) -> Any:
    """The same content as a list of people with `image_id`, or of frames with `instances`, if it is one of the forms
    above; else as it is."""
    if isinstance(content, dict):
        if not content or {"images", "annotations"} <= content.keys():
            return content
        if all(isinstance(value, list | dict | None) for value in content.values()) and _is_keyed(content):
            return _by_key(content)
        key = find_key(content, FRAMES)
        if key is not None and isinstance(content[key], list | dict) and not is_person(content):
            inner = content[key]
            if key == "instance_info" or (isinstance(inner, list) and inner and is_person(inner[0])):
                return content if key == "instance_info" else [{"instances": inner}]
            return usual(inner)
        return [_frame(content)] if _crowd_key(content) else content
    if isinstance(content, list) and any(isinstance(one, dict) and _crowd_key(one) for one in content):
        return [_frame(one) for one in content]
    if isinstance(content, list) and content and all(map(is_person, content)) and "image_id" not in content[0]:
        return _by_number(content) or ([people_of([who]) for who in content] if _is_series(content) else content)
    if isinstance(content, list) and any(isinstance(one, list) for one in content):
        return [one or [] for one in content]
    return content


def is_person(value: Any) -> bool:
    """Whether it is somebody with joints."""
    return isinstance(value, dict) and any(key in value for key in JOINTS)


def people_of(crowd: list[Any]) -> list[Any]:
    """People whose joints are under `keypoints`, less those who have none."""
    found = []
    for who in crowd:
        if isinstance(who, dict) and "keypoints" not in who and is_person(who):
            key = next(key for key in JOINTS if key in who)
            if who[key] in ([], None):
                continue
            who = {**who, "keypoints": who[key]}
        found.append(who)
    return found


def _by_number(people: list[Any]) -> list[Any]:
    """People who have a frame's number each, by it; none where they have none."""
    keys = [find_key(who, [name for name in NUMBERS if name != "index"]) for who in people]
    if None in keys:
        return []
    return [{**who, "image_id": who[key]} for who, key in zip(people_of(people), keys, strict=True)]


def _is_series(people: list[Any]) -> bool:
    """Whether people who follow each other in a list are mostly in one place: somebody in frame after frame."""
    try:
        places = [_places(next(who[key] for key in JOINTS if key in who)) for who in people]
        if len(places) < 2 or len({place.shape for place in places}) > 1:
            return False
    except (ValueError, TypeError, StopIteration):
        return False
    stacked = np.stack(places)  # (N, K, 2)
    extent = np.linalg.norm(np.ptp(stacked, axis=1), axis=-1)
    apart = np.linalg.norm(np.diff(stacked, axis=0), axis=-1).mean(-1)
    return float((apart < _NEAR * np.maximum(extent[1:], 1e-9)).mean()) >= _MOSTLY


def _places(joints: Any) -> np.ndarray:
    """x and y (K, 2) of keypoints in any form; ValueError for others."""
    if isinstance(joints, dict) and "x" in joints:
        return np.stack([np.asarray(joints["x"], np.float64), np.asarray(joints["y"], np.float64)], -1)
    if isinstance(joints, list) and joints and isinstance(joints[0], dict):
        return np.array([[one.get("x"), one.get("y")] for one in joints], np.float64)
    values = np.asarray(joints, np.float64)
    if values.ndim == 1:
        values = values.reshape(-1, 3 if len(values) % 3 == 0 else 2)
    return values[:, :2]


def _crowd_key(frame: Mapping[str, Any]) -> str | None:
    """The key of a frame's people; None for an object that is none."""
    if is_person(frame):
        return None
    return next((key for key in CROWDS if key in frame and isinstance(frame[key], list | None)), None)


def _frame(value: Any) -> Any:
    """A frame in MMPose's form."""
    if value is None or isinstance(value, list):
        return {"instances": people_of(value or [])}
    if not isinstance(value, dict):
        return value
    key = _crowd_key(value)
    about = {name: one for name in (*NUMBERS, *TIMES) if (name in value) and (one := value[name]) is not None}
    crowd = value[key] if key else [value] if is_person(value) else []
    return {**about, "instances": people_of(crowd or [])}


def _is_keyed(content: Mapping[str, Any]) -> bool:
    """Whether the keys are images, frames or people, and the values what is of them."""
    return all(any(char.isdigit() for char in key) for key in content) and all(
        value is None
        or (isinstance(value, list) and all(map(is_person, value)))
        or (isinstance(value, dict) and (is_person(value) or _crowd_key(value) or all(map(is_person, value.values()))))
        for value in content.values()
    )


def _by_key(content: Mapping[str, Any]) -> Any:
    """People with the image, or the frame, that they are keyed by."""
    people: list[dict[str, Any]] = []
    inner = {key for value in content.values() if isinstance(value, dict) and not _crowd_key(value) for key in value}
    named = any(as_whole(key) is None for key in content)  # names of files
    if inner and not any(is_person(value) for value in content.values()):
        by_person = not named and (any(as_whole(key) is None for key in inner) or len(inner) >= len(content))
        for outer, members in content.items():
            for key, who in (members or {}).items():
                image, name = (key, outer) if by_person else (outer, key)
                people += [{**one, "image_id": image, "track_id": name} for one in people_of([who])]
        return people
    for key, value in content.items():
        crowd = value if isinstance(value, list) else _frame(value)["instances"]
        people += [{**who, "image_id": key} for who in people_of(crowd or [])]
    if named or not people:
        return people
    numbers = {key: as_whole(key) for key in content}
    frames: dict[str, list[Any]] = {key: [] for key in content}
    for who in people:
        frames[who.pop("image_id")].append(who)
    return [{"frame": numbers[key], "instances": crowd} for key, crowd in frames.items()]

"""MediaPipe Pose: landmarks of a clip in a JSON or CSV file.

MediaPipe defines no file; these hold its results under its names (Pose Landmarker's guide; Pose's, for the older
solution). JSON: a list of frames, or an object with `frames`; in each frame, under `pose_world_landmarks` and
`pose_landmarks` (in JavaScript `worldLandmarks`, `landmarks`), a list of people or one person, nobody being an
empty list or null; a person is 33 landmarks with x, y, z, visibility. A frame may say its number, `frame`, or its time.
A folder of numbered files, each of one frame, is a clip too. CSV: a line per landmark,
`frame,body,landmark,x,y,z,visibility`.

World landmarks (metres, from between the hips, y down, z away from the camera) give layout mediapipe33, in 3D. Each
person's are about their own hips, so that the way someone walks is lost; people are followed by their image
landmarks, if these are there too. Image landmarks (shares of the image's width and height) give layout coco17, in
2D, and need the columns image_width and image_height in `clips.csv`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from kinemask.readers.base import Item, Reader, ReadOptions, Scan
from kinemask.readers.cleaning import mark_missing
from kinemask.readers.detections import Detection, Detections, followed
from kinemask.readers.files import as_numbers, brief, find_files, naming_file, parse_json
from kinemask.readers.frames import gather_frames, number_frames, read_frames
from kinemask.readers.own import UNITS, existing, list_clips, make_clip, positive
from kinemask.readers.tables import load_table
from kinemask.skeleton import Layout, layout
from kinemask.store.format import Clip

_SUFFIXES = (".json", ".csv")
_WORLD = ("pose_world_landmarks", "poseWorldLandmarks", "worldLandmarks", "world_landmarks")
_IMAGE = ("pose_landmarks", "poseLandmarks", "landmarks")
_UP = np.array([1, -1, -1])
_FAR = 0.25  # metres that the hips' middle may be from the origin of world landmarks, at the median


def scan(src: Path) -> Scan:
    """The clips of `clips.csv`, or else every JSON and CSV file, and folders of a JSON file per frame."""
    files = lambda src: find_files(src, tuple(f"*{suffix}" for suffix in _SUFFIXES), "files .json or .csv")
    find = lambda src: gather_frames(files(src), _is_frame)
    return list_clips(src, find, lambda path: existing(path, _SUFFIXES, True), "file .json or .csv, or folder")


def _is_frame(content: Any) -> bool | None:
    return isinstance(content, dict) and any(key in content for key in (*_WORLD, *_IMAGE))


def read(item: Item, options: ReadOptions) -> Clip:
    """One clip: (M, T, 33, 3) of world landmarks or, for layout coco17, (M, T, 17, 2) of image landmarks."""
    path, given = item.path, READER.choose_layout(options.layout)
    table = load_table(path, layout("mediapipe33")) if path.suffix == ".csv" else None
    content = None if table is not None else _read_folder(path) if path.is_dir() else parse_json(path)
    with naming_file(path):
        size = _image_size(item) if given.dims == 2 else None
        height = None if size is None else float(size[1])
        if table is None:
            found = Detections.of(*_read_frames(content, given, size))
            return followed(found, item, given, options.min_score, height)
        data, score = _clean_table(*table, given, size, options.min_score)
        return make_clip(item, data, score, given, height)


def _read_folder(folder: Path) -> list[dict[str, Any]]:
    """A folder's files as a list of frames."""
    videos = read_frames(folder, find_files(folder, "*.json", "files .json"))
    if len(videos) > 1:
        raise ValueError(f"{folder}: frames of several videos ({', '.join(videos)}); expected a folder for each")
    frames = next(iter(videos.values()))
    return [{**content, "frame": number} for number, (_, content) in frames.items() if isinstance(content, dict)]


def _image_size(item: Item) -> np.ndarray:
    """Width and height of the image, in pixels."""
    width, height = (positive(item.fields, name) for name in ("image_width", "image_height"))
    if width is None or height is None:
        raise ValueError(
            "image landmarks are shares of the image's width and height: clips.csv needs the columns image_width and"
            " image_height"
        )
    return np.array([width, height])


def _convert(
    landmarks: np.ndarray, score: np.ndarray, given: Layout, size: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks (…, 33, 3) as joints of the layout, in metres, y up, or in pixels of an image; their scores."""
    joints = [layout("mediapipe33").index(joint) for joint in given.joints]
    landmarks = landmarks[..., joints, :]
    return (landmarks * _UP if size is None else landmarks[..., :2] * size), score[..., joints]


def _clean_table(
    landmarks: np.ndarray, score: np.ndarray | None, given: Layout, size: np.ndarray | None, min_score: float
) -> tuple[np.ndarray, np.ndarray | None]:
    """Joints (M, T, V, C), missing ones NaN, and their confidences, if the table has any."""
    hips = landmarks[..., [layout("mediapipe33").index(side) for side in ("left_hip", "right_hip")], :].mean(-2)
    away = np.linalg.norm(hips[~np.isnan(hips).any(-1)], axis=-1)
    if size is None and away.size and (middle := np.median(away)) > _FAR:
        raise ValueError(
            f"expected world landmarks, in metres from between the hips, but the hips are {middle:.2g} from there;"
            " image landmarks give 2D: --layout coco17"
        )
    known = score is not None
    data, score = _convert(landmarks, score if known else np.full(landmarks.shape[:-1], np.nan), given, size)
    data = mark_missing(data)
    data[score <= min_score] = np.nan
    return data, score if known else None


def _read_frames(
    content: Any, given: Layout, size: np.ndarray | None
) -> tuple[dict[int, list[Detection]], tuple[str, ...]]:
    """The people of each frame of a JSON file, and doubts about the frames' numbers."""
    frames = content.get("frames") if isinstance(content, dict) else content
    if not isinstance(frames, list) or not all(isinstance(frame, dict) for frame in frames):
        raise ValueError("expected a list of frames, each an object, or an object with such a list as frames")
    keys = _WORLD if size is None else _IMAGE
    if frames and not any(key in frame for frame in frames for key in keys):
        hint = "; image landmarks give 2D: --layout coco17" if size is None else ""
        raise ValueError(f"no frame has {' or '.join(keys)}{hint}")
    found: dict[int, list[Detection]] = {}
    numbers, doubts = number_frames(frames)
    for number, frame in zip(numbers, frames, strict=True):
        people = _people(frame, keys, f"frame {number}: {keys[0]}")
        image = _people(frame, _IMAGE, f"frame {number}: {_IMAGE[0]}") if size is None else []
        places = [person[:, :2] for person in image] if len(image) == len(people) else [None] * len(people)
        found[number] = [
            Detection(*_convert(person[:, :3], person[:, 3], given, size), places=place)
            for person, place in zip(people, places, strict=True)
        ]
    return found, doubts


def _people(frame: dict[str, Any], keys: tuple[str, ...], where: str) -> list[np.ndarray]:
    """Landmarks (33, 4) of everybody: x, y, z and visibility, NaN where it is not told."""
    value = next((frame[key] for key in keys if key in frame), None)
    if not value:
        return []
    if isinstance(value, dict) or (isinstance(value, list) and _is_landmark(value[0])):
        value = [value]
    if not isinstance(value, list):
        raise ValueError(f"{where}: expected a list of people, found {brief(value)}")
    return [_landmarks(person, f"{where}, person {i}") for i, person in enumerate(value, 1)]


def _is_landmark(value: Any) -> bool:
    """Whether it is one landmark, as opposed to a person's list of them."""
    if isinstance(value, list):
        return bool(value) and isinstance(value[0], int | float)
    return isinstance(value, dict) and "x" in value


def _landmarks(person: Any, where: str) -> np.ndarray:
    """One person's landmarks, as objects or as lists of x, y, z and perhaps visibility."""
    if isinstance(person, dict):  # as the older solution's messages are written
        person = person.get("landmark")
    if not isinstance(person, list):
        raise ValueError(f"{where}: expected a list of landmarks, found {brief(person)}")
    values = as_numbers([_numbers(landmark) for landmark in person], where)
    if values.shape not in ((33, 3), (33, 4)):
        raise ValueError(f"{where}: expected 33 landmarks of x, y, z and visibility, found {values.shape}")
    return np.pad(values, ((0, 0), (0, 4 - values.shape[1])), constant_values=np.nan)


def _numbers(landmark: Any) -> Any:
    if not isinstance(landmark, dict):
        return landmark
    return [landmark.get("x"), landmark.get("y"), landmark.get("z"), landmark.get("visibility", np.nan)]


READER = Reader(
    name="mediapipe",
    title="MediaPipe landmarks: a JSON or CSV file per clip, clips.csv if there are labels (33 landmarks, 3D)",
    citation="",
    layout="mediapipe33",
    other_layouts=("coco17",),
    scan=scan,
    read=read,
    units=UNITS,
    scores=True,
    is_format=True,
)

"""MediaPipe Pose: landmarks of a clip in a JSON or CSV file.

MediaPipe defines no file; these hold its results under its names (Pose Landmarker's guide; Pose's, for the older
solution), or as TensorFlow.js has BlazePose's. JSON, or lines of it: frames, in each of them `pose_world_landmarks` and
`pose_landmarks` (in JavaScript `worldLandmarks`, `landmarks`; in TensorFlow.js `keypoints3D`, `keypoints`) of a list of
people or of one person, nobody being an empty list or null (see `landmarks`). A frame may say its number or its time. A
folder of numbered files, each of one frame, is a clip too. CSV: a line per landmark, or per frame (see `pose_table`).

World landmarks (metres, from between the hips, y down, z away from the camera) give layout mediapipe33, in 3D. Each
person's are about their own hips, so that the way someone walks is lost; people are followed by their image
landmarks, if these are there too. Image landmarks give layout coco17, in 2D; where they are shares of the image's width
and height, not pixels, they need the columns image_width and image_height in `clips.csv`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kinemask.readers.base import Item, Reader, ReadOptions, Scan
from kinemask.readers.cleaning import mark_missing
from kinemask.readers.detections import Detection, Detections, followed
from kinemask.readers.files import find_files, naming_file, parse_json_lines
from kinemask.readers.frames import gather_frames, number_frames, read_frames
from kinemask.readers.landmarks import (
    IMAGE,
    UNSURE,
    WORLD,
    Frame,
    find_frames,
    has_people,
    parse_people,
)
from kinemask.readers.own import UNITS, existing, list_clips, make_clip, positive
from kinemask.readers.pose_table import load_poses
from kinemask.skeleton import Layout, layout
from kinemask.store.format import Clip

_TABLES = (".csv", ".tsv")
_SUFFIXES = (".json", ".jsonl", ".ndjson", *_TABLES)
_UP = np.array([1, -1, -1])
_FAR = 0.12  # metres that the hips' middle may be from the origin of world landmarks, at the median
_SHARE = 3.0  # of the image, that landmarks stay within though it ends at 1; pixels do not


def scan(src: Path) -> Scan:
    """The clips of `clips.csv`, or else every JSON and CSV file, and folders of a JSON file per frame."""
    files = lambda src: find_files(src, tuple(f"*{suffix}" for suffix in _SUFFIXES), "files .json or .csv")
    find = lambda src: gather_frames(files(src), _is_frame)
    return list_clips(src, find, lambda path: existing(path, _SUFFIXES, True), "file .json or .csv, or folder")


def _is_frame(content: Any) -> bool | None:
    try:
        frames = find_frames(content)
    except ValueError:
        return False
    return isinstance(content, dict) and len(frames) == 1 and has_people(frames[0], (*WORLD, *IMAGE, *UNSURE))


def read(item: Item, options: ReadOptions) -> Clip:
    """One clip: (M, T, 33, 3) of world landmarks or, for layout coco17, (M, T, 17, 2) of image landmarks."""
    path, given = item.path, READER.choose_layout(options.layout)
    if path.suffix.lower() in _TABLES:
        return _read_table(item, given, options.min_score)
    content = _read_folder(path) if path.is_dir() else parse_json_lines(path)
    with naming_file(path):
        frames = find_frames(content)
        numbers, doubts = number_frames(frames)
        keys = _choose_keys(frames, given)
        people = [
            parse_people(f, keys, f"frame {n}: {keys[0]}", given.dims == 3)
            for f, n in zip(frames, numbers, strict=True)
        ]
        everybody = np.array([one for crowd in people for one in crowd]).reshape(-1, 33, 4)
        size, height = _scale(item, everybody, given)
        if given.dims == 3 and keys == UNSURE:
            _check_world(everybody[..., :3], f"no frame has {WORLD[0]}; ")
        found: dict[int, list[Detection]] = {}
        for frame, number, crowd in zip(frames, numbers, people, strict=True):
            image = parse_people(frame, IMAGE, f"frame {number}: {IMAGE[0]}", False) if size is None else []
            places = [one[:, :2] for one in image] if len(image) == len(crowd) else [None] * len(crowd)
            found[number] = [
                Detection(*as_joints(one[:, :3], one[:, 3], given, size), places=place)
                for one, place in zip(crowd, places, strict=True)
            ]
        return followed(Detections.of(found, doubts), item, given, options.min_score, height)


def _read_folder(folder: Path) -> list[dict[str, Any]]:
    """A folder's files as a list of frames."""
    videos = read_frames(folder, find_files(folder, "*.json", "files .json"))
    if len(videos) > 1:
        raise ValueError(f"{folder}: frames of several videos ({', '.join(videos)}); expected a folder for each")
    frames = next(iter(videos.values()))
    return [{**frame, "frame": number} for number, (_, content) in frames.items() for frame in find_frames(content)[:1]]


def _choose_keys(frames: Sequence[Frame], given: Layout) -> tuple[str, ...]:
    """Under which keys the people of frames are: those of the world in 3D, of the image in 2D."""
    if given.dims == 2:
        return (*IMAGE, *UNSURE)
    if not frames or any(has_people(frame, WORLD) for frame in frames):
        return WORLD
    if any(has_people(frame, UNSURE) for frame in frames) and not any(has_people(frame, IMAGE) for frame in frames):
        return UNSURE
    raise ValueError(f"no frame has {' or '.join(WORLD[:3])}; image landmarks give 2D: --layout coco17")


def _check_world(landmarks: np.ndarray, told: str = "") -> None:
    """Raise ValueError, beginning as told, where landmarks (…, 33, 3) are not about the hips, as the world's are."""
    hips = landmarks[..., [layout("mediapipe33").index(side) for side in ("left_hip", "right_hip")], :].mean(-2)
    away = np.linalg.norm(hips[~np.isnan(hips).any(-1)][:, :2], axis=-1)  # depth is from the hips in an image, too
    if away.size and (middle := np.median(away)) > _FAR:
        raise ValueError(
            f"{told}expected world landmarks, in metres from between the hips, but the hips are {middle:.2g} from"
            " there; image landmarks give 2D: --layout coco17"
        )


def _scale(item: Item, landmarks: np.ndarray, given: Layout) -> tuple[np.ndarray | None, float | None]:
    """Width and height that image landmarks are shares of, 1 where they are pixels, and the image's height.

    None for landmarks of the world.
    """
    if given.dims == 3:
        return None, None
    if (np.abs(landmarks[..., :2]) > _SHARE).any():
        return np.ones(2), positive(item.fields, "image_height")
    size = _image_size(item)
    return size, float(size[1])


def _read_table(item: Item, given: Layout, min_score: float) -> Clip:
    """A clip out of a table, as `read` gives it."""
    table = load_poses(item.path, layout("mediapipe33"))
    with naming_file(item.path):
        if given.dims == 3:
            _check_world(table.data)
        size, height = _scale(item, table.data, given)
        score = np.full(table.data.shape[:-1], np.nan) if table.score is None else table.score
        data, score = as_joints(table.data, score, given, size)
        data = mark_missing(data)
        data[score <= min_score] = np.nan
        clip = make_clip(item, data, None if table.score is None else score, given, height)
    people = tuple(name for name, body in zip(table.people, data, strict=False) if not np.isnan(body).all())
    return replace(clip, notes=table.notes + clip.notes, doubts=table.doubts + clip.doubts, people=people)


def _image_size(item: Item) -> np.ndarray:
    """Width and height of the image, in pixels."""
    width, height = (positive(item.fields, name) for name in ("image_width", "image_height"))
    if width is None or height is None:
        raise ValueError(
            "image landmarks are shares of the image's width and height: clips.csv needs the columns image_width and"
            " image_height"
        )
    return np.array([width, height])


def as_joints(
    landmarks: np.ndarray, score: np.ndarray, given: Layout, size: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks (…, 33, 3) as joints of the layout, in metres, y up, or in pixels of an image; their scores."""
    joints = [layout("mediapipe33").index(joint) for joint in given.joints]
    landmarks = landmarks[..., joints, :]
    return (landmarks * _UP if size is None else landmarks[..., :2] * size), score[..., joints]


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

"""COCO's 17 keypoints, in the JSON that pose estimators write: a file per clip, or a folder of a file per frame.

Formats (coordinates are pixels, y down):
- COCO results, as Detectron2, MMPose's evaluation and AlphaPose write them (cocodataset.org, "Results Format"): a
  list of people with `image_id` and `keypoints`, 17 × x, y, confidence;
- COCO data sets ("Data Format"): `images` and `annotations`, the third number being the visibility, 0 for none;
- MMPose's inferencers: a list of frames, or `instance_info`, of `frame_id` and `instances` with `keypoints` and
  `keypoint_scores`;
- Ultralytics' `Results.to_json()`: people with `keypoints` of x, y, visible; a list of such lists is a clip.
Frames are ordered by the number that they have, or that their image's file name has. Images of several folders, or of
several `video_id`, are several clips, each called as its folder or video below the file's name; a folder of numbered
files of one frame each is a clip. `track_id`, `idx` and the like tell who is who, if all have them (see `detections`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from kinemask.budget import read_bytes
from kinemask.readers.base import Failure, Item, Reader, ReadOptions, Scan
from kinemask.readers.crowds import CROWDS, people_of, usual
from kinemask.readers.detections import Detections, followed
from kinemask.readers.files import brief, find_files, naming_file, parse_json, parse_json_lines
from kinemask.readers.frames import (
    FILES,
    NUMBERS,
    VIDEOS,
    as_whole,
    find_key,
    find_value,
    frame_number,
    gather_frames,
    number_frames,
    read_frames,
    split_names,
)
from kinemask.readers.joint_names import listed
from kinemask.readers.keypoints import Keypoints, layout_of, tell_names
from kinemask.readers.own import UNITS, existing, list_clips, positive
from kinemask.skeleton import Layout
from kinemask.store.format import Clip

_CONFIDENCES = ("score", "bbox_score", "confidence")  # of a person as a whole
_FRAMES = tuple(name for name in NUMBERS if name != "index")
_TALLEST = 1e6  # pixels of an image

_SUFFIXES = (".json", ".jsonl", ".ndjson")
_PATTERNS = tuple(f"*{suffix}" for suffix in _SUFFIXES)
_LOOKED_AT = 20  # files, for the names of their joints

Crowd = list[dict[str, Any]]


@dataclass(frozen=True)
class _Video:
    """A recording within a file. name: "" where the file is one. crowds: people by frame. height: of the image."""

    name: str
    crowds: dict[int, Crowd]
    height: float | None = None
    doubts: tuple[str, ...] = ()


def scan(src: Path) -> Scan:
    """The clips of `clips.csv`, which may name folders of frames, or else every JSON file, and folders of frames."""
    find = lambda src: gather_frames(find_files(src, _PATTERNS, "files .json"), _is_frame)
    found = list_clips(src, find, lambda path: existing(path, _SUFFIXES, True), "file .json or folder of them")
    other = next(filter(None, (_other_layout(item.path) for item in found.items[:_LOOKED_AT])), None)
    if other is None:
        return found
    told = f"the joints of {src} are those of layout {other.name}, which is the store's"
    return replace(found, layout=other, unlisted=(*found.unlisted, told))


def read(item: Item, options: ReadOptions) -> Clip | Iterator[Clip | Failure]:
    """One clip (M, T, 17, 2), or one for each video, people followed from frame to frame or as the source has them.

    People who are as a whole no more confident than the options' `min_score` are not there.
    """
    path, names = item.path, ()
    if path.is_dir():
        videos = _read_folder(path)
    else:
        content = parse_json_lines(path)
        with naming_file(path):
            names = _only_names(content)
            videos = _split(usual(content))
    reads = lambda: Keypoints(READER.choose_layout(options.layout), names)
    if len(videos) > 1:
        return _read_videos(item, videos, options, reads)
    return _read_video(item, videos[0], options, reads())


def _other_layout(path: Path) -> Layout | None:
    """The layout of a file that names its joints, where that is another than COCO's 17 and they are not among them."""
    if path.is_dir():
        return None
    raw = read_bytes(path)
    if b'"meta_info"' not in raw and b'"categories"' not in raw:
        return None
    try:
        content = parse_json(path)
        names = _only_names(content)
    except ValueError:
        return None
    return layout_of(names, 3 if _is_3d(content) else 2) if names else None


def count_joints(path: Path) -> int | None:
    """How many joints, each of three numbers, the first person of a file has; None where nobody is in it."""
    try:
        videos = _split(usual(parse_json_lines(path)))
    except ValueError:
        return None
    people = (who for video in videos for crowd in video.crowds.values() for who in crowd)
    return next((np.size(who["keypoints"]) // 3 for who in people if np.ndim(who["keypoints"]) == 1), None)


def _is_3d(content: Any) -> bool:
    """Whether MMPose's first person has three coordinates beside the confidences."""
    match content:
        case {"instance_info": [*frames]}:
            people = (who for frame in frames if isinstance(frame, dict) for who in frame.get("instances") or ())
            who = next((who for who in people if isinstance(who, dict)), {})
            value = who.get("keypoints")
            return "keypoint_scores" in who and isinstance(value, list) and np.shape(value)[-1:] == (3,)
    return False


def _only_names(content: Any) -> tuple[str, ...]:
    """The names of the joints that a file tells; ValueError where it tells of several kinds of body."""
    told = list(dict.fromkeys(tell_names(content)))
    if len(told) > 1:
        kinds = " and ".join(listed(names, 4) for names in told[:3])
        raise ValueError(f"categories with different keypoints: {kinds}; expected one kind of body")
    return told[0] if told else ()


def _read_videos(
    item: Item, videos: Sequence[_Video], options: ReadOptions, reads: Callable[[], Keypoints]
) -> Iterator[Clip | Failure]:
    for video in videos:
        part = replace(item, name=f"{item.name}/{video.name}")
        try:
            yield _read_video(part, video, options, reads())
        except ValueError as error:
            yield Failure.of(error, part.name)


def _read_video(item: Item, video: _Video, options: ReadOptions, keypoints: Keypoints) -> Clip:
    with naming_file(item.path):
        found = {
            number: [keypoints.read(who, f"frame {number}") for who in crowd if _is_there(who, options.min_score)]
            for number, crowd in video.crowds.items()
        }
        height = positive(item.fields, "image_height") or video.height
        clip = followed(Detections.of(found, video.doubts), item, keypoints.given, options.min_score, height)
    return replace(clip, notes=(*keypoints.notes, *clip.notes))


def _is_frame(content: Any) -> bool | None:
    """Whether a file's content is of one frame; None where it has nobody."""
    match content:
        case []:
            return None
        case [{"keypoints": _, **rest}, *_] | {"instance_info": [{"keypoints": _, **rest}, *_]}:
            return not isinstance(rest.get("image_id"), int | str)
        case {"instances": _} | {"people": _} | {"bodies": _} | {"poses": _}:
            return True
    return False


def _read_folder(folder: Path) -> list[_Video]:
    """The people of a folder's files, each a frame."""
    content = read_frames(folder, find_files(folder, "*.json", "files .json"))
    return [
        _Video(video, {number: _frame_crowd(value, str(file)) for number, (file, value) in frames.items()})
        for video, frames in content.items()
    ]


def _frame_crowd(content: Any, where: str) -> Crowd:
    if isinstance(content, dict):
        content = next((content[key] for key in (*CROWDS, "instance_info") if key in content), None)
    return _crowd(content, where)


def _split(content: Any) -> list[_Video]:
    """The recordings of a file's content."""
    match content:
        case {"images": [*images], "annotations": [*notes], **rest}:
            return _split_data_set(images, notes, rest.get("videos"))
        case {"instance_info": [{"keypoints": _}, *_] as people}:
            return [_Video("", {0: _crowd(people, "frame 0")})]
        case {"instance_info": [*frames]}:
            return [_split_frames(frames)]
        case [{"instances": _}, *_]:
            return [_split_frames(content)]
        case [{"image_id": _}, *_]:
            return _split_results(content)
        case [{"keypoints": _}, *_] | []:
            return [_Video("", {0: _crowd(content, "frame 0")})]
        case [[*_], *_]:
            return [_Video("", {at: _crowd(crowd, f"frame {at}") for at, crowd in enumerate(content)})]
    raise ValueError(
        "expected COCO results, a COCO data set, or the people in the frames of MMPose or Ultralytics, found"
        f" {brief(content)}"
    )


def _split_data_set(images: Sequence[Any], notes: Sequence[Any], videos: Any) -> list[_Video]:
    """People by video and image; images have a number, or their files' names have, or they are in order."""
    at: dict[Any, int] = {}
    for i, image in enumerate(images):
        name = image.get("id") if isinstance(image, dict) else None
        if not isinstance(name, int | str) or name in at:
            raise ValueError(f"images: expected objects, each with an id of its own; number {i} is {brief(image)}")
        at[name] = i
    known = {video.get("id"): video.get("name") for video in videos or () if isinstance(video, dict)}
    places = _place_images(images, known)
    for i, note in enumerate(notes):
        image = note.get("image_id") if isinstance(note, dict) else None
        if not isinstance(image, int | str) or image not in at:
            raise ValueError(f"annotations: expected each to have an image_id of images; number {i} is {brief(note)}")
    crowds: list[Crowd] = [[] for _ in images]
    for note in _crowd(notes, "the list"):
        crowds[at[note["image_id"]]].append(note)
    found: dict[str, dict[int, Crowd]] = {}
    heights: dict[str, set[float]] = {}
    for image, crowd, (video, number) in zip(images, crowds, places, strict=True):
        found.setdefault(video, {})[number] = crowd
        height = image.get("height")
        if type(height) in (int, float) and 0 < height < _TALLEST:
            heights.setdefault(video, set()).add(float(height))
    told = {video: heights.get(video, set()) for video in found}
    return [_Video(video, found[video], min(told[video]) if len(told[video]) == 1 else None) for video in found]


def _place_images(images: Sequence[dict[str, Any]], known: Mapping[Any, Any]) -> list[tuple[str, int]]:
    """Each image's video, "" where there is one only, and its number within."""
    files = [file for image in images if isinstance(file := find_value(image, FILES), str)]
    named = len(files) == len(images) > 0
    videos, numbers = split_names(files) if named else ([""] * len(images), None)
    told = [find_value(image, VIDEOS) for image in images]
    if told and all(isinstance(one, int | str) for one in told):
        videos = [str(known.get(one) or one) for one in told]
    if all(find_key(image, _FRAMES) for image in images):
        numbers = [frame_number(find_value(image, _FRAMES), f"images: number {at}") for at, image in enumerate(images)]
    if numbers is None or len(set(zip(videos, numbers, strict=True))) < len(images):
        numbers = list(range(len(images)))
    return list(zip(videos, numbers, strict=True))


def _split_results(people: Sequence[Any]) -> list[_Video]:
    """People by the video and the number that their `image_id` tells."""
    people = _crowd(people, "the list")
    images = list(dict.fromkeys(who.get("image_id") for who in people if isinstance(who.get("image_id"), int | str)))
    places: dict[Any, tuple[str, int]] = {}
    files = [image for image in images if isinstance(image, str) and as_whole(image) is None]
    if files and len(files) == len(images):
        videos, numbers = split_names(files)
        places = dict(zip(files, zip(videos, numbers, strict=True), strict=True)) if numbers is not None else {}
    found: dict[str, dict[int, Crowd]] = {}
    images_of: dict[tuple[str, int], Any] = {}
    for at, who in enumerate(people):
        image, own = who.get("image_id"), find_value(who, VIDEOS)
        where = f"person {at}: image_id"
        video, number = (
            places[image] if isinstance(image, str) and image in places else ("", frame_number(image, where))
        )
        video = str(own) if isinstance(own, int | str) else video
        if (other := images_of.setdefault((video, number), image)) != image:
            raise ValueError(f"{where}: {brief(image)} and {brief(other)} have one number, {number}")
        found.setdefault(video, {}).setdefault(number, []).append(who)
    return [_Video(video, crowds) for video, crowds in found.items()]


def _split_frames(frames: Sequence[Any]) -> _Video:
    """People by frame, as MMPose writes them."""
    for at, frame in enumerate(frames):
        if not isinstance(frame, dict):
            raise ValueError(f"frame {at}: expected an object with frame_id and instances, found {brief(frame)}")
    numbers, doubts = number_frames(frames)
    people = [_crowd(frame.get("instances"), f"frame {at}") for at, frame in enumerate(frames)]
    return _Video("", dict(zip(numbers, people, strict=True)), doubts=doubts)


def _crowd(people: Any, where: str) -> Crowd:
    """A list of people, checked to be one."""
    people = people_of(people) if isinstance(people, list) else people
    if not isinstance(people, list) or not all(isinstance(who, dict) and "keypoints" in who for who in people):
        raise ValueError(f"{where}: expected a list of people with keypoints, found {brief(people)}")
    return people


def _is_there(person: dict[str, Any], min_score: float) -> bool:
    score = next((person[key] for key in _CONFIDENCES if key in person), None)
    return not isinstance(score, int | float) or score > min_score


READER = Reader(
    name="coco17",
    title="COCO keypoints of Detectron2, MMPose, AlphaPose, Ultralytics: JSON per clip, clips.csv if there are labels",
    citation="",
    layout="coco17",
    other_layouts=("coco18", "coco133", "halpe26", "h36m17", "mpi15", "mpii16", "openpose25"),
    scan=scan,
    read=read,
    units=UNITS,
    scores=True,
    is_format=True,
)

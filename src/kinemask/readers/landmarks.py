"""MediaPipe's landmarks in JSON, in the ways that people write them: frames, in each of them people, of each landmarks.

Frames are a list, an object's `frames`, an object keyed by frame number, or lines of JSON; or an object has a list for
each landmark. A frame is an object that has people under one of the keys below, or the people themselves. A person is
a list of landmarks, an object that has one, an object keyed by landmark, by its name or number, or a row of numbers. A
landmark is an object of x, y, z and visibility, or a list of them. Nothing (null, an empty list) is nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from kinemask.readers.files import as_numbers, brief
from kinemask.readers.frames import NUMBERS, TIMES, as_whole, find_value, plain
from kinemask.readers.joint_names import plain_name
from kinemask.skeleton import layout

JOINTS = 33
WORLD = ("pose_world_landmarks", "world_landmarks", "keypoints3D", "world", "landmarks_world", "pose_world")
IMAGE = ("pose_landmarks", "image_landmarks", "normalized_landmarks")
UNSURE = ("landmarks", "landmark", "keypoints", "pose", "poses", "people", "persons", "joints", "body", "points")
_FRAMES = ("frames", "results", "data", "sequence", "frame_data", "video", "detections", "predictions")
_VISIBILITY = ("visibility", "score", "confidence", "v", "vis", "presence")
_BARE = "landmarks"  # the key of people who stand in a frame's place

Frame = Mapping[str, Any]


def find_frames(content: Any) -> list[Frame]:
    """The frames of a file's content, each an object that has its number, if the content tells it."""
    if isinstance(content, dict):
        inner = find_value(content, _FRAMES)
        if isinstance(inner, list | dict):
            return find_frames(inner)
        if content and all(_frame_number(key) is not None for key in content):
            return [_frame(value, _frame_number(key)) for key, value in content.items()]
        if series := _series(content):
            return series
        people = next((content[key] for key in content if plain(key) in _PEOPLE), None)
        if isinstance(people, list) and people and all(map(_is_numbered, people)):
            return find_frames(people)
        if isinstance(people, list) and people and not _is_landmark(people[0]):
            key = next(key for key in content if plain(key) in _PEOPLE)
            several = sum(isinstance(one, list) and len(one) != 1 and _is_person(one) for one in people)
            if len(people) > 1 and (several == len(people) or any(one in (None, []) for one in people)):
                return [{key: one} for one in people]  # a column of frames
            return [content]
        if people is not None or _is_person(content):
            return [_frame(content, None)]
    if isinstance(content, list):
        about = content[0] if len(content) > 1 else None  # a first line on the recording
        if isinstance(about, dict) and about and not find_value(about, (*NUMBERS, *TIMES)) and not _has_any(about):
            content = content[1:] if any(isinstance(one, dict) and _has_any(one) for one in content[1:]) else content
        return [_frame(value, None) for value in content]
    raise ValueError("expected a list of frames, each an object, or an object with such a list as frames")


def _is_numbered(value: Any) -> bool:
    """Whether it is a frame that says so: an object with a number or a time and something of people."""
    return isinstance(value, dict) and find_value(value, (*NUMBERS, *TIMES)) is not None and _has_any(value)


def _series(content: Mapping[str, Any]) -> list[Frame]:
    """Frames out of an object that has a list for each landmark, of where it is in each frame; none for another."""
    lists = {key: value for key, value in content.items() if plain_name(str(key)) in _names()}
    if len(lists) <= JOINTS // 2:
        return []
    for key, value in lists.items():
        if isinstance(value, dict) and isinstance(value.get("x"), list):  # a list for each coordinate
            columns = [column for column in value.values() if isinstance(column, list)]
            rows = zip(*columns, strict=False)
            lists[key] = [dict(zip(value, row, strict=False)) for row in rows]
    lengths = {
        len(value) if isinstance(value, list) and value and not _is_number(value[0]) else 0 for value in lists.values()
    }
    if len(lengths) != 1 or 0 in lengths:
        return []
    return [{_BARE: [{key: value[t] for key, value in lists.items()}]} for t in range(lengths.pop())]


def _has_any(frame: Mapping[str, Any]) -> bool:
    return any(plain(key) in _PEOPLE for key in frame) or _is_person(frame)


def _frame(value: Any, number: int | None) -> Frame:
    """A frame as an object, with its number where its key told it."""
    told = {} if number is None else {"frame": number}
    if value is None or isinstance(value, list):
        return {**told, _BARE: value}
    if not isinstance(value, dict):
        raise ValueError("expected a list of frames, each an object, or an object with such a list as frames")
    if _is_person(value):
        known = (*NUMBERS, *TIMES)
        apart = {key: one for key, one in value.items() if plain(key) in map(plain, known) and as_whole(key) is None}
        return {**apart, **told, _BARE: [{key: one for key, one in value.items() if key not in apart}]}
    return {**told, **value}


def _frame_number(key: str) -> int | None:
    """The number of a frame that a key names: 12, frame_12, 000012.png; None for another key."""
    stem = plain(key.rpartition(".")[0] or key).removeprefix("frame").removeprefix("img").removeprefix("image")
    return as_whole(stem) if stem.isdecimal() else None


def people_of(frame: Frame, keys: Sequence[str]) -> Any:
    """What a frame has under the first of the keys, in any spelling; None where it has none of them."""
    spelt = {plain(key): key for key in reversed(list(frame))}
    key = next((spelt[plain(key)] for key in keys if plain(key) in spelt), None)
    return None if key is None else frame[key]


def has_people(frame: Frame, keys: Sequence[str]) -> bool:
    """Whether a frame has one of the keys, or one of its people has."""
    wanted = set(map(plain, keys))
    if any(plain(key) in wanted for key in frame):
        return True
    people = people_of(frame, UNSURE)
    return isinstance(people, list) and any(
        isinstance(one, dict) and any(plain(key) in wanted for key in one) for one in people
    )


def parse_people(frame: Frame, keys: Sequence[str], where: str, depth: bool) -> list[np.ndarray]:
    """Landmarks (33, 4) of everybody in a frame: x, y, z and visibility, NaN where they are not told.

    depth: whether z is needed.
    """
    value = people_of(frame, keys)
    if value is None and isinstance(people := people_of(frame, UNSURE), list):  # TF.js: the keys are the people's own
        value = [one for one in (people_of(who, keys) for who in people if isinstance(who, dict)) if one is not None]
    if not value:
        return []
    if _is_person(value):
        value = [value]
    elif isinstance(value, dict) and value and all(as_whole(key) is not None for key in value):
        value = list(value.values())  # keyed by person
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        raise ValueError(f"{where}: expected a list of people, found {brief(value)}")
    people = enumerate(value, 1)
    return [_parse_person(one, f"{where}, person {i}", depth) for i, one in people if one is not None and one != []]


def _is_landmark(value: Any) -> bool:
    """Whether it is one landmark, as opposed to a person's list of them."""
    if isinstance(value, list):
        return 0 < len(value) <= 6 and isinstance(value[0], int | float)
    return (
        isinstance(value, dict)
        and "x" in {key.lower() for key in value}
        and not isinstance(value.get("x", value.get("X")), list)
    )


def _is_person(value: Any) -> bool:
    """Whether it is one person's landmarks, in whatever form."""
    if isinstance(value, list):
        return bool(value) and (any(map(_is_landmark, value)) or (len(value) >= JOINTS and _is_number(value[0])))
    if not isinstance(value, dict):
        return False
    if isinstance(value.get("x", value.get("X")), list):  # a list for each coordinate
        return True
    named = [key for key in value if plain_name(str(key)) in _names()]
    numbered = [key for key in value if as_whole(key) is not None]
    return len(named) > JOINTS // 2 or (len(numbered) >= JOINTS - 1 and all(map(_is_landmark, value.values())))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _parse_person(person: Any, where: str, depth: bool) -> np.ndarray:
    given = person
    if isinstance(person, dict):
        person = _from_object(person, where)
    if not isinstance(person, list):
        raise ValueError(f"{where}: expected a list of landmarks, found {brief(given)}")
    if person and _is_number(person[0]) and len(person) % JOINTS == 0:  # a row of numbers
        width = len(person) // JOINTS
        person = [person[i : i + width] for i in range(0, len(person), width)]
    keys = [_key(landmark) for landmark in person]
    if any(key is not None for key in keys) and keys != list(range(JOINTS)):
        person = _place(person, where)
    rows = [_row(landmark) for landmark in person]
    try:
        values = np.array(rows, np.float64)
    except (ValueError, TypeError, OverflowError):
        values = as_numbers(rows, where)
    if values.ndim == 2 and values.shape[1] in (4, 5) and np.array_equal(values[:, 0], np.arange(len(values))):
        values = values[:, 1:]  # each begins with its number
    least = 3 if depth else 2
    if values.ndim != 2 or len(values) != JOINTS or not least <= values.shape[1] <= 5:
        raise ValueError(f"{where}: expected 33 landmarks of x, y, z and visibility, found {values.shape}")
    if depth and (np.isnan(values[:, 2]) & ~np.isnan(values[:, 0])).any():
        raise ValueError(f"{where}: expected numbers x, y and z of each landmark; z is not there")
    if values.shape[1] == 2:
        values = np.pad(values, ((0, 0), (0, 1)), constant_values=np.nan)
    values = values[:, :4]
    return np.pad(values, ((0, 0), (0, 4 - values.shape[1])), constant_values=np.nan)


def _from_object(person: Mapping[str, Any], where: str) -> Any:
    """A person's landmarks in order, out of an object that holds or names them."""
    if isinstance(person.get("x", person.get("X")), list):
        low = {plain(key): value for key, value in person.items()}
        rows = [low.get("x"), low.get("y"), low.get("z"), find_value(low, _VISIBILITY)]
        rows = [row if isinstance(row, list) else [None] * len(low["x"]) for row in rows]
        return [list(row) for row in zip(*rows, strict=True)] if len({len(row) for row in rows}) == 1 else rows
    if _is_person(person):
        keyed = [(key, value) for key, value in person.items() if _index(key) is not None]
        base = (
            1 if not any(_index(key) == 0 for key, _ in keyed) and any(_index(key) == JOINTS for key, _ in keyed) else 0
        )
        rows: list[Any] = [None] * JOINTS
        for key, value in keyed:
            v = (_index(key) or 0) - base
            if not 0 <= v < JOINTS:
                raise ValueError(f"{where}: there is no landmark {key[:40]!r}")
            rows[v] = value
        return rows
    held = people_of(person, ("landmark", "landmarks", "keypoints", "joints", "points"))
    return _from_object(held, where) if isinstance(held, dict) else held


def _place(landmarks: Sequence[Any], where: str) -> list[Any]:
    """Landmarks that say who they are, in order; those that are not there None."""
    rows: list[Any] = [None] * JOINTS
    for landmark in landmarks:
        v = _key(landmark)
        if v is None or not 0 <= v < JOINTS or rows[v] is not None:
            raise ValueError(f"{where}: expected 33 landmarks, or each with a name or number; found {brief(landmark)}")
        rows[v] = landmark
    return rows


def _key(landmark: Any) -> int | None:
    """Which landmark it says it is, by name or number; None where it does not."""
    if not isinstance(landmark, dict):
        return None
    told = next((landmark[key] for key in ("name", "landmark", "id", "index", "idx", "joint") if key in landmark), None)
    return None if told is None else _index(told)


def _index(key: Any) -> int | None:
    number = as_whole(key)
    return _names().get(plain_name(str(key))) if number is None else number


@cache
def _names() -> dict[str, int]:
    return {plain_name(joint): v for v, joint in enumerate(layout("mediapipe33").joints)}


def _row(landmark: Any) -> Any:
    """x, y, z and visibility of a landmark; None where they are not there."""
    if landmark is None or landmark == []:
        return [None] * 4
    if not isinstance(landmark, dict):
        return landmark
    if "x" not in landmark:
        landmark = {plain(key): value for key, value in landmark.items()}
    visibility = landmark.get("visibility")
    if visibility is None:
        visibility = find_value(landmark, _VISIBILITY)
    return [landmark.get("x"), landmark.get("y"), landmark.get("z"), visibility]


_PEOPLE = frozenset(map(plain, (*WORLD, *IMAGE, *UNSURE)))

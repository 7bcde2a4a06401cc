"""Which frame something belongs to, and which video: what sources call it, how they number, what file names say."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from kinemask.readers.files import brief, parse_json

NUMBERS = (
    "frame",
    "frame_id",
    "frame_index",
    "frame_idx",
    "frame_number",
    "frame_num",
    "frame_no",
    "frame_nr",
    "index",
)
TIMES = ("timestamp", "timestamp_ms", "timestamp_us", "time_ms", "time", "time_stamp", "ms", "msec", "pts", "t")
FILES = ("file_name", "image_name", "image_path", "img_name", "img_path", "image_file", "image")
VIDEOS = ("vid_id", "video_id", "video", "video_name", "vid", "sequence", "sequence_id", "seq_id", "clip_id", "clip")

FEWEST = 4  # frames that tell a constant step
REGULAR = 0.9  # of the steps from frame to frame are multiples of it
_HASH = re.compile(r"[._]rf[._][0-9a-f]{8,}", re.IGNORECASE)  # that Roboflow adds to names
_DIGITS = re.compile(r"\d+")


def plain(name: Any) -> str:
    """A key as it compares: frameIndex, frame_index and Frame Index are one."""
    return re.sub(r"[^a-z0-9]", "", str(name).lower())


def find_key(record: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """The record's key for the first of these names that has a value there, however it is spelt."""
    spelt = {plain(key): key for key in reversed(list(record)) if record[key] is not None}
    return next((spelt[plain(name)] for name in names if plain(name) in spelt), None)


def find_value(record: Mapping[str, Any], names: Sequence[str]) -> Any:
    """The value of the first of these names; None where the record has none."""
    key = find_key(record, names)
    return None if key is None else record[key]


def frame_number(value: Any, where: str) -> int:
    """A frame's number: a whole number, also as a text or a float, or the last one in a file's name."""
    number = as_whole(value)
    if number is None and isinstance(value, str):
        runs = _DIGITS.findall(_stem(value))
        number = int(runs[-1]) if runs and len(runs[-1]) <= 15 else None
    if number is None:
        raise ValueError(f"{where}: expected a frame's number, or a file's name that ends in it; found {brief(value)}")
    return number


def as_whole(value: Any) -> int | None:
    """A whole number of at most 15 digits, also as a text or a float; None for anything else."""
    if isinstance(value, str):
        if not re.fullmatch(r"\s*[-+]?\d{1,15}(\.0*)?\s*", value):
            return None
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
        return None
    return int(value) if value == int(value) else None


def number_frames(records: Sequence[Mapping[str, Any]]) -> tuple[list[int], tuple[str, ...]]:
    """The number of each record of a list of frames, and doubts about it.

    It is what the records themselves say, under any of the usual names, or follows from their times; where they say
    nothing, their place in the list. Raises ValueError naming the record whose number is none, or is another's.
    """
    keys = [find_key(record, NUMBERS) for record in records]
    values = [None if key is None else _time(record[key]) for key, record in zip(keys, records, strict=True)]
    if len(values) >= FEWEST and None not in values and any(value % 1 for value in values if value is not None):
        return _number_times(np.array(values, np.float64))
    if any(key is not None for key in keys):
        seen: dict[int, int] = {}
        for at, (record, key) in enumerate(zip(records, keys, strict=True)):
            number = at if key is None else _told(record[key])
            if number is None or number in seen:
                what = key or "its place in the list"
                twice = f"this is a second frame of {what} {number}"
                found = twice if number in seen else f"it is {brief(record.get(what))}"
                raise ValueError(f"frame {at}: expected {what} to be a whole number, found once; {found}")
            seen[number] = at
        return list(seen), ()
    times = [_time(find_value(record, TIMES)) for record in records]
    if len(times) >= FEWEST and None not in times:
        return _number_times(np.array(times, np.float64))
    return list(range(len(records))), ()


def _told(value: Any) -> int | None:
    """A number, or the last one in a text; None where there is none."""
    try:
        return frame_number(value, "")
    except ValueError:
        return None


def _time(value: Any) -> float | None:
    try:
        return None if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _number_times(times: np.ndarray) -> tuple[list[int], tuple[str, ...]]:
    order = list(range(len(times)))
    steps = np.diff(times)
    if not np.all(np.isfinite(times)) or not np.all(steps > 0):
        return order, ("the frames' times do not rise: taken in their order",)
    counts = count_steps(steps, float(np.median(steps)), 0.25 * float(np.median(steps)))
    if counts is None:
        return order, ("the frames' times have no constant step: taken as one after the other",)
    return [0, *np.cumsum(counts).tolist()], ()


def count_steps(steps: np.ndarray, step: float, tolerance: float) -> np.ndarray | None:
    """How many times `step` each of the steps is, at least once; None where they are no multiples of it."""
    counts = np.maximum(np.round(steps / step), 1)
    regular = np.abs(steps - counts * step) <= np.maximum(tolerance, 1e-9)
    return counts.astype(np.int64) if regular.mean() >= REGULAR else None


def close_steps(numbers: Sequence[int]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Positions, from 0, of frames that are numbered ascending, and doubts about them.

    Numbers that rise by a constant step, as milliseconds do or those of every fifth frame, are of frames that follow
    each other; twice the step is a gap of one frame. Other numbers are kept, less the first.
    """
    found = np.asarray(numbers, np.int64)
    steps = np.diff(found)
    step = float(np.median(steps)) if len(found) >= FEWEST else 1.0
    if step >= 2:
        tolerance = 0.0 if step < 5 else 1.0 if step < 10 else 0.2 * step
        if (counts := count_steps(steps, step, tolerance)) is not None:
            what = "milliseconds or " * (step > 10) + "every so many frames"
            said = f"frames are numbered in steps of {step:g}, as {what} are: taken as one after the other"
            return np.concatenate([[0], np.cumsum(counts)]), (said,)
    return found - found[0], ()


def split_names(names: Sequence[str]) -> tuple[list[str], list[int] | None]:
    """The video that each image belongs to, by its file's folder and the rest of its name, and its number.

    The number is that in the name without which the fewest names differ, the last of these. Names that differ in more
    are of several videos, if images share each. The number is None where a name has none of its own.
    """
    paths = [PurePosixPath(_HASH.sub("", name).replace("\\", "/")) for name in names]
    folders = ["" if str(path.parent) == "." else str(path.parent) for path in paths]
    groups: dict[str, list[int]] = {}
    for at, folder in enumerate(folders):
        groups.setdefault(folder, []).append(at)
    videos, numbers = list(folders), [0] * len(paths)
    for folder, members in groups.items():
        rests, found = _split_stems([paths[at].stem for at in members])
        if found is None:
            return videos, None
        for at, rest, number in zip(members, rests, found, strict=True):
            videos[at], numbers[at] = "/".join(filter(None, (folder, rest))), number
    return videos, numbers


def _split_stems(stems: Sequence[str]) -> tuple[list[str], list[int] | None]:
    """What is left of names of one folder without their number, "" where it is the same for all; and the number."""
    runs = [list(_DIGITS.finditer(stem)) for stem in stems]
    best: tuple[list[str], list[int]] | None = None
    for back in range(1, min((len(found) for found in runs), default=0) + 1):
        chosen = [found[-back] for found in runs]
        if any(len(run[0]) > 15 for run in chosen):
            continue
        rests = [f"{stem[: run.start()]}#{stem[run.end() :]}" for stem, run in zip(stems, chosen, strict=True)]
        if best is None or len(set(rests)) < len(set(best[0])):
            best = rests, [int(run[0]) for run in chosen]
    if best is not None and _share(best[0]) and len(set(zip(*best, strict=True))) == len(stems):
        alone = len(set(best[0])) == 1
        return ["" if alone else re.sub(r"[_\-. ]*#[_\-. ]*", "_", rest).strip("_") for rest in best[0]], best[1]
    return [""] * len(stems), _distinct([[run[0] for run in found] for found in runs])


def _share(rests: Sequence[str]) -> bool:
    """Whether all names are one but for their number, or each is shared by some."""
    counts = Counter(rests)
    return len(counts) == 1 or min(counts.values()) > 1


def gather_frames(files: Sequence[Path], is_frame: Callable[[Any], bool | None]) -> list[Path]:
    """The same files, but for folders that hold a numbered file for each frame of a recording: those in their place.

    is_frame: whether a file's content is that of one frame; None where it may be.
    """
    folders: dict[Path, list[Path]] = {}
    for file in files:
        folders.setdefault(file.parent, []).append(file)
    found: list[Path] = []
    for folder, members in folders.items():
        numbered = len(members) > 1 and split_names([file.name for file in members])[1] is not None
        found += [folder] if numbered and _are_frames(members, is_frame) else members
    return found


def _are_frames(files: Sequence[Path], is_frame: Callable[[Any], bool | None]) -> bool:
    for file in files:
        try:
            answer = is_frame(parse_json(file)) if file.suffix.lower() == ".json" else False
        except ValueError:
            return False
        if answer is not None:
            return answer
    return False


def read_frames(folder: Path, files: Sequence[Path]) -> dict[str, dict[int, tuple[Path, Any]]]:
    """The JSON files of a folder by their video, "" for the folder itself, and by their number, with their content."""
    videos, numbers = split_names([file.relative_to(folder).as_posix() for file in files])
    if numbers is None:
        numbers = [frame_number(file.name, str(file)) for file in files]
    found: dict[str, dict[int, tuple[Path, Any]]] = {}
    alone = len(set(videos)) == 1
    for file, video, number in sorted(zip(files, videos, numbers, strict=True), key=lambda entry: entry[2]):
        frames = found.setdefault("" if alone else video, {})
        if number in frames:
            raise ValueError(f"{file}: a second file of frame {number}; expected a folder for each clip")
        frames[number] = file, parse_json(file)
    return found


def _distinct(runs: Sequence[Sequence[str]]) -> list[int] | None:
    """The last run of digits that differs in all of the names."""
    for back in range(1, min((len(found) for found in runs), default=0) + 1):
        numbers = [int(found[-back]) if len(found[-back]) <= 15 else -1 for found in runs]
        if len(set(numbers)) == len(numbers) and min(numbers) >= 0:
            return numbers
    return None


def _stem(name: str) -> str:
    """A file's name without folder and ending, nor what Roboflow adds."""
    return PurePosixPath(_HASH.sub("", name).replace("\\", "/")).stem

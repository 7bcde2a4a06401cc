"""PKU-MMD, parts I and II: long videos of up to two people, cut into actions by label files.

The owners' README: a skeleton file has a line of 2 × 25 × 3 numbers per frame, all zero for a body that is not
there; a label file a line `class,start,end,confidence` per action; a split file names the training videos in its
second line. What frames are counted from it does not say: here an action is frames start to end - 1, from 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from kinemask.budget import PARSED, read_bytes
from kinemask.readers.base import Complete, Failure, Item, Reader, ReadOptions, Scan
from kinemask.readers.cleaning import clean_3d, mark_missing
from kinemask.readers.files import find_files, name_file, read_text, unique_names
from kinemask.skeleton import layout
from kinemask.store.format import Clip

# fmt: off
CLASSES = (
    "bow", "brushing hair", "brushing teeth", "check time (from watch)", "cheer up", "clapping",
    "cross hands in front (say stop)", "drink water", "drop", "eat meal/snack", "falling",
    "giving something to other person", "hand waving", "handshaking", "hopping (one foot jumping)",
    "hugging other person", "jump up", "kicking other person", "kicking something", "make a phone call/answer phone",
    "pat on back of other person", "pickup", "playing with phone/tablet", "point finger at the other person",
    "pointing to something with finger", "punching/slapping other person", "pushing other person", "put on a hat/cap",
    "put something inside pocket", "reading", "rub two hands together", "salute", "sitting down", "standing up",
    "take off a hat/cap", "take off glasses", "take off jacket", "take out something from pocket", "taking a selfie",
    "tear up paper", "throw", "touch back (backache)", "touch chest (stomachache/heart pain)",
    "touch head (headache)", "touch neck (neckache)", "typing on a keyboard",
    "use a fan (with hand or paper)/feeling warm", "wear jacket", "wear on glasses", "wipe face", "writing",
)
# fmt: on
_OVERLAP = 20  # clips that a frame is in, on average; beyond, a small list of labels would fill a disk
_BODIES, _JOINTS = 2, 25
_NUMBERS = _BODIES * _JOINTS * 3
_VIEWS = "LMR"
_SPLITS = {"xsub": re.compile(r"cross[-_]subject.*\.txt", re.I), "xview": re.compile(r"cross[-_]view.*\.txt", re.I)}
_SHAPE = "skeleton/NAME.txt and label/NAME.txt"


def scan(src: Path, name: re.Pattern[str]) -> Scan:
    """The videos of a part, with their label files and their sides in the splits.

    Files whose folder says label are labels, others of the same name the skeletons.
    """
    files = [path for path in find_files(src, "*.txt", f"files {_SHAPE}") if name.fullmatch(path.stem)]
    labelled = [any("label" in part.lower() for part in path.relative_to(src).parts[:-1]) for path in files]
    labels = {path.name: path for path in unique_names([p for p, label in zip(files, labelled, strict=True) if label])}
    videos = unique_names([path for path, label in zip(files, labelled, strict=True) if not label])
    if not videos or not labels:
        what = "skeleton files" if not videos else "label files, in a folder whose name says label,"
        raise ValueError(f"{src} holds no {what} of videos such as {name.pattern}; expected {_SHAPE}")
    training = _read_splits(src, name)
    items = []
    for path in videos:
        sides = {f"split:{split}": "train" if path.stem in names else "test" for split, names in training.items()}
        items.append(Item(path, path.stem, None, sides, labels.get(path.name)))
    return Scan(items, CLASSES, splits=frozenset(training))


def _read_splits(src: Path, name: re.Pattern[str]) -> dict[str, set[str]]:
    """Training videos of each split that the source defines for videos of these names."""
    training: dict[str, set[str]] = {}
    for path in sorted(src.rglob("*.txt")):
        for split, pattern in _SPLITS.items():
            if pattern.fullmatch(path.name):
                lines = read_text(path).splitlines()
                names = {video.strip() for video in lines[1].split(",") if video.strip()} if len(lines) > 1 else set()
                if not names:
                    raise ValueError(f"{path}, line 2: expected the training videos, separated by commas")
                ours = {video for video in names if name.fullmatch(video)}
                if ours and training.setdefault(split, ours) != ours:
                    raise ValueError(f"{path}: another file in {src} says otherwise which videos {split} trains on")
    return training


def read(item: Item, options: ReadOptions) -> Iterator[Clip | Failure]:
    """The clips of a video, NAME_01, NAME_02, … by their lines in its label file; each (M, T, 25, 3)."""
    path = item.path
    if item.content is None:
        raise ValueError(f"{path}: no label file {path.name} in a folder whose name says label")
    actions = _parse_labels(item.content)
    video = _parse_video(path)
    labelled = sum(min(abs(end - start), video.shape[1]) for _, start, end in actions.values())
    if labelled > _OVERLAP * video.shape[1]:
        raise ValueError(f"{item.content}: {labelled:,} frames are labelled, of a video of {video.shape[1]:,}")
    recording, view = path.stem.rsplit("-", 1)
    for line, (label, start, end) in actions.items():
        name = f"{path.stem}_{line:02d}"
        try:
            data, cut = _cut(video, start, end)
            data, notes = clean_3d(mark_missing(data), layout("ntu25"))
        except ValueError as error:
            yield Failure.of(name_file(Path(f"{path}, clip {name}"), error), name)
            continue
        yield Clip(name, data, label, {"recording": recording, "camera": view, **item.fields}, cut + notes)


def _cut(video: np.ndarray, start: int, end: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """Frames start to end - 1 of (M, T, V, 3); the owners' labels at times swap the two, or end late."""
    notes = [f"the label ends ({end}) before it starts ({start}); took them for each other"] if end < start else []
    start, end, frames = min(start, end), max(start, end), video.shape[1]
    if end > frames:
        notes.append(f"the label ends at frame {end}, the video at {frames}")
    if start >= min(end, frames):
        raise ValueError(f"it is labelled from frame {start} to {end}, in a video of {frames}")
    return video[:, start:end], tuple(notes)


def _parse_labels(path: Path) -> dict[int, tuple[int, int, int]]:
    """Class (from 0), start and end of each action, by its line."""
    actions = {}
    for at, line in enumerate(read_text(path).splitlines(), 1):
        fields = [field.strip() for field in line.split(",")]
        if fields == [""]:
            continue
        if len(fields) != 4 or not all(field.isdecimal() and len(field) < 10 for field in fields):
            expected = "class,start,end,confidence, all whole numbers"
            raise ValueError(f"{path}, line {at}: expected {expected}; found {line[:60]!r}")
        action, start, end, _ = map(int, fields)
        if not 1 <= action <= len(CLASSES):
            raise ValueError(f"{path}, line {at}: no class {action}; this data set has 1 to {len(CLASSES)}")
        actions[at] = action - 1, start, end
    if not actions:
        raise ValueError(f"{path} lists no action")
    return actions


def _parse_video(path: Path) -> np.ndarray:
    """Joints (2, T, 25, 3) of all frames."""
    lines = read_bytes(path, PARSED).rstrip().split(b"\n")
    rows: list[list[float]] = []
    for at, line in enumerate(lines, 1):
        try:
            rows.append(list(map(float, line.split())))
        except ValueError:
            rows.append([])
        if len(rows[-1]) != _NUMBERS or b"_" in line:
            found = f"{len(line.split())} fields, {line[:40]!r}…"
            raise ValueError(f"{path}, line {at}: expected {_NUMBERS} numbers separated by spaces, found {found}")
    return np.array(rows).reshape(-1, _BODIES, _JOINTS, 3).swapaxes(0, 1)


def _part(number: int, name: str, title: str, files: int, splits: dict[str, tuple[int, int]]) -> Reader:
    return Reader(
        name=f"pku-mmd-{number}",
        title=f"PKU-MMD {title}, 3 views (Kinect v2, 25 joints)",
        citation=(
            "Liu, Hu, Li, Song, Liu: PKU-MMD: A Large Scale Benchmark for Continuous Multi-Modal Human Action"
            " Understanding. ACM Multimedia workshop 2017"
        ),
        layout="ntu25",
        classes=CLASSES,
        scan=partial(scan, name=re.compile(f"{name}-[{_VIEWS}]")),
        read=read,
        expected=Complete(files, sum(splits["xsub"]), splits),
    )


PART_1 = _part(1, r"\d{4}", "I: 51 actions in 1,076 long videos, 66 subjects", 1076, {"xsub": (18841, 2704)})
PART_2 = _part(2, r"A\d\dN\d\d", "II: 41 actions in 1,009 long videos, 13 subjects", 1009, {"xsub": (5332, 1613)})

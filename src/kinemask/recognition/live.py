"""Labels while poses arrive: a window of the last frames, and a label at every hop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kinemask.preparation.shaping import Shaping, doubt_gravity, in_convention, keep_bodies, stance
from kinemask.readers import Item
from kinemask.readers.cleaning import LARGEST, Rejected
from kinemask.readers.detections import Detection, Detections, followed
from kinemask.readers.tracking import MOST
from kinemask.recognition.arrays import fitting_layouts
from kinemask.recognition.inputs import match_layouts, take_joints
from kinemask.recognition.predict import carried, check_asked
from kinemask.recognition.recogniser import Recogniser
from kinemask.recognition.segments import Segment, labelled
from kinemask.skeleton import Layout
from kinemask.skeleton import layout as shipped
from kinemask.training.settings import Device

LONGEST = 10_000  # frames of a window
SEEN = 0.1  # of a window's frames: where people are seen in fewer, there is no label


class WrongStream(ValueError):
    """The stream is another than was expected (other joints, another unit), so that no later frame would do."""


@dataclass(frozen=True, eq=False)
class _Frame:
    """What one frame has. at: its number from 1, or its seconds since the first; time: as it was told."""

    at: float
    time: float | None
    people: list[tuple[np.ndarray, np.ndarray]]


class LiveWindow:
    """The last frames of a stream, labelled at every hop: `push` each frame as it arrives, `finish` at the end.

    Frames are in the units and axes of the recordings that the recogniser has learned from: 3D in metres with y up,
    unless these had another unit or axis up; 2D in coordinates of the image, y down. People are followed within the
    window, and joints cleaned, as those of files are. Memory holds one window.

    Args:
        recogniser: a Recogniser, or a folder that train wrote
        window: seconds of frames that are looked at (default: as many frames as the median clip of training has)
        hop: seconds from one label to the next (default: half a window)
        fps: frames a second, where frames come without a time
        top: name so many of the most probable classes
        min_confidence: label unsure what is less probable than this
        layout: the skeleton of the frames, where it is not the recogniser's: joints are matched by name
        min_score: treat joints at or below this confidence as missing (default: as in training)
        unit: of 3D coordinates (default: as in training)
        up: the axis that points up (default: as in training)
        bodies: keep this many people of a window, those most seen (default: as in training)
        image_width: of 2D: the image's width, where coordinates are shares of it
        image_height: of 2D: the image's height, where the recordings learned from told theirs
        device: auto takes CUDA where there is one; of a recogniser that is loaded here
        name: of the stream, in segments
        say: takes sentences on what looks wrong (default: they are lost)

    Raises ValueError for options that do not fit the recogniser.
    """

    def __init__(
        self,
        recogniser: Recogniser | str | Path,
        *,
        window: float | None = None,
        hop: float | None = None,
        fps: float | None = None,
        top: int = 1,
        min_confidence: float = 0.0,
        layout: str | Path | Layout | None = None,
        min_score: float | None = None,
        unit: Any = None,
        up: Any = None,
        bodies: int | None = None,
        image_width: float | None = None,
        image_height: float | None = None,
        device: Device = "auto",
        name: str = "live",
        say: Callable[[str], None] = lambda sentence: None,
    ):
        made = recogniser if isinstance(recogniser, Recogniser) else Recogniser.load(recogniser, device)
        check_asked(top, min_confidence, window, hop)
        if fps is not None and not 0 < fps < 10_000:
            raise ValueError(f"fps is {fps:g}; it should be frames a second, such as 30")
        before = carried(made)
        pick = lambda value, key: before.get(key) if value is None else value
        self.recogniser, self.name, self.say = made, name, say
        self.layout = made.layout_ if layout is None else layout if isinstance(layout, Layout) else shipped(layout)
        self._picked: list[int | None] | None = None
        if self.layout.to_dict() != made.layout_.to_dict():
            self._picked, said = match_layouts(self.layout, made.layout_)
            say(said)
        self._shaping = Shaping(pick(unit, "unit"), pick(up, "up"), pick(bodies, "bodies"), checked=True)
        self._shaping.check(self.layout)
        self._least = float(pick(min_score, "min_score") or 0.0)
        self._image = _image_size(self.layout, image_width, image_height)
        self._asked = window, hop, fps
        self._top, self._min_confidence = top, min_confidence
        self.frames = self.labels = self.unlabelled = 0  # so far
        self._timed: bool | None = None  # whether frames have a time; the first one tells
        self._extent = self._step = 0.0
        self._begin()

    def push(self, people: Any, time: float | None = None) -> Segment | None:
        """Take a frame; a Segment where a hop is over and somebody is seen in the window, else None.

        people: one person's joints (V, C), those of several (M, V, C) in any order, or a list of (V, C); None or
        nothing for nobody. A last column more, (V, C + 1), has confidences. NaN is missing. time: in seconds; of all
        frames or of none. A frame older than the one before is left out, and a time that jumps back by more than the
        window, or ahead of it, begins a new window. Raises ValueError for what is no frame, and is as before then.
        """
        crowd = self._crowd(people)
        self._check_time(time)
        if time is not None and self._ring:
            last = self._ring[-1].time
            assert last is not None
            if time < last and last - time <= self._span():
                self.say(f"a frame of {time:g} s after one of {last:g} s is left out")
                return None
            if time < last or (self._asked[0] is not None and time - last > self._extent):
                self.say(f"time jumps from {last:g} to {time:g} s: a new window begins")
                self._begin()
        if self._start is None:
            self._start = time
        self._at = self._at + 1 if time is None or self._asked[0] is None else time - (self._start or 0.0)
        self._ring.append(_Frame(self._at, time, crowd))
        self.frames += 1
        while self._ring[0].at <= self._at - self._extent:
            self._ring.popleft()
        if len(self._ring) > LONGEST:
            raise WrongStream(f"more than {LONGEST:,} frames are within the window of {self._extent:g} s")
        if self._at < self._due:
            return None
        self._due += self._step * (1 + (self._at - self._due) // self._step)
        return self._label()

    def finish(self) -> Segment | None:
        """The label of the last window, where frames have come since the last label; the window is empty then."""
        found = self._label() if self._ring and self._at > self._labelled else None
        self._begin()
        return found

    def _begin(self) -> None:
        self._ring: deque[_Frame] = deque()
        self._start: float | None = None
        self._at, self._labelled, self._due = 0.0, -1.0, self._extent

    def _span(self) -> float:
        """Seconds of the window, by the times of its frames where it is so many frames."""
        first, last = self._ring[0].time, self._ring[-1].time
        assert first is not None
        assert last is not None
        return last - first if self._asked[0] is None else self._extent

    def _check_time(self, time: float | None) -> None:
        """Whether a frame may come with this time; the first one settles what a window is."""
        if time is not None and not abs(time) < 1e12:
            raise ValueError(f"time is {time:g}; expected seconds")
        if self._timed is None:
            self._extent, self._step = self._settle(time is not None)
            self._timed, self._due = time is not None, self._extent
        elif self._timed != (time is not None):
            here, before = ("without", "with") if self._timed else ("with", "without")
            raise ValueError(f"a frame {here} a time; the first one came {before} a time")

    def _settle(self, timed: bool) -> tuple[float, float]:
        """Window and hop, in seconds where frames have times and seconds were asked for, else in frames."""
        window, hop, fps = self._asked
        if window is None:
            size = min(self.recogniser.lengths_[1], LONGEST)
            return size, max(1, size // 2)
        if timed:
            return window, window / 2 if hop is None else hop
        if fps is None:
            raise WrongStream("a window in seconds needs the frame rate, --fps 30, or a time in every frame")
        size = max(1, round(window * fps))
        if size > LONGEST:
            raise WrongStream(f"a window of {window:g} s has {size:,} frames; at most {LONGEST:,} are held")
        return size, max(1, round((window / 2 if hop is None else hop) * fps))

    def _crowd(self, people: Any) -> list[tuple[np.ndarray, np.ndarray]]:
        """Joints (V, C) and confidences (V,) of everybody in a frame."""
        if people is None or len(people) == 0:
            return []
        if np.ndim(people[0]) == 1:
            people = [people]
        if len(people) > MOST:
            raise ValueError(f"{len(people)} people in one frame; expected at most {MOST}")
        return [self._person(np.asarray(one, np.float64)) for one in people]

    def _person(self, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        of, dims = self.layout, self.layout.dims
        if joints.shape not in ((of.num_joints, dims), (of.num_joints, dims + 1)):
            shape = " × ".join(map(str, joints.shape))
            fitting = fitting_layouts(*joints.shape) if joints.ndim == 2 else []
            known = f" (as {', '.join(fitting)}: --layout NAME matches joints by name)" if fitting else ""
            raise WrongStream(
                f"somebody has {shape} numbers{known}; expected {of.num_joints} joints of {dims} coordinates, as"
                f" {of.name} has, or {dims + 1} with the confidence"
            )
        if (np.abs(joints) > LARGEST).any():
            raise ValueError("a coordinate is not a finite length; missing joints are NaN or null")
        score = joints[:, dims] if joints.shape[1] > dims else np.full(len(joints), np.nan)
        if ((score < 0) | (score > 1)).any():
            raise WrongStream(f"the last of {dims + 1} numbers is a confidence, from 0 to 1, as {of.name} is {dims}D")
        return joints[:, :dims], score

    def _label(self) -> Segment | None:
        """The label of the frames in the window; None where nobody is seen in them."""
        self._labelled = self._at
        data = self._window()
        if data is None:
            self.unlabelled += 1
            return None
        mean = self.recogniser.predict_proba([data])[0]
        self.labels += 1
        classes = self.recogniser.classes_.tolist()
        start, end, seconds = self._times()
        return labelled(self.name, start, end, seconds, mean, classes, self._top, self._min_confidence)

    def _window(self) -> np.ndarray | None:
        """The window's people (M, T, V, C) in a store's convention, the most seen first; None where nobody is seen."""
        crowds = [frame.people for frame in self._ring]
        if sum(map(bool, crowds)) < SEEN * len(crowds):
            return None
        alone = "1" if max(map(len, crowds)) == 1 else None  # nobody else to be told apart from
        found = {t: [Detection(*one, name=alone) for one in crowd] for t, crowd in enumerate(crowds)}
        item = Item(Path(self.name), self.name, fields=self._image)
        try:
            clip = followed(Detections.of(found), item, self.layout, self._least, self._height)
            clip = keep_bodies(in_convention(clip, self._shaping, self.layout), self.layout, self._shaping.bodies)
        except Rejected:
            return None
        except ValueError as error:
            raise WrongStream(str(error)) from None
        if not self.labels:
            self._look_at(clip.data, clip.doubts)
        data = clip.data if self._picked is None else take_joints(clip.data, self._picked, self.recogniser.layout_)
        if len(crowds) > data.shape[1]:  # nobody is in the last frames
            after = np.full((len(data), len(crowds) - data.shape[1], *data.shape[2:]), np.nan, np.float32)
            data = np.concatenate([data, after], 1)
        return data if np.isfinite(data).all(-1).any() else None

    def _look_at(self, data: np.ndarray, doubts: Sequence[str]) -> None:
        """Say what looks wrong in the first window in which somebody is seen; later ones are taken as they are."""
        self._shaping = Shaping(self._shaping.unit, self._shaping.up, self._shaping.bodies)
        gravity = doubt_gravity(stance(data, self.layout)[None], self._shaping.up)
        for doubt in (*doubts, gravity.replace("in 1 of 1 clips", "in the first window")):
            if doubt:
                self.say(doubt)

    @property
    def _height(self) -> float | None:
        return float(self._image["image_height"]) if "image_height" in self._image else None

    def _times(self) -> tuple[float, float, bool]:
        """Start and end of the window, and whether they are in seconds."""
        first, last = self._ring[0], self._ring[-1]
        if first.time is not None and last.time is not None:
            return first.time, last.time, True
        fps = self._asked[2]
        return (first.at - 1) / (fps or 1), last.at / (fps or 1), fps is not None


def _image_size(of: Layout, width: float | None, height: float | None) -> dict[str, str]:
    """The fields of a clip that tell the image's size."""
    given = {name: value for name, value in (("image_width", width), ("image_height", height)) if value is not None}
    for name, value in given.items():
        if of.dims == 3:
            raise ValueError(f"layout {of.name} is 3D, so {name} has no effect")
        if not 0 < value < float("inf"):
            raise ValueError(f"{name} is {value:g}; it should be a positive number")
    return {name: f"{value:.9g}" for name, value in given.items()}

"""Poses of a camera, or of a film, by a pose estimator that the user has installed and a model that the user gives."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Protocol

import numpy as np

from kinemask.preparation.shaping import Unit, Up
from kinemask.recognition.recogniser import Recogniser
from kinemask.recognition.stream import Frame, Frames

_RATE = 30.0  # frames a second of a film that does not tell


class Estimator(Protocol):
    """Finds people in images; each is (V, C + 1) as the reader of this estimator's files has them, with confidences."""

    def people(self, image: np.ndarray, at: float) -> list[np.ndarray]:
        """Everybody in an image (H, W, 3) of bytes, blue first; at: its seconds, that rise."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Known:
    """An estimator.

    module: where `open_estimator` is; reader: of files of its poses; layouts: of its poses, by dimensions; model: what
    it needs.
    """

    module: str
    reader: str
    layouts: Mapping[int, str]
    model: str


ESTIMATORS = {
    "mediapipe": Known(
        "with_mediapipe",
        "mediapipe",
        {3: "mediapipe33", 2: "coco17"},
        "a pose_landmarker .task file of MediaPipe's models",
    ),
    "ultralytics": Known("with_ultralytics", "coco17", {2: "coco17"}, "a pose model such as yolo11n-pose.pt"),
}


def poses_of(estimator: str | None, made: Recogniser) -> str:
    """The layout of an estimator's poses for a recogniser: those of its dimensions; ValueError where it has none."""
    known, dims = _known(estimator), made.layout_.dims
    if dims not in known.layouts:
        has = " and ".join(f"{n}D" for n in known.layouts)
        raise ValueError(f"the recogniser looks at {dims}D poses; {estimator} has {has} ones")
    return known.layouts[dims]


def axes_of(estimator: str | None, made: Recogniser) -> tuple[Unit | None, Up | None]:
    """The unit and the axis up of an estimator's poses, whatever other recordings the recogniser has learned from had.

    Where these were files of the same poses, what was said of them holds: None for as in training.
    """
    known = _known(estimator)
    if (made.record_.get("reading") or {}).get("format") == known.reader:
        return None, None
    return ("m", "y") if made.layout_.dims == 3 else (None, "-y")


def is_film(source: int | str) -> bool:
    """Whether a source is a file, not the number of a camera or an address."""
    return not str(source).isdecimal() and "://" not in str(source)


class Camera:
    """A camera (its number), a film (its file) or a stream (its address), with an estimator of the people in it.

    layout: of the poses, as `poses_of` says; most: people at once. Raises ValueError for an estimator that is not
    installed, for a model or a film that is not there, and where no camera answers.
    """

    def __init__(self, source: int | str, estimator: str | None, model: str | Path | None, layout: str, most: int):
        known = _known(estimator)
        if model is None or not Path(model).is_file():
            found = "none is given" if model is None else f"there is none at {model}"
            raise ValueError(f"{estimator} takes {known.model}, which kinemask does not ship: {found} (--model FILE)")
        if is_film(source) and not Path(str(source)).is_file():
            raise ValueError(f"no film at {source}; a camera is a number, 0 for the first, or an address")
        self._cv2 = _opencv()
        make = import_module(f"kinemask.recognition.{known.module}").open_estimator
        self._estimator: Estimator = make(Path(model), layout, most)
        self._is_film = is_film(source)
        self._opened = self._cv2.VideoCapture(int(source) if str(source).isdecimal() else str(source))
        if not self._opened.isOpened():
            self._estimator.close()
            why = "OpenCV cannot read it" if self._is_film else "is it plugged in, and used by nothing else?"
            raise ValueError(f"no image comes from {source}: {why}")
        if not self._is_film:
            self._opened.set(self._cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest image, where the estimator is slower

    def frames(self) -> Frames:
        """The number of every image, and what finds the people in it; the camera is let go at the end."""
        number, at, start = 0, -1.0, time.monotonic()
        try:
            while True:
                there, image = self._opened.read()
                if not there:
                    return
                number += 1
                at = self._film_time(at) if self._is_film else time.monotonic() - start
                yield number, partial(self._frame, image, at)
        finally:
            self._opened.release()
            self._estimator.close()

    def _frame(self, image: np.ndarray, at: float) -> Frame:
        return self._estimator.people(image, at), at

    def _film_time(self, before: float) -> float:
        """Seconds of the image that was read last, later than those before."""
        at = self._opened.get(self._cv2.CAP_PROP_POS_MSEC) / 1000
        rate = self._opened.get(self._cv2.CAP_PROP_FPS)
        return at if at > before else max(before, 0.0) + 1 / (rate if rate > 0 else _RATE)


def _known(estimator: str | None) -> Known:
    if estimator not in ESTIMATORS:
        told = "none is given" if estimator is None else f"{estimator!r} is none of them"
        raise ValueError(f"poses come from an estimator, {' or '.join(ESTIMATORS)} (--estimator); {told}")
    return ESTIMATORS[estimator]


def need(module: str, package: str) -> ModuleType:
    """An estimator's module; ValueError, saying how to get it, where its package is absent."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ValueError(f"{package} is not installed ({error}): pip install {package}") from None


def _opencv() -> ModuleType:
    try:
        return import_module("cv2")
    except ImportError:
        raise ValueError("a camera is read with OpenCV: pip install 'kinemask[live]'") from None

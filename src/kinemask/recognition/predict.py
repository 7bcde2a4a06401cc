"""Labels of recordings by a recogniser: clip by clip, person by person, window by window."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kinemask.recognition.inputs import Inputs, Recording, people_of
from kinemask.recognition.recogniser import Recogniser
from kinemask.recognition.segments import Segment, cut, merge, windows_of
from kinemask.training.settings import Device

AT_ONCE = 128  # windows that are predicted together
LONG = 4  # times the longest clip of training, that call for windows
_CARRIED = ("min_score", "axes", "unit", "up", "bodies")  # options of reading that a recogniser keeps


@dataclass(frozen=True, eq=False)
class Predicted:
    """Segments of all recordings, in their order; said: on how inputs were read; failed: on what could not be."""

    segments: list[Segment]
    said: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def predict(
    recogniser: str | Path | Recogniser,
    inputs: Sequence[str | Path] | str | Path,
    *,
    format: str | None = None,
    layout: Any = None,
    top: int = 1,
    min_confidence: float = 0.0,
    window: float | None = None,
    hop: float | None = None,
    fps: float | None = None,
    per_person: bool = False,
    device: Device = "auto",
    **reading: Any,
) -> Predicted:
    """Labels of everything in the inputs; `api.predict` describes the parameters."""
    made = recogniser if isinstance(recogniser, Recogniser) else Recogniser.load(recogniser, device)
    check_asked(top, min_confidence, window, hop)
    paths = [inputs] if isinstance(inputs, str | Path) else inputs
    source = open_inputs(made, paths, format, layout, fps, reading)
    recordings = (person for one in source for person in (people_of(one) if per_person else [one]))
    segments = list(_segments(made, recordings, top, min_confidence, window, hop, source.said))
    return Predicted(segments, source.said, source.failed)


def open_inputs(
    made: Recogniser,
    paths: Sequence[str | Path],
    format: str | None,
    layout: Any,
    fps: float | None,
    reading: dict[str, Any],
) -> Inputs:
    """Inputs as a recogniser takes them; files are read as those that it has learned from, unless told otherwise."""
    return Inputs(paths, made.layout_, format, layout, fps, reading, carried(made))


def carried(made: Recogniser) -> dict[str, Any]:
    """Options of reading that the recordings which a recogniser has learned from were given."""
    before = made.record_.get("reading") or {}
    return {name: before[name] for name in _CARRIED if name in before}


def check_asked(top: int, least: float, window: float | None, hop: float | None) -> None:
    """ValueError for a number of classes, a probability or seconds that are none."""
    if not top >= 1:
        raise ValueError(f"top is {top}; at least one class is named")
    if not 0 <= least <= 1:
        raise ValueError(f"min_confidence is {least:g}; it is a probability, from 0 to 1")
    if window is not None and not 0 < window < float("inf"):
        raise ValueError(f"window is {window:g}; it should be a number of seconds")
    if hop is not None and window is None:
        raise ValueError("hop has no effect without window")
    if hop is not None and not 0 < hop <= (window or hop):
        raise ValueError(f"hop is {hop:g}; it should be above 0 and no more than the window, {window:g} seconds")


@dataclass(eq=False)
class _Job:
    """A recording that is cut into windows, and what is known of them."""

    recording: Recording
    window: int
    starts: list[int]
    probabilities: np.ndarray
    left: int


def _segments(
    made: Recogniser,
    recordings: Iterable[Recording],
    top: int,
    least: float,
    window: float | None,
    hop: float | None,
    said: list[str],
) -> Iterator[Segment]:
    """Segments in the order of recordings; windows of several are predicted together."""
    classes = made.classes_.tolist()
    waiting: list[_Job] = []
    pending: list[tuple[_Job, int, np.ndarray]] = []

    def flush() -> Iterator[Segment]:
        if pending:
            found = made.predict_proba([data for _, _, data in pending])
            for (job, number, _), row in zip(pending, found, strict=True):
                job.probabilities[number] = row
                job.left -= 1
            pending.clear()
        while waiting and not waiting[0].left:
            job = waiting.pop(0)
            yield from merge(job.recording, job.window, job.starts, job.probabilities, classes, top, least)

    longest = made.lengths_[2]
    for recording in recordings:
        frames = recording.data.shape[1]
        if window is None:
            size = step = frames
            if frames > LONG * longest:
                said.append(
                    f"{recording.name} has {frames:,} frames, the longest clip learned from {longest:,}: --window S"
                    " labels it piece by piece"
                )
        else:
            size, step = _in_frames(recording, window, hop)
        starts = cut(frames, size, step)
        job = _Job(recording, size, starts, np.full((len(starts), len(classes)), np.nan), 0)
        waiting.append(job)
        for number, data in windows_of(recording, size, starts):
            job.left += 1
            pending.append((job, number, data))
        if len(pending) >= AT_ONCE:
            yield from flush()
    yield from flush()


def _in_frames(recording: Recording, window: float, hop: float | None) -> tuple[int, int]:
    """Window and hop in frames; by default a window begins at the middle of the one before."""
    if recording.fps is None:
        raise ValueError(f"the frame rate of {recording.name} is not known, which a window in seconds needs: --fps 30")
    size = max(1, round(window * recording.fps))
    return size, max(1, round((window / 2 if hop is None else hop) * recording.fps))

"""Long recordings: windows, and what they say put together into segments of one label each."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from kinemask.recognition.inputs import Recording

UNSURE = "unsure"


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A stretch of a recording and its label.

    start, end: in seconds, or in frames where seconds is False; end is where the next one begins. probability: of the
    label, or of the most probable class where the label is "unsure". ranking: (class, probability), the most probable
    first, as many as were asked for.
    """

    clip: str
    start: float
    end: float
    label: str
    probability: float
    ranking: tuple[tuple[str, float], ...] = ()
    seconds: bool = False


def cut(frames: int, window: int, hop: int) -> list[int]:
    """First frames of windows over a recording of so many frames: every hop, and one that ends where it ends."""
    if frames <= window:
        return [0]
    starts = list(range(0, frames - window + 1, hop))
    return starts if starts[-1] == frames - window else [*starts, frames - window]


def windows_of(recording: Recording, window: int, starts: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Those windows (M, window, V, C) of a recording in which somebody is seen, each with its number."""
    for number, start in enumerate(starts):
        data = recording.data[:, start : start + window]
        if np.isfinite(data).all(-1).any():
            yield number, data


def merge(
    recording: Recording,
    window: int,
    starts: Sequence[int],
    probabilities: np.ndarray,
    classes: Sequence[str],
    top: int,
    least: float,
) -> list[Segment]:
    """Segments of one label. probabilities (windows, classes): NaN where nobody is seen in a window.

    Between two edges of windows, the mean of the windows that lie over it counts; neighbours of one label are one
    segment, the mean of its parts weighed by their lengths. Where nobody is seen there is no segment.
    """
    frames = recording.data.shape[1]
    ends = [min(start + window, frames) for start in starts]
    edges = sorted({*starts, *ends})
    segments: list[tuple[int, int, str, np.ndarray]] = []
    for low, high in pairwise(edges):
        # the windows that begin by `low` and end from `high` on
        over = probabilities[bisect_left(ends, high) : bisect_right(starts, low)]
        known = over[~np.isnan(over).any(1)]
        if not len(known):
            continue
        mean = known.mean(0)
        label = name_of(mean, classes, least)
        if segments and segments[-1][1] == low and segments[-1][2] == label:
            first, middle, _, before = segments[-1]
            mean = (before * (middle - first) + mean * (high - low)) / (high - first)
            segments[-1] = first, high, label, mean
        else:
            segments.append((low, high, label, mean))
    return [segment(recording, low, high, mean, classes, top, least) for low, high, _, mean in segments]


def segment(
    recording: Recording, low: int, high: int, mean: np.ndarray, classes: Sequence[str], top: int, least: float
) -> Segment:
    """The segment of frames [low, high), whose classes have these probabilities (classes,)."""
    per = 1.0 if recording.fps is None else recording.fps
    start, end = (recording.first + low) / per, (recording.first + high) / per
    return labelled(recording.name, start, end, recording.fps is not None, mean, classes, top, least)


def labelled(
    clip: str,
    start: float,
    end: float,
    seconds: bool,
    mean: np.ndarray,
    classes: Sequence[str],
    top: int,
    least: float,
) -> Segment:
    """The segment from start to end, whose classes have these probabilities (classes,)."""
    order = np.argsort(-mean, kind="stable")[:top]
    return Segment(
        clip=clip,
        start=start,
        end=end,
        label=name_of(mean, classes, least),
        probability=float(mean.max()),
        ranking=tuple((str(classes[i]), float(mean[i])) for i in order),
        seconds=seconds,
    )


def name_of(mean: np.ndarray, classes: Sequence[str], least: float) -> str:
    return str(classes[int(mean.argmax())]) if mean.max() >= least else UNSURE

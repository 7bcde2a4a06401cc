"""What was stored, but may have been read wrong: doubts about single clips, and about all of them."""

from __future__ import annotations

import re

import numpy as np

from kinemask.preparation.reading import Source
from kinemask.preparation.shaping import MISSING, doubt_gravity, stance
from kinemask.store.format import Clip

STILL = 10  # frames from which on a clip in which nothing moves is strange


class Doubts:
    """Collects doubts while clips are written."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._found: list[tuple[str, str]] = []  # a clip's name, and a sentence
        self._ways: list[np.ndarray] = []
        self._single = 0  # clips of one frame

    def look(self, clip: Clip) -> None:
        """Takes a clip's own doubts, and looks at it."""
        self._found += [(clip.name, doubt) for doubt in (*clip.doubts, *_look(clip.data))]
        if self.source.reader.is_format:
            self._ways.append(stance(clip.data, self.source.layout))
            self._single += clip.data.shape[1] == 1

    def all(self) -> list[tuple[str, str]]:
        """The doubts by clip, "" for those about all clips."""
        fallen = doubt_gravity(np.stack(self._ways), self.source.shaping.up) if self._ways else ""
        single = f"{self._single:,} of {len(self._ways):,} clips are of one frame: is each a recording, or an image?"
        about_all = [fallen, single if 2 * self._single > len(self._ways) > 1 else ""]
        return [*self._found, *(("", doubt) for doubt in about_all if doubt)]

    def summary(self) -> tuple[str, ...]:
        """A line for each kind of doubt, with the number of clips."""
        kinds: dict[str, list[tuple[str, str]]] = {}
        for name, doubt in self.all():
            kinds.setdefault(re.sub(r"\d+(\.\d+)?(e[-+]\d+)?", "#", doubt), []).append((name, doubt))
        lines = []
        for found in kinds.values():
            name, doubt = found[0]
            clips = f"{len(found):,} clips, {name} the first" if len(found) > 1 else name
            lines.append(f"{clips}: {doubt}" if clips else doubt)
        return tuple(lines)


def _look(data: np.ndarray) -> list[str]:
    """Doubts about a clip (M, T, V, C), by itself."""
    share = float(np.isnan(data[..., 0]).mean())
    doubts = [f"{share:.0%} of the joints are missing"] if share > MISSING else []
    moves = bool((np.abs(np.diff(data[:, :STILL], axis=1)) > 0).any())  # mostly seen at once
    if data.shape[1] >= STILL and not moves:
        seen = data[:, :, ~np.isnan(data[..., 0]).all((0, 1))]
        span = np.fmax.reduce(seen, 1) - np.fmin.reduce(seen, 1)
        if not (span > 0).any():
            doubts.append("nothing moves")
    return doubts

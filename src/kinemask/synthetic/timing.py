"""When things happen in a clip: smooth steps, wandering, and the time that an action takes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

RATE = 30.0  # frames a second


def ramp(x: np.ndarray) -> np.ndarray:
    """Minimum-jerk step from 0 (x ≤ 0) to 1 (x ≥ 1)."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * x * (10.0 + x * (6.0 * x - 15.0))


def drift(
    rng: np.random.Generator, frames: int, shape: tuple[int, ...], slowest: float = 0.1, fastest: float = 0.6
) -> np.ndarray:
    """Smooth wandering (frames, *shape) of unit variance: a few sines of 0.1-0.6 Hz with random phases."""
    t = np.arange(frames)[:, None] / RATE
    rates = rng.uniform(slowest, fastest, 5)
    waves = np.concatenate([np.sin(2 * np.pi * rates * t), np.cos(2 * np.pi * rates * t)], 1)
    return (waves @ rng.normal(0.0, 5**-0.5, (10, int(np.prod(shape))))).reshape(frames, *shape)


@dataclass(frozen=True)
class Timing:
    """When something is done in a clip of so many frames: seconds. It may have begun before the first frame."""

    frames: int
    start: float
    stop: float

    @property
    def t(self) -> np.ndarray:
        return np.arange(self.frames) / RATE

    def late(self, seconds: float) -> Timing:
        """The same, begun later and ended earlier."""
        return Timing(self.frames, self.start + seconds, self.stop - seconds)

    def strokes(self, rng: np.random.Generator, *shares: float) -> list[np.ndarray]:
        """Minimum-jerk steps (T,) from 0 to 1, one after the other; they take these shares of the time, roughly."""
        lengths = np.array(shares) * rng.uniform(0.7, 1.4, len(shares))
        ends = self.start + (self.stop - self.start) * np.append(0.0, np.cumsum(lengths) / lengths.sum())
        return [ramp((self.t - a) / (b - a)) for a, b in pairwise(ends)]

    def held(self, rng: np.random.Generator) -> np.ndarray:
        """A weight (T,): 0 at rest, 1 while something is held, with a rise and a fall of about half a second."""
        rise, fall = np.minimum(rng.uniform(0.35, 0.6, 2), 0.4 * (self.stop - self.start))
        return ramp((self.t - self.start) / rise) - ramp((self.t - self.stop + fall) / fall)


@dataclass(frozen=True)
class Plan:
    """What happens when in a clip: something else before, the action, something else after; either may be absent."""

    before: Timing | None
    action: Timing
    after: Timing | None

    @classmethod
    def sample(cls, rng: np.random.Generator, tempo: float, lasts: tuple[float, float], busy: float) -> Plan:
        """busy: how often something else comes before, and how often after."""
        clock = rng.uniform(-0.25, 0.5)  # a clip may begin, or end, amid something
        times: list[tuple[float, float] | None] = []
        for n in range(3):
            if n == 1:
                length = rng.uniform(*lasts) / tempo
            else:
                length = rng.uniform(0.6, 1.2) if rng.random() < busy else 0.0
            times.append((clock, clock + length) if length else None)
            clock += length + (rng.uniform(-0.1, 0.2) if length else 0.0)
        frames = int(np.clip(round((clock + rng.uniform(-0.25, 0.5)) * RATE), 36, 120))
        before, action, after = (time and Timing(frames, *time) for time in times)
        assert action is not None
        return cls(before, action, after)

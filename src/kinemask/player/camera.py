"""How a skeleton in space is seen on a flat picture; player.js does the same."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

YAW, PITCH = math.pi + 0.5, 0.18  # sensors see people from -z


@dataclass(frozen=True, eq=False)
class Camera:
    """A view of everything that moves in a clip.

    middle (3,): of the room that it takes. box: of it on the picture, left, bottom, right, top.
    """

    middle: np.ndarray
    yaw: float
    pitch: float
    box: tuple[float, float, float, float]

    @classmethod
    def of(cls, data: np.ndarray) -> Camera:
        """For a clip (M, T, V, C), NaN where missing: in 3D half from the side, in 2D as it is."""
        points = data.reshape(-1, data.shape[-1]).astype(np.float64)
        points = points[np.isfinite(points).all(1)]
        if not len(points):
            points = np.zeros((1, data.shape[-1]))
        low, high = points.min(0), points.max(0)
        middle = np.zeros(3)
        middle[: data.shape[-1]] = (low + high) / 2
        yaw, pitch = (YAW, PITCH) if data.shape[-1] == 3 else (0.0, 0.0)
        flat = turned(points, middle, yaw, pitch)
        (left, bottom), (right, top) = flat.min(0).tolist(), flat.max(0).tolist()
        return cls(middle, yaw, pitch, (left, bottom, right, top))

    def place(self, points: np.ndarray, width: float, height: float) -> np.ndarray:
        """Places (..., 2) of points (..., C) on a picture of this size, from its upper left corner; NaN stays NaN."""
        left, bottom, right, top = self.box
        scale = 0.8 * min(width / (right - left + 1e-6), height / (top - bottom + 1e-6))
        flat = turned(points.astype(np.float64), self.middle, self.yaw, self.pitch)
        across = width / 2 + (flat[..., 0] - (left + right) / 2) * scale
        down = 0.52 * height - (flat[..., 1] - (bottom + top) / 2) * scale
        return np.stack([across, down], -1)


def turned(points: np.ndarray, middle: np.ndarray, yaw: float, pitch: float) -> np.ndarray:
    """Points (..., C) about the middle (3,), turned: what lies across and what lies up, (..., 2)."""
    moved = points - middle[: points.shape[-1]]
    x, y = moved[..., 0], moved[..., 1]
    z = moved[..., 2] if points.shape[-1] == 3 else np.zeros_like(x)
    across = math.cos(yaw) * x + math.sin(yaw) * z
    depth = math.cos(yaw) * z - math.sin(yaw) * x
    return np.stack([across, math.cos(pitch) * y - math.sin(pitch) * depth], -1)

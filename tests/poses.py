"""People as pose estimators find them: of real size, upright, about their own hips."""

from __future__ import annotations

import numpy as np

FRAMES = 24


def take(of, number: int, frames: int = FRAMES) -> np.ndarray:
    """Somebody (T, V, C) of 1.7 m in metres, y up, who moves joints of their class; the hips' middle stays."""
    rng = np.random.default_rng(number)
    body = np.random.default_rng(0).normal(0, 0.3, (1, of.num_joints, of.dims))
    body[0, list(of.parts["head"]), 1] = 0.8
    body[0, [of.index(f"{side}_shoulder") for side in ("left", "right")], 1] = 0.5
    for side in ("left", "right"):
        body[0, of.index(f"{side}_hip")] = 0.1 if side == "left" else -0.1
        body[0, of.index(f"{side}_ankle"), 1] = -0.8
    t = np.arange(frames)[:, None]
    moving = of.index(("left_wrist", "right_ankle", "nose")[number % 3])
    data = np.repeat(body, frames, 0) + rng.normal(0, 0.005, (frames, of.num_joints, of.dims))
    data[:, moving] += 0.4 * np.sin(0.5 * t + rng.uniform(0, 6)) * np.array([1, 0.6, 0.2])[: of.dims]
    hips = [of.index("left_hip"), of.index("right_hip")]
    return data - data[:, hips].mean(1, keepdims=True)

"""Standing people, as recordings show them: in metres or in pixels, walking or swaying; and files of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from kinemask.skeleton import Layout, layout

_HEIGHTS = {"nose": 1.6, "head": 1.65, "eye": 1.62, "ear": 1.6, "mouth": 1.55, "neck": 1.5, "shoulder": 1.4}
_HEIGHTS |= {"spine_mid": 1.2, "spine_base": 0.95, "elbow": 1.1, "wrist": 0.9, "hand": 0.85, "thumb": 0.85}
_HEIGHTS |= {"pinky": 0.85, "left_index": 0.85, "right_index": 0.85, "hip": 0.95, "knee": 0.5, "ankle": 0.1}
_HEIGHTS |= {"heel": 0.05, "foot": 0.05, "toe": 0.03, "spine": 1.45}


def figure(of: Layout, frames: int = 40, at: float = 0.0, speed: float = 0.02, seed: int = 0) -> np.ndarray:
    """Somebody (T, V, C) in metres, y up, who walks along x from `at` and sways a little."""
    rng = np.random.default_rng(seed)
    height = np.array([next(h for part, h in _HEIGHTS.items() if part in joint) for joint in of.joints])
    side = np.array([0.2 * (j.startswith("left_") - 1.0 * j.startswith("right_")) for j in of.joints])
    rest = np.stack([side, height, np.zeros_like(side)], -1)[:, : of.dims]
    rest = rest + rng.normal(0, 0.02, rest.shape)
    sway = 0.03 * np.sin(np.arange(frames)[:, None, None] * 0.3 + rng.uniform(0, 6, (1, *rest.shape)))
    walk = (at + speed * np.arange(frames))[:, None] * np.eye(of.dims)[0]
    return rest + sway + walk[:, None]


def pixels(frames: int = 40, at: float = 200.0, speed: float = 4.0, seed: int = 0, of: str = "coco17") -> np.ndarray:
    """Somebody (T, V, 2) in an image of 640 × 480, y down."""
    body = figure(layout(of), frames, 0.0, speed / 200, seed)[..., :2]
    return body * (200, -200) + (at, 440)


def keypoints(body: np.ndarray, **more) -> dict:
    """A person of a frame (V, 2) as COCO's results have them."""
    joints = np.concatenate([body, np.full((len(body), 1), 0.9)], -1)
    return {"keypoints": joints.ravel().tolist(), "score": 0.9, "category_id": 1, **more}


def dump(path: Path, content) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def shape_of(clip: np.ndarray) -> np.ndarray:
    """A clip (M, T, V, 2) of a store as it compares: without place and size."""
    start = clip - np.nanmean(clip[0, 0], axis=0)
    return start / np.nanstd(start)

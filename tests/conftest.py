"""What several test files share: one thread per process, and a tiny store of made-up recordings."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kinemask.skeleton import Layout, layout
from kinemask.store.format import Clip
from kinemask.store.opening import Store
from kinemask.store.writer import write_store

torch.set_num_threads(1)  # the machine is shared, and bitwise comparisons need one order of sums

CLASSES = ("wave", "kick", "bow")
_MOVING = (("left_hand", "left_elbow"), ("right_foot", "right_knee"), ("head", "neck"))
_LENGTHS = (90, 40, 64, 33, 1, 75, 50, 12, 2, 60, 24, 85, 17, 48, 7)


def recording(frames: int, label: int, of: Layout, rng: np.random.Generator) -> np.ndarray:
    """A body (T, V, C): a pose that all share nearly, slow sway of every joint, and the class's joints that swing."""
    t = np.arange(frames)[:, None, None]
    pose = np.random.default_rng(0).normal(0, 0.3, (1, of.num_joints, of.dims))
    pose = pose + rng.normal(0, 0.03, pose.shape)
    speed, phase = rng.uniform(0.02, 0.1, pose.shape), rng.uniform(0, 6.3, pose.shape)
    body = pose + 0.02 * np.sin(speed * t + phase)
    for joint in _MOVING[label]:
        body[:, of.index(joint)] += (
            0.5 * np.sin(0.3 * t[:, 0] + rng.uniform(0, 6.3)) * np.array([1, 0.5, 0.2])[: of.dims]
        )
    return body


def recordings(of: Layout, count: int = 45, seed: int = 0) -> list[Clip]:
    """Clips of one or two bodies and of 1 to 90 frames, some with missing joints; one unlabelled, one copied."""
    rng = np.random.default_rng(seed)
    clips = []
    for i in range(count):
        label, frames = i % 3, _LENGTHS[i % len(_LENGTHS)]
        data = np.stack([recording(frames, label, of, rng) for _ in range(2 if i % 5 == 0 else 1)])
        if i % 4 == 1:
            data[rng.random(data.shape[:3]) < 0.1] = np.nan
        if i % 11 == 3:
            data[:, :, of.index("left_foot")] = np.nan  # never seen
        subject, camera = str(1 + i // 3 % 6), str(1 + i % 2)
        sides = {
            "split:xsub": "test" if subject in "56" else "train",
            "split:xcam": "test" if camera == "2" else "train",
        }
        clips.append(Clip(f"clip{i:02d}", data, label, {"subject": subject, "camera": camera} | sides))
    first = next(c for c in clips if c.fields["split:xcam"] == "train" and c.fields["split:xsub"] == "train")
    other = {"subject": "6", "camera": "2", "split:xsub": "test", "split:xcam": "test"}
    clips.append(Clip("copy", first.data.copy(), first.label, other))
    return [*clips, Clip("nameless", recording(30, 0, of, rng)[None], None, dict(first.fields))]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Store:
    """A store of layout sbu15: splits xsub and xcam, an unlabelled clip, a test clip that copies a training clip."""
    of = layout("sbu15")
    path = tmp_path_factory.mktemp("stores") / "tiny"
    return write_store(path, recordings(of), of, CLASSES, meta={"dataset": "tiny", "units": "metres"})

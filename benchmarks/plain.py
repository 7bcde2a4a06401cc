"""The published recipe, plainly: a clip at a time from disk, two bodies always, unfused attention, float32.

It is the yardstick of the throughput benchmark, not a way to train.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kinemask.store.opening import Store
from kinemask.windows.settings import SamplingSettings


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention, every matrix written out."""
    weights = (q @ k.transpose(-2, -1)) * q.shape[-1] ** -0.5
    return weights.softmax(dim=-1) @ v


def load(
    store: Store, clips: np.ndarray, settings: SamplingSettings, bodies: int, random: np.random.Generator
) -> Tensor:
    """Crop, resample and rotate one clip after the other: (N·bodies, T, V, C), absent bodies as zeros."""
    out = []
    for i in clips:
        data = np.nan_to_num(np.array(store.clip(i)))  # (M, T', V, C)
        data = np.concatenate([data, np.zeros((bodies - len(data), *data.shape[1:]), data.dtype)])
        frames = data.shape[1]
        share = random.uniform(*settings.crop)
        length = min(max(int(frames * share), settings.min_crop_frames), frames)
        start = random.integers(0, frames - length + 1)
        cropped = torch.from_numpy(data[:, start : start + length]).permute(0, 2, 3, 1).flatten(0, 2)[None]
        x = F.interpolate(cropped, size=settings.frames, mode="linear", align_corners=False)
        x = x.view(bodies, *data.shape[2:], settings.frames).permute(0, 3, 1, 2)
        a, b, c = random.uniform(-0.3, 0.3, 3)
        about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
        about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
        about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
        out.append(x @ torch.from_numpy((about_x @ about_y @ about_z).astype(np.float32)))
    return torch.cat(out)

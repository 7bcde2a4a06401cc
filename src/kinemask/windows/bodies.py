"""Whole clips as one window each, their bodies side by side."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kinemask.windows.sampler import Sampler
from kinemask.windows.settings import Align, SamplingSettings
from kinemask.windows.streams import difference
from kinemask.windows.tracks import Tracks

MOST_BODIES = 2


def side_by_side(tracks: Tracks, frames: int, align: Align = "none", bodies: int | None = None) -> Tensor:
    """Every clip, uncropped, resampled to T: (N, M, T, V, C). A body that a clip has not is 0.

    bodies: M; by default 2, or 1 where no clip has more. Further bodies are left out; those that stay keep their order
    and their places to each other.
    """
    sampler = Sampler(tracks, SamplingSettings(frames=frames, test_crop=1.0, align=align))
    clips = len(tracks.clips)
    place = torch.arange(len(tracks), device=tracks.device)
    place = place - place[torch.searchsorted(tracks.clip, tracks.clip)]  # of a track among its clip's
    bodies = bodies or min(MOST_BODIES, int(place.max()) + 1)
    layout = tracks.layout
    out = torch.zeros(clips, bodies, frames, layout.num_joints, layout.dims, device=tracks.device)
    for track in (place < bodies).nonzero().squeeze(1).split(512):
        out[tracks.clip[track], place[track]] = sampler.test_view(track)
    return out


def channels(windows: Tensor, origin: int, joints: Sequence[int] | None = None) -> Tensor:
    """Windows (N, M, T, V, C) as channels over time (N, channels, T).

    Of each body its joints from the joint `origin`, the velocities of all joints, and its origin; from the first body's
    origin to the second's where there are two. joints: only these and the origin; by default all.
    """
    joints = range(windows.shape[3]) if joints is None else joints
    root = windows[:, :, :, origin]  # (N, M, T, C)
    from_root = windows[:, :, :, [v for v in joints if v != origin]] - root.unsqueeze(3)
    velocity = difference(windows[:, :, :, list(joints)].flatten(0, 1)).unflatten(0, windows.shape[:2])
    parts = [x.transpose(1, 2).flatten(2) for x in (from_root, velocity, root)]  # each (N, T, ...)
    if windows.shape[1] > 1:
        parts.append(root[:, 1] - root[:, 0])
    return torch.cat(parts, 2).transpose(1, 2).contiguous()

"""Mirrored clips: left and right swapped, as in a mirror that stands at the side."""

from __future__ import annotations

from copy import copy

import torch
from torch import Tensor

from kinemask.skeleton import Layout
from kinemask.windows.anatomy import Anatomy
from kinemask.windows.tracks import Tracks


def mirror_windows(windows: Tensor, layout: Layout) -> Tensor:
    """Windows (..., V, C) with x turned round and the joints of each mirrored pair swapped."""
    out = windows[..., Anatomy.of(layout, windows.device).mirrored, :].clone()
    out[..., 0] *= -1
    return out


def mirror_tracks(tracks: Tracks) -> Tracks:
    """The same body tracks, mirrored."""
    made, joints = copy(tracks), Anatomy.of(tracks.layout, tracks.device).mirrored
    everything = torch.arange(len(tracks.frames), device=tracks.device)  # in memory, whatever the tracks' own are
    made.frames, made.seen = mirror_windows(tracks.frames[everything], tracks.layout), tracks.seen[:, joints]
    return made

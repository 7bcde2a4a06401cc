"""Mirrored clips: left and right swapped, as in a mirror that stands at the side."""

from __future__ import annotations

from copy import copy

from torch import Tensor

from kinemask.skeleton import Layout
from kinemask.windows.anatomy import Anatomy
from kinemask.windows.mapped import MappedFrames
from kinemask.windows.tracks import Tracks


def mirror_windows(windows: Tensor, layout: Layout) -> Tensor:
    """Windows (..., V, C) with x turned round and the joints of each mirrored pair swapped."""
    out = windows[..., Anatomy.of(layout, windows.device).mirrored, :].clone()
    out[..., 0] *= -1
    return out


def mirror_tracks(tracks: Tracks) -> Tracks:
    """The same body tracks, mirrored."""
    made, joints = copy(tracks), Anatomy.of(tracks.layout, tracks.device).mirrored
    mirror = lambda frames: mirror_windows(frames, tracks.layout)
    frames = tracks.frames
    made.frames = frames.changed(mirror) if isinstance(frames, MappedFrames) else mirror(frames)
    made.seen = tracks.seen[:, joints]
    return made

"""Mirrored clips: left and right swapped, as in a mirror that stands at the side."""

from __future__ import annotations

from copy import copy

from torch import Tensor

from kinemask.skeleton import Layout
from kinemask.windows.tracks import Tracks


def mirror(windows: Tensor, layout: Layout) -> Tensor:
    """Windows (..., V, C) with x turned round and the joints of each mirrored pair swapped."""
    out = windows[..., _swapped(layout), :].clone()
    out[..., 0] *= -1
    return out


def mirror_tracks(tracks: Tracks) -> Tracks:
    """The same body tracks, mirrored."""
    made = copy(tracks)
    made.frames, made.seen = mirror(tracks.frames, tracks.layout), tracks.seen[:, _swapped(tracks.layout)]
    return made


def _swapped(layout: Layout) -> list[int]:
    joints = list(range(layout.num_joints))
    for left, right in layout.pairs:
        joints[left], joints[right] = right, left
    return joints

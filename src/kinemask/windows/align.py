"""Turning clips about the vertical, so that where the camera stood no longer matters.

A clip's bodies turn together, by one angle: bone lengths, handedness and what is up stay. Joints that are not seen
have no say, and a clip in which nothing tells a direction stays as it is. In the plane there is no vertical to turn
about.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kinemask.layout_file import depth
from kinemask.skeleton import Layout
from kinemask.windows.settings import Align
from kinemask.windows.tracks import Tracks

FIRST_FRAMES = 10  # of those that tell a direction: what comes later is the action


def turns(tracks: Tracks, align: Align) -> Tensor:
    """The angle about y, in radians, by which each track is turned: (tracks,), the same for the bodies of a clip.

    heading: a clip's first body then faces along z, its left-to-right axis of shoulders and hips along x.
    pair: the line from the first body to the second lies along x; a clip of one body is turned by its heading.
    Raises ValueError for 2D, and for a layout without mirrored arms or legs.
    """
    if align == "none":
        return torch.zeros(len(tracks), device=tracks.device)
    if tracks.layout.dims != 3:
        raise ValueError(f"sampling.align {align} turns about the vertical; layout {tracks.layout.name} is 2D")
    first = torch.zeros(len(tracks), dtype=torch.bool, device=tracks.device)
    first[1:] = tracks.clip[1:] != tracks.clip[:-1]
    first[:1] = True
    axis = _by_clip(tracks, first, _across(tracks))
    if align == "pair":
        second = torch.roll(first, 1) & ~first
        line = _by_clip(tracks, second, _from_the_body_before(tracks))
        axis = torch.where((line != 0).any(-1, keepdim=True), line, axis)
    return torch.atan2(axis[:, 1], axis[:, 0])[tracks.clip]


def _across(tracks: Tracks) -> Tensor:
    """Left to right at the trunk, in x and z, 0 where neither shoulders nor hips are seen: (rows, 2)."""
    left, right = (list(side) for side in zip(*trunk_pairs(tracks.layout), strict=True))
    frames, seen = tracks.frames, tracks.seen
    across = frames[:, right].float() - frames[:, left].float()
    both = (seen[:, left] & seen[:, right]).unsqueeze(-1)
    return across.masked_fill(~both, 0).sum(1)[:, [0, 2]]


def _from_the_body_before(tracks: Tracks) -> Tensor:
    """From the root of the track before to a track's own, in x and z, 0 where one is not seen: (rows, 2)."""
    root, length = tracks.layout.root, tracks.length
    place, seen = tracks.frames[:, root].float(), tracks.seen[:, root]
    before = torch.arange(len(place), device=place.device) - length.repeat_interleave(length)
    line = place - place[before]
    return line.masked_fill(~(seen & seen[before]).unsqueeze(-1), 0)[:, [0, 2]]


def _by_clip(tracks: Tracks, chosen: Tensor, vectors: Tensor) -> Tensor:
    """Each clip's sum of the first vectors (rows, 2) that are not 0, of its chosen track: (clips, 2)."""
    clips, clip = len(tracks.clips), tracks.clip.repeat_interleave(tracks.length)
    use = chosen.repeat_interleave(tracks.length) & (vectors != 0).any(-1)
    vectors, clip = vectors[use], clip[use]
    count = torch.bincount(clip, minlength=clips)
    place = torch.arange(len(clip), device=clip.device) - (count.cumsum(0) - count)[clip]
    early = place < FIRST_FRAMES
    return vectors.new_zeros(clips, 2).index_add_(0, clip[early], vectors[early])


def trunk_pairs(layout: Layout) -> list[tuple[int, int]]:
    """Shoulders and hips: of arms and of legs the mirrored pair that is nearest to the root in the tree."""
    found = []
    for limb in ("left_arm", "left_leg"):
        own = [pair for pair in layout.pairs if pair[0] in layout.parts[limb]]
        if own:
            found.append(min(own, key=lambda pair: depth(pair[0], layout.parents)))
    if not found:
        raise ValueError(f"layout {layout.name} has no mirrored arms or legs that tell where a body faces")
    return found

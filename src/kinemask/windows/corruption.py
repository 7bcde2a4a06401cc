"""Recordings made worse on purpose: occlusion, noise, lost frames, another frame rate, a turned camera.

Clips are corrupted whole, as a store holds them, all at once on a device; what is hidden becomes missing, and is then
filled as in any recording. With the same seed, a higher level hits more of the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Generator, Tensor

from kinemask.draws import key
from kinemask.skeleton import Layout
from kinemask.store.opening import Store
from kinemask.windows.augment import rotation_matrix
from kinemask.windows.settings import CORRUPTIONS
from kinemask.windows.tracks import Recordings


@dataclass(frozen=True)
class Bodies:
    """values (rows, V, C), NaN where missing: the frames of body after body; length and clip (bodies,)."""

    values: Tensor
    length: Tensor
    clip: Tensor
    layout: Layout

    def spread(self, values: Tensor) -> Tensor:
        """Values of bodies (bodies, ...) for each of their rows: (rows, ...)."""
        return values.repeat_interleave(self.length, 0)

    def hide(self, joints: Tensor) -> Bodies:
        """joints (bodies, V) bool are missing throughout."""
        return replace(self, values=self.values.masked_fill(self.spread(joints).unsqueeze(-1), torch.nan))


def occlude_joints(bodies: Bodies, level: float, generator: Generator) -> Bodies:
    """This share of a body's joints, all but one at most, is missing throughout."""
    V = bodies.layout.num_joints
    order = torch.rand(len(bodies.clip), V, generator=generator, device=generator.device).argsort(1)
    return bodies.hide(order < min(round(level * V), V - 1))


def occlude_parts(bodies: Bodies, level: float, generator: Generator) -> Bodies:
    """So many of a body's parts are missing throughout."""
    parts = bodies.layout.parts.values()
    members = torch.zeros(len(parts), bodies.layout.num_joints, dtype=torch.bool, device=generator.device)
    for member, joints in zip(members, parts, strict=True):
        member[list(joints)] = True
    order = torch.rand(len(bodies.clip), len(parts), generator=generator, device=generator.device).argsort(1)
    return bodies.hide(((order < level).unsqueeze(-1) & members).any(1))


def add_noise(bodies: Bodies, level: float, generator: Generator) -> Bodies:
    """Gaussian noise of this standard deviation on every coordinate."""
    noise = torch.randn(bodies.values.shape, generator=generator, device=generator.device)
    return replace(bodies, values=bodies.values + level * noise)


def drop_frames(bodies: Bodies, level: float, generator: Generator) -> Bodies:
    """This share of a clip's frames, all but one at most, is lost, unnoticed and for all its bodies alike."""
    clip, length = bodies.clip, bodies.length
    frames = length[_first(clip)]  # of each clip
    start = frames.cumsum(0) - frames
    number = torch.rand(int(frames.sum()), generator=generator, device=generator.device, dtype=torch.double)
    owner = torch.arange(len(frames), device=clip.device).repeat_interleave(frames)
    order = (owner + number).argsort()
    rank = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
    left = (frames * (1 - level)).round().long().clamp_min(1)
    kept = rank - start[owner] < left[owner]
    rows = kept[bodies.spread(start[clip]) + _within(length)]
    return replace(bodies, values=bodies.values[rows], length=left[clip])


def change_rate(bodies: Bodies, level: float, generator: Generator) -> Bodies:
    """Frames at this multiple of the frame rate, interpolated linearly; a joint next to a gap is missing."""
    values, length = bodies.values, bodies.length
    changed = replace(bodies, length=((length - 1) * level + 1e-6).floor().long() + 1)
    position = (_within(changed.length) / level).minimum(changed.spread(length - 1))
    low = position.floor().long()
    weight = (position - low).view(-1, 1, 1)
    low += changed.spread(length.cumsum(0) - length)
    between = torch.lerp(values[low], values[(low + 1).clamp_max(len(values) - 1)], weight)
    return replace(changed, values=torch.where(weight > 1e-5, between, values[low]))


def turn_camera(bodies: Bodies, level: float, generator: Generator) -> Bodies:
    """A clip is turned by plus or minus this angle (radians) about the vertical; 2D in the image plane."""
    C = bodies.values.shape[-1]
    side = torch.rand(int(bodies.clip[-1]) + 1, generator=generator, device=generator.device).round() * 2 - 1
    angles = side.new_zeros(len(side), 3)
    angles[:, 1 if C == 3 else 2] = level * side
    turn = bodies.spread(rotation_matrix(angles, C)[bodies.clip])
    return replace(bodies, values=(turn @ bodies.values.mT).mT)


_CHANGES: dict[str, Callable[[Bodies, float, Generator], Bodies]] = {
    "joints": occlude_joints,
    "parts": occlude_parts,
    "noise": add_noise,
    "dropped": drop_frames,
    "rate": change_rate,
    "camera": turn_camera,
}
assert list(_CHANGES) == list(CORRUPTIONS)


def corrupt(
    source: Store | Recordings,
    clips: np.ndarray,
    kind: str,
    level: float,
    seed: int,
    device: torch.device | str = "cpu",
) -> Recordings:
    """Clips of a store, corrupted: kind is one of CORRUPTIONS, seed decides what is hit.

    A clip that nothing is left of becomes a point at the origin.
    """
    counts, lengths = source.bodies[clips], source.lengths[clips]
    clip = torch.from_numpy(np.repeat(np.arange(len(clips)), counts)).to(device)
    size = torch.from_numpy(counts * lengths)
    rows = torch.from_numpy(source.offsets[clips]).repeat_interleave(size) + _within(size)
    values = torch.from_numpy(source.frames[rows.numpy()]).to(device).float()
    values = values.masked_fill(~values.isfinite().all(-1, keepdim=True), torch.nan)
    before = Bodies(values, torch.from_numpy(lengths).to(device)[clip], clip, source.layout)
    after = _CHANGES[kind](before, level, torch.Generator(device).manual_seed(key(seed, "corruption", kind)))
    row_clip = after.spread(clip)
    seen = after.values.isfinite().all(-1).any(-1)
    lost = torch.bincount(row_clip[seen], minlength=len(clips)) == 0
    after.values[_first(row_clip) & lost[row_clip], source.layout.root] = 0
    lengths = after.length[_first(clip)].cpu().numpy()
    offsets = (counts * lengths).cumsum() - counts * lengths
    names = [source.names[i] for i in clips]
    return Recordings(source.layout, after.values.cpu().numpy(), names, lengths, counts, offsets)


def _first(group: Tensor) -> Tensor:
    """Which rows are the first of their group; equal values of `group` (rows,) are neighbours."""
    first = torch.ones_like(group, dtype=torch.bool)
    first[1:] = group[1:] != group[:-1]
    return first


def _within(length: Tensor) -> Tensor:
    """0, 1, … up to each length, one after the other: (sum of length,)."""
    start = (length.cumsum(0) - length).repeat_interleave(length)
    return torch.arange(len(start), device=length.device) - start

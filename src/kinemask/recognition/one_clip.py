"""What `windows` makes of one clip, in tensor operations alone, so that it can be exported.

`windows` fills, turns and resamples many clips of different lengths at once, and looks at their values to do so. Here
there is one clip (M, T, V, C), of any M and T, and no step depends on a value: every operation has a counterpart in
ONNX. Tests hold both to the same numbers.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from kinemask.skeleton import Layout
from kinemask.windows.align import FIRST_FRAMES, trunk_pairs
from kinemask.windows.resample import fixed_crop, interpolate
from kinemask.windows.settings import Align, SamplingSettings
from kinemask.windows.streams import to_stream


class Bodies(NamedTuple):
    """The bodies of a clip, those that are ever seen first.

    x (M, T, V, C), 0 where missing or, once filled, without gaps; seen (M, T, V) bool; exists (M,) bool.
    """

    x: Tensor
    seen: Tensor
    exists: Tensor


def read_clip(x: Tensor, layout: Layout, pair: bool = True) -> Bodies:
    """Raw keypoints (M, T, V, C), NaN where missing, moved so that the first body's root begins at the origin.

    pair: have two bodies at least, by adding one that is never seen.
    """
    if pair:
        x = torch.cat([x, torch.full_like(x[:1], torch.nan)])
    seen = x.isfinite().all(-1)
    exists = seen.any(-1).any(-1)
    place = torch.arange(x.shape[0], device=x.device)
    order = (place + x.shape[0] * (~exists).long()).argsort()
    x, seen, exists = x[order], seen[order], exists[order]
    x = torch.where(seen.unsqueeze(-1), x, 0.0)
    origin = find_origin(x[0], seen[0], layout)
    return Bodies(torch.where(seen.unsqueeze(-1), x - origin, 0.0), seen, exists)


def find_origin(x: Tensor, seen: Tensor, layout: Layout) -> Tensor:
    """The origin (C,) of a body x (T, V, C), seen (T, V), as `readers.cleaning.find_origin` has it.

    The mean of the layout's origin joints in the first frame that has all of them; where none has, any of them; where
    none has, the mean of all joints in the first frame that has any.
    """
    wanted = torch.zeros(layout.num_joints, dtype=torch.bool, device=x.device)
    wanted[list(layout.origin)] = True
    own = seen & wanted
    worth = own.sum(1).eq(len(layout.origin)).long() + own.any(1).long() + seen.any(1).long()
    t = worth.argmax(0, keepdim=True)  # the first of the best
    used = (own[t] | (seen[t] & ~own[t].any())).squeeze(0)
    return (x[t].squeeze(0) * used.unsqueeze(1)).sum(0) / used.sum().clamp_min(1)


def fill(bodies: Bodies, root: int, missing: Literal["fill", "zero"] = "fill") -> Bodies:
    """Bodies without gaps, as `windows.fill.fill` has them; with `zero`, what is missing is 0 and counts as seen.

    Frames in which a joint is seen are counted; the number of the count before and after a gap leads to the frame.
    """
    x, seen, exists = bodies
    if missing == "zero":
        return Bodies(x, torch.ones_like(seen), exists)
    M, T, V, C = x.shape
    count = seen.long().cumsum(1)  # seen frames so far: (M, T, V)
    frame = torch.arange(T, device=x.device).view(1, -1, 1).expand(M, T, V)
    # frame number of the k-th seen frame, at k; slot 0 takes what is not seen, and the last is never reached
    slots = torch.zeros_like(torch.cat([frame, frame[:, :1], frame[:, :1]], 1))
    slots = slots.scatter(1, count * seen, frame)
    total = count[:, -1:]
    before, after = slots.gather(1, count), slots.gather(1, torch.minimum(count + 1, total))
    before = torch.where(count > 0, before, after)
    after = torch.where(count < total, after, before)
    at = lambda index: x.gather(1, index.unsqueeze(-1).expand(M, T, V, C))
    weight = ((frame - before) / (after - before).clamp_min(1)).unsqueeze(-1)
    filled = torch.where(seen.unsqueeze(-1), x, (1 - weight) * at(before) + weight * at(after))
    never = (total == 0).unsqueeze(-1)  # (M, 1, V, 1)
    roots = torch.where(never[:, :, root], 0.0, filled[:, :, root]).unsqueeze(2)
    return Bodies(torch.where(never, roots, filled), seen, exists)


def torso_scale(bodies: Bodies, layout: Layout) -> Tensor:
    """1 / median torso length of the first body, as `windows.scale.torso_scale`; bodies are not filled yet: ()."""
    ends = [list(joints) for joints in layout.torso_length]
    upper, lower = (bodies.x[0][:, joints].mean(1) for joints in ends)
    known = bodies.seen[0][:, ends[0]].all(1) & bodies.seen[0][:, ends[1]].all(1)
    length = (upper - lower).square().sum(-1).sqrt()
    ordered = torch.where(known, length, torch.inf).sort().values
    count = known.long().sum()
    middle = (ordered[((count - 1).clamp_min(0) // 2)[None]] + ordered[(count // 2)[None] * (count > 0)]) / 2
    return torch.where((count > 0) & (middle > 1e-6), 1 / middle, 1.0).squeeze(0)


def heading(bodies: Bodies, layout: Layout, align: Align) -> Tensor:
    """Cosine and sine (2,) of the angle about y by which `windows.align.turns` turns the clip.

    bodies: filled; two at least for `pair`.
    """
    left, right = (list(side) for side in zip(*trunk_pairs(layout), strict=True))
    x, seen = bodies.x[0], bodies.seen[0]
    both = (seen[:, left] & seen[:, right]).unsqueeze(-1)
    axis = _first(((x[:, right] - x[:, left]) * both).sum(1)[:, [0, 2]])
    if align == "pair":
        both = (bodies.seen[0, :, layout.root] & bodies.seen[1, :, layout.root] & bodies.exists[1]).unsqueeze(-1)
        line = _first(((bodies.x[1] - bodies.x[0])[:, layout.root] * both)[:, [0, 2]])
        axis = torch.where((line != 0).any(), line, axis)
    length = axis.square().sum().sqrt()
    facing = torch.cat([torch.ones_like(axis[:1]), torch.zeros_like(axis[:1])])
    return torch.where(length > 0, axis / torch.where(length > 0, length, 1.0), facing)


def _first(vectors: Tensor) -> Tensor:
    """The sum of the first few vectors (T, 2) that are not 0."""
    use = (vectors != 0).any(-1)
    early = use & (use.long().cumsum(0) <= FIRST_FRAMES)
    return (vectors * early.unsqueeze(-1)).sum(0)


def turned(x: Tensor, way: Tensor) -> Tensor:
    """Positions (..., 3) turned about y by the angle of which `way` (2,) is cosine and sine."""
    cos, sin = way[0], way[1]
    a, y, b = x.unbind(-1)
    return torch.stack([cos * a + sin * b, y, cos * b - sin * a], -1)


def view(bodies: Bodies, layout: Layout, settings: SamplingSettings, number: int = 0) -> Tensor:
    """Test window `number` of every body, as `windows.sampler.Sampler.test_view`: (M, frames, V, C).

    bodies: of `read_clip`. A body that is never seen is 0.
    """
    assert settings.window == "crop"
    scale = torso_scale(bodies, layout) if settings.scale == "torso" else None
    full = fill(bodies, layout.root, settings.missing)
    M, T = full.seen.shape[:2]
    length = torch.full((M,), T, dtype=torch.long, device=full.x.device)
    start = torch.arange(M, device=full.x.device) * T
    rows, seen = full.x.flatten(0, 1), full.seen.flatten(0, 1)
    x, valid = interpolate(rows, seen, start, length, fixed_crop(length, number, settings))
    if scale is not None:
        x = x * scale
    if settings.align != "none":
        x = turned(x, heading(full, layout, settings.align))
    x = to_stream(x, valid, settings.stream, torch.tensor(layout.parents, device=x.device))[0]
    return torch.where(full.exists[:, None, None, None], x, 0.0)

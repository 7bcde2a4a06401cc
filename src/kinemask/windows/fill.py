"""Filling what was not seen, within each track."""

from __future__ import annotations

import torch
from torch import Tensor


def fill(values: Tensor, seen: Tensor, starts: Tensor, root: int) -> Tensor:
    """Missing joints, linear in time and held at a track's ends; one never seen takes the root's place.

    values (rows, V, C), finite where seen (rows, V); starts (tracks,): each track's first row. Returns a new tensor of
    the same dtype. A root that is never seen lies at the origin.
    """
    length = torch.diff(starts, append=starts.new_tensor([len(values)]))
    joint, row = torch.nonzero(~seen.T.contiguous(), as_tuple=True)  # by joint: a gap's frames follow one another
    first, last = (edge.repeat_interleave(length)[row] for edge in (starts, starts + length - 1))
    opens = row == first  # a gap ends where its track does
    opens[:1] = True
    opens[1:] |= (row[1:] != row[:-1] + 1) | (joint[1:] != joint[:-1])
    closes, gap = opens.roll(-1), opens.cumsum(0) - 1
    before, after = row[opens][gap] - 1, row[closes][gap] + 1
    has_before, has_after = before >= first, after <= last
    before, after = torch.where(has_before, before, after), torch.where(has_after, after, before)
    out = values.clone()
    known = has_before | has_after
    r, v, a, b = row[known], joint[known], before[known], after[known]
    weight = ((r - a) / (b - a).clamp_min(1)).unsqueeze(1)
    out[r, v] = ((1 - weight) * values[a, v] + weight * values[b, v]).to(out.dtype)
    r, v = row[~known], joint[~known]
    out[r[v == root], root] = 0
    out[r, v] = out[r, root]
    return out

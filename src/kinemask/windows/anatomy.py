"""Changes to the body that its layout explains: left and right swapped in a mirror, longer and shorter bones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kinemask.layout_file import depth
from kinemask.skeleton import Layout


@dataclass(frozen=True)
class Anatomy:
    """A layout's tree and sides as tensors on a device.

    root; parents (V,): of each joint, the root is its own; mirrored (V,): the joint that a mirror puts in its place;
    bone (V,): the kind of the bone from a joint's parent to it, the same number left and right; chain (V, V): 1 where
    the column's bone lies between the root and the row's joint; rank (V, V): the column's depth + 2 where it is an
    ancestor of the row's joint, 1 for the joint itself, else 0.
    """

    root: int
    parents: Tensor
    mirrored: Tensor
    bone: Tensor
    chain: Tensor
    rank: Tensor

    @classmethod
    def of(cls, layout: Layout, device: torch.device | str = "cpu") -> Anatomy:
        V, parents = layout.num_joints, layout.parents
        mirrored, bone = list(range(V)), list(range(V))
        for left, right in layout.pairs:
            mirrored[left], mirrored[right], bone[right] = right, left, left
        chain, rank = torch.zeros(V, V), torch.eye(V, dtype=torch.long)
        for joint in range(V):
            v = joint
            while v != layout.root:
                chain[joint, v] = 1
                v = parents[v]
                rank[joint, v] = depth(v, parents) + 2
        table = lambda values: torch.tensor(values, device=device)
        return cls(layout.root, table(parents), table(mirrored), table(bone), chain.to(device), rank.to(device))


def mirror(x: Tensor, valid: Tensor, chosen: Tensor, axis: Tensor, anatomy: Anatomy) -> tuple[Tensor, Tensor]:
    """Chosen windows (B,) bool in a mirror at 0 of an axis (B,): x (B, T, V, C), valid (B, T, V).

    Left and right joints change places, so that a left hand is still the left hand of a possible body.
    """
    swapped = torch.where(chosen[:, None, None, None], x[:, :, anatomy.mirrored], x)
    turned = (torch.arange(x.shape[-1], device=x.device) == axis.unsqueeze(1)) & chosen.unsqueeze(1)  # (B, C)
    x = torch.where(turned[:, None, None, :], -swapped, swapped)
    return x, torch.where(chosen[:, None, None], valid[:, :, anatomy.mirrored], valid)


def scale_limbs(x: Tensor, valid: Tensor, factor: Tensor, anatomy: Anatomy) -> Tensor:
    """Each bone's length times its factor (B, V), by forward kinematics from the root: (B, T, V, C).

    The root stays, bones keep their directions, and joints follow their parents. A joint without a valid frame is
    passed over: it stays, and the bone to the next joint starts at the nearest ancestor that is seen. valid (B, T, V).
    """
    seen = valid.any(1)
    upper = (anatomy.rank * seen.unsqueeze(1)).argmax(-1)  # (B, V): itself where no ancestor is seen
    bones = x - x.gather(2, upper[:, None, :, None].expand_as(x))
    change = bones * ((factor - 1) * seen)[:, None, :, None]
    return x + torch.einsum("vu,btuc->btvc", anatomy.chain, change) * seen[:, None, :, None]

"""Where an encoder looks: its self-attention on unmasked clips, averaged. Skeleton2vec Fig. 7a."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kinemask.models.encoders import TrainedEncoder
from kinemask.store.opening import Store
from kinemask.windows.sampler import Sampler
from kinemask.windows.tracks import Tracks

MOST_CLIPS = 32
_NUMBERS = 1 << 26  # of one layer's attention in memory


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer's mean attention in numbers, each from 0 to 1.

    spread: entropy of a token's attention, as a share of the largest that there can be (all tokens alike). segment,
    joint: the share of it that goes to tokens of the same segment, and of the same joint.
    """

    spread: float
    segment: float
    joint: float


@dataclass(frozen=True, eq=False)
class Attention:
    """Self-attention of an encoder, means over heads, layers and bodies.

    tokens (L, L): from each token (row) to each. segments (P, P), joints (V, V): summed over the other axis. layers: in
    numbers. even: the same numbers where every token attends to all alike.
    """

    tokens: np.ndarray
    joint_names: list[str]
    joint_order: list[int]
    layers: list[Layer]
    even: Layer
    clips: int
    bodies: int
    heads: int

    @property
    def _grid(self) -> np.ndarray:
        V = len(self.joint_names)
        return self.tokens.reshape(-1, V, len(self.tokens) // V, V)

    @property
    def segments(self) -> np.ndarray:
        """From segment to segment, rows that add up to 1: (P, P)."""
        return self._grid.sum(3).mean(1)

    @property
    def joints(self) -> np.ndarray:
        """From joint to joint, rows that add up to 1, in the order of body parts: (V, V)."""
        found = self._grid.sum(2).mean(0)
        return found[np.ix_(self.joint_order, self.joint_order)]

    @property
    def ordered_names(self) -> list[str]:
        """Names of the joints of `joints`."""
        return [self.joint_names[v] for v in self.joint_order]


@torch.no_grad()
def attention(model: TrainedEncoder, store: Store, clips: np.ndarray) -> Attention:
    """Of an encoder on clips in their first test view, unmasked; ValueError where its tokens do not attend."""
    encoder = model.encoder.eval()
    tracks = Tracks(store, clips, next(model.parameters()).device, model.sampling.missing)
    sampler, tokens, heads = Sampler(tracks, model.sampling), encoder.tokens, 0
    at_once = max(1, _NUMBERS // (tokens * tokens * 16))
    total: Tensor = torch.zeros(tokens, tokens)
    sums: list[Tensor] = []  # of each layer: spread, share of the segment, of the joint
    for track in torch.arange(len(tracks), device=tracks.device).split(at_once):
        layers = encoder.attention(embedded(model, sampler.test_view(track)))
        if layers is None:
            raise ValueError(f"in its encoder ({encoder.architecture}), tokens do not attend to each other")
        for number, weights in enumerate(layers):
            heads = weights.shape[1]
            mean = weights.mean(1).cpu()  # (B, L, L)
            total += mean.sum(0)
            if number == len(sums):
                sums.append(torch.zeros(3))
            sums[number] += _numbers(mean, encoder.num_joints) * len(track)
    mean, found = total / total.sum(1, keepdim=True), [Layer(*(one / len(tracks)).tolist()) for one in sums]
    part_of = {v: i for i, members in enumerate(encoder.layout.parts.values()) for v in members}
    order = sorted(range(encoder.num_joints), key=lambda i: part_of[int(encoder.joints[i])])
    even = Layer(1.0, 1 / encoder.segments, 1 / encoder.num_joints)
    names = encoder.embedding.names
    return Attention(mean.numpy(), names, order, found, even, len(clips), len(tracks), heads)


@torch.no_grad()
def received(model: TrainedEncoder, x: Tensor) -> Tensor | None:
    """How much attention each token gets, mean over queries, heads and layers: (B, T, V', C) -> (B, P, V).

    1 where all get the same. None where tokens do not attend.
    """
    encoder, out = model.encoder.eval(), []
    device = next(model.parameters()).device
    for body in x.split(1):
        layers = encoder.attention(embedded(model, body.to(device)))
        if layers is None:
            return None
        out.append(torch.stack([weights.mean((1, 2)) for weights in layers]).mean(0).cpu())
    return (torch.cat(out) * encoder.tokens).unflatten(1, (encoder.segments, encoder.num_joints))


def embedded(model: TrainedEncoder, x: Tensor) -> Tensor:
    """Tokens of windows as the trunk takes them: (B, T, V', C) -> (B, L, D)."""
    encoder = model.encoder
    return encoder.project(encoder.embed(x)).flatten(1, 2)


def _numbers(mean: Tensor, joints: int) -> Tensor:
    """Of (B, L, L): spread, share of the own segment, share of the own joint, means over queries."""
    L = mean.shape[-1]
    entropy = -torch.xlogy(mean, mean).sum(-1).mean() / math.log(L)
    place = torch.arange(L)
    same = [place // joints, place % joints]
    shares = [(mean * (one[:, None] == one)).sum(-1).mean() for one in same]
    return torch.stack([entropy, *shares])

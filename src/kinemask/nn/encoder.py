"""The encoder that every transformer method shares: tokenizer, positions, optional hyperbolic mapping, blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinemask import poincare
from kinemask.checks import check_heads, check_positive, warn_unused
from kinemask.nn.transformer import Block, blocks, initialise
from kinemask.skeleton import Layout


@dataclass(kw_only=True)
class EncoderSettings:
    """The backbone. Defaults are the papers' size.

    Args:
        layers: transformer blocks
        width: width of a token, D
        heads: attention heads, H
        mlp_ratio: hidden width of the MLP, as a multiple of the width
        segment_frames: frames per segment, S; divides the window
        joints: all, or one of the layout's pruned sets (the torso joints dropped: pruned, pruned20, pruned16)
        space: where the embedded tokens live; poincare maps them into the Poincaré ball, for use as for training
        curvature: the positive number k of the ball's curvature −k
        projection: clip limits the norm, as HA-CM's released code; paper is its Eq. 7 to the letter
        epsilon: distance from the boundary that clip keeps, in radii; what float32 bears (released code: 1e-5)
    """

    layers: int = 8
    width: int = 256
    heads: int = 8
    mlp_ratio: float = 4.0
    segment_frames: int = 4
    joints: str = "all"
    space: Literal["euclidean", "poincare"] = "euclidean"
    curvature: float = 1.0
    projection: Literal["clip", "paper"] = "clip"
    epsilon: float = 4e-3

    def __post_init__(self):
        check_positive("encoder", self, "layers", "width", "heads", "segment_frames", "curvature")
        check_heads("encoder", self.width, self.heads)
        if self.width * self.mlp_ratio < 1:
            raise ValueError(f"encoder.mlp_ratio {self.mlp_ratio} leaves an MLP without hidden units")
        if not 0 < self.epsilon < 1:
            raise ValueError(f"encoder.epsilon must be between 0 and 1, not {self.epsilon}")
        if self.space == "euclidean":
            warn_unused("encoder", self, "in euclidean space", "curvature", "projection", "epsilon")
        elif self.projection == "paper":
            warn_unused("encoder", self, "with projection paper", "epsilon")


class Encoder(nn.Module):
    """Transformer over the (segment, joint) grid of one body.

    `forward` encodes every token, for use; pre-training calls `embed`, `project` and `transform`, so that only kept
    tokens enter the blocks. Token index of (segment p, joint v) is p*V + v.
    """

    def __init__(self, layout: Layout, frames: int, settings: EncoderSettings):
        super().__init__()
        s = settings
        if frames % s.segment_frames:
            raise ValueError(f"sampling.frames {frames} is not a multiple of encoder.segment_frames {s.segment_frames}")
        self.layout, self.frames, self.settings = layout, frames, settings
        joints = layout.kept(s.joints)
        others = [j for j in range(layout.num_joints) if j not in joints] or list(layout.torso)
        self.joints: Tensor
        self.hub: Tensor  # the joints whose mean embedding is HA-CM's root: the pruned ones, or the torso
        self.register_buffer("joints", torch.tensor(joints), persistent=False)
        self.register_buffer("hub", torch.tensor(others), persistent=False)
        self.segments, self.num_joints, self.width = frames // s.segment_frames, len(joints), s.width
        self.tokenizer = nn.Linear(s.segment_frames * layout.dims, s.width)
        self.temporal_position = nn.Parameter(torch.empty(self.segments, 1, s.width))
        self.spatial_position = nn.Parameter(torch.empty(1, self.num_joints, s.width))
        self.blocks = blocks(s.layers, s.width, s.heads, s.mlp_ratio)
        self.norm = nn.LayerNorm(s.width)
        initialise(self)
        nn.init.trunc_normal_(self.temporal_position, std=0.02)
        nn.init.trunc_normal_(self.spatial_position, std=0.02)

    @property
    def tokens(self) -> int:
        """L, tokens of one body."""
        return self.segments * self.num_joints

    def tokenize(self, x: Tensor, joints: Tensor) -> Tensor:
        """Segments of the given joints through the tokenizer, without positions: (B, T, V, C) -> (B, P, J, D)."""
        return self.tokenizer(segment(x[:, :, joints], self.settings.segment_frames))

    def embed(self, x: Tensor) -> Tensor:
        """Tokens with positions, before any mapping: (B, T, V, C) -> (B, P, V, D)."""
        return self.tokenize(x, self.joints) + self.temporal_position + self.spatial_position

    def project(self, embedded: Tensor) -> Tensor:
        """Into the space where the tokens live: the identity, or the Poincaré ball. (..., D) -> (..., D)"""
        s = self.settings
        if s.space == "euclidean":
            return embedded
        return poincare.to_ball(embedded, s.curvature, s.epsilon, s.projection)

    def transform(self, tokens: Tensor) -> Tensor:
        """Blocks and final norm over any subset of tokens: (B, K, D) -> (B, K, D)."""
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)

    def feed_forwards(self, tokens: Tensor) -> list[Tensor]:
        """What the MLP of each block adds to the tokens, before the residual sum: (B, L, D) -> (B, L, D) a block."""
        outputs = []
        for block in self.blocks:
            assert isinstance(block, Block)
            tokens = block.attended(tokens)
            outputs.append(block.feed_forward(tokens))
            tokens = tokens + outputs[-1]
        return outputs

    def forward(self, x: Tensor) -> Tensor:
        """All tokens of B bodies: (B, T, V, C) -> (B, P, V, D)."""
        embedded = self.project(self.embed(x))
        return self.transform(embedded.flatten(1, 2)).view(embedded.shape)

    def depth_groups(self) -> list[list[nn.Parameter]]:
        """Parameters from the input up, for layer-wise learning rates: embedding, then a group per block."""
        groups = [[*self.tokenizer.parameters(), self.temporal_position, self.spatial_position]]
        groups += [list(block.parameters()) for block in self.blocks]
        groups[-1] += self.norm.parameters()
        return groups

    def set_drop_path(self, rate: float) -> None:
        """Stochastic depth: the chance of skipping a block's halves rises linearly from 0 to `rate` in the last."""
        for block, own in zip(self.blocks, torch.linspace(rate, 0, len(self.blocks)).flip(0).tolist(), strict=True):
            block.drop_path = own

    @torch.no_grad()
    def moved_to(self, layout: Layout, frames: int) -> tuple[Encoder, list[str]]:
        """An encoder of these settings for another skeleton, and the names of the joints that both have.

        Blocks, norm and the tokenizer's weights of coordinates that both have (x and y at least) are copied. Spatial
        positions go by the joints' names; those of other joints stay as initialised. Temporal positions are resampled
        where the number of segments changes.
        """
        moved = Encoder(layout, frames, self.settings)
        moved.blocks.load_state_dict(self.blocks.state_dict())
        moved.norm.load_state_dict(self.norm.state_dict())
        both = min(layout.dims, self.layout.dims)
        cut = (self.width, self.settings.segment_frames, -1)
        moved.tokenizer.weight.view(cut)[..., :both] = self.tokenizer.weight.view(cut)[..., :both]
        moved.tokenizer.bias.copy_(self.tokenizer.bias)
        over_time = F.interpolate(self.temporal_position.permute(1, 2, 0), moved.segments, mode="linear")
        moved.temporal_position.copy_(over_time.permute(2, 0, 1))
        here, there = ([e.layout.joints[j] for j in e.joints] for e in (self, moved))
        shared = [name for name in there if name in here]
        to, of = ([names.index(name) for name in shared] for names in (there, here))
        moved.spatial_position[:, to] = self.spatial_position[:, of]
        return moved, shared


def segment(x: Tensor, segment_frames: int) -> Tensor:
    """Cut time into segments: (B, T, V, C) -> (B, P, V, S·C), the S frames of a token in order."""
    B, T, V, C = x.shape
    x = x.view(B, T // segment_frames, segment_frames, V, C).transpose(2, 3)
    return x.reshape(B, T // segment_frames, V, segment_frames * C)

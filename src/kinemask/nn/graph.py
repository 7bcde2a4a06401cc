"""Graph layers over the joints of a frame (GIN, GCN, GAT), and the encoder and decoder of SkeletonMAE made of them.

The graph is fixed and small, so neighbours are summed by one dense product with the adjacency.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinemask.checks import check_heads, check_positive, warn_unused
from kinemask.nn.transformer import initialise
from kinemask.skeleton import Layout

Kind = Literal["gin", "gcn", "gat"]


@dataclass(kw_only=True)
class GraphEncoderSettings:
    """A graph encoder; each frame's skeleton is a graph of its own, so S is 1 and P is T. Defaults are SkeletonMAE's.

    Args:
        kind: graph layer; gin, gcn or gat (Table 4c)
        layers: graph layers
        width: width of a joint's feature, D
        heads: attention heads of gat, side by side
        joints: all, or one of the layout's pruned sets; joints on either side of dropped ones become neighbours
    """

    kind: Kind = "gin"
    layers: int = 3
    width: int = 64
    heads: int = 4
    joints: str = "all"

    segment_frames: ClassVar[int] = 1

    def __post_init__(self):
        check_positive("encoder", self, "layers", "width", "heads")
        if self.kind == "gat":
            check_heads("encoder", self.width, self.heads)
        else:
            warn_unused("encoder", self, f"with kind {self.kind}", "heads")


@dataclass(kw_only=True)
class GraphDecoderSettings:
    """The decoder: graph layers of the encoder's kind, width and heads.

    Args:
        layers: graph layers; SkeletonMAE has one
    """

    layers: int = 1

    def __post_init__(self):
        check_positive("decoder", self, "layers")


class GIN(nn.Module):
    """Graph isomorphism layer, MLP((1+ε)h + A h) with a learned ε (Xu et al. 2019)."""

    def __init__(self, width: int):
        super().__init__()
        self.epsilon = nn.Parameter(torch.zeros(1))
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.PReLU(), nn.Linear(width, width))

    def forward(self, h: Tensor, adjacency: Tensor) -> Tensor:
        """h (..., V, D), adjacency (V, V) of 0 and 1 without self-loops -> (..., V, D)"""
        return self.mlp((1 + self.epsilon) * h + adjacency @ h)


class GCN(nn.Module):
    """Graph convolution, Â h W + b with Â = (A+I) scaled by the roots of both joints' degrees (Kipf & Welling 2017)."""

    def __init__(self, width: int):
        super().__init__()
        self.linear = nn.Linear(width, width, bias=False)
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, h: Tensor, adjacency: Tensor) -> Tensor:
        """h (..., V, D), adjacency (V, V) of 0 and 1 without self-loops -> (..., V, D)"""
        looped = adjacency + torch.eye(len(adjacency), device=adjacency.device)
        root = looped.sum(1).rsqrt()
        return (root[:, None] * looped * root) @ self.linear(h) + self.bias


class GAT(nn.Module):
    """Graph attention over a joint and its neighbours, heads side by side (Veličković et al. 2018)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.linear = nn.Linear(width, width, bias=False)
        self.to_query, self.to_key = (nn.Parameter(torch.empty(heads, width // heads)) for _ in range(2))
        self.bias = nn.Parameter(torch.zeros(width))
        for p in (self.to_query, self.to_key):
            nn.init.xavier_uniform_(p)

    def forward(self, h: Tensor, adjacency: Tensor) -> Tensor:
        """h (..., V, D), adjacency (V, V) of 0 and 1 without self-loops -> (..., V, D)"""
        z = self.linear(h).unflatten(-1, self.to_key.shape)  # (..., V, H, D/H)
        query, key = ((z * p).sum(-1).transpose(-1, -2) for p in (self.to_query, self.to_key))  # (..., H, V)
        score = F.leaky_relu(query.unsqueeze(-1) + key.unsqueeze(-2), 0.2)
        apart = adjacency + torch.eye(len(adjacency), device=adjacency.device) == 0
        attention = score.masked_fill(apart, -torch.inf).softmax(-1).to(z.dtype)  # (..., H, V, V)
        return (attention @ z.transpose(-2, -3)).transpose(-2, -3).flatten(-2) + self.bias


class GraphLayers(nn.Module):
    """Graph layers, a PReLU after each; `linear_end` leaves out the last one's."""

    def __init__(self, kind: Kind, layers: int, width: int, heads: int, linear_end: bool = False):
        super().__init__()
        make = {"gin": lambda: GIN(width), "gcn": lambda: GCN(width), "gat": lambda: GAT(width, heads)}[kind]
        self.layers = nn.ModuleList(make() for _ in range(layers))
        activations = [nn.PReLU() for _ in range(layers)]
        self.activations = nn.ModuleList([*activations[:-1], nn.Identity()] if linear_end else activations)
        initialise(self)

    def forward(self, h: Tensor, adjacency: Tensor) -> Tensor:
        """h (..., V, D), adjacency (V, V) -> (..., V, D)"""
        for layer, activation in zip(self.layers, self.activations, strict=True):
            h = activation(layer(h, adjacency))
        return h

    def depth_groups(self) -> list[list[nn.Parameter]]:
        """Parameters, a group per layer with its PReLU."""
        return [[*a.parameters(), *b.parameters()] for a, b in zip(self.layers, self.activations, strict=True)]


class GraphEncoder(nn.Module):
    """Every frame's joints through a linear map and graph layers; nothing in it knows which joint or frame it sees.

    `forward` encodes whole frames, for use; pre-training calls `embed` and `transform`, to mask joints in between.
    Token index of (frame p, joint v) is p*V + v. SkeletonMAE, 3.1.1.
    """

    def __init__(self, layout: Layout, frames: int, settings: GraphEncoderSettings):
        super().__init__()
        s = settings
        self.layout, self.frames, self.settings = layout, frames, settings
        joints = layout.kept(s.joints)
        self.joints: Tensor
        self.adjacency: Tensor  # (V, V)
        self.register_buffer("joints", torch.tensor(joints), persistent=False)
        self.register_buffer("adjacency", torch.from_numpy(contract(layout.adjacency(), joints)), persistent=False)
        self.segments, self.num_joints, self.width = frames, len(joints), s.width
        self.tokenizer = nn.Linear(layout.dims, s.width)
        self.graph = GraphLayers(s.kind, s.layers, s.width, s.heads)
        initialise(self)

    @property
    def tokens(self) -> int:
        """L, tokens of one body."""
        return self.segments * self.num_joints

    def embed(self, x: Tensor) -> Tensor:
        """Joints' coordinates through a linear map: (B, T, V, C) -> (B, P, V, D)."""
        return self.tokenizer(x[:, :, self.joints])

    def transform(self, embedded: Tensor) -> Tensor:
        """Graph layers over whole frames: (B, P, V, D) -> (B, P, V, D)."""
        return self.graph(embedded, self.adjacency)

    def forward(self, x: Tensor) -> Tensor:
        """All tokens of B bodies: (B, T, V, C) -> (B, P, V, D)."""
        return self.transform(self.embed(x))

    def depth_groups(self) -> list[list[nn.Parameter]]:
        """Parameters from the input up, for layer-wise learning rates: embedding, then a group per layer."""
        return [list(self.tokenizer.parameters()), *self.graph.depth_groups()]

    def set_drop_path(self, rate: float) -> None:
        """Nothing: stochastic depth skips residual branches, and these layers have none. A rate is warned of."""
        if rate:
            warnings.warn(f"drop path {rate} has no effect: graph layers have no residual branch", stacklevel=2)

    @torch.no_grad()
    def moved_to(self, layout: Layout, frames: int) -> tuple[GraphEncoder, list[str]]:
        """An encoder of these settings for another skeleton, and the names of the joints that both have.

        The layers and the map of coordinates that both have (x and y at least) are copied; no weight is a joint's own.
        """
        moved = GraphEncoder(layout, frames, self.settings)
        moved.graph.load_state_dict(self.graph.state_dict())
        both = min(layout.dims, self.layout.dims)
        moved.tokenizer.weight[:, :both] = self.tokenizer.weight[:, :both]
        moved.tokenizer.bias.copy_(self.tokenizer.bias)
        here, there = ([e.layout.joints[j] for j in e.joints] for e in (self, moved))
        return moved, [name for name in there if name in here]


class GraphDecoder(nn.Module):
    """Predicts every joint from the encoded frame; linear at the end, and in one graph layer by default."""

    def __init__(self, encoder: GraphEncoderSettings, width_out: int, settings: GraphDecoderSettings):
        super().__init__()
        self.graph = GraphLayers(encoder.kind, settings.layers, encoder.width, encoder.heads, linear_end=True)
        self.head = nn.Identity() if width_out == encoder.width else nn.Linear(encoder.width, width_out)
        initialise(self)

    def forward(self, encoded: Tensor, adjacency: Tensor) -> Tensor:
        """encoded (B, P, V, D), adjacency (V, V) -> predictions (B, P, V, width_out)."""
        return self.head(self.graph(encoded, adjacency))


def contract(adjacency: np.ndarray, kept: tuple[int, ...]) -> np.ndarray:
    """Adjacency of the kept joints, (V, V) -> (V', V'): neighbours where a path passes only through dropped ones."""
    out = adjacency > 0
    for v in set(range(len(out))) - set(kept):
        out |= np.outer(out[v], out[v])
    out = out[np.ix_(kept, kept)]
    np.fill_diagonal(out, False)
    return out.astype(np.float32)

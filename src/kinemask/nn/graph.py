"""Graph layers over the joints of a frame (GIN, GCN, GAT), and the encoder and decoder of SkeletonMAE made of them.

The graph is fixed and small, so neighbours are summed by one dense product with the adjacency.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinemask.nn.encoder import Embedding, Encoder
from kinemask.nn.settings import GraphDecoderSettings, GraphEncoderSettings, GraphKind
from kinemask.nn.transformer import initialise
from kinemask.skeleton import Layout


class GIN(nn.Module):
    """Graph isomorphism layer, MLP((1+ε)h + A h) with a learned ε (Xu et al. 2019)."""

    def __init__(self, width: int):
        super().__init__()
        self.epsilon = nn.Parameter(torch.zeros(1))
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.PReLU(), nn.Linear(width, width))

    def forward(self, h: Tensor, adjacency: Tensor) -> Tensor:
        """h (..., V, D), adjacency (V, V) or (..., V, V) of 0 and 1 without self-loops -> (..., V, D)"""
        return self.mlp((1 + self.epsilon) * h + adjacency @ h)


class GCN(nn.Module):
    """Graph convolution, Â h W + b with Â = (A+I) scaled by the roots of both joints' degrees (Kipf & Welling 2017)."""

    def __init__(self, width: int):
        super().__init__()
        self.linear = nn.Linear(width, width, bias=False)
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, h: Tensor, adjacency: Tensor) -> Tensor:
        """h (..., V, D), adjacency (V, V) or (..., V, V) of 0 and 1 without self-loops -> (..., V, D)"""
        looped = adjacency + torch.eye(adjacency.shape[-1], device=adjacency.device)
        root = looped.sum(-1).rsqrt()
        return (root.unsqueeze(-1) * looped * root.unsqueeze(-2)) @ self.linear(h) + self.bias


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
        """h (..., V, D), adjacency (V, V) or (..., V, V) of 0 and 1 without self-loops -> (..., V, D)"""
        z = self.linear(h).unflatten(-1, self.to_key.shape)  # (..., V, H, D/H)
        query, key = ((z * p).sum(-1).transpose(-1, -2) for p in (self.to_query, self.to_key))  # (..., H, V)
        score = F.leaky_relu(query.unsqueeze(-1) + key.unsqueeze(-2), 0.2)
        apart = adjacency + torch.eye(adjacency.shape[-1], device=adjacency.device) == 0
        attention = score.masked_fill(apart.unsqueeze(-3), -torch.inf).softmax(-1).to(z.dtype)  # (..., H, V, V)
        return (attention @ z.transpose(-2, -3)).transpose(-2, -3).flatten(-2) + self.bias


class GraphLayers(nn.Module):
    """Graph layers, a PReLU after each; `linear_end` leaves out the last one's."""

    def __init__(self, kind: GraphKind, layers: int, width: int, heads: int, linear_end: bool = False):
        super().__init__()
        make = {"gin": lambda: GIN(width), "gcn": lambda: GCN(width), "gat": lambda: GAT(width, heads)}[kind]
        self.layers = nn.ModuleList(make() for _ in range(layers))
        activations = [nn.PReLU() for _ in range(layers)]
        self.activations = nn.ModuleList([*activations[:-1], nn.Identity()] if linear_end else activations)
        initialise(self)

    def forward(self, h: Tensor, adjacency: Tensor) -> Tensor:
        """h (..., V, D), adjacency (V, V) or (..., V, V) -> (..., V, D)"""
        return self.outputs(h, adjacency)[-1]

    def outputs(self, h: Tensor, adjacency: Tensor) -> list[Tensor]:
        """What comes out of each layer: h (..., V, D), adjacency (V, V) or (..., V, V) -> (..., V, D) a layer."""
        outputs: list[Tensor] = []
        for layer, activation in zip(self.layers, self.activations, strict=True):
            h = activation(layer(h, adjacency))
            outputs.append(h)
        return outputs

    def depth_groups(self) -> list[list[nn.Parameter]]:
        """Parameters, a group per layer with its PReLU."""
        return [[*a.parameters(), *b.parameters()] for a, b in zip(self.layers, self.activations, strict=True)]


class GraphEmbedding(Embedding):
    """Joints' coordinates through a linear map, and how the kept joints are connected: adjacency (V, V)."""

    def __init__(self, layout: Layout, frames: int, settings: GraphEncoderSettings):
        super().__init__(layout, frames, settings)
        self.adjacency: Tensor
        joined = contract(layout.adjacency(), layout.kept(settings.joints))
        self.register_buffer("adjacency", torch.from_numpy(joined), persistent=False)


class GraphEncoder(Encoder):
    """Every frame's joints through a linear map and graph layers; no weight is a joint's or a frame's own.

    SkeletonMAE, 3.1.1.
    """

    architecture = "graph"
    embedding: GraphEmbedding
    trunk: GraphLayers
    settings: GraphEncoderSettings

    def __init__(self, layout: Layout, frames: int, settings: GraphEncoderSettings):
        super().__init__(layout, frames, settings)
        s = settings
        self.embedding = GraphEmbedding(layout, frames, s)
        self.trunk = GraphLayers(s.kind, s.layers, s.width, s.heads)
        initialise(self)

    def encode(self, tokens: Tensor, adjacency: Tensor | None = None) -> Tensor:
        """Graph layers over whole frames: (B, L, D) -> (B, L, D).

        adjacency (B, T, V, V): each frame's own, in place of the skeleton's.
        """
        joined = self.embedding.adjacency if adjacency is None else adjacency
        return self.trunk(self._frames(tokens), joined).flatten(1, 2)

    def intermediates(self, tokens: Tensor) -> list[Tensor]:
        """What comes out of each graph layer with its PReLU: (B, L, D) -> (B, L, D) a layer."""
        outputs = self.trunk.outputs(self._frames(tokens), self.embedding.adjacency)
        return [h.flatten(1, 2) for h in outputs]

    def _frames(self, tokens: Tensor) -> Tensor:
        assert tokens.shape[1] == self.tokens, "graph layers need every joint of every frame"
        return tokens.unflatten(1, (self.segments, self.num_joints))

    def depth_groups(self) -> list[list[nn.Parameter]]:
        """Parameters from the input up, for layer-wise learning rates: the embedding, then a group per layer."""
        return [list(self.embedding.parameters()), *self.trunk.depth_groups()]

    def set_drop_path(self, rate: float) -> None:
        """Nothing: stochastic depth skips residual branches, and these layers have none. A rate is warned of."""
        if rate:
            warnings.warn(f"drop path {rate} has no effect: graph layers have no residual branch", stacklevel=2)


class GraphDecoder(nn.Module):
    """Predicts every joint from the encoded frame; linear at the end, and in one graph layer by default."""

    def __init__(self, encoder: GraphEncoder, width_out: int, settings: GraphDecoderSettings):
        super().__init__()
        s = encoder.settings
        self.adjacency: Tensor
        self.register_buffer("adjacency", encoder.embedding.adjacency, persistent=False)
        self.graph = GraphLayers(s.kind, settings.layers, s.width, s.heads, linear_end=True)
        self.head = nn.Identity() if width_out == s.width else nn.Linear(s.width, width_out)
        initialise(self)

    def forward(self, encoded: Tensor) -> Tensor:
        """encoded (B, L, D) -> predictions (B, L, width_out)"""
        frames = encoded.unflatten(1, (-1, len(self.adjacency)))
        return self.head(self.graph(frames, self.adjacency)).flatten(1, 2)


def contract(adjacency: np.ndarray, kept: tuple[int, ...]) -> np.ndarray:
    """Adjacency of the kept joints, (V, V) -> (V', V'): neighbours where a path passes only through dropped ones."""
    out = adjacency > 0
    for v in set(range(len(out))) - set(kept):
        out |= np.outer(out[v], out[v])
    out = out[np.ix_(kept, kept)]
    np.fill_diagonal(out, False)
    return out.astype(np.float32)

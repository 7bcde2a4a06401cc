"""Pre-norm transformer blocks over (B, L, D) tokens, and the encoder made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinemask import poincare
from kinemask.nn.encoder import Embedding, Encoder
from kinemask.nn.places import WIDTH, codes
from kinemask.nn.settings import EncoderSettings
from kinemask.skeleton import Layout

_PLAIN_ON_CPU = 256  # tokens up to which plain bfloat16 products beat the CPU's fused kernel (benchmarks/attention.py)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention over (B, H, L, D/H), through PyTorch's fused kernel unless that is the slower way."""
    if q.device.type == "cpu" and q.dtype == torch.bfloat16 and q.shape[-2] <= _PLAIN_ON_CPU:
        with torch.autocast("cpu", enabled=False):
            return (q @ k.mT * q.shape[-1] ** -0.5).softmax(-1) @ v
    return F.scaled_dot_product_attention(q, k, v)


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        B, L, D = x.shape
        q, k, v = self._heads(x)
        return self.out(attend(q, k, v).transpose(1, 2).reshape(B, L, D))

    def _heads(self, x: Tensor) -> Tensor:
        """Queries, keys and values of each head: (B, L, D) -> (3, B, H, L, D/H)."""
        B, L, D = x.shape
        return self.qkv(x).view(B, L, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)

    def weights(self, x: Tensor) -> Tensor:
        """What the values are weighted by: (B, L, D) -> (B, H, L, L), rows that add up to 1."""
        q, k, _ = self._heads(x).float()
        return (q @ k.mT * q.shape[-1] ** -0.5).softmax(-1)

    def queries_keys(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The query and key maps alone, without gradient to them, heads side by side: (..., D) -> two of (..., D).

        On detached weights: autocast would keep a cast that was made without gradient for the rest of the step.
        """
        q, k, _ = F.linear(x, self.qkv.weight.detach(), self.qkv.bias.detach()).chunk(3, -1)
        return q, k


class Block(nn.Module):
    """x + MSA(LN(x)), then x + MLP(LN(x)). HA-CM Eq. 20.

    drop_path: chance with which a row of a batch skips each of the two in training (stochastic depth, Huang et al.
    2016); the others' share is enlarged to make up for it.
    """

    def __init__(self, width: int, heads: int, mlp_ratio: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        hidden = int(width * mlp_ratio)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.drop_path = 0.0

    def forward(self, x: Tensor) -> Tensor:
        return self.add(self.attended(x), self.feed_forward)

    def attended(self, x: Tensor) -> Tensor:
        """The first half, x + MSA(LN(x))."""
        return self.add(x, lambda rows: self.attention(self.norm1(rows)))

    def feed_forward(self, x: Tensor) -> Tensor:
        """MLP(LN(x)), before it is added."""
        return self.mlp(self.norm2(x))

    def add(self, x: Tensor, branch: Callable[[Tensor], Tensor]) -> Tensor:
        """x (B, L, D) plus what the branch makes of it; rows that are dropped are not computed."""
        if not (self.training and self.drop_path):
            return x + branch(x)
        rows = (torch.rand(len(x)) >= self.drop_path).nonzero().squeeze(1)
        rows = rows.to(x.device, non_blocking=True)  # drawn on the CPU, so that nobody waits to learn how many
        return x.index_add(0, rows, branch(x[rows]).to(x.dtype), alpha=1 / (1 - self.drop_path))


class Blocks(nn.Module):
    """`layers` transformer blocks and a final norm."""

    def __init__(self, layers: int, width: int, heads: int, mlp_ratio: float):
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads, mlp_ratio) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def __iter__(self) -> Iterator[Block]:
        for block in self.blocks:
            assert isinstance(block, Block)
            yield block

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, K, D) -> (B, K, D)"""
        for block in self:
            tokens = block(tokens)
        return self.norm(tokens)


class Positioned(nn.Module):
    """Positions of a (segment, joint) grid: a learned one of the segment, and one of the joint, learned or by its name.

    By its name: a linear map of its place on the body, which is the same map for every layout.
    """

    temporal_position: nn.Parameter
    spatial_position: nn.Parameter | None
    place_map: nn.Linear | None
    places: Tensor | None

    def make_positions(self, segments: int, layout: Layout, settings: EncoderSettings, width: int) -> None:
        """Weights without values, for P segments and the joints that an encoder of these settings keeps."""
        named, joints = settings.positions == "named", list(layout.kept(settings.joints))
        self.temporal_position = nn.Parameter(torch.empty(segments, 1, width))
        self.spatial_position = None if named else nn.Parameter(torch.empty(1, len(joints), width))
        self.register_buffer("places", torch.from_numpy(codes(layout))[joints] if named else None, persistent=False)
        self.place_map = nn.Linear(WIDTH, width) if named else None

    def initialise_positions(self) -> None:
        spatial = self.spatial_position if self.place_map is None else self.place_map.weight
        for weight in (self.temporal_position, spatial):
            assert weight is not None
            nn.init.trunc_normal_(weight, std=0.02)

    def of_joints(self) -> Tensor:
        """Positions of joints: (1, V, D)."""
        spatial = self.spatial_position if self.place_map is None else self.place_map(self.places).unsqueeze(0)
        assert spatial is not None
        return spatial


class PositionEmbedding(Positioned, Embedding):
    """Tokens with positions of segment and joint added."""

    def __init__(self, layout: Layout, frames: int, settings: EncoderSettings):
        super().__init__(layout, frames, settings)
        self.make_positions(self.segments, layout, settings, settings.width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, V, C) -> (B, P, V, D)"""
        return super().forward(x) + self.temporal_position + self.of_joints()

    def adopt(self, before: Embedding) -> list[str]:
        """Spatial positions by the joints' names; temporal ones resampled where the number of segments changes.

        Where positions follow from names, every joint has one.
        """
        shared = super().adopt(before)
        assert isinstance(before, PositionEmbedding)
        over_time = F.interpolate(before.temporal_position.permute(1, 2, 0), self.segments, mode="linear")
        self.temporal_position.copy_(over_time.permute(2, 0, 1))
        if self.place_map is not None:
            assert before.place_map is not None
            self.place_map.load_state_dict(before.place_map.state_dict())
            return self.names
        assert self.spatial_position is not None
        assert before.spatial_position is not None
        to, of = ([names.index(name) for name in shared] for names in (self.names, before.names))
        self.spatial_position[:, to] = before.spatial_position[:, of]
        return shared


class TransformerEncoder(Encoder):
    """The encoder that every transformer method shares: tokens with positions, optional hyperbolic mapping, blocks."""

    architecture = "transformer"
    embedding: PositionEmbedding
    trunk: Blocks
    settings: EncoderSettings

    def __init__(self, layout: Layout, frames: int, settings: EncoderSettings):
        super().__init__(layout, frames, settings)
        s = settings
        self.embedding = PositionEmbedding(layout, frames, s)
        self.trunk = Blocks(s.layers, s.width, s.heads, s.mlp_ratio)
        initialise(self)
        self.embedding.initialise_positions()

    def project(self, embedded: Tensor) -> Tensor:
        """Into the space where the tokens live: the identity, or the Poincaré ball. (..., D) -> (..., D)"""
        s = self.settings
        if s.space == "euclidean":
            return embedded
        return poincare.to_ball(embedded, s.curvature, s.epsilon, s.projection)

    def knows(self, layout: Layout) -> bool:
        """Where positions follow from names: any of as many coordinates that has the joints to keep."""
        of_names = self.settings.positions == "named" and layout.dims == self.layout.dims
        return of_names and self.settings.joints in ("all", *layout.dropped)

    def encode(self, tokens: Tensor) -> Tensor:
        """Blocks and final norm over any subset of tokens: (B, K, D) -> (B, K, D)."""
        return self.trunk(tokens)

    def intermediates(self, tokens: Tensor) -> list[Tensor]:
        """What the MLP of each block adds to the tokens, before the residual sum: (B, L, D) -> (B, L, D) a block."""
        outputs: list[Tensor] = []
        for block in self.trunk:
            tokens = block.attended(tokens)
            outputs.append(block.feed_forward(tokens))
            tokens = tokens + outputs[-1]
        return outputs

    def attention(self, tokens: Tensor) -> Iterator[Tensor]:
        """How much each token attends to each, a block at a time: (B, L, D) -> (B, H, L, L) a block."""
        for block in self.trunk:
            yield block.attention.weights(block.norm1(tokens))
            tokens = block(tokens)

    def depth_groups(self) -> list[list[nn.Parameter]]:
        """Parameters from the input up, for layer-wise learning rates: the embedding, then a group per block.

        The final norm is in none, so that it learns as fast as a head: as BEiT's groups, and the released codes' of
        MAMP and those after it.
        """
        return [list(self.embedding.parameters()), *(list(block.parameters()) for block in self.trunk)]

    def set_drop_path(self, rate: float) -> None:
        """Stochastic depth: the chance of skipping a block's halves rises linearly from 0 to `rate` in the last."""
        rates = torch.linspace(rate, 0, self.settings.layers).flip(0).tolist()
        for block, own in zip(self.trunk, rates, strict=True):
            block.drop_path = own


def initialise(module: nn.Module) -> None:
    """Xavier-uniform matrices, zero biases, unit norms, as masked autoencoders are usually started."""
    for m in module.modules():
        if isinstance(m, nn.Linear):
            nn.init.xavier_uniform_(m.weight)
            if m.bias is not None:
                nn.init.zeros_(m.bias)

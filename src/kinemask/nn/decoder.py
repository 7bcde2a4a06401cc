"""The light decoder of masked pre-training; thrown away afterwards."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kinemask.checks import check_heads, check_positive
from kinemask.nn.transformer import blocks, initialise


@dataclass(kw_only=True)
class DecoderSettings:
    """The decoder, at the encoder's grid.

    Args:
        layers: transformer blocks
        width: width of a token in the decoder
        heads: attention heads
        mlp_ratio: hidden width of the MLP, as a multiple of the width
    """

    layers: int = 5
    width: int = 256
    heads: int = 8
    mlp_ratio: float = 4.0

    def __post_init__(self):
        check_positive("decoder", self, "layers", "width", "heads")
        check_heads("decoder", self.width, self.heads)
        if self.width * self.mlp_ratio < 1:
            raise ValueError(f"decoder.mlp_ratio {self.mlp_ratio} leaves an MLP without hidden units")


class Decoder(nn.Module):
    """Predicts every masked token from the encoded kept ones."""

    def __init__(self, grid: tuple[int, int], width_in: int, width_out: int, settings: DecoderSettings):
        super().__init__()
        s = settings
        segments, joints = grid
        self.embed = nn.Linear(width_in, s.width)
        self.mask_token = nn.Parameter(torch.empty(s.width))
        self.temporal_position = nn.Parameter(torch.empty(segments, 1, s.width))
        self.spatial_position = nn.Parameter(torch.empty(1, joints, s.width))
        self.blocks = blocks(s.layers, s.width, s.heads, s.mlp_ratio)
        self.norm = nn.LayerNorm(s.width)
        self.head = nn.Linear(s.width, width_out)
        initialise(self)
        for p in (self.mask_token, self.temporal_position, self.spatial_position):
            nn.init.trunc_normal_(p, std=0.02)

    def forward(self, encoded: Tensor, keep: Tensor, masked: Tensor) -> Tensor:
        """encoded (B, K, D), keep (B, K), masked (B, L-K) -> predictions at the masked tokens (B, L-K, width_out)."""
        kept = self.embed(encoded)
        full = self.mask_token.to(kept.dtype).expand(len(kept), keep.shape[1] + masked.shape[1], -1)
        full = full.scatter(1, keep.unsqueeze(-1).expand_as(kept), kept)
        x = full + (self.temporal_position + self.spatial_position).flatten(0, 1)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(gather(x, masked)))


def gather(tokens: Tensor, index: Tensor) -> Tensor:
    """Pick tokens by index: (B, L, D), (B, K) -> (B, K, D)."""
    return tokens.gather(1, index.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))

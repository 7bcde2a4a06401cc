"""The light decoder of masked pre-training; thrown away afterwards."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kinemask.nn.settings import DecoderSettings
from kinemask.nn.transformer import Block, Positioned, TransformerEncoder, initialise


class Decoder(Positioned):
    """Predicts every masked token from the encoded kept ones. Positions are its own, of the encoder's kind."""

    def __init__(self, encoder: TransformerEncoder, width_out: int, settings: DecoderSettings):
        super().__init__()
        s = settings
        self.embed = nn.Linear(encoder.width, s.width)
        self.mask_token = nn.Parameter(torch.empty(s.width))
        self.make_positions(encoder.segments, encoder.layout, encoder.settings, s.width)
        self.blocks = nn.ModuleList(Block(s.width, s.heads, s.mlp_ratio) for _ in range(s.layers))
        self.norm = nn.LayerNorm(s.width)
        self.head = nn.Linear(s.width, width_out)
        initialise(self)
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.initialise_positions()

    def forward(self, encoded: Tensor, keep: Tensor, masked: Tensor) -> Tensor:
        """encoded (B, K, D), keep (B, K), masked (B, L-K) -> predictions at the masked tokens (B, L-K, width_out)."""
        kept = self.embed(encoded)
        full = self.mask_token.to(kept.dtype).expand(len(kept), keep.shape[1] + masked.shape[1], -1)
        full = full.scatter(1, keep.unsqueeze(-1).expand_as(kept), kept)
        x = full + (self.temporal_position + self.of_joints()).flatten(0, 1)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(gather(x, masked)))


def gather(tokens: Tensor, index: Tensor) -> Tensor:
    """Pick tokens by index: (B, L, D), (B, K) -> (B, K, D)."""
    return tokens.gather(1, index.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))

"""Pre-norm transformer blocks over (B, L, D) tokens."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
        q, k, v = self.qkv(x).view(B, L, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)  # (B, H, L, D/H)
        return self.out(attend(q, k, v).transpose(1, 2).reshape(B, L, D))

    def queries_keys(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The query and key maps alone, heads side by side: (..., D) -> two of (..., D)."""
        q, k, _ = self.qkv(x).chunk(3, -1)
        return q, k


class Block(nn.Module):
    """x + MSA(LN(x)), then x + MLP(LN(x)). HA-CM Eq. 20."""

    def __init__(self, width: int, heads: int, mlp_ratio: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        hidden = int(width * mlp_ratio)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


def blocks(layers: int, width: int, heads: int, mlp_ratio: float) -> nn.ModuleList:
    """`layers` transformer blocks."""
    return nn.ModuleList(Block(width, heads, mlp_ratio) for _ in range(layers))


def initialise(module: nn.Module) -> None:
    """Xavier-uniform matrices, zero biases, unit norms, as masked autoencoders are usually started."""
    for m in module.modules():
        if isinstance(m, nn.Linear):
            nn.init.xavier_uniform_(m.weight)
            if m.bias is not None:
                nn.init.zeros_(m.bias)

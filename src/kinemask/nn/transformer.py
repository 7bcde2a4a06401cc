"""Pre-norm transformer blocks over (B, L, D) tokens."""

from __future__ import annotations

from collections.abc import Callable

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

"""Random draws keyed by seed, purpose and step, and by position in the global batch."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def key(*parts: object) -> int:
    """A 63-bit seed from any printable parts; the same on every machine and process."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


class Draws:
    """Draws for rows [start, stop) of a global batch of `size` rows.

    Every call draws for the whole global batch and returns this part's rows, so the numbers that a row receives
    depend neither on the number of processes nor on gradient accumulation.
    """

    def __init__(self, seed: int, size: int, rows: slice | None = None, device: torch.device | str = "cpu"):
        self.seed, self.size, self.rows, self.device = seed, size, rows or slice(0, size), torch.device(device)
        self.generator = torch.Generator(self.device).manual_seed(seed)

    def named(self, *parts: object) -> Draws:
        """Draws for the same rows under a name: whether and when they are drawn changes no other draw."""
        return Draws(key(self.seed, *parts), self.size, self.rows, self.device)

    def uniform(self, *shape: int) -> Tensor:
        """Uniform in [0, 1): (rows, *shape)."""
        return torch.rand(self.size, *shape, generator=self.generator, device=self.device)[self.rows]

    def normal(self, *shape: int) -> Tensor:
        """Standard normal: (rows, *shape)."""
        return torch.randn(self.size, *shape, generator=self.generator, device=self.device)[self.rows]

    def gumbel(self, *shape: int) -> Tensor:
        """Standard Gumbel, −log(−log η): (rows, *shape). Finite."""
        return -(-self.uniform(*shape).clamp(1e-20, 1 - 1e-7).log()).log()

"""Plain products against PyTorch's fused attention on this machine, forward and backward, by number of tokens.

    python benchmarks/attention.py --out benchmarks/results/attention.json

Says up to how many tokens `kinemask.nn.transformer.attend` should take the plain way on CPUs in bfloat16.
"""

from __future__ import annotations

import time
from statistics import median

import torch
import torch.nn.functional as F

import plain
from common import arguments, finish


def seconds(attend, shape: tuple[int, ...], dtype: torch.dtype, device: str) -> float:
    """One forward and backward pass."""
    q, k, v = (torch.randn(shape, dtype=dtype, device=device, requires_grad=True) for _ in range(3))
    start = time.perf_counter()
    out = attend(q, k, v)
    out.backward(out.detach())
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    ways = {"plain": plain.attend, "fused": F.scaled_dot_product_attention}
    rows = []
    for batch, tokens in ((64, 16), (64, 75), (64, 160), (32, 216), (32, 320), (16, 432), (16, 750)):
        for dtype in (torch.float32, torch.bfloat16):
            times: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(given.rounds):
                for name, attend in ways.items():
                    times[name].append(seconds(attend, (batch, 8, tokens, 32), dtype, device))
            ms = {name: 1e3 * median(values[1:]) for name, values in times.items()}
            rows.append({"tokens": tokens, "batch": batch, "dtype": str(dtype).removeprefix("torch."), "ms": ms})
            rows[-1]["plain_over_fused"] = ms["plain"] / ms["fused"]
    finish({"benchmark": "attention, forward and backward, 8 heads of 32", "rows": rows}, given.out)


if __name__ == "__main__":
    main()

"""A small checkpoint of the names and shapes that the papers' codes release."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from kinemask.training.released import RELEASES

D, H, HIDDEN, LAYERS, C = 8, 2, 32, 2, 3


def made(V: int, S: int, P: int) -> dict[str, Tensor]:
    """Weights of an encoder and a part of a decoder, by the released names."""
    g = torch.Generator().manual_seed(0)
    draw = lambda *shape: 0.3 * torch.randn(*shape, generator=g)
    out = {"joints_embed.proj.weight": draw(D, C, S, 1), "joints_embed.proj.bias": draw(D)}
    out |= {"temp_embed": draw(1, P, 1, D), "pos_embed": draw(1, 1, V, D)}
    for i in range(LAYERS):
        shapes = {"attn.qkv": (3 * D, D), "attn.proj": (D, D), "mlp.fc1": (HIDDEN, D), "mlp.fc2": (D, HIDDEN)}
        for part, shape in shapes.items():
            out |= {f"blocks.{i}.{part}.weight": draw(*shape), f"blocks.{i}.{part}.bias": draw(shape[0])}
        for part in ("norm1", "norm2"):
            out |= {f"blocks.{i}.{part}.weight": 1 + draw(D), f"blocks.{i}.{part}.bias": draw(D)}
    out |= {"norm.weight": 1 + draw(D), "norm.bias": draw(D)}
    return out | {"mask_token": draw(1, 1, D), "decoder_embed.weight": draw(D, D), "decoder_embed.bias": draw(D)}


def write(path: Path, name: str, weights: dict[str, Tensor], **more) -> Path:
    """A checkpoint as the codes save it, with their command line beside."""
    prefix = RELEASES[name].prefix
    others = {f"encoder.{key}": value + 1 for key, value in weights.items()} if prefix else {}
    model = {prefix + key: value for key, value in weights.items()} | others
    args = argparse.Namespace(batch_size=32, model_args={"num_heads": H, "qk_scale": "None"}, lr=1e-3)
    torch.save({"model": model, "optimizer": {"state": {}}, "epoch": 399, "scaler": {}, "args": args} | more, path)
    return path

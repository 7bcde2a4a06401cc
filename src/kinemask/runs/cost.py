"""What an encoder costs: parameters, FLOPs, and the seconds that its training took."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from kinemask.models.encoders import TrainedEncoder, load_encoder
from kinemask.runs.log import read_metrics


def cost(run: Path) -> dict[str, Any]:
    """Of a finished run: `parameters` and `flops` of its encoder, and `pretraining_seconds`."""
    model = load_encoder(run)
    seconds = training_seconds(run, model.record["settings"]["training"]["batch_size"])
    parameters = sum(p.numel() for p in model.encoder.parameters())
    return {"parameters": parameters, "flops": flops(model), "pretraining_seconds": seconds}


@torch.no_grad()
def flops(model: TrainedEncoder) -> int:
    """FLOPs of encoding one body's window, a multiplication and its addition counted as two; matrix products alone."""
    x = torch.zeros(1, model.sampling.frames, model.layout.num_joints, model.layout.dims)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # the fused kernels are not counted
        model.cpu().float().encoder(x)
    return counter.get_total_flops()


def training_seconds(run: Path, batch_size: int) -> float | None:
    """Seconds of a run's optimizer steps by the speed that its log states; None where there is no log."""
    total, before = 0.0, 0
    for line in (lines := read_metrics(run)):
        total += (line["step"] - before) * batch_size / line["tracks_per_second"]
        before = line["step"]
    return total if lines else None

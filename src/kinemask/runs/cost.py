"""What an encoder costs: parameters, FLOPs, and the seconds that its training took."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from kinemask.models.encoders import TrainedEncoder, load_encoder
from kinemask.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Parameters of an encoder, FLOPs of encoding one body's window, seconds of its training (None: no log)."""

    parameters: int
    flops: int
    seconds: float | None


def cost(run: Run) -> Cost:
    """Of a finished run's encoder."""
    model = load_encoder(run.encoder())
    parameters = sum(p.numel() for p in model.encoder.parameters())
    return Cost(parameters=parameters, flops=flops(model), seconds=run.training_seconds())


@torch.no_grad()
def flops(model: TrainedEncoder) -> int:
    """FLOPs of encoding one body's window, a multiplication and its addition counted as two; matrix products alone."""
    x = torch.zeros(1, model.sampling.frames, model.layout.num_joints, model.layout.dims)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # the fused kernels are not counted
        model.cpu().float().encoder(x)
    return counter.get_total_flops()

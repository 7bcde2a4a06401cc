"""An exponential moving average of a module's weights, as teachers and momentum encoders are."""

from __future__ import annotations

from copy import deepcopy
from typing import Generic, TypeVar

from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

M = TypeVar("M", bound=nn.Module)


class MovingAverage(nn.Module, Generic[M]):
    """`module` starts as a copy of the source and follows it: always in eval mode, never trained, saved with the rest.

    Only parameters are averaged; buffers stay those of the start.
    """

    module: M

    def __init__(self, source: M):
        super().__init__()
        self.module = deepcopy(source).requires_grad_(False).eval()

    def train(self, mode: bool = True) -> MovingAverage[M]:
        return super().train(False)

    def update(self, source: M, decay: float) -> None:
        """average ← decay · average + (1 − decay) · source, all parameters at once."""
        get_ema_multi_avg_fn(decay)(list(self.module.parameters()), list(source.parameters()), 0)

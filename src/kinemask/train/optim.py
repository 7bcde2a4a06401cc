"""Optimiser groups and the learning-rate schedule."""

from __future__ import annotations

import math

import torch
from torch import nn

from kinemask.train.settings import TrainingSettings


def adamw(module: nn.Module, settings: TrainingSettings) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only: none on biases, norms, positions and tokens."""
    matrices = {id(m.weight) for m in module.modules() if isinstance(m, nn.Linear)}
    trained = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if id(p) in matrices], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if id(p) not in matrices], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas, fused=True)


def learning_rate(step: int, steps_per_epoch: int, settings: TrainingSettings) -> float:
    """Linear warm-up from 0, then a cosine to min_lr that ends with training."""
    warmup = settings.warmup_epochs * steps_per_epoch
    total = settings.epochs * steps_per_epoch
    if step < warmup:
        return settings.lr * step / warmup
    done = (step - warmup) / max(1, total - warmup)
    return settings.min_lr + (settings.lr - settings.min_lr) * 0.5 * (1 + math.cos(math.pi * min(1, done)))

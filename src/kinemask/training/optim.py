"""Optimizer groups and learning-rate schedules."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from kinemask.training.settings import LoopSettings

_MATRICES = (nn.Linear, nn.Conv1d, nn.Conv2d)


def optimizer(groups: list[dict[str, Any]], settings: LoopSettings) -> torch.optim.Optimizer:
    """The optimizer that the settings name, for parameter groups that have their weight decay."""
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas, fused=True)
    return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum)


def decay_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups with weight decay on matrices only: none on biases, norms, positions and tokens."""
    matrices = {id(m.weight) for m in module.modules() if isinstance(m, _MATRICES)}
    trained = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if id(p) in matrices], "weight_decay": weight_decay},
        {"params": [p for p in trained if id(p) not in matrices], "weight_decay": 0.0},
    ]


def layer_groups(
    module: nn.Module, depth_groups: Sequence[Iterable[nn.Parameter]], weight_decay: float, layer_decay: float
) -> list[dict[str, Any]]:
    """Parameter groups as `decay_groups`, with a `scale` of the learning rate that falls from the output down.

    It is 1 outside of the depth groups (a classifier's head), layer_decay in the last of them, its square in the one
    before, and so on. (Clark et al. 2020, ELECTRA; as masked autoencoders are fine-tuned.)
    """
    depth = {id(p): len(depth_groups) - i for i, group in enumerate(depth_groups) for p in group}
    out: dict[tuple[int, float], dict[str, Any]] = {}
    for group in decay_groups(module, weight_decay):
        for p in group["params"]:
            below = depth.get(id(p), 0)
            new = {"params": [], "weight_decay": group["weight_decay"], "scale": layer_decay**below}
            out.setdefault((below, group["weight_decay"]), new)["params"].append(p)
    return list(out.values())


def learning_rate(step: int, steps_per_epoch: int, settings: LoopSettings) -> float:
    """Linear warm-up from 0, then a cosine to min_lr that ends with training, or steps.

    Steps: lr until the first milestone (an epoch), from there on a tenth of it, and so on.
    """
    warmup = settings.warmup_epochs * steps_per_epoch
    if step < warmup:
        return settings.lr * step / warmup
    if settings.schedule == "steps":
        return settings.lr * 0.1 ** bisect_right(sorted(settings.milestones), step / steps_per_epoch)
    total = settings.epochs * steps_per_epoch
    done = (step - warmup) / max(1, total - warmup)
    return settings.min_lr + (settings.lr - settings.min_lr) * 0.5 * (1 + math.cos(math.pi * min(1, done)))

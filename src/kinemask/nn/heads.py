"""Classifiers of clips: an encoder, the mean over what a clip has of it, and a small head."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kinemask.checks import check_positive


@dataclass(kw_only=True)
class HeadSettings:
    """The head of fine-tuning.

    Args:
        hidden: units of its hidden layer
        dropout: share of the features that is dropped in training
    """

    hidden: int = 2048
    dropout: float = 0.3

    def __post_init__(self):
        check_positive("head", self, "hidden")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"head.dropout must be at least 0 and below 1, not {self.dropout}")


class Classifier(nn.Module):
    """Mean over segments, joints side by side, mean over bodies, dropout, hidden layer + BatchNorm + ReLU, linear.

    The encoder is any with `forward(x (B, T, V, C)) -> (B, P, V, D)`; V here is `encoder.num_joints`.
    """

    def __init__(self, encoder: nn.Module, classes: int, settings: HeadSettings):
        super().__init__()
        self.encoder = encoder
        width: int = encoder.num_joints * encoder.width  # type: ignore[assignment, operator]
        self.head = nn.Sequential(
            nn.Dropout(settings.dropout),
            nn.Linear(width, settings.hidden),
            nn.BatchNorm1d(settings.hidden),
            nn.ReLU(),
            nn.Linear(settings.hidden, classes),
        )
        for m in self.head:
            if isinstance(m, nn.Linear):
                nn.init.trunc_normal_(m.weight, std=0.02)
                nn.init.zeros_(m.bias)

    def forward(self, x: Tensor, clip_index: Tensor, clips: int) -> Tensor:
        """Sampled bodies x (B, T, V, C), clip_index (B,) each one's clip among N = clips -> logits (N, classes)."""
        joints = self.encoder(x).float().mean(1).flatten(1)  # (B, V·D)
        return self.head(mean_by(joints, clip_index, clips))

    def depth_groups(self) -> list[list[nn.Parameter]]:
        """What was pre-trained, from the input up, for layer-wise learning rates; the head is not in it."""
        return self.encoder.depth_groups()  # type: ignore[operator]


def mean_by(values: Tensor, clip_index: Tensor, count: int) -> Tensor:
    """Mean of rows (B, ...) that share a clip_index: (count, ...)."""
    total = values.new_zeros(count, *values.shape[1:]).index_add_(0, clip_index, values)
    return total / torch.bincount(clip_index, minlength=count).view(-1, *[1] * (values.ndim - 1))

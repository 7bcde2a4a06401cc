"""Classifiers of clips: what they have in common, and the one with an MLP on the mean of the tokens."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from kinemask.nn.encoder import Encoder
from kinemask.nn.readouts import mean_of_joints
from kinemask.nn.settings import HeadSettings


class Classifier(nn.Module, ABC):
    """An encoder and what makes class scores of it; fine-tuning trains both."""

    encoder: Encoder
    settings: HeadSettings

    @abstractmethod
    def forward(self, x: Tensor, clip_index: Tensor, clips: int) -> Tensor:
        """Sampled bodies x (B, T, V, C), clip_index (B,) each one's clip among N = clips -> logits (N, classes)."""

    def depth_groups(self) -> list[list[nn.Parameter]]:
        """What was pre-trained, from the input up, for layer-wise learning rates; the head is not in it."""
        return self.encoder.depth_groups()


class MLPClassifier(Classifier):
    """Mean over segments, joints side by side, mean over bodies, dropout, hidden layer + BatchNorm + ReLU, linear."""

    def __init__(self, encoder: Encoder, classes: int, settings: HeadSettings):
        super().__init__()
        self.encoder, self.settings = encoder, settings
        self.head = nn.Sequential(
            nn.Dropout(settings.dropout),
            nn.Linear(encoder.num_joints * encoder.width, settings.hidden),
            nn.BatchNorm1d(settings.hidden),
            nn.ReLU(),
            nn.Linear(settings.hidden, classes),
        )
        for m in self.head:
            if isinstance(m, nn.Linear):
                nn.init.trunc_normal_(m.weight, std=0.02)
                nn.init.zeros_(m.bias)

    def forward(self, x: Tensor, clip_index: Tensor, clips: int) -> Tensor:
        return self.head(mean_of_joints(self.encoder(x), clip_index, clips))

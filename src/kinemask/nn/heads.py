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
        """What was pre-trained, from the input up, for layer-wise learning rates; what is not in it learns fastest."""
        return self.encoder.depth_groups()


def dropouts(settings: HeadSettings) -> tuple[nn.Dropout, nn.Dropout]:
    """Of tokens and of features: one of them drops, the other passes everything."""
    of_tokens = settings.dropout_of == "tokens"
    return nn.Dropout(settings.dropout if of_tokens else 0.0), nn.Dropout(0.0 if of_tokens else settings.dropout)


class MLPClassifier(Classifier):
    """Mean over segments, joints side by side, mean over bodies, hidden layer + BatchNorm + ReLU, linear.

    settings.dropout_of: whether dropout acts before the means or after them.
    """

    def __init__(self, encoder: Encoder, classes: int, settings: HeadSettings):
        super().__init__()
        self.encoder, self.settings = encoder, settings
        self.drop, of_features = dropouts(settings)
        self.head = nn.Sequential(
            of_features,
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
        return self.head(mean_of_joints(self.drop(self.encoder(x)), clip_index, clips))

"""Linear protocol: frozen encoder, BatchNorm without affine, one linear layer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinemask.draws import key
from kinemask.protocols.features import Features
from kinemask.runs.results import Outcome


@dataclass(kw_only=True)
class LinearSettings:
    """Linear evaluation.

    Args:
        epochs: epochs of the head
        batch_size: clips of a step; 256 by default for Skeleton2vec and MaskSem
        lr: learning rate, cosine to 0
        momentum: of SGD
        views: augmented views of each training clip that are encoded once and used in turn; 0 encodes a new one every
            epoch, as the papers do
    """

    epochs: int = 100
    batch_size: int = 128
    lr: float = 0.1
    momentum: float = 0.9
    views: int = 8

    def __post_init__(self):
        if self.epochs < 1 or self.batch_size < 2 or self.views < 0:
            raise ValueError("linear: epochs must be at least 1, batch_size at least 2, views at least 0")
        if not 0 <= self.lr < math.inf:
            raise ValueError(f"linear: lr must be a number, 0 or more, not {self.lr}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"linear: momentum must be at least 0 and below 1, not {self.momentum}")


class LinearHead(nn.Module):
    """BatchNorm without affine parameters, then one linear layer: (N, D) -> (N, classes)."""

    def __init__(self, width: int, classes: int):
        super().__init__()
        self.norm = nn.BatchNorm1d(width, affine=False)
        self.linear = nn.Linear(width, classes)
        nn.init.normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.norm(x))


def linear(features: Features, classes: int, settings: LinearSettings, seed: int) -> Outcome:
    """Train the head and score the test part after every epoch. Scores are softmax, averaged over test views."""
    test, truth = features.test_views(features.test), features.test.labels
    accuracies: list[float] = []

    def note(head: LinearHead) -> None:
        accuracies.append((class_scores(head, test).argmax(1) == truth).float().mean().item())

    head = train_head(features, classes, settings, seed, note)
    return Outcome(class_scores(head, test).cpu(), best_epoch=max(accuracies))


def train_head(
    features: Features,
    classes: int,
    settings: LinearSettings,
    seed: int,
    after_epoch: Callable[[LinearHead], None] = lambda head: None,
) -> LinearHead:
    """The head after its last epoch, in eval mode. after_epoch: called with it, in eval mode, after each."""
    s, labels = settings, features.train.labels
    if len(labels) < 2:
        raise ValueError("linear needs at least two labelled training clips, or there is nothing to normalise by")
    pieces = min(math.ceil(len(labels) / s.batch_size), len(labels) // 2)  # near-equal ones, none of a single clip
    view = lambda epoch: features.view(epoch % s.views) if s.views else features.fresh_view(epoch)
    x = view(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key(seed, "head"))
        head = LinearHead(x.shape[1], classes).to(features.device)
    optimizer = torch.optim.SGD(head.parameters(), s.lr, momentum=s.momentum)
    generator = torch.Generator().manual_seed(key(seed, "order"))
    for epoch in range(s.epochs):
        x = view(epoch) if epoch else x
        head.train()
        order = torch.randperm(len(labels), generator=generator).to(labels.device)
        for piece, index in enumerate(order.tensor_split(pieces)):
            done = (epoch + piece / pieces) / s.epochs
            optimizer.param_groups[0]["lr"] = s.lr * 0.5 * (1 + math.cos(math.pi * done))
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(head(x[index]), labels[index]).backward()
            optimizer.step()
        after_epoch(head.eval())
    return head


@torch.no_grad()
def class_scores(head: LinearHead, views: list[Tensor]) -> Tensor:
    """Softmax scores averaged over views, each (N, D): (N, classes)."""
    return torch.stack([head(x).softmax(-1) for x in views]).mean(0)

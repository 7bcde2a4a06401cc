"""Linear protocol: frozen encoder, BatchNorm without affine, one linear layer."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinemask.draws import key
from kinemask.protocols import frozen
from kinemask.protocols.case import Outcome
from kinemask.protocols.features import Features
from kinemask.protocols.settings import LinearSettings


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
    test, truth = features.test_views(features.test.tracks), features.test.labels
    accuracies: list[float] = []

    def note(head: LinearHead) -> None:
        accuracies.append((class_scores(head, test).argmax(1) == truth).float().mean().item())

    head = train_head(features, classes, settings, seed, note)
    return Outcome(class_scores(head, test).cpu(), best_epoch=100 * max(accuracies))


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


score = partial(frozen.score, run=linear)

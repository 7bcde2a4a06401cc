"""SSL, the classifier that SkeletonMAE's encoder is fine-tuned in: spatial-temporal representation learning (STRL)."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from kinemask.nn.graph import GraphEncoder, GraphLayers
from kinemask.nn.heads import Classifier, dropouts
from kinemask.nn.readouts import mean_by
from kinemask.nn.settings import HeadSettings
from kinemask.nn.transformer import initialise


class STRL(Classifier):
    """M spatial layers, a temporal part at several scales, the mean over frames and joints, and an MLP.

    settings.encoders: per_person gives a clip's first body and the others graph layers of their own (the paper's two
    encoders), shared passes all bodies through the same.
    Where the paper is silent: the first layer merges the people, so that the later ones see one stream per clip and
    have one encoder; the ⊕ of Eq. 3 sets its two sides beside each other; SM(H) is batch-normalised before W, or its
    sums over neighbours and joints, some 40 times as large as H, would drown H; the temporal part is CTR-GCN's, which
    the paper cites; the MLP has one hidden layer. SkeletonMAE, 3.2.1.
    """

    encoder: GraphEncoder  # its graph layers are those of the first layer and body, copies of them the others'

    def __init__(self, encoder: GraphEncoder, classes: int, settings: HeadSettings):
        super().__init__()
        width = encoder.width
        self.encoder, self.settings = encoder, settings
        self.second = deepcopy(encoder.trunk) if settings.encoders == "per_person" else None
        self.copies = nn.ModuleList(deepcopy(encoder.trunk) for _ in range(settings.layers - 1))
        self.layers = nn.ModuleList(STRLLayer(encoder.segments, width) for _ in range(settings.layers))
        self.temporal = MultiScaleTemporal(width)
        self.drop, of_features = dropouts(settings)
        self.head = nn.Sequential(
            of_features,
            nn.Linear(width, settings.hidden),
            nn.ReLU(),
            nn.Linear(settings.hidden, classes),
        )
        initialise(self.head)

    def forward(self, x: Tensor, clip_index: Tensor, clips: int) -> Tensor:
        h = self.encoder.embed(x)
        for layer, graphs in zip(self.layers, self.graphs, strict=True):
            h = layer(h, graphs, self.encoder.embedding.adjacency, clip_index, clips)
            clip_index = torch.arange(clips, device=clip_index.device)
        return self.head(self.drop(self.temporal(h)).mean((1, 2)))

    @property
    def graphs(self) -> list[list[GraphLayers]]:
        """The graph layers of each STRL layer: one for all bodies, or of the first body and of the others."""
        copies = [[copy] for copy in self.copies if isinstance(copy, GraphLayers)]
        first = [self.encoder.trunk] if self.second is None else [self.encoder.trunk, self.second]
        return [first, *copies]

    def depth_groups(self) -> list[list[nn.Parameter]]:
        """What was pre-trained, from the input up: the embedding, then the graph layers of every STRL layer."""
        layers = []
        for graphs in self.graphs:
            of_people = [graph.depth_groups() for graph in graphs]
            layers += [[p for group in same_depth for p in group] for same_depth in zip(*of_people, strict=True)]
        return [list(self.encoder.embedding.parameters()), *layers]


class STRLLayer(nn.Module):
    """ReLU(BN(mean over people of SM(H) + 1×1 convolution of H) · W), H with a learned temporal position. Eq. 3-4."""

    def __init__(self, frames: int, width: int):
        super().__init__()
        self.temporal_position = nn.Parameter(torch.empty(frames, 1, width))
        self.residual = nn.Linear(width, 2 * width)
        self.norm = nn.BatchNorm1d(2 * width)
        self.mix = nn.Linear(2 * width, width, bias=False)
        initialise(self)
        nn.init.trunc_normal_(self.temporal_position, std=0.02)

    def forward(
        self, h: Tensor, graphs: Sequence[nn.Module], adjacency: Tensor, clip_index: Tensor, clips: int
    ) -> Tensor:
        """h (B, T, V, D) of B bodies, clip_index (B,) their clips, ascending -> (N, T, V, D)"""
        h = h + self.temporal_position
        whole = by_person(graphs, h, adjacency, clip_index).sum(2, keepdim=True)  # repeated beside each joint
        merged = mean_by(torch.cat([whole.expand_as(h), h], -1) + self.residual(h), clip_index, clips)
        return self.mix(self.norm(merged.flatten(0, 2)).view(merged.shape)).relu()


def by_person(graphs: Sequence[nn.Module], h: Tensor, adjacency: Tensor, clip_index: Tensor) -> Tensor:
    """h (B, T, V, D) through graph layers: each clip's first body through the first of them, and so on.

    Bodies beyond the last share it. clip_index (B,) ascends.
    """
    if len(graphs) == 1:
        return graphs[0](h, adjacency)
    person = torch.arange(len(h), device=h.device) - torch.searchsorted(clip_index, clip_index)
    person = person.clamp_max(len(graphs) - 1)
    rows = [(person == number).nonzero().squeeze(1) for number in range(len(graphs))]
    seen = torch.cat([graph(h[own], adjacency) for graph, own in zip(graphs, rows, strict=True)])
    return seen[torch.cat(rows).argsort()]


class MultiScaleTemporal(nn.Module):
    """Two convolutions, the maximum of neighbouring frames and the frame alone side by side, with a residual.

    After CTR-GCN's (Chen et al. 2021).
    """

    def __init__(self, width: int):
        super().__init__()
        if width % 4:
            raise ValueError(f"encoder.width {width} is not a multiple of 4, the temporal scales of the classifier")
        part = width // 4
        over_time = (
            nn.Conv2d(part, part, (5, 1), padding=(2, 0)),
            nn.Conv2d(part, part, (5, 1), padding=(4, 0), dilation=(2, 1)),
            nn.MaxPool2d((3, 1), stride=1, padding=(1, 0)),
            nn.Identity(),
        )
        self.reduce = nn.Sequential(nn.Conv2d(width, width, 1), nn.BatchNorm2d(width), nn.ReLU())
        self.over_time = nn.ModuleList(over_time)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, h: Tensor) -> Tensor:
        """h (N, T, V, D) -> (N, T, V, D)"""
        h = h.permute(0, 3, 1, 2)  # (N, D, T, V)
        parts = self.reduce(h).chunk(4, 1)
        seen = torch.cat([scale(part) for scale, part in zip(self.over_time, parts, strict=True)], 1)
        return (self.norm(seen) + h).relu().permute(0, 2, 3, 1)

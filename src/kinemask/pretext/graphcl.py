"""GraphCL (You et al., NeurIPS 2020) and JOAO (You et al., ICML 2021): contrast of two views of a skeleton's graph."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch import distributed as dist

from kinemask.draws import Draws
from kinemask.nn.encoder import Encoder
from kinemask.nn.graph import GraphEncoder, contract
from kinemask.nn.settings import ProjectionSettings
from kinemask.nn.transformer import initialise
from kinemask.pretext import targets, views
from kinemask.pretext.base import Pretext
from kinemask.pretext.contrast import nt_xent
from kinemask.pretext.settings import GraphCLSettings
from kinemask.windows.sampler import Batch


class GraphCL(Pretext):
    """Each graph's two views are to be told from those of other bodies, after the mean over joints and a head.

    Adversarial pairs (JOAO): the chances of the pairs of augmentations go up the gradient of the contrast, less γ times
    their distance from uniform ones, after every step.

    `forward` has in the log: agreement, the mean cosine of two views; spread of the features that are contrasted, 1
    where they fill the sphere and 0 in a collapse; chance_NAME, how often adversarial views are made by NAME. Raises
    ValueError for a batch of one body.
    """

    def __init__(self, encoder: GraphEncoder, decoder: ProjectionSettings, settings: GraphCLSettings):
        super().__init__()
        s = self.settings = settings
        self.encoder = encoder
        widths = [encoder.width, *[decoder.width] * decoder.layers]
        maps = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU())]
        self.head = nn.Sequential(*maps[:-1])
        initialise(self.head)
        self.mask_token = nn.Parameter(torch.empty(encoder.width)) if "mask" in s.augmentations else None
        if self.mask_token is not None:
            nn.init.trunc_normal_(self.mask_token, std=0.02)
        layout, n = encoder.layout, len(s.augmentations)
        joined = contract(layout.adjacency(), layout.kept(encoder.settings.joints))
        self.joints, self.edges = views.counts(joined, s.share)
        self.chances: Tensor  # (n²,) of pairs, first · n + second
        self.register_buffer("chances", torch.full((n * n,), 1 / n**2))
        self.hardness: list[Tensor] = []  # what each pair lost since the last step

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        s, n = self.settings, len(self.settings.augmentations)
        if len(batch.x) < 2:
            raise ValueError("one body alone has none to be contrasted with; take larger batches, or fewer parts")
        graphs = self.encoder.segments if s.graph == "frame" else 1
        embedded = self.encoder.embed(batch.x)
        chosen = torch.searchsorted(self.chances.cumsum(0), batch.draws.named("pair").uniform(graphs), right=True)
        chosen = chosen.clamp_max(n * n - 1)
        sides = batch.draws.named("first"), batch.draws.named("second")
        first, second = self.project(embedded, [chosen // n, chosen % n], sides)
        seen = self.encoder.validity(batch.valid).unflatten(1, (graphs, -1)).any(-1)
        loss = targets.masked_mean(nt_xent(first, second, s.temperature), seen)
        a, b = (F.normalize(z.detach().float(), dim=-1) for z in (first, second))
        out = {"loss": loss, "agreement": targets.masked_mean((a * b).sum(-1), seen)}
        out["spread"] = a.flatten(0, 1).var(0, correction=0).sum().sqrt()
        if s.pairs == "adversarial":
            table = self.chances.view(n, n)
            share = (table.sum(0) + table.sum(1)) / 2
            out |= {f"chance_{name}": share[i].clone() for i, name in enumerate(s.augmentations)}
            if self.training:
                self.hardness.append(self.of_pairs(embedded.detach(), sides, seen))
        return out

    def project(self, embedded: Tensor, kinds: list[Tensor], draws: tuple[Draws, ...]) -> list[Tensor]:
        """Views of embedded frames (B, T, V, D), one for each kind (B, F) and its draws: of each (B, F, width)."""
        s, joined, T = self.settings, self.encoder.embedding.adjacency, embedded.shape[1]
        changed = self.joints, self.edges
        made = [views.augmented(k, s.augmentations, joined, *changed, d) for k, d in zip(kinds, draws, strict=True)]
        present, hidden, adjacency = (torch.cat(parts) for parts in zip(*made, strict=True))
        repeat = T // present.shape[1]  # a clip's one graph is that of all its frames
        present, hidden, adjacency = (v.repeat_interleave(repeat, 1) for v in (present, hidden, adjacency))
        h = embedded.repeat(len(kinds), 1, 1, 1)
        if self.mask_token is not None:
            h = torch.where(hidden.unsqueeze(-1), self.mask_token.to(h.dtype), h)
        encoded = self.encoder.encode(h.flatten(1, 2), adjacency).view(h.shape)
        there = present.unsqueeze(-1).to(encoded.dtype)
        pooled = (encoded * there).sum(2) / there.sum(2)
        return list(self.head(pooled.unflatten(1, (-1, repeat)).mean(2)).chunk(len(kinds)))

    @torch.no_grad()
    def of_pairs(self, embedded: Tensor, draws: tuple[Draws, ...], seen: Tensor) -> Tensor:
        """What every pair of augmentations loses on this batch: (n²,)."""
        n = len(self.settings.augmentations)
        kinds = [torch.full(seen.shape, i, device=seen.device) for i in range(n)]
        one, two = (self.project(embedded, kinds, (side,) * n) for side in draws)
        losses = (nt_xent(a, b, self.settings.temperature) for a in one for b in two)
        return torch.stack([targets.masked_mean(loss, seen) for loss in losses])

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """JOAO: the chances go a step up the gradient of what pairs lose, and back onto the simplex."""
        if not self.hardness:
            return
        losses = torch.stack(self.hardness).mean(0)
        self.hardness.clear()
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(losses)
            losses /= dist.get_world_size()
        slope = losses - self.settings.gamma * (self.chances - 1 / len(self.chances))
        self.chances.copy_(to_simplex(self.chances + self.settings.ascent * slope))

    def encoders(self) -> dict[str, Encoder]:
        return {"encoder": self.encoder}


def to_simplex(v: Tensor) -> Tensor:
    """The nearest point to v (n,) that is at least 0 and adds up to 1, by sorting (Duchi et al. 2008)."""
    ordered = v.sort(descending=True).values
    above = (ordered.cumsum(0) - 1) / torch.arange(1, len(v) + 1, device=v.device)
    return (v - above.gather(0, (ordered > above).sum(0, keepdim=True) - 1)).clamp_min(0)

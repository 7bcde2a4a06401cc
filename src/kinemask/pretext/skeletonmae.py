"""SkeletonMAE (Yan et al., ICCV 2023): whole body parts of a graph are masked, and their embeddings predicted."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinemask.draws import key
from kinemask.nn.decoder import gather
from kinemask.nn.graph import GraphDecoder, GraphEncoder
from kinemask.nn.settings import GraphDecoderSettings
from kinemask.pretext import masks, targets
from kinemask.pretext.base import MaskedPrediction, Target, TargetKind
from kinemask.pretext.settings import SkeletonMAESettings
from kinemask.skeleton import PARTS
from kinemask.windows.sampler import Batch


class SkeletonMAE(MaskedPrediction):
    """Masked joints enter the graph as a learned token; the loss is the cosine error of what comes out for them.

    Masked joints that a frame does not show carry no loss; where joints are drawn, these come first. Beside masked
    parts, a joint that a frame does not show enters as the sampler fills it.
    """

    def __init__(self, encoder: GraphEncoder, decoder: GraphDecoderSettings, settings: SkeletonMAESettings):
        s = settings
        width_out = encoder.width if s.target == "features" else encoder.layout.dims
        super().__init__(encoder, GraphDecoder(encoder, width_out, decoder))
        self.settings = s
        self.mask_token = nn.Parameter(torch.empty(encoder.width))
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        layout, joints = encoder.layout, encoder.layout.kept(encoder.settings.joints)
        members = {part: [v in layout.parts[part] for v in joints] for part in PARTS}
        self.random_parts = 0 if s.masked_joints is not None else s.random_parts
        for part in () if s.masked_joints or self.random_parts else s.parts:
            if not any(members[part]):
                where = f"layout {layout.name} with encoder.joints {encoder.settings.joints}"
                raise ValueError(f"pretext.parts: {part} has no joint in {where}")
        self.named = np.any([members[part] for part in s.parts], 0)  # (V,) bool
        self.present = np.array([row for row in members.values() if any(row)])  # (parts with joints, V) bool
        largest = sum(sorted(self.present.sum(1), reverse=True)[: self.random_parts])  # that random parts may come to
        self.count = s.masked_joints or int(largest or self.named.sum())
        if self.count >= len(joints):
            raise ValueError(f"pretext masks {self.count} of {len(joints)} joints; it must leave some")

    def mask(self, batch: Batch, embedded: Tensor, mapped: Tensor, token_valid: Tensor) -> masks.Mask:
        P, V, count = self.encoder.segments, self.encoder.num_joints, self.count
        if self.settings.masked_joints is not None:
            score = batch.draws.uniform(P, V)
        else:
            hidden = self.draw_parts(batch) if self.random_parts else self.named
            count, token_valid = int(hidden.sum()), torch.ones_like(token_valid)
            score = torch.from_numpy(hidden).to(batch.x.device).float().expand(len(batch.x), P, V)
        kept = torch.tensor([V - count], device=score.device)
        return masks.split_tubes(score, kept, P * (V - count), 1, token_valid)

    def draw_parts(self, batch: Batch) -> np.ndarray:
        """Joints (V,) of parts drawn for the whole global batch: parts differ in size, and a batch has one shape."""
        generator = np.random.default_rng(key("parts", batch.draws.generator.initial_seed()))
        return np.any(generator.permutation(self.present)[: self.random_parts], 0)

    def target(self, batch: Batch) -> Target:
        """Unit vectors, with their lengths as scale."""
        encoder = self.encoder
        x = encoder.embed(batch.x) if self.settings.target == "features" else batch.x[:, :, encoder.joints]
        x = x.float().flatten(1, 2)
        lengths = x.norm(dim=-1, keepdim=True).expand_as(x)
        return Target(F.normalize(x, dim=-1), torch.zeros_like(x), lengths, self.settings.target)

    def positions(self, values: Tensor, kind: TargetKind) -> Tensor:
        """Coordinates whose embedding is nearest to predicted features: the embedding is a linear map."""
        if kind == "coordinates":
            return values
        tokenizer = self.encoder.embedding.tokenizer
        return (values - tokenizer.bias) @ torch.linalg.pinv(tokenizer.weight).T

    def encode(self, tokens: Tensor, mask: masks.Mask) -> Tensor:
        """All tokens (B, L, D), the masked ones replaced by the learned token, encoded: (B, L, D)."""
        hidden = torch.zeros(tokens.shape[:2], dtype=torch.bool, device=tokens.device).scatter(1, mask.masked, True)
        return self.encoder.encode(torch.where(hidden.unsqueeze(-1), self.mask_token.to(tokens.dtype), tokens))

    def decode(self, encoded: Tensor, mask: masks.Mask) -> Tensor:
        return F.normalize(gather(self.decoder(encoded), mask.masked).float(), dim=-1)

    def error(self, predicted: Tensor, wanted: Tensor) -> Tensor:
        return targets.reweighted_cosine(predicted, wanted, self.settings.beta)

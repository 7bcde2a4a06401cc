"""HA-CM (Yin & Cao): hierarchy- and attention-guided cross masking in the Poincaré ball, with a cross-contrast loss."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from kinemask import poincare
from kinemask.nn.encoder import segment
from kinemask.nn.settings import DecoderSettings
from kinemask.nn.transformer import TransformerEncoder
from kinemask.pretext import masks, targets
from kinemask.pretext.base import MaskedPrediction, Prediction, Target
from kinemask.pretext.contrast import cross_contrast
from kinemask.pretext.settings import HACMSettings
from kinemask.windows.sampler import Batch
from kinemask.windows.streams import difference

_LARGEST_DISTANCE = 80.0  # cosh of more overflows float32


class HACM(MaskedPrediction):
    """Masks by joint hierarchy in one half of the segments, by temporal correlation in the other."""

    encoder: TransformerEncoder

    def __init__(self, encoder: TransformerEncoder, decoder: DecoderSettings, settings: HACMSettings):
        super().__init__(encoder, decoder)
        s = self.settings = settings
        P = encoder.segments
        attends = s.criteria == "temporal" and s.temporal_strategy == 2
        if encoder.settings.space != "poincare" and not attends:
            raise ValueError("this masking criterion is a hyperbolic distance: set encoder.space to poincare")
        if s.criteria == "cross" and P % 2:
            raise ValueError(
                f"cross masking needs an even number of segments, not {P} "
                f"(sampling.frames {encoder.frames} / encoder.segment_frames {encoder.settings.segment_frames})"
            )
        if not 1 <= s.motion_stride < encoder.frames:
            raise ValueError(f"pretext.motion_stride must be in [1, {encoder.frames - 1}], not {s.motion_stride}")
        parity = {"even": 0, "odd": 1}[s.temporal_group]
        every = torch.arange(P)
        groups = [every[parity::2], every[1 - parity :: 2]] if s.criteria == "cross" else [every]
        self.criteria = ("temporal", "spatial") if s.criteria == "cross" else (s.criteria,)
        self.segments: Tensor  # (G, P/G): the segments that each criterion masks
        self.places: Tensor  # (G, L/G): their tokens' places in the grid
        self.register_buffer("segments", torch.stack(groups), persistent=False)
        joints = torch.arange(encoder.num_joints)
        places = (self.segments.unsqueeze(-1) * encoder.num_joints + joints).flatten(1)
        self.register_buffer("places", places, persistent=False)
        self.root: Tensor  # the joints whose mean embedding is the root: the pruned ones, or the torso
        layout, kept = encoder.layout, encoder.layout.kept(encoder.settings.joints)
        dropped = [j for j in range(layout.num_joints) if j not in kept]
        self.register_buffer("root", torch.tensor(dropped or layout.torso), persistent=False)
        self.kept = masks.kept_count(places.shape[1], s.mask_ratio)
        self.psi = self.phi = None
        if "temporal" in self.criteria and s.temporal_strategy == 2 and s.temporal_projection == "frozen":
            warnings.warn("ψ and φ of temporal_strategy 2 stay as initialised: a mask trains nothing", stacklevel=2)
            self.psi, self.phi = (nn.Linear(encoder.width, encoder.width).requires_grad_(False) for _ in range(2))

    def mask(self, batch: Batch, embedded: Tensor, mapped: Tensor, token_valid: Tensor) -> masks.Mask:
        s = self.settings
        measure = {"temporal": self.temporal, "spatial": self.spatial}
        parts = []
        for criterion, segments, token in zip(self.criteria, self.segments, self.places, strict=True):
            score = masks.log_probability(measure[criterion](batch.x, embedded, mapped, segments).flatten(1), s.tau)
            if s.gumbel:
                score = score + batch.draws.gumbel(len(token))
            part = masks.split(score, self.kept, token_valid[:, token], "lowest" if s.mask == "high" else "highest")
            parts.append((token[part.keep], token[part.masked]))
        keep, masked = (torch.cat(indices, 1) for indices in zip(*parts, strict=True))
        return masks.Mask(keep, masked)

    def spatial(self, x: Tensor, embedded: Tensor, mapped: Tensor, segments: Tensor) -> Tensor:
        """Joint hierarchy: distance to the root plus distances to all joints, (B, P', V). Eq. 9-13."""
        encoder, k = self.encoder, self.encoder.settings.curvature
        root = encoder.project(encoder.embedding.tokenize(x, self.root).mean(2, keepdim=True))[:, segments]
        joints = mapped[:, segments]
        between = poincare.pairwise_distance(joints, k).sum(-1)
        return self.settings.radial_weight * poincare.distance(joints, root, k) + between

    def temporal(self, x: Tensor, embedded: Tensor, mapped: Tensor, segments: Tensor) -> Tensor:
        """Correlation of a joint with itself over time, (B, P', V). Eq. 14-16."""
        if self.settings.temporal_strategy == 1:
            over_time = mapped[:, segments].transpose(1, 2)  # (B, V, P', D)
            d = poincare.pairwise_distance(over_time, self.encoder.settings.curvature).clamp_max(_LARGEST_DISTANCE)
            return (1 - d.cosh()).sum(-1).transpose(1, 2)
        over_time = embedded[:, segments].transpose(1, 2)
        if self.psi is not None and self.phi is not None:
            q, k = self.psi(over_time), self.phi(over_time)
        else:
            first = next(iter(self.encoder.trunk))
            q, k = first.attention.queries_keys(first.norm1(over_time))
        attention = (q @ k.mT / q.shape[-1] ** 0.5).float().softmax(-1)
        return attention.sum(-2).transpose(1, 2)  # attention received: a sum over keys would be 1 everywhere

    def target(self, batch: Batch) -> Target:
        s, e = self.settings, self.encoder.settings
        motion = difference(batch.x[:, :, self.encoder.joints], s.motion_stride)
        to_ball = lambda vectors: poincare.to_ball(vectors, e.curvature, e.epsilon, e.projection)
        if s.target_space == "poincare" and s.target_vector == "frame":
            motion = to_ball(motion)
        tokens = segment(motion, e.segment_frames)
        if s.target_space == "poincare" and s.target_vector == "token":
            tokens = to_ball(tokens)
        return Target(*targets.normalise_tokens(tokens, s.target_norm), "motion", s.motion_stride)

    def losses(self, batch: Batch, done: Prediction) -> dict[str, tuple[float, Tensor]]:
        s, terms = self.settings, super().losses(batch, done)
        if not s.contrast_weight:
            return terms
        encoded = done.encoded
        temporal, spatial = encoded[:, : self.kept].mean(1), encoded[:, self.kept :].mean(1)
        even, odd = (temporal, spatial) if s.temporal_group == "even" else (spatial, temporal)
        value = cross_contrast(odd, even, encoded.mean(1), s.similarity, s.contrast_reduction, s.negatives)
        return terms | {"contrast": (s.contrast_weight, value)}

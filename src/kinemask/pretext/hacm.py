"""HA-CM (Yin & Cao): hierarchy- and attention-guided cross masking in the Poincaré ball, with a cross-contrast loss."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from kinemask import poincare
from kinemask.checks import check_not_negative, warn_unused
from kinemask.nn.decoder import DecoderSettings
from kinemask.nn.encoder import Encoder, EncoderSettings
from kinemask.nn.transformer import Block
from kinemask.pretext import masks, targets
from kinemask.pretext.base import MaskedPrediction, Method, Prediction, Target
from kinemask.pretext.contrast import Negatives, Reduction, Similarity, cross_contrast
from kinemask.windows.sampler import Batch
from kinemask.windows.streams import difference

_LARGEST_DISTANCE = 80.0  # cosh of more overflows float32


@dataclass(kw_only=True)
class HACMSettings:
    """Hierarchy- and attention-guided cross masking.

    Args:
        mask_ratio: share of the tokens that is masked, in each group of segments
        criteria: cross masks one half of the segments by the spatial and the other by the temporal criterion; spatial
            or temporal alone is one mask over all tokens
        temporal_group: which segments, counted from 0, get the temporal criterion under cross; even as Eq. 18-19, the
            released code and Table VII's best row have it, odd as the text around Eq. 8 reads if it counts from 0
        temporal_strategy: 1 is hyperbolic similarity over time (Eq. 14), 2 attention on embeddings (Eq. 15)
        temporal_projection: the maps of strategy 2; frozen stay as initialised (a mask passes no gradient), first_block
            borrows the trained query and key maps of the encoder's first block
        radial_weight: weight of the distance to the root beside the distances between joints; 1 is the paper's sum,
            the released code has 0.01
        tau: temperature; higher is more random
        gumbel: random masks by Gumbel noise; without it the criterion alone decides
        mask: high masks tokens low in the hierarchy and highly correlated (the paper's text), low masks the others
            (its Eq. 17 to the letter)
        motion_stride: frames between the two positions whose difference is predicted
        target_space: poincare maps each frame's motion vector (metres) into the ball before it is cut into tokens
        target_norm: token normalises each token, as the released code (the paper does not say), sequence each joint
            over its whole window
        contrast_weight: weight μ of the cross-contrast loss; 0 leaves it out
        similarity: softmax takes the softmax of each row of inner products, as the released code; cosine their cosines.
            Eq. 26 as printed, plain products of vectors of norm √D against the identity, explodes
        contrast_reduction: mean over the B² entries, as the released code; rows sums over columns and averages rows;
            sum is Eq. 26 as printed
        negatives: gathered contrasts with the whole batch when several processes train
    """

    mask_ratio: float = 0.9
    criteria: Literal["cross", "spatial", "temporal"] = "cross"
    temporal_group: Literal["even", "odd"] = "even"
    temporal_strategy: Literal[1, 2] = 1
    temporal_projection: Literal["frozen", "first_block"] = "frozen"
    radial_weight: float = 1.0
    tau: float = 0.9
    gumbel: bool = True
    mask: Literal["high", "low"] = "high"
    motion_stride: int = 1
    target_space: Literal["poincare", "euclidean"] = "poincare"
    target_norm: targets.TargetNorm = "token"
    contrast_weight: float = 1.0
    similarity: Similarity = "softmax"
    contrast_reduction: Reduction = "mean"
    negatives: Negatives = "local"

    def __post_init__(self):
        masks.check(self.mask_ratio, self.tau)
        if self.contrast_weight and self.criteria != "cross":
            raise ValueError(
                f"pretext.criteria {self.criteria} has one group of segments and nothing to contrast; "
                "set pretext.contrast_weight to 0"
            )
        check_not_negative("pretext", self, "contrast_weight", "radial_weight")
        if self.criteria == "spatial":
            warn_unused("pretext", self, "with the spatial criterion", "temporal_strategy", "temporal_projection")
        elif self.temporal_strategy == 1:
            warn_unused("pretext", self, "with temporal_strategy 1", "temporal_projection")
        if self.criteria != "cross":
            warn_unused("pretext", self, "unless masks are crossed", "temporal_group")
        if self.criteria == "temporal":
            warn_unused("pretext", self, "with the temporal criterion", "radial_weight")
        if not self.gumbel:
            warn_unused("pretext", self, "without Gumbel noise", "tau")
        if not self.contrast_weight:
            warn_unused("pretext", self, "without contrast", "similarity", "contrast_reduction", "negatives")


class HACM(MaskedPrediction):
    """Masks by joint hierarchy in one half of the segments, by temporal correlation in the other."""

    def __init__(self, encoder: Encoder, decoder: DecoderSettings, settings: HACMSettings):
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
        root = encoder.project(encoder.tokenize(x, encoder.hub).mean(2, keepdim=True))[:, segments]
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
            first = self.encoder.blocks[0]
            assert isinstance(first, Block)
            q, k = first.attention.queries_keys(first.norm1(over_time))
        attention = (q @ k.mT / q.shape[-1] ** 0.5).float().softmax(-1)
        return attention.sum(-2).transpose(1, 2)  # attention received: a sum over keys would be 1 everywhere

    def target(self, batch: Batch) -> Target:
        s, e = self.settings, self.encoder.settings
        motion = difference(batch.x[:, :, self.encoder.joints], s.motion_stride)
        if s.target_space == "poincare":
            motion = poincare.to_ball(motion, e.curvature, e.epsilon, e.projection)
        return Target(*targets.normalise(motion, e.segment_frames, s.target_norm))

    def losses(self, batch: Batch, done: Prediction) -> dict[str, tuple[float, Tensor]]:
        s, terms = self.settings, super().losses(batch, done)
        if not s.contrast_weight:
            return terms
        encoded = done.encoded
        temporal, spatial = encoded[:, : self.kept].mean(1), encoded[:, self.kept :].mean(1)
        even, odd = (temporal, spatial) if s.temporal_group == "even" else (spatial, temporal)
        value = cross_contrast(odd, even, encoded.mean(1), s.similarity, s.contrast_reduction, s.negatives)
        return terms | {"contrast": (s.contrast_weight, value)}


METHOD = Method(
    name="hacm",
    title="crosses masks by joint hierarchy (hyperbolic) and temporal correlation; contrasts the halves",
    paper="Yin & Cao, Spatial Hierarchy and Temporal Attention Guided Cross Masking (HA-CM)",
    encoder_settings=EncoderSettings,
    settings=HACMSettings,
    build_encoder=Encoder,
    build=HACM,
)

"""SkeletonMAE (Yan et al., ICCV 2023): whole body parts of a graph are masked, and their embeddings predicted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinemask.checks import check_not_negative, warn_unused
from kinemask.draws import key
from kinemask.nn.decoder import gather
from kinemask.nn.graph import GraphDecoder, GraphDecoderSettings, GraphEncoder, GraphEncoderSettings
from kinemask.nn.strl import STRL, STRLSettings
from kinemask.pretext import masks, targets
from kinemask.pretext.base import MaskedPrediction, Method, Prediction, Target
from kinemask.skeleton import PARTS
from kinemask.windows.sampler import Batch


@dataclass(kw_only=True)
class SkeletonMAESettings:
    """Masked autoencoding of a skeleton graph, frame by frame.

    Args:
        parts: body parts that are masked, the same in every frame, as in the paper's experiments
        random_parts: mask so many of the six parts instead, drawn anew for every batch (the words of the paper's 3.1.2)
        masked_joints: mask so many joints instead, drawn anew in every frame; 0 takes as many as the parts have
        target: features predicts the unmasked embedding (no gradient through it), coordinates the direction of each
            joint from the origin: the loss knows no lengths
        beta: exponent of the re-weighted cosine error; a higher one looks more at the joints that are far off
    """

    parts: tuple[str, ...] = ("right_arm", "right_leg")
    random_parts: int = 0
    masked_joints: int | None = None
    target: Literal["features", "coordinates"] = "features"
    beta: float = 2.0

    def __post_init__(self):
        self.parts = tuple(self.parts)
        if not self.parts or not set(self.parts) <= set(PARTS) or len(set(self.parts)) < len(self.parts):
            raise ValueError(f"pretext.parts must be some of {', '.join(PARTS)}, each once, not {list(self.parts)}")
        if not 1 <= self.beta < float("inf"):
            raise ValueError(f"pretext.beta must be a number from 1 up, not {self.beta}")
        check_not_negative("pretext", self, "random_parts")
        if self.masked_joints is not None:
            check_not_negative("pretext", self, "masked_joints")
            unused = ("random_parts", "parts") if self.masked_joints else ("random_parts",)
            warn_unused("pretext", self, "where masked_joints are drawn", *unused)
        elif self.random_parts:
            warn_unused("pretext", self, "where random_parts are drawn", "parts")


class SkeletonMAE(MaskedPrediction):
    """Masked joints enter the graph as a learned token; the loss is the cosine error of what comes out for them.

    Masked joints that a frame does not show carry no loss; where joints are drawn, these come first. Beside masked
    parts, a joint that a frame does not show enters as the sampler fills it.
    """

    encoder: GraphEncoder

    def __init__(self, encoder: GraphEncoder, decoder: GraphDecoderSettings, settings: SkeletonMAESettings):
        s = settings
        width_out = encoder.width if s.target == "features" else encoder.layout.dims
        super().__init__(encoder, decoder, width_out)  # type: ignore[arg-type]
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

    def build_decoder(self, settings: GraphDecoderSettings, width_out: int) -> GraphDecoder:
        return GraphDecoder(self.encoder.settings, width_out, settings)

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
        return Target(F.normalize(x, dim=-1), torch.zeros_like(x), x.norm(dim=-1, keepdim=True).expand_as(x))

    def predict(self, batch: Batch) -> Prediction:
        encoder = self.encoder
        embedded = encoder.embed(batch.x)
        with torch.no_grad():
            mask, target = self.mask(batch, embedded, embedded, self.token_valid(batch)), self.target(batch)
        hidden = torch.zeros(target.tokens.shape[:2], dtype=torch.bool, device=batch.x.device)
        hidden = hidden.scatter(1, mask.masked, True).view(*embedded.shape[:3], 1)
        encoded = encoder.transform(torch.where(hidden, self.mask_token.to(embedded.dtype), embedded))
        predicted = gather(self.decoder(encoded, encoder.adjacency).flatten(1, 2), mask.masked)
        kept = gather(encoded.flatten(1, 2), mask.keep)
        return Prediction(mask, kept, F.normalize(predicted.float(), dim=-1), target)

    def losses(self, batch: Batch, done: Prediction) -> dict[str, tuple[float, Tensor]]:
        """target_std: of the target's unit vectors from clip to clip, near 0 in a collapse."""
        wanted, weight = (
            gather(done.target.tokens, done.mask.masked),
            self.token_valid(batch).gather(1, done.mask.masked),
        )
        terms = {"reconstruction": (1.0, targets.reweighted_cosine(done.predicted, wanted, self.settings.beta, weight))}
        if self.settings.target == "features":
            terms["target_std"] = (0.0, done.target.tokens.std(0, correction=0).mean())
        return terms


# the paper's, 4.2; it names no weight decay
FINETUNE = {"epochs": 110, "warmup_epochs": 5, "batch_size": 128, "optimizer": "sgd", "lr": 0.1, "momentum": 0.9}
FINETUNE |= {"schedule": "steps", "milestones": (90, 100), "weight_decay": 0.0, "label_smoothing": 0.1}
FINETUNE |= {"layer_decay": 1.0, "drop_path": 0.0}

METHOD = Method(
    name="skeletonmae",
    title="masks body parts of the skeleton's graph, predicts their embedding",
    paper="Yan et al., SkeletonMAE: Graph-based Masked Autoencoder for Skeleton Sequence Pre-training, ICCV 2023",
    encoder_settings=GraphEncoderSettings,
    decoder_settings=GraphDecoderSettings,
    settings=SkeletonMAESettings,
    build_encoder=GraphEncoder,
    build=SkeletonMAE,
    build_classifier=STRL,
    head_settings=STRLSettings,
    finetune=FINETUNE,
)

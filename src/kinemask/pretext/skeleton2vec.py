"""Skeleton2vec (ECCV 2024 submission): a student predicts what its moving average makes of the whole clip."""

from __future__ import annotations

import torch
from torch import Tensor

from kinemask.nn.average import MovingAverage
from kinemask.nn.encoder import Encoder
from kinemask.nn.settings import DecoderSettings
from kinemask.pretext import masks, targets
from kinemask.pretext.base import MaskedPrediction, Target
from kinemask.pretext.settings import Skeleton2vecSettings
from kinemask.windows.sampler import Batch


class Skeleton2vec(MaskedPrediction):
    """Masks joints throughout a tube of segments, predicts the teacher's features of the whole clip.

    The loss is Eq. 5, as a mean over the D numbers of a token.
    """

    def __init__(self, encoder: Encoder, decoder: DecoderSettings, settings: Skeleton2vecSettings):
        super().__init__(encoder, decoder, width_out=encoder.width)
        s = self.settings = settings
        if s.top_k_layers > encoder.settings.layers:
            raise ValueError(
                f"pretext.top_k_layers {s.top_k_layers} is more than encoder.layers {encoder.settings.layers}"
            )
        self.teacher = MovingAverage(encoder)
        P, length = encoder.segments, min(s.tube_segments, encoder.segments)
        counts = masks.tube_counts(P, encoder.num_joints, length, s.mask_ratio)
        self.length = length
        self.kept = sum(count * min(length, P - i * length) for i, count in enumerate(counts))
        self.counts: Tensor  # (tubes,) joints that each tube keeps
        self.register_buffer("counts", torch.tensor(counts), persistent=False)

    def mask(self, batch: Batch, embedded: Tensor, mapped: Tensor, token_valid: Tensor) -> masks.Mask:
        """Eq. 7-11. The paper calls V·(1−m) the number of masked joints; it is the number kept."""
        x, S = batch.x[:, :, self.encoder.joints], self.encoder.settings.segment_frames
        motion = masks.tube_intensity(x, S, self.length)
        score = batch.draws.uniform(*motion.shape[1:]) + self.settings.motion_weight * motion
        return masks.split_tubes(score, self.counts, self.kept, self.length, token_valid)

    def target(self, batch: Batch) -> Target:
        """The teacher's features of the whole clip, (B, L, D). Eq. 3."""
        teacher = self.teacher.module
        outputs = teacher.intermediates(teacher.project(teacher.embed(batch.x)).flatten(1, 2))
        tokens = targets.contextual(outputs[-self.settings.top_k_layers :])
        if self.settings.center_target:
            if len(tokens) < 2:
                raise ValueError("pretext.center_target needs two clips at least in each part of a batch")
            tokens = tokens - tokens.mean(0)
        return Target(tokens, torch.zeros_like(tokens), torch.ones_like(tokens), "features")

    def after_step(self, progress: float) -> None:
        start = self.settings.ema_decay
        self.teacher.update(self.encoder, start + (1 - start) * progress)

    def encoders(self) -> dict[str, Encoder]:
        return {"encoder": self.teacher.module, "encoder-student": self.encoder}

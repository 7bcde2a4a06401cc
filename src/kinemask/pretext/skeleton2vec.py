"""Skeleton2vec (ECCV 2024 submission): a student predicts what its moving average makes of the whole clip."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kinemask.checks import check_not_negative, check_positive, check_share
from kinemask.nn.average import MovingAverage
from kinemask.nn.decoder import DecoderSettings
from kinemask.nn.encoder import Encoder, EncoderSettings
from kinemask.pretext import masks, targets
from kinemask.pretext.base import MaskedPrediction, Method, Prediction, Target
from kinemask.windows.sampler import Batch


@dataclass(kw_only=True)
class Skeleton2vecSettings:
    """Contextual targets of a moving average, motion-aware masks over tubes.

    Args:
        mask_ratio: share of the joints that is masked in a tube
        tube_segments: segments that share a mask, α; 1 masks every segment by itself, all of them or more are one tube
        motion_weight: weight β of a joint's motion beside uniform noise where the mask is drawn; 0 ignores motion
        top_k_layers: blocks, from the last one down, whose outputs make the target; 0 takes all
        ema_decay: decay of the teacher's moving average at the start; rises linearly to 1 at the end of training. It
            remembers 1 / (1 − ema_decay) steps: on a run that is not many times longer, 0.9999 freezes the teacher
    """

    mask_ratio: float = 0.9
    tube_segments: int = 5
    motion_weight: float = 0.1
    top_k_layers: int = 0
    ema_decay: float = 0.9999

    def __post_init__(self):
        masks.check(self.mask_ratio)
        check_positive("pretext", self, "tube_segments")
        check_not_negative("pretext", self, "motion_weight", "top_k_layers")
        check_share("pretext", self, "ema_decay")


class Skeleton2vec(MaskedPrediction):
    """Masks joints throughout a tube of segments, predicts the teacher's features of the whole clip."""

    def __init__(self, encoder: Encoder, decoder: DecoderSettings, settings: Skeleton2vecSettings):
        super().__init__(encoder, decoder, width_out=encoder.width)
        s = self.settings = settings
        if s.top_k_layers > len(encoder.blocks):
            raise ValueError(f"pretext.top_k_layers {s.top_k_layers} is more than encoder.layers {len(encoder.blocks)}")
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
        outputs = teacher.feed_forwards(teacher.project(teacher.embed(batch.x)).flatten(1, 2))
        tokens = targets.contextual(outputs[-self.settings.top_k_layers :])
        return Target(tokens, torch.zeros_like(tokens), torch.ones_like(tokens))

    def losses(self, batch: Batch, done: Prediction) -> dict[str, tuple[float, Tensor]]:
        """Eq. 5, as a mean over the D numbers of a token. target_std: from clip to clip, near 0 in a collapse."""
        spread = done.target.tokens.std(0, correction=0).mean()
        return super().losses(batch, done) | {"target_std": (0.0, spread)}

    def after_step(self, progress: float) -> None:
        start = self.settings.ema_decay
        self.teacher.update(self.encoder, start + (1 - start) * progress)

    def encoders(self) -> dict[str, nn.Module]:
        return {"encoder": self.teacher.module, "encoder-student": self.encoder}


METHOD = Method(
    name="skeleton2vec",
    title="masks joints over tubes of time, predicts a teacher's features of the whole clip",
    paper="Skeleton2vec: A Self-supervised Learning Framework with Contextualized Target Representations, 2024",
    encoder_settings=EncoderSettings,
    settings=Skeleton2vecSettings,
    build_encoder=Encoder,
    build=Skeleton2vec,
    linear={"batch_size": 256},
)

"""MAMP (Mao et al., ICCV 2023), masked motion prediction; with random masks and coordinate targets it is MAE."""

from __future__ import annotations

from torch import Tensor

from kinemask.nn.encoder import Encoder
from kinemask.nn.settings import DecoderSettings
from kinemask.pretext import masks, targets
from kinemask.pretext.base import MaskedPrediction, Saliency, Target
from kinemask.pretext.settings import MAMPSettings
from kinemask.windows.sampler import Batch
from kinemask.windows.streams import difference


class MAMP(MaskedPrediction):
    """Masks what moves and predicts its motion."""

    def __init__(self, encoder: Encoder, decoder: DecoderSettings, settings: MAMPSettings):
        super().__init__(encoder, decoder)
        if not 1 <= settings.motion_stride < encoder.frames:
            raise ValueError(
                f"pretext.motion_stride must be in [1, {encoder.frames - 1}], not {settings.motion_stride}"
            )
        self.settings = settings
        self.kept = masks.kept_count(encoder.tokens, settings.mask_ratio)

    def mask(self, batch: Batch, embedded: Tensor, mapped: Tensor, token_valid: Tensor) -> masks.Mask:
        s, encoder, moving = self.settings, self.encoder, self.saliency(batch)
        if moving is None:
            return masks.split(batch.draws.gumbel(encoder.tokens), self.kept, token_valid, "lowest")
        score = masks.log_probability(moving.scores.flatten(1), s.tau)
        if s.gumbel:
            score = score + batch.draws.gumbel(encoder.tokens)
        return masks.split(score, self.kept, token_valid, "lowest")

    def saliency(self, batch: Batch) -> Saliency | None:
        if self.settings.masking == "random":
            return None
        x = batch.x[:, :, self.encoder.joints]
        return Saliency("motion", masks.motion_intensity(x, self.encoder.settings.segment_frames))

    def target(self, batch: Batch) -> Target:
        s = self.settings
        x = batch.x[:, :, self.encoder.joints]
        frames = difference(x, s.motion_stride) if s.predict == "motion" else x
        normalised = targets.normalise(frames, self.encoder.settings.segment_frames, s.target_norm)
        return Target(*normalised, s.predict, s.motion_stride)

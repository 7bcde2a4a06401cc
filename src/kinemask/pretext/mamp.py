"""MAMP (Mao et al., ICCV 2023), masked motion prediction; with random masks and coordinate targets it is MAE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from kinemask.checks import warn_unused
from kinemask.nn.decoder import DecoderSettings
from kinemask.nn.encoder import Encoder, EncoderSettings
from kinemask.pretext import masks, targets
from kinemask.pretext.base import MaskedPrediction, Method, Target
from kinemask.windows.sampler import Batch
from kinemask.windows.streams import difference


@dataclass(kw_only=True)
class MAMPSettings:
    """Masked motion prediction.

    Args:
        mask_ratio: share of the tokens that is masked
        masking: motion masks what moves (softmax of motion intensity plus Gumbel noise); random is MAE
        tau: temperature of the motion mask; higher is more random
        predict: what is predicted at masked tokens; coordinates is MAE
        motion_stride: frames between the two positions whose difference is the motion
        target_norm: token normalises each token (the papers), sequence each joint over its whole window
    """

    mask_ratio: float = 0.9
    masking: Literal["motion", "random"] = "motion"
    tau: float = 0.8
    predict: Literal["motion", "coordinates"] = "motion"
    motion_stride: int = 1
    target_norm: targets.TargetNorm = "token"

    def __post_init__(self):
        masks.check(self.mask_ratio, self.tau)
        if self.masking == "random":
            warn_unused("pretext", self, "with random masks", "tau")
        if self.predict == "coordinates":
            warn_unused("pretext", self, "where coordinates are predicted", "motion_stride")


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
        noise = batch.draws.gumbel(self.encoder.tokens)
        if self.settings.masking == "random":
            return masks.split(noise, self.kept, token_valid, "lowest")
        encoder = self.encoder
        intensity = masks.motion_intensity(batch.x[:, :, encoder.joints], encoder.settings.segment_frames).flatten(1)
        score = masks.log_probability(intensity, self.settings.tau) + noise
        return masks.split(score, self.kept, token_valid, "lowest")

    def target(self, batch: Batch) -> Target:
        s = self.settings
        x = batch.x[:, :, self.encoder.joints]
        frames = difference(x, s.motion_stride) if s.predict == "motion" else x
        return Target(*targets.normalise(frames, self.encoder.settings.segment_frames, s.target_norm))


METHOD = Method(
    name="mamp",
    title="masks what moves, predicts its motion",
    paper="Mao et al., Masked Motion Predictors are Strong 3D Action Representation Learners, ICCV 2023",
    encoder_settings=EncoderSettings,
    settings=MAMPSettings,
    build_encoder=Encoder,
    build=MAMP,
)

"""MaskSem (Wei et al.): masks what sets a clip apart from a static reference, predicts velocity and acceleration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from kinemask.checks import check_share, warn_unused
from kinemask.nn.average import MovingAverage
from kinemask.nn.decoder import DecoderSettings
from kinemask.nn.encoder import Encoder, EncoderSettings
from kinemask.pretext import masks, targets
from kinemask.pretext.base import MaskedPrediction, Method, Prediction, Target
from kinemask.windows.sampler import Batch, Sampler
from kinemask.windows.streams import difference


@dataclass(kw_only=True)
class MaskSemSettings:
    """Semantic masks and hybrid high-order motion.

    Args:
        mask_ratio: share of the tokens that is masked
        masking: semantic masks what sets the clip apart from the static reference (Grad-CAM); motion is MAMP's mask
        tau: temperature of the mask; higher is more random
        score: relative divides by the clip's largest, as MAMP does; raw is Eq. 8 to the letter, which is nearly uniform
        smoothing: of the activations over joints that share a bone; over body parts, as the released code; or none
        reference: what counts as static, the mean over the training set or, as the released code, of the batch at
            hand, with which the loss depends on how a batch is cut into parts and processes
        ema_decay: decay of the encoder that finds the activations, a moving average; the paper gives none
        predict: velocity, acceleration or both at masked tokens
        acceleration_weight: share β of the acceleration in the loss
        heads: shared predicts velocity and acceleration by the same numbers, as Eq. 14; separate by their own
        weighting: probability weighs a masked token by its probability of being masked, none all alike
        target_norm: token normalises each token, as the released code (the paper does not say), sequence each joint
    """

    mask_ratio: float = 0.9
    masking: Literal["semantic", "motion"] = "semantic"
    tau: float = 0.8
    score: Literal["relative", "raw"] = "relative"
    smoothing: masks.Smoothing = "adjacency"
    reference: Literal["dataset", "batch"] = "dataset"
    ema_decay: float = 0.999
    predict: Literal["both", "velocity", "acceleration"] = "both"
    acceleration_weight: float = 0.2
    heads: Literal["shared", "separate"] = "shared"
    weighting: Literal["probability", "none"] = "probability"
    target_norm: targets.TargetNorm = "token"

    def __post_init__(self):
        masks.check(self.mask_ratio, self.tau)
        check_share("pretext", self, "ema_decay", "acceleration_weight")
        if self.masking == "motion":
            warn_unused("pretext", self, "with motion masks", "smoothing", "reference", "ema_decay")
        if self.predict != "both":
            warn_unused("pretext", self, "where one target is predicted", "acceleration_weight", "heads")


class MaskSem(MaskedPrediction):
    """Masks by Grad-CAM against a static reference; velocity and acceleration, weighted by the mask's probabilities."""

    def __init__(self, encoder: Encoder, decoder: DecoderSettings, settings: MaskSemSettings):
        s, layout = settings, encoder.layout
        per_token = encoder.settings.segment_frames * layout.dims
        super().__init__(encoder, decoder, per_token * (2 if s.predict == "both" and s.heads == "separate" else 1))
        self.settings = settings
        self.kept = masks.kept_count(encoder.tokens, s.mask_ratio)
        self.momentum = MovingAverage(encoder) if s.masking == "semantic" else None
        self.reference: Tensor | None  # (T, V, C); NaN until it is known
        unknown = torch.full((encoder.frames, layout.num_joints, layout.dims), torch.nan)
        self.register_buffer("reference", unknown if self.momentum and s.reference == "dataset" else None)
        self._known = False
        self.smoothing: Tensor  # (V, V), rows that add up to 1
        joints = layout.kept(encoder.settings.joints)
        self.register_buffer("smoothing", masks.smoothing(layout, joints, s.smoothing), persistent=False)

    @torch.no_grad()
    def prepare(self, sampler: Sampler) -> None:
        """The static reference: the mean over all tracks of their first test view. Eq. 2."""
        if self.reference is None:
            return
        total, count = torch.zeros_like(self.reference, dtype=torch.float64), len(sampler.tracks)
        for track in torch.arange(count, device=total.device).split(1024):
            total += sampler.test_view(track).sum(0, dtype=torch.float64)
        self.reference.copy_(total / count)

    def mask(self, batch: Batch, embedded: Tensor, mapped: Tensor, token_valid: Tensor) -> masks.Mask:
        """Eq. 8-9."""
        s, encoder = self.settings, self.encoder
        if s.masking == "semantic":
            intensity = self.activation(batch.x).flatten(1)
        else:
            x = batch.x[:, :, encoder.joints]
            intensity = masks.motion_intensity(x, encoder.settings.segment_frames).flatten(1)
        chance = masks.log_probability(intensity, s.tau, s.score == "relative")
        mask = masks.split(chance + batch.draws.gumbel(encoder.tokens), self.kept, token_valid, "lowest")
        if s.weighting == "none":
            return mask
        weight = chance.gather(1, mask.masked).softmax(1) * mask.masked.shape[1]  # 1 on average
        return mask._replace(weight=weight)

    def activation(self, x: Tensor) -> Tensor:
        """Grad-CAM of the difference from the static reference, smoothed: (B, T, V, C) -> (B, P, V). Eq. 3-7."""
        assert self.momentum is not None
        reference = x.mean(0) if self.reference is None else self.reference
        if not self._known and reference.isnan().any():  # looked at until it is known only: this waits for the device
            raise ValueError("the static reference is unknown: give the training set to prepare() first")
        self._known = True
        features = self.momentum.module(torch.cat([x, reference[None]]))
        with torch.autocast(x.device.type, enabled=False):
            return masks.grad_cam(features[:-1].float(), features[-1].float()) @ self.smoothing.T

    def target(self, batch: Batch) -> Target:
        return self.motion(batch, self.settings.predict != "acceleration")

    def motion(self, batch: Batch, velocity: bool) -> Target:
        """Velocity or acceleration of every token. Eq. 12."""
        x = batch.x[:, :, self.encoder.joints]
        frames = difference(x) if velocity else targets.acceleration(x)
        return Target(*targets.normalise(frames, self.encoder.settings.segment_frames, self.settings.target_norm))

    def losses(self, batch: Batch, done: Prediction) -> dict[str, tuple[float, Tensor]]:
        """Eq. 14-15."""
        if self.settings.predict != "both":
            return super().losses(batch, done)
        share, width = self.settings.acceleration_weight, done.target.tokens.shape[-1]
        wanted = {"velocity": done.target.tokens, "acceleration": self.motion(batch, velocity=False).tokens}
        guess = {"velocity": done.predicted[..., :width], "acceleration": done.predicted[..., -width:]}
        parts = {name: self.reconstruction(batch, done.mask, guess[name], wanted[name]) for name in wanted}
        both = (1 - share) * parts["velocity"] + share * parts["acceleration"]
        return {"reconstruction": (1.0, both)} | {name: (0.0, value) for name, value in parts.items()}

    def after_step(self, progress: float) -> None:
        if self.momentum is not None:
            self.momentum.update(self.encoder, self.settings.ema_decay)


METHOD = Method(
    name="masksem",
    title="masks what differs from a static reference (Grad-CAM), predicts velocity and acceleration",
    paper="Wei et al., MaskSem: Semantic-Guided Masking for Learning 3D Hybrid High-Order Motion Representation",
    encoder_settings=EncoderSettings,
    settings=MaskSemSettings,
    build_encoder=Encoder,
    build=MaskSem,
    linear={"batch_size": 256},
)

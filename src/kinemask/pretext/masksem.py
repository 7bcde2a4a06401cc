"""MaskSem (Wei et al.): masks what sets a clip apart from a static reference, predicts velocity and acceleration."""

from __future__ import annotations

import torch
from torch import Tensor

from kinemask.nn.average import MovingAverage
from kinemask.nn.encoder import Encoder
from kinemask.nn.settings import DecoderSettings
from kinemask.pretext import masks, targets
from kinemask.pretext.base import MaskedPrediction, Prediction, Saliency, Target
from kinemask.pretext.settings import MaskSemSettings
from kinemask.windows.sampler import Batch, Sampler
from kinemask.windows.streams import difference


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
        chance = masks.log_probability(self.saliency(batch).scores.flatten(1), s.tau, s.score == "relative")
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

    def saliency(self, batch: Batch) -> Saliency:
        if self.settings.masking == "semantic":
            return Saliency("Grad-CAM", self.activation(batch.x))
        x = batch.x[:, :, self.encoder.joints]
        return Saliency("motion", masks.motion_intensity(x, self.encoder.settings.segment_frames))

    def target(self, batch: Batch) -> Target:
        return self.motion(batch, self.settings.predict != "acceleration")

    def motion(self, batch: Batch, velocity: bool) -> Target:
        """Velocity or acceleration of every token. Eq. 12."""
        x = batch.x[:, :, self.encoder.joints]
        frames = difference(x) if velocity else targets.acceleration(x)
        normalised = targets.normalise(frames, self.encoder.settings.segment_frames, self.settings.target_norm)
        return Target(*normalised, "motion" if velocity else "acceleration")

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

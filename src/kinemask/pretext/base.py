"""What a pretext task is, and the plumbing that masked prediction tasks share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from kinemask.data.sampling import Batch
from kinemask.nn.decoder import Decoder, DecoderSettings, take
from kinemask.nn.encoder import Encoder
from kinemask.pretext.masks import Mask, token_validity
from kinemask.pretext.targets import masked_mse


class Pretext(nn.Module):
    """A pretext task: `forward(batch)` returns {"loss": …} and named parts for the log."""

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        raise NotImplementedError

    def after_step(self, progress: float) -> None:
        """Called once after every optimiser step; progress in (0, 1]. For moving averages."""

    def encoders(self) -> dict[str, nn.Module]:
        """What is saved for use: file stem -> encoder. `encoder` is the default."""
        raise NotImplementedError


class Target(NamedTuple):
    """tokens (B, L, S·C) to predict; mean and scale (B, L, S·C) turn them back into `what` (motion, coordinates)."""

    tokens: Tensor
    mean: Tensor
    scale: Tensor


class MaskedPrediction(Pretext):
    """Embed, mask, encode the kept tokens, decode, compare at the masked ones.

    A method gives `mask` and `target`, and may add terms to the loss in `more_losses`.
    """

    def __init__(self, encoder: Encoder, decoder: DecoderSettings):
        super().__init__()
        self.encoder = encoder
        grid = encoder.segments, encoder.num_joints
        per_token = encoder.settings.segment_frames * encoder.layout.dims
        self.decoder = Decoder(grid, encoder.width, per_token, decoder)
        if encoder.tokens < 2:
            raise ValueError("masking needs at least two tokens: more frames, shorter segments or more joints")

    def mask(self, batch: Batch, embedded: Tensor, mapped: Tensor, token_valid: Tensor) -> Mask:
        """embedded, mapped (B, P, V, D); token_valid (B, L) -> which tokens are kept. Called without gradient."""
        raise NotImplementedError

    def target(self, x: Tensor) -> Target:
        """x (B, T, V, C) at the encoder's joints -> what is predicted at every token."""
        raise NotImplementedError

    def more_losses(self, encoded: Tensor, mask: Mask, batch: Batch) -> dict[str, tuple[float, Tensor]]:
        """Further terms, name -> (weight, value), from the encoded kept tokens (B, K, D)."""
        return {}

    def predict(self, batch: Batch) -> tuple[Mask, Tensor, Tensor, Target]:
        """Mask, encoded kept tokens (B, K, D), predictions (B, L-K, S·C) and target of a batch."""
        encoder = self.encoder
        embedded = encoder.embed(batch.x)
        mapped = encoder.map(embedded)
        with torch.no_grad():
            valid = token_validity(batch.valid[:, :, encoder.joints], encoder.settings.segment_frames)
            mask = self.mask(batch, embedded.detach(), mapped.detach(), valid)
            target = self.target(batch.x[:, :, encoder.joints])
        encoded = encoder.transform(take(mapped.flatten(1, 2), mask.keep))
        return mask, encoded, self.decoder(encoded, mask.keep, mask.masked), target

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        mask, encoded, predicted, target = self.predict(batch)
        valid = token_validity(batch.valid[:, :, self.encoder.joints], self.encoder.settings.segment_frames)
        reconstruction = masked_mse(predicted, take(target.tokens, mask.masked), valid.gather(1, mask.masked))
        extra = self.more_losses(encoded, mask, batch)
        loss = reconstruction
        for weight, value in extra.values():
            loss = loss + weight * value
        return {"loss": loss, "reconstruction": reconstruction} | {name: value for name, (_, value) in extra.items()}

    def encoders(self) -> dict[str, nn.Module]:
        return {"encoder": self.encoder}


@dataclass(frozen=True)
class Method:
    """A method as a value: its name, one line about it, its settings, and how to build encoder and task."""

    name: str
    title: str
    paper: str
    encoder_settings: type
    settings: type
    build_encoder: Callable[..., nn.Module]
    build: Callable[[Any, Any, Any], Pretext]

"""What a pretext task is, and the plumbing that masked prediction tasks share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from kinemask.nn.decoder import Decoder, DecoderSettings, gather
from kinemask.nn.encoder import Encoder
from kinemask.nn.heads import Classifier, HeadSettings
from kinemask.pretext.masks import Mask, token_validity
from kinemask.pretext.targets import masked_mse
from kinemask.windows.sampler import Batch, Sampler


class Pretext(nn.Module):
    """A pretext task: `forward(batch)` returns {"loss": …} and named parts for the log."""

    def prepare(self, sampler: Sampler) -> None:
        """Called once before a run's first step, for statistics of the training set that are kept in buffers.

        Every process calls it with the whole training set and must come to the same result.
        """

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        raise NotImplementedError

    def after_step(self, progress: float) -> None:
        """Called once after every optimizer step; progress in (0, 1]. For moving averages."""

    def encoders(self) -> dict[str, nn.Module]:
        """What is saved for use: file stem -> encoder. `encoder` is the default, `encoder-student` the other of two."""
        raise NotImplementedError


class Target(NamedTuple):
    """tokens (B, L, W) to predict; mean and scale (B, L, W) turn them back into what they were made of.

    That is motion or coordinates, W = S·C; a target of features, or of any other width, is not drawn in reports.
    """

    tokens: Tensor
    mean: Tensor
    scale: Tensor


class Prediction(NamedTuple):
    """Of a batch: the mask, the encoded kept tokens (B, K, D), what is predicted at masked tokens, and the target.

    predicted (B, L-K, W or more): the first W numbers predict the target's.
    """

    mask: Mask
    encoded: Tensor
    predicted: Tensor
    target: Target


class MaskedPrediction(Pretext):
    """Embed, mask, encode the kept tokens, decode, compare at the masked ones.

    A method gives `mask` and `target`, and its `losses` where they are not the mean squared error alone.
    width_out: numbers predicted at a token; by default S·C, a token's own.
    """

    def __init__(self, encoder: Encoder, decoder: DecoderSettings, width_out: int | None = None):
        super().__init__()
        self.encoder = encoder
        per_token = encoder.settings.segment_frames * encoder.layout.dims
        self.decoder = self.build_decoder(decoder, width_out or per_token)
        if encoder.tokens < 2:
            raise ValueError("masking needs at least two tokens: more frames, shorter segments or more joints")

    def build_decoder(self, settings: DecoderSettings, width_out: int) -> nn.Module:
        """What predicts width_out numbers at masked tokens."""
        grid = self.encoder.segments, self.encoder.num_joints
        return Decoder(grid, self.encoder.width, width_out, settings)

    def mask(self, batch: Batch, embedded: Tensor, mapped: Tensor, token_valid: Tensor) -> Mask:
        """embedded, mapped (B, P, V, D); token_valid (B, L) -> which tokens are kept. Called without gradient."""
        raise NotImplementedError

    def target(self, batch: Batch) -> Target:
        """What is predicted at every token. Called without gradient."""
        raise NotImplementedError

    def losses(self, batch: Batch, done: Prediction) -> dict[str, tuple[float, Tensor]]:
        """Terms of the loss, name -> (weight, value). A weight of 0: for the log alone."""
        return {"reconstruction": (1.0, self.reconstruction(batch, done.mask, done.predicted, done.target.tokens))}

    def reconstruction(self, batch: Batch, mask: Mask, predicted: Tensor, tokens: Tensor) -> Tensor:
        """Mean squared error of predictions (B, L-K, W) of the target's tokens (B, L, W), at masked tokens.

        Tokens without a valid frame carry no loss; the others what the mask says they weigh.
        """
        weight = self.token_valid(batch).gather(1, mask.masked)
        if mask.weight is not None:
            weight = weight * mask.weight
        return masked_mse(predicted, gather(tokens, mask.masked), weight)

    def token_valid(self, batch: Batch) -> Tensor:
        """Tokens with a valid frame: (B, L) bool."""
        return token_validity(batch.valid[:, :, self.encoder.joints], self.encoder.settings.segment_frames)

    def predict(self, batch: Batch) -> Prediction:
        """Everything up to the loss."""
        encoder = self.encoder
        embedded = encoder.embed(batch.x)
        mapped = encoder.project(embedded)
        with torch.no_grad():
            mask = self.mask(batch, embedded.detach(), mapped.detach(), self.token_valid(batch))
            target = self.target(batch)
        encoded = encoder.transform(gather(mapped.flatten(1, 2), mask.keep))
        return Prediction(mask, encoded, self.decoder(encoded, mask.keep, mask.masked), target)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        terms = self.losses(batch, self.predict(batch))
        loss = sum((weight * value for weight, value in terms.values() if weight), start=batch.x.new_zeros(()))
        return {"loss": loss} | {name: value for name, (_, value) in terms.items()}

    def encoders(self) -> dict[str, nn.Module]:
        return {"encoder": self.encoder}


@dataclass(frozen=True)
class Method:
    """A method as a value: its name, one line about it, its settings, and how to build encoder and task.

    build_classifier: (encoder, classes, head settings) -> the classifier that fine-tuning trains, around the encoder.
    finetune, linear: settings of fine-tuning, and of a linear classifier on frozen features, that differ from the
    defaults for this method.
    """

    name: str
    title: str
    paper: str
    encoder_settings: type
    settings: type
    build_encoder: Callable[..., nn.Module]
    build: Callable[[Any, Any, Any], Pretext]
    decoder_settings: type = DecoderSettings
    build_classifier: Callable[[Any, int, Any], nn.Module] = Classifier
    head_settings: type = HeadSettings
    finetune: Mapping[str, Any] = field(default_factory=dict)
    linear: Mapping[str, Any] = field(default_factory=dict)

"""What a pretext task is, and the plumbing that masked prediction tasks share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from kinemask.nn.decoder import Decoder, gather
from kinemask.nn.encoder import Encoder
from kinemask.nn.settings import DecoderSettings
from kinemask.nn.transformer import TransformerEncoder
from kinemask.pretext import targets
from kinemask.pretext.masks import Mask
from kinemask.windows.sampler import Batch, Sampler

TargetKind = Literal["coordinates", "motion", "acceleration", "features"]


class Saliency(NamedTuple):
    """How strongly a task takes each token for what counts: scores (B, P, V), at least 0. title: what they are."""

    title: str
    scores: Tensor


class Pretext(nn.Module):
    """A pretext task: `forward(batch)` returns {"loss": …} and named parts for the log."""

    def prepare(self, sampler: Sampler) -> None:
        """Called before a run's first step, and before it goes on, for statistics of the training set.

        They are kept in buffers; what a checkpoint has of them then replaces what was found. Every process calls it
        with the whole training set and must come to the same result.
        """

    def prepare_together(self, tasks: Sequence[Pretext], samplers: Sequence[Sampler]) -> None:
        """`prepare` of tasks with the same weights, each on a data set of its own. The first of them is asked.

        A task that predicts what is found in the training set overrides it, so that all predict the same.
        """
        for task, sampler in zip(tasks, samplers, strict=True):
            task.prepare(sampler)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        raise NotImplementedError

    def after_step(self, progress: float) -> None:
        """Called once after every optimizer step; progress in (0, 1]. For moving averages."""

    def encoders(self) -> dict[str, Encoder]:
        """What is saved for use: file stem -> encoder. `encoder` is the default, `encoder-student` the other of two."""
        raise NotImplementedError


class Target(NamedTuple):
    """tokens (B, L, W) to predict; mean and scale (B, L, W) turn them back into what they were made of.

    kind: what that is. Coordinates, and motion and acceleration (first and second difference over `stride` frames), at
    the encoder's joints have W = S·C and are drawn in reports; features have any width and are not.
    """

    tokens: Tensor
    mean: Tensor
    scale: Tensor
    kind: TargetKind
    stride: int = 1


class Prediction(NamedTuple):
    """Of a batch: the mask, what the encoder made of it, what is predicted at masked tokens, and the target.

    encoded: as `encode` returns it. predicted (B, L-K, W or more): the first W numbers predict the target's.
    """

    mask: Mask
    encoded: Tensor
    predicted: Tensor
    target: Target


class MaskedPrediction(Pretext):
    """Embed, mask, encode, decode, compare at the masked tokens.

    A method gives `mask` and `target`. By default the encoder sees the kept tokens alone, and the error is squared.
    decoder: a decoder, or the settings of the usual one, which then predicts width_out numbers at a token; by default
    S·C, a token's own.
    """

    encoder: Encoder

    def __init__(self, encoder: Encoder, decoder: DecoderSettings | nn.Module, width_out: int | None = None):
        super().__init__()
        self.encoder = encoder
        if isinstance(decoder, DecoderSettings):
            assert isinstance(encoder, TransformerEncoder)
            per_token = encoder.settings.segment_frames * encoder.layout.dims
            decoder = Decoder(encoder, width_out or per_token, decoder)
        self.decoder = decoder
        if encoder.tokens < 2:
            raise ValueError("masking needs at least two tokens: more frames, shorter segments or more joints")

    def mask(self, batch: Batch, embedded: Tensor, mapped: Tensor, token_valid: Tensor) -> Mask:
        """embedded, mapped (B, P, V, D); token_valid (B, L) -> which tokens are kept. Called without gradient."""
        raise NotImplementedError

    def target(self, batch: Batch) -> Target:
        """What is predicted at every token. Called without gradient."""
        raise NotImplementedError

    def saliency(self, batch: Batch) -> Saliency | None:
        """What decides how likely a token is masked; None where that does not follow from a score of each token."""
        return None

    def positions(self, values: Tensor, kind: TargetKind) -> Tensor | None:
        """The target's values, without normalisation, as coordinates: (B, L, W) -> (B, L, S·C).

        None where they do not tell where joints are.
        """
        return values if kind == "coordinates" else None

    def encode(self, tokens: Tensor, mask: Mask) -> Tensor:
        """What the encoder sees of a body's mapped tokens (B, L, D), encoded: the kept ones, (B, K, D)."""
        return self.encoder.encode(gather(tokens, mask.keep))

    def decode(self, encoded: Tensor, mask: Mask) -> Tensor:
        """From what `encode` returns to predictions at the masked tokens: (B, L-K, W or more)."""
        return self.decoder(encoded, mask.keep, mask.masked)

    def error(self, predicted: Tensor, wanted: Tensor) -> Tensor:
        """Of each masked token: (B, L-K, W), (B, L-K, W) -> (B, L-K)."""
        return targets.squared_error(predicted, wanted)

    def losses(self, batch: Batch, done: Prediction) -> dict[str, tuple[float, Tensor]]:
        """Terms of the loss, name -> (weight, value). A weight of 0: for the log alone.

        target_std: of predicted features, from clip to clip; near 0 in a collapse.
        """
        wanted = done.target.tokens
        terms = {"reconstruction": (1.0, self.reconstruction(batch, done.mask, done.predicted, wanted))}
        if done.target.kind == "features":
            terms["target_std"] = (0.0, wanted.std(0, correction=0).mean())
        return terms

    def reconstruction(self, batch: Batch, mask: Mask, predicted: Tensor, tokens: Tensor) -> Tensor:
        """Mean error of predictions (B, L-K, W) of the target's tokens (B, L, W), at masked tokens.

        Tokens without a valid frame carry no loss; the others what the mask says they weigh.
        """
        weight = self.token_valid(batch).gather(1, mask.masked)
        if mask.weight is not None:
            weight = weight * mask.weight
        return targets.masked_mean(self.error(predicted, gather(tokens, mask.masked)), weight)

    def token_valid(self, batch: Batch) -> Tensor:
        """Tokens with a valid frame: (B, L) bool."""
        return self.encoder.validity(batch.valid)

    def predict(self, batch: Batch) -> Prediction:
        """Everything up to the loss."""
        embedded = self.encoder.embed(batch.x)
        mapped = self.encoder.project(embedded)
        with torch.no_grad():
            mask = self.mask(batch, embedded.detach(), mapped.detach(), self.token_valid(batch))
            target = self.target(batch)
        encoded = self.encode(mapped.flatten(1, 2), mask)
        return Prediction(mask, encoded, self.decode(encoded, mask), target)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        terms = self.losses(batch, self.predict(batch))
        loss = sum((weight * value for weight, value in terms.values() if weight), start=batch.x.new_zeros(()))
        return {"loss": loss} | {name: value for name, (_, value) in terms.items()}

    def encoders(self) -> dict[str, Encoder]:
        return {"encoder": self.encoder}

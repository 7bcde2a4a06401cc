"""What a recogniser has learned, as a torch module: windows of clips -> features -> probabilities.

Clips become windows by `windows.bodies.side_by_side`; an encoder, where there is one, samples the same clips in its own
way. Everything after that is in `ClipModel.forward`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Literal

import torch
from torch import Tensor, nn

from kinemask.recognition.choice import Choice
from kinemask.recognition.tokens import ReadEncoder, token_features
from kinemask.recognition.tuned import Tuned
from kinemask.skeleton import Layout
from kinemask.windows.bodies import side_by_side
from kinemask.windows.tracks import Recordings, Tracks

AT_ONCE = 256  # clips whose windows are in memory

Missing = Literal["fill", "zero"]


@dataclass(frozen=True, kw_only=True)
class Window:
    """How a clip becomes a window: T frames and M bodies; a body that a clip has not is 0."""

    frames: int
    bodies: int


class Probe(nn.Module):
    """Ridge on standardised features with a temperature: features (N, D) -> log probabilities, but for a constant."""

    mean: Tensor
    scale: Tensor
    weights: Tensor
    intercept: Tensor
    temperature: Tensor

    def __init__(self, mean: Tensor, scale: Tensor, weights: Tensor, intercept: Tensor, temperature: Tensor):
        super().__init__()
        values = {"mean": mean, "scale": scale, "weights": weights, "intercept": intercept, "temperature": temperature}
        for name, value in values.items():
            self.register_buffer(name, value.float())

    def forward(self, features: Tensor) -> Tensor:
        return (((features - self.mean) / self.scale) @ self.weights + self.intercept) / self.temperature


class ClipModel(nn.Module):
    """Probabilities of classes for clips of a layout.

    channels: what looks at windows, modules (N, M, T, V, C) -> (N, D), in the order of the choice's features; their
    outputs stand side by side, and behind them the encoder's tokens, where the choice has these. tuned: a fine-tuned
    encoder beside the probe.
    """

    def __init__(
        self,
        layout: Layout,
        window: Window,
        choice: Choice,
        channels: Sequence[nn.Module],
        probe: Probe,
        encoder: ReadEncoder | None = None,
        tuned: Tuned | None = None,
    ):
        super().__init__()
        assert len(channels) + (encoder is not None) == len(choice.features)
        self.layout, self.window, self.choice = layout, window, choice
        self.channels, self.probe, self.encoder = nn.ModuleList(channels), probe, encoder
        self.tuned = tuned

    @property
    def device(self) -> torch.device:
        return self.probe.mean.device

    @property
    def width(self) -> int:
        """How many features a clip has."""
        return len(self.probe.mean) + (0 if self.tuned is None else len(self.tuned.columns))

    def forward(self, windows: Tensor, tokens: Tensor | None = None, tuned: Tensor | None = None) -> Tensor:
        """Probabilities (N, classes) of windows (N, M, T, V, C), tokens (N, D') of the encoder, and the fine-tuned
        encoder's log probabilities (N, classes)."""
        logits = self.probe(self.features(windows, tokens))
        if self.tuned is not None:
            assert tuned is not None
            logits = self.tuned.beside(logits, tuned)
        return logits.softmax(1)

    def features(self, windows: Tensor, tokens: Tensor | None = None, tuned: Tensor | None = None) -> Tensor:
        """What `forward` takes -> features (N, D), side by side."""
        found = [module(windows) for module in self.channels]
        return torch.cat([*found, *(own for own in (tokens, tuned) if own is not None)], 1)

    @torch.no_grad()
    def of_tracks(self, tracks: Callable[[Missing], Tracks]) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """What `forward` takes, of every clip. tracks: body tracks, by what becomes of missing joints."""
        windows = side_by_side(tracks("fill"), self.window.frames, self.choice.align, self.window.bodies)
        encoder, tuned = self.encoder, self.tuned
        tokens = None if encoder is None else token_features(encoder, tracks(encoder.sampling.missing))
        return windows, tokens, None if tuned is None else tuned.of_tracks(tracks(tuned.model.sampling.missing))

    @torch.no_grad()
    def transform(self, recordings: Recordings) -> Tensor:
        """Features (N, D) of recordings."""
        return self._over(recordings, self.features)

    @torch.no_grad()
    def predict(self, recordings: Recordings) -> Tensor:
        """Probabilities (N, classes) of recordings."""
        return self._over(recordings, self.forward)

    def _over(self, recordings: Recordings, run: Callable[..., Tensor]) -> Tensor:
        found = []
        for part in torch.arange(len(recordings)).split(AT_ONCE):
            tracks = partial(Tracks, recordings, part.numpy(), self.device)
            found.append(run(*self.of_tracks(cache(tracks))))
        return torch.cat(found)

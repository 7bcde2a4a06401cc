"""Encoders on disk: weights in safetensors, with the settings that rebuild them in the file's metadata."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from kinemask.files import write_atomically
from kinemask.nn.heads import mean_by
from kinemask.pretext import method
from kinemask.skeleton import Layout
from kinemask.windows.sampler import Sampler
from kinemask.windows.settings import SamplingSettings
from kinemask.windows.tracks import Recordings, Tracks

FORMAT = 1


class TrainedEncoder(nn.Module):
    """An encoder with what it needs to be used: layout, sampling, and the record of how it was trained."""

    def __init__(self, encoder: nn.Module, layout: Layout, sampling: SamplingSettings, record: dict[str, Any]):
        super().__init__()
        self.encoder, self.layout, self.sampling, self.record = encoder, layout, sampling, record

    def features(self, x: Tensor) -> Tensor:
        """Sampled bodies (B, T, V, C) -> (B, D): the mean over segments and joints."""
        return self.encoder(x).float().mean((1, 2))

    def clip_features(self, x: Tensor, clip_index: Tensor, clips: int) -> Tensor:
        """Sampled bodies (B, T, V, C) of N clips -> (N, D): the mean over bodies too. clip_index (B,): of each body."""
        return mean_by(self.features(x), clip_index, clips)

    @torch.no_grad()
    def encode(self, x: Tensor | np.ndarray | Sequence[np.ndarray], batch_size: int = 64) -> Tensor:
        """Features of recordings, averaged over bodies: (N, D).

        x: (N, T', V, C) or (N, M, T', V, C), or a sequence of N arrays (T', V, C) or (M, T', V, C) of any lengths, in a
        store's convention (metres, y up, origin at the root joint of the first frame; NaN = missing). They are filled,
        resampled to the model's window and turned into its stream.
        """
        sampler = sampler_of(x, self.layout, self.sampling, next(self.parameters()).device)
        return torch.cat(self.eval().test_features(sampler, batch_size))

    @torch.no_grad()
    def test_features(self, sampler: Sampler, batch_size: int = 64, clip: int = 0) -> list[Tensor]:
        """Features of every clip of a sampler's tracks, test view number `clip`: batches of (N, D)."""
        out = []
        for positions in torch.arange(len(sampler.tracks.clips), device=sampler.tracks.device).split(batch_size):
            track, clip_index = sampler.tracks.of_clips(positions)
            out.append(self.clip_features(sampler.test_view(track, clip), clip_index, len(positions)))
        return out


def sampler_of(
    x: Tensor | np.ndarray | Sequence[np.ndarray], layout: Layout, sampling: SamplingSettings, device: torch.device
) -> Sampler:
    """A sampler of recordings (T', V, C) or (M, T', V, C) in memory."""
    arrays = [np.asarray(a.detach().cpu() if isinstance(a, Tensor) else a, np.float32) for a in x]
    return Sampler(Tracks(Recordings.of(layout, arrays), None, device, sampling.missing), sampling)


def describe(name: str, layout: Layout, settings: Any, sampling: SamplingSettings, record: dict) -> dict[str, Any]:
    """The metadata that rebuilds an encoder."""
    return {
        "method": name,
        "architecture": name,
        "layout": layout.to_dict(),
        "encoder": asdict(settings),
        "sampling": asdict(sampling),
        "record": record,
    }


def write_weights(path: Path, module: nn.Module, about: dict[str, Any]) -> None:
    """Write a module's weights as safetensors, with `about` in the metadata."""
    tensors = {k: v.detach().cpu().contiguous() for k, v in module.state_dict().items()}
    text = json.dumps({"format": FORMAT, **about})
    write_atomically(path, lambda p: p.write_bytes(save(tensors, {"kinemask": text})))


def read_weights(path: Path, what: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Metadata and weights of a file of `write_weights`; ValueError for any other file. what: "an encoder"."""
    try:
        with safe_open(path, "pt") as f:
            about = json.loads((f.metadata() or {})["kinemask"])
            weights = {k: f.get_tensor(k) for k in f.keys()}  # noqa: SIM118 (not a dict)
        version = about["format"]
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise ValueError(f"{path} is not {what} that kinemask wrote: {error}") from None
    if version != FORMAT:
        raise ValueError(f"{path} has format {version}; this version reads {FORMAT}")
    return about, weights


@contextmanager
def rebuilding(path: Path) -> Iterator[None]:
    """Has mistakes in a file's own settings and weights say which file it was. Random numbers are given back."""
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: its settings cannot be used: {error}") from None
    except RuntimeError as error:
        raise ValueError(f"{path}: its weights do not fit its own settings: {error}") from None


def load_encoder(path: str | Path, device: str | torch.device = "cpu") -> TrainedEncoder:
    """An encoder file, or a run's folder -> a module with `encode(x) -> (N, D)`, in eval mode.

    Raises ValueError for a file that is absent, damaged, not an encoder of kinemask or of another format.
    """
    path = find(Path(path), "encoder")
    about, weights = read_weights(path, "an encoder")
    with rebuilding(path):
        model = build_encoder(about)
        model.encoder.load_state_dict(weights)
    return model.to(device).eval()


def find(path: Path, kind: str) -> Path:
    """The file itself, or KIND.safetensors in a run's folder; ValueError where it is absent."""
    path = path / f"{kind}.safetensors" if path.is_dir() else path
    if path.is_file():
        return path
    if (path.parent / "config.yaml").is_file() and not (path.parent / "encoder.safetensors").is_file():
        raise ValueError(f"no {kind} at {path}: this run has not finished training; the same command goes on")
    raise ValueError(f"no {kind} at {path}; expected a run's folder or a file {kind}.safetensors of one")


def build_encoder(about: dict[str, Any]) -> TrainedEncoder:
    """A freshly initialised encoder from the metadata of an encoder file."""
    chosen = method(about["method"])
    layout = Layout.from_dict(about["layout"])
    sampling = SamplingSettings(**about["sampling"])
    encoder = chosen.build_encoder(layout, sampling.frames, chosen.encoder_settings(**about["encoder"]))
    return TrainedEncoder(encoder, layout, sampling, about)

"""Encoders on disk: weights in safetensors, with the settings that rebuild them in the file's metadata."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from kinemask.data.sampling import Sampler, SamplingSettings
from kinemask.data.tracks import Recordings, Tracks
from kinemask.files import write_atomically
from kinemask.pretext import method
from kinemask.skeleton import Layout

FORMAT = 1


class TrainedEncoder(nn.Module):
    """An encoder with what it needs to be used: layout, sampling, and the record of how it was trained."""

    def __init__(self, encoder: nn.Module, layout: Layout, sampling: SamplingSettings, record: dict[str, Any]):
        super().__init__()
        self.encoder, self.layout, self.sampling, self.record = encoder, layout, sampling, record

    def features(self, x: Tensor) -> Tensor:
        """Sampled bodies (B, T, V, C) -> (B, D): the mean over segments and joints."""
        return self.encoder(x).float().mean((1, 2))

    def clip_features(self, x: Tensor, slot: Tensor, clips: int) -> Tensor:
        """Sampled bodies (B, T, V, C) of N clips -> (N, D): the mean over bodies too. slot (B,): each one's clip."""
        return mean_by(self.features(x), slot, clips)

    @torch.no_grad()
    def encode(self, x: Tensor | np.ndarray | Sequence[np.ndarray], batch_size: int = 64) -> Tensor:
        """Features of recordings, averaged over bodies: (N, D).

        x: (N, T', V, C) or (N, M, T', V, C), or a sequence of N arrays (T', V, C) or (M, T', V, C) of any lengths, in a
        store's convention (metres, y up, origin at the root joint of the first frame; NaN = missing). They are filled,
        resampled to the model's window and turned into its stream.
        """
        arrays = [np.asarray(a.detach().cpu() if isinstance(a, Tensor) else a, np.float32) for a in x]
        device = next(self.parameters()).device
        tracks = Tracks(Recordings.of(self.layout, arrays), None, device, self.sampling.missing)
        return torch.cat(self.eval().test_features(Sampler(tracks, self.sampling), batch_size))

    @torch.no_grad()
    def test_features(self, sampler: Sampler, batch_size: int = 64, clip: int = 0) -> list[Tensor]:
        """Features of every clip of a sampler's tracks, test view number `clip`: batches of (N, D)."""
        out = []
        for positions in torch.arange(len(sampler.tracks.clips), device=sampler.tracks.device).split(batch_size):
            track, slot = sampler.tracks.of_clips(positions)
            out.append(self.clip_features(sampler.test_view(track, clip), slot, len(positions)))
        return out


def mean_by(values: Tensor, slot: Tensor, count: int) -> Tensor:
    """Mean of rows (B, D) that share a slot: (count, D)."""
    total = values.new_zeros(count, values.shape[1]).index_add_(0, slot, values)
    return total / torch.bincount(slot, minlength=count).unsqueeze(1)


def save_encoder(
    path: Path,
    encoder: nn.Module,
    name: str,
    layout: Layout,
    settings: Any,
    sampling: SamplingSettings,
    record: dict,
) -> None:
    """Write encoder.safetensors: the weights, and in its metadata the method, layout and settings that rebuild it."""
    about = {
        "format": FORMAT,
        "method": name,
        "layout": layout.to_dict(),
        "encoder": asdict(settings),
        "sampling": asdict(sampling),
        "record": record,
    }
    tensors = {k: v.detach().cpu().contiguous() for k, v in encoder.state_dict().items()}
    write_atomically(path, lambda p: p.write_bytes(save(tensors, {"kinemask": json.dumps(about)})))


def load_encoder(path: str | Path, device: str | torch.device = "cpu") -> TrainedEncoder:
    """An encoder file, or a run's folder -> a module with `encode(x) -> (N, D)`, in eval mode.

    Raises ValueError for a file that is absent, damaged, not an encoder of kinemask or of another format.
    """
    path = Path(path)
    path = path / "encoder.safetensors" if path.is_dir() else path
    if not path.is_file():
        if (path.parent / "config.yaml").is_file() and not (path.parent / "encoder.safetensors").is_file():
            raise ValueError(
                f"no encoder at {path}: this run has not finished training; the same pretrain command goes on"
            )
        raise ValueError(f"no encoder at {path}; expected a run's folder or an encoder.safetensors that pretrain wrote")
    try:
        with safe_open(path, "pt") as f:
            about = json.loads((f.metadata() or {})["kinemask"])
            weights = {k: f.get_tensor(k) for k in f.keys()}  # noqa: SIM118 (not a dict)
        version = about["format"]
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise ValueError(f"{path} is not an encoder that kinemask wrote: {error}") from None
    if version != FORMAT:
        raise ValueError(f"{path} has encoder format {version}; this version reads {FORMAT}")
    try:
        with torch.random.fork_rng(devices=[]):  # the caller's random numbers are not used up
            model = build_encoder(about)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: its settings cannot be used: {error}") from None
    try:
        model.encoder.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"{path}: its weights do not fit its own settings: {error}") from None
    return model.to(device).eval()


def build_encoder(about: dict[str, Any]) -> TrainedEncoder:
    """A freshly initialised encoder from the metadata of an encoder file."""
    chosen = method(about["method"])
    layout = Layout.from_dict(about["layout"])
    sampling = SamplingSettings(**about["sampling"])
    encoder = chosen.build_encoder(layout, sampling.frames, chosen.encoder_settings(**about["encoder"]))
    return TrainedEncoder(encoder, layout, sampling, about)

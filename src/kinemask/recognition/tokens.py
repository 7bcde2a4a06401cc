"""An encoder's tokens as features of clips: the one place where a recogniser and an encoder meet."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kinemask.models.encoders import TrainedEncoder, load_encoder, placed
from kinemask.nn.encoder import Encoder
from kinemask.nn.readouts import read_by
from kinemask.nn.settings import ReadoutSettings
from kinemask.skeleton import Layout
from kinemask.windows.sampler import Sampler
from kinemask.windows.settings import SamplingSettings
from kinemask.windows.tracks import Tracks

READOUT = ReadoutSettings(over="joints", pieces=[1, 2], statistics=["mean", "max"], bodies="pair")


class ReadEncoder(TrainedEncoder):
    """An encoder, read out as settings say, as far as its segments allow."""

    def __init__(self, encoder: Encoder, sampling: SamplingSettings, record: dict[str, Any], readout: ReadoutSettings):
        pieces = [count for count in readout.pieces if count <= encoder.segments] or [1]
        chosen = replace(readout, pieces=pieces)
        encoder, pooled = read_by(chosen, encoder)
        super().__init__(encoder, sampling, record, pooled)
        self.settings = chosen


def read_encoder(
    source: str | Path, readout: ReadoutSettings, device: torch.device | str = "cpu", layout: Layout | None = None
) -> ReadEncoder:
    """The encoder of a run or file, read out as the settings say, for its own layout or for one that it knows."""
    model = load_encoder(source, device)
    if layout is not None:
        model = placed(model, layout, f"the encoder {source}", "what it is to read")
    return with_readout(model, readout)


def with_readout(model: TrainedEncoder, readout: ReadoutSettings) -> ReadEncoder:
    """The same encoder, read out as the settings say."""
    made = ReadEncoder(model.encoder, model.sampling, model.record, readout)
    return made.eval()


@torch.no_grad()
def token_features(model: TrainedEncoder, tracks: Tracks) -> Tensor:
    """Features of every clip, mean of the encoder's test views: (N, D)."""
    sampler = Sampler(tracks, model.sampling)
    views = [torch.cat(model.test_features(sampler, clip=number)) for number in range(model.sampling.test_clips)]
    return torch.stack(views).mean(0)

"""Features of recordings, by a recogniser or by a run's encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kinemask.nn.settings import ReadoutSettings
from kinemask.recognition.files import is_recogniser
from kinemask.recognition.inputs import Inputs, Recording
from kinemask.recognition.output import Features
from kinemask.recognition.predict import open_inputs
from kinemask.recognition.recogniser import Recogniser
from kinemask.recognition.tokens import ReadEncoder, read_encoder, token_features
from kinemask.skeleton import Layout
from kinemask.training.distributed import choose_device
from kinemask.training.settings import Device
from kinemask.windows.tracks import Recordings, Tracks

AT_ONCE = 128  # recordings


@dataclass(frozen=True, eq=False)
class Embedded:
    """Features of all recordings; said: on how inputs were read; failed: on what could not be."""

    found: Features
    said: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def embed(
    model: str | Path,
    inputs: Sequence[str | Path] | str | Path,
    *,
    readout: ReadoutSettings | None = None,
    format: str | None = None,
    layout: str | Path | Layout | None = None,
    device: Device = "auto",
    **reading: Any,
) -> Embedded:
    """Features of everything in the inputs; `api.embed` describes the parameters."""
    paths = [inputs] if isinstance(inputs, str | Path) else inputs
    if is_recogniser(model):
        if readout not in (None, ReadoutSettings()):
            raise ValueError(f"{model} is a recogniser, whose features are settled; a readout is an encoder's")
        made = Recogniser.load(model, device)
        source = open_inputs(made, paths, format, layout, None, reading)
        return Embedded(_features(iter(source), made.transform), source.said, source.failed)
    own = read_encoder(model, readout or ReadoutSettings(), choose_device(device))
    source = Inputs(paths, own.layout, format, layout, None, reading, or_else=own.encoder.knows)

    @cache
    def on(of: Layout) -> ReadEncoder:
        return own if of == own.layout else read_encoder(model, readout or ReadoutSettings(), choose_device(device), of)

    def encode(arrays: list[np.ndarray]) -> np.ndarray:
        assert source.layout is not None
        encoder = on(source.layout)
        recordings, place = Recordings.of(encoder.layout, arrays), next(encoder.parameters()).device
        return token_features(encoder, Tracks(recordings, None, place, encoder.sampling.missing)).cpu().numpy()

    return Embedded(_features(iter(source), encode), source.said, source.failed)


def _features(recordings: Iterator[Recording], run: Callable[[list[np.ndarray]], np.ndarray]) -> Features:
    names, labels, found = [], [], []
    with torch.no_grad():
        while part := list(islice(recordings, AT_ONCE)):
            names += [one.name for one in part]
            labels += [one.label for one in part]
            found.append(run([one.data for one in part]))
    return Features(names, labels, np.concatenate(found).astype(np.float32))

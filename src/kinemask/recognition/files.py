"""A recogniser on disk: one safetensors file of numbers, with plain values in its metadata; reading it runs no code."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from kinemask.errors import shorten
from kinemask.files import write_atomically
from kinemask.models.classifiers import describe_classifier, rebuild_classifier
from kinemask.models.encoders import (
    build_encoder,
    describe,
    not_finite,
    read_tensors,
    rebuilding,
    settings_of,
)
from kinemask.models.metadata import check_metadata, check_size
from kinemask.nn.channel_features import Convolved, Statistics
from kinemask.nn.heads import MLPClassifier
from kinemask.nn.random_convolutions import Kernels, RandomConvolutions
from kinemask.nn.settings import ReadoutSettings
from kinemask.recognition.choice import FILE, KINDS, Choice
from kinemask.recognition.model import ClipModel, Probe, Window
from kinemask.recognition.tokens import ReadEncoder, with_readout
from kinemask.recognition.tuned import Tuned
from kinemask.skeleton import Layout
from kinemask.windows.bodies import MOST_BODIES

FORMAT = 1
_KIND = "recogniser"
_LARGEST = {"frames": 10_000, "kernels": 100_000}
_PROBE = ("mean", "scale", "weights", "intercept", "temperature")


@dataclass(frozen=True, eq=False)
class Saved:
    """What a file of a recogniser holds.

    classes: their names, in the order of the probabilities. lengths: least, middle and greatest number of frames of the
    clips that it has learned from. record: of how it was made (`train`), plain values.
    """

    model: ClipModel
    classes: list[Any]
    lengths: tuple[int, int, int]
    record: dict[str, Any] = field(default_factory=dict)


def write_recogniser(path: str | Path, saved: Saved) -> Path:
    """Write the file, or recogniser.safetensors in a folder that is there; returns its path."""
    path = Path(path)
    path = path / FILE if path.is_dir() else path
    model = saved.model
    choice = asdict(model.choice)
    about = {
        "format": FORMAT,
        "kind": _KIND,
        "layout": model.layout.to_dict(),
        "classes": saved.classes,
        "window": asdict(model.window),
        "choice": choice,
        "lengths": saved.lengths,
        "record": saved.record,
        "encoder": _describe_encoder(model),
        "tuned": None if model.tuned is None else describe_classifier(model.tuned.model),
    }
    tensors = {name: value.detach().cpu().contiguous() for name, value in _tensors(model).items()}
    if bad := not_finite(tensors):
        raise FloatingPointError(f"{bad} is not finite, so {path} is not written")
    text = json.dumps(about)
    write_atomically(path, lambda p: p.write_bytes(save(tensors, {"kinemask": text})))
    return path


def find_recogniser(path: str | Path) -> Path:
    """The file itself, or that of a folder; ValueError where there is none."""
    path = Path(path)
    found = path / FILE if path.is_dir() else path
    if not found.is_file():
        raise ValueError(f"no recogniser at {found}; `kinemask train` writes one")
    return found


def is_recogniser(path: str | Path) -> bool:
    """Whether a folder or file is meant to be a recogniser's, by its name."""
    path = Path(path)
    return (path / FILE).is_file() or path.name == FILE


def read_recogniser(path: str | Path, device: torch.device | str = "cpu") -> Saved:
    """What a file or folder holds; ValueError for one that is absent, damaged, or no recogniser of kinemask."""
    path = find_recogniser(path)
    about, tensors = read_tensors(path, "a recogniser")
    if about.get("kind") != _KIND:
        raise ValueError(f"{path} is not a recogniser: it holds weights of another kind")
    if about.get("format") != FORMAT:
        raise ValueError(shorten(f"{path} has format {about.get('format')}; this version reads {FORMAT}"))
    with rebuilding(path):
        _check(about)
        classes, lengths = about["classes"], about["lengths"]
        layout = Layout.from_dict(about["layout"])
        window = settings_of(Window, about["window"])
        choice = _choice(about["choice"])
        if not 1 <= window.bodies <= MOST_BODIES or not 1 <= window.frames <= _LARGEST["frames"]:
            raise ValueError(f"a window of {window.frames} frames and {window.bodies} bodies")
        channels = [_module(kind, layout, window, tensors) for kind in choice.features if kind != "tokens"]
        encoder = _encoder(about["encoder"], layout, tensors) if "tokens" in choice.features else None
        probe = Probe(*(_tensor(tensors, f"probe.{name}") for name in _PROBE))
        tuned = _tuned(about.get("tuned"), layout, tensors, len(classes)) if choice.tuned else None
        model = ClipModel(layout, window, choice, channels, probe, encoder, tuned).eval()
        _check_probe(model, len(classes))
    return Saved(model.to(device), classes, (lengths[0], lengths[1], lengths[2]), about["record"])


def _tensors(model: ClipModel) -> dict[str, Tensor]:
    found = {f"probe.{name}": getattr(model.probe, name) for name in _PROBE}
    for module in model.channels:
        if isinstance(module, Convolved):
            kernels = module.convolutions.parts()
            found |= {f"kernels.{name}": getattr(kernels, name) for name in Kernels.__dataclass_fields__}
            found |= {"channels.mean": module.mean, "channels.scale": module.scale}
    if model.encoder is not None:
        found |= {f"encoder.{name}": value for name, value in model.encoder.encoder.state_dict().items()}
    if model.tuned is not None:
        found |= {f"tuned.{name}": value for name, value in model.tuned.model.classifier.state_dict().items()}
        found |= {"columns": model.tuned.columns, "counts": model.tuned.counts}
    return found


def _describe_encoder(model: ClipModel) -> dict[str, Any] | None:
    if model.encoder is None:
        return None
    about = describe(model.encoder.encoder, model.encoder.sampling, model.encoder.record)
    return about | {"readout": asdict(model.encoder.settings)}


def _check(about: Mapping[str, Any]) -> None:
    """ValueError naming the entry that is missing, or of another type."""
    kinds = {"layout": dict, "classes": list, "window": dict, "choice": dict, "lengths": list, "record": dict}
    for name, kind in kinds.items():
        if not isinstance(about.get(name), kind):
            raise ValueError(f"its metadata has no {name}, or one that is no {kind.__name__}")
    classes, lengths = about["classes"], about["lengths"]
    if len({type(one) for one in classes}) != 1 or not isinstance(classes[0], str | int | bool):
        raise ValueError("its classes are not all texts or all whole numbers")
    if len(set(classes)) < len(classes):
        raise ValueError("two of its classes have one name")
    if len(lengths) != 3 or not all(type(n) is int and n > 0 for n in lengths):
        raise ValueError(f"its lengths are {lengths}")


def _choice(values: dict[str, Any]) -> Choice:
    features, shares = (tuple(values.get(name) or ()) for name in ("features", "shares"))
    if not features or len(set(features)) < len(features) or not set(features) <= set(KINDS):
        raise ValueError(f"features {list(features)}")
    if len(shares) != len(features) or not all(0 < share <= 1 for share in shares):
        raise ValueError(f"shares {list(shares)} of features {list(features)}")
    if not 0 <= values.get("tuned", 0.0) < 1:
        raise ValueError(f"a share {values['tuned']} of its fine-tuned encoder")
    return settings_of(Choice, values | {"features": features, "shares": shares})


def _module(kind: str, layout: Layout, window: Window, tensors: Mapping[str, Tensor]) -> nn.Module:
    if kind == "statistics":
        return Statistics(layout.root)
    kernels = Kernels(**{name: _tensor(tensors, f"kernels.{name}") for name in Kernels.__dataclass_fields__})
    mean, scale = _tensor(tensors, "channels.mean"), _tensor(tensors, "channels.scale")
    _check_kernels(kernels, channel_count(layout, window.bodies), window.frames)
    expected = (1, kernels.taken.shape[1], 1)
    if mean.shape != expected or scale.shape != expected or not (scale > 0).all():
        raise ValueError(f"mean and scale of channels have shapes {tuple(mean.shape)} and {tuple(scale.shape)}")
    return Convolved(layout.root, RandomConvolutions.of_parts(kernels), mean, scale)


def channel_count(layout: Layout, bodies: int) -> int:
    """How many channels `windows.bodies.channels` makes of a window."""
    return bodies * layout.dims * 2 * layout.num_joints + (layout.dims if bodies > 1 else 0)


def _check_kernels(kernels: Kernels, channels: int, frames: int) -> None:
    count = len(kernels.length)
    types = {"length": torch.int64, "dilation": torch.int64, "padded": torch.bool, "bias": torch.float32}
    for name, kind in {**types, "taken": torch.bool, "taps": torch.float32}.items():
        value: Tensor = getattr(kernels, name)
        shape = (count, channels) if name == "taken" else (count,) if name != "taps" else tuple(value.shape[:1])
        if value.dtype != kind or tuple(value.shape) != shape:
            raise ValueError(f"kernels.{name} is {value.dtype} of shape {tuple(value.shape)}, not {kind} of {shape}")
    if not 1 <= count <= _LARGEST["kernels"]:
        raise ValueError(f"{count} kernels")
    length, dilation = kernels.length, kernels.dilation
    if not ((length >= 1) & (length <= frames) & (dilation >= 1) & ((length - 1) * dilation < frames)).all():
        raise ValueError(f"a kernel is longer than the window of {frames} frames")


def _encoder(about: Any, layout: Layout, tensors: Mapping[str, Tensor]) -> ReadEncoder:
    if not isinstance(about, dict):
        raise ValueError("its metadata has no encoder")
    check_metadata(about)
    weights = {name.removeprefix("encoder."): value for name, value in tensors.items() if name.startswith("encoder.")}
    check_size(lambda: build_encoder(about).encoder, weights)
    model = build_encoder(about)
    if model.layout != layout:
        raise ValueError("its encoder is of another layout")
    model.encoder.load_state_dict(weights)
    return with_readout(model, settings_of(ReadoutSettings, about["readout"]))


def _tuned(about: Any, layout: Layout, tensors: Mapping[str, Tensor], classes: int) -> Tuned:
    if not isinstance(about, dict):
        raise ValueError("its metadata has no fine-tuned encoder")
    check_metadata(about)
    weights = {name.removeprefix("tuned."): value for name, value in tensors.items() if name.startswith("tuned.")}
    model = rebuild_classifier(about, weights)
    if model.layout != layout or not isinstance(model.classifier, MLPClassifier):
        raise ValueError("its fine-tuned encoder is of another layout, or has another head")
    columns, counts = _tensor(tensors, "columns"), _tensor(tensors, "counts")
    known = columns.dtype == torch.int64 and columns.shape == (classes,)
    if not known or not ((columns >= 0) & (columns < len(model.classes))).all() or counts.shape != (2,):
        raise ValueError(f"columns {columns.tolist()} and counts {counts.tolist()} of its fine-tuned encoder")
    return Tuned(model.eval(), columns, counts.float())


def _check_probe(model: ClipModel, classes: int) -> None:
    probe = model.probe
    width = probe.mean.shape[0] if probe.mean.ndim == 1 else -1
    shapes = [(width,), (width,), (width, classes), (classes,), ()]
    for name, shape in zip(_PROBE, shapes, strict=True):
        found = tuple(getattr(probe, name).shape)
        if found != shape:
            raise ValueError(f"probe.{name} has shape {found}, not {shape}")
    if not (probe.scale > 0).all() or not probe.temperature > 0 or not math.isfinite(probe.temperature):
        raise ValueError("a scale or temperature of the probe is not positive")
    size = (1, model.window.bodies, model.window.frames, model.layout.num_joints, model.layout.dims)
    with torch.no_grad():
        widths = [module(torch.zeros(size)).shape[1] for module in model.channels]
    if model.encoder is None and sum(widths) != width:
        raise ValueError(f"its features are {sum(widths)}, its probe reads {width}")


def _tensor(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in tensors:
        raise ValueError(f"it has no {name}")
    return tensors[name]

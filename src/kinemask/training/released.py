"""Checkpoints that the codes of the papers release, made into runs: weights are read, and nothing else is run."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kinemask.errors import shorten
from kinemask.models.encoders import not_finite, rebuilding, save_encoder
from kinemask.models.metadata import check_size
from kinemask.nn.encoder import Encoder
from kinemask.pretext import method
from kinemask.runs.checkpoint import check_packing, whole
from kinemask.runs.result import Source, Trained
from kinemask.runs.run import Run
from kinemask.skeleton import Layout, layout
from kinemask.store.format import sha256
from kinemask.store.opening import open_store
from kinemask.training.settings import Settings

LAYOUT = "ntu25"  # of all that was released: NTU RGB+D and PKU-MMD


@dataclass(frozen=True)
class Release:
    """How a method's code differs from MAMP's, of which all are copies.

    prefix: before the names of the online encoder's weights. settings: what its encoder has otherwise than the recipe
    for NTU-60.
    """

    prefix: str = ""
    settings: tuple[tuple[str, Any], ...] = ()


RELEASES = {
    "mae": Release(),
    "mamp": Release(),
    "hacm": Release(settings=(("encoder.epsilon", 1e-5),)),
    "masksem": Release(prefix="mamp."),
}
# a weight's name there, after its prefix, and here; of a block its number stands in between
_NAMES = {
    "joints_embed.proj.weight": "embedding.tokenizer.weight",
    "joints_embed.proj.bias": "embedding.tokenizer.bias",
    "temp_embed": "embedding.temporal_position",
    "pos_embed": "embedding.spatial_position",
    "norm.weight": "trunk.norm.weight",
    "norm.bias": "trunk.norm.bias",
}
_OF_BLOCK = {"norm1": "norm1", "attn.qkv": "attention.qkv", "attn.proj": "attention.out"}
_OF_BLOCK |= {"norm2": "norm2", "mlp.fc1": "mlp.0", "mlp.fc2": "mlp.2"}
_TELL_SIZES = {"joints_embed.proj.weight": 4, "temp_embed": 4, "pos_embed": 4, "blocks.0.mlp.fc1.bias": 1}  # dimensions


def import_released(
    name: str, file: Path, out: Path, data: str | None = None, split: str = "", heads: int | None = None
) -> Path:
    """Make a run of a released checkpoint; returns its folder. See `kinemask.import_released`."""
    if name not in RELEASES:
        raise ValueError(f"no weights of {name} were released that are known; known: {', '.join(RELEASES)}")
    if split and data is None:
        raise ValueError(f"split {split} of which store? Name it (data)")
    content = read_released(file)
    weights = online_encoder(file, content, RELEASES[name].prefix)
    own = layout(LAYOUT)
    with rebuilding(file):
        values: dict[str, Any] = {"data": [] if data is None else [data], "split": split}
        values["encoder.heads"] = _heads(content) if heads is None else heads
        settings = Settings.from_recipe(f"{name}-ntu60", values | sizes(weights, own) | dict(RELEASES[name].settings))
        chosen = method(name)
        build = lambda: chosen.build_encoder(own, settings.sampling.frames, settings.encoder)
        check_size(build, weights)
        encoder: Encoder = build()
        encoder.load_state_dict(renamed(weights))
    stores = [open_store(path) for path in settings.data]
    for store in stores:
        if store.layout != own:
            raise ValueError(f"{file} is of layout {own.name}, and the store {store.path} of {store.layout.name}")
        if split:
            store.split(split)  # which says what there is, where this is none
    epochs = content.get("epoch")
    config = settings.to_dict() | {"imported": {"file": file.name, "sha256": sha256(file)}}
    trained = Trained(
        method=name,
        settings=config,
        sources=[Source(dataset=store.name, sha256=store.identity) for store in stores],
        split=split,
        epochs=epochs + 1.0 if isinstance(epochs, int) else 0.0,
    )
    run = Run(out)
    with run.hold():
        run.claim(config)
        save_encoder(out / "encoder.safetensors", encoder, settings.sampling, asdict(trained))
    return out


def read_released(file: Path) -> dict[str, Any]:
    """A checkpoint's content, whose weights are under `model`. Runs no code from the file; ValueError for another one.

    The codes keep their command line beside the weights, as plain values in an `argparse.Namespace`.
    """
    if not file.is_file():
        raise ValueError(f"there is no file {file}")
    try:
        check_packing(file)
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever torch makes of damaged bytes
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{file} is not a checkpoint of PyTorch's: {shorten(reason, 150)}") from None
    if not isinstance(content, dict) or not isinstance(content.get("model"), Mapping):
        raise ValueError(f"{file} is not a released checkpoint: it has no weights under 'model'")
    return content


def online_encoder(file: Path, content: Mapping[str, Any], prefix: str) -> dict[str, Tensor]:
    """The encoder's weights by the released names, without the prefix; ValueError names what is lacking or wrong."""
    found = {
        key.removeprefix(prefix): value
        for key, value in content["model"].items()
        if isinstance(key, str) and key.startswith(prefix)
    }
    layers = 0
    while f"blocks.{layers}.norm1.weight" in found:
        layers += 1
    parts = [f"{part}.{kind}" for part in _OF_BLOCK for kind in ("weight", "bias")]
    weights: dict[str, Tensor] = {}
    for key in (*_NAMES, *(f"blocks.{i}.{part}" for i in range(max(layers, 1)) for part in parts)):
        value = found.get(key)
        if not isinstance(value, Tensor) or not value.is_floating_point():
            raise ValueError(f"{file}: its weights lack {prefix}{key}")
        if value.dim() != _TELL_SIZES.get(key, value.dim()):
            raise ValueError(f"{file}: its weight {prefix}{key} has {value.dim()} dimensions, not {_TELL_SIZES[key]}")
        try:
            weights[key] = whole(value).float()
        except ValueError as error:
            raise ValueError(f"{file}: its weight {prefix}{key}: {error}") from None
    if bad := not_finite(weights):
        raise ValueError(f"{file}: its weight {prefix}{bad} is not finite")
    return weights


def sizes(weights: Mapping[str, Tensor], own: Layout) -> dict[str, Any]:
    """The settings that follow from an encoder's weights, by their dotted names.

    Which joints are kept follows from their number; ValueError where the layout has no such set.
    """
    width, dims, frames, of_joints = weights["joints_embed.proj.weight"].shape
    segments, joints = weights["temp_embed"].shape[1], weights["pos_embed"].shape[2]
    sets = {len(own.kept(kept)): kept for kept in ("all", *own.dropped)}
    if dims != own.dims or of_joints != 1 or joints not in sets:
        raise ValueError(
            f"tokens of {frames} frames, {of_joints} joints and {dims} coordinates, {joints} joints in all; "
            f"expected {own.dims} coordinates of one joint, and {' or '.join(map(str, sorted(sets)))} joints"
        )
    return {
        "sampling.frames": segments * frames,
        "encoder.segment_frames": frames,
        "encoder.width": width,
        "encoder.layers": sum(key.endswith("norm1.weight") for key in weights),
        "encoder.mlp_ratio": len(weights["blocks.0.mlp.fc1.bias"]) / width,
        "encoder.joints": sets[joints],
    }


def renamed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The encoder's weights by the names that they have here, and in the shapes.

    Their tokenizer is a convolution, (D, C, S, 1); here a map of the S·C numbers of a token, frame after frame.
    """
    out: dict[str, Tensor] = {}
    for key, value in weights.items():
        if key in _NAMES:
            out[_NAMES[key]] = value
        else:
            _, number, part = key.split(".", 2)
            part, _, kind = part.rpartition(".")
            out[f"trunk.blocks.{number}.{_OF_BLOCK[part]}.{kind}"] = value
    tokenizer = out["embedding.tokenizer.weight"]
    out["embedding.tokenizer.weight"] = tokenizer.squeeze(-1).mT.flatten(1)
    for position in ("embedding.temporal_position", "embedding.spatial_position"):
        out[position] = out[position].squeeze(0)
    return out


def _heads(content: Mapping[str, Any]) -> int:
    """As the checkpoint's own command line has it; else the papers' 8."""
    model = getattr(content.get("args"), "model_args", None)
    found = model.get("num_heads") if isinstance(model, dict) else None
    return found if type(found) is int and found > 0 else 8

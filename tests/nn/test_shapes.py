"""Shapes as the docstrings give them, checked by jaxtyping and beartype while every method trains on every layout."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps
from types import FunctionType, ModuleType
from typing import Any

import pytest
import torch
from beartype import beartype
from jaxtyping import Bool, Float, Int, Shaped, TypeCheckError, jaxtyped
from torch import Tensor

from kinemask import poincare
from kinemask.draws import Draws
from kinemask.nn import decoder, encoder, graph, readouts, transformer
from kinemask.pretext import NAMES, contrast, masks, method, targets
from kinemask.windows import anatomy, augment, occlusion, resample, streams
from kinemask.windows.sampler import Sampler
from tasks import FRAMES, LAYOUTS, SMALL, again, make, make_batch, training_set

Grid = Float[Tensor, "B P V"]
Tokens = Float[Tensor, "B L D"]
Clip = Float[Tensor, "B T V C"]
Valid = Bool[Tensor, "B T V"]
Ball = Float[Tensor, "*N D"]
Loss = Float[Tensor, ""]
Points = Float[Tensor, "B M W"]
Kept, Masked = Int[Tensor, "B K"], Int[Tensor, "B M"]  # K + M = L
# owner, name: what its arguments are called, and "return"
SHAPES: dict[tuple[Any, str], dict[str, Any]] = {
    (resample, "random_crop"): {"n": Int[Tensor, "B"], "u": Float[Tensor, "B 2"], "return": Float[Tensor, "B T"]},
    (resample, "linear_positions"): {
        "start": Shaped[Tensor, "B"],
        "length": Int[Tensor, "B"],
        "return": Float[Tensor, "B T"],
    },
    (resample, "interpolate"): {
        "frames": Shaped[Tensor, "rows V C"],
        "seen": Bool[Tensor, "rows V"],
        **dict.fromkeys(("start", "n"), Int[Tensor, "B"]),
        "position": Float[Tensor, "B T"],
        "return": tuple[Clip, Valid],
    },
    (augment, "augment"): {
        **dict.fromkeys(("clip_index", "mirror_axis"), Int[Tensor, "B"]),
        "x": Clip,
        "valid": Valid,
        "return": tuple[Clip, Valid],
    },
    (anatomy, "mirror"): {
        "x": Clip,
        "valid": Valid,
        "chosen": Bool[Tensor, "B"],
        "axis": Int[Tensor, "B"],
        "return": tuple[Clip, Valid],
    },
    (anatomy, "scale_limbs"): {"x": Clip, "valid": Valid, "factor": Float[Tensor, "B V"], "return": Clip},
    (occlusion, "random_spans"): {"u": Float[Tensor, "B W"], "return": Valid},
    (occlusion, "hide"): {"x": Clip, **dict.fromkeys(("valid", "hidden"), Valid), "return": tuple[Clip, Valid]},
    (augment, "rotation_matrix"): {"angles": Float[Tensor, "N 3"], "return": Float[Tensor, "N C C"]},
    (streams, "difference"): {"x": Float[Tensor, "B T *rest"], "return": Float[Tensor, "B T *rest"]},
    (streams, "to_stream"): {
        "x": Clip,
        "valid": Valid,
        "parents": Int[Tensor, "V"],
        "return": tuple[Clip, Valid],
    },
    (streams, "fuse"): {"x": Clip, "parents": Int[Tensor, "V"], "return": Float[Tensor, "B T V W"]},
    (readouts, "mean_of_tokens"): {
        "encoded": Float[Tensor, "B P V D"],
        "clip_index": Int[Tensor, "B"],
        "return": Float[Tensor, "N D"],
    },
    (readouts, "pyramid"): {"x": Float[Tensor, "B P G D"], "return": Float[Tensor, "B F"]},
    (encoder, "segment"): {"x": Shaped[Tensor, "B T V C"], "return": Shaped[Tensor, "B P V W"]},
    (encoder.Encoder, "embed"): {"x": Clip, "return": Float[Tensor, "B P J D"]},
    (encoder.Encoder, "validity"): {"valid": Valid, "return": Bool[Tensor, "B L"]},
    (encoder.Embedding, "tokenize"): {"x": Clip, "joints": Int[Tensor, "J"], "return": Float[Tensor, "B P J D"]},
    (transformer.TransformerEncoder, "project"): {"embedded": Ball, "return": Ball},
    (transformer.TransformerEncoder, "encode"): {"tokens": Tokens, "return": Tokens},
    (transformer.TransformerEncoder, "intermediates"): {"tokens": Tokens, "return": Sequence[Tokens]},
    (graph.GraphEncoder, "encode"): {"tokens": Tokens, "return": Tokens},
    (transformer.Block, "forward"): {"x": Tokens, "return": Tokens},
    (transformer, "attend"): {
        **dict.fromkeys("qkv", Float[Tensor, "B H L d"]),
        "return": Float[Tensor, "B H L d"],
    },
    (decoder.Decoder, "forward"): {
        "encoded": Float[Tensor, "B K D"],
        "keep": Kept,
        "masked": Masked,
        "return": Float[Tensor, "B M W"],
    },
    (decoder, "gather"): {"tokens": Tokens, "index": Kept, "return": Float[Tensor, "B K D"]},
    (masks, "split"): {"score": Float[Tensor, "B L"], "token_valid": Bool[Tensor, "B L"], "return": masks.Mask},
    (masks, "log_probability"): {"intensity": Float[Tensor, "B L"], "return": Float[Tensor, "B L"]},
    (masks, "motion_intensity"): {"x": Clip, "return": Grid},
    (masks, "tube_sum"): {"values": Grid, "return": Float[Tensor, "B tubes V"]},
    (masks, "tube_intensity"): {"x": Clip, "return": Float[Tensor, "B tubes V"]},
    (masks, "split_tubes"): {
        "score": Float[Tensor, "#B tubes V"],
        "counts": Int[Tensor, "#tubes"],
        "token_valid": Bool[Tensor, "B L"],
        "return": masks.Mask,
    },
    (masks, "grad_cam"): {
        "features": Float[Tensor, "B P V D"],
        "reference": Float[Tensor, "P V D"],
        "return": Grid,
    },
    (targets, "normalise"): {
        "frames": Clip,
        "return": tuple[Float[Tensor, "B L W"], Float[Tensor, "B L W"], Float[Tensor, "B L W"]],
    },
    (targets, "acceleration"): {"x": Clip, "return": Clip},
    (targets, "contextual"): {"layers": Sequence[Tokens], "return": Tokens},
    (targets, "squared_error"): {**dict.fromkeys(("predicted", "target"), Points), "return": Float[Tensor, "B M"]},
    (targets, "reweighted_cosine"): {**dict.fromkeys(("predicted", "target"), Points), "return": Float[Tensor, "B M"]},
    (targets, "masked_mean"): {
        "error": Float[Tensor, "B M"],
        "weight": Float[Tensor, "B M"] | Bool[Tensor, "B M"],
        "return": Loss,
    },
    (contrast, "cross_contrast"): {**dict.fromkeys(("odd", "even", "whole"), Float[Tensor, "B D"]), "return": Loss},
    (poincare, "to_ball"): {"v": Ball, "return": Ball},
    (poincare, "pairwise_distance"): {"u": Float[Tensor, "*N V D"], "return": Float[Tensor, "*N V V"]},
}


def annotated(function: FunctionType, shapes: dict[str, Any], called: set[str]) -> Callable[..., Any]:
    """The function with these annotations, checked at every call."""
    copy = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__)
    copy.__annotations__ = shapes
    copy.__kwdefaults__ = function.__kwdefaults__
    checked = jaxtyped(copy, typechecker=beartype)

    @wraps(function)
    def counted(*args: Any, **kwargs: Any) -> Any:
        called.add(function.__qualname__)
        return checked(*args, **kwargs)

    return counted


@pytest.fixture
def called(monkeypatch):
    """Every function of SHAPES is checked, wherever a module of kinemask names it; the names of those called."""
    names: set[str] = set()
    for one in NAMES:
        assert method(one).task_class  # imported before anything is replaced, or its module would keep what is checked
    ours = [m for name, m in sys.modules.items() if name.startswith("kinemask")]
    for (owner, name), shapes in SHAPES.items():
        function = getattr(owner, name)
        checked = annotated(function, shapes, names)
        for holder in ours if isinstance(owner, ModuleType) else [owner]:
            if getattr(holder, name, None) is function:
                monkeypatch.setattr(holder, name, checked)
    return names


def test_shapes_are_as_documented(called):
    for of in LAYOUTS:
        usual = training_set(of, FRAMES)
        settings = replace(usual.settings, limbs=0.1, mirror=0.5, drop_joints=0.5)
        drawn = Sampler(usual.tracks, settings).sample(torch.arange(3), Draws(0, 3))
        assert drawn.x.shape[:2] == (3, FRAMES)
        for name in NAMES:
            task = make(name, of)
            task(again(make_batch(of)))["loss"].backward()
            encoded = task.encoder(drawn.x)
            readouts.mean_of_tokens(encoded, torch.tensor([0, 0, 1]), 2)
            readouts.pyramid(encoded, [1, 2], ["mean", "std"])
    assert called == {getattr(owner, name).__qualname__ for owner, name in SHAPES}


def test_a_wrong_shape_is_found(called):
    with pytest.raises(TypeCheckError):
        masks.motion_intensity(torch.zeros(2, FRAMES, 15), SMALL["segment_frames"])


def test_a_wrong_result_is_found(called, monkeypatch):
    monkeypatch.setattr(masks, "segment", lambda x, S: x[:, ::S, :, :, None])
    with pytest.raises(TypeCheckError, match="return value"):
        masks.motion_intensity(torch.zeros(2, FRAMES, 15, 3), SMALL["segment_frames"])

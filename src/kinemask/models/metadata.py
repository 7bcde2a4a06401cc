"""What a weight file says of itself, checked before a model is built from it: types, numbers, and how large it is."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

_KINDS = {"architecture": str, "layout": dict, "encoder": dict, "sampling": dict, "record": dict}
_OF_CLASSIFIERS = {"head": dict, "classes": list}
_LARGEST = {"layers": 200, "frames": 100_000, "test_clips": 10_000}  # by a setting's name
_LARGEST_OTHER = 1_000_000


def check_metadata(about: dict[str, Any]) -> None:
    """ValueError naming the entry that is missing, of another type, or a number that no model has."""
    for name, kind in (_KINDS | {k: v for k, v in _OF_CLASSIFIERS.items() if k in about}).items():
        if not isinstance(about.get(name), kind):
            raise ValueError(f"its metadata has no {name}, or one that is no {kind.__name__}")
    if not all(isinstance(name, str) for name in about.get("classes", ())):
        raise ValueError("its metadata has a class whose name is no text")
    for section in ("encoder", "sampling", "head"):
        for name, value in _numbers(about.get(section), section):
            largest = _LARGEST.get(name.rpartition(".")[2], _LARGEST_OTHER)
            if not math.isfinite(value) or abs(value) > largest:
                raise ValueError(f"{name} is {value}, beyond what any model has ({largest:,})")


def check_size(build: Callable[[], nn.Module], weights: Mapping[str, Tensor]) -> None:
    """ValueError where the model would hold more numbers than the file does; it is built without memory to see it."""
    try:
        with torch.device("meta"), warnings.catch_warnings(action="ignore"):
            numbers = sum(tensor.numel() for tensor in build().state_dict().values())
    except NotImplementedError:
        return
    except RuntimeError as error:
        if "meta" in str(error):  # an architecture of one's own that looks at its weights while it is built
            return
        raise
    held = sum(tensor.numel() for tensor in weights.values())
    if numbers > held:
        raise ValueError(f"they make a model of {numbers:,} weights, and the file holds {held:,}")


def _numbers(value: Any, name: str) -> Iterator[tuple[str, int | float]]:
    """Every number in nested plain values, with its dotted name."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, f"{name}.{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from _numbers(inner, name)
    elif isinstance(value, int | float):
        yield name, value

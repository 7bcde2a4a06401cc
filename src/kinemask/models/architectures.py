"""Encoder architectures by the names that files have for them; without PyTorch until one is built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from kinemask.nn.settings import EncoderSettings, GraphEncoderSettings
from kinemask.skeleton import Layout

if TYPE_CHECKING:
    from kinemask.nn.encoder import Encoder


@dataclass(frozen=True)
class Architecture:
    """A kind of encoder: its name, its settings' class, and its class, or "module:class" to be imported when needed."""

    name: str
    settings: type
    encoder: str | Callable[[Layout, int, Any], Encoder]

    def build(self, layout: Layout, frames: int, settings: Any) -> Encoder:
        """An encoder with random weights for windows of `frames` frames of a layout."""
        return load(self.encoder)(layout, frames, settings)


_OWN = (
    Architecture("transformer", EncoderSettings, "kinemask.nn.transformer:TransformerEncoder"),
    Architecture("graph", GraphEncoderSettings, "kinemask.nn.graph:GraphEncoder"),
)
_ARCHITECTURES = {one.name: one for one in _OWN}


def architecture(name: str) -> Architecture:
    """The architecture of that name; raises ValueError with the known ones."""
    if name not in _ARCHITECTURES:
        known = ", ".join(_ARCHITECTURES)
        raise ValueError(f"unknown architecture {name!r}; known: {known}; one of your own must be registered first")
    return _ARCHITECTURES[name]


def register_architecture(chosen: Architecture) -> Architecture:
    """Make an encoder of your own known in this process, so that methods can name it and its files be read; returns it.

    Its class derives from `kinemask.nn.encoder.Encoder` and has the same name as its `architecture`. Registering a name
    again replaces it; ValueError for a name of this package's own.
    """
    if chosen.name in [one.name for one in _OWN]:
        raise ValueError(f"architecture {chosen.name!r} is one of kinemask's own; give yours another name")
    _ARCHITECTURES[chosen.name] = chosen
    return chosen


def load(reference: Any) -> Any:
    """What "module:name" refers to; anything else is returned as it is."""
    if not isinstance(reference, str):
        return reference
    module, name = reference.split(":")
    return getattr(import_module(module), name)

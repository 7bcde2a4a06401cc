"""The encoder contract: an embedding that belongs to a layout, and a trunk that knows of none.

Pre-training, evaluation, prediction and export see an encoder through this contract alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from kinemask.nn.settings import AnyEncoderSettings
from kinemask.skeleton import Layout
from kinemask.windows.streams import fuse

# weights of kinemask 0.1, which had no embedding and trunk: first part of a name then -> now
_RENAMED = {
    "tokenizer": "embedding.tokenizer",
    "temporal_position": "embedding.temporal_position",
    "spatial_position": "embedding.spatial_position",
    "blocks": "trunk.blocks",
    "norm": "trunk.norm",
    "graph": "trunk",
}


class Embedding(nn.Module):
    """Tokens of a layout's window: segments of the kept joints, as the streams asked for, through one linear map.

    layout, frames, settings: what it is made for. joints (V,): the layout's joints that it keeps, ascending.
    """

    def __init__(self, layout: Layout, frames: int, settings: AnyEncoderSettings):
        super().__init__()
        if frames % settings.segment_frames:
            raise ValueError(
                f"sampling.frames {frames} is not a multiple of encoder.segment_frames {settings.segment_frames}"
            )
        self.layout, self.frames, self.segment_frames = layout, frames, settings.segment_frames
        kept = layout.kept(settings.joints)
        self.names = [layout.joints[j] for j in kept]
        self.joints: Tensor
        self.register_buffer("joints", torch.tensor(kept), persistent=False)
        self.segments = frames // settings.segment_frames
        self.streams = tuple(settings.streams)
        self.parents: Tensor
        self.register_buffer("parents", torch.tensor(layout.parents), persistent=False)
        self.tokenizer = nn.Linear(settings.segment_frames * len(self.streams) * layout.dims, settings.width)

    def tokenize(self, x: Tensor, joints: Tensor) -> Tensor:
        """Segments of the given joints through the map, without positions: (B, T, V, C) -> (B, P, J, D).

        With autocast off: bfloat16 rounds coordinates by some percent of what moves from frame to frame.
        """
        x = fuse(x, self.streams, self.parents, self.layout.root)
        with torch.autocast(x.device.type, enabled=False):
            return self.tokenizer(segment(x[:, :, joints], self.segment_frames).to(self.tokenizer.weight.dtype))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, V, C) -> (B, P, V, D)"""
        return self.tokenize(x, self.joints)

    def adopt(self, before: Embedding) -> list[str]:
        """Take over what fits of the embedding of another layout or window; returns the names of the shared joints.

        The map is copied for the coordinates that both have, x and y at least.
        """
        both = min(self.layout.dims, before.layout.dims)
        assert self.streams == before.streams
        shapes = ((e, (e.segment_frames, len(e.streams), -1)) for e in (self, before))
        here, there = (e.tokenizer.weight.unflatten(1, shape) for e, shape in shapes)
        here[..., :both] = there[..., :both]
        self.tokenizer.bias.copy_(before.tokenizer.bias)
        return [name for name in self.names if name in before.names]


class Encoder(nn.Module, ABC):
    """Any encoder: `forward` makes all tokens of a body; pre-training calls `embed`, `project` and `encode`.

    A body's tokens are a grid (B, P, V, D) or, where masks pick some, a list (B, L, D); token (segment p, joint v) is
    p*V + v. architecture: the name that files have for the class.
    """

    architecture: ClassVar[str]
    embedding: Embedding
    trunk: nn.Module
    settings: AnyEncoderSettings

    @abstractmethod
    def __init__(self, layout: Layout, frames: int, settings: Any):
        super().__init__()
        self.settings = settings

    @property
    def layout(self) -> Layout:
        return self.embedding.layout

    @property
    def frames(self) -> int:
        """T, frames of the window."""
        return self.embedding.frames

    @property
    def joints(self) -> Tensor:
        """Indices of the kept joints in the layout: (V,)."""
        return self.embedding.joints

    @property
    def segments(self) -> int:
        """P."""
        return self.embedding.segments

    @property
    def num_joints(self) -> int:
        """V, the kept joints."""
        return len(self.embedding.names)

    @property
    def tokens(self) -> int:
        """L, tokens of one body."""
        return self.segments * self.num_joints

    @property
    def width(self) -> int:
        """D."""
        return self.settings.width

    def embed(self, x: Tensor) -> Tensor:
        """Tokens before any mapping: (B, T, V, C) -> (B, P, V, D)."""
        return self.embedding(x)

    def project(self, embedded: Tensor) -> Tensor:
        """Into the space where the tokens live; the identity unless an encoder has another: (..., D) -> (..., D)."""
        return embedded

    @abstractmethod
    def encode(self, tokens: Tensor) -> Tensor:
        """The trunk over a body's tokens: (B, K, D) -> (B, K, D).

        A transformer takes any K of the L tokens, in any order; graph layers need every one, in the grid's order.
        """

    @abstractmethod
    def intermediates(self, tokens: Tensor) -> list[Tensor]:
        """What each layer of the trunk makes of all tokens: (B, L, D) -> (B, L, D) a layer."""

    def attention(self, tokens: Tensor) -> Iterator[Tensor] | None:
        """How much each token of all (B, L, D) attends to each, a layer at a time: (B, H, L, L), rows that add up to 1.

        None for a trunk in which tokens do not attend to each other.
        """
        return None

    @abstractmethod
    def depth_groups(self) -> list[list[nn.Parameter]]:
        """Parameters from the input up, for layer-wise learning rates: the embedding, then a group per layer.

        What is in none learns as fast as a head.
        """

    @abstractmethod
    def set_drop_path(self, rate: float) -> None:
        """Stochastic depth, rising linearly from 0 in the first layer to `rate` in the last."""

    def forward(self, x: Tensor) -> Tensor:
        """All tokens of B bodies: (B, T, V, C) -> (B, P, V, D)."""
        embedded = self.project(self.embed(x))
        return self.encode(embedded.flatten(1, 2)).view(embedded.shape)

    def validity(self, valid: Tensor) -> Tensor:
        """A token is valid if any of its frames is: (B, T, V) bool of the layout's joints -> (B, L) bool."""
        of_joints = valid[:, :, self.joints].unsqueeze(-1)
        return segment(of_joints, self.settings.segment_frames).any(-1).flatten(1)

    def knows(self, layout: Layout) -> bool:
        """Whether `transfer` to this layout leaves nothing as initialised."""
        return False

    def fresh(self, layout: Layout, frames: int) -> Self:
        """An encoder of these settings with new random weights, for any layout and window."""
        return type(self)(layout, frames, self.settings)

    @torch.no_grad()
    def shortened(self, layers: int) -> Self:
        """The encoder's first so many layers, for use; a last norm stays. Itself where it has no more.

        ValueError where it has fewer, or where the weights of a shorter one are no part of its own.
        """
        own, weights = self.settings.layers, self.state_dict()
        if not 1 <= layers <= own:
            raise ValueError(f"{layers} layers of an encoder that has {own}")
        if layers == own:
            return self
        with torch.random.fork_rng(devices=[]):
            short = type(self)(self.layout, self.frames, replace(self.settings, layers=layers))
        if any(name not in weights or weights[name].shape != value.shape for name, value in short.state_dict().items()):
            raise ValueError(f"an encoder of architecture {self.architecture} cannot be shortened")
        short.load_state_dict({name: weights[name] for name in short.state_dict()})
        return short.to(next(self.parameters())).eval()

    @torch.no_grad()
    def transfer(self, layout: Layout, frames: int) -> tuple[Self, list[str]]:
        """An encoder of these settings for another skeleton or window, and the names of the joints that both have.

        The trunk is copied. Of the embedding, what belongs to joints goes by their names, what belongs to segments is
        resampled in time, and the rest stays as initialised.
        """
        moved = self.fresh(layout, frames).to(self.joints.device)
        moved.trunk.load_state_dict(self.trunk.state_dict())
        return moved, moved.embedding.adopt(self.embedding)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **options: Any) -> None:
        for key in [k for k in state_dict if k.startswith(prefix)]:
            first, dot, rest = key[len(prefix) :].partition(".")
            if first in _RENAMED:
                state_dict[prefix + _RENAMED[first] + dot + rest] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *args, **options)


def segment(x: Tensor, segment_frames: int) -> Tensor:
    """Cut time into segments: (B, T, V, C) -> (B, P, V, S·C), the S frames of a token in order."""
    B, T, V, C = x.shape
    x = x.view(B, T // segment_frames, segment_frames, V, C).transpose(2, 3)
    return x.reshape(B, T // segment_frames, V, segment_frames * C)

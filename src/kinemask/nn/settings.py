"""Settings of encoders, decoders and heads; without PyTorch, so that the command line can show them at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import Field, dataclass, field
from typing import Any, ClassVar, Literal, Protocol, get_args

from kinemask.checks import check_heads, check_not_negative, check_positive, warn_unused
from kinemask.windows.settings import TokenStream

GraphKind = Literal["gin", "gcn", "gat"]


class AnyEncoderSettings(Protocol):
    """What the settings of every architecture have: width D, layers of the trunk, a set of joints, S, streams."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def layers(self) -> int: ...

    @property
    def width(self) -> int: ...

    @property
    def joints(self) -> str: ...

    @property
    def segment_frames(self) -> int: ...

    @property
    def streams(self) -> Sequence[TokenStream]: ...


@dataclass(kw_only=True)
class EncoderSettings:
    """The backbone. Defaults are the papers' size.

    Args:
        layers: transformer blocks
        width: width of a token, D
        heads: attention heads, H
        mlp_ratio: hidden width of the MLP, as a multiple of the width
        segment_frames: frames per segment, S; divides the window
        joints: all, or one of the layout's pruned sets (the torso joints dropped: pruned, pruned20, pruned16)
        streams: what a token is made of, side by side: positions (joint, the papers'), velocity, bone, and the place of
            the root. A bone tells where the joint's parent is, masked or not
        positions: learned gives each joint of the layout a position of its own (the papers); named derives it from the
            joint's place on the body by its name, so that the encoder fits any layout, and trains on several at once
        space: where the embedded tokens live; poincare maps them into the Poincaré ball, for use as for training
        curvature: the positive number k of the ball's curvature −k; this and the next two also where a method maps its
            target
        projection: clip limits the norm, as HA-CM's released code; paper is its Eq. 7 to the letter
        epsilon: distance from the boundary that clip keeps, in radii; what float32 bears (released code: 1e-5)
    """

    layers: int = 8
    width: int = 256
    heads: int = 8
    mlp_ratio: float = 4.0
    segment_frames: int = 4
    joints: str = "all"
    streams: list[TokenStream] = field(default_factory=lambda: ["joint"])
    positions: Literal["learned", "named"] = "learned"
    space: Literal["euclidean", "poincare"] = "euclidean"
    curvature: float = 1.0
    projection: Literal["clip", "paper"] = "clip"
    epsilon: float = 4e-3

    def __post_init__(self):
        check_positive("encoder", self, "layers", "width", "heads", "segment_frames", "curvature")
        check_heads("encoder", self.width, self.heads)
        if not self.streams or len(set(self.streams)) < len(self.streams):
            known = ", ".join(get_args(TokenStream))
            raise ValueError(f"encoder.streams must be some of {known}, each once, not {self.streams}")
        if self.width * self.mlp_ratio < 1:
            raise ValueError(f"encoder.mlp_ratio {self.mlp_ratio} leaves an MLP without hidden units")
        if not 0 < self.epsilon < 1:
            raise ValueError(f"encoder.epsilon must be between 0 and 1, not {self.epsilon}")
        if self.projection == "paper":
            warn_unused("encoder", self, "with projection paper", "epsilon")


@dataclass(kw_only=True)
class DecoderSettings:
    """The decoder, at the encoder's grid.

    Args:
        layers: transformer blocks
        width: width of a token in the decoder
        heads: attention heads
        mlp_ratio: hidden width of the MLP, as a multiple of the width
    """

    layers: int = 5
    width: int = 256
    heads: int = 8
    mlp_ratio: float = 4.0

    def __post_init__(self):
        check_positive("decoder", self, "layers", "width", "heads")
        check_heads("decoder", self.width, self.heads)
        if self.width * self.mlp_ratio < 1:
            raise ValueError(f"decoder.mlp_ratio {self.mlp_ratio} leaves an MLP without hidden units")


@dataclass(kw_only=True)
class GraphEncoderSettings:
    """A graph encoder; each frame's skeleton is a graph of its own, so S is 1 and P is T. Defaults are SkeletonMAE's.

    Args:
        kind: graph layer; gin, gcn or gat (Table 4c)
        layers: graph layers
        width: width of a joint's feature, D
        heads: attention heads of gat, side by side
        joints: all, or one of the layout's pruned sets; joints on either side of dropped ones become neighbours
    """

    kind: GraphKind = "gin"
    layers: int = 3
    width: int = 64
    heads: int = 4
    joints: str = "all"

    @property
    def segment_frames(self) -> int:
        return 1

    @property
    def streams(self) -> Sequence[TokenStream]:
        return ("joint",)

    def __post_init__(self):
        check_positive("encoder", self, "layers", "width", "heads")
        if self.kind == "gat":
            check_heads("encoder", self.width, self.heads)
        else:
            warn_unused("encoder", self, f"with kind {self.kind}", "heads")


@dataclass(kw_only=True)
class GraphDecoderSettings:
    """The decoder: graph layers of the encoder's kind, width and heads.

    Args:
        layers: graph layers; SkeletonMAE has one
    """

    layers: int = 1

    def __post_init__(self):
        check_positive("decoder", self, "layers")


@dataclass(kw_only=True)
class ProjectionSettings:
    """The projection head, which stands where others have a decoder: contrast is of what it makes of pooled features.

    Args:
        layers: linear layers, a ReLU between two
        width: width of the hidden layers and of what is contrasted
    """

    layers: int = 2
    width: int = 64

    def __post_init__(self):
        check_positive("decoder", self, "layers", "width")


@dataclass(kw_only=True)
class ReadoutSettings:
    """From an encoder's tokens to a clip's features. The papers' is the mean of all.

    Args:
        over: mean over all joints, or joints, or the means of body parts, side by side
        pieces: pieces of time whose statistics stand side by side; 1 2 4 is a pyramid
        statistics: mean, std and max over a piece of time
        bodies: mean of a clip's bodies, or a pair: the first two side by side, and the way from one to the other
        layers: how many of the encoder's layers to read, from the first, with its last norm; 0 for all
    """

    over: Literal["mean", "joints", "parts"] = "mean"
    pieces: list[int] = field(default_factory=lambda: [1])
    statistics: list[Literal["mean", "std", "max"]] = field(default_factory=lambda: ["mean"])
    bodies: Literal["mean", "pair"] = "mean"
    layers: int = 0

    def __post_init__(self):
        check_not_negative("readout", self, "layers")
        if not self.pieces or any(count < 1 for count in self.pieces):
            raise ValueError(f"readout.pieces must be whole numbers from 1 up, not {self.pieces}")
        if not self.statistics or len(set(self.statistics)) < len(self.statistics):
            raise ValueError(f"readout.statistics must be some of mean, std and max, each once, not {self.statistics}")


@dataclass(kw_only=True)
class HeadSettings:
    """The classifier that fine-tuning trains around the encoder.

    Args:
        kind: mlp is the mean over time and bodies, joints side by side, and a hidden layer; strl is SkeletonMAE's
            classifier, for encoders of graph layers
        hidden: units of the hidden layer
        dropout: share that is dropped in training
        dropout_of: features drops the pooled features, the hidden layer's input; tokens drops the encoder's tokens
            before they are averaged, as the released codes, so that the mean over P segments has 1/P of the variance
        layers: STRL layers, M; each has graph layers of its own that start as the pre-trained ones
        encoders: per_person gives a clip's first person and the others graph layers of their own, as the paper's two
            encoders (3.2); shared passes all people through the same
    """

    kind: Literal["mlp", "strl"] = "mlp"
    hidden: int = 2048
    dropout: float = 0.3
    dropout_of: Literal["features", "tokens"] = "features"
    layers: int = 3
    encoders: Literal["per_person", "shared"] = "per_person"

    def __post_init__(self):
        check_positive("head", self, "hidden", "layers")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"head.dropout must be at least 0 and below 1, not {self.dropout}")
        if not self.dropout:
            warn_unused("head", self, "with dropout 0", "dropout_of")
        if self.kind == "mlp":
            warn_unused("head", self, "with kind mlp", "layers", "encoders")

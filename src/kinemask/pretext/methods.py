"""The methods as values, by name; without PyTorch until one is built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kinemask.models.architectures import architecture, load
from kinemask.nn.settings import DecoderSettings, GraphDecoderSettings, ProjectionSettings
from kinemask.pretext import settings
from kinemask.skeleton import Layout

if TYPE_CHECKING:
    from kinemask.nn.encoder import Encoder
    from kinemask.pretext.base import Pretext


@dataclass(frozen=True)
class Method:
    """A method as a value: its name, one line about it, its settings, its task and the encoder that it trains.

    task: the class of the pretext task, made from (encoder, decoder settings, settings), or "module:class" to be
    imported when needed. architecture: of the encoder, by its name.
    """

    name: str
    title: str
    paper: str
    settings: type
    task: str | type[Pretext]
    architecture: str = "transformer"
    decoder_settings: type = DecoderSettings

    @property
    def encoder_settings(self) -> type:
        return architecture(self.architecture).settings

    @property
    def task_class(self) -> type[Pretext]:
        return load(self.task)

    def build_encoder(self, layout: Layout, frames: int, settings: Any) -> Encoder:
        """An encoder with random weights."""
        return architecture(self.architecture).build(layout, frames, settings)

    def build(self, encoder: Encoder, decoder: Any, settings: Any) -> Pretext:
        """The pretext task around an encoder; decoder and settings are of this method's types."""
        return load(self.task)(encoder, decoder, settings)


_OWN = (
    Method(
        name="mae",
        title="masks at random, predicts coordinates",
        paper="He et al., Masked Autoencoders Are Scalable Vision Learners, CVPR 2022; its skeleton form after MAMP",
        settings=settings.MAESettings,
        task="kinemask.pretext.mamp:MAMP",
    ),
    Method(
        name="mamp",
        title="masks what moves, predicts its motion",
        paper="Mao et al., Masked Motion Predictors are Strong 3D Action Representation Learners, ICCV 2023",
        settings=settings.MAMPSettings,
        task="kinemask.pretext.mamp:MAMP",
    ),
    Method(
        name="hacm",
        title="crosses masks by joint hierarchy (hyperbolic) and temporal correlation; contrasts the halves",
        paper="Yin & Cao, Spatial Hierarchy and Temporal Attention Guided Cross Masking (HA-CM)",
        settings=settings.HACMSettings,
        task="kinemask.pretext.hacm:HACM",
    ),
    Method(
        name="skeleton2vec",
        title="masks joints over tubes of time, predicts a teacher's features of the whole clip",
        paper="Skeleton2vec: A Self-supervised Learning Framework with Contextualized Target Representations, 2024",
        settings=settings.Skeleton2vecSettings,
        task="kinemask.pretext.skeleton2vec:Skeleton2vec",
    ),
    Method(
        name="masksem",
        title="masks what differs from a static reference (Grad-CAM), predicts velocity and acceleration",
        paper="Wei et al., MaskSem: Semantic-Guided Masking for Learning 3D Hybrid High-Order Motion Representation",
        settings=settings.MaskSemSettings,
        task="kinemask.pretext.masksem:MaskSem",
    ),
    Method(
        name="skeletonmae",
        title="masks body parts of the skeleton's graph, predicts their embedding",
        paper="Yan et al., SkeletonMAE: Graph-based Masked Autoencoder for Skeleton Sequence Pre-training, ICCV 2023",
        settings=settings.SkeletonMAESettings,
        task="kinemask.pretext.skeletonmae:SkeletonMAE",
        architecture="graph",
        decoder_settings=GraphDecoderSettings,
    ),
    Method(
        name="graphcl",
        title="augments the skeleton's graph twice and contrasts the two; pairs of augmentations uniform, or JOAO's",
        paper="You et al., Graph Contrastive Learning with Augmentations, NeurIPS 2020; JOAO: You et al., ICML 2021",
        settings=settings.GraphCLSettings,
        task="kinemask.pretext.graphcl:GraphCL",
        architecture="graph",
        decoder_settings=ProjectionSettings,
    ),
    Method(
        name="mosaic",
        title="masks joints over tubes of time, predicts random convolutions of the whole clip and its parts",
        paper="kinemask's own",
        settings=settings.MosaicSettings,
        task="kinemask.pretext.mosaic:Mosaic",
    ),
)
NAMES = tuple(one.name for one in _OWN)
_METHODS = {one.name: one for one in _OWN}


def method(name: str) -> Method:
    """The method of that name; raises ValueError with the known ones."""
    if name not in _METHODS:
        known = ", ".join(_METHODS)
        raise ValueError(f"unknown method {name!r}; known: {known}; one of your own must be registered first")
    return _METHODS[name]


def register(chosen: Method) -> Method:
    """Make known, in this process, a method that is defined outside of this package; returns it.

    Its name can then stand in recipes and runs of it be gone on with: a file names a method and never the code of one,
    so that reading a file runs nothing. Registering a name again replaces the method; ValueError for a name of this
    package's own.
    """
    if chosen.name in NAMES:
        raise ValueError(f"method {chosen.name!r} is one of kinemask's own; give yours another name")
    _METHODS[chosen.name] = chosen
    return chosen

"""The masked autoencoder baseline: random masks, coordinate targets. Everything else is MAMP's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from kinemask.pretext import mamp


@dataclass(kw_only=True)
class MAESettings(mamp.MAMPSettings):
    """Masked autoencoding of coordinates: MAMP's settings with other defaults."""

    masking: Literal["motion", "random"] = "random"
    predict: Literal["motion", "coordinates"] = "coordinates"


METHOD = replace(
    mamp.METHOD,
    name="mae",
    title="masks at random, predicts coordinates",
    paper="He et al., Masked Autoencoders Are Scalable Vision Learners, CVPR 2022; its skeleton form after MAMP",
    settings=MAESettings,
)

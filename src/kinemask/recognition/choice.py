"""What a recogniser looks at, as plain values; read without PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from kinemask.skeleton import Layout
from kinemask.windows.settings import Align

Kind = Literal["convolutions", "statistics", "tokens"]
KINDS: tuple[Kind, ...] = get_args(Kind)
ALIGNMENTS: tuple[Align, ...] = get_args(Align)

FILE = "recogniser.safetensors"  # in the folder of a recogniser
FRAMES = 64  # of a clip's window
MOST_CHOOSING = 2_000_000  # kernels times clips with which a choice is made
SHARES = (0.25, 0.5, 0.75)  # of tokens beside other features


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What a recogniser looks at.

    features: kinds side by side, and shares, what each counts (they add up to 1). align: how clips are turned.
    mirrored: whether it also learns from mirrored copies of its clips, left and right swapped.
    """

    features: tuple[Kind, ...] = ("convolutions",)
    shares: tuple[float, ...] = (1.0,)
    align: Align = "none"
    mirrored: bool = False

    def __post_init__(self) -> None:
        assert len(self.features) == len(self.shares) > 0

    def __str__(self) -> str:
        names = {"convolutions": "random convolutions", "statistics": "statistics", "tokens": "the encoder's tokens"}
        each = [
            names[kind] + (f" ({share:.0%})" if len(self.shares) > 1 else "")
            for kind, share in zip(self.features, self.shares, strict=True)
        ]
        turned = {"none": "as recorded", "heading": "turned to one heading", "pair": "turned to the line between two"}
        return f"{' beside '.join(each)}, clips {turned[self.align]}{', mirrored copies too' * self.mirrored}"


def equally(*features: Kind) -> tuple[tuple[Kind, ...], tuple[float, ...]]:
    return features, (1 / len(features),) * len(features)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the caller settles of a choice; None, and () for kinds, where it is to be found out."""

    kinds: tuple[Kind, ...] = ()
    align: Align | None = None
    mirrored: bool | None = None
    kernels: int = 2000


def asked(features: Sequence[str] | str, align: str, mirrored: bool | str, kernels: int, has_encoder: bool) -> Asked:
    """What settings ask for; ValueError where a value is none, or does not fit the others."""
    kinds = () if features == "auto" else (features,) if isinstance(features, str) else tuple(features)
    for kind in kinds:
        if kind not in KINDS:
            raise ValueError(f"features are auto, or some of {', '.join(KINDS)}; not {kind!r}")
    if len(set(kinds)) < len(kinds):
        raise ValueError(f"features are named once each, not {', '.join(kinds)}")
    if align not in ("auto", *ALIGNMENTS):
        raise ValueError(f"align is auto or one of {', '.join(ALIGNMENTS)}; not {align!r}")
    if mirrored not in ("auto", True, False):
        raise ValueError(f"mirrored is auto, true or false; not {mirrored!r}")
    if kernels < 1:
        raise ValueError(f"kernels must be at least 1, not {kernels}")
    if "tokens" in kinds and not has_encoder:
        raise ValueError("tokens are an encoder's: give one (a run, or an encoder file)")
    if kinds and "tokens" not in kinds and has_encoder:
        raise ValueError(f"features {', '.join(kinds)} use no encoder; add tokens, or leave the encoder out")
    return Asked(
        kinds=tuple(kind for kind in KINDS if kind in kinds),
        align=next((one for one in ALIGNMENTS if one == align), None),
        mirrored=None if isinstance(mirrored, str) else bool(mirrored),
        kernels=kernels,
    )


def alignments(layout: Layout, two_bodies: bool) -> tuple[Align, ...]:
    """How clips of a layout may be turned, not at all first; two_bodies: whether most of them have two bodies."""
    if layout.dims != 3 or not layout.pairs:
        return ("none",)
    return ("none", "heading", "pair") if two_bodies else ("none", "heading")


def blends(kinds: Sequence[Kind]) -> list[tuple[tuple[Kind, ...], tuple[float, ...]]]:
    """Ways to put kinds of features side by side: tokens with several shares, the others sharing the rest equally.

    kinds: in the order of `KINDS`, in which tokens come last.
    """
    others = tuple(kinds[:-1])
    if kinds[-1] != "tokens" or not others:
        return [equally(*kinds)]
    return [((*others, kinds[-1]), (*[(1 - share) / len(others)] * len(others), share)) for share in SHARES]

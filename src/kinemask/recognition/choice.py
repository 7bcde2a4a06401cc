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
KERNELS = 2000  # as of `nn.random_convolutions`, which PyTorch comes with
FRAMES = 64  # of a clip's window
MOST_CHOOSING = 2_000_000  # kernels times clips with which a choice is made
MOST_UNLABELLED = 1500  # clips without a label that labels are spread to
SHARES = (0.25, 0.5, 0.75)  # of tokens beside other features
BETTER = 0.98  # times the log loss of what is there: less is no reason to change it
USUAL = (0.8, 0.2)  # of convolutions and statistics side by side
TWINNED: tuple[Kind, ...] = ("convolutions", "tokens")  # kinds that a metric of twins serves; statistics lose by it

Blend = tuple[tuple[Kind, ...], tuple[float, ...]]  # kinds of features and their shares


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What a recogniser looks at.

    features: kinds side by side, and shares, what each counts (they add up to 1). align: how clips are turned.
    mirrored: whether it also learns from mirrored copies of its clips, left and right swapped. twins: whether what
    generated twins differ in counts less, in the kinds that are TWINNED. spread: whether labels are spread to clips
    without one. tuned: what a fine-tuned encoder counts beside all of this.
    """

    features: tuple[Kind, ...] = ("convolutions",)
    shares: tuple[float, ...] = (1.0,)
    align: Align = "none"
    mirrored: bool = False
    twins: bool = False
    spread: bool = False
    tuned: float = 0.0

    def __post_init__(self) -> None:
        assert len(self.features) == len(self.shares) > 0

    def __str__(self) -> str:
        names = {"convolutions": "random convolutions", "statistics": "statistics", "tokens": "the encoder's tokens"}
        each = [
            names[kind] + (f" ({share:.0%})" if len(self.shares) > 1 else "")
            for kind, share in zip(self.features, self.shares, strict=True)
        ]
        turned = {"none": "as recorded", "heading": "turned to one heading", "pair": "turned to the line between two"}
        whole = f"{' beside '.join(each)}, clips {turned[self.align]}{', mirrored copies too' * self.mirrored}"
        whole += ", with a metric from generated twins" * self.twins
        whole += ", labels spread to clips without one" * self.spread
        return whole + (f"; the fine-tuned encoder ({self.tuned:.0%}) beside" if self.tuned else "")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the caller settles of a choice; None, and () for kinds, where it is to be found out."""

    kinds: tuple[Kind, ...] = ()
    align: Align | None = None
    mirrored: bool | None = None
    twins: bool | None = None
    spread: bool | None = None
    kernels: int = KERNELS


def asked(
    features: Sequence[str] | str,
    align: str,
    mirrored: bool | str,
    kernels: int,
    has_encoder: bool,
    twins: bool | str = "auto",
    spread: bool | str = "auto",
) -> Asked:
    """What settings ask for; ValueError where a value is none, or does not fit the others."""
    kinds = () if features == "auto" else (features,) if isinstance(features, str) else tuple(features)
    for kind in kinds:
        if kind not in KINDS:
            raise ValueError(f"features are auto, or some of {', '.join(KINDS)}; not {kind!r}")
    if len(set(kinds)) < len(kinds):
        raise ValueError(f"features are named once each, not {', '.join(kinds)}")
    if align not in ("auto", *ALIGNMENTS):
        raise ValueError(f"align is auto or one of {', '.join(ALIGNMENTS)}; not {align!r}")
    for name, value in (("mirrored", mirrored), ("twins", twins), ("spread", spread)):
        if value not in ("auto", True, False):
            raise ValueError(f"{name} is auto, true or false; not {value!r}")
    if twins is True and kinds and not set(kinds) & set(TWINNED):
        raise ValueError(f"twins serve {' and '.join(TWINNED)}, not {', '.join(kinds)}")
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
        twins=None if isinstance(twins, str) else bool(twins),
        spread=None if isinstance(spread, str) else bool(spread),
        kernels=kernels,
    )


def alignments(layout: Layout, two_bodies: bool) -> tuple[Align, ...]:
    """How clips of a layout may be turned, not at all first; two_bodies: whether most of them have two bodies."""
    if layout.dims != 3 or not layout.pairs:
        return ("none",)
    return ("none", "heading", "pair") if two_bodies else ("none", "heading")


def blends(kinds: Sequence[Kind]) -> list[Blend]:
    """Ways to put kinds of features side by side: as usual, or with several shares of tokens.

    kinds: in the order of `KINDS`, in which tokens come last.
    """
    others = without_tokens(kinds)
    shares = USUAL if len(others) > 1 else (1.0,)
    if "tokens" not in kinds:
        return [(others, shares)]
    if not others:
        return [(("tokens",), (1.0,))]
    both: tuple[Kind, ...] = (*others, "tokens")
    return [(both, (*((1 - share) * own for own in shares), share)) for share in SHARES]


def by_neighbours(choice: Choice) -> Choice:
    """What neighbours are found by: the kinds that are TWINNED alone, where a choice has any; people lie nearer to
    themselves than to others in statistics."""
    used = [one for one in zip(choice.features, choice.shares, strict=True) if one[0] in TWINNED]
    kinds, shares = zip(*(used or zip(choice.features, choice.shares, strict=True)), strict=True)
    whole = sum(shares)
    return Choice(features=kinds, shares=tuple(s / whole for s in shares), align=choice.align, twins=choice.twins)


def without_tokens(kinds: Sequence[Kind]) -> tuple[Kind, ...]:
    found: list[Kind] = [kind for kind in kinds if kind != "tokens"]
    return tuple(found)


def others(has_tokens: bool) -> list[Blend]:
    """What may be better than what is usual: a kind alone, or others in other shares."""
    found: list[Blend] = [
        (("convolutions",), (1.0,)),
        (("convolutions", "statistics"), (0.5, 0.5)),
        (("statistics",), (1.0,)),
    ]
    return [*found, (("tokens",), (1.0,))] if has_tokens else found

"""The protocols' settings. Nothing here imports PyTorch: the command line reads them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from kinemask.checks import check_not_negative, warn_unused
from kinemask.nn.settings import ReadoutSettings
from kinemask.skeleton import PARTS
from kinemask.training.settings import FinetuneSettings, LinearSettings
from kinemask.windows.settings import CORRUPTIONS

Beside = Literal["none", "convolutions"]


@dataclass(kw_only=True)
class KNNSettings:
    """Nearest neighbours.

    Args:
        neighbours: training clips that vote; a tie goes to the more similar ones
        readout: what a clip's features are
        beside: features that stand beside the encoder's: random convolutions of the clip (of as much weight), or none
    """

    neighbours: int = 1
    readout: ReadoutSettings = field(default_factory=ReadoutSettings)
    beside: Beside = "none"

    def __post_init__(self):
        if self.neighbours < 1:
            raise ValueError(f"neighbours must be at least 1, not {self.neighbours}")


@dataclass(kw_only=True)
class ProbeSettings:
    """A converged probe on frozen features.

    Args:
        kind: ridge is closed form, its penalty by leave-one-out; logistic is L-BFGS, its penalty by cross-validation
        views: augmented views of each training clip that are further rows for the probe
        per_class: labels of each class; a point of a curve for each number, at draws that the seed decides
        readout: what a clip's features are
        beside: features that stand beside the encoder's: random convolutions of the clip, or none. Each kind has a
            ridge of its own, and what clips left out say of it decides its weight
        twins: whether what generated twins differ in, the same motion by several people, counts less (ridge, 3D)
    """

    kind: Literal["ridge", "logistic"] = "ridge"
    views: int = 0
    per_class: list[int] = field(default_factory=list)
    readout: ReadoutSettings = field(default_factory=ReadoutSettings)
    beside: Beside = "none"
    twins: bool = False

    def __post_init__(self):
        check_not_negative("probe", self, "views")
        if any(count < 1 for count in self.per_class):
            raise ValueError(f"probe.per_class must be at least 1, not {self.per_class}")
        self.per_class = sorted(set(self.per_class))
        if self.beside != "none" and self.kind != "ridge":
            raise ValueError(f"probe.beside {self.beside} needs probe.kind ridge, which weighs kinds of features")
        if self.twins and self.kind != "ridge":
            raise ValueError("probe.twins needs probe.kind ridge, of whose weights it is a prior")


@dataclass(kw_only=True)
class RetrievalSettings:
    """Retrieval: cosine similarity of frozen features, gallery = training part.

    Args:
        readout: what a clip's features are
        beside: features that stand beside the encoder's: random convolutions of the clip (of as much weight), or none
    """

    readout: ReadoutSettings = field(default_factory=ReadoutSettings)
    beside: Beside = "none"


@dataclass(kw_only=True)
class RobustnessSettings(LinearSettings):
    """Robustness: the linear protocol's head, trained on clean clips, on test clips that are corrupted more and more.

    Args:
        epochs: epochs of the head
        batch_size: clips of a step
        lr: learning rate, cosine to 0
        momentum: of SGD
        views: augmented views of each training clip that are encoded once and used in turn; 0 encodes a new one every
            epoch
        readout: what a clip's features are
        joints: shares of a body's joints that are missing throughout; [] leaves a corruption out
        parts: numbers of body parts that are missing throughout
        noise: standard deviations of Gaussian noise, in the store's units (metres in 3D)
        dropped: shares of the frames that are lost
        rate: multiples of the frame rate
        camera: angles in radians by which the camera is turned about the vertical
    """

    joints: list[float] = field(default_factory=lambda: [0.1, 0.25, 0.5, 0.75])
    parts: list[float] = field(default_factory=lambda: [1, 2, 3, 4])
    noise: list[float] = field(default_factory=lambda: [0.02, 0.05, 0.1, 0.2])
    dropped: list[float] = field(default_factory=lambda: [0.25, 0.5, 0.75, 0.9])
    rate: list[float] = field(default_factory=lambda: [0.5, 0.25, 0.125])
    camera: list[float] = field(default_factory=lambda: [0.25, 0.5, 1.0, 1.5])

    def __post_init__(self):
        super().__post_init__()
        within = {"joints": (0, 1), "dropped": (0, 1), "parts": (0, len(PARTS) - 1)}
        for kind, levels in self.levels().items():
            low, high = within.get(kind, (0, float("inf")))
            if not all(low < level <= high and level < float("inf") for level in levels):
                to = f" and at most {high}" if kind in within else ""
                raise ValueError(f"robustness: levels of {kind} must be above {low}{to}, not {levels}")
        if any(level != int(level) for level in self.parts):
            raise ValueError(f"robustness: levels of parts are whole numbers of body parts, not {self.parts}")
        if not any(self.levels().values()):
            raise ValueError("robustness: every list of levels is empty, so there is nothing to measure")

    def levels(self) -> dict[str, list[float]]:
        """Levels of each kind of corruption."""
        return {kind: getattr(self, kind) for kind in CORRUPTIONS}


@dataclass(kw_only=True)
class SemiSettings(FinetuneSettings):
    """Fine-tuning with few labels; a seed is a draw of them.

    Args:
        fraction: share of the training clips whose labels are used
        draw: stratified draws the fraction of each class, one clip at least; uniform of all clips together, as MAMP's
            code, so that classes have more or fewer, or none
        per_class: labels of each class, in place of a fraction; 0 takes the fraction
        labels: an earlier result file whose labelled clips are taken; then the seed decides the training alone
        test_every: epochs between scores of the test part, of which the best is reported beside the last; 0 has none
    """

    fraction: float = 0.1
    draw: Literal["stratified", "uniform"] = "stratified"
    per_class: int = 0
    labels: str | None = None
    test_every: int = 10

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.fraction <= 1:
            raise ValueError(f"semi.fraction must be above 0 and at most 1, not {self.fraction}")
        if self.per_class < 0:
            raise ValueError(f"semi.per_class must not be negative, not {self.per_class}")
        if self.labels is not None:
            warn_unused("semi", self, "where labels are given", "fraction", "draw", "per_class")
        elif self.per_class:
            warn_unused("semi", self, "where per_class is given", "fraction", "draw")

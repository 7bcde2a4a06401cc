"""Settings of training and of a run. Nothing here imports PyTorch: the command line reads them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

import yaml

from kinemask.arguments import Parser, read_settings
from kinemask.checks import check_not_negative, meant, warn_unused
from kinemask.nn.settings import HeadSettings, ReadoutSettings
from kinemask.pretext.methods import method
from kinemask.recipes import load_recipe
from kinemask.windows.settings import SamplingSettings

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "fp32", "bf16"]


@dataclass(kw_only=True)
class LoopSettings:
    """The loop, its optimizer and its schedule.

    Args:
        epochs: passes over the training part
        warmup_epochs: epochs of linear warm-up from 0 to lr
        batch_size: tracks of an optimizer step, over all processes and accumulated parts
        accumulate: parts that a process's share of the batch is cut into
        optimizer: adamw or sgd
        lr: highest learning rate
        min_lr: learning rate at the end of the cosine
        schedule: after the warm-up a cosine to min_lr, or steps down to a tenth at every milestone
        milestones: epochs at which schedule steps goes down
        weight_decay: on matrices only
        betas: of adamw
        momentum: of sgd
        clip_grad: largest gradient norm; 0 does not clip
        precision: bf16 is autocast; auto takes it where it pays (CUDA, and CPUs with AVX512-BF16 or AMX)
        compile: torch.compile what is trained; pays on CUDA
        log_every: optimizer steps between lines of metrics.jsonl; 0 writes one at the end of every epoch
        save_every: epochs between checkpoints
    """

    section: ClassVar[str]

    epochs: int = 400
    warmup_epochs: float = 20
    batch_size: int = 128
    accumulate: int = 1
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: float = 1e-3
    min_lr: float = 5e-4
    schedule: Literal["cosine", "steps"] = "cosine"
    milestones: tuple[int, ...] = ()
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.95)
    momentum: float = 0.9
    clip_grad: float = 0.0
    precision: Precision = "auto"
    compile: bool = False
    log_every: int = 10
    save_every: int = 10

    def __post_init__(self):
        self.betas, self.milestones = (self.betas[0], self.betas[1]), tuple(self.milestones)
        for name in ("epochs", "batch_size", "accumulate", "save_every"):
            if not 1 <= getattr(self, name) < math.inf:  # so NaN is refused too
                raise ValueError(f"{self.section}.{name} must be at least 1, not {getattr(self, name)}")
        for name in ("warmup_epochs", "lr", "min_lr", "weight_decay", "clip_grad", "log_every"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{self.section}.{name} must be a number, 0 or more, not {getattr(self, name)}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"{self.section}.momentum must be at least 0 and below 1, not {self.momentum}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"{self.section}.betas must be at least 0 and below 1, not {list(self.betas)}")
        unused = {"adamw": "momentum", "sgd": "betas", "cosine": "milestones", "steps": "min_lr"}
        warn_unused(self.section, self, f"with optimizer {self.optimizer}", unused[self.optimizer])
        warn_unused(self.section, self, f"with schedule {self.schedule}", unused[self.schedule])


@dataclass(kw_only=True)
class TrainingSettings(LoopSettings):
    """Pre-training. Batches and epochs count body tracks.

    Args:
        accumulate: parts that a process's share of the batch is cut into; contrast then sees one part at a time
        device: auto takes CUDA where there is one
        snapshot_every: epochs between encoders that are kept (encoder-epochNNNN.safetensors); 0 keeps none
        init_from: a run's folder, an encoder file, or the name of an encoder in the package, whose weights the encoder
            starts from
        weights: of several stores, how often each is drawn, a number for each; each batch is then of one store. By
            default stores of one layout are one set, and of several layouts each is drawn as often as it has tracks
    """

    section: ClassVar[str] = "training"

    device: Device = "auto"
    snapshot_every: int = 0
    init_from: str | None = None
    weights: list[float] = field(default_factory=list)

    def __post_init__(self):
        super().__post_init__()
        if not all(0 < weight < math.inf for weight in self.weights):
            raise ValueError(f"training.weights must be positive numbers, not {self.weights}")
        if not 0 <= self.snapshot_every < math.inf:
            raise ValueError(f"training.snapshot_every must be a number, 0 or more, not {self.snapshot_every}")


@dataclass(kw_only=True)
class FinetuneSettings(LoopSettings):
    """Fine-tuning. Batches and epochs count clips.

    Args:
        epochs: passes over the labelled training clips
        batch_size: most clips of a step
        layer_decay: a block's learning rate as a multiple of the next one's; by default 0.8 from a run, 1 from scratch
        drop_path: chance of skipping a half of the last block in training; less below, none in the first block
        label_smoothing: share of a label that goes to all classes alike
        test_every: epochs between scores of the test part, of which the best is reported beside the last; 0 has none
        head: the classifier's head
    """

    section: ClassVar[str] = "finetune"

    epochs: int = 100
    warmup_epochs: float = 5
    batch_size: int = 48
    lr: float = 3e-4
    min_lr: float = 1e-5
    betas: tuple[float, float] = (0.9, 0.999)
    log_every: int = 0
    layer_decay: float | None = None
    drop_path: float = 0.3
    label_smoothing: float = 0.1
    test_every: int = 1
    head: HeadSettings = field(default_factory=HeadSettings)

    def __post_init__(self):
        super().__post_init__()
        check_not_negative("finetune", self, "test_every")
        if self.layer_decay is not None and not 0 < self.layer_decay < math.inf:
            raise ValueError(f"finetune.layer_decay must be positive, not {self.layer_decay}")
        if self.batch_size < 2:
            raise ValueError(f"finetune.batch_size must be at least 2, for batch normalisation, not {self.batch_size}")
        for name in ("drop_path", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"finetune.{name} must be at least 0 and below 1, not {getattr(self, name)}")


@dataclass(kw_only=True)
class LinearSettings:
    """A linear classifier on frozen features.

    Args:
        epochs: epochs of the head
        batch_size: clips of a step
        lr: learning rate, cosine to 0
        momentum: of SGD
        views: augmented views of each training clip that are encoded once and used in turn; 0 encodes a new one every
            epoch, as the papers do
        readout: what a clip's features are
    """

    epochs: int = 100
    batch_size: int = 128
    lr: float = 0.1
    momentum: float = 0.9
    views: int = 8
    readout: ReadoutSettings = field(default_factory=ReadoutSettings)

    def __post_init__(self):
        if self.epochs < 1 or self.batch_size < 2 or self.views < 0:
            raise ValueError("linear: epochs must be at least 1, batch_size at least 2, views at least 0")
        if not 0 <= self.lr < math.inf:
            raise ValueError(f"linear: lr must be a number, 0 or more, not {self.lr}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"linear: momentum must be at least 0 and below 1, not {self.momentum}")


# sections of a recipe that change what protocols do by default
PROTOCOL_SECTIONS = {"linear": LinearSettings, "finetune": FinetuneSettings}


@dataclass(kw_only=True)
class Settings:
    """Everything that a pre-training run depends on.

    linear, finetune: what the recipe changes of these protocols' defaults, as plain values.

    Args:
        data: the store to learn from, or several
        split: a split of the store; its training part is used. all: every clip. Several stores have one together, or
            one each, joined by +
        seed: of weights, order, crops, rotations and masks
    """

    method: str
    data: list[str]
    split: str
    seed: int = 0
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    encoder: Any
    decoder: Any
    pretext: Any
    training: TrainingSettings = field(default_factory=TrainingSettings)
    linear: dict[str, Any] = field(default_factory=dict)
    finetune: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        if list(self.encoder.streams) != ["joint"] and self.sampling.stream != "joint":
            raise ValueError(
                f"encoder.streams are made of positions, so sampling.stream must be joint, not {self.sampling.stream}"
            )
        spaces = getattr(self.encoder, "space", None), getattr(self.pretext, "target_space", None)
        if spaces[0] == "euclidean" and "poincare" not in spaces:
            warn_unused("encoder", self.encoder, "in euclidean space", "curvature", "projection", "epsilon")

    @classmethod
    def from_recipe(cls, recipe: str, values: Mapping[str, Any]) -> Settings:
        """Of a recipe, with `data`, `split` and whatever else differs from it, nested or by dotted name.

        Raises ValueError for an unknown recipe or setting, and for a value of the wrong type.
        """
        if isinstance(stores := values.get("data", []), str):
            values = {**values, "data": [stores]}
        content, parser = recipe_parser(recipe)
        return cls.of(content, parser.parse(values))

    @classmethod
    def of(cls, recipe: Mapping[str, Any], parsed: Any) -> Settings:
        """Of a recipe's content and what its parser made of everything that may be given beside."""
        own = {name: recipe.get(name, {}) for name in PROTOCOL_SECTIONS}
        given = {name: parsed[name] for name in ("data", "split", "seed", *_sections(recipe["method"]))}
        return cls(method=recipe["method"], **given, **own)

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> Settings:
        """From the plain values of config.yaml; ValueError for those of a fine-tuned run."""
        if "pretext" not in config:
            raise ValueError("this run was fine-tuned on labels, so it has no pretext task")
        plain = {k: config[k] for k in ("method", "data", "split", "seed")}
        own = {name: config.get(name, {}) for name in PROTOCOL_SECTIONS}
        sections = {name: make(**config[name]) for name, make in _sections(config["method"]).items()}
        return cls(**plain, **sections, **own)

    def to_dict(self) -> dict[str, Any]:
        """Plain nested values, as in config.yaml."""
        return yaml.safe_load(yaml.safe_dump(_plain(asdict(self))))


def recipe_parser(name: str, command: str = "", about: str = "") -> tuple[dict[str, Any], Parser]:
    """A recipe's content, and a parser of everything that may be given beside it: its values are the defaults.

    Raises ValueError, which names file and key, for a recipe with a setting that is unknown or does not fit.
    """
    recipe = load_recipe(name)
    try:
        sections = _sections(recipe["method"])
        names = ["title", "method", "seed", *sections, *PROTOCOL_SECTIONS]
        for key, value in recipe.items():
            if key not in names:
                raise ValueError(f"unknown setting {key!r}{meant(key, names)}")
            if key not in ("title", "method", "seed") and not isinstance(value, dict):
                raise ValueError(f"{key} must be a mapping of settings, not {value!r}")
        parser = Parser(command, about)
        for section, settings in sections.items():
            parser.add_section(settings, section)
        parser.set_usual({k: v for k, v in recipe.items() if k in sections})
        for section, settings in PROTOCOL_SECTIONS.items():
            _check_section(section, settings, recipe.get(section, {}))
    except ValueError as error:
        raise ValueError(f"recipe {name}: {error}") from None
    parser.add_section(Settings, skip={"method", *sections, *PROTOCOL_SECTIONS})
    parser.set_defaults(seed=recipe.get("seed", 0))
    return recipe, parser


def _sections(name: str) -> dict[str, type]:
    """The settings of a method's runs, by section."""
    chosen = method(name)
    return {
        "sampling": SamplingSettings,
        "encoder": chosen.encoder_settings,
        "decoder": chosen.decoder_settings,
        "pretext": chosen.settings,
        "training": TrainingSettings,
    }


def _check_section(section: str, settings: type, values: Mapping[str, Any]) -> None:
    own = {k: v for k, v in values.items() if k != "sampling"}
    try:
        read_settings(settings, own)
        read_settings(SamplingSettings, values.get("sampling", {}))
    except ValueError as error:
        raise ValueError(f"{section}: {error}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value

"""Settings of a run: typed sections, and one strict parser for recipes, Python and the command line."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from typing import Any, Literal, cast

import yaml
from jsonargparse import ArgumentParser, Namespace

from kinemask.checks import check_not_negative, check_positive, warn_unused
from kinemask.nn.settings import HeadSettings
from kinemask.pretext import method
from kinemask.windows.settings import SamplingSettings

Device = Literal["auto", "cpu", "cuda"]


@dataclass(kw_only=True)
class TrainingSettings:
    """The loop. Batches and epochs count body tracks.

    Args:
        epochs: passes over the training tracks
        warmup_epochs: epochs of linear warm-up from 0 to lr
        batch_size: tracks of an optimizer step, over all processes and accumulated parts
        accumulate: parts that a process's share of the batch is cut into; contrast then sees one part at a time
        lr: highest learning rate
        min_lr: learning rate at the end of the cosine
        weight_decay: of AdamW, on matrices only
        betas: of AdamW
        clip_grad: largest gradient norm; 0 does not clip
        precision: bf16 is autocast; auto takes it where it pays (CUDA, and CPUs with AVX512-BF16 or AMX)
        compile: torch.compile the task; pays on CUDA
        device: auto takes CUDA where there is one
        log_every: optimizer steps between lines of metrics.jsonl
        save_every: epochs between checkpoints
        snapshot_every: epochs between encoders that are kept (encoder-epochNNNN.safetensors); 0 keeps none
        init_from: a run's folder, or an encoder file, whose weights the encoder starts from
    """

    epochs: int = 400
    warmup_epochs: float = 20
    batch_size: int = 128
    accumulate: int = 1
    lr: float = 1e-3
    min_lr: float = 5e-4
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.95)
    clip_grad: float = 0.0
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: bool = False
    device: Device = "auto"
    log_every: int = 10
    save_every: int = 10
    snapshot_every: int = 0
    init_from: str | None = None

    def __post_init__(self):
        self.betas = (self.betas[0], self.betas[1])
        for name in ("epochs", "batch_size", "accumulate", "log_every", "save_every"):
            if not 1 <= getattr(self, name) < math.inf:  # so NaN is refused too
                raise ValueError(f"training.{name} must be at least 1, not {getattr(self, name)}")
        for name in ("warmup_epochs", "lr", "min_lr", "weight_decay", "clip_grad", "snapshot_every"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"training.{name} must be a number, 0 or more, not {getattr(self, name)}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"training.betas must be at least 0 and below 1, not {list(self.betas)}")


@dataclass(kw_only=True)
class FinetuneSettings:
    """Fine-tuning.

    Args:
        epochs: passes over the labelled training clips
        batch_size: most clips of a step
        optimizer: adamw or sgd
        lr: highest learning rate
        min_lr: learning rate at the end of the cosine
        warmup_epochs: epochs of linear warm-up from 0 to lr
        schedule: after the warm-up a cosine to min_lr, or steps down to a tenth at every milestone
        milestones: epochs at which schedule steps goes down
        weight_decay: on matrices only
        betas: of adamw
        momentum: of sgd
        layer_decay: a block's learning rate as a multiple of the next one's; by default 0.8 from a run, 1 from scratch
        drop_path: chance of skipping a half of the last block in training; less below, none in the first block
        label_smoothing: share of a label that goes to all classes alike
        test_every: epochs between scores of the test part, of which the best is reported beside the last; 0 has none
        head: the classifier's head
    """

    epochs: int = 100
    batch_size: int = 48
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: float = 3e-4
    min_lr: float = 1e-5
    warmup_epochs: float = 5
    schedule: Literal["cosine", "steps"] = "cosine"
    milestones: tuple[int, ...] = ()
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = 0.9
    layer_decay: float | None = None
    drop_path: float = 0.3
    label_smoothing: float = 0.1
    test_every: int = 1
    head: HeadSettings = field(default_factory=HeadSettings)

    def __post_init__(self):
        self.betas, self.milestones = (self.betas[0], self.betas[1]), tuple(self.milestones)
        check_positive("finetune", self, "epochs", "lr")
        check_not_negative("finetune", self, "min_lr", "warmup_epochs", "weight_decay", "test_every")
        if self.batch_size < 2:
            raise ValueError(f"finetune.batch_size must be at least 2, for batch normalisation, not {self.batch_size}")
        for name in ("momentum", "drop_path", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"finetune.{name} must be at least 0 and below 1, not {getattr(self, name)}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"finetune.betas must be at least 0 and below 1, not {list(self.betas)}")
        unused = {"adamw": "momentum", "sgd": "betas", "cosine": "milestones", "steps": "min_lr"}
        warn_unused("finetune", self, f"with optimizer {self.optimizer}", unused[self.optimizer])
        warn_unused("finetune", self, f"with schedule {self.schedule}", unused[self.schedule])


@dataclass(kw_only=True)
class Settings:
    """Everything that a pre-training run depends on."""

    method: str
    data: str
    split: str
    seed: int = 0
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    encoder: Any
    decoder: Any
    pretext: Any
    training: TrainingSettings = field(default_factory=TrainingSettings)

    def to_dict(self) -> dict[str, Any]:
        """Plain nested values, as in config.yaml."""
        return yaml.safe_load(yaml.safe_dump(_plain(asdict(self))))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


def build_parser(recipe_name: str, recipe: Mapping[str, Any], **options: Any) -> ArgumentParser:
    """The parser of `pretrain` for one recipe: its method's sections, with the recipe's values as defaults."""
    chosen = method(recipe["method"])
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False, **options)
    parser.add_argument("--recipe", required=True, help="a recipe's name (kinemask recipes), or a .yaml file")
    parser.add_argument("--data", type=str, required=True, help="the store to learn from")
    parser.add_argument(
        "--split",
        type=str,
        required=True,
        help="a split of the store; its training part is used. all: every clip",
    )
    parser.add_argument("--out", type=str, help="folder of the run (default: runs/RECIPE-STORE-SPLIT-seedN)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order, crops, rotations and masks")
    parser.epilog = "--print_config prints all settings, resolved, and stops"
    sections: dict[str, type] = {
        "sampling": SamplingSettings,
        "encoder": chosen.encoder_settings,
        "decoder": chosen.decoder_settings,
        "pretext": chosen.settings,
        "training": TrainingSettings,
    }
    for name, section in sections.items():
        parser.add_class_arguments(section, name)
    known = {*sections, "seed", "method", "title"}
    if unknown := sorted(set(recipe) - known):
        raise ValueError(f"recipe {recipe_name}: unknown setting {unknown[0]!r}; known: {', '.join(sorted(known))}")
    defaults = {k: v for k, v in recipe.items() if k not in ("method", "title")}
    if flat := sorted(k for k in sections if not isinstance(defaults.get(k, {}), dict)):
        raise ValueError(f"recipe {recipe_name}: {flat[0]} must be a mapping of settings, not {defaults[flat[0]]!r}")
    try:
        parser.parse_object(Namespace(**defaults, recipe=recipe_name, data="", split="").as_dict())
        parser.set_defaults(flatten(defaults))
    except Exception as error:
        raise ValueError(f"recipe {recipe_name}: {_short(error)}") from None
    return parser


def parse_with(
    recipe_name: str,
    recipe: Mapping[str, Any],
    arguments: Sequence[str] | None,
    overrides: Mapping[str, Any] | None = None,
) -> tuple[Settings, Namespace]:
    """Settings of a recipe, from command-line arguments or from dotted overrides: (Settings, Namespace).

    Unknown settings and values of the wrong type raise ValueError.
    """
    parser = build_parser(recipe_name, recipe, prog="kinemask pretrain", description="Pre-train a method on a store.")
    try:
        if arguments is None:
            values = parser.parse_object(nest({"recipe": recipe_name, **(overrides or {})}))
        else:
            values = read_arguments(parser, arguments)
        return _settings(recipe["method"], instantiate(parser, values)), values
    except Exception as error:  # jsonargparse wraps a section's own ValueError
        raise ValueError(_short(error) + _meant(parser, overrides or ())) from None


def instantiate(parser: ArgumentParser, values: Namespace) -> Namespace:
    """Sections of settings as instances of their types."""
    make = getattr(parser, "instantiate", None) or parser.instantiate_classes  # its name before 4.50
    return cast(Namespace, make(values))


def read_arguments(parser: ArgumentParser, arguments: Sequence[str]) -> Namespace:
    """What a parser makes of command-line arguments; raises ValueError, with the settings that may be meant."""
    try:
        return parser.parse_args(list(arguments))
    except Exception as error:
        names = [a[2:].split("=")[0] for a in arguments if a.startswith("--")]
        raise ValueError(_short(error) + _meant(parser, names)) from None


def _meant(parser: ArgumentParser, names: Iterable[str]) -> str:
    """A question for the first name that is no setting but resembles some; else nothing."""
    known = list(parser.get_defaults().keys())
    for name in names:
        same_end = [k for k in known if k.split(".")[-1] == name.split(".")[-1]]
        if name not in known and (close := same_end or get_close_matches(name, known, 1)):
            return f"; did you mean {' or '.join(close)}?"
    return ""


def _settings(name: str, values: Namespace) -> Settings:
    sections = {k: values[k] for k in ("sampling", "encoder", "decoder", "pretext", "training")}
    return Settings(method=name, data=values.data, split=values.split, seed=values.seed, **sections)


def from_dict(config: Mapping[str, Any]) -> Settings:
    """Settings from the plain values of config.yaml; ValueError for those of a fine-tuned run."""
    if "pretext" not in config:
        raise ValueError("this run was fine-tuned on labels, so it has no pretext task")
    chosen = method(config["method"])
    return Settings(
        **{k: config[k] for k in ("method", "data", "split", "seed")},
        sampling=SamplingSettings(**config["sampling"]),
        encoder=chosen.encoder_settings(**config["encoder"]),
        decoder=chosen.decoder_settings(**config["decoder"]),
        pretext=chosen.settings(**config["pretext"]),
        training=TrainingSettings(**config["training"]),
    )


def _short(error: BaseException) -> str:
    text = str(error).strip()
    return text or type(error).__name__


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted names."""
    out: dict[str, Any] = {}
    for k, v in tree.items():
        out |= flatten(v, f"{prefix}{k}.") if isinstance(v, Mapping) else {prefix + k: v}
    return out


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by dotted names, nested."""
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        *path, last = name.split(".")
        branch = tree
        for part in path:
            branch = branch.setdefault(part, {})
        branch[last] = value
    return tree

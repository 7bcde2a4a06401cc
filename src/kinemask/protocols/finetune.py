"""Fine-tuning protocol: encoder and classifier are trained on labelled clips; without a run, from random weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from kinemask import __version__
from kinemask.checks import check_not_negative, check_positive, warn_unused
from kinemask.draws import key
from kinemask.models.classifiers import TrainedClassifier, build_classifier, load_classifier
from kinemask.nn.encoder import Encoder
from kinemask.nn.settings import HeadSettings
from kinemask.pretext import Method
from kinemask.protocols.case import Case, Protocol, Scored, as_control, raw_neighbour, with_defaults
from kinemask.protocols.features import Part
from kinemask.runs.checkpoint import claim_run
from kinemask.runs.log import read_metrics
from kinemask.runs.results import Outcome, hash8
from kinemask.training.finetuning import Finetuning
from kinemask.training.loop import bf16_pays, precision, run_job
from kinemask.windows.sampling import Sampler


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
        layer_decay: a block's learning rate as a multiple of the next one's; 1, the default without a run, is one rate
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
    layer_decay: float = 0.8
    drop_path: float = 0.3
    label_smoothing: float = 0.1
    test_every: int = 1
    head: HeadSettings = field(default_factory=HeadSettings)

    def __post_init__(self):
        self.betas, self.milestones = (self.betas[0], self.betas[1]), tuple(self.milestones)
        check_positive("finetune", self, "epochs", "lr", "layer_decay")
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


@dataclass(frozen=True)
class TrainedProtocol(Protocol):
    """Fine-tuning on a part's clips, or on those at the positions that `choose` names for settings and a seed."""

    choose: Callable[[Case, Any, int], np.ndarray] | None = None
    seeds: tuple[int, ...] = (0,)

    trains: ClassVar[bool] = True

    def settings_of(self, chosen: Method, scratch: bool) -> type:
        changes = {**chosen.finetune, **({"layer_decay": 1.0} if scratch else {})}
        usual = changes.pop("head", {})
        head = ("head", HeadSettings, field(default_factory=lambda: HeadSettings(**usual)))
        return with_defaults(self.settings, changes, head)

    def keys(self, case: Case, settings: Any, seed: int) -> dict[str, Any]:
        if self.choose is None:
            return {}
        clips = case.train.clips[self.choose(case, settings, seed)]
        return {"labels": [case.store.names[i] for i in clips]}

    def score(self, case: Case, settings: Any, seeds: Sequence[int], controls: bool) -> Iterator[Scored]:
        train = case.train
        shared = raw_neighbour(case, train) if controls and self.choose is None else None
        for seed in seeds:
            if self.choose is not None:
                clips = case.train.clips[self.choose(case, settings, seed)]
                train = Part.of(case.store, clips, "training", case.world.device, case.model.sampling.missing)
            folder = case.out and (case.out if len(seeds) == 1 else case.out / f"seed{seed}")
            outcome, folder = finetune(case, train, settings, seed, folder)
            control = (shared or raw_neighbour(case, train)) if controls else None
            if control and case.origin is not None:
                plain = replace(settings, layer_decay=1.0)
                scratch, _ = finetune(case, train, plain, seed, case.out and folder / "from-scratch", scratch=True)
                control = as_control("from_scratch", scratch.scores, case) | control
            yield Scored(outcome, training_seconds(folder, len(train.clips)), control, case.run or folder)


def finetune(
    case: Case, train: Part, settings: Any, seed: int, folder: Path | None, scratch: bool = False
) -> tuple[Outcome, Path]:
    """Train, or go on, or find finished: the outcome on the test part and the run's folder.

    scratch: from random weights. folder: by default one in RUN/finetune, named after everything that decides it.
    """
    store, record = case.store, case.model.record
    config: dict[str, Any] = {
        "method": record["method"],
        "protocol": "finetune",
        "data": str(store.path),
        "split": case.split,
        "seed": seed,
        "origin": None if scratch else case.origin,
        "layout": store.layout.name,
        "sampling": asdict(case.model.sampling),
        "encoder": asdict(case.model.encoder.settings),
        "finetune": asdict(settings),
        "training_clips": hash8({"names": [store.names[i] for i in train.clips]}),
        "store": store.identity,
        "precision": precision(case.world.device),
        "version": __version__,
    }
    config = json.loads(json.dumps(config))
    if folder is None:
        hashed = hash8({k: v for k, v in config.items() if k != "data"})
        folder = (case.run or Path("runs")) / "finetune" / f"{store.path.resolve().name}-{case.split}-{hashed}"
    encoder, details = start(case, seed, scratch or case.origin is None)
    classifier = build_classifier(encoder, len(store.classes), settings.head)
    about = {"method": record["method"], "pretraining": None if config["origin"] is None else record}
    model = TrainedClassifier(classifier, case.model.sampling, store.classes, about)
    scores = None
    if (folder / "classifier.safetensors").is_file():
        claim_run(folder, config)
        model = load_classifier(folder, case.world.device)
    else:
        job = Finetuning(model, encoder, store, train, case.test, settings, config, case.world)
        run_job(job, folder, case.world, case.quiet)
        scores = job.scores
        if scratch and case.world.main:  # a control is not gone on with
            for name in ("last.pt", "previous.pt"):
                (folder / name).unlink(missing_ok=True)
    if scores is None:
        with torch.autocast(case.world.device.type, torch.bfloat16, enabled=bf16_pays(case.world.device)):
            scores = model.eval().scores(Sampler(case.test.tracks, model.sampling))
    measured = [line["test_accuracy"] for line in read_metrics(folder) if "test_accuracy" in line]
    best = max(measured, default=None) if settings.test_every else None
    details |= {"training_clips": len(train.clips), "weights": str(folder)}
    return Outcome(scores.cpu(), best, details), folder


def start(case: Case, seed: int, scratch: bool) -> tuple[Encoder, dict[str, Any]]:
    """The encoder that fine-tuning starts from, for the store's layout, and what to say of the move to another one."""
    model, layout = case.model, case.store.layout
    torch.manual_seed(key(seed, "weights"))
    if scratch:
        return model.encoder.fresh(layout, model.sampling.frames), {}
    if model.layout.to_dict() == layout.to_dict():
        return deepcopy(model.encoder), {}
    moved, matched = model.encoder.transfer(layout, model.sampling.frames)
    kept = [layout.joints[j] for j in moved.joints]
    new = [name for name in kept if name not in matched]
    return moved, {"moved_from": model.layout.name, "joints_matched": matched, "joints_new": new}


def training_seconds(folder: Path, clips: int) -> float:
    """Seconds of training on so many clips, by the log of the run: without scoring, and over all its interruptions."""
    total, before = 0.0, 0
    for line in read_metrics(folder):
        per_step = round(clips * line["epoch"] / line["step"])
        total += (line["step"] - before) * per_step / line["clips_per_second"]
        before = line["step"]
    return total

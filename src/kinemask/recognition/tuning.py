"""Fine-tuning an encoder on labelled clips: once without each fold, to see what it is worth, and once on all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from kinemask.models.classifiers import TrainedClassifier, load_classifier
from kinemask.models.encoders import find, load_encoder
from kinemask.nn.settings import HeadSettings
from kinemask.protocols.case import Case
from kinemask.protocols.finetune import Finetuned, configuration, drop_checkpoints, finetune, hash_of, make_job
from kinemask.recognition.assessment import Fold
from kinemask.recognition.labels import Labelled
from kinemask.recognition.text import duration
from kinemask.recognition.tuned import logarithms
from kinemask.store.format import EVERY, sha256
from kinemask.training.distributed import World, choose_device
from kinemask.training.loop import pace
from kinemask.training.settings import Device, FinetuneSettings
from kinemask.windows.parts import Part

STEPS = 300  # of each fine-tuning
_WARMUP = 0.05  # of all steps
_CLIPS = 48  # of a step, at most
_HEAD = HeadSettings(hidden=256)


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """How an encoder, a run or a file, is fine-tuned. out: folder of the runs; say: takes sentences."""

    encoder: Path
    out: Path
    seed: int = 0
    device: Device = "auto"
    say: Callable[[str], None] = field(default=lambda text: None)
    quiet: bool = True

    def over(self, labelled: Labelled, folds: Sequence[Fold]) -> CrossTuned:
        """Fine-tune without each fold of the training clips, or find that done; says how long it takes before.

        Raises Stopped, and what training raises.
        """
        world, store = World.alone(choose_device(self.device)), labelled.store
        model = load_encoder(self.encoder, world.device)
        every, origin = Part(store, labelled.train, world.device, model.sampling.missing), sha256(self._file)
        case = Case(model, store, labelled.split or EVERY, every, every, None, origin, None, world, self.quiet)
        made = CrossTuned(self, case, labelled)
        self._announce(made, folds)
        for number, fold in enumerate(folds):
            made.without(number, fold)
        return made

    @property
    def _file(self) -> Path:
        return find(self.encoder, "encoder")

    def _announce(self, made: CrossTuned, folds: Sequence[Fold]) -> None:
        left = [number for number in range(len(folds)) if not made.is_done(f"fold{number}")]
        if not left:
            self.say(f"the encoder is fine-tuned already, without each of {len(folds)} folds")
            return
        case, settings = made.case, made.settings(len(made.case.train.clips))
        seconds = STEPS * pace(make_job(case, case.train, settings, self.seed, made.config)[0], case.world)
        self.say(
            f"fine-tuning the encoder without each of {len(folds)} folds, and on all clips if that helps: {STEPS} steps"
            f" each, {duration((len(left) + 1) * seconds)} at most on this machine; kept in {made.folder}, so that the"
            " same command resumes"
        )


class CrossTuned:
    """Fine-tuned encoders of a recogniser, as `fitting.FineTuning` describes them. case: the encoder, and all clips.

    config: of the run on all clips. The folder of the runs has its hash, so that whatever decides numbers, the code and
    the precision among it, makes others.
    """

    def __init__(self, tuning: Tuning, case: Case, labelled: Labelled):
        self.tuning, self.case = tuning, case
        self.config = configuration(case, case.train, self.settings(len(case.train.clips)), tuning.seed, False)
        self.folder = tuning.out / f"finetuned-{hash_of(self.config)}"
        classes = [labelled.store.classes.index(name) for name in labelled.classes]
        self.columns = torch.tensor(classes, device=case.world.device)
        self.left_out = torch.zeros(len(labelled.train), len(classes), device=case.world.device)

    def settings(self, clips: int) -> FinetuneSettings:
        """For a number of training clips: as many epochs as make the steps."""
        epochs = max(1, round(STEPS / max(1, -(-clips // _CLIPS))))
        schedule = {"epochs": epochs, "warmup_epochs": _WARMUP * epochs, "batch_size": _CLIPS, "save_every": epochs}
        return FinetuneSettings(**schedule, layer_decay=0.8, test_every=0, head=_HEAD)

    def is_done(self, name: str) -> bool:
        return (self.folder / name / "classifier.safetensors").is_file()

    def without(self, number: int, fold: Fold) -> None:
        """Fine-tune on a fold's training clips, and score the others."""
        every = self.case.train
        found = self._train(f"fold{number}", every.subset(fold.train), every.subset(fold.test)).outcome.scores
        self.left_out[torch.from_numpy(fold.test)] = logarithms(found.to(self.columns.device), self.columns)

    def on_all(self) -> tuple[TrainedClassifier, Tensor]:
        """As `fitting.FineTuning`."""
        self.tuning.say("fine-tuning helps on clips left out: now the encoder learns from all of them")
        done = self._train("all", self.case.train, self.case.train)
        return load_classifier(done.folder, self.case.world.device), self.columns

    def _train(self, name: str, train: Part, test: Part) -> Finetuned:
        case, settings = replace(self.case, train=train, test=test), self.settings(len(train.clips))
        done = finetune(case, train, settings, self.tuning.seed, self.folder / name)
        drop_checkpoints(done.folder)
        return done

"""Fine-tuning protocol: encoder and classifier are trained on labelled clips; without a run, from random weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from kinemask.draws import key
from kinemask.models.classifiers import TrainedClassifier, build_classifier, load_classifier
from kinemask.nn.encoder import Encoder
from kinemask.protocols.baselines import Baselines
from kinemask.protocols.case import Case, Done, Outcome
from kinemask.runs.result import Transfer, hash8
from kinemask.runs.run import Run
from kinemask.training.finetuning import Finetuning
from kinemask.training.loop import autocast, precision, run_job
from kinemask.training.settings import FinetuneSettings
from kinemask.version import NUMERICS
from kinemask.windows.parts import Part
from kinemask.windows.sampler import Sampler
from kinemask.windows.settings import TEST_VIEW

Choose = Callable[[Case, Any, int], Part]


def part(case: Case, settings: FinetuneSettings, seed: int) -> Part:
    """What a seed is trained on: the whole training part."""
    return case.train


def score(
    case: Case, settings: FinetuneSettings, seeds: Sequence[int], baselines: bool, choose: Choose = part
) -> Iterator[Done]:
    """Fine-tuning for each seed, on the part that `choose` gives.

    Baselines: the same from scratch, and those without an encoder, with the same labels.
    """
    plain = Baselines(case.train, case.test, len(case.store.classes)) if baselines else None
    for seed in seeds:
        train = choose(case, settings, seed)
        done = finetune(case, train, settings, seed, seed_folder(case.out, seed, len(seeds) > 1))
        beside = {}
        if plain is not None:
            if case.origin is not None:
                own = case.out and done.folder / "from-scratch"
                scratch = finetune(case, train, settings, seed, own, scratch=True)
                beside["from_scratch"] = case.baseline(scratch.outcome)
            for name, baseline in plain.fit(train, seed).items():
                outcome = Outcome(baseline.scores(baseline.test.tracks).cpu())
                beside[name] = case.baseline(outcome, baseline.align)
        yield Done(
            outcome=done.outcome,
            seconds=Run(done.folder).training_seconds() or 0.0,
            baselines=beside,
            folder=case.run.path if case.run else done.folder,
            training_clips=len(train.clips),
            labels=None if train is case.train else train.names,
            transfer=done.transfer,
            weights=str(done.folder),
        )


def seed_folder(out: Path | None, seed: int, several: bool) -> Path | None:
    """Where a seed's fine-tuned run goes, if a folder was given."""
    return out / f"seed{seed}" if out is not None and several else out


@dataclass(frozen=True, eq=False)
class Finetuned:
    """What a fine-tuning came to, and where its weights are."""

    outcome: Outcome
    folder: Path
    transfer: Transfer | None


def resolved(settings: FinetuneSettings, fresh: bool, scratch: bool) -> FinetuneSettings:
    """With the layer decay that applies; scratch: as the control of a run, whatever the run takes."""
    if scratch or (fresh and settings.layer_decay is None):
        return replace(settings, layer_decay=1.0)
    return settings if settings.layer_decay is not None else replace(settings, layer_decay=0.8)


def trained_folder(case: Case, train: Part, settings: FinetuneSettings, seed: int) -> Path:
    """Where `finetune` trains a case's encoder where no folder is given."""
    fresh = case.origin is None
    return default_folder(case, configuration(case, train, resolved(settings, fresh, False), seed, fresh))


def configuration(case: Case, train: Part, settings: FinetuneSettings, seed: int, scratch: bool) -> dict[str, Any]:
    """config.yaml of a fine-tuned run: everything that decides it, and what its log saw of the test clips."""
    store, record = case.store, case.model.record
    sampling = asdict(case.model.sampling)
    config: dict[str, Any] = {
        "method": record["method"],
        "protocol": "finetune",
        "data": [str(store.path)],
        "split": case.split,
        "seed": seed,
        "origin": None if scratch else case.origin,
        "layout": store.layout.name,
        "sampling": {name: value for name, value in sampling.items() if name not in TEST_VIEW},
        "test_view": {name: sampling[name] for name in TEST_VIEW},
        "architecture": case.model.encoder.architecture,
        "encoder": asdict(case.model.encoder.settings),
        "finetune": asdict(settings),
        "training_clips": hash8({"names": train.names}),
        "store": store.identity,
        "precision": precision(case.world.device, settings.precision),
        "numerics": NUMERICS,
    }
    return json.loads(json.dumps(config))


def default_folder(case: Case, config: dict[str, Any]) -> Path:
    """RUN/finetune/STORE-SPLIT-HASH, or runs/finetune/… without a run."""
    base = case.run.path if case.run else Path("runs")
    return base / "finetune" / f"{case.store.path.resolve().name}-{case.split}-{hash_of(config)}"


def hash_of(config: dict[str, Any]) -> str:
    """Of what decides a fine-tuned run's weights, wherever its store lies."""
    return hash8({k: v for k, v in config.items() if k not in ("data", "test_view")})


def finetune(
    case: Case, train: Part, settings: FinetuneSettings, seed: int, folder: Path | None, scratch: bool = False
) -> Finetuned:
    """Train, or resume, or find finished. scratch: from random weights; folder: `default_folder` unless given.

    What is finished is scored on the view of the test clips that is asked for; the best epoch is known of its own.
    """
    fresh = scratch or case.origin is None
    settings = resolved(settings, fresh, scratch)
    config = configuration(case, train, settings, seed, fresh)
    folder = default_folder(case, config) if folder is None else folder
    job, transfer = make_job(case, train, settings, seed, config)
    model, scores = job.model, None
    if (folder / "classifier.safetensors").is_file():
        Run(folder).claim(config)
        model = load_classifier(folder, case.world.device)
        model.sampling = case.model.sampling
    else:
        run_job(job, folder, case.world, case.quiet)
        scores = job.scores
        if scratch and case.world.main:  # nobody resumes a baseline
            drop_checkpoints(folder)
    if scores is None:
        with autocast(case.world.device, settings.precision):
            scores = model.eval().scores(Sampler(case.test.tracks, model.sampling))
    measured = [100 * line["test_accuracy"] for line in Run(folder).metrics() if "test_accuracy" in line]
    logged = settings.test_every and Run(folder).config.get("test_view") == config["test_view"]
    best = max(measured, default=None) if logged else None
    return Finetuned(Outcome(scores.cpu(), best), folder, transfer)


def drop_checkpoints(run: Path) -> None:
    """Remove what a finished run could go on from; its weights stay."""
    for name in ("last.pt", "previous.pt"):
        (run / name).unlink(missing_ok=True)


def make_job(
    case: Case, train: Part, settings: FinetuneSettings, seed: int, config: dict[str, Any]
) -> tuple[Finetuning, Transfer | None]:
    """The job that a configuration describes, its settings resolved, and what there is to say of another layout."""
    fresh = config["origin"] is None
    encoder, transfer = start(case, seed, fresh)
    classifier = build_classifier(encoder, len(case.store.classes), settings.head)
    before = {"pretraining": None if fresh else case.model.record}
    model = TrainedClassifier(classifier, case.model.sampling, case.store.classes, before)
    return Finetuning(model, encoder, train, case.test, settings, config, case.world), transfer


def start(case: Case, seed: int, scratch: bool) -> tuple[Encoder, Transfer | None]:
    """The encoder that fine-tuning starts from, for the store's layout, and what there is to say of a move to it."""
    model, layout = case.model, case.store.layout
    torch.manual_seed(key(seed, "weights"))
    if scratch:
        return model.encoder.fresh(layout, model.sampling.frames), None
    if model.layout.to_dict() == layout.to_dict():
        return deepcopy(model.encoder), None
    moved, matched = model.encoder.transfer(layout, model.sampling.frames)
    kept = [layout.joints[j] for j in moved.joints]
    return moved, Transfer(
        layout=model.layout.name, matched=matched, new=[name for name in kept if name not in matched]
    )

"""Running a protocol: the encoder under test, its controls, and the result's file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from kinemask import __version__
from kinemask.configure import parse
from kinemask.models.encoders import TrainedEncoder, load_encoder
from kinemask.pretext import method
from kinemask.protocols.case import Case, Protocol
from kinemask.protocols.features import check_fit, parts, with_sampling
from kinemask.protocols.finetune import FinetuneSettings, TrainedProtocol
from kinemask.protocols.frozen import FrozenProtocol
from kinemask.protocols.knn import KNNSettings, knn
from kinemask.protocols.linear import LinearSettings, linear
from kinemask.protocols.retrieval import RetrievalSettings, raw_retrieval, retrieval
from kinemask.protocols.robustness import RobustnessSettings, raw_robustness, robustness
from kinemask.protocols.semi import SemiSettings, draw_labels
from kinemask.protocols.settings import encoder_file, parse_protocol, settings_of
from kinemask.runs.metrics import measures
from kinemask.runs.results import accuracy, hash8, per_class, write_result
from kinemask.store.store import Store, open_store
from kinemask.training import distributed
from kinemask.training.loop import precision
from kinemask.training.settings import Device

PROTOCOLS: dict[str, Protocol] = {
    "linear": FrozenProtocol("a linear classifier on frozen features", LinearSettings, linear),
    "knn": FrozenProtocol("nearest neighbours in feature space, no training", KNNSettings, knn),
    "finetune": TrainedProtocol("encoder and classifier trained on the labels", FinetuneSettings),
    "semi": TrainedProtocol("fine-tuning with few labels", SemiSettings, draw_labels, seeds=(0, 1, 2, 3, 4)),
    "retrieval": FrozenProtocol(
        "test clips look for their like among training clips", RetrievalSettings, retrieval, raw_retrieval
    ),
    "robustness": FrozenProtocol(
        "linear, on test clips that get worse", RobustnessSettings, robustness, raw_robustness
    ),
}


def evaluate(
    protocol: str,
    run: str | Path | None,
    data: str | Path,
    split: str,
    *,
    recipe: str | None = None,
    out: str | Path | None = None,
    seed: int | Sequence[int] | None = None,
    encoder: str = "encoder",
    test_clips: int | None = None,
    rotation: float | Sequence[float] | None = None,
    crop: Sequence[float] | None = None,
    min_crop_frames: int | None = None,
    controls: bool = True,
    device: Device = "auto",
    quiet: bool = True,
    **settings: Any,
) -> list[dict[str, Any]]:
    """One protocol on a run's encoder, with its controls; writes and returns a result per seed.

    run: folder of a run; None trains a recipe's encoder from scratch (finetune, semi). out: folder of the fine-tuned
    run, seedN within it for several seeds; by default one in RUN/finetune, or in runs/finetune. seed: of the protocol's
    own training, one or several; by default the protocol's. encoder: which of the run's encoder files (without
    .safetensors), or teacher or student. test_clips overrides the number of windows sampled per test clip; rotation,
    crop and min_crop_frames the augmentation, where the protocol trains the encoder (other data may need another).
    settings: the protocol's own by dotted name, e.g. `views=0`, `**{"head.dropout": 0.5}`.

    Raises ValueError for an unknown protocol, split or setting, and for a store whose layout is not the encoder's,
    unless the protocol trains the encoder; and what training raises.
    """
    chosen = find_protocol(protocol)
    seeds = chosen.seeds if seed is None else [seed] if isinstance(seed, int) else list(seed)
    if not seeds:
        raise ValueError("seed: at least one is needed, the list is empty")
    if out is not None and not chosen.trains:
        raise ValueError(f"out: {protocol} trains no encoder, its results go to the run's folder")
    augmentation = {"rotation": rotation, "crop": crop, "min_crop_frames": min_crop_frames}
    augmentation = {name: value for name, value in augmentation.items() if value is not None}
    if augmentation and not chosen.trains:
        raise ValueError(f"{', '.join(augmentation)}: {protocol} trains no encoder; its views are those of the run")
    own = parse_protocol(settings_of(chosen, run, recipe, encoder), settings)
    store = open_store(data)
    with distributed.world(device) as world:
        path = None if run is None else encoder_file(run, encoder)
        model = from_recipe(recipe or "", store, split) if path is None else load_encoder(path, world.device)
        changes = augmentation if test_clips is None else augmentation | {"test_clips": test_clips}
        model = with_sampling(model, shear=0.0, **changes)
        if not chosen.trains:
            check_fit(model, store, path or "")
        train, test = parts(store, split, world.device, model.sampling.missing)
        case = Case(
            model=model,
            store=store,
            split=split,
            train=train,
            test=test,
            unseen=~torch.from_numpy(store.duplicates(train.clips, test.clips)),
            origin=path and hashlib.sha256(path.read_bytes()).hexdigest(),
            run=None if run is None else Path(run),
            out=None if out is None else Path(out),
            world=world,
            quiet=quiet,
        )
        about = {
            "protocol": protocol,
            "data": store.name,
            "split": split,
            "encoder": encoder if path is None else path.stem,
            "encoder_sha256": case.origin,
            "store_sha256": store.identity,
            "test_clips_sampled": model.sampling.test_clips,
            "settings": asdict(own),
            "precision": precision(world.device),
            "version": __version__,
        }
        if augmentation:
            about["augmentation"] = {name: getattr(model.sampling, name) for name in augmentation}
        if path is None:
            about["recipe"] = {k: model.record["settings"][k] for k in ("method", "encoder", "sampling")}
        return _results(chosen, case, about, own, seeds, controls)


def _results(
    chosen: Protocol, case: Case, about: dict[str, Any], settings: Any, seeds: Sequence[int], controls: bool
) -> list[dict[str, Any]]:
    labels, unseen, store = case.test.labels.cpu(), case.unseen, case.store
    names, results = [store.names[c] for c in case.test.clips], []
    scored = chosen.score(case, settings, seeds, controls)
    for one, (outcome, seconds, control, run) in zip(seeds, scored, strict=True):
        about |= chosen.keys(case, settings, one)
        result = about | {
            "hash": hash8(about | {"seed": one, "controls": controls}),
            "seed": one,
            "accuracy": accuracy(outcome.scores, labels),
            "accuracy_best_epoch": None if outcome.best_epoch is None else 100 * outcome.best_epoch,
            "test_clips": len(labels),
            "accuracy_unseen": accuracy(outcome.scores[unseen], labels[unseen]),
            "test_clips_unseen": int(unseen.sum()),
            **measures(outcome.scores, labels),
            **outcome.details,
            "per_class": per_class(outcome.scores, labels, store.classes),
            "classes": store.classes,
            "controls": control,
            "seconds": seconds,
            "run": case.model.record,
        }
        if case.world.main:
            result["path"] = str(write_result(run, result, outcome.scores, labels, names, unseen))
        results.append(result)
    return results


def find_protocol(name: str) -> Protocol:
    """The protocol of that name; raises ValueError with the known ones."""
    if name not in PROTOCOLS:
        raise ValueError(f"unknown protocol {name!r}; known: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def from_recipe(recipe: str, store: Store, split: str) -> TrainedEncoder:
    """A recipe's encoder for a store, with random weights."""
    s, _ = parse(None, {"data": str(store.path), "split": split}, recipe)
    data = {"dataset": store.name, "sha256": store.identity, "split": split}
    record = {"method": s.method, "data": data, "settings": s.to_dict()}
    with torch.random.fork_rng(devices=[]):
        encoder = method(s.method).build_encoder(store.layout, s.sampling.frames, s.encoder)
    return TrainedEncoder(encoder, s.sampling, record)

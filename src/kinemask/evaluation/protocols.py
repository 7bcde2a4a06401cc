"""Running a protocol: the encoder under test, its controls, and the result's file."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from kinemask import __version__
from kinemask.data.draws import key
from kinemask.data.store import Store, open_store
from kinemask.evaluation.features import Features, Part, check_fit, parts, raw_coordinates, with_sampling
from kinemask.evaluation.knn import KNNSettings, knn, vote
from kinemask.evaluation.linear import LinearSettings, linear
from kinemask.evaluation.results import Outcome, accuracy, hash8, per_class, write_result
from kinemask.train.distributed import choose_device
from kinemask.train.encoders import TrainedEncoder, build_encoder, load_encoder
from kinemask.train.loop import bf16_pays
from kinemask.train.settings import Device

UNTRAINED_SEEDS = 3


@dataclass(frozen=True)
class Protocol:
    """A protocol on frozen features: its settings, and features -> outcome."""

    title: str
    settings: type
    run: Callable[[Features, int, Any, int], Outcome]


PROTOCOLS = {
    "linear": Protocol("a linear classifier on frozen features", LinearSettings, linear),
    "knn": Protocol("nearest neighbours in feature space, no training", KNNSettings, knn),
}


def evaluate(
    protocol: str,
    run: str | Path,
    data: str | Path,
    split: str,
    *,
    seed: int | Sequence[int] = 0,
    encoder: str = "encoder",
    test_clips: int | None = None,
    controls: bool = True,
    device: Device = "auto",
    settings: Any = None,
    quiet: bool = True,
) -> list[dict[str, Any]]:
    """One protocol on a run's encoder, with its controls; writes and returns a result per seed.

    run: folder of a run; encoder: which of its encoder files (without .safetensors). seed: of the protocol's own
    training, one or several; the encoder's features do not depend on it. test_clips overrides the number of windows
    sampled per test clip. settings: the protocol's, its defaults where None. Raises ValueError for an unknown
    protocol or split, and for a store whose layout is not the encoder's.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"unknown protocol {protocol!r}; known: {', '.join(PROTOCOLS)}")
    chosen = PROTOCOLS[protocol]
    settings = chosen.settings() if settings is None else settings
    seeds = [seed] if isinstance(seed, int) else list(seed)
    if not seeds:
        raise ValueError("seed: at least one is needed, the list is empty")
    if Path(encoder).name != encoder or "\\" in encoder:
        raise ValueError(f"encoder: the name of a file of the run without its ending, not {encoder!r}")
    run, store = Path(run), open_store(data)
    device = choose_device(device)  # type: ignore[assignment]
    path = run / f"{encoder}.safetensors"
    model = load_encoder(path, device)
    if test_clips is not None:
        model = with_sampling(model, test_clips=test_clips)
    check_fit(model, store, run)
    train, test = parts(store, split, device, model.sampling.missing)
    unseen = ~torch.from_numpy(store.duplicates(train.clips, test.clips))
    labels = test.labels.cpu()
    about = {
        "protocol": protocol,
        "data": _data_name(store),
        "split": split,
        "encoder": encoder,
        "encoder_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "store_sha256": store.meta["sha256"],
        "test_clips_sampled": model.sampling.test_clips,
        "settings": asdict(settings),
        "precision": "bf16" if bf16_pays(torch.device(device)) else "fp32",
        "version": __version__,
    }
    score = partial(_outcomes, chosen, settings, len(store.classes), quiet)
    start = time.monotonic()
    outcomes = score(model, train, test, seeds)
    seconds = (time.monotonic() - start) / len(seeds)
    control = _controls(score, model, store, train, test, seeds, unseen) if controls else None
    results = []
    for i, (one, outcome) in enumerate(zip(seeds, outcomes, strict=True)):
        keyed = about | {"seed": one, "controls": controls}
        result = about | {
            "hash": hash8(keyed),
            "seed": one,
            "accuracy": accuracy(outcome.scores, labels),
            "accuracy_best_epoch": None if outcome.best_epoch is None else 100 * outcome.best_epoch,
            "test_clips": len(labels),
            "accuracy_unseen": accuracy(outcome.scores[unseen], labels[unseen]),
            "test_clips_unseen": int(unseen.sum()),
            "per_class": per_class(outcome.scores, labels, store.classes),
            "classes": store.classes,
            "controls": control[i] if control else None,
            "seconds": seconds,
            "run": model.record["record"] | {"method": model.record["method"]},
        }
        names = [store.names[c] for c in test.clips]
        result["path"] = str(write_result(run, result, outcome.scores, labels, names))
        results.append(result)
    return results


def _data_name(store: Store) -> str:
    """The data set's name; the store's own for recordings that are nobody's data set."""
    name = store.meta.get("dataset", "arrays")
    return store.path.resolve().name if name == "arrays" else str(name)


def _outcomes(
    chosen: Protocol,
    settings: Any,
    classes: int,
    quiet: bool,
    model: TrainedEncoder,
    train: Part,
    test: Part,
    seeds: list,
) -> list[Outcome]:
    features = Features(model, train, test, quiet=quiet)
    return [chosen.run(features, classes, settings, seed) for seed in seeds]


def _controls(
    score: Callable[..., list[Outcome]],
    model: TrainedEncoder,
    store: Store,
    train: Part,
    test: Part,
    seeds: list[int],
    unseen: torch.Tensor,
) -> list[dict[str, float | None]]:
    """Per seed: the same protocol on untrained encoders (mean of three), and 1-NN on raw coordinates."""
    labels = test.labels.cpu()
    untrained = []
    for number in range(UNTRAINED_SEEDS):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(key(number, "weights"))
            fresh = build_encoder(model.record)
        fresh = TrainedEncoder(fresh.encoder, model.layout, model.sampling, model.record).to(train.tracks.device)
        untrained.append(score(fresh, train, test, seeds))
    frames = model.sampling.frames
    raw = vote(raw_coordinates(train, frames), train.labels, raw_coordinates(test, frames), len(store.classes), 1).cpu()
    return [
        {
            "untrained_encoder": _mean(accuracy(o[i].scores, labels) for o in untrained),
            "untrained_encoder_unseen": _mean(accuracy(o[i].scores[unseen], labels[unseen]) for o in untrained),
            "raw_coordinates_knn": accuracy(raw, labels),
            "raw_coordinates_knn_unseen": accuracy(raw[unseen], labels[unseen]),
        }
        for i in range(len(seeds))
    ]


def _mean(values: Iterable[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return fmean(known) if known else None

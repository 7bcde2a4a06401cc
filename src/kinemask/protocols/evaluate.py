"""Running a protocol: the encoder under test, its baselines, and the result's file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from kinemask.arguments import read_settings
from kinemask.models.encoders import TrainedEncoder, load_encoder, placed
from kinemask.pretext import method
from kinemask.protocols.case import Case, Done
from kinemask.protocols.catalogue import Protocol, find_protocol
from kinemask.protocols.finetune import seed_folder, trained_folder
from kinemask.runs.measures import per_class
from kinemask.runs.result import Key, Result, Results, Source, Trained, find_result, same_key, write_result
from kinemask.runs.run import Run
from kinemask.store.format import sha256
from kinemask.store.opening import Store, open_store
from kinemask.training import distributed
from kinemask.training.distributed import World
from kinemask.training.loop import precision
from kinemask.training.settings import LoopSettings, Settings
from kinemask.version import NUMERICS, __version__
from kinemask.windows.parts import parts
from kinemask.windows.settings import AUGMENTATION, OF_ENCODER, SamplingSettings


def evaluate(
    protocol: str,
    run: str | Path | None = None,
    data: str | Path | None = None,
    split: str | None = None,
    *,
    recipe: str | None = None,
    out: str | Path | None = None,
    seed: int | Sequence[int] | None = None,
    encoder: str = "encoder",
    sampling: Mapping[str, Any] | None = None,
    baselines: bool = True,
    overwrite: bool = False,
    device: str = "auto",
    quiet: bool = True,
    **settings: Any,
) -> Results:
    """One protocol on a run's encoder, with its baselines; writes and returns a result per seed.

    A result that the run has already is found, not computed again, unless its weights are to be in another `out`.
    See `kinemask.evaluate`.
    """
    chosen = find_protocol(protocol)
    seeds = chosen.seeds if seed is None else (seed,) if isinstance(seed, int) else tuple(dict.fromkeys(seed))
    if not seeds:
        raise ValueError("seed: at least one is needed, the list is empty")
    if out is not None and not chosen.trains:
        raise ValueError(f"out: {protocol} trains no encoder, its results go to the run's folder")
    with distributed.world(device) as world:
        subject = Subject.of(chosen, run, recipe, encoder, data, split, world)
        own = subject.settings(settings)
        case = subject.case(own, sampling or {}, None if out is None else Path(out), quiet)
        keys = {one: subject.key(case, own, one, baselines) for one in seeds}
        found: dict[int, Result] = {}
        if not overwrite:
            for one, key in keys.items():
                result = find_result(_folder(case, chosen, own, one, len(seeds) > 1), key)
                asked = seed_folder(case.out, one, len(seeds) > 1)  # where the weights are to be, too
                if result is not None and (asked is None or result.weights == str(asked)):
                    found[one] = result
        left = [one for one in seeds if one not in found]
        if left:
            for one, done in zip(left, chosen.implementation.score(case, own, left, baselines), strict=True):
                found[one] = _result(case, keys[one], done, subject.trained)
        return Results(found[one] for one in seeds)


def finished(
    protocol: str,
    run: Run,
    data: str,
    split: str,
    seeds: Sequence[int],
    baselines: bool,
    settings: Mapping[str, Any],
    encoder: str = "encoder",
    sampling: Mapping[str, Any] | None = None,
) -> dict[int, Result]:
    """The results of these seeds that a run has already, in whatever precision they were computed."""
    if not run.has(encoder):
        return {}
    subject = Subject.of(find_protocol(protocol), run.path, None, encoder, data, split, World.alone("cpu"))
    own = subject.settings(settings)
    case = subject.case(own, sampling or {}, None, True)
    wanted = {one: subject.key(case, own, one, baselines) for one in seeds}
    found = [
        r for r in run.results() if r.seed in wanted and same_key(r, replace(wanted[r.seed], precision=r.precision))
    ]
    return {r.seed: r for r in found}


def check_settings(protocol: Protocol, config: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
    """A protocol's settings for a run or recipe: defaults, changed by its section, then by what is given.

    Raises ValueError for what is unknown or does not fit.
    """
    section = {k: v for k, v in (config.get(protocol.section) or {}).items() if k != "sampling"}
    return read_settings(protocol.settings, section, given)


@dataclass(frozen=True, eq=False)
class Subject:
    """What is evaluated, on what: an encoder file of a run, or a recipe's encoder with random weights; and a split.

    config: settings of the run or recipe, with the sections in which it changes protocols' defaults.
    """

    protocol: Protocol
    run: Run | None
    file: Path | None
    config: Mapping[str, Any]
    model: TrainedEncoder
    store: Store
    split: str
    world: World

    @classmethod
    def of(
        cls,
        protocol: Protocol,
        run: str | Path | None,
        recipe: str | None,
        encoder: str,
        data: str | Path | None,
        split: str | None,
        world: World,
    ) -> Subject:
        """From what was asked for; raises ValueError where that is not enough, too much, or absent."""
        if recipe is not None and not protocol.trains:
            raise ValueError(f"recipe: {protocol.name} trains no encoder, so it needs a run")
        if (run is None) == (recipe is None):
            raise ValueError("either a run or a recipe is needed" if protocol.trains else "a run is needed")
        if run is None:
            if encoder != "encoder":
                raise ValueError(f"encoder: without a run there is no file {encoder} to start from")
            if data is None or split is None:
                raise ValueError("data and split are needed, where no run says on which it was trained")
            store = open_store(data)
            settings = Settings.from_recipe(recipe or "", {"data": str(store.path), "split": split})
            return cls(protocol, None, None, settings.to_dict(), random_encoder(settings, store), store, split, world)
        source = Run(Path(run))
        file = source.encoder(encoder)
        if data is None:
            stores = source.config["data"]
            if not stores:
                raise ValueError(f"{run} was imported without a store; name the one to evaluate on (data)")
            (data, *more) = stores
            if more:
                raise ValueError(f"{run} was trained on several stores; name the one to evaluate on (data)")
        split = source.config["split"] if split is None else split
        if not split:
            raise ValueError(f"{run} was imported without a split; name the one to evaluate on (split)")
        assert data is not None
        assert split is not None
        store, model = open_store(data), load_encoder(file, world.device)
        if not protocol.trains:
            model = placed(model, store.layout, file, f"the store {store.path}")
        return cls(protocol, source, file, source.config, model, store, split, world)

    @property
    def section(self) -> dict[str, Any]:
        """What the run or recipe changes of the protocol's defaults."""
        return dict(self.config.get(self.protocol.section) or {})

    def settings(self, given: Mapping[str, Any]) -> Any:
        """The protocol's settings: its defaults, changed by the run's section, then by what is given."""
        return check_settings(self.protocol, self.config, given)

    def case(self, settings: Any, sampling: Mapping[str, Any], out: Path | None, quiet: bool) -> Case:
        """The case to score by the protocol's settings; sampling: what is to differ from how the run sampled."""
        chosen = self.protocol
        augments = chosen.augments is not None and chosen.augments(settings)
        if fixed := [name for name in OF_ENCODER if name in sampling]:
            raise ValueError(f"sampling.{fixed[0]}: the encoder was trained with its own; pre-train with another one")
        if not augments and (unused := [name for name in AUGMENTATION if name in sampling]):
            raise ValueError(f"sampling.{unused[0]} has no effect: {chosen.name} draws no augmented windows")
        changes = dict(self.section.get("sampling", {})) | dict(sampling)
        encoder, sampled = self.model.encoder, read_settings(SamplingSettings, asdict(self.model.sampling), changes)
        model = TrainedEncoder(encoder, sampled, self.model.record, self.model.readout)
        train, test = parts(self.store, self.split, self.world.device, model.sampling.missing)
        return Case(
            model=model,
            store=self.store,
            split=self.split,
            train=train,
            test=test,
            run=self.run,
            origin=None if self.file is None else sha256(self.file),
            out=out,
            world=self.world,
            quiet=quiet,
        )

    def key(self, case: Case, settings: Any, seed: int, baselines: bool) -> Key:
        """What decides the result of a seed. A file that a setting names counts by its content."""
        values = asdict(settings)
        named = {name: Path(values[name]) for name in self.protocol.files if values[name] is not None}
        asked = settings.precision if isinstance(settings, LoopSettings) else "auto"
        encoder = case.model.encoder
        return Key(
            protocol=self.protocol.name,
            data=self.store.name,
            split=self.split,
            seed=seed,
            settings=_plain(values),
            sampling=_plain(asdict(case.model.sampling)),
            encoder=None if self.file is None else self.file.stem,
            encoder_sha256=case.origin,
            architecture={"name": encoder.architecture, **asdict(encoder.settings)},
            store_sha256=self.store.identity,
            baselines_asked=baselines,
            precision=precision(self.world.device, asked),
            numerics=NUMERICS,
            files={name: sha256(path) for name, path in named.items() if path.is_file()},
        )

    @property
    def trained(self) -> Trained:
        """How the encoder under test came about."""
        return Trained.of(self.model.record)


def random_encoder(settings: Settings, store: Store) -> TrainedEncoder:
    """A recipe's encoder for a store, with random weights."""
    source = Source(dataset=store.name, sha256=store.identity)
    trained = Trained(method=settings.method, settings=settings.to_dict(), sources=[source], split=settings.split)
    with torch.random.fork_rng(devices=[]):
        encoder = method(settings.method).build_encoder(store.layout, settings.sampling.frames, settings.encoder)
    return TrainedEncoder(encoder, settings.sampling, asdict(trained))


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """As a result's file has them, lists for tuples: one that is computed equals the one that is found later."""
    return json.loads(json.dumps(values))


def _folder(case: Case, protocol: Protocol, settings: Any, seed: int, several: bool) -> Path:
    """Where a seed's result is kept: with the run, or, without one, with what is trained."""
    if case.run is not None:
        return case.run.path
    if (given := seed_folder(case.out, seed, several)) is not None:
        return given
    return trained_folder(case, protocol.implementation.part(case, settings, seed), settings, seed)


def _result(case: Case, key: Key, done: Done, trained: Trained) -> Result:
    outcome, labels, unseen = done.outcome, case.labels, case.unseen
    measures = case.measured(outcome)
    assert measures.keys() <= set(find_protocol(key.protocol).measures)
    result = Result(
        **key.fields(),
        measures=measures,
        curves=outcome.curves,
        best_epoch=outcome.best_epoch,
        test_clips=len(labels),
        test_clips_unseen=int(unseen.sum()),
        classes=list(case.store.classes),
        per_class=per_class(outcome.scores, labels, case.store.classes),
        baselines=done.baselines,
        trained=trained,
        version=__version__,
        seconds=done.seconds,
        training_clips=done.training_clips,
        labels=done.labels,
        transfer=done.transfer,
        weights=done.weights,
        dims=case.store.layout.dims,
    )
    if not case.world.main:
        return result
    return write_result(done.folder, result, outcome.scores, labels, case.test.names, unseen)

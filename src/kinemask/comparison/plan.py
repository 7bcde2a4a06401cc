"""From what a comparison is asked for to its work: every pre-training once, with all that is evaluated of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from kinemask.arguments import read_settings
from kinemask.comparison.work import Evaluation, Work, key_of
from kinemask.pretext import NAMES
from kinemask.protocols.catalogue import find_protocol
from kinemask.protocols.evaluate import check_settings
from kinemask.recipes import load_recipe, recipes
from kinemask.store.opening import Store, open_store
from kinemask.training.settings import Settings
from kinemask.windows.settings import SamplingSettings


@dataclass(frozen=True)
class Variant:
    """A recipe, or a method that stands for the data's recipe, with changes.

    label: the line's; "" is the recipe's name. changes: settings by dotted name; one that begins with a protocol is the
    protocol's. swept, at: what a sweep changes, as text, and to which value. stream: where several are asked for.
    """

    method: str
    label: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)
    swept: str = ""
    at: str = ""
    stream: str = ""

    def line(self, recipe: str, *more: str) -> str:
        """A label: the recipe's or the variant's own, and what else tells it from others."""
        return ", ".join(filter(None, (self.label or _stem(recipe), *more)))


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a comparison is asked for. See `kinemask.compare`.

    overrides: settings by dotted name; one that begins with a protocol, or with a name in `methods` (a file's without
    .yaml), is that one's alone. cluster: what computes, in place of this machine; part of the key.
    """

    methods: Sequence[str]
    data: Sequence[str]
    split: Sequence[str]
    protocols: Sequence[str]
    seeds: Sequence[int] = (0,)
    protocol_seeds: Sequence[int] | None = None
    small: bool = False
    baselines: bool = True
    overrides: Mapping[str, Any] = field(default_factory=dict)
    cluster: str | None = None
    streams: Sequence[str] = ()
    sweep: Sequence[Any] = ()
    encoders: Sequence[str] = ("encoder",)
    snapshots: bool = False
    targets: Sequence[str] = ()
    target_split: Sequence[str] = ()

    def __post_init__(self):
        given = {"methods": self.methods, "data": self.data, "split": self.split, "protocols": self.protocols}
        given |= {"seeds": self.seeds, "encoder": self.encoders}
        optional = {"stream": self.streams, "protocol_seeds": self.protocol_seeds}
        for name, values in given.items():
            if not len(values):
                raise ValueError(f"compare: {name} is empty")
        if self.protocol_seeds is not None and not len(self.protocol_seeds):
            raise ValueError("compare: protocol_seeds is empty")
        for name, values in (given | optional).items():
            if name not in ("data", "split") and len(set(values or ())) < len(values or ()):
                raise ValueError(f"compare: {name} names something twice: {', '.join(map(str, values or ()))}")
        if len(self.sweep) == 1:
            raise ValueError(f"compare: sweep {self.sweep[0]} needs values, as in --sweep pretext.tau 0.7 0.8")
        if self.targets and not self.target_split:
            raise ValueError("compare: targets need the split of each, as in --target stores/sbu --target-split fold1")
        if self.target_split and not self.targets:
            raise ValueError("compare: target_split has no effect without target")


def plan(asked: Asked, variants: Sequence[Variant] = ()) -> list[Work]:
    """Every combination; ValueError for anything that is unknown or does not fit, before anything is run.

    variants: lines in place of those of `asked.methods`.
    """
    for name in asked.protocols:
        find_protocol(name)
    own = _owned(asked)
    _check_given_once(asked)
    places = list(paired(asked.data, asked.split, "split"))
    targets = list(paired(asked.targets, asked.target_split, "target_split")) if asked.targets else None
    sweeps = str(asked.sweep[0]).partition(".")[0] if asked.sweep else ""
    work: dict[str, Work] = {}
    for store, split in places:
        chosen = variants or [Variant(name) for name in asked.methods]
        recipe_of = {v.method: resolve(v.method, store.name, asked.small) for v in chosen}
        if len(set(map(_stem, recipe_of.values()))) < len(recipe_of):
            raise ValueError(f"compare: two methods mean the same recipe; recipes: {', '.join(recipe_of.values())}")
        for variant, seed in product(_spread(chosen, asked), asked.seeds):
            recipe = recipe_of[variant.method]
            first = {name: name.partition(".")[0] for name in variant.changes}
            training = {name: v for name, v in variant.changes.items() if first[name] not in asked.protocols}
            changes = own[""] | own.get(_stem(variant.method), {}) | training
            settings = _parse(recipe, changes | {"data": str(store.path.resolve()), "split": split, "seed": seed})
            key = key_of(settings, store, asked.cluster)
            new = Work(recipe, store.name, settings, asked.baselines, key)
            kept = work.setdefault(new.name, new)
            for protocol in asked.protocols:
                of = own[protocol] | {
                    name.partition(".")[2]: v for name, v in variant.changes.items() if first[name] == protocol
                }
                others = sweeps in asked.protocols and sweeps != protocol  # then the sweep is not of this one
                line = replace(variant, swept="", at="") if others else variant
                found = _evaluations(asked, line, kept, protocol, of, targets)
                kept.evaluations.extend(e for e in found if e not in kept.evaluations)
    return list(work.values())


def _owned(asked: Asked) -> dict[str, dict[str, Any]]:
    """Overrides by whose they are: "" all pre-trainings', a method's, a protocol's."""
    own: dict[str, dict[str, Any]] = {name: {} for name in ("", *map(_stem, asked.methods), *asked.protocols)}
    for name, value in asked.overrides.items():
        first, _, rest = name.partition(".")
        own[first if first in own else ""][rest if first in own else name] = value
    return own


def _check_given_once(asked: Asked) -> None:
    """ValueError for a setting that is given one value, and several by a sweep or by streams."""
    lined = {str(asked.sweep[0]): "sweep"} if asked.sweep else {}
    lined |= {"sampling.stream": "stream"} if asked.streams else {}
    methods = {_stem(name) for name in asked.methods}
    for name in asked.overrides:
        first, _, rest = name.partition(".")
        of = rest if first in methods else name
        if of in lined:
            raise ValueError(f"compare: {lined[of]} gives {of} its values, so {name} would have no effect")


def paired(data: Sequence[str], split: Sequence[str], option: str) -> Iterator[tuple[Store, str]]:
    """Stores with their splits: one split for all, several of one store, or one for each; each pair once."""
    if not split:
        raise ValueError(f"compare: {option} is empty")
    if 1 not in (len(split), len(data)) and len(split) != len(data):
        raise ValueError(
            f"compare: {option} must be one for all stores, one for each of the {len(data)}, or several of one store"
        )
    several = max(len(data), len(split))
    seen: dict[tuple[str, str], None] = {}
    paths: dict[str, Path] = {}
    pairs = zip(list(data) * (several // len(data)), list(split) * (several // len(split)), strict=True)
    for path, part in pairs:
        store = open_store(path)
        store.split(part)
        where = Path(store.path).resolve()
        if paths.setdefault(store.name, where) != where:
            raise ValueError(f"compare: two of the stores hold {store.name}; give one another name (prepare --name)")
        if (store.name, part) in seen:
            raise ValueError(f"compare: {store.name} {part} is named twice")
        seen[store.name, part] = None
        yield store, part


def _spread(variants: Sequence[Variant], asked: Asked) -> Iterator[Variant]:
    """Variants by the values of a sweep and by streams."""
    streams = list(asked.streams) or [""]
    values = [str(value) for value in asked.sweep[1:]] or [""]
    for variant, value, stream in product(variants, values, streams):
        swept = {asked.sweep[0]: value} if value else {}
        changes = {**variant.changes, **swept, **({"sampling.stream": stream} if stream else {})}
        told = f"{asked.sweep[0]} {value}" if value else ""
        yield replace(variant, changes=changes, swept=told, at=value, stream=stream)


def _evaluations(
    asked: Asked,
    variant: Variant,
    work: Work,
    protocol: str,
    given: dict[str, Any],
    targets: Sequence[tuple[Store, str]] | None,
) -> Iterator[Evaluation]:
    """A protocol on the run's own data, or on targets, with each encoder that is asked for."""
    known, s = find_protocol(protocol), work.settings
    usual = known.seeds if len(known.seeds) > 1 else (s.seed,)
    seeds = tuple(usual if asked.protocol_seeds is None else asked.protocol_seeds)
    places = [(s.data[0], s.split)] if targets is None else [(str(t.path.resolve()), part) for t, part in targets]
    together = " + ".join(asked.streams) if len(asked.streams) > 1 else ""
    for (data, split), (encoder, role, epoch) in product(places, encoders(asked, s)):
        line = lambda *more: variant.line(work.recipe, *more)
        last = (role, f"epoch {epoch}" if epoch else "")
        swept = variant.swept if epoch else ""  # then the axis is that of epochs
        found = Evaluation(
            label=line(variant.swept, variant.stream, *last),
            protocol=protocol,
            settings=given,
            encoder=encoder,
            data=data,
            split=split,
            seeds=seeds,
            fused=line(variant.swept, together, *last) if together else "",
            series=line(swept, variant.stream, role),
            fused_series=line(swept, together, role),
            at=epoch or variant.at,
        )
        check_settings(known, load_recipe(work.recipe), found.own)
        read_settings(SamplingSettings, found.sampling)
        yield found


def encoders(asked: Asked, settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Encoders to evaluate: file or role, the role where it is to be told, and of a snapshot the epoch."""
    every, epochs = settings.training.snapshot_every, settings.training.epochs
    if asked.snapshots and not every:
        raise ValueError("compare: snapshots needs --training.snapshot-every, or a recipe that keeps snapshots")
    for name in asked.encoders:
        role = "" if name == "encoder" else name
        if asked.snapshots:
            stem = {"teacher": "encoder", "student": "encoder-student"}.get(name, name)
            for epoch in range(every, epochs + 1, every):
                yield f"{stem}-epoch{epoch:04d}", role, str(epoch)
        else:
            yield name, role, ""


def _stem(name: str) -> str:
    """A method or recipe as settings name it: without folder and .yaml."""
    return Path(name).stem


def resolve(name: str, dataset: str, small: bool) -> str:
    """A recipe's name, from itself (or a .yaml file), or from a method's name: METHOD-DATA, or METHOD-DATA-small."""
    if name not in NAMES:
        load_recipe(name)
        return name
    size = "-small" if small else ""
    known = [
        r.removesuffix(size).removeprefix(f"{name}-")
        for r in recipes()
        if r.startswith(f"{name}-") and r.endswith(size)
    ]
    fitting = [d for d in known if dataset == d or dataset.startswith(f"{d}-")]  # pku-mmd stands for both its phases
    if not fitting:
        raise ValueError(
            f"there is no recipe {name}-{dataset}{size}; name one instead of the method:"
            f" {', '.join(r for r in recipes() if r.startswith(f'{name}-'))}"
        )
    return f"{name}-{max(fitting, key=len)}{size}"


def _parse(recipe: str, changes: dict[str, Any]) -> Settings:
    try:
        return Settings.from_recipe(recipe, changes)
    except ValueError as error:
        raise ValueError(f"{recipe}: {error}") from None

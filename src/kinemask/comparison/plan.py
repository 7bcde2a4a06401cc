"""What a comparison consists of: every pre-training and its evaluations, each keyed by all that decides its numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kinemask.pretext import NAMES
from kinemask.protocols.catalogue import find_protocol
from kinemask.protocols.evaluate import check_settings
from kinemask.recipes import load_recipe, recipes
from kinemask.runs.result import hash8
from kinemask.runs.run import Run
from kinemask.store.format import sha256
from kinemask.store.opening import open_store
from kinemask.training.distributed import choose_device
from kinemask.training.loop import precision
from kinemask.training.settings import Settings
from kinemask.version import NUMERICS


@dataclass(frozen=True)
class Work:
    """One pre-training and its evaluations.

    protocols: name -> the settings that were asked for; seeds: name -> the protocol's own. key: what decides the run's
    numbers.
    """

    recipe: str
    dataset: str
    settings: Settings
    protocols: dict[str, dict[str, Any]]
    seeds: dict[str, tuple[int, ...]]
    baselines: bool
    key: dict[str, Any]

    @property
    def name(self) -> str:
        """Of the run's folder."""
        s = self.settings
        return f"{Path(self.recipe).stem}-{self.dataset}-{s.split}-seed{s.seed}-{hash8(self.key)}"

    def run(self, out: Path) -> Run:
        return Run(out / "runs" / self.name)


def plan(
    methods: Sequence[str],
    data: Sequence[str],
    split: Sequence[str],
    protocols: Sequence[str],
    seeds: Sequence[int],
    protocol_seeds: Sequence[int] | None,
    small: bool,
    baselines: bool,
    overrides: Mapping[str, Any],
    cluster: str | None = None,
) -> list[Work]:
    """Every combination; ValueError for anything that is unknown or does not fit, before anything is run.

    overrides: settings by dotted name; one that begins with a protocol, or with a name in `methods` (a file's without
    .yaml), is that one's alone. cluster: what computes, in place of this machine; part of the key.
    """
    given = {"methods": methods, "data": data, "split": split, "protocols": protocols, "seeds": seeds}
    given |= {} if protocol_seeds is None else {"protocol_seeds": protocol_seeds}
    for name, values in given.items():
        if not len(values):
            raise ValueError(f"compare: {name} is empty")
        if len(set(values)) < len(values) and (name != "split" or len(data) == 1):
            raise ValueError(f"compare: {name} names something twice: {', '.join(map(str, values))}")
    if 1 not in (len(split), len(data)) and len(split) != len(data):
        raise ValueError(
            f"compare: split must be one for all stores, one for each of the {len(data)}, or several of one store"
        )
    known = {name: find_protocol(name) for name in protocols}
    own: dict[str, dict[str, Any]] = {name: {} for name in ("", *map(_label, methods), *protocols)}
    for name, value in overrides.items():
        first, _, rest = name.partition(".")
        own[first if first in own else ""][rest if first in own else name] = value
    work: list[Work] = []
    stores = [open_store(path) for path in data]
    if twice := [name for name, count in Counter(store.name for store in stores).items() if count > 1]:
        raise ValueError(f"compare: two of the stores hold {twice[0]}; give one another name (prepare --name)")
    several = max(len(stores), len(split))
    for store, part in zip(stores * (several // len(stores)), list(split) * (several // len(split)), strict=True):
        store.split(part)
        taken = {resolve(name, store.name, small): name for name in methods}
        if len(set(map(_label, taken))) < len(methods):
            raise ValueError(f"compare: two methods mean the same recipe; recipes: {', '.join(taken)}")
        for recipe, name in taken.items():
            for p in protocols:
                check_settings(known[p], load_recipe(recipe), own[p])
            for seed in seeds:
                changes = own[""] | own[_label(name)] | {"data": str(store.path.resolve()), "split": part, "seed": seed}
                settings = _parse(recipe, changes)
                key = {
                    "settings": _deciding(settings),
                    "store": store.identity,
                    "computed": _computed(settings.training.device, cluster),
                    "numerics": NUMERICS,
                }
                usual = {p: known[p].seeds if len(known[p].seeds) > 1 else (seed,) for p in protocols}
                work.append(
                    Work(
                        recipe=recipe,
                        dataset=store.name,
                        settings=settings,
                        protocols={p: own[p] for p in protocols},
                        seeds={p: tuple(usual[p] if protocol_seeds is None else protocol_seeds) for p in protocols},
                        baselines=baselines,
                        key=key,
                    )
                )
    return work


def _computed(device: str, cluster: str | None) -> str:
    """What numbers differ by from machine to machine, a little: the kind of device and its precision.

    Of a cluster nothing is known before its jobs run: the device that is asked for.
    """
    if cluster is not None:
        return f"{cluster}, {device}"
    chosen = torch.device(choose_device(device))
    return f"{chosen.type}, {precision(chosen)}"


def _label(name: str) -> str:
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


def _deciding(settings: Settings) -> dict[str, Any]:
    """Settings as plain values, without where things are."""
    values = settings.to_dict()
    del values["data"], values["training"]["device"]
    return _by_content(values)


def _by_content(value: Any) -> Any:
    """Plain values as JSON has them; a file that a setting names, or a run's encoder, by its SHA-256."""
    if isinstance(value, Mapping):
        return {k: _by_content(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_by_content(v) for v in value]
    if isinstance(value, str) and {"/", "\\", "."} & set(value):
        for path in (Path(value), Path(value) / "encoder.safetensors"):
            if path.is_file():
                return f"sha256 {sha256(path)}"
    return value

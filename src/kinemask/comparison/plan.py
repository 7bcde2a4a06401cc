"""What a comparison consists of: every pre-training and its evaluations, each keyed by all that decides its numbers."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from kinemask.pretext import NAMES, method
from kinemask.pretext.base import Method
from kinemask.protocols.protocols import find_protocol
from kinemask.protocols.settings import parse_protocol
from kinemask.recipes import load_recipe, recipes
from kinemask.runs.results import hash8
from kinemask.store.format import sha256
from kinemask.store.store import open_store
from kinemask.training.distributed import choose_device
from kinemask.training.loop import precision
from kinemask.training.settings import Settings
from kinemask.version import __version__

_PRETRAINING = (
    "skeleton.py",
    "poincare.py",
    "draws.py",
    "store",
    "windows",
    "nn",
    "models",
    "pretext",
    "train",
)  # what its numbers come from
_EVALUATION = (*_PRETRAINING, "runs", "protocols")
_NO_NUMBERS = {"compare.py", "compare_plan.py", "compare_table.py", "cluster.py", "ensemble.py"}


@dataclass(frozen=True)
class Work:
    """One pre-training and its evaluations.

    protocols: name -> the settings that were asked for; resolved: all of them; seeds: name -> the protocol's own.
    key: what decides the run's numbers; code: the version of the code that is to make them.
    """

    recipe: str
    dataset: str
    settings: Settings
    protocols: dict[str, dict[str, Any]]
    resolved: dict[str, dict[str, Any]]
    seeds: dict[str, tuple[int, ...]]
    controls: bool
    key: dict[str, Any]
    code: str

    @property
    def folder(self) -> str:
        """Name of the run's folder."""
        s = self.settings
        return f"{Path(self.recipe).stem}-{self.dataset}-{s.split}-seed{s.seed}-{hash8(self.key)}"

    def evaluation(self, protocol: str, seed: int) -> dict[str, Any]:
        """The key of a result."""
        return {
            "pretraining": self.key,
            "protocol": protocol,
            "settings": self.resolved[protocol],
            "seed": seed,
            "controls": self.controls,
            "code": self.code,
        }

    def check_code(self) -> None:
        """Raise ValueError where the code is no longer the one that the keys name: a job may start long after."""
        if self.code != code_version(*_EVALUATION):
            raise ValueError("the code has changed since this was planned; start the comparison again")


def plan(
    methods: Sequence[str],
    data: Sequence[str],
    split: Sequence[str],
    protocols: Sequence[str],
    seeds: Sequence[int],
    protocol_seeds: Sequence[int] | None,
    small: bool,
    controls: bool,
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
            chosen = method(load_recipe(recipe)["method"])
            resolved = {
                p: asdict(parse_protocol(known[p].settings_of(chosen, scratch=False), own[p])) for p in protocols
            }
            for seed in seeds:
                changes = own[""] | own[_label(name)] | {"data": str(store.path.resolve()), "split": part, "seed": seed}
                settings = _parse(recipe, changes)
                key = {
                    "settings": _deciding(settings),
                    "store": store.identity,
                    "computed": _computed(settings.training.device, cluster),
                    "code": code_version(*_PRETRAINING) + _own_code(chosen),
                }
                usual = {p: known[p].seeds if len(known[p].seeds) > 1 else (seed,) for p in protocols}
                work.append(
                    Work(
                        recipe=recipe,
                        dataset=store.name,
                        settings=settings,
                        protocols={p: own[p] for p in protocols},
                        resolved=_by_content(resolved),
                        seeds={p: tuple(usual[p] if protocol_seeds is None else protocol_seeds) for p in protocols},
                        controls=controls,
                        key=key,
                        code=code_version(*_EVALUATION),
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


@cache
def code_version(*parts: str) -> str:
    """The version of the code in these files and folders (not deeper ones) of the package, and of PyTorch."""
    digest = hashlib.sha256()
    for part in parts:
        there = files("kinemask") / part
        for source in sorted(there.iterdir(), key=lambda f: f.name) if there.is_dir() else [there]:
            if source.name.endswith(".py") and source.name not in _NO_NUMBERS:
                digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return f"{__version__}+{digest.hexdigest()[:8]}, torch {torch.__version__}"


def _own_code(chosen: Method) -> str:
    """The version of the file that a registered method is defined in; nothing for the package's own."""
    if chosen.name in NAMES:
        return ""
    source = getattr(sys.modules.get(chosen.build.__module__), "__file__", None)
    if source is None:
        raise ValueError(f"compare: method {chosen.name} is defined in no file, so its versions look alike")
    return f", {chosen.name} {sha256(Path(source))[:8]}"

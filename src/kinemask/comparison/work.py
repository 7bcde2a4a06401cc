"""What a comparison computes: a pre-training and its evaluations, keyed by all that decides its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from kinemask.runs.result import hash8
from kinemask.runs.run import Run
from kinemask.store.format import sha256
from kinemask.store.opening import Store
from kinemask.training.distributed import choose_device
from kinemask.training.loop import precision
from kinemask.training.settings import Settings
from kinemask.version import NUMERICS


@dataclass(frozen=True)
class Evaluation:
    """A protocol on one encoder of a run, for a line of the table.

    label: of the line. settings: what was asked of the protocol, `sampling.NAME` among it; encoder: the file, or
    teacher or student; data, split: where it is evaluated. fused: label of the line of an ensemble that its scores
    enter, with those of other runs; "" for none. series, at: the curve that it is a point of, and its place on the
    curve's axis, "" for none; fused_series: the ensemble's curve.
    """

    label: str
    protocol: str
    settings: dict[str, Any]
    encoder: str
    data: str
    split: str
    seeds: tuple[int, ...]
    fused: str = ""
    series: str = ""
    fused_series: str = ""
    at: str = ""

    @property
    def own(self) -> dict[str, Any]:
        """The protocol's settings without those of sampling."""
        return {name: value for name, value in self.settings.items() if not name.startswith("sampling.")}

    @property
    def sampling(self) -> dict[str, Any]:
        """What differs from how the run sampled."""
        head = "sampling."
        return {name.removeprefix(head): value for name, value in self.settings.items() if name.startswith(head)}


@dataclass(frozen=True)
class Work:
    """One pre-training and its evaluations. key: what decides the run's numbers."""

    recipe: str
    dataset: str
    settings: Settings
    baselines: bool
    key: dict[str, Any]
    evaluations: list[Evaluation] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Of the run's folder."""
        s = self.settings
        return f"{Path(self.recipe).stem}-{self.dataset}-{s.split}-seed{s.seed}-{hash8(self.key)}"

    def run(self, out: Path) -> Run:
        return Run(out / "runs" / self.name)


def key_of(settings: Settings, store: Store, cluster: str | None) -> dict[str, Any]:
    """What decides a run's numbers: settings, the store's content, what computes, and the state of the code."""
    return {
        "settings": _deciding(settings),
        "store": store.identity,
        "computed": _computed(settings.training.device, cluster),
        "numerics": NUMERICS,
    }


def _computed(device: str, cluster: str | None) -> str:
    """What numbers differ by from machine to machine, a little: the kind of device and its precision.

    Of a cluster nothing is known before its jobs run: the device that is asked for.
    """
    if cluster is not None:
        return f"{cluster}, {device}"
    chosen = torch.device(choose_device(device))
    return f"{chosen.type}, {precision(chosen)}"


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

"""What a run's folder holds, read for the page: settings, metrics, evaluations grouped over seeds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kinemask.arguments import flatten
from kinemask.runs.checkpoint import read_config
from kinemask.runs.log import read_metrics
from kinemask.runs.results import is_current, read_results

_SHARED = ("protocol", "data", "split", "encoder", "encoder_sha256", "store_sha256", "test_clips_sampled", "settings")
_SHARED += ("augmentation",)
_FIRST = ("linear", "finetune", "knn")  # whose result leads where a run has several


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Results (one or several) that differ in their seed alone. stale: of an encoder that the run no longer has."""

    results: list[dict[str, Any]]
    stale: bool

    @property
    def about(self) -> dict[str, Any]:
        """The result of the lowest seed."""
        return self.results[0]

    def values(self, name: str) -> list[float]:
        """A number of every seed's result, or of its controls (`controls.NAME`); empty where there is none."""
        return self._found(name)

    def lists(self, name: str) -> list[list[float]]:
        """As `values`, of a list of numbers."""
        return self._found(name)

    def _found(self, name: str) -> list[Any]:
        found = (flatten(result).get(name) for result in self.results)
        return [value for value in found if value is not None]

    @property
    def copies(self) -> bool:
        """Whether some test clips are exact copies of training clips."""
        return self.about["test_clips_unseen"] < self.about["test_clips"]

    def scores(self) -> tuple[np.ndarray, np.ndarray]:
        """scores (N, classes) and labels (N,) of the lowest seed; ValueError where the file is absent."""
        path: Path = self.about["scores"]
        if not path.is_file():
            raise ValueError(f"the scores of this evaluation, {path.name}, are absent")
        with np.load(path, allow_pickle=False) as arrays:
            return arrays["scores"], arrays["labels"]


@dataclass(frozen=True, eq=False)
class Run:
    """A run as the page shows it. name: its folder's, made distinct among the page's runs."""

    path: Path
    name: str
    config: dict[str, Any]
    metrics: list[dict[str, Any]]
    evaluations: list[Evaluation]

    @property
    def main(self) -> Evaluation | None:
        """The evaluation that leads: the first protocol of linear, finetune, knn, preferably on the run's own split."""

        def order(e: Evaluation) -> tuple:
            a = e.about
            protocol = _FIRST.index(a["protocol"]) if a["protocol"] in _FIRST else len(_FIRST)
            return e.stale, protocol, a["split"] != self.config["split"], a["encoder"] != "encoder"

        return min(self.evaluations, key=order, default=None)

    @property
    def store_name(self) -> str:
        return Path(self.config["data"]).name


def read_runs(folders: Sequence[Path | str]) -> list[Run]:
    """Runs from their folders; raises ValueError for a folder that is not a run, or none at all."""
    if not folders:
        raise ValueError("a report needs at least one run")
    out: list[Run] = []
    for folder in map(Path, folders):
        name = folder.resolve().name
        same = sum(Path(other).resolve().name == name for other in folders[: len(out)])
        evaluations = group(read_results(folder), folder)
        out.append(
            Run(
                folder, f"{name} ({same + 1})" if same else name, read_config(folder), read_metrics(folder), evaluations
            )
        )
    return out


def group(results: list[dict[str, Any]], folder: Path) -> list[Evaluation]:
    """Results that differ in the seed alone, together; ordered by protocol, data and split."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for result in sorted(results, key=lambda r: r["seed"]):
        shared = {k: result.get(k) for k in _SHARED} | {"controls": bool(result["controls"])}
        groups.setdefault(json.dumps(shared, sort_keys=True), []).append(result)
    order = lambda r: (
        r["data"],
        r["split"],
        _FIRST.index(r["protocol"]) if r["protocol"] in _FIRST else 9,
        r["encoder"],
    )
    found = sorted(groups.values(), key=lambda g: order(g[0]))
    return [Evaluation(g, not is_current(folder, g[0])) for g in found]


def without_paths(text: str, *paths: Path | str) -> str:
    """A message with the folders that lead to these paths cut away, so that a page names no place of its machine."""
    for path in map(Path, paths):
        for form in {path, path.resolve()}:
            if len(form.parts) > 1:
                text = text.replace(str(form), form.name)
    return text

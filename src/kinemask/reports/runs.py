"""The runs of a page: each with a name of its own, and its results grouped over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kinemask.runs.measures import BASELINES, MEASURES
from kinemask.runs.result import Result, Results, group_seeds
from kinemask.runs.run import Run
from kinemask.runs.text import measured

_FIRST = ("linear", "finetune", "knn")  # whose result leads where a run has several


def _rank(result: Result) -> int:
    return _FIRST.index(result.protocol) if result.protocol in _FIRST else len(_FIRST)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Results that differ in their seed alone. stale: of an encoder that the run no longer has."""

    results: Results
    stale: bool = False

    @property
    def first(self) -> Result:
        """The result of the lowest seed."""
        return self.results[0]

    def values(self, measure: str = "accuracy", baseline: str | None = None) -> list[float]:
        """A measure of every seed's result, or of a baseline, in percent; empty where there is none."""
        return [m.value for m in measured(self.results, measure, baseline)]

    def unseen(self, measure: str = "accuracy", baseline: str | None = None) -> list[float]:
        """As `values`, on the test clips that are no copies of training clips."""
        return [m.unseen for m in measured(self.results, measure, baseline) if m.unseen is not None]

    def best_epochs(self) -> list[float]:
        """The best epochs' accuracies, of results that have epochs."""
        return [r.best_epoch for r in self.results if r.best_epoch is not None]

    @property
    def measures(self) -> list[str]:
        """Names of what was measured."""
        return ordered(name for r in self.results for name in r.measures)


def ordered(measures: Iterable[str]) -> list[str]:
    """Names of measures, each once, in the order of `MEASURES`."""
    found = dict.fromkeys(measures)
    return [name for name in MEASURES if name in found] + [name for name in found if name not in MEASURES]


def measure_title(name: str) -> str:
    return MEASURES.get(name, name.replace("_", " "))


def mark(baseline: str) -> int:
    """Number of a baseline's colour in style.css (m0 … m5)."""
    return ([*BASELINES, baseline].index(baseline)) % 6


@dataclass(frozen=True, eq=False)
class Shown:
    """A run on the page. name: its folder's, made distinct among the page's runs."""

    run: Run
    name: str
    evaluations: list[Evaluation]

    @property
    def method(self) -> str:
        return self.run.config["method"]

    @property
    def split(self) -> str:
        return self.run.config["split"]

    @property
    def seed(self) -> int:
        return self.run.config["seed"]

    @property
    def stores(self) -> list[str]:
        """Paths of the stores that it was trained on."""
        data = self.run.config["data"]
        return [data] if isinstance(data, str) else data

    @property
    def main(self) -> Evaluation | None:
        """The evaluation that leads: the first protocol of linear, finetune, knn, preferably on the run's own split."""
        return next(iter(self.ranked), None)

    @property
    def ranked(self) -> list[Evaluation]:
        """The evaluations, the one that leads first."""
        order = lambda e: (e.stale, _rank(e.first), e.first.split != self.split, e.first.encoder != "encoder")
        return sorted(self.evaluations, key=order)


def read_runs(folders: Sequence[Path | str]) -> list[Shown]:
    """Runs from their folders; raises ValueError for a folder that is not a run, or none at all."""
    if not folders:
        raise ValueError("a report needs at least one run")
    out: list[Shown] = []
    names: list[str] = []
    for run in (Run(Path(folder)) for folder in folders):
        run.config  # noqa: B018  (read now: a folder that is not a run is an error)
        same = names.count(run.name)
        names.append(run.name)
        out.append(Shown(run, f"{run.name} ({same + 1})" if same else run.name, evaluations(run)))
    return out


def evaluations(run: Run) -> list[Evaluation]:
    """A run's results, ordered by data, split and protocol."""
    groups = [Evaluation(group, not run.is_current(group[0])) for group in group_seeds(run.results())]
    return sorted(groups, key=lambda e: (e.first.data, e.first.split, _rank(e.first), e.first.encoder or ""))


def without_paths(text: str, *paths: Path | str) -> str:
    """A message with the folders that lead to these paths cut away, so that a page names no place of its machine."""
    for path in map(Path, paths):
        for form in {path, path.resolve()}:
            if len(form.parts) > 1:
                text = text.replace(str(form), form.name)
    return text

"""Ensembles: the stored class scores of several runs' evaluations, added up (joint + motion + bone, say)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kinemask.runs.measures import measure, per_class
from kinemask.runs.result import Member, Result, Results, write_result
from kinemask.runs.run import Run
from kinemask.store.format import sha256
from kinemask.version import NUMERICS, __version__

_SAME = ("protocol", "data", "split", "classes")  # of all members


@dataclass(frozen=True)
class Where:
    """Which of a run's evaluations is meant; None is any."""

    data: str | Path | None
    split: str | None
    protocol: str | None
    seed: int | None
    hashes: Sequence[str]

    def matches(self, result: Result) -> bool:
        if self.hashes and result.hash not in self.hashes:
            return False
        if self.data is not None and not _is_data(result, self.data):
            return False
        return all(getattr(self, k) in (None, getattr(result, k)) for k in ("split", "protocol", "seed"))

    def __str__(self) -> str:
        asked = ((f.name, getattr(self, f.name)) for f in fields(self))
        return ", ".join(f"{name} {value}" for name, value in asked if value not in (None, [], ()))


def _is_data(result: Result, data: str | Path) -> bool:
    """Whether a result is of this data set, by its name, or of the store at this path."""
    clips = Path(data) / "clips.csv"
    if clips.is_file():
        return sha256(clips) == result.store_sha256["clips.csv"]
    return str(data) == result.data


@dataclass(frozen=True)
class Voice:
    """A stored result, and its arrays: scores (N, classes), labels, names and unseen (N,)."""

    run: Run
    result: Result
    scores: Tensor
    labels: Tensor
    names: np.ndarray
    unseen: Tensor

    @classmethod
    def of(cls, run: Run, where: Where) -> Voice:
        """The one evaluation of a run that is meant; ValueError where there is none, or are several."""
        every = [r for r in run.results() if not r.members]
        found = [r for r in every if where.matches(r)]
        if not where.hashes:
            current = [r for r in found if run.is_current(r)]
            if found and not current:
                raise ValueError(
                    f"{run.path}: its encoder has changed since these evaluations; evaluate again, or name one by its "
                    f"hash: {_list(found)}"
                )
            found = current
        if not found:
            asked = f" with {where}" if str(where) else ""
            raise ValueError(f"{run.path} has no evaluation{asked}; it has: {_list(every)}")
        if len(found) > 1:
            raise ValueError(f"{run.path}: which evaluation? Name protocol, data, split, seed or hash: {_list(found)}")
        a = found[0].scores()
        scores, labels, unseen = (torch.from_numpy(a[name]) for name in ("scores", "labels", "unseen"))
        return cls(run, found[0], scores, labels, a["names"], unseen)

    def ordered(self, names: np.ndarray) -> Voice:
        """With its test clips in the order of `names`; ValueError where they are not the same clips."""
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"{self.told}: two test clips have the same name, so clips cannot be matched by name")
        lacking, more = np.setdiff1d(names, self.names), np.setdiff1d(self.names, names)
        if len(lacking) or len(more):
            sides = [("lacks", lacking), ("has besides", more)]
            said = "; ".join(f"it {verb} {len(n)}, such as {n[0]}" for verb, n in sides if len(n))
            raise ValueError(f"{self.told} has other test clips than the first member: {said}")
        order = torch.from_numpy(np.argsort(self.names)[np.argsort(np.argsort(names))])
        scores, labels, unseen = self.scores[order], self.labels[order], self.unseen[order]
        return replace(self, names=names, scores=scores, labels=labels, unseen=unseen)

    @property
    def told(self) -> str:
        return f"{self.run.path} ({self.result.scores_path.name})"


def ensemble(
    runs: Sequence[str | Path],
    *,
    weights: Sequence[float] | None = None,
    data: str | Path | None = None,
    split: str | None = None,
    protocol: str | None = None,
    seed: int | Sequence[int] | None = None,
    hashes: Sequence[str] = (),
    out: str | Path | None = None,
) -> Results:
    """Fuse the stored scores of two or more runs; writes and returns a result, or one per seed that is named.

    Evaluations of an encoder that the run no longer has count only by their hash. See `kinemask.ensemble`.
    """
    if len(runs) < 2:
        raise ValueError("an ensemble needs at least two runs")
    if weights is not None and (len(weights) != len(runs) or min(weights) < 0 or not 0 < sum(weights) < float("inf")):
        raise ValueError(f"weights: one number from 0 up per run ({len(runs)}), not all 0; not {list(weights)}")
    if out is not None and not (Path(out) / "config.yaml").is_file():
        raise ValueError(f"out: {out} is not a run: it has no config.yaml")
    seeds: list[int | None] = [seed] if seed is None or isinstance(seed, int) else list(seed)
    results = Results()
    for one in seeds:
        where = Where(data, split, protocol, one, hashes)
        voices = [Voice.of(Run(Path(run)), where) for run in runs]
        results.append(_fuse(voices, list(weights or [1.0] * len(runs)), Path(out or runs[0])))
    return results


def _list(results: Sequence[Result]) -> str:
    told = (f"{r.protocol} {r.data} {r.split}, seed {r.seed}, hash {r.hash}" for r in results)
    return "; ".join(told) or "none"


def _fuse(voices: list[Voice], weights: list[float], out: Path) -> Result:
    first = voices[0]
    for voice in voices[1:]:
        for name in _SAME:
            mine, others = getattr(voice.result, name), getattr(first.result, name)
            if mine != others:
                raise ValueError(f"{voice.told} has {name} {mine}, but {first.told} has {others}")
        if voice.result.store_sha256 != first.result.store_sha256:
            raise ValueError(
                f"{voice.told} and {first.told} are evaluations on different stores of {first.result.data}"
            )
    voices = [voice.ordered(first.names) for voice in voices]
    for voice in voices[1:]:
        if not torch.equal(voice.labels, first.labels):
            raise ValueError(f"{voice.told} has other labels than {first.told} for the same test clips")
    if len({(v.run.path.resolve(), v.result.hash) for v in voices}) < len(voices):
        warnings.warn("an evaluation is in the ensemble more than once", stacklevel=3)
    shares = [w / sum(weights) for w in weights]
    every = torch.stack([share * v.scores.double() for share, v in zip(shares, voices, strict=True)])
    scores, labels, unseen, a = every.sum(0).float(), first.labels, first.unseen, first.result
    members = [
        Member(
            run=v.run.name,
            hash=v.result.hash,
            seed=v.result.seed,
            weight=share,
            method=v.result.trained.method,
            stream=v.result.trained.stream,
            accuracy=v.result.measures["accuracy"],
        )
        for v, share in zip(voices, shares, strict=True)
    ]
    settings = {"protocol": a.protocol, "evaluation": a.settings, "runs": [m.run for m in members]}
    settings |= {"hashes": [m.hash for m in members], "weights": weights}
    key = replace(a.key, protocol="ensemble", settings=settings, baselines_asked=False, numerics=NUMERICS)
    result = Result(
        **key.fields(),
        measures=measure(scores, labels, unseen),
        test_clips=len(labels),
        test_clips_unseen=a.test_clips_unseen,
        classes=a.classes,
        per_class=per_class(scores, labels, a.classes),
        baselines={},
        trained=a.trained,
        version=__version__,
        seconds=0.0,
        members=members,
        dims=a.dims,
    )
    return write_result(out, result, scores, labels, first.names.tolist(), unseen)

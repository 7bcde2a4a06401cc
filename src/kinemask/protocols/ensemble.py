"""Ensembles: the stored class scores of several runs' evaluations, added up (joint + motion + bone, say)."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kinemask.runs.metrics import measures
from kinemask.runs.results import accuracy, hash8, is_current, per_class, read_results, write_result
from kinemask.store.format import sha256
from kinemask.version import __version__

_SAME = ("protocol", "data", "split", "classes")  # of all members


@dataclass(frozen=True)
class Member:
    """A stored result, and the scores beside it: scores (N, classes), labels (N,), names and unseen (N,) or None."""

    run: Path
    result: dict[str, Any]
    scores: Tensor
    labels: Tensor
    names: np.ndarray
    unseen: Tensor | None

    def ordered(self, names: np.ndarray) -> Member:
        """With its test clips in the order of `names`; ValueError where they are not the same clips."""
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"{self.told}: two test clips have the same name, so clips cannot be matched by name")
        lacking, more = np.setdiff1d(names, self.names), np.setdiff1d(self.names, names)
        if len(lacking) or len(more):
            sides = [("lacks", lacking), ("has besides", more)]
            said = "; ".join(f"it {verb} {len(n)}, such as {n[0]}" for verb, n in sides if len(n))
            raise ValueError(f"{self.told} has other test clips than the first member: {said}")
        order = torch.from_numpy(np.argsort(self.names)[np.argsort(np.argsort(names))])
        unseen = None if self.unseen is None else self.unseen[order]
        return Member(self.run, self.result, self.scores[order], self.labels[order], names, unseen)

    @property
    def told(self) -> str:
        return f"{self.run} ({Path(self.result['scores']).name})"


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
) -> list[dict[str, Any]]:
    """Fuse the stored scores of two or more runs; writes and returns a result, or one per seed that is named.

    weights: of the runs, equal by default. data (a store or the data set's name), split, protocol, seed and hashes say
    which of a run's evaluations is meant; one must be left of each run, and all of one data set, split and protocol.
    Evaluations of an encoder that the run no longer has count only by their hash. out: the run in whose evaluations
    the result is kept (default: the first). Raises ValueError where anything is ambiguous or does not fit.
    """
    if len(runs) < 2:
        raise ValueError("an ensemble needs at least two runs")
    if weights is not None and (len(weights) != len(runs) or min(weights) < 0 or not 0 < sum(weights) < float("inf")):
        raise ValueError(f"weights: one number from 0 up per run ({len(runs)}), not all 0; not {list(weights)}")
    if out is not None and not (Path(out) / "config.yaml").is_file():
        raise ValueError(f"out: {out} is not a run: it has no config.yaml")
    seeds: list[int | None] = [seed] if seed is None or isinstance(seed, int) else list(seed)
    where = {"data": data, "split": split, "protocol": protocol, "hash": list(hashes)}
    results = []
    for one in seeds:
        members = [_member(Path(run), where | {"seed": one}) for run in runs]
        results.append(_fuse(members, list(weights or [1.0] * len(runs)), Path(out or runs[0])))
    return results


def _member(run: Path, where: dict[str, Any]) -> Member:
    found = [r for r in read_results(run) if "members" not in r and _matches(r, where)]
    if not where["hash"]:
        current = [r for r in found if is_current(run, r)]
        if found and not current:
            raise ValueError(
                f"{run}: its encoder has changed since these evaluations; evaluate it again, or name one by its hash: "
                + _list(found)
            )
        found = current
    asked = ", ".join(f"{k} {v}" for k, v in where.items() if v not in (None, []))
    if not found:
        raise ValueError(
            f"{run} has no evaluation{f' with {asked}' if asked else ''}; it has: {_list(read_results(run))}"
        )
    if len(found) > 1:
        raise ValueError(f"{run}: which evaluation? Name protocol, data, split, seed or hash: {_list(found)}")
    path: Path = found[0]["scores"]
    if not path.is_file():
        raise ValueError(f"the scores of this evaluation, {path}, are absent")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            a = dict(arrays)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"the scores of this evaluation, {path}, are damaged: {error}") from None
    if not {"scores", "labels", "names"} <= a.keys():
        raise ValueError(f"the scores of this evaluation, {path}, lack scores, labels or names")
    unseen = torch.from_numpy(a["unseen"]) if "unseen" in a else None
    return Member(run, found[0], torch.from_numpy(a["scores"]), torch.from_numpy(a["labels"]), a["names"], unseen)


def _matches(result: dict[str, Any], where: dict[str, Any]) -> bool:
    if where["hash"] and result["hash"] not in where["hash"]:
        return False
    if where["data"] is not None and not _is_data(result, where["data"]):
        return False
    return all(where[k] in (None, result[k]) for k in ("split", "protocol", "seed"))


def _is_data(result: dict[str, Any], data: str | Path) -> bool:
    """Whether a result is of this data set, by its name, or of the store at this path."""
    clips = Path(data) / "clips.csv"
    if clips.is_file():
        return sha256(clips) == result["store_sha256"]["clips.csv"]
    return str(data) == result["data"]


def _list(results: Sequence[dict[str, Any]]) -> str:
    told = ("{protocol} {data} {split}, seed {seed}, hash {hash}".format(**r) for r in results)
    return "; ".join(told) or "none"


def _fuse(members: list[Member], weights: list[float], out: Path) -> dict[str, Any]:
    first = members[0]
    for member in members[1:]:
        for name in _SAME:
            mine, others = member.result[name], first.result[name]
            if mine != others:
                raise ValueError(f"{member.told} has {name} {mine}, but {first.told} has {others}")
        if member.result["store_sha256"] != first.result["store_sha256"]:
            raise ValueError(
                f"{member.told} and {first.told} are evaluations on different stores of {first.result['data']}"
            )
    members = [member.ordered(first.names) for member in members]
    for member in members[1:]:
        if not torch.equal(member.labels, first.labels):
            raise ValueError(f"{member.told} has other labels than {first.told} for the same test clips")
    if len({(m.run.resolve(), m.result["hash"]) for m in members}) < len(members):
        warnings.warn("an evaluation is in the ensemble more than once", stacklevel=3)
    shares = [w / sum(weights) for w in weights]
    every = torch.stack([share * m.scores.double() for share, m in zip(shares, members, strict=True)])
    scores = every.sum(0).float()
    labels, unseen, a = first.labels, first.unseen, first.result
    about = {
        "protocol": "ensemble",
        **{k: a[k] for k in ("data", "split", "encoder", "encoder_sha256", "store_sha256", "test_clips_sampled")},
        "settings": {
            "protocol": a["protocol"],
            "evaluation": a["settings"],
            "runs": [m.run.resolve().name for m in members],
            "weights": weights,
        },
        "version": __version__,
        "members": [
            {"run": m.run.resolve().name, "weight": share, "method": m.result["run"]["method"]}
            | {"stream": m.result["run"]["settings"]["sampling"]["stream"]}
            | {k: m.result[k] for k in ("hash", "seed", "accuracy", "accuracy_unseen")}
            | {"confidence_interval": m.result.get("confidence_interval")}
            for m, share in zip(members, shares, strict=True)
        ],
    }
    result = about | {
        "hash": hash8(about),
        "seed": a["seed"],
        "accuracy": accuracy(scores, labels),
        "accuracy_best_epoch": None,
        "test_clips": len(labels),
        "accuracy_unseen": None if unseen is None else accuracy(scores[unseen], labels[unseen]),
        "test_clips_unseen": a["test_clips_unseen"],
        **measures(scores, labels),
        "per_class": per_class(scores, labels, a["classes"]),
        "classes": a["classes"],
        "controls": None,
        "run": a["run"],
    }
    result["path"] = str(write_result(out, result, scores, labels, first.names.tolist(), unseen))
    return result

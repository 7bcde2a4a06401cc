"""What an evaluation yields, and the file it is kept in."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kinemask.files import write_atomically


@dataclass(frozen=True, eq=False)
class Outcome:
    """scores (N, classes) of the test clips at the end; the best epoch's accuracy where there are epochs."""

    scores: Tensor
    best_epoch: float | None = None


def accuracy(scores: Tensor, labels: Tensor) -> float | None:
    """Top-1 accuracy in percent: scores (N, classes), labels (N,). None without clips."""
    if not len(labels):
        return None
    return 100 * (scores.argmax(1) == labels).float().mean().item()


def per_class(scores: Tensor, labels: Tensor, classes: list[str]) -> dict[str, float | None]:
    """Top-1 accuracy in percent of each class that has test clips."""
    return {
        name: accuracy(scores[labels == i], labels[labels == i])
        for i, name in enumerate(classes)
        if (labels == i).any()
    }


def hash8(settings: dict[str, Any]) -> str:
    """Eight hexadecimal digits of a hash of plain settings."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]


def write_result(run: Path, result: dict[str, Any], scores: Tensor, labels: Tensor, names: list[str]) -> Path:
    """Write PROTOCOL-DATA-SPLIT-HASH8.json and its scores (test clips' names, labels, scores) beside it."""
    folder = run / "evaluations"
    folder.mkdir(parents=True, exist_ok=True)
    stem = "-".join(str(result[k]).replace("/", "_") for k in ("protocol", "data", "split", "hash"))

    def save_scores(path: Path) -> None:
        with path.open("wb") as f:
            np.savez_compressed(f, scores=scores.numpy(), labels=labels.numpy(), names=np.array(names))

    text = json.dumps(result, indent=1, allow_nan=False) + "\n"  # before any file: no scores without their result
    write_atomically(folder / f"{stem}-scores.npz", save_scores)
    write_atomically(folder / f"{stem}.json", lambda p: p.write_text(text))
    return folder / f"{stem}.json"


def read_results(run: Path) -> list[dict[str, Any]]:
    """Every evaluation of a run, with the path of its scores under "scores"."""
    out = []
    for path in sorted((run / "evaluations").glob("*.json")):
        result = json.loads(path.read_text())
        out.append(result | {"scores": path.with_name(f"{path.stem}-scores.npz")})
    return out


def summary(values: list[float]) -> str:
    """Mean ± standard deviation (of the sample), or the single value."""
    if len(values) == 1:
        return f"{values[0]:.1f}"
    t = torch.tensor(values)
    return f"{t.mean():.1f} ± {t.std():.1f}"


def table(results: list[dict[str, Any]]) -> str:
    """Results of one protocol as a plain table: accuracy over seeds, unseen clips, controls."""
    first, controls = results[0], [r["controls"] for r in results if r["controls"]]
    epochs = first["accuracy_best_epoch"] is not None
    lines = {"accuracy (last epoch)" if epochs else "accuracy": [r["accuracy"] for r in results]}
    if 0 < first["test_clips_unseen"] < first["test_clips"]:
        lines[f"  on the {first['test_clips_unseen']} unseen clips"] = [r["accuracy_unseen"] for r in results]
    if epochs:
        lines["best epoch (selects on the test set)"] = [r["accuracy_best_epoch"] for r in results]
    if controls:
        lines["control: untrained encoder"] = [c["untrained_encoder"] for c in controls]
        lines["control: raw coordinates, 1-NN"] = [controls[0]["raw_coordinates_knn"]]
    where = f"{first['protocol']}, {first['data']} {first['split']}"
    head = f"{where}, {first['test_clips']} test clips, seeds: {len(results)}"
    return "\n".join([head, *(f"  {name:38} {summary(values):>12} %" for name, values in lines.items())])

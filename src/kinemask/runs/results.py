"""What an evaluation yields, and the file it is kept in."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kinemask.files import write_atomically
from kinemask.runs.metrics import confusion
from kinemask.store.format import sha256
from kinemask.windows.settings import CORRUPTIONS


@dataclass(frozen=True, eq=False)
class Outcome:
    """scores (N, classes) of the test clips at the end; the best epoch's accuracy where there are epochs.

    details: plain values that the protocol adds to its result.
    """

    scores: Tensor
    best_epoch: float | None = None
    details: dict[str, Any] = field(default_factory=dict)


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


def mean_details(details: list[dict[str, Any]]) -> dict[str, Any]:
    """Details of several outcomes as one: numbers are averaged, and lists and mappings of them; the rest must agree."""

    def mean(values: list[Any]) -> Any:
        first = values[0]
        if isinstance(first, dict):
            return {k: mean([v[k] for v in values]) for k in first}
        if isinstance(first, list):
            return [mean(list(v)) for v in zip(*values, strict=True)]
        if all(v == first for v in values):
            return first
        assert isinstance(first, int | float), f"{values} have no mean"
        return fmean(values)

    return mean(details)


def write_result(
    run: Path,
    result: dict[str, Any],
    scores: Tensor,
    labels: Tensor,
    names: list[str],
    unseen: Tensor | None = None,
) -> Path:
    """Write PROTOCOL-DATA-SPLIT-HASH8.json, and beside it what it was computed from.

    The test clips' names, labels, scores and confusion matrix; unseen (N,) bool: which are no copies of training clips.
    """
    folder = run / "evaluations"
    folder.mkdir(parents=True, exist_ok=True)
    stem = "-".join(str(result[k]).replace("/", "_") for k in ("protocol", "data", "split", "hash"))

    def save_scores(path: Path) -> None:
        with path.open("wb") as f:
            arrays = {"scores": scores.numpy(), "labels": labels.numpy(), "names": np.array(names)}
            arrays["confusion"] = confusion(scores, labels)
            if unseen is not None:
                arrays["unseen"] = unseen.numpy()
            np.savez_compressed(f, **arrays)  # type: ignore[arg-type]

    text = json.dumps(result, indent=1, allow_nan=False) + "\n"  # before any file: no scores without their result
    write_atomically(folder / f"{stem}-scores.npz", save_scores)
    write_atomically(folder / f"{stem}.json", lambda p: p.write_text(text))
    return folder / f"{stem}.json"


def read_results(run: Path) -> list[dict[str, Any]]:
    """Every evaluation of a run, with the path of its scores under "scores"."""
    out = []
    for path in sorted((run / "evaluations").glob("*.json")):
        try:
            result = json.loads(path.read_text())
        except ValueError as error:
            raise ValueError(f"{path} is damaged: {error}") from None
        if (
            not isinstance(result, dict)
            or not {"protocol", "data", "split", "seed", "hash", "accuracy"} <= result.keys()
        ):
            raise ValueError(f"{path} is no result of `kinemask evaluate`")
        out.append(result | {"scores": path.with_name(f"{path.stem}-scores.npz")})
    return out


def is_current(run: Path, result: dict[str, Any]) -> bool:
    """Whether the run still has the encoder that a result is of; also true where it started from none."""
    known = result["encoder_sha256"]
    return known is None or any(sha256(path) == known for path in sorted(run.glob("encoder*.safetensors")))


def summary(values: list[float]) -> str:
    """Mean ± standard deviation (of the sample), or the single value."""
    if len(values) == 1:
        return f"{values[0]:.1f}"
    t = torch.tensor(values)
    return f"{t.mean():.1f} ± {t.std():.1f}"


def distinct(values: list[float]) -> list[float]:
    """One value where all are the same, as where the seed changes nothing."""
    return values[:1] if len(set(values)) == 1 else values


CONTROLS = {
    "untrained_encoder": "untrained encoder",
    "from_scratch": "from scratch",
    "raw_coordinates_knn": "raw coordinates, 1-NN",
}


MEASURES = {
    "top5": "top-5",
    "mean_class_accuracy": "mean over classes",
    "macro_f1": "macro F1",
    "expected_calibration_error": "calibration error",
}


def control_names(results: list[dict[str, Any]]) -> list[str]:
    """Names of the controls' accuracies that any of these results has, the known ones first."""
    found = {k: None for r in results for k, v in (r["controls"] or {}).items() if isinstance(v, int | float)}
    names = [name for name in found if not name.endswith("_unseen")]
    return sorted(names, key=lambda name: [*CONTROLS, name].index(name))


def control_title(name: str) -> str:
    return CONTROLS.get(name, name.replace("_", " "))


def table(results: list[dict[str, Any]]) -> str:
    """Results of one protocol as a plain table: accuracy over seeds, its interval, unseen clips, controls, curves."""
    first, controls = results[0], [r["controls"] for r in results if r["controls"]]
    epochs = first["accuracy_best_epoch"] is not None
    lines = {"accuracy (last epoch)" if epochs else "accuracy": [r["accuracy"] for r in results]}
    if 0 < first["test_clips_unseen"] < first["test_clips"] and first["accuracy_unseen"] is not None:
        lines[f"  on the {first['test_clips_unseen']} unseen clips"] = [r["accuracy_unseen"] for r in results]
    if epochs:
        lines["best epoch (selects on the test set)"] = [r["accuracy_best_epoch"] for r in results]
    for name, title in MEASURES.items():
        if found := [value for r in results if (value := r.get("metrics", {}).get(name)) is not None]:
            lines[f"  {title}"] = found
    if "mean_average_precision" in first:
        lines["mean average precision"] = [r["mean_average_precision"] for r in results]
    for i, member in enumerate(first.get("members", ())):
        name = f"member: {member['run']} ({member['stream']}, weight {member['weight']:.2g})"
        lines[name] = [r["members"][i]["accuracy"] for r in results]
    for name in control_names(results):
        values = [c[name] for c in controls if c.get(name) is not None]
        lines[f"control: {control_title(name)}"] = distinct(values) if name.startswith("raw") else values
    for name in ("untrained_encoder", "raw_coordinates"):
        found = [c["details"][name] for c in controls if "details" in c]
        if found and "mean_average_precision" in found[0]:
            precisions = distinct([x["mean_average_precision"] for x in found])
            lines[f"control: {name.replace('_', ' ')}, mean av. precision"] = precisions
    where = f"{first['protocol']}, {first['data']} {first['split']}"
    head = f"{where}, {first['test_clips']} test clips, seeds: {len(results)}"
    rows = [f"  {name:46} {summary(values):>12} %" for name, values in lines.items()]
    if first.get("confidence_interval"):
        low, high = (fmean(r["confidence_interval"][i] for r in results) for i in (0, 1))
        rows[0] += f"  (95 % interval over test clips: {low:.1f} to {high:.1f})"
    if "moved_from" in first:
        matched, new = first["joints_matched"], first["joints_new"]
        told = f"{len(matched)} of {len(matched) + len(new)} joints matched by name"
        rows.append(f"  from layout {first['moved_from']}: {told}; new: {', '.join(new) or 'none'}")
    return "\n".join([head, *rows, *_curves(results)])


def _curves(results: list[dict[str, Any]]) -> list[str]:
    """A line for each corruption: its levels, and the accuracy at each."""
    lines = []
    for kind, curve in results[0].get("curves", {}).items():
        means = [fmean(values) for values in zip(*(r["curves"][kind]["accuracy"] for r in results), strict=True)]
        points = [f"{level:g}: {mean:.1f}" for level, mean in zip(curve["levels"], means, strict=True)]
        lines.append(f"  {CORRUPTIONS[kind]:46} {'  '.join(points)}")
    return lines

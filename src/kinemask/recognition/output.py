"""Labels and features as files and as lines of a terminal."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kinemask.files import write_atomically
from kinemask.recognition.segments import Segment

TABLES = (".csv", ".jsonl", ".json")
FEATURES = (".npz", ".csv", ".parquet")


@dataclass(frozen=True, eq=False)
class Features:
    """Features (N, D) of recordings, with their names and the labels that their sources have, "" for none."""

    names: list[str]
    labels: list[str]
    features: np.ndarray


def check_table(out: str | Path | None) -> None:
    """ValueError for a file of labels whose ending means nothing."""
    if out is not None and Path(out).suffix.lower() not in TABLES:
        raise ValueError(f"{out}: labels are written as {', '.join(TABLES[:2])} (JSON lines)")


def check_features(out: str | Path) -> None:
    """ValueError for a file of features whose ending means nothing, or that needs what is not installed."""
    suffix = Path(out).suffix.lower()
    if suffix not in FEATURES:
        raise ValueError(f"{out}: features are written as {', '.join(FEATURES)}")
    if suffix == ".parquet":
        try:
            import pandas  # noqa: F401
            import pyarrow  # noqa: F401  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise ValueError(f"{out} needs pandas and pyarrow: pip install 'kinemask[tables]'") from None


def write_segments(path: str | Path, segments: Sequence[Segment]) -> Path:
    """A CSV file, or a file of JSON lines, of segments."""
    path = Path(path)
    text = as_csv(segments) if path.suffix.lower() == ".csv" else as_lines(segments)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda place: place.write_text(text, encoding="utf-8", newline=""))
    return path


def as_csv(segments: Sequence[Segment]) -> str:
    """clip,start,end,unit,label,probability and, where more than one class was asked for, label2,probability2, …"""
    more = max((len(one.ranking) for one in segments), default=1)
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    others = [f"{name}{k}" for k in range(2, more + 1) for name in ("label", "probability")]
    table.writerow(["clip", "start", "end", "label", "probability", "unit", *others])
    for one in segments:
        ranked = [text for name, share in one.ranking[1:] for text in (name, f"{share:.4f}")]
        row = [one.clip, *_times(one), one.label, f"{one.probability:.4f}", _unit(one), *ranked]
        table.writerow(row)
    return out.getvalue()


def as_lines(segments: Sequence[Segment]) -> str:
    """A JSON object a line, its `classes` the most probable first."""
    lines = [
        {
            "clip": one.clip,
            "start": round(one.start, 4),
            "end": round(one.end, 4),
            "unit": _unit(one),
            "label": one.label,
            "probability": round(one.probability, 4),
            "classes": {name: round(share, 4) for name, share in one.ranking},
        }
        for one in segments
    ]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def as_table(segments: Sequence[Segment]) -> str:
    """Lines of a terminal."""
    rows = [["clip", "start", "end", "label", "probability"]]
    for one in segments:
        others = ", ".join(f"{name} {share:.0%}" for name, share in one.ranking[1:])
        start, end = _times(one)
        unit = "s" if one.seconds else ""
        rows.append([one.clip, start + unit, end + unit, one.label, f"{one.probability:.0%}"])
        if others:
            rows[-1].append(f"({others})")
    widths = [max(len(row[k]) for row in rows if k < len(row)) for k in range(max(map(len, rows)))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=False)).rstrip() for row in rows
    )


def _times(one: Segment) -> tuple[str, str]:
    return (f"{one.start:.2f}", f"{one.end:.2f}") if one.seconds else (f"{one.start:.0f}", f"{one.end:.0f}")


def _unit(one: Segment) -> str:
    return "seconds" if one.seconds else "frames"


def write_features(path: str | Path, found: Features) -> Path:
    """names, labels and features as arrays of a .npz file, or as columns name, label, f0, f1, … of a table."""
    path = Path(path)
    suffix = path.suffix.lower()
    path.parent.mkdir(parents=True, exist_ok=True)
    if suffix == ".npz":
        names, labels = (np.array(texts, dtype=np.str_) for texts in (found.names, found.labels))

        def save(place: Path) -> None:
            with place.open("wb") as file:
                np.savez_compressed(file, names=names, labels=labels, features=found.features)

        write_atomically(path, save)
    elif suffix == ".csv":
        write_atomically(path, lambda place: place.write_text(_features_csv(found), encoding="utf-8", newline=""))
    else:
        import pandas as pd

        columns = {"name": found.names, "label": found.labels}
        columns |= {f"f{k}": column for k, column in enumerate(found.features.T)}
        write_atomically(path, lambda place: pd.DataFrame(columns).to_parquet(place, index=False))
    return path


def _features_csv(found: Features) -> str:
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["name", "label", *(f"f{k}" for k in range(found.features.shape[1]))])
    for name, label, row in zip(found.names, found.labels, found.features, strict=True):
        table.writerow([name, label, *(f"{value:.6g}" for value in row)])
    return out.getvalue()

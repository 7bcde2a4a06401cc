"""What training writes down: metrics.jsonl and TensorBoard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kinemask.budget import PARSED, read_bytes
from kinemask.files import naming, write_atomically

LARGEST = 10**15  # whole number in the log


class Log:
    """metrics.jsonl and TensorBoard of a run. Lines after the step from which a run resumes are dropped."""

    def __init__(self, run: Path, step: int):
        self._path = run / "metrics.jsonl"
        kept = [line for line in read_metrics(run) if line["step"] <= step]
        text = "".join(json.dumps(line) + "\n" for line in kept)
        write_atomically(self._path, lambda p: p.write_text(text))
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:  # the tensorboard extra is not installed
            self._board = None
        else:
            self._board = SummaryWriter(str(run / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, values: dict[str, Any]) -> None:
        with naming(self._path), self._path.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        if self._board is not None:
            self._board.close()


def read_metrics(run: Path) -> list[dict[str, float]]:
    """The lines of a run's metrics.jsonl, of numbers by name, `step` among them; empty if it has none.

    The last line of a process that was killed while writing is left out. Raises ValueError naming the file and the
    line for anything else that is not such a line.
    """
    path = run / "metrics.jsonl"
    if not path.exists():
        return []
    out: list[dict[str, float]] = []
    written = read_bytes(path, PARSED).splitlines()
    for number, line in enumerate(written, 1):
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            if number == len(written):
                break
            raise ValueError(f"{path}, line {number}: not JSON") from None
        numbers = isinstance(values, dict) and all(
            type(v) is float or (type(v) is int and abs(v) <= LARGEST) for v in values.values()
        )
        if not numbers or type(values.get("step")) is not int or values["step"] < 0:
            raise ValueError(f"{path}, line {number}: expected numbers by name, with a step")
        out.append(values)
    return out


def training_seconds(run: Path) -> float | None:
    """Seconds of a run's optimizer steps, over all its interruptions, without scoring; None where there is no log."""
    lines = read_metrics(run)
    return sum(line.get("seconds", 0.0) for line in lines) if lines else None

"""Checkpoints of a run: the loop's whole state in `last.pt`, and the one before it in `previous.pt`."""

from __future__ import annotations

import io
import os
import pickle
import struct
import warnings
from pathlib import Path
from typing import Any

import torch

from kinemask.files import write_atomically

STATE = {"step", "task", "optimizer", "sources"}


def save_checkpoint(run: Path, state: dict[str, Any]) -> None:
    """Write `last.pt`; the former one becomes `previous.pt`. A full disk raises OSError and leaves both as they are."""
    content = io.BytesIO()  # written by torch itself, a full disk would be a RuntimeError
    torch.save(state, content)

    def write(path: Path) -> None:
        path.write_bytes(content.getbuffer())
        if (run / "last.pt").exists():
            os.replace(run / "last.pt", run / "previous.pt")

    write_atomically(run / "last.pt", write)


def load_checkpoint(run: Path, drop_damaged: bool = False) -> dict[str, Any] | None:
    """The newest readable checkpoint of a run, or None if it has none. Runs no code from the file.

    drop_damaged: remove a damaged `last.pt` that `previous.pt` stands in for, or it would take the good one's place
    at the next save. Raises ValueError where there are checkpoints but none is readable.
    """
    damaged: list[str] = []
    for name in ("last.pt", "previous.pt"):
        path = run / name
        if not path.exists():
            continue
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            if not isinstance(state, dict) or not state.keys() >= STATE:
                raise ValueError("not a checkpoint of kinemask")
        except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, struct.error, KeyError) as error:
            damaged.append(f"{path}: {error}".splitlines()[0])
            continue
        if damaged:
            warnings.warn(f"resuming from {path}, because {damaged[0]}", stacklevel=2)
            if drop_damaged:
                (run / "last.pt").unlink(missing_ok=True)
        return state
    if damaged:
        raise ValueError("no readable checkpoint: " + "; ".join(damaged) + f"; move {run} away to start afresh")
    return None

"""Checkpoints: the loop's whole state in `last.pt`, and the one before it in `previous.pt`."""

from __future__ import annotations

import io
import os
import pickle
import struct
import warnings
from pathlib import Path
from typing import Any

import torch
import yaml

from kinemask.files import write_atomically
from kinemask.training.settings import flatten

STATE = {"step", "task", "optimizer", "source"}

# may differ between a run and its continuation: they change where and how often, not what
_FREE = {"data", "training.device", "training.log_every", "training.save_every", "training.compile"}


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
            warnings.warn(f"going on from {path}, because {damaged[0]}", stacklevel=2)
            if drop_damaged:
                (run / "last.pt").unlink(missing_ok=True)
        return state
    if damaged:
        raise ValueError("no readable checkpoint: " + "; ".join(damaged) + f"; move {run} away to start afresh")
    return None


def claim_run(run: Path, config: dict[str, Any]) -> None:
    """Make the run's folder, or check that it belongs to the same settings; ValueError names those that differ.

    A folder in which nothing was saved yet, neither checkpoint nor encoder, goes over to the new settings.
    """
    path = run / "config.yaml"
    saved = [*run.glob("*.pt"), *run.glob("*.safetensors")]
    if not path.exists() or not saved:
        run.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda p: p.write_text(yaml.safe_dump(config, sort_keys=False)))
        return
    before, now = flatten(read_config(run)), flatten(config)
    differ = sorted(k for k in before.keys() | now.keys() if before.get(k) != now.get(k) and k not in _FREE)
    if differ:
        for name in ("protocol", "method"):
            if name in differ:
                differ = [name]  # its sections have other settings
        changes = ", ".join(f"{k} (was {before.get(k)!r}, now {now.get(k)!r})" for k in differ)
        raise ValueError(
            f"{run} holds a run with other settings: {changes}; choose another --out, or the same settings"
        )


def read_config(run: Path) -> dict[str, Any]:
    """The settings of a run, as plain values."""
    path = run / "config.yaml"
    if not path.is_file():
        raise ValueError(f"{run} is not a run: it has no config.yaml")
    config = yaml.safe_load(path.read_text())
    if not isinstance(config, dict) or "method" not in config:
        raise ValueError(f"{path} does not hold the settings of a run")
    return config

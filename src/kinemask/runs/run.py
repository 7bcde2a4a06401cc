"""A run: the folder that pre-training, fine-tuning and evaluations share, read and written in one place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from kinemask.files import in_use, lock_file, remove, sweep, write_atomically
from kinemask.models.encoders import find as find_weights
from kinemask.plain_file import read_yaml
from kinemask.runs.log import read_metrics, training_seconds
from kinemask.runs.result import Result, Results, read_results
from kinemask.store.format import sha256

# may differ between a run and its continuation: they change where and how often, not what
_FREE = ("data", "training.device", "training.log_every", "training.save_every", "training.compile")
_FREE += ("test_view.test_crop", "test_view.test_clips")  # of a fine-tuned run: what the log saw of test clips

_FILES = (".jsonl", ".pt", ".safetensors", ".yaml")  # endings of what a run keeps beside its folders


@dataclass(frozen=True)
class Run:
    """A run's folder. What it holds is read when it is asked for.

    config.yaml (settings), metrics.jsonl (log), last.pt and previous.pt (`runs.checkpoint`), encoder files, for
    fine-tuned runs classifier.safetensors, and evaluations/ (`runs.result`).
    """

    path: Path

    @cached_property
    def config(self) -> dict[str, Any]:
        """All settings, as plain values. Raises ValueError where this is no run, or its settings are damaged."""
        path = self.path / "config.yaml"
        if not path.is_file():
            raise ValueError(f"{self.path} is not a run: it has no config.yaml")
        config = read_yaml(path)
        config = config if isinstance(config, dict) else {}
        if lacking := [name for name in ("method", "data", "split", "seed") if name not in config]:
            raise ValueError(f"{path} does not hold the settings of a run: it lacks {', '.join(lacking)}")
        stores = config["data"] if isinstance(config["data"], list) else [config["data"]]
        texts = [config["method"], config["split"], *stores]
        if not all(isinstance(text, str) for text in texts) or type(config["seed"]) is not int:
            raise ValueError(f"{path}: method, data and split must be texts (data also a list), seed a whole number")
        return config

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    @property
    def pretrained(self) -> bool:
        """Whether it is of pre-training; else it was fine-tuned on labels."""
        return "pretext" in self.config

    def encoder(self, name: str = "encoder") -> Path:
        """The encoder file of that name (without .safetensors), or of the role teacher or student.

        Raises ValueError where it is absent.
        """
        if Path(name).name != name or "\\" in name:
            raise ValueError(f"encoder: the name of a file of the run without its ending, not {name!r}")
        teacher, student = (self.path / f"{stem}.safetensors" for stem in ("encoder", "encoder-student"))
        roles = {"teacher": teacher, "student": student}
        if name in roles and teacher.exists() and not student.exists():
            raise ValueError(f"encoder: {self.path} has no teacher and student, its method leaves one encoder")
        return find_weights(roles.get(name, self.path / f"{name}.safetensors"), "encoder")

    def has(self, encoder: str = "encoder") -> bool:
        """Whether it has the encoder file of that name, or both roles; the default one is there at its end."""
        stems = ("encoder", "encoder-student") if encoder in ("teacher", "student") else (encoder,)
        return all((self.path / f"{stem}.safetensors").is_file() for stem in stems)

    def metrics(self) -> list[dict[str, float]]:
        """The lines of its log."""
        return read_metrics(self.path)

    def training_seconds(self) -> float | None:
        """Seconds of its optimizer steps; None without a log."""
        return training_seconds(self.path)

    def results(self) -> Results:
        """Every evaluation that it keeps."""
        return read_results(self.path)

    def is_current(self, result: Result) -> bool:
        """Whether the run still has the encoder that a result is of; also true where it started from none."""
        known = result.encoder_sha256
        return known is None or any(sha256(path) == known for path in sorted(self.path.glob("encoder*.safetensors")))

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Make the folder, and be the one process that trains in it; ValueError says who else does. Reading is free."""
        self.path.mkdir(parents=True, exist_ok=True)
        with lock_file(self._lock, f"the run {self.path}"):
            yield

    @property
    def _lock(self) -> Path:
        return self.path / ".lock"

    def claim(self, config: dict[str, Any]) -> None:
        """Make the folder, or check that it belongs to the same settings; ValueError names those that differ.

        A folder in which nothing was saved yet, neither checkpoint nor encoder, goes over to the new settings. What
        killed processes left half-written is swept.
        """
        for folder in (self.path, self.path / "evaluations"):
            sweep(folder)
        if not in_use(self._lock):
            remove(self._lock)
        if blocked := [p for p in self.path.glob("*") if p.suffix in _FILES and p.is_dir()]:
            raise ValueError(f"{blocked[0]} is a folder, where the run keeps a file; move it away")
        path = self.path / "config.yaml"
        if not path.exists() or not [*self.path.glob("*.pt"), *self.path.glob("*.safetensors")]:
            self.path.mkdir(parents=True, exist_ok=True)
            write_atomically(path, lambda p: p.write_text(yaml.safe_dump(config, sort_keys=False)))
            return
        changes = differences(Run(self.path).config, config)
        for name in ("protocol", "method"):
            if name in changes:
                changes = {name: changes[name]}  # its sections have other settings
        told = ", ".join(f"{k} (was {was!r}, now {now!r})" for k, (was, now) in changes.items() if k not in _FREE)
        if told:
            raise ValueError(
                f"{self.path} holds a run with other settings: {told}; choose another --out, or the same settings"
            )


def differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Dotted names of the settings in which two nested mappings differ, sorted: name -> (before, now)."""
    out: dict[str, tuple[Any, Any]] = {}
    for name in sorted(before.keys() | now.keys()):
        was, becomes = before.get(name), now.get(name)
        if isinstance(was, Mapping) or isinstance(becomes, Mapping):
            sides = (side if isinstance(side, Mapping) else {} for side in (was, becomes))
            out |= differences(*sides, prefix=f"{prefix}{name}.")
        elif was != becomes:
            out[prefix + name] = was, becomes
    return out

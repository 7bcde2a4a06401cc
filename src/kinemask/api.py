"""What the command line does, as short calls: `kinemask.pretrain(...)`, `kinemask.evaluate(...)`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kinemask.configure import parse
from kinemask.protocols.evaluate import evaluate
from kinemask.training.pretraining import pretrain as train

__all__ = ["default_run", "evaluate", "pretrain"]


def default_run(recipe: str, data: str, split: str, seed: int) -> Path:
    """The folder of a run that was given none: runs/RECIPE-STORE-SPLIT-seedN."""
    return Path("runs") / f"{Path(recipe).stem}-{Path(data).name}-{split}-seed{seed}"


def pretrain(
    recipe: str, data: str | Path, split: str, out: str | Path | None = None, *, quiet: bool = False, **settings: Any
) -> Path:
    """Pre-train a recipe on a split's training part (or go on with a stopped run); returns the run's folder.

    settings: any setting by its dotted name, e.g. `**{"training.epochs": 50, "seed": 1}`. Raises ValueError for unknown
    settings, and what `kinemask.training.pretraining.pretrain` raises.
    """
    chosen, _ = parse(None, {"data": str(data), "split": split, **settings}, recipe)
    return train(chosen, out or default_run(recipe, str(data), split, chosen.seed), quiet)

"""Pre-training, or a released checkpoint in its place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from kinemask.training.settings import Settings


def default_run(settings: Settings, recipe: str) -> Path:
    """The folder of a run that was given none: runs/RECIPE-STORE-SPLIT-seedN."""
    stores = "+".join(Path(store).name for store in settings.data)
    return Path("runs") / f"{Path(recipe).stem}-{stores}-{settings.split}-seed{settings.seed}"


def pretrain(
    recipe: str,
    data: str | Path | Sequence[str | Path],
    split: str,
    out: str | Path | None = None,
    *,
    quiet: bool = False,
    **settings: Any,
) -> Path:
    """Pre-train a recipe on the training part of a split.

    Returns the run's folder. A stopped run resumes. settings: any setting by its dotted name, e.g.
    `**{"training.epochs": 50, "seed": 1}`. Raises ValueError for unknown settings and for those that do not fit the
    store or the run, FloatingPointError (naming the batch's clips) when the loss is not finite, and Stopped.

    Args:
        recipe: a recipe's name (kinemask recipes), or a .yaml file
        data: the store to learn from, or several
        split: a split of the store; its training part is used. all: every clip
        out: folder of the run (default: runs/RECIPE-STORE-SPLIT-seedN)
        quiet: show no progress
    """
    stores = [data] if isinstance(data, str | Path) else data
    chosen = Settings.from_recipe(recipe, {**settings, "data": [str(store) for store in stores], "split": split})
    from kinemask.training.pretraining import pretrain as run

    return run(chosen, default_run(chosen, recipe) if out is None else out, quiet)


def import_released(
    method: Literal["mae", "mamp", "hacm", "masksem"],
    file: str | Path,
    out: str | Path | None = None,
    *,
    data: str | Path | None = None,
    split: str = "",
    heads: int | None = None,
) -> Path:
    """Make a run of a checkpoint that a paper's code released: an encoder file, which evaluate and the others read.

    Returns the run's folder. Nothing in the file is run. Sizes and joints follow from the weights. Raises ValueError
    for a file that is absent, damaged or another one, and for a folder that holds another run.

    Args:
        method: whose code it is of; MAMP's also trains MAE
        file: the checkpoint of pre-training, .pth
        out: folder of the run (default: runs/METHOD-FILE)
        data: the store of what it was trained on, which evaluate then takes unless told otherwise
        split: the split of the store that it was trained on
        heads: attention heads, which weights do not tell (default: as the file's own settings say, else 8)
    """
    from kinemask.training.released import import_released as run

    folder = Path("runs") / f"{method}-{Path(file).stem}" if out is None else Path(out)
    return run(method, Path(file), folder, None if data is None else str(data), split, heads)

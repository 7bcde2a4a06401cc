"""What the command line does, as short calls: `kinemask.pretrain(...)`, `kinemask.evaluate(...)`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kinemask.configure import parse
from kinemask.evaluation.protocols import PROTOCOLS
from kinemask.evaluation.protocols import evaluate as run_protocol
from kinemask.evaluation.settings import parse_protocol
from kinemask.train.loop import pretrain as train


def default_run(recipe: str, data: str, split: str, seed: int) -> Path:
    """The folder of a run that was given none: runs/RECIPE-STORE-SPLIT-seedN."""
    return Path("runs") / f"{Path(recipe).stem}-{Path(data).name}-{split}-seed{seed}"


def pretrain(
    recipe: str, data: str | Path, split: str, out: str | Path | None = None, *, quiet: bool = False, **settings: Any
) -> Path:
    """Pre-train a recipe on a split's training part (or go on with a stopped run); returns the run's folder.

    settings: any setting by its dotted name, e.g. `**{"training.epochs": 50, "seed": 1}`. Raises ValueError for unknown
    settings, and what `kinemask.train.loop.pretrain` raises.
    """
    chosen, _ = parse(None, {"data": str(data), "split": split, **settings}, recipe)
    return train(chosen, out or default_run(recipe, str(data), split, chosen.seed), quiet)


def evaluate(
    protocol: str,
    run: str | Path,
    data: str | Path,
    split: str,
    *,
    seed: int | Sequence[int] = 0,
    encoder: str = "encoder",
    test_clips: int | None = None,
    controls: bool = True,
    device: str = "auto",
    quiet: bool = True,
    **settings: Any,
) -> list[dict[str, Any]]:
    """One protocol (linear, knn) on a run's encoder, with its controls; returns one result per seed.

    settings: the protocol's own, e.g. `views=0`. See `kinemask.evaluation.protocols.evaluate` for the rest.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"unknown protocol {protocol!r}; known: {', '.join(PROTOCOLS)}")
    return run_protocol(
        protocol,
        run,
        data,
        split,
        seed=seed,
        encoder=encoder,
        test_clips=test_clips,
        controls=controls,
        device=device,  # type: ignore[arg-type]
        settings=parse_protocol(PROTOCOLS[protocol].settings, settings),
        quiet=quiet,
    )

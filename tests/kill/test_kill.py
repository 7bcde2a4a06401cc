"""Killed at any of its file operations, work that is started again ends as if nothing had happened.

Each seed is a kind of work, one of its operations, and when in it. `make kill` does 200.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from faults import PHASES, Fault, in_a_process
from safetensors.torch import load_file

from helpers import CLASSES, make_settings, recordings, same
from kinemask.protocols.evaluate import evaluate
from kinemask.runs.checkpoint import load_checkpoint
from kinemask.runs.run import Run
from kinemask.skeleton import layout
from kinemask.store.opening import open_store
from kinemask.store.writer import write_store
from kinemask.training.pretraining import pretrain
from loops import logged

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="processes are forked")]

KILLS = int(os.environ.get("KINEMASK_KILLS", 8))
LAYOUT = layout("sbu15")


def pretraining(folder: Path) -> None:
    settings = make_settings(open_store(folder / "store"), training_epochs=3, training_save_every=1)
    pretrain(settings, folder / "run", quiet=True)


def frozen(folder: Path) -> None:
    evaluate("knn", folder / "run", folder / "store", "xsub", baselines=False)


def tuning(folder: Path) -> None:
    given = {"epochs": 2, "warmup_epochs": 0, "batch_size": 8, "precision": "fp32", "head": {"hidden": 16}}
    evaluate("finetune", folder / "run", folder / "store", "xsub", out=folder / "tuned", baselines=False, **given)


def storing(folder: Path) -> None:
    write_store(folder / "store", recordings(LAYOUT, seed=1), LAYOUT, CLASSES, overwrite=True)


WORK: dict[str, tuple[tuple[Callable[[Path], None], ...], Callable[[Path], None]]] = {  # what is there before; the work
    "pretraining": ((), pretraining),
    "frozen": ((pretraining,), frozen),
    "tuning": ((pretraining,), tuning),
    "storing": ((), storing),
}


@pytest.fixture(scope="module")
def made(tiny, tmp_path_factory) -> Callable[[str], tuple[Path, Path, Counter[str]]]:
    """Of a kind of work: the folder before it, the folder after it, and its operations."""
    known: dict[str, tuple[Path, Path, Counter[str]]] = {}
    for module in ("sklearn.metrics", "sklearn.linear_model", "torch.utils.tensorboard"):
        with suppress(ImportError):
            import_module(module)  # once, rather than in every process

    def make(name: str) -> tuple[Path, Path, Counter[str]]:
        if name not in known:
            folder = tmp_path_factory.mktemp(name)
            before, after = folder / "before", folder / "after"
            shutil.copytree(tiny.path, before / "store")
            earlier, work = WORK[name]
            for one in earlier:
                assert in_a_process(lambda one=one: one(before))[0] == 0
            shutil.copytree(before, after)
            ended, seen = in_a_process(lambda: work(after))
            assert ended == 0
            known[name] = before, after, seen
        return known[name]

    return make


@pytest.mark.parametrize("seed", range(KILLS))
def test_killed_work_is_done_again_exactly(seed, made, tmp_path):
    draw = random.Random(seed)
    name = [*WORK][seed % len(WORK)]
    before, after, seen = made(name)
    operation = draw.choice(sorted(seen))
    fault = Fault(operation, draw.randint(1, seen[operation]), draw.choice(PHASES))
    folder, work = tmp_path / "folder", WORK[name][1]
    shutil.copytree(before, folder)
    assert in_a_process(lambda: work(folder), fault)[0] == -signal.SIGKILL, fault
    check_whole(folder)
    assert in_a_process(lambda: work(folder))[0] == 0, fault
    assert contents(folder) == contents(after), fault
    for run in ("run", "tuned"):
        assert same(weights(folder / run), weights(after / run)), fault


def check_whole(folder: Path) -> None:
    """What a killed process leaves under its own name is whole: a store, checkpoints, weights, results."""
    if (folder / "store").exists():  # not between the two renames of `_put_in_place`
        open_store(folder / "store")
    for run in ("run", "tuned"):
        load_checkpoint(folder / run)
        weights(folder / run)
        Run(folder / run).results()
        Run(folder / run).metrics()


def weights(run: Path) -> dict[str, Any]:
    """Every weight of a run: its files', and its checkpoints'."""
    files = {path.name: load_file(path) for path in sorted(run.glob("*.safetensors"))}
    return files | {path.name: torch.load(path, weights_only=True) for path in sorted(run.glob("*.pt"))}


def contents(folder: Path) -> dict[str, Any]:
    """Names of all files, what the store's and the logs hold, and the measures of results."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and "tensorboard" not in path.parts]
    out: dict[str, Any] = {"files": [str(path.relative_to(folder)) for path in files]}
    out |= {str(path.relative_to(folder)): path.read_bytes() for path in files if path.parent.name == "store"}
    for run in ("run", "tuned"):
        out[run] = logged(folder / run), [result.measures for result in Run(folder / run).results()]
    return out

"""Runs to report on, of a store whose names are written to break a page."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers import make_settings, recordings
from html_pages import HOSTILE
from kinemask.protocols.evaluate import evaluate
from kinemask.skeleton import layout
from kinemask.store.format import Clip
from kinemask.store.writer import write_store
from kinemask.training.pretraining import pretrain


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """A store whose class and clip names are written to break a page."""
    of = layout("sbu15")
    clips = [Clip(f"<i>{c.name}", c.data, c.label, c.fields) for c in recordings(of)]
    path = tmp_path_factory.mktemp("hostile") / "store"
    return write_store(path, clips, of, HOSTILE, meta={"dataset": "<b>data", "units": "metres"})


@pytest.fixture(scope="session")
def make(store, tmp_path_factory):
    """Runs with evaluations, made once per method and seed."""
    made: dict[tuple, Path] = {}

    def make(name: str, seed: int = 3, **changes: str) -> Path:
        known = name, seed, *changes.values()
        if known not in made:
            folder = tmp_path_factory.mktemp("runs") / f"{name}{seed}"
            pretrain(make_settings(store, name, seed=seed, training_epochs=2, **changes), folder, quiet=True)
            evaluate("linear", folder, store.path, "xsub", seed=[0, 1], epochs=2, views=1)
            evaluate("knn", folder, store.path, "xcam", baselines=False)
            made[known] = folder
        return made[known]

    return make

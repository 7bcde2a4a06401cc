"""Which protocols there are, as values. Nothing here imports PyTorch: the command line reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from kinemask.checks import meant
from kinemask.protocols.settings import (
    FinetuneSettings,
    KNNSettings,
    LinearSettings,
    ProbeSettings,
    RetrievalSettings,
    RobustnessSettings,
    SemiSettings,
)

_always = lambda settings: True

# what is measured of any class scores, by name (`runs.measures.MEASURES` has the titles)
OF_SCORES = ("accuracy", "top5", "mean_class_accuracy", "macro_f1", "expected_calibration_error")


@dataclass(frozen=True)
class Protocol:
    """A protocol: its name, a line about it, its settings, and the module that runs it.

    section: which section of a recipe (linear, finetune) changes its defaults; "" for none. trains: whether it trains
    the encoder; then it also starts from a recipe, without a run. augments: whether it draws augmented windows
    with these settings; None if never.
    seeds: by default. measures: names of all that its results may hold; some need more classes, or probabilities.
    files: settings that name a file, whose content decides the result. curves: how its accuracies go on, "with few
    labels"; "" where it draws none.
    """

    name: str
    title: str
    settings: type
    module: str
    section: str = ""
    trains: bool = False
    augments: Callable[[Any], bool] | None = None
    seeds: tuple[int, ...] = (0,)
    measures: tuple[str, ...] = OF_SCORES
    files: tuple[str, ...] = ()
    curves: str = ""

    @property
    def implementation(self) -> Any:
        """Its module: `score(case, settings, seeds, baselines)` gives a `case.Done` for each seed, in order.

        Where it trains the encoder, `part(case, settings, seed)` is the part that a seed is trained on.
        """
        return import_module(f"kinemask.protocols.{self.module}")


_ALL = (
    Protocol(
        "linear", "a linear classifier on frozen features", LinearSettings, "linear", section="linear", augments=_always
    ),
    Protocol(
        "probe",
        "a converged probe on frozen features: ridge or logistic",
        ProbeSettings,
        "probe",
        augments=lambda s: s.views > 0,
        curves="with few labels",
    ),
    Protocol("knn", "nearest neighbours in feature space, no training", KNNSettings, "knn"),
    Protocol(
        "finetune",
        "encoder and classifier trained on the labels",
        FinetuneSettings,
        "finetune",
        section="finetune",
        trains=True,
        augments=_always,
    ),
    Protocol(
        "semi",
        "fine-tuning with few labels; each seed draws others",
        SemiSettings,
        "semi",
        section="finetune",
        trains=True,
        augments=_always,
        seeds=(0, 1, 2, 3, 4),
        files=("labels",),
    ),
    Protocol(
        "retrieval",
        "rank training clips by similarity to each test clip",
        RetrievalSettings,
        "retrieval",
        measures=(*OF_SCORES, "mean_average_precision"),
    ),
    Protocol(
        "robustness",
        "linear accuracy under growing corruption of the test clips",
        RobustnessSettings,
        "robustness",
        section="linear",
        augments=_always,
        curves="as the test clips get worse",
    ),
)
PROTOCOLS = {protocol.name: protocol for protocol in _ALL}


def find_protocol(name: str) -> Protocol:
    """The protocol of that name; raises ValueError with the known ones."""
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    raise ValueError(f"unknown protocol {name!r}{meant(name, PROTOCOLS)}")

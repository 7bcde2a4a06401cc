"""Results made by hand, as a run keeps them."""

from __future__ import annotations

from pathlib import Path

import torch

from kinemask.runs.measures import Measured, measure
from kinemask.runs.result import Curve, Member, Result, Scored, Source, Trained, Transfer, write_result

NAMES = [f"clip{i}" for i in range(40)]
LABELS = torch.arange(40) % 4
CLASSES = ["a", "b", "c", "d"]


def trained(dataset: str = "nw-ucla", stream: str = "joint") -> Trained:
    source = Source(dataset=dataset, sha256={"frames.npy": "1"})
    return Trained(method="mamp", settings={"sampling": {"stream": stream}}, sources=[source], split="xview")


def made_result(**changes) -> Result:
    """A result of linear on nw-ucla xview: 40 test clips, of which 5 are copies of training clips."""
    values = {
        "protocol": "linear",
        "data": "nw-ucla",
        "split": "xview",
        "seed": 0,
        "settings": {"epochs": 1},
        "sampling": {"test_clips": 1},
        "encoder": "encoder",
        "encoder_sha256": None,
        "architecture": {"name": "transformer", "width": 16},
        "store_sha256": {"clips.csv": "0"},
        "baselines_asked": False,
        "precision": "cpu fp32",
        "numerics": 1,
        "measures": {"accuracy": Measured(value=80.0, unseen=70.0, interval=(70.5, 88.0))},
        "test_clips": 40,
        "test_clips_unseen": 35,
        "classes": CLASSES,
        "per_class": {"a": 90.0, "b": 70.0},
        "baselines": {},
        "trained": trained(),
        "version": "0.0",
        "seconds": 2.0,
    }
    return Result(**values | changes)


def full_result() -> Result:
    """A result in which no field is empty."""
    before = trained("ntu60")
    return made_result(
        files={"labels": "2"},
        curves={"noise": Curve(title="noise", levels=(0.0, 0.1), accuracy=(80.0, 60.5))},
        baselines={"untrained_encoder": Scored(measures={"accuracy": Measured(value=54.0)})},
        trained=Trained(**vars(trained()) | {"steps": 5, "epochs": 2.5, "pretraining": before}),
        best_epoch=81.5,
        training_clips=100,
        labels=["x", "y"],
        transfer=Transfer(layout="ntu25", matched=["head"], new=["tail"]),
        members=[
            Member(
                run="r",
                hash="0" * 8,
                seed=1,
                weight=0.5,
                method="mae",
                stream="bone",
                accuracy=Measured(value=79.0, unseen=69.0),
            )
        ],
        weights="runs/finetuned",
        dims=3,
        align="heading",
    )


def keep(run: Path, result: Result | None = None) -> Result:
    """A run keeps this result, with scores that say nothing."""
    result = result or made_result()
    return write_result(run, result, torch.eye(4)[LABELS], LABELS, NAMES, torch.arange(40) > 4)


def keep_scores(run: Path, order=None, seed=0, labels=LABELS, names=NAMES, **changes) -> tuple[Result, torch.Tensor]:
    """A run keeps a result of random scores, its test clips in this order; returns it, and the scores in their own."""
    order = torch.arange(len(names)) if order is None else torch.as_tensor(order)
    g = torch.Generator().manual_seed(sum(map(ord, run.name)) + 1000 * seed)
    scores = (2 * torch.randn(len(names), 4, generator=g) + 2 * torch.eye(4)[labels]).softmax(1)
    unseen = torch.arange(len(names)) > 4
    of = trained(stream=run.name)
    about = {
        "seed": seed,
        "trained": of,
        "architecture": {"name": run.name},
        "measures": measure(scores, labels, unseen),
        "test_clips": len(names),
    }
    result = made_result(**about | {"test_clips_unseen": int(unseen.sum())} | changes)
    return write_result(run, result, scores[order], labels[order], [names[i] for i in order], unseen[order]), scores

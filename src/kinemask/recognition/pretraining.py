"""Pre-training an encoder on what is there, labelled or not, for its tokens to stand beside other features."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from kinemask.models.encoders import TrainedEncoder
from kinemask.recognition.choice import alignments
from kinemask.recognition.text import duration
from kinemask.runs.result import hash8
from kinemask.runs.run import Run
from kinemask.store.format import EVERY
from kinemask.store.opening import Store
from kinemask.training.distributed import world
from kinemask.training.loop import pace, run_job
from kinemask.training.pretraining import Pretraining, clips_of
from kinemask.training.settings import Device, Settings

RECIPE = "mosaic-mixed-small"  # its positions go by joints' names, so that it takes any layout
START = "mosaic-small"  # where pre-training starts from, if clips can be turned as those that it was trained on
STEPS = 1500
KEPT_EVERY = 100  # steps between checkpoints
_WARMUP = 0.05  # of all steps


def pretrain_beside(
    out: Path, store: Store, split: str | None, seed: int, device: Device, say: Callable[[str], None], quiet: bool
) -> Path:
    """A run in a folder of `out`, pre-trained on the training part of a split, or on every clip; finished or resumed.

    The folder's name has a hash of the settings and of the store, so that other recordings make another run. Raises
    Stopped, and what training raises.
    """
    settings = settings_for(store, split, seed, device)
    config = settings.to_dict()
    of = {**config, "data": store.identity, "training": {**config["training"], "device": ""}}
    run = out / f"pretrained-{hash8(of)}"
    (clips,) = clips_of([store], settings.split)
    without = int((store.labels[clips] < 0).sum())
    on = f"{len(clips):,} clips, {without:,} of them without a label" if without else f"{len(clips):,} labelled clips"
    if (run / "encoder.safetensors").is_file():
        Run(run).claim(config)
        say(f"the encoder in {run} is pre-trained already, on {on}")
        return run
    if not without:
        say("no recording is without a label: pre-training has the labelled ones alone")
    with world(device) as here:
        job = Pretraining(settings, here)
        job.prepare()
        steps = settings.training.epochs * job.steps_per_epoch
        say(
            f"pre-training on {on} ({RECIPE}): {steps:,} steps, {duration(steps * pace(job, here))} on this machine; "
            f"kept in {run}, so that the same command resumes"
        )
        run_job(job, run, here, quiet)
    return run


def settings_for(store: Store, split: str | None, seed: int, device: Device) -> Settings:
    """The recipe, for a store's bodies: where it starts, their alignment, and as many epochs as make the steps."""
    given = {"data": [str(store.path)], "split": split or EVERY, "seed": seed, "training.device": device}
    usual = Settings.from_recipe(RECIPE, given)
    (clips,) = clips_of([store], usual.split)
    bodies = store.bodies[clips]
    a_pass = max(1, int(bodies.sum()) // usual.training.batch_size)
    epochs = max(1, round(STEPS / a_pass))
    several = 2 * int((bodies > 1).sum()) > len(clips)
    align = alignments(store.layout, several)[-1]
    changes = {
        "training.init_from": None if align == "none" else START,
        "sampling.align": align,
        "training.epochs": epochs,
        "training.warmup_epochs": _WARMUP * epochs,
        "training.save_every": max(1, KEPT_EVERY // a_pass),
        "training.log_every": KEPT_EVERY,
    }
    return Settings.from_recipe(RECIPE, {**given, **changes})


def seen_before(model: TrainedEncoder, store: Store, clips: np.ndarray) -> str:
    """A sentence on which of these clips of the store an encoder has been trained on, "" where it has not on any."""
    record = model.record
    while record:
        if len(np.intersect1d(_trained_on(record, store), clips)):
            if record["settings"].get("protocol") == "finetune":
                return "the encoder has learned from labels of such clips, so this is no measure of new ones"
            return "the encoder saw these clips in pre-training, without their labels"
        record = record.get("pretraining")
    return ""


def _trained_on(record: dict, store: Store) -> np.ndarray:
    """Clips of the store that a record of training (`runs.result.Trained`) names."""
    splits = record["split"].split("+")
    for number, source in enumerate(record["sources"]):
        if source["sha256"] == store.identity:
            split = splits[number % len(splits)]
            return store.split(split)[0] if split in store.splits else np.arange(len(store))
    return np.arange(0)

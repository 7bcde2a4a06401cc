"""How varied the masks of MAMP and HA-CM are, with Gumbel noise and without, over two epochs of pre-training.

    python benchmarks/mask_use.py stores/utd-mhad --split xsub

Tokens in effect: the exponential of the entropy of how often each is kept, in the second epoch.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from kinemask.training.distributed import World
from kinemask.training.loop import Loop
from kinemask.training.pretraining import Pretraining
from kinemask.training.settings import Settings

EPOCHS = 2


def kept(settings: Settings, folder: Path) -> tuple[torch.Tensor, int]:
    """Places of the tokens that the last epoch kept, and how many tokens a clip has."""
    world = World.alone("cpu")
    job = Pretraining(settings, world)
    loop = Loop(job, folder, world, quiet=True)
    task: Any = loop.task
    masked, found = task.mask, []

    def noted(*args: Any) -> Any:
        mask = masked(*args)
        found.append(mask.keep.flatten())
        return mask

    task.mask = noted
    task.train()
    steps = len(job.sets[0]) // settings.training.batch_size
    for _ in range(EPOCHS * steps):
        loop.advance(task)
    return torch.cat(found[-steps:]), task.encoder.tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store")
    parser.add_argument("--split", required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name in ("mamp", "hacm"):
        for noise in (True, False):
            changes = {"data": given.store, "split": given.split, "pretext.gumbel": noise, "training.device": "cpu"}
            with TemporaryDirectory() as folder:
                places, tokens = kept(Settings.from_recipe(f"{name}-utd-mhad-small", changes), Path(folder))
            share = torch.bincount(places, minlength=tokens) / len(places)
            effective = torch.special.entr(share).sum().exp()
            print(f"{name}, {'with' if noise else 'without'} noise: {effective:.0f} of {tokens} tokens in effect")


if __name__ == "__main__":
    main()

"""Counts what each method costs at its paper's size, and writes the tables of docs/methods.

python docs/costs.py
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from kinemask.draws import Draws
from kinemask.models.encoders import TrainedEncoder
from kinemask.pretext import method
from kinemask.pretext.base import Pretext
from kinemask.runs.cost import flops
from kinemask.skeleton import layout
from kinemask.training.settings import Settings
from kinemask.windows.sampler import Batch, Sampler
from kinemask.windows.tracks import Recordings, Tracks

PAGES = Path(__file__).parent / "methods"
RECIPES = {  # method -> its recipe at the paper's size, and the layout of that recipe's data set
    "mae": ("mae-ntu60", "ntu25"),
    "mamp": ("mamp-ntu60", "ntu25"),
    "hacm": ("hacm-ntu60", "ntu25"),
    "skeleton2vec": ("skeleton2vec-ntu60", "ntu25"),
    "masksem": ("masksem-ntu60", "ntu25"),
    "skeletonmae": ("skeletonmae-ntu2d", "coco17"),
    "graphcl": ("graphcl-ntu2d", "coco17"),
    "mosaic": ("mosaic-ntu60", "ntu25"),
}
HEAD = (
    "recipe",
    "frames",
    "tokens",
    "seen in pre-training",
    "parameters of the encoder",
    "trained",
    "held beside",
    "GFLOP to encode",
    "GFLOP to train",
)
BLOCK = re.compile(r"(<!-- costs(?: of (\w+))?, written by docs/costs.py -->\n).*?(<!-- end -->)", re.DOTALL)


@dataclass(frozen=True)
class Cost:
    """Of one body's window. Parameters: of the encoder, of all that pre-training trains, of moving averages beside."""

    recipe: str
    frames: int
    grid: tuple[int, int]
    encoded: int
    parameters: int
    trained: int
    held: int
    encode: float
    train: float

    def cells(self) -> list[str]:
        p, v = self.grid
        millions = [f"{n / 1e6:.2f} M" if n >= 1e6 else f"{n / 1e3:.1f} k" if n else "none" for n in self._counts()]
        work = [f"{n / 1e9:.2g}" if n < 1e9 else f"{n / 1e9:.1f}" for n in (self.encode, self.train)]
        return [f"`{self.recipe}`", str(self.frames), f"{p} × {v} = {p * v}", str(self.encoded), *millions, *work]

    def _counts(self) -> tuple[int, int, int]:
        return self.parameters, self.trained, self.held


def cost(name: str) -> Cost:
    """What a method costs with its recipe: every number counted on the modules themselves."""
    recipe, skeleton = RECIPES[name]
    of, chosen = layout(skeleton), method(name)
    settings = Settings.from_recipe(recipe, {"data": "-", "split": "-"})
    clip = np.random.default_rng(0).normal(size=(100, of.num_joints, of.dims))  # what it is changes no count
    sampler = Sampler(Tracks(Recordings.of(of, [clip.astype(np.float32)])), settings.sampling)
    torch.manual_seed(0)
    encoder = chosen.build_encoder(of, settings.sampling.frames, settings.encoder)
    encode = flops(TrainedEncoder(encoder, settings.sampling, {}))
    task = chosen.build(encoder, settings.decoder, settings.pretext)
    task.prepare(sampler)
    sizes = (2, 3, 4)  # bodies; contrast takes two at least, and its work grows with their square
    batches = [sampler.sample(torch.zeros(count, dtype=torch.long), Draws(0, count)) for count in sizes]
    with patch.object(encoder, "encode", wraps=encoder.encode) as encoded:
        task(batches[0])
    two, three, four = (step_flops(task, batch) for batch in batches)
    square = (four - 2 * three + two) / 2
    each = three - two - 5 * square
    shared, size = two - 2 * each - 4 * square, settings.training.batch_size
    trained = sum(p.numel() for p in task.parameters() if p.requires_grad)
    return Cost(
        recipe=recipe,
        frames=settings.sampling.frames,
        grid=(encoder.segments, encoder.num_joints),
        encoded=encoded.call_args[0][0].numel() // encoder.width // sizes[0],
        parameters=sum(p.numel() for p in encoder.parameters()),
        trained=trained,
        held=sum(p.numel() for p in task.parameters()) - trained,
        encode=encode,
        train=shared / size + each + square * size,
    )


def step_flops(task: Pretext, bodies: Batch) -> int:
    """FLOPs of a loss and its gradient, criterion and teacher included: a product and its sum are two."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # fused kernels are not counted
        task(bodies)["loss"].backward()
    return counter.get_total_flops()


def table(costs: list[Cost]) -> str:
    """A row per recipe in Markdown."""
    lines = [HEAD, ["---"] * len(HEAD), *(one.cells() for one in costs)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def written(text: str, costs: dict[str, Cost]) -> str:
    """A page with its tables of costs as they should be."""

    def block(found: re.Match[str]) -> str:
        chosen = [costs[found[2]]] if found[2] else list(costs.values())
        return f"{found[1]}\n{table(chosen)}\n{found[3]}"

    return BLOCK.sub(block, text)


if __name__ == "__main__":
    counted = {name: cost(name) for name in RECIPES}
    for page in sorted(PAGES.glob("*.md")):
        page.write_text(written(page.read_text(), counted))
    print(table(list(counted.values())))

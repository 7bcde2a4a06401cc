"""Draws docs/figures: what each method hides of one synthetic recording.

python docs/picture.py [--work FOLDER]

Some masks depend on the encoder, so every method is first pre-trained for a few minutes, with its paper's window,
joints and masks and a small network. FOLDER keeps the recordings and runs; what is there is not made again.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import LinearSegmentedColormap, ListedColormap
from PIL import Image

from kinemask.draws import Draws
from kinemask.preparation.prepare import prepare
from kinemask.skeleton import Layout
from kinemask.store.opening import Store, open_store
from kinemask.synthetic.recordings import write_recordings
from kinemask.training.distributed import World
from kinemask.training.loop import run_job
from kinemask.training.pretraining import Pretraining
from kinemask.training.settings import Settings
from kinemask.windows.sampler import Sampler
from kinemask.windows.tracks import Tracks

FIGURES = Path(__file__).parent / "figures"
ACTION, SHOWN, DRAWS, AT_ONCE = "wave", 8, 200, 20
KEPT, HIDDEN, BONE = "#0a7ea4", "#d9772b", "#b8bec6"
TITLES = {
    "mae": "MAE: at random",
    "mamp": "MAMP: what moves",
    "hacm": "HA-CM: hierarchy and time, by turns",
    "skeleton2vec": "Skeleton2vec: tubes of time",
    "masksem": "MaskSem: what sets the clip apart",
    "skeletonmae": "SkeletonMAE: right arm and right leg",
}
RECIPES = {name: f"{name}-ntu60" for name in TITLES} | {"skeletonmae": "skeletonmae-ntu2d"}
SHORT = {"training.epochs": 12, "training.warmup_epochs": 1, "training.batch_size": 16, "training.lr": 1e-3}
SMALL = {"encoder.layers": 3, "encoder.width": 64, "encoder.heads": 4}
SMALL |= {"decoder.layers": 1, "decoder.width": 64, "decoder.heads": 4}
QUICK = {"pretext.ema_decay": 0.98}  # remembers 50 steps, as befits a run of some hundred
CHANGES = {"mae": SMALL, "mamp": SMALL, "hacm": SMALL, "skeleton2vec": SMALL | QUICK, "masksem": SMALL | QUICK}


@dataclass
class Shown:
    """A clip as a method sees it: poses (T, V, C); kept (P, joints) of one draw, and how often of many; its joints."""

    layout: Layout
    poses: np.ndarray
    kept: np.ndarray
    often: np.ndarray
    joints: np.ndarray
    segment_frames: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path)
    given = parser.parse_args()
    FIGURES.mkdir(exist_ok=True)
    with TemporaryDirectory() as temporary:
        work = given.work or Path(temporary)
        if not (work / "store").exists():
            write_recordings(work / "recordings", subjects=8, cameras=1, repetitions=2)
            prepare("synthetic", work / "recordings", work / "store", progress=False)
        store, seen = open_store(work / "store"), {}
        for name in TITLES:
            seen[name] = look(name, store, work / name)
            draw(name, seen[name])
    overview(seen)


def look(name: str, store: Store, run: Path) -> Shown:
    """Pre-train a method, then mask the clip."""
    options = {"data": str(store.path), "split": "all", **SHORT, **CHANGES.get(name, {})}
    settings = Settings.from_recipe(RECIPES[name], options)
    world = World(0, 1, torch.device("cpu"))
    run_job(job := Pretraining(settings, world), run, world, quiet=False)
    clip = np.flatnonzero(store.labels == store.classes.index(ACTION))[:1]
    sampler, encoder = Sampler(Tracks(store, clip), settings.sampling.unaugmented()), cast(Any, job.task.eval()).encoder
    poses, grids = [], []
    for part in range(DRAWS // AT_ONCE):
        batch = sampler.sample(torch.zeros(AT_ONCE, dtype=torch.long), Draws(part, AT_ONCE))
        with torch.no_grad():
            keep = cast(Any, job.task).predict(batch).mask.keep
        grids.append(torch.zeros(AT_ONCE, encoder.tokens).scatter(1, keep, 1.0))
        poses.append(batch.x[0].numpy())
    every = torch.cat(grids).unflatten(1, (encoder.segments, encoder.num_joints)).numpy()
    frames = encoder.settings.segment_frames
    return Shown(store.layout, poses[0], every[0], every.mean(0), encoder.joints.numpy(), frames)


def draw(name: str, seen: Shown) -> None:
    """One method: poses, the mask of one draw over time, and how often each token is kept."""
    figure = plt.figure(figsize=(11, 5.4))
    grid = figure.add_gridspec(2, 2 * SHOWN, height_ratios=(1, 1.1), left=0.07, right=0.97, top=0.97, bottom=0.14)
    grid.update(wspace=0.15, hspace=0.2)
    first = None
    for i, p in enumerate(chosen_segments(seen)):
        axis = figure.add_subplot(grid[0, 2 * i : 2 * i + 2], sharex=first, sharey=first)
        first = first or axis
        pose(axis, seen, p)
    order, edges, names = by_part(seen)
    often = LinearSegmentedColormap.from_list("often", ["#ffffff", KEPT])
    maps = ((seen.kept, ListedColormap(["#f6dcc6", KEPT]), 1.0, "this draw: joints over segments"),)
    maps += ((seen.often, often, max(seen.often.max(), 1e-6), f"how often each is kept, of {DRAWS} draws"),)
    for i, (values, colours, top, title) in enumerate(maps):
        axis = figure.add_subplot(grid[1, i * SHOWN : (i + 1) * SHOWN])
        image = axis.imshow(values[:, order].T, cmap=colours, vmin=0, vmax=top, aspect="auto", interpolation="nearest")
        for edge in edges[1:-1]:
            axis.axhline(edge - 0.5, color="#7b8490", lw=0.6)
        axis.set_title(title, fontsize=9, loc="left")
        axis.set_xlabel("segment", fontsize=8)
        axis.tick_params(labelsize=8, length=2)
        axis.set_yticks((edges[:-1] + edges[1:] - 1) / 2, names if not i else [""] * len(names), fontsize=8)
        axis.tick_params(axis="y", length=0)
        if i:
            bar = figure.colorbar(image, ax=axis, pad=0.01, fraction=0.05, ticks=[0, top], format="{x:.0%}")
            bar.ax.tick_params(labelsize=8)
    legend(figure, (0.5, 0.0))
    save(figure, FIGURES / f"{name}.png")


def overview(seen: dict[str, Shown]) -> None:
    """All methods, two in a row."""
    figure, axes = plt.subplots(len(seen) // 2, SHOWN, figsize=(11, 1.03 * len(seen)), sharex=True, sharey=True)
    halves = [half for row in axes for half in np.split(row, 2)]
    for (name, one), half in zip(seen.items(), halves, strict=True):
        for axis, p in zip(half, chosen_segments(one)[::2], strict=True):
            pose(axis, one, p)
        half[0].set_title(TITLES[name], loc="left", fontsize=10)
    figure.subplots_adjust(left=0.02, right=0.99, top=0.95, bottom=0.06, wspace=0.02, hspace=0.18)
    legend(figure, (0.5, 0.0))
    save(figure, FIGURES / "masks.png")


def chosen_segments(seen: Shown) -> np.ndarray:
    return np.linspace(0, len(seen.kept) - 1, SHOWN).round().astype(int)


def pose(axis: Any, seen: Shown, p: int) -> None:
    """The body in the first frame of a segment; joints that the method leaves out are bare."""
    at = seen.poses[p * seen.segment_frames]
    for a, b in seen.layout.edges:
        axis.plot(at[[a, b], 0], at[[a, b], 1], color=BONE, lw=2, solid_capstyle="round", zorder=1)
    kept = seen.kept[p] > 0
    colour = np.where(kept, KEPT, HIDDEN)
    axis.scatter(at[seen.joints, 0], at[seen.joints, 1], c=colour, s=np.where(kept, 34, 13), zorder=2)
    axis.set_aspect("equal")
    axis.axis("off")


def by_part(seen: Shown) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Places of the joints in order of body part, where each part begins, and the parts' names."""
    members = {n: [i for i, j in enumerate(seen.joints) if j in part] for n, part in seen.layout.parts.items()}
    members = {n: found for n, found in members.items() if found}
    edges = np.cumsum([0, *map(len, members.values())])
    return np.concatenate(list(members.values())), edges, [n.replace("_", " ") for n in members]


def legend(figure: Any, place: tuple[float, float]) -> None:
    marks = [plt.Line2D([], [], marker="o", ls="", color=c) for c in (KEPT, HIDDEN)]
    texts = ["kept: the encoder sees it", "masked: to be predicted"]
    figure.legend(marks, texts, loc="lower center", bbox_to_anchor=place, ncols=2, frameon=False, fontsize=9)


def save(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=100)
    plt.close(figure)
    Image.open(path).convert("RGB").quantize(64).save(path, optimize=True)  # a fifth of the bytes


if __name__ == "__main__":
    main()

"""Draws docs/masks.png: what MAE, MAMP and HA-CM hide of one synthetic recording.

python docs/picture.py
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch

from kinemask.configure import parse
from kinemask.data.draws import Draws
from kinemask.data.prepare import prepare
from kinemask.data.sampling import Sampler
from kinemask.data.store import open_store
from kinemask.data.synthetic import write_recordings
from kinemask.data.tracks import Tracks
from kinemask.pretext import method

RECIPES = {"MAE: at random": "mae-ntu60", "MAMP: what moves": "mamp-ntu60", "HA-CM: hierarchy × time": "hacm-ntu60"}
SHOWN, KEPT, HIDDEN = 8, "#0a7ea4", "#d9772b"


def main() -> None:
    with TemporaryDirectory() as folder:
        write_recordings(Path(folder) / "recordings", subjects=1, cameras=1, repetitions=1)
        prepare("synthetic", Path(folder) / "recordings", Path(folder) / "store", progress=False)
        store = open_store(Path(folder) / "store")
        tracks = Tracks(store, np.flatnonzero(store.labels == store.classes.index("throw"))[:1])
        figure, axes = plt.subplots(len(RECIPES), SHOWN, figsize=(11, 6.2), sharex=True, sharey=True)
        for (title, recipe), row in zip(RECIPES.items(), axes, strict=True):
            _draw(tracks, recipe, title, row)
    handles = [plt.Line2D([], [], marker="o", ls="", color=c) for c in (KEPT, HIDDEN)]
    figure.legend(
        handles, ["kept: the encoder sees it", "masked: to be predicted"], loc="lower center", ncols=2, frameon=False
    )
    figure.subplots_adjust(left=0.02, right=0.99, top=0.93, bottom=0.08, wspace=0.02, hspace=0.18)
    figure.savefig(Path(__file__).with_name("masks.png"), dpi=110)


def _draw(tracks: Tracks, recipe: str, title: str, row: np.ndarray) -> None:
    torch.manual_seed(0)
    settings, _ = parse(
        None, {"data": "-", "split": "-", "sampling.rotation": 0.0, "sampling.crop": [1.0, 1.0]}, recipe
    )
    chosen = method(settings.method)
    encoder = chosen.build_encoder(tracks.layout, settings.sampling.frames, settings.encoder)
    task = chosen.build(encoder, settings.decoder, settings.pretext)
    batch = Sampler(tracks, settings.sampling).sample(torch.zeros(1, dtype=torch.long), Draws(4, 1))
    kept = torch.zeros(encoder.tokens, dtype=torch.bool)
    kept[task.predict(batch)[0].keep[0]] = True
    kept = kept.view(encoder.segments, encoder.num_joints).numpy()
    joints = encoder.joints.numpy()
    shown = np.linspace(0, encoder.segments - 1, SHOWN).round().astype(int)
    for axis, p in zip(row, shown, strict=True):
        pose = batch.x[0, p * settings.encoder.segment_frames].numpy()
        for a, b in tracks.layout.edges:
            axis.plot(pose[[a, b], 0], pose[[a, b], 1], color="#b8bec6", lw=2, solid_capstyle="round", zorder=1)
        colour = np.where(kept[p], KEPT, HIDDEN)
        axis.scatter(pose[joints, 0], pose[joints, 1], c=colour, s=np.where(kept[p], 34, 13), zorder=2)
        axis.set_aspect("equal")
        axis.axis("off")
    row[0].set_title(title, loc="left", fontsize=11)


if __name__ == "__main__":
    main()

"""Draws docs/figures/paper-*.png: what `kinemask report --figures` writes, of synthetic recordings.

python docs/paper_figures.py [--work FOLDER]

FOLDER keeps the recordings, the runs and all of their figures; what is there is not made again. The runs are of a few
minutes: they show what the figures look like, not what the methods can do.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image

import kinemask
from kinemask.preparation.prepare import prepare
from kinemask.synthetic.recordings import write_recordings

FIGURES = Path(__file__).parent / "figures"
CLIP = "S001C001P002R001A001"  # somebody drinks
SMALL = {"encoder.layers": 3, "encoder.width": 64, "encoder.heads": 4}
SMALL |= {"decoder.layers": 1, "decoder.width": 64, "decoder.heads": 4}
SHORT = {"training.epochs": 10, "training.warmup_epochs": 1, "training.batch_size": 16}
RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "masksem": ("masksem-nw-ucla-small", SMALL | SHORT | {"training.lr": 1e-3, "pretext.ema_decay": 0.98}),
    "mae": ("mae-demo", SMALL | SHORT | {"training.lr": 1e-3}),
}
SHOWN = {  # picture of this page: file of the report
    "confusion-difference": "masksem-over-mae-confusion",
    "class-gains": "masksem-over-mae-classes",
    "confusion": "masksem-confusion",
    "tsne": "masksem-tsne",
    "pca": "masksem-pca",
    "attention": "masksem-attention",
    "saliency": f"masksem-saliency-{CLIP}",
    "reconstruction": f"mae-reconstruction-{CLIP}",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path)
    given = parser.parse_args()
    with TemporaryDirectory() as temporary:
        work = given.work or Path(temporary)
        if not (work / "store").is_dir():
            write_recordings(work / "recordings", subjects=8, cameras=1, repetitions=2)
            prepare("synthetic", work / "recordings", work / "store", progress=False)
        for name, (recipe, settings) in RUNS.items():
            run = kinemask.pretrain(recipe, work / "store", "xsub", work / name, quiet=True, **settings)
            kinemask.evaluate("linear", run, baselines=False, epochs=20, views=1)
        runs = [work / name for name in RUNS]
        kinemask.report(runs, work / "report.html", figures=work / "figures", clip=CLIP, quiet=False)
        for name, file in SHOWN.items():
            image = Image.open(work / "figures" / f"{file}.png").convert("RGB")
            image.quantize(128).save(FIGURES / f"paper-{name}.png", optimize=True)


if __name__ == "__main__":
    main()

"""Baselines without pre-training: accuracy over seeds, and how long they take. `--export` writes what they see."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import torch

from common import arguments, finish
from kinemask import open_store
from kinemask.nn.random_convolutions import KERNELS, RandomConvolutions
from kinemask.protocols.baselines import FRAMES, Baselines
from kinemask.runs.measures import accuracy
from kinemask.windows.bodies import channels, side_by_side
from kinemask.windows.parts import parts


def measure(path: str, split: str, seeds: int, export: Path | None) -> dict[str, object]:
    """Accuracies (all test clips, unseen ones) by baseline and seed, and the seconds of the convolutions."""
    store = open_store(path)
    train, test = parts(store, split, torch.device("cpu"), "fill")
    unseen = torch.from_numpy(~store.duplicates(train.clips, test.clips))
    baselines, found = Baselines(train, test, len(store.classes)), {}
    for seed in range(seeds):
        fitted = baselines.fit(train, seed)
        for name, one in fitted.items():
            scores = one.scores(one.test.tracks)
            right = [accuracy(scores, test.labels), accuracy(scores[unseen], test.labels[unseen])]
            found.setdefault(name, {"align": one.align, "accuracy": []})["accuracy"].append(right)
    align = found["random_convolutions_ridge"]["align"]
    x = [
        channels(side_by_side(part.tracks, FRAMES, align), store.layout.root)
        for part in (baselines.train, baselines.test)
    ]
    convolutions, both = RandomConvolutions(x[0].shape[1], FRAMES, 0), torch.cat(x)
    start = time.monotonic()
    convolutions(both)
    seconds = time.monotonic() - start
    if export is not None:
        labels = [part.labels.numpy() for part in (train, test)]
        np.savez(export / f"{store.name}-{split}.npz", train=x[0], test=x[1], labels=labels[0], truth=labels[1])
    return {
        "data": store.name,
        "split": split,
        "test_clips": len(test.clips),
        "unseen_clips": int(unseen.sum()),
        "baselines": found,
        "kernels": KERNELS,
        "clips": len(both),
        "channels": both.shape[1],
        "convolution_seconds": seconds,
    }


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("cases", nargs="+", metavar="STORE:SPLIT")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--export", type=Path, help="folder for the windows, as benchmarks/minirocket.py reads them")
    args = parser.parse_args()
    if args.export:
        args.export.mkdir(parents=True, exist_ok=True)
    every = []
    for case in args.cases:
        path, _, split = case.rpartition(":")
        every.append(measure(path, split, args.seeds, args.export))
        for name, one in every[-1]["baselines"].items():
            for column, of in enumerate(("all", "unseen")):
                values = [right[column] for right in one["accuracy"]]
                print(f"{case} {name} ({one['align']}), {of}: {fmean(values):.1f} ± {stdev(values):.1f}")
        print(f"{case}: {KERNELS} kernels over {every[-1]['clips']} clips in {every[-1]['convolution_seconds']:.1f} s")
    finish({"cases": every}, args.out)


if __name__ == "__main__":
    main()

"""The recogniser as it comes, beside random convolutions as recorded and aligned and neighbours on raw coordinates.

Accuracy on the test part of a split, learned from all labels of its training part or from a few of each class; where a
split has folds (sbu:fold1+fold2+…), means over them. Nothing is chosen on test parts. `--paths SRC …` measures the wall
time of the whole path instead, each command in a process of its own: train, then predict on the same recordings.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch

from common import arguments, finish
from kinemask import Recogniser, open_store
from kinemask.protocols.labels import draw_labels
from kinemask.recognition.assessment import Assessment
from kinemask.recognition.choice import alignments
from kinemask.recognition.labels import Labelled, find_labelled
from kinemask.recognition.learning import learn
from kinemask.windows.parts import Part

RECOGNISER = "recogniser"


def few(labelled: Labelled, per_class: int, seed: int) -> Labelled:
    """With so many labels of each class; 0 for all."""
    if not per_class:
        return labelled
    part = Part(labelled.store, labelled.train, torch.device("cpu"), "fill")
    return replace(labelled, train=labelled.train[draw_labels(part, seed, per_class=per_class)])


def unseen(found: Assessment, labelled: Labelled) -> tuple[float, float]:
    """Accuracy in percent on all test clips, and on those that are no copies of clips of the training part."""
    right = found.guesses == found.labels
    own = ~labelled.store.duplicates(labelled.store.split(labelled.split or "")[0], labelled.test)
    return 100 * float(right.mean()), 100 * float(right[own].mean())


def measure(path: str, split: str, per_class: int, draws: int) -> list[dict[str, Any]]:
    """A record for each draw of labels: accuracies by method, seconds and what was chosen."""
    store, records = open_store(path), []
    whole = find_labelled(store, split)
    several = 2 * int((store.bodies[whole.train] > 1).sum()) > len(whole.train)
    ways = {"random convolutions, as recorded": "none", "random convolutions, aligned": ""}
    ways["random convolutions, aligned"] = alignments(store.layout, several)[-1]
    for seed in range(draws if per_class else 1):
        labelled, start = few(whole, per_class, seed), time.monotonic()
        made = Recogniser(seed=seed, device="cpu")
        found = learn(made, labelled)
        seconds = time.monotonic() - start
        assert found is not None
        scored = {RECOGNISER: unseen(found, whole)}
        for name, align in ways.items():
            plain = Recogniser(features="convolutions", align=align, mirrored=False, seed=seed, device="cpu")  # type: ignore[arg-type]
            other = learn(plain, labelled)
            assert other is not None
            scored[name] = unseen(other, whole)
        scored |= {name: (100 * right / len(found),) for name, right in found.baselines.items()}
        records.append({"seed": seed, "choice": str(made.choice_), "seconds": seconds, "accuracy": scored})
    return records


def time_path(source: str, options: list[str]) -> dict[str, Any]:
    """Seconds of train and of predict from a fresh process, and the size of what was written."""
    with tempfile.TemporaryDirectory() as folder:
        out, table = Path(folder) / "recogniser", Path(folder) / "labels.csv"
        seconds = {}
        for name, words in (
            ("train", ["train", source, "--out", str(out), *options]),
            ("predict", ["predict", str(out), source, "--out", str(table)]),
        ):
            start = time.monotonic()
            subprocess.run([sys.executable, "-m", "kinemask", *words], check=True, stdout=subprocess.DEVNULL)
            seconds[name] = time.monotonic() - start
        clips = len(table.read_text().splitlines()) - 1
        size = (out / "recogniser.safetensors").stat().st_size
        return {"source": Path(source).name, "clips": clips, "seconds": seconds, "bytes": size}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("cases", nargs="*", metavar="STORE:SPLIT[+SPLIT...]")
    parser.add_argument("--per-class", type=int, nargs="+", default=[1, 2, 5, 0], help="labels a class; 0 for all")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--paths", nargs="*", default=[], metavar="SRC")
    args = parser.parse_args()
    results: list[dict[str, Any]] = []
    for case in args.cases:
        path, _, splits = case.rpartition(":")
        for per_class in args.per_class:
            records = [one for split in splits.split("+") for one in measure(path, split, per_class, args.draws)]
            results.append({"data": Path(path).name, "split": splits, "per_class": per_class, "records": records})
            for name in records[0]["accuracy"]:
                values = [one["accuracy"][name][0] for one in records]
                spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
                print(f"{case}, {per_class or 'all'} a class: {name} {fmean(values):.1f}{spread}", flush=True)
            print(f"  {fmean(one['seconds'] for one in records):.1f} s; {np.unique([r['choice'] for r in records])}")
    paths = [time_path(source, []) for source in args.paths]
    finish({"cases": results, "paths": paths}, args.out)


if __name__ == "__main__":
    main()

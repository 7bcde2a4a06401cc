"""The recogniser as it comes, beside random convolutions as recorded and aligned and neighbours on raw coordinates.

Accuracy on the test part of a split, learned from all labels of its training part or from a few of each class, then
without the other training clips and with them as clips without a label; where a split has folds (sbu:fold1+fold2+…),
means over them. Nothing is chosen on test parts. `--paths SRC …` measures the wall time of the whole path instead, each
command in a process of its own: train, then predict on the same recordings.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch

from common import arguments, finish, machine
from kinemask import Recogniser, open_store
from kinemask.protocols.labels import draw_labels
from kinemask.recognition.assessment import Assessment
from kinemask.recognition.choice import FRAMES, alignments
from kinemask.recognition.labels import Labelled, find_labelled
from kinemask.recognition.learning import learn
from kinemask.windows.bodies import channels, side_by_side
from kinemask.windows.parts import Part
from kinemask.windows.settings import Align

RECOGNISER = "recogniser"
SPREAD = "labels spread"
WAYS = ("as recorded", "aligned")
AEON = "MiniRocket (aeon)"


def few(labelled: Labelled, per_class: int, seed: int) -> Labelled:
    """With so many labels of each class; 0 for all."""
    if not per_class:
        return labelled
    part = Part(labelled.store, labelled.train, torch.device("cpu"), "fill")
    drawn = labelled.train[draw_labels(part, seed, per_class=per_class)]
    return replace(labelled, train=drawn, unlabelled=labelled.unlabelled[:0])


def unseen(found: Assessment, labelled: Labelled) -> tuple[float, float]:
    """Accuracy in percent on all test clips, and on those that are no copies of clips of the training part."""
    right = found.guesses == found.labels
    own = ~labelled.store.duplicates(labelled.store.split(labelled.split or "")[0], labelled.test)
    return 100 * float(right.mean()), 100 * float(right[own].mean())


def ends(labelled: Labelled) -> dict[str, Align]:
    """How clips are turned: not at all, and as their layout allows."""
    store = labelled.store
    several = 2 * int((store.bodies[labelled.train] > 1).sum()) > len(labelled.train)
    different = dict.fromkeys(("none", alignments(store.layout, several)[-1]))
    return dict(zip(WAYS, different, strict=False))


def recognisers(whole: Labelled, seed: int, encoders: Sequence[Path]) -> dict[str, Recogniser]:
    """What is measured, by name."""
    made = {RECOGNISER: Recogniser(seed=seed, device="cpu")}
    for path in encoders:
        made[f"{RECOGNISER}, tokens of {path.name}"] = Recogniser(
            features=["convolutions", "statistics", "tokens"], encoder=str(path), seed=seed, device="cpu"
        )
    for name, align in ends(whole).items():
        made[f"random convolutions, {name}"] = Recogniser(
            features="convolutions", align=align, mirrored=False, twins=False, seed=seed, device="cpu"
        )
    return made


def measure(whole: Labelled, per_class: int, encoders: Sequence[Path], record: dict[str, Any]) -> bool:
    """Add to a draw's record the accuracies, seconds and choices that it lacks; whether there were any."""
    seed, lacking = record["seed"], False
    labelled = few(whole, per_class, seed)
    ways = {"": labelled}
    if per_class:
        ways[f", {SPREAD}"] = replace(labelled, unlabelled=np.setdiff1d(whole.train, labelled.train))
    for way, known in ways.items():
        for name, made in recognisers(whole, seed, encoders).items():
            name += way
            if name in record["accuracy"]:
                continue
            lacking, start = True, time.monotonic()
            found = learn(made, known)
            assert found is not None
            record["accuracy"][name] = unseen(found, whole)
            if name.startswith(RECOGNISER):
                record["seconds"][name], record["choice"][name] = time.monotonic() - start, str(made.choice_)
                for other, right in found.baselines.items():
                    record["accuracy"].setdefault(other, (100 * right / len(found),))
    return lacking


def stem(whole: Labelled, per_class: int, seed: int, way: str) -> str:
    """What the windows of a draw are called, without their ending."""
    return f"{whole.store.path.name}-{whole.split}-{per_class}-{seed}-{way.replace(' ', '-')}"


def export(whole: Labelled, per_class: int, seed: int, folder: Path) -> None:
    """Write the windows of a draw, as recorded and aligned, unless they are there."""
    labelled = few(whole, per_class, seed)
    sides = {"train": labelled.train, "test": whole.test}
    for way, align in ends(whole).items():
        path = folder / f"{stem(whole, per_class, seed, way)}.npz"
        if path.is_file():
            continue
        parts = {side: Part(whole.store, clips, torch.device("cpu"), "fill") for side, clips in sides.items()}
        bodies = max(side_by_side(part.tracks, 1).shape[1] for part in parts.values())
        x = {
            side: channels(side_by_side(part.tracks, FRAMES, align, bodies), whole.store.layout.root).numpy()
            for side, part in parts.items()
        }
        np.savez(path, **x, labels=parts["train"].labels.numpy(), truth=parts["test"].labels.numpy())


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


def show(row: dict[str, Any]) -> None:
    records, labels = row["records"], row["per_class"] or "all"
    for name in records[0]["accuracy"]:
        values = [one["accuracy"][name][0] for one in records if name in one["accuracy"]]
        spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
        print(f"{row['data']} {row['split']}, {labels} a class: {name} {fmean(values):.1f}{spread}", flush=True)
    for name in records[0]["choice"]:
        told = [one for one in records if name in one["choice"]]
        seconds = fmean(one["seconds"][name] for one in told)
        print(f"  {name}: {seconds:.1f} s; {np.unique([one['choice'][name] for one in told])}")


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("cases", nargs="*", metavar="STORE:SPLIT[+SPLIT...]")
    parser.add_argument("--per-class", type=int, nargs="+", default=[1, 2, 5, 0], help="labels a class; 0 for all")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--encoder", type=Path, nargs="+", default=[], help="runs whose tokens are a kind of features")
    parser.add_argument("--paths", nargs="*", default=[], metavar="SRC")
    parser.add_argument("--export", type=Path, help="folder for the windows of every row")
    parser.add_argument("--minirocket", type=Path, help="what minirocket.py found on such windows")
    args = parser.parse_args()
    if len({path.name for path in args.encoder}) < len(args.encoder):
        parser.error("--encoder: runs of one name cannot be told apart in the table")
    known = (
        json.loads(args.out.read_text())
        if args.out and args.out.is_file()
        else {"cases": [], "paths": [], "machine": None}
    )
    aeon = json.loads(args.minirocket.read_text()) if args.minirocket else {}
    rows = {
        (row["data"], row["split"], row["per_class"]): {"machine": known["machine"]} | row for row in known["cases"]
    }
    if args.export:
        args.export.mkdir(parents=True, exist_ok=True)
    for case in args.cases:
        path, _, splits = case.rpartition(":")
        wholes = [find_labelled(open_store(path), split) for split in splits.split("+")]
        for per_class in args.per_class:
            drawn = [(whole, seed) for whole in wholes for seed in range(args.draws if per_class else 1)]
            key = (Path(path).name, splits, per_class)
            row = rows.setdefault(key, dict(zip(("data", "split", "per_class"), key, strict=True)) | {"records": []})
            of_draw = {
                (one.get("split"), one["seed"]): one for one in row["records"] if isinstance(one["choice"], dict)
            }
            for whole, seed in drawn:
                about = {"split": whole.split, "seed": seed}
                of_draw.setdefault((whole.split, seed), about | {"choice": {}, "seconds": {}, "accuracy": {}})
            row["records"] = list(of_draw.values())
            pairs = [((whole, seed), of_draw[whole.split, seed]) for whole, seed in drawn]
            measured = [measure(whole, per_class, args.encoder, record) for (whole, _), record in pairs]
            if any(measured):
                row["machine"] = machine()
            for (whole, seed), record in pairs:
                for way in WAYS:
                    found = aeon.get(stem(whole, per_class, seed, way))
                    record["accuracy"] |= {f"{AEON}, {way}": [fmean(found)]} if found else {}
            if args.export:
                for whole, seed in drawn:
                    export(whole, per_class, seed, args.export)
            if args.out:
                args.out.write_text(json.dumps(known | {"cases": list(rows.values())}, indent=1) + "\n")
            show(row)
    paths = [time_path(source, []) for source in args.paths] or known["paths"]
    finish({"cases": list(rows.values()), "paths": paths}, args.out)


if __name__ == "__main__":
    main()

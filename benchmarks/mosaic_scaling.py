"""How Mosaic's features of real recordings grow with clips, variety and steps of motion programmes.

    kinemask prepare utd-mhad Skeleton stores/utd-fold --exclude even.txt --split-rule f57:subject=5,7 f13:subject=1,3
    kinemask prepare nw-ucla all_sqe stores/nw-fold --exclude view3.txt --split-rule f21:camera=2 f12:camera=1
    python benchmarks/mosaic_scaling.py --folds stores/utd-fold:f57+f13 stores/nw-fold:f21+f12 --work runs/scaling

The folds are inside the training parts: even.txt and view3.txt name the clips of the test parts, which take no part.
A point is one pre-training with the settings of benchmarks/mosaic-small.yaml, but for what it names; it is read out on
all folds, and what is in --work already is not made again. Points go one after the other; --points A B … takes some.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any
from unittest.mock import patch

import kinemask
from common import arguments, finish
from kinemask.nn.settings import ReadoutSettings
from kinemask.skeleton import layout
from kinemask.store.opening import open_store
from kinemask.store.writer import write_store
from kinemask.synthetic import programmes as generator
from programmes import clips

RECIPE = str(Path(__file__).parent / "mosaic-small.yaml")
BATCH = 64
READOUT = asdict(ReadoutSettings(over="joints", pieces=[1, 3], statistics=["mean", "max"]))
FIVE = ("kinect20", "ntu25", "sbu15", "mediapipe33", "h36m17")
HANDS = tuple(act for act, _ in generator.HAND_ACTS)
ACTS = {"hands": HANDS, "all": tuple(act for act, _ in generator.ACTS)}


@dataclass(frozen=True)
class Point:
    """One pre-training: optimizer steps, on clips that hold these acts, spread over these layouts."""

    steps: int = 1536
    clips: int = 4096
    acts: str = "all"
    layouts: tuple[str, ...] = FIVE[:1]


POINTS = {
    **{f"clips {n}": Point(clips=n) for n in (256, 1024, 4096, 16384)},
    **{f"steps {n}": Point(steps=n, clips=16384) for n in (256, 6144)},
    "acts hands": Point(acts="hands"),
    "layouts 5": Point(clips=4160, layouts=FIVE),  # 13 batches of each
}


def stores(point: Point, work: Path) -> list[Path]:
    """The stores of a point's programmes, made where they are not there."""
    each, chosen, paths = point.clips // len(point.layouts), ACTS[point.acts], []
    of = {name: tuple(a for a in getattr(generator, name) if a[0] in chosen) for name in ("ACTS", "SEATED_ACTS")}
    for number, name in enumerate(point.layouts):
        path = work / f"{name}-{point.acts}-{each}"
        if not path.exists():
            target = layout(name)
            with patch.multiple(generator, **of):
                write_store(path, clips(target, 100_000 + number * each, each), target, [], meta={"name": path.name})
        paths.append(path)
    return paths


def run(name: str, point: Point, work: Path) -> Path:
    """The run of a point, pre-trained or found."""
    data = stores(point, work)
    epochs = round(point.steps / (sum(len(open_store(path)) for path in data) // BATCH))
    given = {"training.epochs": epochs, "training.warmup_epochs": 0.1 * epochs, "training.batch_size": BATCH}
    return kinemask.pretrain(RECIPE, data, "all", work / f"run {name}".replace(" ", "-"), quiet=True, **given)


def read(folder: Path, store: str, split: str) -> dict[str, float]:
    """Accuracies in percent of a fold: ridge with 1, 2, 5 labels a class and all, mean of three draws, and 1-NN."""
    where: dict[str, Any] = {"run": folder, "data": store, "split": split, "baselines": False, "quiet": True}
    readout = {f"readout.{key}": value for key, value in READOUT.items()}
    probes = kinemask.evaluate("probe", seed=[0, 1, 2], per_class=[1, 2, 5], **where, **readout)
    (nearest,) = kinemask.evaluate("knn", **where)
    labels = zip(*(r.curves["labels"].accuracy for r in probes), strict=True)
    found = {str(n): fmean(each) for n, each in zip((1, 2, 5), labels, strict=True)}
    found["all"] = fmean(r.accuracy for r in probes)
    return found | {"1-NN": nearest.accuracy}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--folds", nargs="+", required=True, help="STORE:SPLIT+SPLIT …")
    parser.add_argument("--work", type=Path, required=True, help="folder of stores and runs, kept")
    parser.add_argument("--points", nargs="+", choices=POINTS, default=list(POINTS))
    args = parser.parse_args()
    folds = [
        (store, split) for store, _, splits in (f.partition(":") for f in args.folds) for split in splits.split("+")
    ]
    results = {}
    for name in args.points:
        folder = run(name, POINTS[name], args.work)
        found = {split: read(folder, store, split) for store, split in folds}
        results[name] = {**asdict(POINTS[name]), "folds": found}
        print(name, found, flush=True)
    finish({"points": results}, args.out)


if __name__ == "__main__":
    main()

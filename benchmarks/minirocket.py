"""aeon's MiniRocket, the reference for random convolutions, on the windows that another benchmark wrote by `--export`.

aeon wants an older NumPy than the pinned one, so it lives in an environment of its own: pip install aeon. `--out` keeps
accuracies by file name; those that are there already are not computed again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
from aeon.transformations.collection.convolution_based import MiniRocket
from sklearn.linear_model import RidgeClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def score(path: Path, seeds: int) -> list[float]:
    """Accuracy in percent on the test clips of a file, for each seed of the kernels."""
    with np.load(path) as arrays:
        x = {name: arrays[name] for name in arrays.files}
    found = []
    for seed in range(seeds):
        ridge = RidgeClassifierCV(alphas=np.logspace(-3, 5, 17))
        model = make_pipeline(MiniRocket(random_state=seed), StandardScaler(), ridge).fit(x["train"], x["labels"])
        found.append(100 * float(model.score(x["test"], x["truth"])))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("windows", type=Path, help="folder of .npz files")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="JSON file of accuracies by file name")
    args = parser.parse_args()
    done = json.loads(args.out.read_text()) if args.out and args.out.is_file() else {}
    for path in sorted(args.windows.glob("*.npz")):
        if len(done.get(path.stem, [])) < args.seeds:
            done[path.stem] = score(path, args.seeds)
        found = done[path.stem]
        spread = f" ± {stdev(found):.1f}" if len(found) > 1 else ""
        print(f"{path.stem}: {fmean(found):.1f}{spread}", flush=True)
        if args.out:
            args.out.write_text(json.dumps(done, indent=1) + "\n")


if __name__ == "__main__":
    main()

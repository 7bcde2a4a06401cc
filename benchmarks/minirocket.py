"""aeon's MiniRocket on the windows that `baselines.py --export` wrote: the reference for random convolutions.

aeon wants an older NumPy than the pinned one, so it lives in an environment of its own: pip install aeon.
"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
from aeon.transformations.collection.convolution_based import MiniRocket
from sklearn.linear_model import RidgeClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

for path in sorted(Path(sys.argv[1]).glob("*.npz")):
    with np.load(path) as arrays:
        x = {name: arrays[name] for name in arrays.files}
    found = []
    for seed in range(3):
        ridge = RidgeClassifierCV(alphas=np.logspace(-3, 5, 17))
        model = make_pipeline(MiniRocket(random_state=seed), StandardScaler(), ridge).fit(x["train"], x["labels"])
        found.append(100 * model.score(x["test"], x["truth"]))
    print(f"{path.stem}: {fmean(found):.1f} ± {stdev(found):.1f}", flush=True)

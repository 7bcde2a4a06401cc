"""What a store holds, in numbers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from kinemask.store.opening import Store, open_store


def info(store: Store | str | Path) -> dict[str, Any]:
    """What a store holds, as a dict that JSON can carry; also checks that its arrays are as written.

    name (as results call it), dataset, version, layout, units, dtype, confidences (whether the store keeps
    them), clips, classes, unlabelled, subjects (counts), bodies (histogram), frames {min, median, max},
    missing_fraction (of the joints of all bodies' frames), splits {name: {train, test,
    test_duplicates_of_train}}, the last the test clips that are exact copies of a training clip.
    """
    if isinstance(store, Store):
        store.verify()
    else:
        store = open_store(store, verify=True)
    splits = {}
    for name in store.splits:
        train, test = store.split(name)
        copies = int(store.duplicates(train, test).sum())
        splits[name] = {"train": len(train), "test": len(test), "test_duplicates_of_train": copies}
    subjects = set(store.fields["subject"].tolist()) - {""} if "subject" in store.fields else set()
    bodies = Counter(store.bodies.tolist())
    return {
        "name": store.name,
        "dataset": store.meta.get("dataset", ""),
        "version": store.meta["version"],
        "layout": store.layout.name,
        "units": store.meta.get("units", ""),
        "dtype": store.meta["dtype"],
        "confidences": store.scores is not None,
        "clips": len(store),
        "classes": len(store.classes),
        "unlabelled": int((store.labels < 0).sum()),
        "subjects": len(subjects),
        "bodies": {str(count): bodies[count] for count in sorted(bodies)},
        "frames": {
            "min": int(store.lengths.min()),
            "median": float(np.median(store.lengths)),
            "max": int(store.lengths.max()),
        },
        "missing_fraction": _missing_fraction(store.frames),
        "splits": splits,
    }


def _missing_fraction(frames: np.ndarray, rows: int = 1 << 16) -> float:
    """Share of joints (rows, V, C) that are missing, read in blocks of rows."""
    blocks = (frames[i : i + rows, :, 0] for i in range(0, len(frames), rows))
    return sum(int(np.isnan(block).sum()) for block in blocks) / (frames.shape[0] * frames.shape[1])

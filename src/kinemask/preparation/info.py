"""What a store holds, in numbers, and what in it looks wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from kinemask.preparation.shaping import TORSO, doubt_gravity, stance
from kinemask.readers.cleaning import torso_length
from kinemask.store.opening import Store, open_store

LOOKED_AT = 2000  # clips, evenly spaced, whose bodies are measured
FEW = 2  # clips of a class
_ROWS = 1 << 16


def info(store: Store | str | Path) -> dict[str, Any]:
    """What a store holds, as a dict that JSON can carry; also checks that its arrays are as written.

    name (as results call it), dataset, version, layout, units, dtype, confidences (whether the store keeps
    them), clips, classes, unlabelled, subjects (counts), bodies (histogram), frames {min, median, max},
    missing_fraction (of the joints of all bodies' frames), splits {name: {train, test,
    test_duplicates_of_train}}, the last the test clips that are exact copies of a training clip.

    class_counts, subject_counts (clips of each), missing_by_joint (fractions), torso and speed (min, median, max over
    clips of the torso's length and of the mean way of a joint from one frame to the next, in the store's units), still
    (clips of several frames in which nothing moves), duplicates {clips, with_another_label, within {split: {train,
    test}}}: exact copies of an earlier clip (of the same part), doubts: sentences on what looks wrong.
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
    people = store.fields.get("subject", np.array([], str)).tolist()
    subjects = Counter(subject for subject in people if subject)
    bodies = Counter(store.bodies.tolist())
    labels = Counter(store.labels.tolist())
    missing = _missing_by_joint(store.frames)
    measures = _measure(store)
    facts = {
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
        "missing_fraction": float(missing.mean()),
        "splits": splits,
        "class_counts": {name: labels[label] for label, name in enumerate(store.classes)},
        "subject_counts": {name: subjects[name] for name in sorted(subjects)},
        "missing_by_joint": dict(zip(store.layout.joints, missing.tolist(), strict=True)),
        "torso": _spread(measures["torso"]),
        "speed": _spread(measures["speed"]),
        "still": int((measures["speed"] == 0).sum()),
        "duplicates": _duplicates(store),
    }
    return facts | {"doubts": _doubts(store, facts, measures)}


def _missing_by_joint(frames: np.ndarray) -> np.ndarray:
    """Share of the rows (rows, V, C) in which each joint is missing: (V,), read in blocks of rows."""
    blocks = (frames[i : i + _ROWS, :, 0] for i in range(0, len(frames), _ROWS))
    return np.sum([np.isnan(block).sum(0) for block in blocks], axis=0) / len(frames)


def _measure(store: Store) -> dict[str, np.ndarray]:
    """Of at most LOOKED_AT clips: torso, speed (n,), NaN where unknown, and ways (n, C) from feet to head."""
    chosen = np.unique(np.linspace(0, len(store) - 1, min(len(store), LOOKED_AT)).astype(int))
    torso, speed, ways = [], [], []
    for i in chosen.tolist():
        data = np.asarray(store.clip(i), np.float32)
        torso.append(torso_length(data, store.layout))
        steps = np.linalg.norm(np.diff(data, axis=1), axis=-1)
        steps = steps[~np.isnan(steps)]
        speed.append(float(steps.mean()) if steps.size else np.nan)
        ways.append(stance(data, store.layout))
    return {"torso": np.array(torso), "speed": np.array(speed), "ways": np.stack(ways)}


def _spread(values: np.ndarray) -> dict[str, float] | None:
    """Least, middle and greatest of those that are known; None where none is."""
    known = values[~np.isnan(values)]
    if not known.size:
        return None
    return {"min": float(known.min()), "median": float(np.median(known)), "max": float(known.max())}


def _duplicates(store: Store) -> dict[str, Any]:
    """Clips that are exact copies of an earlier one, in all and within each part of each split."""
    groups: dict[int, list[int]] = {}
    for i, content in enumerate(store.contents.tolist()):
        groups.setdefault(content, []).append(i)
    copies = [group for group in groups.values() if len(group) > 1]
    extra = lambda chosen: sum(max(0, len(chosen.intersection(group)) - 1) for group in copies)
    parts = {name: store.split(name) for name in store.splits}
    return {
        "clips": extra(set(range(len(store)))),
        "with_another_label": int(sum((store.labels[group] != store.labels[group[0]]).sum() for group in copies)),
        "within": {
            name: {"train": extra(set(train.tolist())), "test": extra(set(test.tolist()))}
            for name, (train, test) in parts.items()
        },
    }


def _doubts(store: Store, facts: dict[str, Any], measures: dict[str, np.ndarray]) -> list[str]:
    """Sentences on what looks wrong, or will be in the way."""
    never = [joint for joint, share in facts["missing_by_joint"].items() if share == 1]
    absent = [name for name, count in facts["class_counts"].items() if not count]
    rare = [name for name, count in facts["class_counts"].items() if 0 < count <= FEW]
    same = facts["duplicates"]
    doubts = [
        *_doubt_units(store, measures["torso"]),
        doubt_gravity(measures["ways"], None),
        never and f"never seen: {_some(never)}",
        facts["missing_fraction"] > 0.5 and f"{facts['missing_fraction']:.0%} of the joints are missing",
        facts["still"] and f"nothing moves in {facts['still']:,} of {len(measures['speed']):,} clips",
        facts["frames"]["median"] == 1 and "most clips are of one frame: is a recording's every frame a file?",
        same["clips"] and f"{same['clips']:,} clips are exact copies of another",
        same["with_another_label"] and f"{same['with_another_label']:,} exact copies have another label",
        absent and f"classes without a clip: {_some(absent)}",
        rare and f"classes of {FEW} clips or fewer: {_some(rare)}",
        *(
            part["test_duplicates_of_train"]
            and f"split {name}: {part['test_duplicates_of_train']:,} test clips are exact copies of training clips"
            for name, part in facts["splits"].items()
        ),
    ]
    return [doubt for doubt in doubts if doubt]


def _doubt_units(store: Store, torso: np.ndarray) -> Iterable[str]:
    known = torso[~np.isnan(torso)]
    if store.layout.dims == 3:
        wrong = (known < TORSO[0]) | (known > TORSO[1])
        if wrong.any():
            yield (
                f"in {wrong.sum():,} of {len(known):,} clips the torso is not 0.1 to 1.5 long, as people's is in metres"
                f" (median {np.median(known[wrong]):.3g})"
            )
    elif len(known) and known.max() > 20 * np.median(known):
        yield f"sizes differ: the largest torso is {known.max() / np.median(known):.0f} times the median"


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")

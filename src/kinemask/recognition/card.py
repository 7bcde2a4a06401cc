"""A recogniser's model card: classes, joints, training set, and how good it is on what was held out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from kinemask.models.hub import code, licence_section, words, write_card

if TYPE_CHECKING:
    from kinemask.recognition.recogniser import Recogniser

_TAGS = ("kinemask", "skeleton", "action-recognition", "human-pose")


@dataclass(frozen=True)
class _Assessed:
    """What the record of a recogniser keeps of its assessment (`assessment.Assessment.to_dict`)."""

    by: str
    clips: int
    right: int
    interval: tuple[float, float]
    baselines: dict[str, int]
    note: str = ""  # there is none in files of before


def write_recogniser_card(folder: Path, made: Recogniser, repository: str, licence: str | None) -> None:
    """Write README.md; ValueError where the recogniser's own record of how it was made is not as `train` writes it."""
    sections = [
        f"# {repository.partition('/')[2]}",
        f"Recognises {len(made.classes_)} actions in recordings of skeletons, with kinemask.",
        _use(repository),
        f"## Classes\n\n{', '.join(map(code, made.classes_.tolist()))}",
        _joints(made),
        _training(made),
        _assessed(made.record_),
        licence_section(licence),
    ]
    write_card(folder, licence, _TAGS, sections)


def _use(repository: str) -> str:
    return f"""## Use

```python
import kinemask

recogniser = kinemask.Recogniser.from_pretrained("{repository}")
for one in kinemask.predict(recogniser, ["my-recordings"]):
    print(one.clip, one.label, one.probability)
```

The file is safetensors; loading it runs no code."""


def _joints(made: Recogniser) -> str:
    of = made.layout_
    units = "metres, y up" if of.dims == 3 else "coordinates of the image"
    reading = made.record_.get("reading") or {}
    given = ", ".join(f"{code(name)} {code(value)}" for name, value in reading.items()) if reading else ""
    return (
        f"## Joints\n\nLayout {code(of.name)}: {of.num_joints} joints in {of.dims}D ({units}), in this order:"
        f" {', '.join(map(code, of.joints))}." + (f"\n\nThe recordings were read with {given}." if given else "")
    )


def _training(made: Recogniser) -> str:
    record, (least, middle, most) = made.record_, made.lengths_
    of = code(record["data"]) if record.get("data") else "a training set that is not named"
    part = f", the training part of split {code(record['split'])}" if record.get("split") else ""
    count = f"{record['clips']:,} clips of " if isinstance(record.get("clips"), int) else ""
    if count and isinstance(record.get("unlabelled"), int) and record["unlabelled"]:
        count = f"{record['clips']:,} labelled clips, and {record['unlabelled']:,} without a label, of "
    return (
        f"## Training set\n\n{count}{of}{part}; {least} to {most} frames, median {middle}.\n\n"
        f"It looks at {made.choice_}."
    )


def _assessed(record: Mapping[str, Any]) -> str:
    title = "## How good it is"
    if not record.get("assessment"):
        return f"{title}\n\nNot measured on clips that it has not learned from."
    try:
        found = msgspec.convert(record["assessment"], _Assessed)
    except msgspec.ValidationError as error:
        raise ValueError(f"the recogniser's record of its assessment cannot be read: {error}") from None
    low, high = found.interval
    name, right = max(found.baselines.items(), key=lambda one: one[1], default=("", 0))
    rows = [
        "| on clips held out | right | of |\n|---|---|---|",
        f"| **this recogniser** | **{found.right / found.clips:.1%}** ({low:.1%} to {high:.1%}) | {found.clips:,} |",
        *([f"| strongest baseline: {words(name)} | {right / found.clips:.1%} | {found.clips:,} |"] if name else []),
    ]
    table = "\n".join(rows)
    said = (
        "In brackets the exact 95 % interval (Clopper and Pearson), clips taken as independent. Other cameras, places"
    )
    known = f" But {words(found.note)}." if found.note else ""
    return f"{title}\n\n{table}\n\nHeld out: {words(found.by)}.{known} {said} and people may do worse."

"""Validation splits: a part of each split's training side, held out so that no test set is ever tuned on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

HELD_OUT = 0.2


def hold_out(
    sides: Sequence[str],
    names: Sequence[str],
    subjects: Sequence[str],
    digests: Sequence[bytes],
    kind: str = "subjects",
) -> tuple[list[str], str]:
    """Validation sides of a split: 20 % of its training subjects become "test", the rest stay "train".

    sides: each clip's side in the split ("train", "test" or ""). names, subjects, digests: of each clip;
    a subject may be "" (unknown), and equal digests mean exact copies. kind: what the subjects are. Returns
    the sides of the validation split ("" for every clip that is not in the training part) and a line that
    says what is held out.

    Subjects are ranked by a hash of their name, so the choice depends neither on the order of the clips nor
    on a seed; at least one is held out. Where the training part has no two subjects, 20 % of its clips are
    held out by a hash of their names. A clip stays in the training part where that
    holds an exact copy of it.
    """
    training = [i for i, side in enumerate(sides) if side == "train"]
    units = {i: subjects[i] for i in training if subjects[i]}
    if len(set(units.values())) < 2:
        units, kind = {i: names[i] for i in training}, "clips"
    ranked = sorted(set(units.values()), key=lambda unit: hashlib.sha256(unit.encode()).digest())
    held = set(ranked[: max(1, round(HELD_OUT * len(ranked)))]) if len(ranked) > 1 else set()
    known = {digests[i] for i in training if units.get(i) not in held}
    result = [""] * len(sides)
    for i in training:
        result[i] = "test" if units.get(i) in held and digests[i] not in known else "train"
    named = f" ({', '.join(sorted(held))})" if kind == "subjects" else ""
    return result, f"{len(held)} of {len(ranked)} training {kind} held out{named}"

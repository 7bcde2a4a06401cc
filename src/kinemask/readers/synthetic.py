"""Synthetic recordings, which are in the format of NTU RGB+D."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from kinemask.readers.base import Reader, Side, SplitRule
from kinemask.readers.ntu import XVIEW, read, scan
from kinemask.synthetic.recordings import CLASSES

XSUB = SplitRule(
    "train on odd subjects, test on even ones",
    lambda fields: "train" if int(fields["subject"]) % 2 else "test",
)


def _both(fields: Mapping[str, str]) -> Side:
    side = XSUB.side(fields)
    return side if side == XVIEW.side(fields) else ""


XSUB_XVIEW = SplitRule("train on odd subjects from cameras 2 and 3, test on even ones from camera 1", _both)

READER = Reader(
    name="synthetic",
    title=f"synthetic recordings in the format of NTU RGB+D: {len(CLASSES)} actions (25 joints)",
    citation="made by kinemask",
    layout="ntu25",
    classes=CLASSES,
    splits={"xsub": XSUB, "xview": XVIEW, "xsub-xview": XSUB_XVIEW},
    scan=partial(scan, classes=CLASSES),
    read=partial(read, classes=CLASSES),
)

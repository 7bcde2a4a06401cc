"""Synthetic recordings, which are in the format of NTU RGB+D."""

from __future__ import annotations

from functools import partial

from kinemask.readers.base import Reader, SplitRule
from kinemask.readers.ntu import XVIEW, read, scan
from kinemask.synthetic.recordings import CLASSES

READER = Reader(
    name="synthetic",
    title=f"synthetic recordings in the format of NTU RGB+D: {len(CLASSES)} actions (25 joints)",
    citation="made by kinemask",
    layout="ntu25",
    classes=CLASSES,
    splits={
        "xsub": SplitRule(
            "train on odd subjects, test on even ones",
            lambda fields: "train" if int(fields["subject"]) % 2 else "test",
        ),
        "xview": XVIEW,
    },
    scan=partial(scan, classes=CLASSES),
    read=partial(read, classes=CLASSES),
)

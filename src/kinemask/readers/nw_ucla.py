"""Northwestern-UCLA Multiview Action 3D, in the JSON copy that skeleton papers share."""

from __future__ import annotations

import re
from pathlib import Path

from kinemask.readers.base import Complete, Item, Reader, ReadOptions, Scan, SplitRule
from kinemask.readers.cleaning import clean_3d, mark_missing
from kinemask.readers.files import as_numbers, find_files, match_name, naming_file, read_json, unique_names
from kinemask.skeleton import layout
from kinemask.store.format import Clip

CLASSES = {  # by the number in the file's name; labels count them without gaps
    1: "pick up with one hand",
    2: "pick up with two hands",
    3: "drop trash",
    4: "walk around",
    5: "sit down",
    6: "stand up",
    8: "donning",
    9: "doffing",
    11: "throw",
    12: "carry",
}
_NAME = re.compile(r"a(\d\d)_s(\d\d)_e(\d\d)_v(\d\d)\.json")


def scan(src: Path) -> Scan:
    """The files of a source, a clip each, sorted."""
    found = find_files(src, "a*_s*_e*_v*.json", "files aAA_sSS_eEE_vVV.json")
    return Scan.of_files(unique_names(found), READER.classes)


def read(item: Item, options: ReadOptions) -> Clip:
    """One clip (1, T, 20, 3). Raises ValueError also where name and label disagree on the class."""
    path = item.path
    action, subject, take, view = (int(n) for n in match_name(path, _NAME, "aAA_sSS_eEE_vVV.json").groups())
    if action not in CLASSES:
        known = ", ".join(f"a{n:02d}" for n in CLASSES)
        raise ValueError(f"{path}: no class a{action:02d}; this data set has {known}")
    content = read_json(path)
    for key in ("skeletons", "label"):
        if key not in content:
            raise ValueError(f"{path}: expected the key {key!r}, found {', '.join(map(repr, content)) or 'none'}")
    label = list(CLASSES).index(action)
    if content["label"] != label + 1:
        raise ValueError(
            f"{path}: the name says class a{action:02d}, which is label {label + 1}; the file says label"
            f" {content['label']!r}"
        )
    data = as_numbers(content["skeletons"], f"{path}: skeletons")
    if data.ndim != 3 or data.shape[1:] != (20, 3) or not len(data):
        raise ValueError(f"{path}: skeletons should have the shape (frames, 20, 3), found {data.shape}")
    with naming_file(path):
        data, notes = clean_3d(mark_missing(data[None]), layout("kinect20"))
    fields = {"subject": str(subject), "camera": str(view), "replication": str(take)}
    return Clip(path.stem, data, label, fields, notes)


READER = Reader(
    name="nw-ucla",
    title="Northwestern-UCLA Multiview Action 3D: 10 actions, 10 subjects, 3 views (Kinect, 20 joints)",
    citation="Wang, Nie, Xia, Wu, Zhu: Cross-view Action Modeling, Learning and Recognition. CVPR 2014",
    layout="kinect20",
    classes=tuple(CLASSES.values()),
    splits={
        "xview": SplitRule(
            "train on views 1 and 2, test on view 3",
            lambda fields: "test" if fields["camera"] == "3" else "train",
        ),
        "xsub": SplitRule(
            "train on odd subjects, test on even ones (not a published split)",
            lambda fields: "train" if int(fields["subject"]) % 2 else "test",
        ),
    },
    scan=scan,
    read=read,
    expected=Complete(1484, 1484, {"xview": (1020, 464), "xsub": (724, 760)}),
)

"""A small valid file of each format, and where the real files are."""

from __future__ import annotations

import json

import numpy as np
from scipy.io import savemat

from helpers import DATA
from kinemask.readers import Item, ReadOptions
from kinemask.skeleton import layout

REAL = ("nw-ucla", "utd-mhad", "sbu", "penn-action")
NTU = sorted((DATA / "ntu-rgbd").rglob("*.skeleton"))
PLAIN = ReadOptions()
OWN = ReadOptions(layout=layout("kinect20"))


def item(path, *known):
    return Item(path, path.stem, *known)


def files_of(source, folder):
    return [found.path for found in source.scan(folder).items]


def skeleton_text(joints, ids=None, ending="\n"):
    """`.skeleton` text of joints (M, T, 25, 3)."""
    ids = ids or [72057594037931101 + m for m in range(len(joints))]
    lines = [str(joints.shape[1])]
    for t in range(joints.shape[1]):
        lines.append(str(len(joints)))
        for ident, body in zip(ids, joints, strict=True):
            lines += [f"{ident} 0 1 1 1 1 0 0.1 -0.2 2", "25"]
            lines += [" ".join(map(repr, map(float, xyz))) + " 1 2 3 4 0 0 0 0 2" for xyz in body[t]]
    return ending.join([*lines, ""])


def write_ntu(folder, joints):
    path = folder / "S001C002P003R002A005.skeleton"
    path.write_text(skeleton_text(joints[None]))
    return path


def write_nw_ucla(folder, joints):
    path = folder / "a08_s03_e01_v02.json"
    path.write_text(json.dumps({"file_name": path.stem, "skeletons": joints.tolist(), "label": 7}))
    return path


def write_utd(folder, joints):
    path = folder / "a5_s3_t2_skeleton.mat"
    savemat(path, {"d_skel": joints.transpose(1, 2, 0)})
    return path


def write_sbu(folder, joints):
    path = folder / "s01s02" / "05" / "001" / "skeleton_pos.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [",".join([str(t + 1), *map(str, [*frame.flat, *frame.flat])]) for t, frame in enumerate(joints)]
    path.write_text("\r\n".join([*rows, ""]))
    return path


def write_penn(folder, joints, **changes):
    path = folder / "0042.mat"
    content = {
        "x": joints[..., 0],
        "y": joints[..., 1],
        "visibility": np.ones(joints.shape[:2], np.uint8),
        "action": "squat",
        "train": 1,
        "dimensions": [[360, 480, len(joints)]],
    }
    savemat(path, content | changes)
    return path


def write_npy(folder, joints):
    path = folder / "mine.npy"
    np.save(path, joints)
    return path


def write_npz(folder, joints, **more):
    path = folder / "mine.npz"
    np.savez(path, keypoints=joints, **more)
    return path


def write_csv(folder, joints):
    path = folder / "mine.csv"
    lines = [
        ",".join(map(str, [t, "me", v, *joints[t, v]])) for t in range(len(joints)) for v in range(joints.shape[1])
    ]
    path.write_text("\n".join(["frame,body,joint,x,y,z", *lines, ""]))
    return path


def write_mediapipe(folder, joints):
    path = folder / "mine.json"
    frames = [[dict(zip("xyz", xyz, strict=True), visibility=0.9) for xyz in frame] for frame in joints.tolist()]
    path.write_text(json.dumps([{"pose_world_landmarks": [landmarks]} for landmarks in frames]))
    return path


def write_coco(folder, joints):
    path = folder / "mine.json"
    scored = np.concatenate([joints, np.full((*joints.shape[:2], 1), 0.9)], -1).reshape(len(joints), -1)
    path.write_text(json.dumps([{"image_id": i, "keypoints": k, "score": 1} for i, k in enumerate(scored.tolist())]))
    return path


def write_kinetics(folder, joints):
    path = folder / "mine.json"
    scored = np.concatenate([joints, np.full((*joints.shape[:2], 1), 0.9)], -1).tolist()
    path.write_text(json.dumps({"annotations": [{"frame_index": i, "keypoints": k} for i, k in enumerate(scored)]}))
    return path


FORMATS = {  # name: (reader, writer, joints, channels, options)
    "ntu60": ("ntu60", write_ntu, 25, 3, PLAIN),
    "ntu120": ("ntu120", write_ntu, 25, 3, PLAIN),
    "synthetic": ("synthetic", write_ntu, 25, 3, PLAIN),
    "nw-ucla": ("nw-ucla", write_nw_ucla, 20, 3, PLAIN),
    "utd-mhad": ("utd-mhad", write_utd, 20, 3, PLAIN),
    "sbu": ("sbu", write_sbu, 15, 3, PLAIN),
    "penn-action": ("penn-action", write_penn, 13, 2, PLAIN),
    "arrays-npy": ("arrays", write_npy, 20, 3, OWN),
    "arrays-npz": ("arrays", write_npz, 20, 3, OWN),
    "arrays-csv": ("arrays", write_csv, 20, 3, OWN),
    "mediapipe": ("mediapipe", write_mediapipe, 33, 3, PLAIN),
    "coco17": ("coco17", write_coco, 17, 2, PLAIN),
    "kinetics-skeleton": ("kinetics-skeleton", write_kinetics, 18, 2, ReadOptions(layout=layout("coco18"))),
}
OF_THEIR_OWN = {
    "pku-mmd-1",
    "pku-mmd-2",
    "pyskl",
    "openpose",
    "st-gcn",
    "bvh",
}  # many clips a file, or many files a clip

"""Small files that stand for gigabytes, and what becomes of them where memory is scarce.

`python bombs.py FOLDER` prepares a store of each kind, bombs beside a good clip, and prints peak memory and reasons.
"""

from __future__ import annotations

import csv
import json
import resource
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kinemask.preparation.prepare import prepare

ROOM = 800 << 20  # bytes of address space that a preparation may take
MIB = bytes(1 << 20)
JOINTS = np.random.default_rng(0).normal(1, 0.2, (14, 20, 3))


def header(dtype: str, shape: tuple[int, ...], version: int = 1) -> bytes:
    text = str({"descr": dtype, "fortran_order": False, "shape": shape}).encode().ljust(117) + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text


def pack(path: Path, start: bytes, mebibytes: int, method: int = zipfile.ZIP_DEFLATED, key: str = "keypoints") -> None:
    with zipfile.ZipFile(path, "w", method, compresslevel=1) as zipped, zipped.open(f"{key}.npy", "w") as file:
        file.write(start)
        for _ in range(mebibytes):
            file.write(MIB)


def punch(path: Path, start: bytes, size: int) -> None:
    """A file of holes."""
    with path.open("wb") as file:
        file.write(start)
        file.truncate(size)


def pack_mat(path: Path, frames: int) -> None:
    """A compressed int8 variable of zeros, (20, 3, frames)."""
    size = 60 * frames
    tag = lambda kind, size: struct.pack("<II", kind, size)
    parts = tag(6, 8) + struct.pack("<II", 8, 0) + tag(5, 12) + struct.pack("<iii", 20, 3, frames) + bytes(4)
    parts += tag(1, 6) + b"d_skel\0\0" + tag(1, size)
    stream = zlib.compressobj(1)
    packed = [stream.compress(tag(14, len(parts) + size) + parts)]
    packed += [stream.compress(MIB) for _ in range(size >> 20)]
    content = b"".join([*packed, stream.compress(bytes(size % (1 << 20))), stream.flush()])
    path.write_bytes(b"MATLAB 5.0".ljust(124) + b"\x00\x01IM" + tag(15, len(content)) + content)


def write_far_apart(path: Path) -> None:
    """Frames that are numbered about 0, 100, 200, …"""
    rng = np.random.default_rng(3)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["frame", "body", "joint", "x", "y", "z"])
        for i in range(10_000):
            rows.writerow([99 * i + int(rng.integers(45)), "a", 0, 1, 2, 3])


def people_far_apart() -> list[dict[str, Any]]:
    rng = np.random.default_rng(3)
    frames = [99 * i + int(rng.integers(45)) for i in range(4_000)]
    return [{"image_id": frame, "keypoints": [1, 2, 1] * 17, "score": 1} for frame in frames]


def arrays(folder: Path) -> None:
    np.save(folder / "good.npy", JOINTS)
    pack(folder / "zeros.npz", header("|i1", (2_236_962, 20, 3)), 128)
    pack(folder / "long-header.npz", b"\x93NUMPY\x02\x00" + struct.pack("<I", 1 << 28), 256)
    pack(folder / "lzma.npz", header("|i1", (17_476, 20, 3)), 1, zipfile.ZIP_LZMA)
    punch(folder / "holes.npy", header("|i1", (17_895_697, 20, 3)), 1 << 30 | 1 << 10)
    punch(folder / "hollow.csv", b"frame,joint,x,y,z\n", 1 << 34)
    np.save(folder / "many.npy", np.ones((300_000, 20, 3), np.int8))
    write_far_apart(folder / "far-apart.csv")
    names = [path.stem for path in sorted(folder.iterdir())]
    (folder / "clips.csv").write_text("\n".join(["clip", *names]))


def matlab(folder: Path) -> None:
    pack_mat(folder / "a2_s1_t1_skeleton.mat", 2_236_962)
    from scipy.io import savemat

    savemat(folder / "a5_s3_t2_skeleton.mat", {"d_skel": JOINTS.transpose(1, 2, 0)})


def detections(folder: Path) -> None:
    (folder / "far-apart.json").write_text(json.dumps(people_far_apart()))
    with (folder / "empty-lists.json").open("wb") as file:
        file.write(b"[" + b"[]," * 5_000_000 + b"[]]")
    good = [{"image_id": i, "keypoints": (np.arange(51) + 1.0).tolist(), "score": 1} for i in range(5)]
    (folder / "good.json").write_text(json.dumps(good))


def motion(folder: Path) -> None:
    joints, frames = 5_000, 10_000
    tree = "ROOT a\n{\nOFFSET 0 0 0\nCHANNELS 1 Xposition\n" + "End Site\n{\nOFFSET 0 1 0\n}\n" * joints + "}\n"
    (folder / "tree.bvh").write_text(
        f"HIERARCHY\n{tree}MOTION\nFrames: {frames}\nFrame Time: 0.01\n" + "1\n" * frames, encoding="ascii"
    )


def whole_sets(folder: Path) -> None:
    pack(folder / "a.npz", header("|i1", (1, 1_789_569, 75)), 128, key="x_train")


def clips_of_nothing(folder: Path) -> None:
    (folder / "train_data.npy").write_bytes(header("|i1", (1 << 50, 3, 30, 25, 0)))


KINDS: dict[str, tuple[Callable[[Path], None], str, str | None]] = {  # what to write, the reader, the layout
    "arrays": (arrays, "arrays", "kinect20"),
    "matlab": (matlab, "utd-mhad", None),
    "detections": (detections, "coco17", None),
    "motion": (motion, "bvh", None),
    "whole sets": (whole_sets, "st-gcn", None),
    "clips of nothing": (clips_of_nothing, "st-gcn", None),
}


def peak() -> int:
    """Most memory that this program has held, kilobytes. (`getrusage` counts the process that started it, too.)"""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def main(root: Path) -> None:
    for kind, (write, _, _) in KINDS.items():
        (root / kind).mkdir()
        write(root / kind)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + ROOM, now + ROOM))
    for kind, (_, reader, layout) in KINDS.items():
        out: dict[str, Any] = {"kind": kind, "stored": [], "rejected": {}}
        store = root / f"store of {kind}"
        try:
            prepare(reader, root / kind, store, layout=layout, workers=1, progress=False)
        except ValueError as error:
            out["error"] = str(error)
        else:
            rows = list(csv.DictReader((store / "rejected.csv").open(encoding="utf-8")))
            out["rejected"] = {row["name"]: row["reason"] for row in rows if row["kind"] == "file"}
            out["stored"] = [row["name"] for row in csv.DictReader((store / "clips.csv").open(encoding="utf-8"))]
        out["peak"] = peak() >> 10
        print(json.dumps(out), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

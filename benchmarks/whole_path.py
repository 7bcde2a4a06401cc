"""From recordings to labels, each command in a fresh process: seconds, and sizes of what is written.

python benchmarks/whole_path.py [--utd PATH/TO/UTD-MHAD] [--out benchmarks/results/whole_path.json]

24 recordings as MediaPipe's JSON (four synthetic actions of six people), and UTD-MHAD's 861 if it is given. Seconds by
the clock mean something on an idle machine; seconds of CPU stand beside them, and the load at the end.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from common import arguments, finish
from kinemask.preparation.prepare import prepare
from kinemask.skeleton import layout
from kinemask.store.opening import open_store
from kinemask.synthetic.recordings import write_recordings

PEOPLE, ACTIONS = 6, 4
NEAREST = {"pinky": "hand_tip", "index": "hand_tip", "heel": "ankle", "foot_index": "foot"}  # of Kinect's joints


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--utd", type=Path)
    given = parser.parse_args()
    found: dict[str, object] = {}
    with TemporaryDirectory() as temporary:
        work = Path(temporary)
        write_mediapipe(work)
        found["mediapipe"] = path_of(work, work / "my-recordings")
        if given.utd:
            first = timed(work, "prepare", "utd-mhad", given.utd, work / "utd-mhad")
            found["utd-mhad"] = {"prepare": first, **path_of(work, work / "utd-mhad")}
    finish(found, given.out)


def path_of(work: Path, data: Path) -> dict[str, object]:
    """Train, predict, export and view; megabytes of the recogniser and of the exported model."""
    made, model = work / f"{data.name}-recogniser", work / f"{data.name}.onnx"
    found: dict[str, object] = {
        "train": timed(work, "train", data, "--out", made),
        "predict": timed(work, "predict", made, data, "--out", work / "labels.csv"),
        "export": timed(work, "export", made, model),
        "view": timed(work, "view", data, "--save", work / "view.html"),
    }
    labels = (work / "labels.csv").read_text().splitlines()
    sizes = {"recogniser": made / "recogniser.safetensors", "onnx": model, "view": work / "view.html"}
    return found | {
        "clips": len(labels) - 1,
        "megabytes": {k: round(p.stat().st_size / 1e6, 2) for k, p in sizes.items()},
    }


def timed(work: Path, *words: object) -> dict[str, float]:
    """Seconds of a command, by the clock and of CPU."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, "-m", "kinemask", *map(str, words)]
    subprocess.run(command, check=True, cwd=work, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": round(time.monotonic() - start, 1), "cpu": round(cpu, 1)}


def write_mediapipe(work: Path) -> None:
    """Recordings of the first actions as world landmarks, and clips.csv."""
    write_recordings(work / "skeletons", subjects=PEOPLE, cameras=1, repetitions=1)
    prepare("synthetic", work / "skeletons", work / "store", progress=False)
    store, of = open_store(work / "store"), layout("mediapipe33")
    joints = [store.layout.index(kinect_joint(name)) for name in of.joints]
    hips = [of.index("left_hip"), of.index("right_hip")]
    folder = work / "my-recordings"
    folder.mkdir()
    lines = ["clip,label,subject"]
    for clip in (one for one in store if one.class_name in store.classes[:ACTIONS]):
        body = clip.data[0][:, joints] * [1, -1, -1]
        body = np.nan_to_num(body - body[:, hips].mean(1, keepdims=True))
        points = [[dict(zip("xyz", map(float, joint), strict=True), visibility=0.9) for joint in pose] for pose in body]
        frames = [{"pose_world_landmarks": [pose]} for pose in points]
        (folder / f"{clip.name}.json").write_text(json.dumps(frames))
        lines.append(f"{clip.name},{clip.class_name},{clip.fields['subject']}")
    (folder / "clips.csv").write_text("\n".join(lines) + "\n")


def kinect_joint(name: str) -> str:
    """The joint of Kinect's that is nearest to a landmark."""
    side, _, part = name.partition("_")
    known = layout("ntu25").joints
    return next((one for one in (name, f"{side}_{NEAREST.get(part, part)}") if one in known), "head")


if __name__ == "__main__":
    main()

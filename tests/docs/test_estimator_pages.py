"""The pages of pose estimators: their scripts, run beside stand-ins, write what their commands read."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kinemask import Recogniser, cli, open_store
from kinemask.skeleton import layout
from poses import FRAMES, take

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted((DOCS / "estimators").glob("*.md"))
CLIPS = [f"take{i:02d}" for i in range(6)]
PLACE = {"mediapipe": "mediapipe33", "ultralytics": "coco17", "mmpose": "coco17", "openpose": "openpose25"}
PLACE["kinect"] = "kinect32"
CODE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def bodies(of: str) -> list[np.ndarray]:
    """What is to be seen in each film: three people, two actions."""
    return [take(layout(of), i % 2 + 3 * i) for i in range(len(CLIPS))]


def pixels(body: np.ndarray) -> np.ndarray:
    return body[..., :2] * [100, -100] + [320, 240]


def code_of(page: str, language: str) -> list[str]:
    text = (DOCS / "estimators" / f"{page}.md").read_text()
    return [code for found, code in CODE.findall(text) if found == language]


def modules(patch: pytest.MonkeyPatch, **members: dict[str, Any]) -> None:
    for name, values in members.items():
        module = ModuleType(name)
        vars(module).update(values)
        patch.setitem(sys.modules, name.replace("__", "."), module)


def number_of(path: Any) -> int:
    return CLIPS.index(Path(path).stem)


def mediapipe(patch: pytest.MonkeyPatch) -> None:
    """OpenCV's frames are pairs of film and frame; MediaPipe's landmarks are dataclasses of these fields."""
    seen = bodies("mediapipe33")
    value = lambda **given: SimpleNamespace(**given)
    landmark = lambda x, y, z: value(x=float(x), y=float(y), z=float(z), visibility=0.9, presence=0.9, name=None)

    class VideoCapture:
        def __init__(self, path: str):
            self.film, self.at = number_of(path), -1

        def read(self):
            self.at += 1
            return (self.at < FRAMES, (self.film, self.at) if self.at < FRAMES else None)

        def get(self, what):
            return {"fps": 25.0}[what]

    class PoseLandmarker:
        def __init__(self):
            self.last = -1

        @classmethod
        def create_from_options(cls, options):
            assert options.base_options.model_asset_path.endswith(".task")
            return cls()

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def detect_for_video(self, image, timestamp_ms):
            assert timestamp_ms > self.last
            self.last = timestamp_ms
            film, at = image.data
            body = seen[film][at]
            flat = pixels(body) / [640, 480]
            return value(
                pose_world_landmarks=[[landmark(x, -y, -z) for x, y, z in body]],
                pose_landmarks=[[landmark(*xy, -z) for xy, z in zip(flat, body[:, 2], strict=True)]],
            )

    vision = value(PoseLandmarker=PoseLandmarker, PoseLandmarkerOptions=value, RunningMode=value(VIDEO="VIDEO"))
    modules(
        patch,
        cv2={
            "VideoCapture": VideoCapture,
            "cvtColor": lambda image, how: image,
            "COLOR_BGR2RGB": 4,
            "CAP_PROP_FPS": "fps",
        },
        mediapipe={"Image": value, "ImageFormat": value(SRGB=1)},
        mediapipe__tasks={},
        mediapipe__tasks__python={"BaseOptions": value, "vision": vision},
    )


def ultralytics(patch: pytest.MonkeyPatch) -> None:
    """Of nobody, to_json is an empty list; of somebody, their box, id and keypoints of x, y and visible."""
    seen = bodies("coco17")

    def person(body: np.ndarray) -> dict[str, Any]:
        (x, y), box = pixels(body).T, dict(zip(("x1", "y1", "x2", "y2"), (1.0, 2.0, 3.0, 4.0), strict=True))
        keypoints = {"x": x.tolist(), "y": y.tolist(), "visible": [0.9] * 17}
        return {"name": "person", "class": 0, "confidence": 0.8, "box": box, "track_id": 1, "keypoints": keypoints}

    class YOLO:
        def __init__(self, model: str):
            assert "pose" in model

        def track(self, source, *, stream, verbose):
            assert stream
            for t, body in enumerate(seen[number_of(source)]):
                yield SimpleNamespace(to_json=lambda t=t, body=body: json.dumps([] if t == 3 else [person(body)]))

    modules(patch, ultralytics={"YOLO": YOLO})


def mmpose(patch: pytest.MonkeyPatch) -> None:
    """The inferencer yields a frame's results, and writes a list of all when it has come to the film's end."""
    seen = bodies("coco17")

    class MMPoseInferencer:
        def __init__(self, model: str):
            assert model == "human"

        def __call__(self, inputs: str, pred_out_dir: str):
            frames = []
            for t, body in enumerate(seen[number_of(inputs)]):
                person = {"keypoints": pixels(body).tolist(), "keypoint_scores": [0.9] * 17}
                person |= {"bbox": [[1.0, 2.0, 3.0, 4.0]], "bbox_score": 0.9}
                frames.append({"frame_id": t, "instances": [person]})
                yield {"predictions": [[person]]}
            Path(pred_out_dir, f"{Path(inputs).stem}.json").write_text(json.dumps(frames))

    modules(patch, mmpose={}, mmpose__apis={"MMPoseInferencer": MMPoseInferencer})


def openpose() -> None:
    """What the program of the page writes: a folder per film, a file per frame."""
    for name, body in zip(CLIPS, bodies("openpose25"), strict=True):
        Path("my-recordings", name).mkdir()
        for t, joints in enumerate(pixels(body)):
            flat = np.column_stack([joints, np.full(25, 0.8)]).ravel().tolist()
            people = [{"person_id": [-1], "pose_keypoints_2d": flat, "face_keypoints_2d": []}]
            path = Path("my-recordings", name, f"{name}_{t:012d}_keypoints.json")
            path.write_text(json.dumps({"version": 1.3, "people": people}))


def kinect() -> None:
    """What the sample offline_processor writes: millimetres, y down; somebody else passes by."""
    Path("tracked").mkdir()
    for name, body in zip(CLIPS, bodies("kinect32"), strict=True):
        frames = []
        for t, joints in enumerate(body * [1000, -1000, -1000] + [0, 0, 2500]):
            crowd = [{"body_id": 4, "joint_positions": joints.tolist(), "joint_orientations": []}]
            crowd += [{"body_id": 9, "joint_positions": (joints + 900).tolist()}] if t in (2, 3) else []
            frames.append({"frame_id": t, "timestamp_usec": 33333 * t, "num_bodies": len(crowd), "bodies": crowd})
        content = {"joint_names": [], "frames": frames, "bone_list": []}
        Path("tracked", f"{name}.json").write_text(json.dumps(content))


@pytest.mark.parametrize("page", PLACE)
def test_what_the_script_saves_is_what_the_command_reads(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for folder in ("films", "my-recordings"):
        Path(folder).mkdir()
    for name in CLIPS:
        Path("films", f"{name}.mp4").write_bytes(b"film")
    make = globals()[page]
    make(monkeypatch) if page in ("mediapipe", "ultralytics", "mmpose") else make()
    for script in code_of(page, "python"):
        exec(compile(script, page, "exec"), {})
    lines = [f"{name},{('squat', 'lunge')[i % 2]},{'abc'[i // 2]}" for i, name in enumerate(CLIPS)]
    Path("my-recordings", "clips.csv").write_text("\n".join(["clip,label,subject", *lines]) + "\n")
    command = next(line for code in code_of(page, "bash") for line in code.splitlines() if line.startswith("kinemask "))
    words = shlex.split(command)[1:]
    assert cli.main([*words, "--kernels", "50", "--store", "store"]) == 0, capsys.readouterr().err
    made = Recogniser.load("my-recogniser")
    assert made.layout_.name == PLACE[page]
    assert made.lengths_ == (FRAMES, FRAMES, FRAMES)
    rejected = Path("store", "rejected.csv").read_text()
    assert "are not above feet" not in rejected
    assert not [line for line in rejected.splitlines() if line.startswith(("file,", "clip,"))]
    clip = open_store("store")[CLIPS[1]].data[0]
    body = bodies(PLACE[page])[1]
    if clip.shape[-1] == 3:
        np.testing.assert_allclose(clip, body - body[0, [*made.layout_.origin]].mean(0), atol=1e-3)
    else:
        flat = np.linalg.norm(np.diff(body[..., :2], axis=0), axis=-1).sum(0)
        moved = np.nansum(np.linalg.norm(np.diff(clip, axis=0), axis=-1), 0)
        assert moved.argmax() == flat.argmax()
        up = made.layout_.index("nose"), made.layout_.index("left_ankle")
        assert (clip[0, up[0], 1] > clip[0, up[1], 1]) == (body[0, up[0], 1] > body[0, up[1], 1])


def test_every_estimator_has_the_same_parts():
    assert {page.stem for page in PAGES} == set(PLACE)
    for page in PAGES:
        titles = re.findall(r"^## (.+)$", page.read_text(), re.MULTILINE)
        assert titles == ["What to save", "Train", "Traps"], page.name
        for script in code_of(page.stem, "python"):
            assert len([line for line in script.splitlines() if line.strip()]) <= 20, page.name

"""A camera's poses: OpenCV, MediaPipe and Ultralytics are stand-ins that follow these packages' own interfaces."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from helpers import CLASSES
from kinemask import Recogniser, cli, live, predict
from kinemask.recognition.camera import Camera
from kinemask.recognition.with_mediapipe import open_estimator as open_mediapipe
from kinemask.skeleton import layout
from poses import FRAMES, take

WORLD, FLAT = layout("mediapipe33"), layout("coco17")
WIDTH, HEIGHT = 640, 480
# of mediapipe.tasks.python.vision.PoseLandmark, in small letters; the mouth's are MOUTH_LEFT and MOUTH_RIGHT there
LANDMARKS = (
    "nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer left_ear right_ear"
    " left_mouth right_mouth left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist"
    " left_pinky right_pinky left_index right_index left_thumb right_thumb left_hip right_hip left_knee"
    " right_knee left_ankle right_ankle left_heel right_heel left_foot_index right_foot_index"
)


def made_of(of) -> Recogniser:
    x = [take(of, number) for number in range(12)]
    return Recogniser(of, kernels=60, features="convolutions", align="none", mirrored=False).fit(
        x, [CLASSES[i % 3] for i in range(12)]
    )


@pytest.fixture(scope="module")
def world() -> Recogniser:
    return made_of(WORLD)


@pytest.fixture(scope="module")
def flat() -> Recogniser:
    return made_of(FLAT)


@dataclass
class Studio:
    """What is before the camera, and what the stand-ins were asked. people: of each image, in each package's way."""

    people: list[list[Any]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)  # of a film, milliseconds
    opens: bool = True
    asked: dict[str, Any] = field(default_factory=dict)
    closed: list[str] = field(default_factory=list)

    def install(self, patch: pytest.MonkeyPatch) -> Studio:
        studio = self

        class VideoCapture:  # cv2
            def __init__(self, source):
                studio.asked["source"] = source
                self.at = -1

            def isOpened(self):
                return studio.opens

            def read(self):
                self.at += 1
                if self.at >= len(studio.people):
                    return False, None
                return True, np.full((HEIGHT, WIDTH, 3), (self.at, 0, 255), np.uint8)  # blue first

            def get(self, what):
                return {0: studio.times[self.at] if studio.times else 0.0, 5: 25.0}[what]

            def set(self, what, value):
                studio.asked[f"set {what}"] = value
                return True

            def release(self):
                studio.closed.append("camera")

        class PoseLandmarker:  # mediapipe.tasks.python.vision
            @classmethod
            def create_from_options(cls, options):
                studio.asked["options"] = options
                if Path(options.base_options.model_asset_path).read_bytes() == b"broken":
                    raise RuntimeError("Unable to open zip archive.")
                return cls()

            def detect_for_video(self, image, timestamp_ms):
                assert type(timestamp_ms) is int
                studio.asked.setdefault("timestamps", []).append(timestamp_ms)
                assert image.image_format == "SRGB"
                assert image.data.flags.c_contiguous
                number = int(image.data[0, 0, 2])  # blue last
                assert image.data[0, 0, 0] == 255
                crowd = studio.people[number]
                return SimpleNamespace(
                    pose_world_landmarks=[one["world"] for one in crowd],
                    pose_landmarks=[one["image"] for one in crowd],
                    segmentation_masks=None,
                )

            def close(self):
                studio.closed.append("estimator")

        class YOLO:  # ultralytics
            def __init__(self, model):
                studio.asked["model"] = model
                if Path(model).read_bytes() == b"broken":
                    raise EOFError("Ran out of input")
                self.task = Path(model).read_text()

            def predict(self, source, *, verbose):
                assert not verbose
                crowd = studio.people[int(source[0, 0, 0])]
                data = torch.tensor(np.array(crowd)) if crowd else torch.zeros(0, 17, 3)
                return [SimpleNamespace(keypoints=SimpleNamespace(data=data))]

        value = lambda **given: SimpleNamespace(**given)
        vision = value(
            PoseLandmarker=PoseLandmarker,
            PoseLandmarkerOptions=lambda *, base_options, running_mode, num_poses: value(
                base_options=base_options, running_mode=running_mode, num_poses=num_poses
            ),
            RunningMode=value(VIDEO="VIDEO"),
        )
        image = lambda *, image_format, data: value(image_format=image_format, data=data)
        modules = {
            "cv2": {"VideoCapture": VideoCapture, "CAP_PROP_POS_MSEC": 0, "CAP_PROP_FPS": 5, "CAP_PROP_BUFFERSIZE": 38},
            "mediapipe": {"Image": image, "ImageFormat": value(SRGB="SRGB")},
            "mediapipe.tasks": {},
            "mediapipe.tasks.python": {
                "vision": vision,
                "BaseOptions": lambda *, model_asset_path: value(model_asset_path=model_asset_path),
            },
            "ultralytics": {"YOLO": YOLO},
        }
        for name, members in modules.items():
            module = ModuleType(name)
            vars(module).update(members)
            patch.setitem(sys.modules, name, module)
        return self


def landmarks(body: np.ndarray) -> dict[str, list[Any]]:
    """MediaPipe's landmarks of somebody (33, 3): of the world, y down and z away, and of the image, as shares of it."""
    seen = lambda x, y, z, visibility: SimpleNamespace(x=x, y=y, z=z, visibility=visibility, presence=None, name=None)
    return {
        "world": [seen(x, -y, -z, 0.9) for x, y, z in body],
        "image": [seen((x * 100 + 320) / WIDTH, (240 - y * 100) / HEIGHT, -z, 0.9) for x, y, z in body],
    }


@pytest.fixture
def studio(monkeypatch) -> Studio:
    return Studio().install(monkeypatch)


@pytest.fixture
def model(tmp_path) -> Path:
    (tmp_path / "model.task").write_text("pose")
    return tmp_path / "model.task"


def film(tmp_path: Path, studio: Studio) -> str:
    studio.times = [1000 * i / 25 for i in range(len(studio.people))]
    (tmp_path / "film.mp4").write_bytes(b"film")
    return str(tmp_path / "film.mp4")


def test_the_landmarks_are_the_layouts_joints():
    assert " ".join(WORLD.joints) == LANDMARKS


def test_mediapipes_landmarks_of_the_world(world, studio, model, tmp_path):
    body = take(WORLD, 4)
    studio.people = [[landmarks(one)] for one in body]
    (found,) = live(world, camera=film(tmp_path, studio), estimator="mediapipe", model=model)
    expected = world.predict_proba([body])[0]
    assert (found.clip, found.label, found.seconds) == ("film", CLASSES[1], True)
    assert found.probability == pytest.approx(expected.max(), abs=1e-4)
    assert (found.start, found.end) == (0, pytest.approx((FRAMES - 1) / 25))
    options = studio.asked["options"]
    assert options.base_options.model_asset_path == str(model)
    assert (options.running_mode, options.num_poses) == ("VIDEO", 1)
    assert studio.asked["timestamps"] == [40 * i for i in range(FRAMES)]
    assert studio.closed == ["camera", "estimator"]


def test_a_film_is_labelled_as_a_file_of_its_landmarks(world, studio, model, tmp_path):
    """The same poses by way of the reader of MediaPipe's files."""
    body = take(WORLD, 7)
    body[5, 3] = np.nan  # nothing in a file
    studio.people = [[landmarks(np.nan_to_num(one))] for one in body]
    studio.people[5][0]["world"][3].visibility = 0.0
    frames = [
        {"pose_world_landmarks": [[{**vars(one), "presence": 1.0} for one in crowd[0]["world"]]]}
        for crowd in studio.people
    ]
    (tmp_path / "take.json").write_text(json.dumps(frames))
    (by_file,) = predict(world, [tmp_path / "take.json"])
    (by_camera,) = live(world, camera=film(tmp_path, studio), estimator="mediapipe", model=model)
    assert by_camera.label == by_file.label
    assert by_camera.probability == pytest.approx(by_file.probability, abs=1e-5)


def test_mediapipes_landmarks_of_the_image(flat, studio, model, tmp_path):
    """For a recogniser of 2D poses, as pixels of coco17."""
    body = take(WORLD, 5)
    studio.people = [[landmarks(one)] for one in body]
    opened = Camera(film(tmp_path, studio), "mediapipe", model, "coco17", 1)
    (number, read), *_ = opened.frames()
    (person,), at = read()
    joints = [WORLD.index(joint) for joint in FLAT.joints]
    assert (number, at, person.shape) == (1, 0.0, (17, 3))
    np.testing.assert_allclose(person[:, :2], body[0, joints, :2] * [100, -100] + [320, 240])
    np.testing.assert_allclose(person[:, 2], 0.9)
    assert len([*live(flat, camera=film(tmp_path, studio), estimator="mediapipe", model=model)]) == 1


def test_keypoints_of_ultralytics(flat, studio, model, tmp_path):
    body = take(FLAT, 5)
    pixels = np.concatenate([body * [100, -100] + [320, 240], np.full((FRAMES, 17, 1), 0.8)], 2)
    pixels[3, 9] = [0, 0, 0.1]  # as it has joints that are not there
    hidden = body.copy()
    hidden[3, 9] = np.nan
    studio.people = [[one] for one in pixels]
    given = {"camera": film(tmp_path, studio), "estimator": "ultralytics", "model": model}
    (found,) = live(flat, **given, image_height=200)
    assert found.probability == pytest.approx(flat.predict_proba([hidden])[0].max(), abs=1e-3)
    assert studio.asked["model"] == str(model)


@pytest.mark.parametrize(
    "estimator, reader, unit, up, other",
    [("mediapipe", "mediapipe", "mm", "z", "-y"), ("ultralytics", "coco17", None, "y", "y")],
)
def test_a_cameras_axes_are_its_estimators(
    estimator, reader, unit, up, other, world, flat, studio, model, tmp_path, monkeypatch
):
    """Whatever was said of other recordings; what was said of files of the same poses holds."""
    made, body = (world, take(WORLD, 4)) if unit else (flat, take(FLAT, 5))
    pixels = lambda one: np.concatenate([one * [100, -100] + [320, 240], np.full((17, 1), 0.8)], 1)
    studio.people = [[landmarks(one) if unit else pixels(one)] for one in body]
    given = {"camera": film(tmp_path, studio), "estimator": estimator, "model": model, "top": 3}
    (usual,) = live(made, **given)
    monkeypatch.setattr(made, "record_", {"reading": {"format": "arrays", "unit": unit, "up": up}})
    (found,) = live(made, **given)
    assert found.ranking == usual.ranking
    (told,) = live(made, **given, up=other)
    assert told.ranking != usual.ranking
    monkeypatch.setattr(made, "record_", {"reading": {"format": reader, "up": other}})
    (as_files,) = live(made, **given)
    assert as_files.ranking == told.ranking


def test_nobody_and_a_crowd(flat, studio, model, tmp_path):
    bodies = [take(FLAT, number) * [100, -100] + [320, 240] for number in (0, 1)]
    studio.people = [[] if t < 4 else [one[t] for one in bodies] for t in range(FRAMES)]
    found = [*live(flat, camera=film(tmp_path, studio), estimator="ultralytics", model=model, bodies=1)]
    assert len(found) == 1


def test_a_camera_by_its_number(world, studio, model, monkeypatch, capsys, tmp_path):
    clock = iter(range(10_000))
    monkeypatch.setattr("kinemask.recognition.camera.time.monotonic", lambda: next(clock) / 10)
    studio.people = [[landmarks(one)] for one in take(WORLD, 2, 30)]
    folder = tmp_path / "made"
    folder.mkdir()
    world.save(folder)
    words = [str(folder), "--camera", "0", "--estimator", "mediapipe", "--model", str(model), "--window", "2"]
    assert cli.main(["live", *words, "--hop", "0.5"]) == 0
    said = capsys.readouterr()
    found = [json.loads(line) for line in said.out.splitlines()]
    assert [round(one["end"], 3) for one in found] == [2.1, 2.6, 3.0]
    assert {one["clip"] for one in found} == {"live"}
    assert studio.asked["source"] == 0
    assert studio.asked["set 38"] == 1
    assert "frames: 30; labels: 3" in said.err


def test_an_address(world, studio, model):
    studio.people = [[landmarks(one)] for one in take(WORLD, 2)]
    assert len([*live(world, camera="rtsp://camera/1", estimator="mediapipe", model=model)]) == 1
    assert studio.asked["source"] == "rtsp://camera/1"


def test_a_film_that_tells_no_times(world, studio, model, tmp_path):
    """Times come from the rate; MediaPipe's rise in any case."""
    studio.people = [[landmarks(one)] for one in take(WORLD, 2)]
    path = film(tmp_path, studio)
    studio.times = []
    (found,) = live(world, camera=path, estimator="mediapipe", model=model)
    assert found.end == pytest.approx((FRAMES - 1) / 25)
    assert studio.asked["timestamps"] == sorted(set(studio.asked["timestamps"]))


def test_timestamps_rise_though_images_are_close(studio, model):
    opened = open_mediapipe(model, "mediapipe33", 1)
    studio.people = [[]] * 3
    for at in (0.0, 0.0002, 0.0004):
        assert opened.people(np.full((4, 4, 3), (0, 0, 255), np.uint8), at) == []
    assert studio.asked["timestamps"] == [0, 1, 2]


def test_whoever_stops_lets_the_camera_go(world, studio, model):
    studio.people = [[landmarks(one)] for one in take(WORLD, 2, 60)]
    labels = live(world, camera=0, estimator="mediapipe", model=model)
    next(labels)
    assert not studio.closed
    labels.close()  # type: ignore[attr-defined]
    assert studio.closed == ["camera", "estimator"]


BAD = {
    "no estimator": ({"estimator": None}, r"mediapipe or ultralytics \(--estimator\); none is given"),
    "another estimator": ({"estimator": "openpose"}, "'openpose' is none of them"),
    "no model": ({"model": None}, "none is given"),
    "a model that is not there": ({"model": "none.task"}, "there is none at none.task"),
    "poses of other dimensions": ({"estimator": "ultralytics"}, "looks at 3D poses; ultralytics has 2D ones"),
    "a film that is not there": ({"camera": "none.mp4"}, "no film at none.mp4"),
    "a source too": ({"source": "poses.jsonl"}, "source has no effect beside a camera"),
    "a rate": ({"fps": 30}, "fps has no effect beside a camera"),
    "not following": ({"follow": False}, "follow has no effect beside a camera"),
    "a layout": ({"layout": "coco17"}, "layout has no effect beside a camera"),
    "an estimator alone": ({"camera": None}, "estimator has no effect without a camera"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_said(case, world, studio, model):
    changed, said = BAD[case]
    with pytest.raises(ValueError, match=said):
        live(world, **({"camera": 0, "estimator": "mediapipe", "model": model} | changed))
    assert not studio.closed


def test_a_camera_that_is_not_there(world, studio, model):
    studio.opens = False
    with pytest.raises(ValueError, match="no image comes from 7: is it plugged in"):
        live(world, camera=7, estimator="mediapipe", model=model)
    assert studio.closed == ["estimator"]
    studio.opens = True
    with pytest.raises(ValueError, match="ended without a frame"):
        list(live(world, camera=7, estimator="mediapipe", model=model))


@pytest.mark.parametrize(
    "module, said",
    [
        ("cv2", r"pip install 'kinemask\[live\]'"),
        ("mediapipe", "mediapipe is not installed .*pip install mediapipe"),
        ("ultralytics", "ultralytics is not installed .*pip install ultralytics"),
    ],
)
def test_what_is_not_installed(module, said, world, flat, studio, model, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    estimator = "mediapipe" if module == "cv2" else module
    with pytest.raises(ValueError, match=said):
        live(flat, camera=0, estimator=estimator, model=model)


@pytest.mark.parametrize("estimator", ["mediapipe", "ultralytics"])
def test_a_model_that_is_none(estimator, flat, studio, model):
    model.write_bytes(b"broken")
    with pytest.raises(ValueError, match="cannot use the model"):
        live(flat, camera=0, estimator=estimator, model=model)


def test_a_model_for_something_else(flat, studio, model):
    model.write_text("detect")
    with pytest.raises(ValueError, match="model for the task detect; people's joints take a pose model"):
        live(flat, camera=0, estimator="ultralytics", model=model)


def test_other_joints_than_the_estimators_own(flat, studio, model):
    """A pose model of hands, say."""
    studio.people = [[np.ones((21, 3))]]
    with pytest.raises(ValueError, match="frame 1: somebody has 21 × 3 numbers"):
        list(live(flat, camera=0, estimator="ultralytics", model=model))

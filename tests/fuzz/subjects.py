"""Every kind of file that kinemask opens: the smallest valid one, and how it is opened."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import yaml
from scipy.io import savemat

from fuzz.mutate import mutate, mutate_safetensors
from helpers import recordings
from kinemask.models.classifiers import TrainedClassifier, build_classifier, load_classifier, save_classifier
from kinemask.models.encoders import build_encoder, load_encoder, save_encoder
from kinemask.nn.settings import EncoderSettings, HeadSettings
from kinemask.preparation.detection import detect
from kinemask.preparation.info import info
from kinemask.preparation.reading import name_item, open_source
from kinemask.readers import Failure
from kinemask.recipes import load_recipe
from kinemask.recognition.recogniser import Recogniser
from kinemask.runs.checkpoint import load_checkpoint, save_checkpoint
from kinemask.runs.log import read_metrics
from kinemask.runs.result import read_result, read_scores, scores_path
from kinemask.runs.run import Run
from kinemask.skeleton import Layout, layout
from kinemask.store.opening import open_store
from kinemask.store.writer import write_store
from kinemask.training.released import import_released
from kinemask.windows.settings import SamplingSettings
from made_results import full_result, keep
from readers.samples import FORMATS
from recognition_clips import clips
from released_weights import made as made_released
from released_weights import write as write_released

SBU = layout("sbu15")
FRAMES = 3
JOINTS = np.random.default_rng(0).normal(1, 0.2, (2, FRAMES, 25, 3)).round(3)


@dataclass(frozen=True)
class Subject:
    """make(folder): writes valid files, the same ones each time. open(folder): uses them. change: of a file's bytes.
    mend(folder): what a careful attacker would, after a change."""

    make: Callable[[Path], object]
    open: Callable[[Path], object]
    change: Callable[[Random, bytes], bytes] = mutate
    mend: Callable[[Path], object] = lambda folder: None


def read(folder: Path, reader: str, of: Layout | None = None) -> None:
    """The clips of a source: sound ones, or why there is none, the longest of the reasons, as a ValueError."""
    source = open_source(folder, reader, layout=of)
    with source.reading(source.scan.items) as results:
        reasons = []
        for item, result in results:
            if isinstance(result, Failure):
                reasons.append(name_item(item, result))
                continue
            assert result.data.dtype == np.float32
            assert not np.isinf(result.data).any()
            assert result.data.shape[2:] == (source.layout.num_joints, source.layout.dims)
            assert 0 not in result.data.shape
            assert result.label is None or 0 <= result.label < len(source.scan.classes)
    if reasons:
        raise ValueError(max(reasons, key=len))


def of_format(name: str) -> Subject:
    """A reader of one file a clip."""
    reader, write, joints, channels, options = FORMATS[name]

    def make(folder: Path) -> None:
        path = write(folder, JOINTS[0, :, np.arange(joints) % 25, :channels].swapaxes(0, 1))
        if name.startswith("arrays"):
            (folder / "clips.csv").write_text(f"clip,label,subject,split\n{path.name},wave,s1,train\n")

    return Subject(partial(without_date, make), partial(read, reader=reader, of=options.layout))


def without_date(write: Callable[[Path], object], folder: Path) -> None:
    """A MATLAB file whose header does not say when it was made."""
    write(folder)
    for path in folder.glob("*.mat"):
        raw = path.read_bytes()
        path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(116) + raw[116:] if raw.startswith(b"MATLAB") else raw)


def packed(folder: Path) -> None:
    savemat(folder / "a5_s3_t2_skeleton.mat", {"d_skel": JOINTS[0, :, :20].transpose(1, 2, 0)}, do_compression=True)


def version_4(folder: Path) -> None:
    savemat(folder / "a5_s3_t2_skeleton.mat", {"d_skel": JOINTS[0, 0, :20]}, format="4")


def pku(folder: Path) -> None:
    for place, text in (
        ("Data", "\n".join(" ".join(map(str, frame)) for frame in JOINTS.swapaxes(0, 1).reshape(FRAMES, -1))),
        ("Label", "3,0,2,2\n51,1,3,1\n"),
        ("Split", "Training videos:\n0002-L, 0002-M\nValidation videos:\n0007-R"),
    ):
        (folder / place).mkdir()
        (folder / place / ("cross-subject.txt" if place == "Split" else "0002-L.txt")).write_text(text + "\n")


def pyskl(folder: Path, protocol: int) -> None:
    note = {"frame_dir": "v0", "label": 1, "img_shape": (9, 16), "total_frames": FRAMES}
    note |= {"keypoint": JOINTS[:, :, :17, :2].astype(np.float16), "keypoint_score": np.ones((2, FRAMES, 17), "f2")}
    value = {"split": {"train": ["v0"], "test": ["v1"]}, "annotations": [note, note | {"frame_dir": "v1", "label": 0}]}
    (folder / "gym.pkl").write_bytes(pickle.dumps(value, protocol=protocol))


def openpose(folder: Path) -> None:
    (folder / "walk").mkdir()
    for t, body in enumerate(JOINTS[0]):
        people = [{"person_id": [-1], "pose_keypoints_2d": body.ravel().tolist()}]
        (folder / "walk" / f"walk_{t:012d}_keypoints.json").write_text(json.dumps({"version": 1.3, "people": people}))


def coco_data_set(folder: Path) -> None:
    content = {
        "images": [{"id": t, "file_name": f"walk/{t:04d}.jpg", "height": 9, "width": 16} for t in range(FRAMES)],
        "annotations": [
            {"id": t, "image_id": t, "track_id": 1, "keypoints": body[:17].ravel().tolist(), "score": 0.5}
            for t, body in enumerate(JOINTS[0])
        ],
        "categories": [{"name": "person", "keypoints": list(layout("coco17").joints)}],
    }
    (folder / "set.json").write_text(json.dumps(content))


def mmpose(folder: Path) -> None:
    frames = [
        {"frame_id": t, "instances": [{"keypoints": body[:17, :2].tolist(), "keypoint_scores": [0.9] * 17}]}
        for t, body in enumerate(JOINTS[0])
    ]
    names = dict(enumerate(layout("coco17").joints))
    (folder / "m.json").write_text(json.dumps({"meta_info": {"keypoint_id2name": names}, "instance_info": frames}))


def kinetics(folder: Path) -> None:
    people = [{"pose": body[:18, :2].ravel().tolist(), "score": [0.5] * 18} for body in JOINTS[0] / 4]
    frames = [{"frame_index": t, "skeleton": [person]} for t, person in enumerate(people, 1)]
    (folder / "a.json").write_text(json.dumps({"data": frames, "label": "wave", "label_index": 3}))


def wide_table(folder: Path) -> None:
    header = ["frame", "time", *(f"landmark_{v}_{c}" for v in range(33) for c in ("x", "y", "z", "visibility"))]
    rows = [[t, t / 30, *(round(0.01 * (v % 9), 3) for v in range(132))] for t in range(5)]
    (folder / "a.csv").write_text("\n".join(",".join(map(str, row)) for row in [header, *rows]))
    (folder / "clips.csv").write_text("clip,label,unit\na,wave,m\n")


def st_gcn(folder: Path) -> None:
    data = JOINTS[None, :, :, :, :].transpose(0, 4, 2, 3, 1).astype(np.float32)
    np.save(folder / "train_data.npy", np.concatenate([data, data]))
    (folder / "train_label.pkl").write_bytes(pickle.dumps((["a.skeleton", "b.skeleton"], [0, 1])))


def ctr_gcn(folder: Path) -> None:
    data = JOINTS.transpose(1, 0, 2, 3).reshape(1, FRAMES, -1).astype(np.float32)
    np.savez(folder / "a.npz", x_train=data, y_train=np.eye(3)[:1], x_test=data, y_test=np.eye(3)[2:])


def bvh(folder: Path) -> None:
    limbs = {"UpLeg": -4, "Leg": -4, "Foot": -1}, {"Shoulder": 1, "Arm": 3, "ForeArm": 3, "Hand": 1}
    turns = "CHANNELS 3 Zrotation Xrotation Yrotation"

    def joint(name: str, offset: str, inside: str) -> str:
        return f"JOINT {name}\n{{\nOFFSET {offset}\n{turns}\n{inside}}}\n"

    def chain(side: str, limb: dict[str, float], way: str) -> str:
        text = "End Site\n{\nOFFSET 0 0 0.1\n}\n"
        for name, length in reversed(limb.items()):
            text = joint(side + name, way.format(length / 10), text)
        return text

    arms = chain("Left", limbs[1], "{} 0 0") + chain("Right", limbs[1], "-{} 0 0")
    head = joint("Neck", "0 0.2 0", joint("Head", "0 0.1 0", ""))
    body = joint("Spine", "0 0.2 0", arms + head)
    legs = chain("Left", limbs[0], "0.1 {} 0") + chain("Right", limbs[0], "-0.1 {} 0")
    root = turns.replace("3 ", "6 Xposition Yposition Zposition ")
    tree = f"HIERARCHY\nROOT Hips\n{{\nOFFSET 0 0 0\n{root}\n{body}{legs}}}\n"
    count = sum(int(line.split()[1]) for line in tree.splitlines() if line.startswith("CHANNELS"))
    rows = "\n".join(" ".join(str((7 * i + t) % 90) for i in range(count)) for t in range(FRAMES))
    (folder / "a.bvh").write_text(f"{tree}MOTION\nFrames: {FRAMES}\nFrame Time: 0.033\n{rows}\n")


READERS: dict[str, Subject] = {
    **{name: of_format(name) for name in FORMATS if name not in ("ntu120", "synthetic")},
    "utd-mhad-packed": Subject(partial(without_date, packed), partial(read, reader="utd-mhad")),
    "utd-mhad-version-4": Subject(version_4, partial(read, reader="utd-mhad")),
    "pku-mmd": Subject(pku, partial(read, reader="pku-mmd-1")),
    "pyskl": Subject(partial(pyskl, protocol=4), partial(read, reader="pyskl")),
    "pyskl-old": Subject(partial(pyskl, protocol=0), partial(read, reader="pyskl")),
    "openpose": Subject(openpose, partial(read, reader="openpose")),
    "coco-data-set": Subject(coco_data_set, partial(read, reader="coco17")),
    "mmpose": Subject(mmpose, partial(read, reader="coco17")),
    "kinetics": Subject(kinetics, partial(read, reader="kinetics-skeleton")),
    "mediapipe-table": Subject(wide_table, partial(read, reader="mediapipe")),
    "st-gcn": Subject(st_gcn, partial(read, reader="st-gcn")),
    "ctr-gcn": Subject(ctr_gcn, partial(read, reader="st-gcn")),
    "bvh": Subject(bvh, partial(read, reader="bvh")),
    "any-json": Subject(openpose, detect),
    "any-table": Subject(wide_table, partial(detect, format="mediapipe")),
    "any-array": Subject(ctr_gcn, detect),
}


def store(folder: Path) -> None:
    write_store(folder / "s", recordings(SBU, count=4), SBU, ("wave", "kick", "bow"))


def use_store(folder: Path) -> None:
    found = open_store(folder / "s")
    for name in found.splits:
        found.split(name)
    info(found)


def hash_again(folder: Path) -> None:
    """The hashes in meta.json, where it still has any, are those of the files as they are now."""
    path = folder / "s" / "meta.json"
    try:
        meta = json.loads(path.read_bytes())
        for name in meta["sha256"]:
            meta["sha256"][name] = hashlib.sha256((folder / "s" / name).read_bytes()).hexdigest()
    except (ValueError, KeyError, TypeError, OSError, RecursionError):
        return
    path.write_text(json.dumps(meta))


SAMPLING = SamplingSettings(frames=6, min_crop_frames=3)
ABOUT: dict[str, Any] = {
    "architecture": "transformer",
    "layout": SBU.to_dict(),
    "encoder": asdict(EncoderSettings(layers=1, width=8, heads=2, segment_frames=3)),
    "sampling": asdict(SAMPLING),
    "record": {"method": "mamp", "settings": {}, "sources": [], "split": "xsub"},
}


def encoder(folder: Path) -> None:
    torch.manual_seed(0)
    made = build_encoder(ABOUT)
    save_encoder(folder / "encoder.safetensors", made.encoder, SAMPLING, ABOUT["record"])


def classifier(folder: Path) -> None:
    torch.manual_seed(0)
    made = build_encoder(ABOUT)
    around = build_classifier(made.encoder, 2, HeadSettings(hidden=4))
    save_classifier(folder / "classifier.safetensors", TrainedClassifier(around, SAMPLING, ["a", "b"], ABOUT["record"]))


def recogniser(folder: Path) -> None:
    x, y, people = clips(12)
    made = Recogniser("sbu15", kernels=20, features=["statistics", "convolutions"])
    made.fit(x, y, people).save(folder)


STATE = {
    "step": 2,
    "task": {"w": torch.ones(3)},
    "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"params": [0]}]},
    "sources": [{"frames.npy": "0"}],
}


def result(folder: Path) -> None:
    keep(folder, full_result())


def use_result(folder: Path) -> None:
    for path in (folder / "evaluations").glob("*.json"):
        read_scores(scores_path(path))
        str(read_result(path))


def metrics(folder: Path) -> None:
    lines = [{"step": step, "loss": 1 / step, "seconds": 0.5} for step in range(1, 5)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def config(folder: Path) -> None:
    content = {"method": "mamp", "data": ["stores/a"], "split": "xsub", "seed": 0, "pretext": {"mask_ratio": 0.9}}
    (folder / "config.yaml").write_text(yaml.safe_dump(content))


def use_config(folder: Path) -> None:
    run = Run(folder)
    assert isinstance(run.config["method"], str)
    assert run.pretrained in (True, False)


def own_layout(folder: Path) -> None:
    (folder / "mine.yaml").write_text(yaml.safe_dump(SBU.to_dict(), sort_keys=False))


def recipe(folder: Path) -> None:
    (folder / "mine.yaml").write_text(yaml.safe_dump({"title": "t", "method": "mamp", "training": {"lr": 0.001}}))


def released(folder: Path) -> None:
    write_released(folder / "released.pth", "mamp", made_released(25, 4, 3))


def use_released(folder: Path) -> None:
    with TemporaryDirectory() as out:
        import_released("mamp", folder / "released.pth", Path(out) / "run")


FILES: dict[str, Subject] = {
    "store": Subject(store, use_store, mend=hash_again),
    "encoder": Subject(encoder, load_encoder, mutate_safetensors),
    "classifier": Subject(classifier, load_classifier, mutate_safetensors),
    "recogniser": Subject(recogniser, Recogniser.load, mutate_safetensors),
    "released": Subject(released, use_released),
    "checkpoint": Subject(lambda folder: save_checkpoint(folder, STATE), load_checkpoint),
    "result": Subject(result, use_result),
    "metrics": Subject(metrics, read_metrics),
    "config": Subject(config, use_config),
    "layout": Subject(own_layout, lambda folder: layout(folder / "mine.yaml")),
    "recipe": Subject(recipe, lambda folder: load_recipe(str(folder / "mine.yaml"))),
}
SUBJECTS = READERS | FILES

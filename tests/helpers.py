"""What several test files share: made-up recordings, small runs, and how their files are looked at."""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from kinemask.pretext import method
from kinemask.skeleton import Layout
from kinemask.store.format import Clip
from kinemask.training.settings import Settings, TrainingSettings
from kinemask.windows.settings import SamplingSettings

DATA = Path(os.environ.get("KINEMASK_TEST_DATA", Path(__file__).parents[2] / "shared" / "data")).resolve()  # real files

CLASSES = ("wave", "kick", "bow")

_MOVING = (("left_hand", "left_elbow"), ("right_foot", "right_knee"), ("head", "neck"))

_LENGTHS = (90, 40, 64, 33, 1, 75, 50, 12, 2, 60, 24, 85, 17, 48, 7)

PLAIN = {"raw_coordinates_knn", "aligned_coordinates_knn", "statistics_ridge", "random_convolutions_ridge"}

NAME = {"hacm": {"space": "poincare", "joints": "pruned"}}


def recording(frames: int, label: int, of: Layout, rng: np.random.Generator) -> np.ndarray:
    """A body (T, V, C): a pose that all share nearly, slow sway of every joint, and the class's joints that swing."""
    t = np.arange(frames)[:, None, None]
    pose = np.random.default_rng(0).normal(0, 0.3, (1, of.num_joints, of.dims))
    pose = pose + rng.normal(0, 0.03, pose.shape)
    speed, phase = rng.uniform(0.02, 0.1, pose.shape), rng.uniform(0, 6.3, pose.shape)
    body = pose + 0.02 * np.sin(speed * t + phase)
    for joint in _MOVING[label]:
        body[:, of.index(joint)] += (
            0.5 * np.sin(0.3 * t[:, 0] + rng.uniform(0, 6.3)) * np.array([1, 0.5, 0.2])[: of.dims]
        )
    return body


def recordings(of: Layout, count: int = 45, seed: int = 0) -> list[Clip]:
    """Clips of one or two bodies and of 1 to 90 frames, some with missing joints; one unlabelled, one copied."""
    rng = np.random.default_rng(seed)
    clips = []
    for i in range(count):
        label, frames = i % 3, _LENGTHS[i % len(_LENGTHS)]
        data = np.stack([recording(frames, label, of, rng) for _ in range(2 if i % 5 == 0 else 1)])
        if i % 4 == 1:
            data[rng.random(data.shape[:3]) < 0.1] = np.nan
        if i % 11 == 3:
            data[:, :, of.index("left_foot")] = np.nan  # never seen
        subject, camera = str(1 + i // 3 % 6), str(1 + i % 2)
        sides = {
            "split:xsub": "test" if subject in "56" else "train",
            "split:xcam": "test" if camera == "2" else "train",
        }
        clips.append(Clip(f"clip{i:02d}", data, label, {"subject": subject, "camera": camera} | sides))
    first = next(c for c in clips if c.fields["split:xcam"] == "train" and c.fields["split:xsub"] == "train")
    other = {"subject": "6", "camera": "2", "split:xsub": "test", "split:xcam": "test"}
    clips.append(Clip("copy", first.data.copy(), first.label, other))
    return [*clips, Clip("nameless", recording(30, 0, of, rng)[None], None, dict(first.fields))]


def make_settings(store, name="mamp", **changes) -> Settings:
    """A run of a few seconds. changes: sections' settings by dotted name with _ for the dot: training_lr=…"""
    chosen = method(name)
    values = {
        "training": {"epochs": 4, "warmup_epochs": 1, "batch_size": 12, "log_every": 2, "save_every": 2}
        | {"precision": "fp32", "device": "cpu", "lr": 3e-3},
        "encoder": {"layers": 1, "width": 16, "heads": 2, "segment_frames": 3} | NAME.get(name, {}),
        "decoder": {"layers": 1, "width": 16, "heads": 2},
        "sampling": {"frames": 24, "min_crop_frames": 8},
        "pretext": {},
        "": {"method": name, "data": [str(store.path)], "split": "xsub", "seed": 3},
    }
    for key, value in changes.items():
        section, _, option = key.partition("_")
        values[section if option else ""][option or section] = value
    known = lambda kind, values: kind(**{f.name: values[f.name] for f in fields(kind) if f.name in values})
    return Settings(
        sampling=SamplingSettings(**values["sampling"]),
        encoder=known(chosen.encoder_settings, values["encoder"]),
        decoder=known(chosen.decoder_settings, values["decoder"]),
        pretext=chosen.settings(**values["pretext"]),
        training=TrainingSettings(**values["training"]),
        **values[""],
    )


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "encoder.safetensors")


def state(run: Path) -> dict:
    return torch.load(run / "last.pt", weights_only=True)


def same(a, b) -> bool:
    """Bitwise equality of nested checkpoints."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


# weight files that lie


def metadata(path: Path) -> dict[str, str]:
    """Of a safetensors file."""
    with safe_open(path, "pt") as f:
        return f.metadata()


def rewrite(path: Path, change) -> None:
    """Change what a weight file's metadata says: change(about) -> about, or text."""
    about = change(json.loads(metadata(path)["kinemask"]))
    text = about if isinstance(about, str) else json.dumps(about)
    save_file(load_file(path), path, metadata={"kinemask": text})


class Hostile:
    """A pickle that would make a folder when it is loaded."""

    def __init__(self, path: Path):
        self.path = str(path)

    def __reduce__(self):
        return (os.mkdir, (self.path,))


LIES = {
    "truncated": lambda p: p.write_bytes(p.read_bytes()[:-100]),
    "empty": lambda p: p.write_bytes(b""),
    "text": lambda p: p.write_text("these are not weights"),
    "pickle": lambda p: p.write_bytes(pickle.dumps(Hostile(p.parent / "trace"))),
    "huge header": lambda p: p.write_bytes((2**60).to_bytes(8, "little") + b"{}"),
    "no metadata": lambda p: save_file(load_file(p), p),
    "metadata of others": lambda p: save_file(load_file(p), p, metadata={"format": "pt"}),
    "not JSON": lambda p: rewrite(p, lambda about: "{"),
    "a list": lambda p: rewrite(p, lambda about: "[]"),
    "another format": lambda p: rewrite(p, lambda about: about | {"format": 99}),
    "no architecture": lambda p: rewrite(p, lambda about: {k: v for k, v in about.items() if k != "architecture"}),
    "unknown architecture": lambda p: rewrite(p, lambda about: about | {"architecture": "os"}),
    "unknown setting": lambda p: rewrite(p, lambda about: about | {"encoder": about["encoder"] | {"nonsense": 1}}),
    "other width": lambda p: rewrite(p, lambda about: about | {"encoder": about["encoder"] | {"width": 32}}),
    "width as text": lambda p: rewrite(p, lambda about: about | {"encoder": about["encoder"] | {"width": "32"}}),
    "deep JSON": lambda p: rewrite(p, lambda about: "[" * 100_000),
    "record of a number": lambda p: rewrite(p, lambda about: about | {"record": 3}),
    "architecture of a list": lambda p: rewrite(p, lambda about: about | {"architecture": []}),
    "format 1 of a list": lambda p: rewrite(p, lambda about: {"format": 1, "method": [], "encoder": [], "record": []}),
    "ten million layers": lambda p: rewrite(p, lambda about: about | {"encoder": about["encoder"] | {"layers": 10**7}}),
    "a width of terabytes": lambda p: rewrite(
        p, lambda about: about | {"encoder": about["encoder"] | {"width": 10**6}}
    ),
    "infinite": lambda p: rewrite(
        p, lambda about: about | {"encoder": about["encoder"] | {"mlp_ratio": float("inf"), "layers": 2.5}}
    ),
    "a stream of its own": lambda p: rewrite(
        p, lambda about: about | {"sampling": about["sampling"] | {"stream": "blood"}}
    ),
    "no layout": lambda p: rewrite(p, lambda about: about | {"layout": {}}),
    "a weight missing": lambda p: save_file(
        {k: v for k, v in load_file(p).items() if not k.endswith("tokenizer.bias")}, p, metadata=metadata(p)
    ),
}

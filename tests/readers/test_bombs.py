"""Files that would take gigabytes: each is rejected by name, the others stay, and memory is never touched."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kinemask.budget import USUAL, VARIABLE, budget
from kinemask.readers import reader
from kinemask.readers.pku_mmd import PART_1
from loops import environment
from readers.bombs import KINDS, ROOM
from readers.samples import OWN, item, write_npy

REASONS = {  # kind -> file -> why
    "arrays": {
        "zeros.npz": "bytes would unpack to 1,073,741,760",
        "long-header.npz": "a header of 268,435,456 bytes",
        "lzma.npz": "packed by a method that NumPy does not use",
        "holes.npy": "bytes would unpack to 8,589,934,560",
        "hollow.csv": "17,179,869,184 bytes, of which",
        "far-apart.csv": "too sparse",
    },
    "matlab": {"a2_s1_t1_skeleton.mat": "d_skel: .* bytes would unpack to 1,073,741,760"},
    "detections": {
        "empty-lists.json": f"would take 0.6 GB of memory, and a file may take 0.5 .*{VARIABLE}",
        "far-apart.json": "too sparse",
    },
    "motion": {"tree.bvh": "would take 4.8 GB of memory"},
    "whole sets": {"a.npz": "x_train.npy: .* bytes would unpack to 1,073,741,400"},
    "clips of nothing": {"train_data.npy": "the shape"},
}
STORED = {"arrays": ["good", "many"], "matlab": ["a5_s3_t2"], "detections": ["good"]}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> dict[str, dict]:
    """What became of each kind, in a process that may take little more memory than Python and NumPy do."""
    script = Path(__file__).with_name("bombs.py")
    command = [sys.executable, str(script), str(tmp_path_factory.mktemp("bombs"))]
    done = subprocess.run(command, env=environment() | {VARIABLE: "0.5"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {out["kind"]: out for out in map(json.loads, done.stdout.splitlines())}


@pytest.mark.skipif(sys.platform != "linux", reason="limits address space")
@pytest.mark.parametrize("kind", KINDS)
def test_bombs_are_rejected_by_name_and_others_stay(kind, prepared):
    out = prepared[kind]
    assert out["stored"] == STORED.get(kind, [])
    assert out["peak"] < ROOM >> 20
    said = out["rejected"] or {name: out["error"] for name in REASONS[kind] if name in out["error"]}
    assert said.keys() == REASONS[kind].keys()
    for name, reason in REASONS[kind].items():
        assert len(said[name]) <= 500
        assert re.search(reason, said[name])


def test_the_budget_is_settable(tmp_path, monkeypatch):
    path = write_npy(tmp_path, np.random.default_rng(0).normal(1, 0.2, (14, 20, 3)))
    arrays = reader("arrays")
    assert budget() == USUAL * 1e9
    monkeypatch.setenv(VARIABLE, "6e-6")
    with pytest.raises(ValueError, match=rf"{path}: would take 0.0 GB of memory, and a file may take 6e-06 \(more, if"):
        arrays.read(item(path), OWN)
    monkeypatch.setenv(VARIABLE, "7e-6")
    assert arrays.read(item(path), OWN).data.shape == (1, 14, 20, 3)
    for text in ("much", "-1", "nan", "1e400"):
        monkeypatch.setenv(VARIABLE, text)
        with pytest.raises(ValueError, match=f"{VARIABLE} is '{text}'; it should be a number of gigabytes"):
            budget()


def test_a_path_of_a_megabyte_is_refused_at_once(tmp_path):
    (tmp_path / "clips.csv").write_text(f"clip\n{'a/' * 50_000}\n")
    with pytest.raises(ValueError, match=r"clips\.csv, line 2: the clip's name has 100,000 letters"):
        reader("arrays").scan(tmp_path)


def test_labels_that_would_fill_a_disk_are_refused(tmp_path):
    """A list of labels that names the whole video again and again."""
    video, labels = tmp_path / "0002-M.txt", tmp_path / "labels.txt"
    video.write_text((" ".join(["1.5"] * 150) + "\n") * 30)
    labels.write_text("1,0,30,1\n" * 20)
    found = item(video, None, {}, labels)
    assert len(list(PART_1.read(found, OWN))) == 20
    labels.write_text("1,0,30,1\n" * 21)
    with pytest.raises(ValueError, match=r"labels\.txt: 630 frames are labelled, of a video of 30"):
        list(PART_1.read(found, OWN))

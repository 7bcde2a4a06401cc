"""Runs with a teacher and a student, and those of one encoder, evaluated by name."""

from __future__ import annotations

import pytest
import torch

import kinemask

TINY = {
    "training.epochs": 1,
    "training.warmup_epochs": 0,
    "training.batch_size": 8,
    "training.device": "cpu",
    "encoder.width": 16,
    "encoder.layers": 1,
    "decoder.width": 16,
    "decoder.layers": 1,
    "encoder.joints": "pruned",
}


@pytest.fixture(scope="module")
def runs(tiny, tmp_path_factory):
    """A run with teacher and student, and one without."""
    folder = tmp_path_factory.mktemp("roles")
    recipes = ("skeleton2vec-nw-ucla-small", "masksem-nw-ucla-small")
    return [kinemask.pretrain(r, tiny.path, "xsub", folder / r, quiet=True, **TINY) for r in recipes]


def test_teacher_and_student_are_evaluated_by_their_names(runs, tiny):
    run = runs[0]
    found = {}
    for name in ("encoder", "teacher", "student", "encoder-student"):
        (found[name],) = kinemask.evaluate("knn", run, tiny.path, "xsub", encoder=name, baselines=False, device="cpu")
    assert found["teacher"].path == found["encoder"].path
    assert found["student"].path == found["encoder-student"].path
    assert found["teacher"].encoder_sha256 != found["student"].encoder_sha256
    assert found["student"].encoder == "encoder-student"


@pytest.mark.parametrize("name", ["teacher", "student"])
def test_a_run_of_one_encoder_says_so(runs, tiny, name):
    with pytest.raises(ValueError, match=r"masksem-nw-ucla-small has no teacher and student"):
        kinemask.evaluate("knn", runs[1], tiny.path, "xsub", encoder=name, device="cpu")


def test_a_run_prepares_its_reference(runs, tiny):
    state = torch.load(runs[1] / "last.pt", weights_only=True)
    assert state["task"]["reference"].isfinite().all()

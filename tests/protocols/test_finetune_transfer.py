"""Fine-tuning on another skeleton than the encoder was trained on."""

from __future__ import annotations

import numpy as np
import pytest

from helpers import PLAIN, make_settings
from kinemask import cli, evaluate, load_classifier
from kinemask.pretext import NAMES
from kinemask.skeleton import layout
from kinemask.store.format import Clip
from kinemask.store.writer import write_store
from kinemask.training.pretraining import pretrain
from tuning import QUICK


@pytest.fixture(scope="module")
def kinect(tmp_path_factory):
    rng, of = np.random.default_rng(0), layout("kinect20")
    clips = [
        Clip(f"k{i}", rng.normal(0, 0.3, (1, 20 + i, 20, 3)), i % 2, {"split:x": "test" if i % 3 == 0 else "train"})
        for i in range(12)
    ]
    return write_store(tmp_path_factory.mktemp("kinect") / "kinect", clips, of, ["a", "b"], meta={"dataset": "kinect"})


@pytest.mark.parametrize("name", NAMES)
def test_transfer_to_another_skeleton_says_what_matched(name, tiny, kinect, tmp_path):
    settings = make_settings(tiny, name, training_epochs=1)
    run = pretrain(settings, tmp_path / "run", quiet=True)
    (result,) = evaluate("finetune", run, kinect.path, "x", **QUICK)
    named = lambda of: [of.joints[j] for j in of.kept(settings.encoder.joints)]
    kept, before = named(kinect.layout), named(tiny.layout)
    assert result.transfer.layout == "sbu15"
    assert result.transfer.matched == [joint for joint in kept if joint in before]
    assert result.transfer.new == [joint for joint in kept if joint not in before]
    assert set(result.baselines) == {"from_scratch"} | PLAIN
    model = load_classifier(result.weights)
    assert (model.layout.name, model.classes) == ("kinect20", ["a", "b"])


def test_transfer_on_the_command_line(tiny, kinect, tmp_path, capsys):
    run = pretrain(make_settings(tiny, training_epochs=1), tmp_path / "run", quiet=True)
    quick = ["--epochs", "1", "--warmup-epochs", "0", "--head.hidden", "8", "--device", "cpu", "--no-baselines"]
    where = ["--run", str(run), "--data", str(kinect.path), "--split", "x"]
    assert cli.main(["evaluate", "finetune", *where, *quick]) == 0
    said = capsys.readouterr().out
    matched = [joint for joint in kinect.layout.joints if joint in tiny.layout.joints]
    assert f"{len(matched)} of 20 joints matched by name" in said

"""How clips are cut for a protocol: every option of sampling reaches what it is said to reach, or is refused."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from helpers import make_settings
from kinemask import cli, evaluate
from kinemask.protocols.catalogue import PROTOCOLS
from kinemask.runs.result import read_result
from kinemask.training.pretraining import pretrain
from kinemask.windows.settings import AUGMENTATION, OF_ENCODER, SamplingSettings

OTHER = {
    "window": "uniform",
    "crop": (0.2, 0.4),
    "test_crop": 0.3,
    "test_clips": 3,
    "min_crop_frames": 60,
    "rotation": 1.0,
    "shear": 0.5,
    "noise": 0.5,
    "limbs": 0.3,
    "mirror": 1.0,
    "stretch": 0.3,
    "drop_joints": 0.9,
    "drop_axis": 1.0,
    "missing": "zero",
    "scale": "torso",
    "align": "heading",
}
QUICK = {"baselines": False, "device": "cpu"}


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sampling") / "run"
    return pretrain(make_settings(tiny, training_epochs=1, sampling_crop=(0.5, 0.9)), folder, quiet=True)


def ask(run, store, protocol, **sampling):
    """A result of a protocol, the linear one made quick."""
    more = {"epochs": 2, "views": 1} if protocol == "linear" else {}
    (result,) = evaluate(protocol, run, store.path, "xsub", sampling=sampling, **QUICK, **more)
    return result


def test_every_option_is_covered():
    assert {*OTHER, *OF_ENCODER} == {f.name for f in fields(SamplingSettings)}


@pytest.mark.filterwarnings("ignore:.* has no effect with window uniform")
@pytest.mark.parametrize("name", OTHER)
def test_every_option_changes_the_scores(name, run, tiny):
    usual, other = ask(run, tiny, "linear"), ask(run, tiny, "linear", **{name: OTHER[name]})
    assert SamplingSettings(**usual.sampling) == SamplingSettings(frames=24, min_crop_frames=8, crop=(0.5, 0.9))
    assert getattr(SamplingSettings(**other.sampling), name) == OTHER[name]
    assert other.hash != usual.hash
    assert not np.array_equal(other.scores()["scores"], usual.scores()["scores"])


@pytest.mark.parametrize("protocol", [name for name, one in PROTOCOLS.items() if not one.trains])
def test_the_command_line_reaches_the_test_view(protocol, run, tiny, capsys):
    quick = ["--no-baselines", "--device", "cpu", "--sampling.test-crop", "0.3", "--sampling.test-clips", "2"]
    quick += ["--epochs", "1", "--views", "1"] if PROTOCOLS[protocol].section else []
    quick += ["--joints", "0.5", *(f"--{kind}=[]" for kind in ("parts", "noise", "dropped", "rate", "camera"))] * (
        protocol == "robustness"
    )
    assert cli.main(["evaluate", protocol, "--run", str(run), "--data", str(tiny.path), "--split", "xsub", *quick]) == 0
    (path,) = (line for line in capsys.readouterr().out.splitlines() if line.endswith(".json"))
    result = read_result(Path(path))
    assert (result.sampling["test_crop"], result.sampling["test_clips"]) == (0.3, 2)


@pytest.mark.parametrize("name", AUGMENTATION)
@pytest.mark.parametrize("protocol", [name for name, one in PROTOCOLS.items() if not one.augments])
def test_augmentation_is_refused_where_nothing_is_augmented(protocol, name, run, tiny):
    with pytest.raises(ValueError, match=rf"sampling\.{name} has no effect: {protocol} draws no augmented windows"):
        ask(run, tiny, protocol, **{name: OTHER[name]})


@pytest.mark.parametrize("name", OF_ENCODER)
def test_what_the_encoder_was_trained_with_stays(name, run, tiny):
    with pytest.raises(ValueError, match=rf"sampling\.{name}: the encoder was trained with its own"):
        ask(run, tiny, "linear", **{name: {"frames": 12, "stream": "bone"}[name]})

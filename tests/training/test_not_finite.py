"""A loss or a gradient that is not finite stops training, names the clips, and leaves the last good state."""

from __future__ import annotations

import math

import pytest
from safetensors.torch import load_file

from helpers import make_settings, same, state, weights
from kinemask.training.pretraining import pretrain
from loops import loop_of, pretrain_broken


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("log_every", [1, 1000])
def test_a_loss_that_is_not_finite_stops_and_names_the_clips(value, log_every, whole, tiny, tmp_path):
    """Found at the next line of the log, or before the next checkpoint if that comes first."""
    run, good = tmp_path / "run", state(whole["mamp"])["step"] // 2
    settings = make_settings(tiny, training_log_every=log_every, training_save_every=1)
    with pytest.raises(FloatingPointError, match=rf"step {good + 1}.*last good state") as error:
        pretrain_broken(settings, run, good + 1, value)
    loop = loop_of(tiny, tmp_path / "other")
    expected = {tiny.names[loop.job.sets[0].clips[i]] for i in loop.job.sets[0].clip[loop.job.batch(good + 1)[1]]}
    assert set(str(error.value).split("batch: ")[1].split(", ")) == expected
    assert state(run)["step"] == good
    assert all(v.isfinite().all() for v in state(run)["task"].values())
    pretrain(settings, run, quiet=True)  # without the fault it goes on from there
    assert same(weights(run), weights(whole["mamp"]))


def test_a_huge_learning_rate_stops_with_good_files(tiny, tmp_path):
    run = tmp_path / "run"
    settings = make_settings(tiny, training_lr=1e30, training_save_every=1, training_log_every=1)
    with pytest.raises(FloatingPointError, match="clip"):
        pretrain(settings, run, quiet=True)
    assert not (run / "encoder.safetensors").exists()


def test_a_gradient_that_is_not_finite_never_reaches_a_checkpoint(tiny, tmp_path):
    """The loss of the step before a save can be finite while the weights after it are not."""
    run, steps_per_epoch = tmp_path / "run", loop_of(tiny, tmp_path / "other").job.steps_per_epoch
    settings = make_settings(tiny, training_epochs=2, training_save_every=1)
    with pytest.raises(FloatingPointError):
        pretrain_broken(settings, run, 2 * steps_per_epoch - 1, gradient_only=True)
    assert state(run)["step"] == steps_per_epoch
    assert all(v.isfinite().all() for v in state(run)["task"].values())
    assert not (run / "encoder.safetensors").exists()


def test_no_snapshot_is_kept_of_a_broken_encoder(tiny, tmp_path):
    run = tmp_path / "run"
    settings = make_settings(tiny, training_snapshot_every=1, training_save_every=4, training_log_every=1000)
    with pytest.raises(FloatingPointError):
        pretrain_broken(settings, run, 1)
    for path in run.glob("encoder*.safetensors"):
        assert all(v.isfinite().all() for v in load_file(path).values()), path.name

"""Starting from another run's encoder."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest

from helpers import make_settings, same, weights
from kinemask.pretext import NAMES
from kinemask.training.pretraining import pretrain
from loops import loop_of


@pytest.mark.parametrize("name", NAMES)
def test_encoders_start_from_another_run(name, whole, tiny, tmp_path):
    """Moving averages of them too."""
    loop = loop_of(tiny, tmp_path / "run", name=name, training_init_from=str(whole[name]))
    for encoder in loop.task.encoders().values():
        assert same(weights(whole[name]), encoder.state_dict())
    loop = loop_of(tiny, tmp_path / "cold", name=name)
    assert not same(weights(whole[name]), loop.task.encoders()["encoder"].state_dict())


def test_another_method_can_be_the_start(whole, tiny, tmp_path):
    settings = make_settings(tiny, "mamp", training_init_from=str(whole["mae"] / "encoder.safetensors"))
    warm, cold = (
        pretrain(s, tmp_path / str(i), quiet=True)
        for i, s in enumerate((settings, replace(settings, training=replace(settings.training, init_from=None))))
    )
    assert not same(weights(warm), weights(cold))
    pretrain(settings, warm, quiet=True)  # finished: stays as it is


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"encoder_width": 32}, r"width \(16 there, 32 here\)"),
        ({"encoder_heads": 4}, "heads"),  # of the same shapes
        ({"encoder_layers": 2}, "layers"),
        ({"sampling_frames": 36}, r"sampling\.frames \(24 there, 36 here\)"),
        ({"name": "hacm"}, "space"),
        ({"name": "skeletonmae"}, "kind"),
        ({"training_init_from": "nowhere"}, "no encoder at nowhere"),
    ],
    ids=str,
)
def test_a_start_that_does_not_fit_is_told(changes, match, whole, tiny, tmp_path):
    settings = make_settings(tiny, **{"training_init_from": str(whole["mamp"])} | changes)
    with pytest.raises(ValueError, match=match):
        pretrain(settings, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, []),
        ({"sampling_rotation": 0.5}, []),
        ({"sampling_scale": "torso"}, ["sampling.scale (none there, torso here)"]),
        ({"sampling_align": "pair"}, ["sampling.align (none there, turned here)"]),
        ({"sampling_stream": "bone"}, ["sampling.stream (joint there, bone here)"]),
    ],
    ids=str,
)
def test_clips_that_are_prepared_differently_are_told_once(changes, told, whole, tiny, tmp_path):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        loop_of(tiny, tmp_path / "run", name="mamp", training_init_from=str(whole["mamp"]), **changes)
    said = [str(one.message) for one in found if "prepared differently" in str(one.message)]
    assert [line.split(": ")[1] for line in said] == told

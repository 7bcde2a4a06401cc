"""Options of pretext tasks: each changes training or says that it does not, and wrong ones are refused."""

from __future__ import annotations

import math
import warnings
from dataclasses import fields
from functools import cache
from types import NoneType
from typing import Literal, get_args, get_origin, get_type_hints

import pytest

from kinemask.pretext import NAMES, method
from tasks import BATCH as B
from tasks import (
    FRAMES,
    LAYOUTS,
    again,
    make,
    make_batch,
    train,
)

NEEDS_PROCESSES = {"negatives"}  # options whose effect takes several processes, tested with torchrun
OPTIONS = [(name, f.name) for name in NAMES for f in fields(method(name).settings)]
BAD = {
    "mask_ratio": (0.0, 1.0, -3.0),
    "tau": (0.0, -1.0),
    "motion_stride": (0, FRAMES, -1),
    "ema_decay": (-0.1, 1.1),
    "tube_segments": (0, -1),
    "motion_weight": (-0.1, math.nan),
    "top_k_layers": (-1, 3),
    "acceleration_weight": (-0.1, 1.1),
    "augmentations": ((), ("none",), ("drop", "drop"), ("flip",)),
    "share": (0.0, 1.0, 0.99, math.nan),
    "gamma": (-0.1, math.nan),
    "ascent": (0.0, math.inf),
    "temperature": (0.0, -1.0),
}


def others(name, option):
    """Other values of an option, from its type and default; some of them may be refused."""
    settings = method(name).settings
    default = next(f.default for f in fields(settings) if f.name == option)
    kind = get_type_hints(settings)[option]
    if get_origin(kind) is Literal:
        values = get_args(kind)
    elif isinstance(default, bool):
        values = (not default,)
    elif isinstance(default, float):
        values = (0.0, 1.0, default / 20, default / 2, 2 * default)
    elif isinstance(default, tuple):
        values = (default[:-1], default[1:])
    else:
        assert kind is int or set(get_args(kind)) == {int, NoneType}
        values = (1, 2, 4)
    return [value for value in values if value != default]


def settings_of(name, **values):
    """Settings as a hashable key, or None where they are refused."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            make(name, pretext=values)
        except ValueError:
            return None
    unused = {str(w.message).split(" ")[0] for w in said if "has no effect" in str(w.message)}
    return name, tuple(sorted(values.items())), frozenset(u.removeprefix("pretext.") for u in unused)


@cache
def trained(name, values):
    """Loss and parts over three steps of training with these settings, and a weight of the encoder for use."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        task = make(name, pretext=dict(values))
        losses = train(task, make_batch())
        return losses, next(task.encoders()["encoder"].trunk.parameters()).sum().item()


def has_effect(name, option, beside):
    """Whether some other value of the option changes training, beside other settings; and which say it does not."""
    before, silent = settings_of(name, **beside), []
    for value in others(name, option):
        after = settings_of(name, **beside, **{option: value})
        if before is None or after is None:
            continue
        if trained(*before[:2]) != trained(*after[:2]):
            return True, []
        if option not in after[2]:
            silent.append(value)
    return False, silent


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_every_option_changes_training_or_says_that_it_does_not(name, option):
    """By itself, or beside another one; where it does nothing, a warning says so."""
    if option in NEEDS_PROCESSES:
        return
    alone, silent = has_effect(name, option, {})
    if alone:
        return
    assert not silent, f"{option} {silent} does nothing and says nothing"
    rest = [o for n, o in OPTIONS if n == name and o != option and o not in NEEDS_PROCESSES]
    assert any(has_effect(name, option, {o: value})[0] for o in rest for value in others(name, o))


@pytest.mark.filterwarnings("ignore:.*has no effect")
@pytest.mark.parametrize(
    ("name", "option", "value"), [(name, option, v) for name, option in OPTIONS for v in BAD.get(option, ())]
)
def test_bad_settings_are_told(name, option, value):
    with pytest.raises(ValueError, match=option):
        make(name, pretext={option: value})


def combined(name, *options):
    return [(name, o) for o in options]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *combined("mamp", {"target_norm": "sequence", "motion_stride": 2}, {"mask_ratio": 0.5}),
        *combined(
            "hacm",
            {"temporal_strategy": 2, "temporal_group": "odd", "mask": "low"},
            {"temporal_strategy": 2, "temporal_projection": "first_block", "similarity": "cosine"},
            {"criteria": "spatial", "contrast_weight": 0.0, "gumbel": False},
            {"criteria": "temporal", "contrast_weight": 0.0, "target_space": "euclidean"},
            {"contrast_reduction": "sum", "target_norm": "none"},
        ),
    ],
)
@pytest.mark.parametrize("of", LAYOUTS)
def test_options_together(name, of, options):
    task, batch = make(name, of, options), make_batch(of)
    task(again(batch))["loss"].backward()
    assert all(p.grad.isfinite().all() for p in task.parameters() if p.requires_grad)
    L = task.encoder.tokens
    groups = 2 if getattr(task.settings, "criteria", "") == "cross" else 1
    kept = groups * max(1, round(L / groups * (1 - task.settings.mask_ratio)))
    assert task.predict(again(batch))[0].keep.shape == (B, kept)

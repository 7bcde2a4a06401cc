"""What a recogniser looks at is chosen by people left out, and held-out scores come from fits without them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kinemask.nn import random_convolutions
from kinemask.recognition import choice
from kinemask.recognition.arrays import as_recordings
from kinemask.recognition.bank import Bank, block_weights
from kinemask.recognition.choice import Asked, Choice, asked, blends, by_neighbours
from kinemask.recognition.fitting import choose, fit, predict_held_out
from kinemask.windows.align import turns
from recognition_clips import SBU, clips


def bank(x, y, people, seed=0):
    numbers = torch.from_numpy(np.unique(y, return_inverse=True)[1])
    who = torch.from_numpy(np.unique(people, return_inverse=True)[1])
    return Bank(as_recordings(x, SBU), np.arange(len(x)), numbers, {"subject": who}, seed)


def turned(x, angles):
    """Recordings turned about the vertical."""
    c, s = np.cos(angles), np.sin(angles)
    return [one @ np.array([[a, 0, b], [0, 1, 0], [-b, 0, a]]) for one, a, b in zip(x, c, s, strict=True)]


def test_clips_of_all_directions_are_turned_to_one_heading():
    x, y, people = clips(48)
    anywhere = np.random.default_rng(0).uniform(-3, 3, 48)
    found = choose(bank(turned(x, anywhere), y, people), np.arange(48), 3, Asked(kernels=200, mirrored=False))
    assert found.choice.align == "heading"
    loss = {
        one.choice.align: one.loss for one in found.tried if len(one.choice.shares) == 2 and one.choice.shares[0] == 0.8
    }
    assert loss["heading"] < loss["none"]


def test_classes_with_a_side_learn_from_no_mirror():
    """The left and the right of one movement: in a mirror, each is the other."""
    x, _, people = clips(32)
    left = list(x)
    y = np.array(["left", "right"] * 16)
    swapped = list(range(15))
    for a, b in SBU.pairs:
        swapped[a], swapped[b] = b, a
    for i in range(32):
        wave = left[0][: len(left[i])] if i % 2 == 0 else left[0][:, swapped] * np.array([-1, 1, 1])
        left[i] = wave[:20] + np.random.default_rng(i).normal(0, 0.02, wave[:20].shape)
    found = choose(bank(left, y, people), np.arange(32), 2, Asked(kernels=200))
    assert not found.choice.mirrored
    loss = {one.choice.mirrored: one.loss for one in found.tried}
    assert loss[True] > loss[False]


def test_what_is_asked_for_is_not_chosen():
    x, y, people = clips(24)
    wanted = Asked(kinds=("statistics",), align="none", mirrored=True, kernels=50)
    found = choose(bank(x, y, people), np.arange(24), 3, wanted)
    assert found.choice == Choice(features=("statistics",), align="none", mirrored=True)
    assert [one.choice for one in found.tried] == [found.choice]


def test_held_out_clips_are_scored_as_by_a_model_without_them():
    """But for the scale of features, which is that of all clips."""
    x, y, people = clips(24)
    wanted = Asked(kinds=("convolutions",), align="none", mirrored=False, kernels=300)
    whole = bank(x, y, people)
    test = np.flatnonzero(people == "p0")
    train = np.flatnonzero(people != "p0")
    found = predict_held_out(whole, train, test, 3, wanted)
    part = bank([x[i] for i in train], y[train], people[train])
    model, _ = fit(part, 3, wanted)
    alone = model.predict(as_recordings([x[i] for i in test], SBU))
    assert (found.argmax(1) == alone.argmax(1)).float().mean() > 0.8
    assert (found - alone).abs().mean() < 0.1


@pytest.mark.parametrize(("mirrored", "twins"), [(False, False), (True, False), (True, True)])
def test_the_module_is_the_ridge_on_all_clips(mirrored, twins):
    x, y, people = clips(18)
    made = bank(x, y, people)
    wanted = Asked(kinds=("convolutions", "statistics"), align="heading", mirrored=mirrored, twins=twins, kernels=100)
    model, chosen = fit(made, 3, wanted)
    assert chosen.choice.shares == blends(wanted.kinds)[0][1]
    windows, tokens, _ = model.of_tracks(lambda missing: made.tracks)
    torch.testing.assert_close(windows, made.windows("heading"))
    found = model(windows, tokens)
    assert found.shape == (18, 3)
    assert (found.argmax(1) == made.labels).float().mean() > 0.9
    assert turns(made.tracks, "heading").abs().max() > 0


def without_labels(made, keep):
    """A bank in which only clips of these positions, which come first, have kept their labels."""
    made.labels[keep:] = -1
    return made


@pytest.mark.parametrize("mirrored", [False, True])
def test_labels_are_spread_where_there_are_few(mirrored):
    x, y, people = clips(36)
    first = [int(np.flatnonzero(y == label)[0]) for label in np.unique(y)]
    order = np.array([*first, *(i for i in range(36) if i not in first)])
    x, y, people = [x[i] for i in order], y[order], people[order]
    made = without_labels(bank(x, y, people), 3)
    wanted = Asked(kinds=("convolutions", "statistics"), mirrored=mirrored, kernels=100)
    model, chosen = fit(made, 3, wanted)
    assert chosen.choice.spread
    assert "labels spread to clips without one" in str(chosen.choice)
    found = model(*model.of_tracks(lambda missing: made.tracks)[:2]).argmax(1).numpy()
    assert (found == np.unique(y, return_inverse=True)[1]).mean() > 0.9
    assert not choose(made, np.arange(3), 3, wanted).choice.spread  # none without a label is there
    assert not choose(made, np.arange(36), 3, Asked(spread=False, kernels=100)).choice.spread


def test_spreading_is_judged_by_people_left_out():
    x, y, people = clips(36)
    tried = choose(without_labels(bank(x, y, people), 24), np.arange(36), 3, Asked(kernels=100)).tried
    spread = [one for one in tried if one.choice.spread]
    assert len(spread) == 1
    assert spread[0].accuracy > 90
    asked_for = choose(bank(x, y, people), np.arange(36), 3, Asked(spread=True, kernels=100))
    assert not asked_for.choice.spread  # every clip has a label


def test_neighbours_are_found_without_statistics():
    both = Choice(features=("convolutions", "statistics", "tokens"), shares=(0.6, 0.2, 0.2), spread=True, mirrored=True)
    near = by_neighbours(both)
    assert near.features == ("convolutions", "tokens")
    assert near.shares == pytest.approx((0.75, 0.25))
    assert not near.mirrored
    assert by_neighbours(Choice(features=("statistics",))).features == ("statistics",)


def test_kinds_count_as_their_shares_say():
    blocks = [torch.randn(9, 4), torch.randn(9, 400)]
    weights = block_weights(blocks, Choice(features=("convolutions", "statistics"), shares=(0.75, 0.25)))
    size = [float(len(block.T) * weight**2) for block, weight in zip(blocks, weights, strict=True)]
    assert size[0] / size[1] == pytest.approx(3)
    assert sum(size) == pytest.approx(404)


def test_there_are_as_many_kernels_as_usual():
    assert choice.KERNELS == random_convolutions.KERNELS


def test_the_order_of_kinds_does_not_matter():
    assert asked(["tokens", "convolutions"], "auto", "auto", 10, True).kinds == ("convolutions", "tokens")
    assert asked("auto", "pair", True, 10, False) == Asked(align="pair", mirrored=True, kernels=10)

"""A clip as one window: as the sampler makes it of a store, for each body."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers import recordings
from kinemask.skeleton import layout
from kinemask.store.writer import write_store
from kinemask.windows.sampler import Sampler
from kinemask.windows.settings import SamplingSettings
from kinemask.windows.tracks import Tracks
from kinemask.windows.window import Window

BODY = layout("sbu15")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("made") / "store", recordings(BODY), BODY, ("wave", "kick", "bow"))


@pytest.mark.parametrize("changes", [{}, {"align": "pair", "scale": "torso"}, {"missing": "zero"}, {"stream": "bone"}])
def test_a_window_is_the_samplers(changes, store):
    settings = SamplingSettings(frames=20, **changes)
    window = Window(BODY, settings, bodies=2)
    sampler = Sampler(Tracks(store, missing=settings.missing), settings)
    for i in range(12):
        before = np.array(store.clip(i))
        made = window(before)
        track, _ = sampler.tracks.of_clips(torch.tensor([i]))
        expected = torch.zeros(2, 20, 15, 3)
        expected[: len(track)] = sampler.test_view(track)
        torch.testing.assert_close(made, expected)
        assert np.array_equal(before, store.clip(i), equal_nan=True)  # the clip is left as it was


def test_training_windows_differ_and_follow_pytorchs_seed(store):
    window = Window(BODY, SamplingSettings(frames=20, min_crop_frames=8), augment=True)
    draw = lambda seed: (torch.manual_seed(seed), window(torch.tensor(store.clip(0))))[1]
    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
    assert draw(1).shape == (1, 20, 15, 3)


def test_a_clip_of_another_layout_is_refused():
    with pytest.raises(ValueError, match="layout sbu15"):
        Window(BODY)(np.zeros((1, 9, 20, 3)))

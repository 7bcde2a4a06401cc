"""One clip in tensor operations alone: the same numbers as `windows`, whatever is missing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers import recordings
from kinemask.readers.cleaning import find_origin as origin_of_arrays
from kinemask.recognition.arrays import as_recordings
from kinemask.recognition.one_clip import find_origin, read_clip, view
from kinemask.skeleton import layout
from kinemask.windows.sampler import Sampler
from kinemask.windows.settings import SamplingSettings
from kinemask.windows.tracks import Tracks

BODY, FLAT = layout("sbu15"), layout("coco17")


def unusual(of):
    """Clips that lack what another step needs: a body, the root, the torso, shoulders and hips, a joint of all."""
    rng = np.random.default_rng(1)
    make = lambda people, frames: rng.normal(size=(people, frames, of.num_joints, of.dims)).astype(np.float32)
    clips = [make(1, 1), make(2, 1), make(1, 2), make(3, 30), make(5, 9)]
    unseen_first, no_root, no_torso, no_trunk, mostly_gone = (make(2, 25) for _ in range(5))
    unseen_first[0] = np.nan
    no_root[:, :, of.root] = np.nan
    no_torso[:, :, [*of.torso_length[0], *of.torso_length[1]]] = np.nan
    sides = [v for v in range(of.num_joints) if of.joints[v].endswith(("shoulder", "hip"))]
    no_trunk[:, :, sides] = np.nan
    mostly_gone[rng.random(mostly_gone.shape[:3]) < 0.9] = np.nan
    mostly_gone[0, 3, 0] = 1
    half = make(2, 40)
    half[0, :20] = np.nan  # the second comes first
    return [*clips, unseen_first, no_root, no_torso, no_trunk, mostly_gone, half]


CLIPS = {
    BODY.name: [*(np.asarray(clip.data, np.float32) for clip in recordings(BODY)), *unusual(BODY)],
    FLAT.name: unusual(FLAT),
}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"align": "heading"},
        {"align": "pair"},
        {"align": "pair", "scale": "torso", "test_crop": 1.0},
        {"missing": "zero", "align": "heading", "scale": "torso"},
        {"stream": "bone"},
        {"stream": "motion", "test_crop": 0.5, "test_clips": 3},
    ],
    ids=str,
)
@pytest.mark.parametrize("of", [BODY, FLAT], ids=lambda of: of.name)
def test_a_view_is_the_samplers(of, changes):
    if of.dims == 2:
        changes = {name: value for name, value in changes.items() if name != "align"}
    settings = SamplingSettings(frames=20, **changes)
    for clip in CLIPS[of.name]:
        tracks = Tracks(as_recordings([clip], of), missing=settings.missing)
        sampler = Sampler(tracks, settings)
        bodies = read_clip(torch.from_numpy(clip), of)
        for number in range(settings.test_clips):
            expected = sampler.test_view(torch.arange(len(tracks)), number)
            found = view(bodies, of, settings, number)
            assert len(found) == len(clip) + 1
            torch.testing.assert_close(found[: len(tracks)], expected, atol=2e-6, rtol=2e-6)
            assert not found[len(tracks) :].any()


@pytest.mark.parametrize("name", CLIPS)
def test_a_clip_may_lie_anywhere(name):
    of = layout(name)
    for clip in CLIPS[name]:
        seen = np.isfinite(clip[..., 0]).any((1, 2))
        first = clip[int(seen.argmax())]
        expected, _ = origin_of_arrays(first[None], of.origin)
        known = torch.from_numpy(np.isfinite(first[..., 0]))
        found = find_origin(torch.from_numpy(first).nan_to_num(), known, of)
        np.testing.assert_allclose(found, expected, atol=1e-6)
        here, there = (read_clip(torch.from_numpy(clip) + shift, of) for shift in (0.0, 3.0))
        torch.testing.assert_close(here.x, there.x, atol=2e-6, rtol=0)


def test_a_second_body_is_added_only_where_it_is_needed():
    clip = torch.randn(1, 7, 15, 3)
    assert len(read_clip(clip, BODY).x) == 2
    assert read_clip(clip, BODY).exists.tolist() == [True, False]
    assert len(read_clip(clip, BODY, pair=False).x) == 1

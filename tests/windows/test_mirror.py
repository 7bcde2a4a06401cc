"""Mirrored clips: twice is once; a body's own left hand stays its left hand."""

from __future__ import annotations

import numpy as np
import torch

from helpers import recording
from kinemask.skeleton import layout
from kinemask.windows.bodies import side_by_side
from kinemask.windows.mirror import mirror_tracks, mirror_windows
from kinemask.windows.tracks import Recordings, Tracks

SBU = layout("sbu15")


def test_windows_in_a_mirror():
    x = torch.randn(3, 2, 8, 15, 3, generator=torch.Generator().manual_seed(0))
    found = mirror_windows(x, SBU)
    left, right = SBU.index("left_hand"), SBU.index("right_hand")
    torch.testing.assert_close(found[..., left, 0], -x[..., right, 0])
    torch.testing.assert_close(found[..., left, 1:], x[..., right, 1:])
    torch.testing.assert_close(found[..., SBU.index("head"), 1:], x[..., SBU.index("head"), 1:])
    assert torch.equal(mirror_windows(found, SBU), x)


def test_tracks_in_a_mirror_are_mirrored_windows():
    rng = np.random.default_rng(0)
    one = recording(20, 0, SBU, rng)
    one[5:9, SBU.index("left_hand")] = np.nan
    tracks = Tracks(Recordings.of(SBU, [one.astype(np.float32), np.stack([one[::-1], one]).astype(np.float32)]))
    made = mirror_tracks(tracks)
    torch.testing.assert_close(side_by_side(made, 16), mirror_windows(side_by_side(tracks, 16), SBU))
    left, right = SBU.index("left_hand"), SBU.index("right_hand")
    assert torch.equal(made.seen[:, right], tracks.seen[:, left])
    assert not torch.equal(made.seen, tracks.seen)
    here, there = side_by_side(tracks, 16)[0, 0, :, left], side_by_side(made, 16)[0, 0, :, right]
    torch.testing.assert_close(here, there * torch.tensor([-1.0, 1, 1]))

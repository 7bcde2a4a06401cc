"""Stores that are larger than memory: the same numbers, read from the memory map."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from helpers import CLASSES, make_settings, recordings, same, weights
from kinemask.draws import Draws
from kinemask.skeleton import layout
from kinemask.store.opening import open_store
from kinemask.store.writer import write_store
from kinemask.training.pretraining import pretrain
from kinemask.windows import tracks
from kinemask.windows.mapped import MappedFrames, finite, memory_left
from kinemask.windows.mirror import mirror_tracks
from kinemask.windows.sampler import Sampler
from kinemask.windows.settings import SamplingSettings
from kinemask.windows.tracks import Tracks
from loops import environment

SBU = layout("sbu15")


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    clips = recordings(SBU, count=20, seed=4)
    clips[3].data[0, :, :] = float("nan")  # of two bodies, the first is absent
    clips[3] = replace(clips[3], data=clips[0].data.copy())
    clips[5].data[:, 4, 2, 1] = float("nan")
    half = write_store(folder / "half", clips, SBU, CLASSES, dtype="float16")
    return half, write_store(folder / "single", recordings(SBU, count=9, seed=5), SBU, CLASSES)


def both(monkeypatch, *arguments):
    """Tracks in memory, and the same where none is left."""
    held = Tracks(*arguments)
    monkeypatch.setattr(tracks, "fits", lambda size: False)
    mapped = Tracks(*arguments)
    assert isinstance(mapped.frames, MappedFrames)
    assert not isinstance(held.frames, MappedFrames)
    return held, mapped


@pytest.mark.parametrize("missing", ["fill", "zero"])
@pytest.mark.parametrize("source", ["half", "some", "several"])
def test_mapped_tracks_are_those_in_memory(source, missing, stores, monkeypatch):
    half, single = stores
    some = half.split("xsub")[0]
    given = {"half": half, "some": [(half, some)], "several": [(single, single.split("xsub")[1]), (half, some)]}
    held, mapped = both(monkeypatch, given[source], None, "cpu", missing)
    rows = torch.randperm(len(held.frames), generator=torch.Generator().manual_seed(0)).reshape(2, -1)[:, :150]
    assert len(mapped.frames) == len(held.frames)
    assert torch.equal(mapped.frames[rows], held.frames[rows])
    assert torch.equal(mapped.frames[:, [3, 1]], held.frames[:, [3, 1]])
    assert torch.equal(mapped.frames[:, 2], held.frames[:, 2])
    for name in ("seen", "start", "length", "clip", "scale"):
        assert torch.equal(getattr(mapped, name), getattr(held, name)), name


@pytest.mark.parametrize("window, align", [("crop", "heading"), ("uniform", "pair"), ("crop", "none")])
def test_windows_are_the_same(window, align, stores, monkeypatch):
    settings = SamplingSettings(frames=24, window=window, align=align, scale="torso", min_crop_frames=8)
    ways = [Sampler(found, settings) for found in both(monkeypatch, stores[0])]
    track = torch.arange(12)
    samples = [sampler.sample(track, Draws(3, len(track))) for sampler in ways]
    assert torch.equal(samples[0].x, samples[1].x)
    assert torch.equal(samples[0].valid, samples[1].valid)
    assert torch.equal(*(sampler.test_view(track) for sampler in ways))


def test_mirrored_tracks_are_the_same(stores, monkeypatch):
    held, mapped = (mirror_tracks(found) for found in both(monkeypatch, stores[0]))
    rows = torch.arange(len(held.frames))
    assert torch.equal(mapped.frames[rows], held.frames)
    assert torch.equal(mapped.frames[:, [3, 1]], held.frames[:, [3, 1]])
    assert torch.equal(mapped.seen, held.seen)


def test_pre_training_is_the_same(tiny, tmp_path, monkeypatch):
    settings = make_settings(tiny, training_epochs=1)
    pretrain(settings, tmp_path / "held", quiet=True)
    monkeypatch.setattr(tracks, "fits", lambda size: False)
    pretrain(settings, tmp_path / "mapped", quiet=True)
    assert same(weights(tmp_path / "held"), weights(tmp_path / "mapped"))


def test_which_joints_are_finite():
    values = torch.tensor([0.0, -0.0, 65504.0, 6e-8, float("inf"), -float("inf"), float("nan"), -float("nan")])
    for dtype in (torch.float16, torch.float32):
        of = values.to(dtype)
        assert torch.equal(finite(of[:, None]), of.isfinite())
        assert finite(torch.stack([of, torch.ones_like(of)], -1)).tolist() == of.isfinite().tolist()


SCRIPT = """
import resource, sys
import torch
from kinemask.draws import Draws
from kinemask.store.opening import open_store
from kinemask.windows.sampler import Sampler
from kinemask.windows.settings import SamplingSettings
from kinemask.windows.tracks import Tracks
torch.set_num_threads(1)
def window(tracks):
    return Sampler(tracks, SamplingSettings(frames=24)).sample(torch.arange(0, len(tracks), 7), Draws(1, 29)).x
store = open_store(sys.argv[1])
tracks = Tracks(store)
assert type(tracks.frames) is torch.Tensor
before = window(tracks)
size = store.frames.nbytes
del tracks
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + size * 2 // 3  # the map itself is within what is taken already
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
tracks = Tracks(store)
print(type(tracks.frames).__name__, torch.equal(window(tracks), before))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits address space")
def test_with_little_address_space(tmp_path):
    """Two thirds of the frames' size are left, which a copy of them does not fit into."""
    body = recordings(SBU, count=1)[0].data[:1, :1].repeat(8000, 1)
    clip = recordings(SBU, count=1)[0]
    clips = (replace(clip, name=f"c{i}", data=body + i) for i in range(200))
    write_store(tmp_path / "store", clips, SBU, CLASSES)
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "store")]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["MappedFrames", "True"], done.stderr
    assert open_store(tmp_path / "store").frames.nbytes > 250e6
    assert Path("/proc/meminfo").exists()
    assert 0 < memory_left() < float("inf")

"""Features of clips: what `encode` gives, what protocols see, and raw coordinates beside them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers import make_settings
from kinemask.models.encoders import TrainedEncoder, load_encoder, placed
from kinemask.nn.readouts import mean_by
from kinemask.protocols.features import Features
from kinemask.skeleton import layout
from kinemask.store.format import Clip
from kinemask.store.writer import write_store
from kinemask.training.pretraining import pretrain
from kinemask.windows.parts import parts

CPU = torch.device("cpu")
DATA = Path(os.environ.get("KINEMASK_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))


def sampled(model: TrainedEncoder, **changes) -> TrainedEncoder:
    """The same encoder, sampling otherwise."""
    return TrainedEncoder(model.encoder, replace(model.sampling, **changes), model.record, model.readout)


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory) -> Path:
    return pretrain(make_settings(tiny, training_epochs=2), tmp_path_factory.mktemp("features") / "run", quiet=True)


def test_encode_is_the_mean_over_segments_joints_and_bodies(run, tiny):
    model = load_encoder(run)
    data = np.random.default_rng(0).normal(0, 0.3, (2, 24, 15, 3)).astype(np.float32)  # exactly the window
    model = sampled(model, test_crop=1.0)
    with torch.no_grad():
        tokens = model.encoder(torch.from_numpy(data))
    assert tokens.shape == (2, 8, 15, 16)
    torch.testing.assert_close(model.encode([data])[0], tokens.mean((0, 1, 2)), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(model.encode([data[0]])[0], tokens[0].mean((0, 1)), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("window", ["crop", "uniform"])
def test_a_recordings_features_do_not_depend_on_its_company(window, run):
    model = sampled(load_encoder(run), window=window)
    rng = np.random.default_rng(0)
    clips = [rng.normal(0, 0.3, (m, t, 15, 3)).astype(np.float32) for m, t in ((1, 5), (3, 80), (2, 30), (1, 24))]
    together = model.encode(clips, batch_size=2)
    assert together.shape == (4, 16)
    for clip, feature in zip(clips, together, strict=True):
        torch.testing.assert_close(model.encode([clip])[0], feature, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(model.encode(clips[::-1]), together.flip(0), atol=1e-5, rtol=1e-4)


def test_encode_takes_arrays_tensors_and_gaps(run):
    model = load_encoder(run)
    x = np.random.default_rng(0).normal(0, 0.3, (3, 40, 15, 3)).astype(np.float32)
    expected = model.encode(list(x))
    for given in (x, torch.from_numpy(x), x[:, None], [torch.from_numpy(a) for a in x], x.astype(np.float64)):
        torch.testing.assert_close(model.encode(given), expected)
    absent = np.concatenate([x[:, None], np.full_like(x[:, None], np.nan)], 1)  # absent bodies do not count
    torch.testing.assert_close(model.encode(absent), expected)
    order = np.stack([x[:2], x[1:]], 1)
    torch.testing.assert_close(model.encode(order), (expected[:2] + expected[1:]) / 2, atol=1e-5, rtol=1e-4)
    gaps = x.copy()
    gaps[:, 10:14, 3] = np.nan
    assert model.encode(gaps).isfinite().all()
    assert not model.encode(x).requires_grad


@pytest.mark.parametrize(
    ("x", "match"),
    [
        (np.zeros((2, 10, 14, 3)), "14, 3"),
        (np.zeros((2, 10, 15, 2)), "15, 2"),
        (np.zeros((10, 15)), "recording 0"),
        (np.full((1, 10, 15, 3), np.nan), "missing"),
        (np.full((1, 10, 15, 3), np.inf), "infinity"),
        ([], "no recordings"),
    ],
)
def test_encode_tells_what_does_not_fit(x, match, run):
    with pytest.raises(ValueError, match=match):
        load_encoder(run).encode(x)


def test_features_of_an_evaluation_are_those_of_encode(run, tiny):
    model = load_encoder(run)
    train, test = parts(tiny, "xsub", CPU, "fill")
    features = Features(model, train, test, precision="fp32")
    for part in (train, test):
        (found,) = features.test_views(part.tracks)
        torch.testing.assert_close(found, model.encode([tiny.clip(c) for c in part.clips]), atol=1e-5, rtol=1e-4)
        assert torch.equal(part.labels, torch.from_numpy(tiny.labels[part.clips]))
        assert (part.labels >= 0).all()  # the unlabelled clip takes no part
    views = sampled(model, test_crop=0.5, test_clips=3)
    assert len(Features(views, train, test).test_views(test.tracks)) == 3


def test_half_precision_features_are_nearly_the_same(run, tiny):
    given = load_encoder(run), *parts(tiny, "xsub", CPU, "fill")
    full, half = (Features(*given, precision=p).test_views(given[2].tracks)[0] for p in ("fp32", "bf16"))
    assert half.dtype == torch.float32
    assert 0 < (full - half).abs().max() < 0.05 * full.std()


def test_views_are_augmented_different_and_the_same_again(run, tiny):
    train, test = parts(tiny, "xsub", CPU, "fill")
    features = Features(load_encoder(run), train, test, precision="fp32")
    first, second = features.view(0), features.view(1)
    assert first.shape == (len(train.clips), 16)
    assert not torch.allclose(first, second)
    assert features.view(0) is first
    torch.testing.assert_close(features.fresh_view(0), first)


def test_mean_by():
    values = torch.arange(8.0).view(4, 2)
    assert mean_by(values, torch.tensor([0, 1, 1, 0]), 2).tolist() == [[3, 4], [3, 4]]


@pytest.mark.parametrize("stream", ["motion", "bone"])
def test_streams_are_as_trained(stream, tiny, tmp_path):
    run = pretrain(make_settings(tiny, training_epochs=1, sampling_stream=stream), tmp_path / "run", quiet=True)
    train, test = parts(tiny, "xsub", CPU, "fill")
    model = load_encoder(run)
    assert model.sampling.stream == stream
    found, joint = (
        Features(m, train, test).test_views(test.tracks)[0] for m in (model, sampled(model, stream="joint"))
    )
    assert not torch.allclose(found, joint, atol=1e-3)


def test_another_layout_is_told(run, tmp_path):
    of = layout("utd20")
    clip = Clip("one", np.random.default_rng(0).normal(size=(1, 9, 20, 3)), 0, {"split:x": "train"})
    store = write_store(tmp_path / "other", [clip], of, ["a"])
    with pytest.raises(ValueError, match=r"sbu15 \(15 joints\).*utd20 \(20 joints\)"):
        placed(load_encoder(run), store.layout, run, "the store")


@pytest.mark.parametrize("keep", [True, False])
def test_views_that_are_kept_are_encoded_once(keep, run, tiny):
    model, calls = load_encoder(run), []
    train, test = parts(tiny, "xsub", CPU, "fill")
    features = Features(model, train, test, keep=keep)
    model.encoder.register_forward_hook(lambda *given: calls.append(1))
    first, again = (features.test_views(test.tracks) for _ in range(2))
    assert len(calls) == (1 if keep else 2)
    torch.testing.assert_close(first, again)

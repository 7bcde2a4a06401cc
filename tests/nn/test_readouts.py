"""Readouts: one vector per clip, from the tokens of any encoder."""

from __future__ import annotations

import pytest
import torch

from kinemask.models.architectures import architecture
from kinemask.models.encoders import TrainedEncoder
from kinemask.nn.readouts import make_readout, mean_by, mean_of_joints, mean_of_tokens
from kinemask.nn.settings import ReadoutSettings
from kinemask.pretext import NAMES, method
from kinemask.skeleton import layout
from kinemask.windows.settings import SamplingSettings

ARCHITECTURES = sorted({method(name).architecture for name in NAMES})
CLIP_INDEX = torch.tensor([0, 1, 1, 2, 1])


def test_readouts_against_a_loop():
    encoded = torch.randn(5, 4, 3, 8)
    for readout, of_body in (
        (mean_of_tokens, lambda body: sum(body[p, v] for p in range(4) for v in range(3)) / 12),
        (mean_of_joints, lambda body: torch.cat([sum(body[p, v] for p in range(4)) / 4 for v in range(3)])),
    ):
        bodies = [of_body(body) for body in encoded]
        expected = [bodies[0], (bodies[1] + bodies[2] + bodies[4]) / 3, bodies[3]]
        torch.testing.assert_close(readout(encoded, CLIP_INDEX, 3), torch.stack(expected))


def test_means_are_taken_in_float32():
    encoded = torch.randn(5, 4, 3, 8).bfloat16()
    assert mean_of_tokens(encoded, CLIP_INDEX, 3).dtype == mean_of_joints(encoded, CLIP_INDEX, 3).dtype == torch.float32


def test_rows_of_a_clip_share_their_mean():
    values = torch.arange(10.0).view(5, 2)
    expected = torch.tensor([[0, 1], [14 / 3, 17 / 3], [6, 7]])
    torch.testing.assert_close(mean_by(values, CLIP_INDEX, 3), expected)


def own(encoded, clip_index, clips, x):
    """A readout of one's own: the last segment's first joint."""
    return mean_by(encoded[:, -1, 0], clip_index, clips)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize(("readout", "width"), [(mean_of_tokens, 8), (mean_of_joints, 15 * 8), (own, 8)])
def test_any_readout_goes_with_any_encoder(name, readout, width):
    chosen, sampling = architecture(name), SamplingSettings(frames=12)
    encoder = chosen.build(layout("sbu15"), 12, chosen.settings(layers=1, width=8))
    model = TrainedEncoder(encoder, sampling, {}, readout)
    clips = [torch.randn(2, 20, 15, 3), torch.randn(9, 15, 3)]
    features = model.encode(clips)
    assert features.shape == (2, width)
    torch.testing.assert_close(model.encode(clips[1:]), features[1:])
    plain = TrainedEncoder(encoder, sampling, {}).encode(clips)
    assert (features.shape == plain.shape and torch.equal(features, plain)) == (readout is mean_of_tokens)


def trained(readout, joints="all"):
    chosen, sampling = architecture("transformer"), SamplingSettings(frames=24)
    encoder = chosen.build(layout("sbu15"), 24, chosen.settings(layers=1, width=8, heads=2, joints=joints))
    return TrainedEncoder(encoder, sampling, {}, make_readout(readout, encoder)).eval()


@pytest.mark.parametrize("joints", ["all", "pruned"])
@pytest.mark.parametrize("over", ["mean", "joints", "parts"])
def test_pooling_against_a_loop(over, joints):
    """Two pieces of three segments each, mean, deviation and maximum, of one body."""
    settings = ReadoutSettings(over=over, pieces=[1, 2], statistics=["mean", "std", "max"])
    model = trained(settings, joints)
    x = torch.randn(1, 24, 15, 3)
    tokens = model.encoder(x)[0].detach()  # (P, V, D)
    kept = model.encoder.joints.tolist()
    groups = {
        "mean": [kept],
        "joints": [[v] for v in kept],
        "parts": [[v for v in joints if v in kept] for joints in model.layout.parts.values()],
    }[over]
    expected = []
    for piece in (tokens, tokens[:3], tokens[3:]):
        each = [piece[:, [kept.index(v) for v in group]].mean(1) for group in groups if group]
        for statistic in (lambda t: t.mean(0), lambda t: t.std(0, correction=0), lambda t: t.amax(0)):
            expected += [statistic(group) for group in each]
    found = model.clip_features(x, torch.tensor([0]), 1)[0]
    torch.testing.assert_close(found, torch.cat(expected))


def test_a_pair_stands_side_by_side():
    model = trained(ReadoutSettings(bodies="pair", pieces=[2]))
    x = torch.randn(4, 24, 15, 3)
    found = model.clip_features(x, torch.tensor([0, 0, 0, 1]), 2)  # a clip of three bodies, and of one
    alone = model.clip_features(x, torch.arange(4), 4)
    width = 2 * 8
    assert found.shape == (2, 2 * width + 2 * 3)
    torch.testing.assert_close(found[0, : 2 * width], torch.cat([alone[0, :width], alone[1, :width]]))
    torch.testing.assert_close(found[1, :width], alone[3, :width])
    assert (found[1, width:] == 0).all()
    way = x[1, :, model.layout.root] - x[0, :, model.layout.root]
    torch.testing.assert_close(found[0, 2 * width :], torch.cat([way[:12].mean(0), way[12:].mean(0)]))


def test_readouts_that_cannot_be_are_told():
    with pytest.raises(ValueError, match=r"readout\.pieces: 9 pieces of only 6 segments"):
        trained(ReadoutSettings(pieces=[9]))
    for wrong in ({"pieces": []}, {"pieces": [0]}, {"statistics": []}, {"statistics": ["mean", "mean"]}):
        with pytest.raises(ValueError, match=f"readout.{next(iter(wrong))}"):
            ReadoutSettings(**wrong)

"""Encoders moved to another skeleton: joints by name, positions in time resampled."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from helpers import same
from kinemask.nn.settings import EncoderSettings
from kinemask.nn.transformer import TransformerEncoder
from kinemask.skeleton import layout

OF = layout("sbu15")


def small_encoder(of=OF, frames=12, **changes) -> TransformerEncoder:
    torch.manual_seed(0)
    settings = EncoderSettings(**{"layers": 3, "width": 16, "heads": 2, "segment_frames": 3} | changes)
    return TransformerEncoder(of, frames, settings)


def test_joints_are_matched_by_name():
    before = small_encoder(layout("ntu25"))
    after, matched = before.transfer(layout("kinect20"), 12)
    here, there = before.layout.joints, after.layout.joints
    assert matched == [name for name in there if name in here]
    assert len(matched) == 17
    fresh = small_encoder(layout("kinect20"))
    for i, name in enumerate(there):
        own = after.embedding.spatial_position[0, i]
        if name in matched:
            assert torch.equal(own, before.embedding.spatial_position[0, here.index(name)])
        else:
            assert not (before.embedding.spatial_position[0] == own).all(1).any()
            assert own.abs().max() < 0.1
    for name, value in before.state_dict().items():
        if name != "embedding.spatial_position":
            assert torch.equal(value, after.state_dict()[name]), name
    assert fresh.state_dict().keys() == after.state_dict().keys()
    same_again, everything = before.transfer(layout("ntu25"), 12)
    assert everything == list(here)
    assert same(same_again.state_dict(), before.state_dict())


def test_pruned_joints_are_matched_too():
    before = small_encoder(layout("ntu25"), joints="pruned")
    after, matched = before.transfer(layout("kinect20"), 12)
    kept = lambda e: [e.layout.joints[j] for j in e.joints]
    assert matched == [name for name in kept(after) if name in kept(before)]
    for name in matched:
        a, b = (e.embedding.spatial_position[0, kept(e).index(name)] for e in (after, before))
        assert torch.equal(a, b)


def test_from_three_coordinates_to_two_and_to_other_windows():
    before = small_encoder(layout("ntu25"))
    after, matched = before.transfer(layout("coco17"), 24)
    assert set(matched) == set(layout("coco17").joints) & set(layout("ntu25").joints)
    x = torch.randn(2, 12, 25, 3)
    flat = torch.cat([x[..., :2], torch.zeros_like(x[..., :1])], -1)
    a = before.embedding.tokenize(flat, torch.tensor([5]))
    b = after.embedding.tokenize(torch.nn.functional.pad(x[:, :, [5] * 17, :2], (0, 0, 0, 0, 0, 12)), torch.tensor([3]))
    torch.testing.assert_close(a, b[:, :4])
    expected = F.interpolate(before.embedding.temporal_position[:, 0].T[None], 8, mode="linear", align_corners=False)[
        0
    ].T
    torch.testing.assert_close(after.embedding.temporal_position[:, 0], expected)
    back, _ = after.transfer(layout("ntu25"), 12)
    w = lambda e: e.embedding.tokenizer.weight.view(16, 3, -1)
    assert torch.equal(w(back)[..., :2], w(before)[..., :2])

"""Streams side by side: what a token is made of."""

import pytest
import torch

from helpers import same
from kinemask.nn.settings import EncoderSettings
from kinemask.nn.transformer import TransformerEncoder
from kinemask.pretext import NAMES, method
from kinemask.skeleton import layout
from kinemask.training.settings import Settings
from kinemask.windows.streams import fuse
from tasks import again, make, make_batch

ALL = ["joint", "velocity", "bone", "root"]


@pytest.mark.parametrize("of", ["ntu25", "coco17"])
def test_streams_stand_side_by_side(of):
    joints, x = layout(of), make_batch(of).x
    fused = fuse(x, ALL, torch.tensor(joints.parents), joints.root)
    position, velocity, bone, root = fused.unflatten(-1, (len(ALL), joints.dims)).unbind(-2)
    assert torch.equal(position, x)
    torch.testing.assert_close(velocity[:, :-1] * 8 / x.shape[1], x[:, 1:] - x[:, :-1])
    assert (velocity[:, -1] == 0).all()
    for v, parent in enumerate(joints.parents):
        torch.testing.assert_close(bone[:, :, v], x[:, :, v] - x[:, :, parent])
        assert torch.equal(root[:, :, v], x[:, :, joints.root])
    assert fuse(x, ["joint"], torch.tensor(joints.parents), joints.root) is x


def test_bones_of_ntu_beside_the_released_codes():
    """Joint and where its bone comes from, counted from 1, as the released stream code has them: as the page says."""
    first = [2, 21, 21, 3, 21, 5, 6, 7, 21, 9, 10, 11, 1, 13, 14, 15, 1, 17, 18, 19, 21]  # of joints 1 to 21
    released = dict(enumerate([*first, 23, 8, 25, 12], 1))
    ntu = layout("ntu25")
    differ = {name for v, name in enumerate(ntu.joints) if released[v + 1] != ntu.parents[v] + 1}
    assert differ == {"spine_mid", "spine_shoulder", "left_hand_tip", "right_hand_tip"}


def test_a_token_knows_its_streams_alone():
    """Velocity and bone do not see where the body is; joint and root do."""
    x = make_batch("ntu25").x
    for streams, sees in ((["velocity", "bone"], False), (["joint", "velocity"], True), (["velocity", "root"], True)):
        torch.manual_seed(0)
        settings = EncoderSettings(layers=1, width=8, heads=1, segment_frames=3, joints="pruned", streams=streams)
        encoder = TransformerEncoder(layout("ntu25"), x.shape[1], settings)
        assert torch.allclose(encoder.embed(x), encoder.embed(x + 1.0), atol=1e-5) != sees


@pytest.mark.parametrize("name", [name for name in NAMES if method(name).architecture == "transformer"])
def test_every_transformer_method_trains_on_them(name):
    task, batch = make(name, encoder={"streams": ALL}), make_batch()
    task(again(batch))["loss"].backward()
    weight = task.encoder.embedding.tokenizer.weight
    of = weight.grad.unflatten(1, (3, len(ALL), 3)).abs().sum((0, 1, 3))
    assert (of > 0).all()  # every stream is learned from


def test_streams_move_with_an_encoder():
    settings = EncoderSettings(layers=1, width=8, heads=1, segment_frames=3, streams=["joint", "bone"])
    encoder = TransformerEncoder(layout("ntu25"), 12, settings)
    again_3d, _ = encoder.transfer(layout("ntu25"), 12)
    assert same(again_3d.state_dict(), encoder.state_dict())
    flat, _ = encoder.transfer(layout("coco17"), 12)
    here, there = (e.embedding.tokenizer.weight.unflatten(1, (3, 2, -1)) for e in (flat, encoder))
    assert torch.equal(here, there[..., :2])


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match=r"encoder\.streams must be some of joint, velocity, bone, root"):
        EncoderSettings(streams=["joint", "joint"])
    changes = {"data": "d", "split": "s", "encoder.streams": ["joint", "bone"], "sampling.stream": "bone"}
    with pytest.raises(ValueError, match=r"sampling\.stream must be joint, not bone"):
        Settings.from_recipe("mamp-demo", changes)

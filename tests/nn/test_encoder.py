"""The encoder contract, for every architecture: an embedding that belongs to a layout, a trunk that knows of none."""

from __future__ import annotations

import pytest
import torch

from kinemask.models.architectures import architecture
from kinemask.nn.encoder import segment
from kinemask.pretext import NAMES, method
from kinemask.skeleton import layout

ARCHITECTURES = sorted({method(name).architecture for name in NAMES})
LAYOUTS = ("sbu15", "coco17", "ntu25")
FRAMES = 12
SMALL = {"layers": 2, "width": 16}

pytestmark = pytest.mark.parametrize("name", ARCHITECTURES)


def make(name, of="sbu15", frames=FRAMES, seed=0, **settings):
    chosen = architecture(name)
    torch.manual_seed(seed)
    return chosen.build(layout(of), frames, chosen.settings(**SMALL | settings)).eval()


def bodies(of="sbu15", count=3, frames=FRAMES):
    shape = (count, frames, layout(of).num_joints, layout(of).dims)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("joints", ["all", "pruned"])
@pytest.mark.parametrize("of", LAYOUTS)
@torch.no_grad()
def test_forward_is_embed_project_encode(name, of, joints):
    encoder, x = make(name, of, joints=joints), bodies(of)
    grid = 3, encoder.segments, encoder.num_joints, 16
    assert encoder.architecture == name
    assert encoder.tokens == encoder.segments * encoder.num_joints
    assert (encoder.frames, encoder.width, encoder.layout) == (FRAMES, 16, layout(of))
    assert encoder.joints.tolist() == list(layout(of).kept(joints))
    embedded = encoder.embed(x)
    assert embedded.shape == encoder.project(embedded).shape == encoder(x).shape == grid
    tokens = encoder.project(embedded).flatten(1, 2)
    assert torch.equal(encoder.encode(tokens).view(grid), encoder(x))


@torch.no_grad()
def test_a_token_is_a_joint_in_a_segment(name):
    """Token (p, v) is p*V + v, and its embedding sees nothing else."""
    encoder, x = make(name), bodies()
    p, v = encoder.segments - 2, 4
    moved = x.clone()
    moved[:, p * encoder.settings.segment_frames, encoder.joints[v]] += 1
    changed = (encoder.embed(x) != encoder.embed(moved)).any(-1).flatten(1)
    assert changed.nonzero()[:, 1].unique().tolist() == [p * encoder.num_joints + v]


@torch.no_grad()
def test_intermediates_are_of_every_layer_and_all_tokens(name):
    encoder, x = make(name), bodies()
    tokens = encoder.project(encoder.embed(x)).flatten(1, 2)
    layers = encoder.intermediates(tokens)
    assert [layer.shape for layer in layers] == [tokens.shape] * SMALL["layers"]
    assert not torch.equal(*layers)


@torch.no_grad()
def test_shortened_to_its_first_layer(name):
    encoder, x = make(name, joints="pruned"), bodies()
    short, tokens = encoder.shortened(1), encoder.project(encoder.embed(x)).flatten(1, 2)
    assert (type(short), short.settings.layers, encoder.settings.layers) == (type(encoder), 1, SMALL["layers"])
    if name == "graph":
        expected = encoder.intermediates(tokens)[0]
    else:
        expected = encoder.trunk.norm(encoder.trunk.blocks[0](tokens))
    torch.testing.assert_close(short(x).flatten(1, 2), expected)
    assert encoder.shortened(SMALL["layers"]) is encoder
    assert encoder.double().shortened(1).embedding.tokenizer.weight.dtype == torch.float64
    for layers in (0, 9):
        with pytest.raises(ValueError, match=rf"{layers} layers of an encoder that has {SMALL['layers']}"):
            encoder.shortened(layers)


@pytest.mark.parametrize("joints", ["all", "pruned"])
def test_a_token_is_valid_if_one_of_its_frames_is(name, joints):
    encoder = make(name, joints=joints)
    valid = torch.rand(3, FRAMES, 15, generator=torch.Generator().manual_seed(0)) > 0.7
    found = encoder.validity(valid)
    S, V = encoder.settings.segment_frames, encoder.num_joints
    for b in range(3):
        for p in range(encoder.segments):
            for v, joint in enumerate(encoder.joints.tolist()):
                assert found[b, p * V + v] == valid[b, p * S : p * S + S, joint].any()
    assert segment(valid[:, :, encoder.joints, None], S).shape[:3] == (3, encoder.segments, V)


def test_parameters_by_depth_are_all_parameters_once_but_the_final_norm(name):
    encoder = make(name)
    norm = getattr(encoder.trunk, "norm", None)
    final = {id(p) for p in norm.parameters()} if norm is not None else set()
    groups = encoder.depth_groups()
    assert len(groups) == 1 + SMALL["layers"]
    assert {id(p) for p in groups[0]} == {id(p) for p in encoder.embedding.parameters()}
    found = [id(p) for group in groups for p in group]
    assert sorted(found) == sorted(id(p) for p in encoder.parameters() if id(p) not in final)


@torch.no_grad()
def test_coordinates_are_tokenized_in_float32_under_autocast(name):
    """bfloat16 keeps eight bits of a coordinate, less than what moves from frame to frame."""
    encoder, x = make(name), bodies() + 3.0
    whole = encoder.embed(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(encoder.embed(x), whole)
        assert encoder.embedding.tokenizer(x.flatten(2)[..., : encoder.embedding.tokenizer.in_features]).dtype == (
            torch.bfloat16
        ), "autocast is off"


@pytest.mark.filterwarnings("ignore:drop path .* has no effect")
@torch.no_grad()
def test_drop_path_is_for_training_alone(name):
    encoder, x = make(name), bodies()
    before = encoder(x)
    encoder.set_drop_path(0.5)
    assert torch.equal(encoder(x), before)


@pytest.mark.parametrize("of", LAYOUTS)
def test_the_trunk_knows_no_layout_and_no_window(name, of):
    here, there = make(name).trunk.state_dict(), make(name, of, frames=24).trunk.state_dict()
    assert {k: v.shape for k, v in here.items()} == {k: v.shape for k, v in there.items()}


@torch.no_grad()
def test_fresh_is_another_encoder_of_the_same_settings(name):
    encoder = make(name)
    other = encoder.fresh(layout("coco17"), 24)
    assert type(other) is type(encoder)
    assert (other.layout.name, other.frames, other.settings) == ("coco17", 24, encoder.settings)
    assert not torch.equal(encoder.fresh(encoder.layout, FRAMES)(bodies()), encoder(bodies()))


@torch.no_grad()
def test_moved_to_its_own_skeleton_it_is_itself(name):
    encoder = make(name)
    moved, matched = encoder.transfer(encoder.layout, FRAMES)
    assert matched == list(encoder.layout.joints)
    assert torch.equal(moved(bodies()), encoder(bodies()))


@pytest.mark.parametrize("joints", ["all", "pruned"])
@pytest.mark.parametrize(("of", "to"), [("ntu25", "kinect20"), ("coco17", "ntu25"), ("ntu25", "coco17")])
def test_moved_to_another_skeleton_joints_go_by_name(name, of, to, joints):
    encoder = make(name, of, joints=joints)
    moved, matched = encoder.transfer(layout(to), 24)
    assert matched == [joint for joint in moved.embedding.names if joint in encoder.embedding.names]
    assert matched
    for key, value in encoder.trunk.state_dict().items():
        assert torch.equal(value, moved.trunk.state_dict()[key]), key
    assert moved(bodies(to, frames=24)).shape == (3, moved.segments, moved.num_joints, 16)

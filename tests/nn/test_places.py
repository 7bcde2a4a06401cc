"""Places of joints by their names, and encoders whose positions follow from them."""

import itertools

import numpy as np
import pytest
import torch

from helpers import same
from kinemask.nn.places import COMMON, WIDTH, carried, codes, common, places
from kinemask.nn.settings import EncoderSettings
from kinemask.nn.transformer import TransformerEncoder
from kinemask.pretext import NAMES, method
from kinemask.skeleton import Layout, layout, layouts
from tasks import again, make, make_batch


@pytest.mark.parametrize("name", layouts())
def test_every_shipped_layout_has_places_and_the_common_joints(name):
    joints = layout(name)
    found = places(joints)
    for left, right in joints.pairs:
        assert found[left].along == found[right].along
        assert found[left].limb.removeprefix("left") == found[right].limb.removeprefix("right")
    for joint, place in zip(joints.joints, found, strict=True):
        if "elbow" in joint or "knee" in joint:
            assert place.along == 0.5
    weights = common(joints)
    assert weights.shape == (len(COMMON), joints.num_joints)
    np.testing.assert_allclose(weights.sum(1), 1)
    for left, right in joints.pairs:  # what stands in the middle stands there
        np.testing.assert_allclose(weights[:4, left], weights[:4, right])


@pytest.mark.parametrize("name", layouts())
def test_ntu25_is_carried_onto_every_shipped_layout(name):
    ntu, other = layout("ntu25"), layout(name)
    weights = carried(ntu, other)
    assert weights.shape == (other.num_joints, 25)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-6)
    for v, joint in enumerate(other.joints):
        if joint in ("left_elbow", "right_knee", "left_wrist", "right_ankle"):
            assert weights[v, ntu.index(joint)] == 1
    for (left, right), side in itertools.product(other.pairs, ("left", "right")):
        of_side = [v for v, joint in enumerate(ntu.joints) if joint.startswith(side)]
        assert not weights[right if side == "left" else left, of_side].any()
    assert np.array_equal(carried(ntu, ntu), np.eye(25, dtype=np.float32))


def test_the_same_joint_has_the_same_code_in_every_layout():
    ntu, utd = layout("ntu25"), layout("utd20")
    for name in ("left_elbow", "right_knee", "head", "left_hand"):
        assert np.array_equal(codes(ntu)[ntu.index(name)], codes(utd)[utd.index(name)])
    assert codes(ntu).shape == (25, WIDTH)
    assert len(np.unique(codes(layout("sbu15")), axis=0)) == 15  # no two joints of it are in one place


def test_a_trunk_is_made_of_hips_and_shoulders_where_it_is_lacking():
    coco, x = layout("coco17"), make_batch("coco17").x
    pelvis, middle, neck = (common(coco) @ x[0, 0].numpy())[:3]
    of = lambda name: x[0, 0, [coco.index(f"{side}_{name}") for side in ("left", "right")]].mean(0).numpy()
    np.testing.assert_allclose(pelvis, of("hip"), rtol=1e-5)
    np.testing.assert_allclose(neck, of("shoulder"), rtol=1e-5)
    np.testing.assert_allclose(middle, (of("hip") + of("shoulder")) / 2, rtol=1e-5, atol=1e-6)


def test_joints_without_a_known_name_lie_where_the_tree_has_them():
    parents = {"middle": None, "gut": "middle", "skull": "gut", "claw": "gut", "claw_tip": "claw", "stump": "middle"}
    parts = {
        "head": ["skull"],
        "torso": ["middle", "gut"],
        "left_arm": ["claw", "claw_tip"],
        "right_arm": [],
        "left_leg": ["stump"],
        "right_leg": [],
    }
    body = {"name": "strange", "dims": 3, "joints": [*parents], "parents": parents, "parts": parts}
    strange = Layout.from_dict(body | {"torso": ["middle", "gut"]})
    assert [(p.limb, p.along) for p in places(strange)] == [
        ("trunk", 0),
        ("trunk", 1),
        ("head", 0),
        ("left_arm", 0),
        ("left_arm", 1),
        ("left_leg", 0),
    ]
    with pytest.raises(ValueError, match="layout strange has no joint of the right arm"):
        common(strange)


def named(of: str, frames: int = 24) -> TransformerEncoder:
    torch.manual_seed(0)
    settings = EncoderSettings(layers=2, width=16, heads=2, segment_frames=3, positions="named")
    return TransformerEncoder(layout(of), frames, settings)


def test_an_encoder_with_named_positions_is_the_same_on_every_layout():
    ntu = named("ntu25")
    utd, matched = ntu.transfer(layout("utd20"), 24)
    assert matched == list(layout("utd20").joints)
    assert same(utd.state_dict(), ntu.state_dict())
    # joints of one name give tokens of one value, whatever the layout
    x, both = make_batch("ntu25").x, sorted(set(layout("ntu25").joints) & set(layout("utd20").joints))
    here, there = ([layout(of).index(name) for name in both] for of in ("ntu25", "utd20"))
    y = torch.zeros(len(x), 24, 20, 3)
    y[:, :, there] = x[:, :, here]
    torch.testing.assert_close(utd.embed(y)[:, :, there], ntu.embed(x)[:, :, here])


@pytest.mark.parametrize("name", [name for name in NAMES if method(name).architecture == "transformer"])
def test_every_transformer_method_trains_with_them(name):
    task, batch = make(name, encoder={"positions": "named"}), make_batch()
    task(again(batch))["loss"].backward()
    assert task.encoder.embedding.place_map.weight.grad.abs().sum() > 0
    per_joint = [k for k, v in task.named_parameters() if 15 in v.shape]
    assert not per_joint  # no weight belongs to a joint of the layout

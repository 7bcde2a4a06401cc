"""Graph layers against loops and torch_geometric, and the encoder that is made of them."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch
from torch import nn

from kinemask.nn.graph import (
    GAT,
    GCN,
    GIN,
    GraphEncoder,
    contract,
)
from kinemask.nn.settings import GraphEncoderSettings
from kinemask.skeleton import layout, layouts
from tasks import (
    graph_encoder,
    noise_batch,
)

T, B, D = 6, 3, 8
SETS = [(name, joints) for name in layouts() for joints in ("all", *layout(name).dropped)]


def layer(kind) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A layer in float64 with random parameters, features (2, 3, V, D) and the adjacency of coco17."""
    torch.manual_seed(0)
    made = {"gin": lambda: GIN(D), "gcn": lambda: GCN(D), "gat": lambda: GAT(D, 2)}[kind]().double()
    for p in made.parameters():
        nn.init.normal_(p, std=0.5)
    return made, torch.randn(2, 3, 17, D).double(), torch.from_numpy(layout("coco17").adjacency()).double()


def by_loop(kind, made, h, adjacency):
    """One frame, joint by joint: h (V, D)."""
    neighbours = [np.flatnonzero(row).tolist() for row in adjacency.numpy()]
    out = []
    for v, near in enumerate(neighbours):
        if kind == "gin":
            out.append(made.mlp((1 + made.epsilon) * h[v] + sum(h[u] for u in near)))
        elif kind == "gcn":
            degree = [len(n) + 1 for n in neighbours]
            terms = [h[u] / (degree[u] * degree[v]) ** 0.5 for u in [*near, v]]
            out.append(sum(terms) @ made.linear.weight.T + made.bias)
        else:
            heads = []
            for query, key, weight in zip(made.to_query, made.to_key, made.linear.weight.view(2, -1, D), strict=True):
                z = [weight @ h[u] for u in range(len(h))]
                score = torch.stack([query @ z[v] + key @ z[u] for u in [*near, v]])
                share = torch.where(score > 0, score, 0.2 * score).softmax(0)
                heads.append(sum(a * z[u] for a, u in zip(share, [*near, v], strict=True)))
            out.append(torch.cat(heads) + made.bias)
    return torch.stack(out)


@pytest.mark.parametrize("kind", ["gin", "gcn", "gat"])
def test_layers_against_a_loop(kind):
    made, h, adjacency = layer(kind)
    found = made(h, adjacency)
    for frame in (0, 0), (1, 2):
        torch.testing.assert_close(found[frame], by_loop(kind, made, h[frame], adjacency))


@pytest.mark.parametrize("kind", ["gin", "gcn", "gat"])
def test_layers_against_torch_geometric(kind):
    geometric = pytest.importorskip("torch_geometric.nn")
    made, h, adjacency = layer(kind)
    theirs = {
        "gin": lambda: geometric.GINConv(made.mlp, train_eps=True),
        "gcn": lambda: geometric.GCNConv(D, D),
        "gat": lambda: geometric.GATConv(D, D // 2, heads=2),
    }[kind]().double()
    with torch.no_grad():
        if kind == "gin":
            theirs.eps.copy_(made.epsilon)
        else:
            theirs.lin.weight.copy_(made.linear.weight)
            theirs.bias.copy_(made.bias)
        if kind == "gat":
            theirs.att_dst.copy_(made.to_query[None])
            theirs.att_src.copy_(made.to_key[None])
    edges = adjacency.nonzero().T
    for frame in (0, 0), (1, 2):
        torch.testing.assert_close(made(h, adjacency)[frame], theirs(h[frame], edges))


@pytest.mark.parametrize("kind", ["gin", "gcn", "gat"])
def test_frames_with_graphs_of_their_own(kind):
    made, h, adjacency = layer(kind)
    cut = torch.rand(2, 3, 17, 17, generator=torch.Generator().manual_seed(0)) < 0.3
    own = adjacency * ~(cut | cut.mT)
    found = made(h, own)
    for frame in (0, 0), (1, 2):
        torch.testing.assert_close(found[frame], made(h[frame], own[frame]))
        torch.testing.assert_close(found[frame], by_loop(kind, made, h[frame], own[frame]))


@pytest.mark.parametrize(("of", "joints"), SETS)
def test_joints_on_either_side_of_dropped_ones_are_neighbours(of, joints):
    joints_of = layout(of)
    kept, near = joints_of.kept(joints), joints_of.adjacency()
    found = contract(near, kept)
    for i, v in enumerate(kept):
        reached, walk = {v}, [v]
        while walk:  # on from the joint itself and from dropped ones alone
            here = walk.pop()
            new = set(np.flatnonzero(near[here]).tolist()) - reached
            reached |= new
            walk += [u for u in new if u not in kept]
        assert {kept[j] for j in np.flatnonzero(found[i])} == (reached & set(kept)) - {v}
    body = graph_encoder(of, joints=joints)
    assert torch.equal(body.embedding.adjacency, torch.from_numpy(found))
    assert joints != "all" or np.array_equal(found, near)


@pytest.mark.parametrize("kind", ["gin", "gcn", "gat"])
@pytest.mark.parametrize("layers", [1, 2])
def test_a_joint_sees_as_far_as_there_are_layers_and_no_other_frame(kind, layers):
    body = graph_encoder(kind=kind, layers=layers).double()
    reach = torch.linalg.matrix_power(body.embedding.adjacency + torch.eye(17), layers) > 0
    x = noise_batch().x.double()
    moved = x.clone()
    moved[:, 2, 9] += 1.0  # the left wrist, in one frame
    with torch.no_grad():
        changed = (body(x) != body(moved)).any(-1)
    assert not changed[:, [0, 1, 3, 4, 5]].any()
    assert torch.equal(changed[:, 2], reach[9].double().bool().expand(B, 17))


@pytest.mark.parametrize(
    ("option", "value"), [("kind", "gcn"), ("layers", 2), ("width", 16), ("joints", "pruned"), ("heads", 2)]
)
def test_every_option_of_the_encoder_changes_its_output(option, value):
    base = {"kind": "gat"} if option == "heads" else {}
    outs = [graph_encoder(**o)(noise_batch().x) for o in (base, base | {option: value})]
    assert outs[0].shape != outs[1].shape or not torch.allclose(*outs)
    assert {f.name for f in fields(GraphEncoderSettings)} == {"kind", "layers", "width", "joints", "heads"}


OWN = """
dims: 2
joints: [hip, head, left_hand, right_hand, left_foot, right_foot]
parents: {hip: null, head: hip, left_hand: hip, right_hand: hip, left_foot: hip, right_foot: hip}
parts: {head: [head], torso: [hip], left_arm: [left_hand], right_arm: [right_hand], left_leg: [left_foot],
        right_leg: [right_foot]}
torso: [hip]
torso_length: [[head], [hip]]
pairs: [[left_hand, right_hand], [left_foot, right_foot]]
edges: [[hip, head], [hip, left_hand], [hip, left_foot], [hip, right_foot]]
dropped: {limbs: [left_hand, right_hand, left_foot, right_foot], middle: [hip]}
"""


@pytest.mark.parametrize("kind", ["gin", "gcn", "gat"])
@pytest.mark.parametrize("joints", ["all", "limbs", "middle"])
def test_a_layout_of_ones_own_even_with_a_joint_that_no_bone_reaches(tmp_path, kind, joints):
    (tmp_path / "own.yaml").write_text(OWN)
    of = layout(tmp_path / "own.yaml")
    body = GraphEncoder(of, T, GraphEncoderSettings(kind=kind, width=D, joints=joints))
    left = {"all": [4, 1, 1, 0, 1, 1], "limbs": [1, 1], "middle": [3, 3, 0, 3, 3]}  # neighbours
    assert body.embedding.adjacency.sum(1).tolist() == left[joints]
    out = body(torch.randn(B, T, 6, 2))
    assert out.shape == (B, T, len(left[joints]), D)
    assert out.isfinite().all()


@pytest.mark.parametrize("kind", ["gin", "gat"])
def test_moved_to_another_skeleton_the_weights_stay(kind):
    body = graph_encoder(kind=kind)
    moved, shared = body.transfer(layout("penn13"), 9)
    assert (moved.segments, moved.num_joints, moved.tokens) == (9, 13, 117)
    assert shared == [name for name in layout("penn13").joints if name != "head"]
    assert all(torch.equal(a, b) for a, b in zip(body.parameters(), moved.parameters(), strict=True))
    same = body.transfer(body.layout, T)[0]
    assert torch.equal(same(noise_batch().x), body(noise_batch().x))
    deep, _ = body.transfer(layout("ntu25"), T)
    assert torch.equal(deep.embedding.tokenizer.weight[:, :2], body.embedding.tokenizer.weight)
    assert deep(noise_batch("ntu25").x).shape == (B, T, 25, D)

"""SkeletonMAE: graph layers against loops and torch_geometric, masks of body parts, its loss, and STRL."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch import nn

from conftest import recording
from kinemask.arguments import flatten
from kinemask.draws import Draws
from kinemask.models.classifiers import build_classifier
from kinemask.nn.graph import (
    GAT,
    GCN,
    GIN,
    GraphDecoder,
    GraphEncoder,
    contract,
)
from kinemask.nn.settings import EncoderSettings, GraphDecoderSettings, GraphEncoderSettings, HeadSettings
from kinemask.nn.strl import STRL, MultiScaleTemporal
from kinemask.nn.transformer import TransformerEncoder
from kinemask.pretext import method
from kinemask.pretext.settings import SkeletonMAESettings
from kinemask.pretext.skeletonmae import SkeletonMAE
from kinemask.protocols.finetune import FinetuneSettings
from kinemask.recipes import recipes
from kinemask.skeleton import PARTS, layout, layouts
from kinemask.store.format import Clip
from kinemask.store.writer import write_store
from kinemask.training.settings import Settings
from kinemask.windows.sampler import Batch, Sampler
from kinemask.windows.settings import SamplingSettings
from kinemask.windows.tracks import Tracks

T, B, D = 6, 3, 8
SETS = [(name, joints) for name in layouts() for joints in ("all", *layout(name).dropped)]


def encoder(of="coco17", frames=T, seed=0, **settings) -> GraphEncoder:
    torch.manual_seed(seed)
    return GraphEncoder(layout(of), frames, GraphEncoderSettings(**({"width": D} | settings)))


def make(of="coco17", body=None, decoder=1, **settings) -> SkeletonMAE:
    return SkeletonMAE(body or encoder(of), GraphDecoderSettings(layers=decoder), SkeletonMAESettings(**settings))


def make_batch(of="coco17", count=B, seed=0) -> Batch:
    joints = layout(of)
    x = torch.randn(count, T, joints.num_joints, joints.dims, generator=torch.Generator().manual_seed(seed))
    return Batch(x, torch.ones(x.shape[:3], dtype=torch.bool), Draws(seed, count))


def again(batch, seed=0, **changes):
    return replace(batch, draws=Draws(seed, len(batch.x)), **changes)


def layer(kind) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A layer in float64 with random parameters, features (2, 3, V, D) and the adjacency of coco17."""
    torch.manual_seed(0)
    made = {"gin": lambda: GIN(D), "gcn": lambda: GCN(D), "gat": lambda: GAT(D, 2)}[kind]().double()
    for p in made.parameters():
        nn.init.normal_(p, std=0.5)
    return made, torch.randn(2, 3, 17, D).double(), torch.from_numpy(layout("coco17").adjacency()).double()


# layers


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
    body = encoder(of, joints=joints)
    assert torch.equal(body.embedding.adjacency, torch.from_numpy(found))
    assert joints != "all" or np.array_equal(found, near)


# encoder


@pytest.mark.parametrize("kind", ["gin", "gcn", "gat"])
@pytest.mark.parametrize("layers", [1, 2])
def test_a_joint_sees_as_far_as_there_are_layers_and_no_other_frame(kind, layers):
    body = encoder(kind=kind, layers=layers).double()
    reach = torch.linalg.matrix_power(body.embedding.adjacency + torch.eye(17), layers) > 0
    x = make_batch().x.double()
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
    outs = [encoder(**o)(make_batch().x) for o in (base, base | {option: value})]
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


def test_parameters_by_depth():
    body = encoder()
    groups = body.depth_groups()
    assert len(groups) == 1 + body.settings.layers
    listed = [id(p) for group in groups for p in group]
    assert sorted(listed) == sorted(id(p) for p in body.parameters())
    with pytest.warns(UserWarning, match="no effect"):
        body.set_drop_path(0.1)
    body.set_drop_path(0.0)


def test_intermediates_end_with_what_the_encoder_gives():
    body, batch = encoder(), make_batch()
    layers = body.intermediates(body.embed(batch.x).flatten(1, 2))
    assert len(layers) == body.settings.layers
    assert torch.equal(layers[-1].view(B, T, 17, D), body(batch.x))
    assert not torch.equal(layers[-2], layers[-1])


@pytest.mark.parametrize("kind", ["gin", "gat"])
def test_moved_to_another_skeleton_the_weights_stay(kind):
    body = encoder(kind=kind)
    moved, shared = body.transfer(layout("penn13"), 9)
    assert (moved.segments, moved.num_joints, moved.tokens) == (9, 13, 117)
    assert shared == [name for name in layout("penn13").joints if name != "head"]
    assert all(torch.equal(a, b) for a, b in zip(body.parameters(), moved.parameters(), strict=True))
    same = body.transfer(body.layout, T)[0]
    assert torch.equal(same(make_batch().x), body(make_batch().x))
    deep, _ = body.transfer(layout("ntu25"), T)
    assert torch.equal(deep.embedding.tokenizer.weight[:, :2], body.embedding.tokenizer.weight)
    assert deep(make_batch("ntu25").x).shape == (B, T, 25, D)


# masks


@pytest.mark.parametrize("of", layouts())
@pytest.mark.parametrize(
    "parts", [*([part] for part in PARTS), ["right_arm", "right_leg"], ["left_arm", "left_leg"], list(PARTS[1:])]
)
def test_parts_are_masked_in_every_frame(of, parts):
    task, joints = make(of, parts=parts), layout(of)
    masked = task.predict(make_batch(of))[0].masked.sort(1).values
    expected = sorted(v for part in parts for v in joints.parts[part])
    tokens = [p * joints.num_joints + v for p in range(T) for v in expected]
    assert masked.tolist() == [tokens] * B


@pytest.mark.parametrize(("settings", "count"), [({}, 4), ({"masked_joints": 9}, 9), ({"parts": ["head"]}, 5)])
def test_as_many_joints_at_random_in_every_frame(settings, count):
    task = make(**{"masked_joints": 0} | settings)
    batch = make_batch(count=200)
    mask = task.predict(batch)[0]
    hidden = torch.zeros(200, T * 17).scatter(1, mask.masked, 1.0).view(200, T, 17)
    assert (hidden.sum(-1) == count).all()
    assert (hidden[:, 0] != hidden[:, 1]).any(-1).float().mean() > 0.9
    assert (hidden.mean((0, 1)) - count / 17).abs().max() < 6 * (0.25 / 1200) ** 0.5


def test_parts_drawn_anew_are_whole_and_the_same_for_a_batch():
    task, drawn = make(random_parts=2), set()
    for seed in range(40):
        batch = again(make_batch(), seed)
        masked = task.predict(batch)[0].masked
        joints = sorted(set((masked % 17).flatten().tolist()))
        assert masked.sort(1).values.tolist() == [[p * 17 + v for p in range(T) for v in joints]] * B
        whole = [part for part in PARTS if set(layout("coco17").parts[part]) <= set(joints)]
        assert sum(len(layout("coco17").parts[part]) for part in whole) == len(joints)
        assert len(whole) == 2
        drawn.add(tuple(whole))
        part_of_it = Batch(batch.x[1:], batch.valid[1:], Draws(seed, B, slice(1, B)))
        assert torch.equal(task.predict(part_of_it)[0].masked, masked[1:])
    assert len(drawn) > 8


def test_joints_not_seen_are_the_first_to_be_masked_at_random():
    batch = make_batch(count=20)
    batch.valid[:, 1, :3] = False
    keep = make(masked_joints=0).predict(batch)[0].keep
    assert not {17, 18, 19} & set(keep.flatten().tolist())


def test_the_mask_token_enters_and_what_it_hides_does_not():
    task, batch = make(), make_batch()
    seen = []
    task.encoder.trunk.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    predicted = task.predict(again(batch)).predicted
    hidden = [v for part in ("right_arm", "right_leg") for v in layout("coco17").parts[part]]
    kept = [v for v in range(17) if v not in hidden]
    assert torch.equal(seen[0][:, :, hidden], task.mask_token.expand(B, T, 4, D))
    assert torch.equal(seen[0][:, :, kept], task.encoder.embed(batch.x)[:, :, kept])
    moved = batch.x.clone()
    moved[:, :, hidden] += 1
    assert torch.equal(task.predict(again(batch, x=moved)).predicted, predicted)


@pytest.mark.parametrize(
    "settings",
    [
        {"random_parts": 2},
        {"masked_joints": 0},
        {"masked_joints": 7},
        {"parts": ["left_arm"]},
        {"target": "coordinates"},
        {"beta": 1.0},
    ],
)
def test_every_option_changes_the_loss(settings):
    tasks = [make(**o) for o in ({}, settings)]
    for task in tasks:
        nn.init.ones_(task.mask_token)
    values = [task(again(make_batch()))["loss"].item() for task in tasks]
    assert values[0] != values[1]


# loss


@pytest.mark.parametrize("beta", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("target", ["features", "coordinates"])
@pytest.mark.parametrize("of", ["coco17", "sbu15"])
def test_loss_against_a_loop(of, target, beta):
    task, batch = make(of, target=target, beta=beta), make_batch(of)
    g = torch.Generator().manual_seed(1)
    batch.valid = torch.rand(batch.valid.shape, generator=g) > 0.3
    batch.valid[2, :, list(layout(of).parts["right_arm"])] = False
    with torch.no_grad():
        plain = task.encoder.embed(batch.x) if target == "features" else batch.x
        hidden = [v for part in ("right_arm", "right_leg") for v in layout(of).parts[part]]
        masked = task.encoder.embed(batch.x)
        masked[:, :, hidden] = task.mask_token
        out = task.decoder(task.encoder.encode(masked.flatten(1, 2))).view(*masked.shape[:3], -1)
    plain, out = plain.double().numpy(), out.double().numpy()
    bodies = []
    for b in range(B):
        errors = []
        for p in range(T):
            for v in hidden:
                if batch.valid[b, p, v]:
                    x, z = plain[b, p, v], out[b, p, v]
                    errors.append((1 - x @ z / np.linalg.norm(x) / np.linalg.norm(z)) ** beta)
        bodies.append(np.mean(errors))
    assert task(batch)["loss"].item() == pytest.approx(np.mean(bodies), rel=1e-5)


def test_nothing_seen_is_no_loss_and_zeros_are_finite():
    for target in ("features", "coordinates"):
        task, batch = make(target=target), make_batch()
        assert task(again(batch, valid=torch.zeros_like(batch.valid)))["loss"] == 0
        out = task(again(batch, x=torch.zeros_like(batch.x)))
        out["loss"].backward()
        assert out["loss"].isfinite()
        assert all(p.grad.isfinite().all() for p in task.parameters())


def test_no_gradient_through_the_target():
    task, batch = make(), make_batch()
    task(again(batch))["loss"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in task.parameters())
    before = [p.grad.clone() for p in task.parameters()]
    fixed = task.target(batch)
    fixed = fixed._replace(tokens=fixed.tokens.detach())
    task.zero_grad()
    task.target = lambda _: fixed
    task(again(batch))["loss"].backward()
    assert all(torch.equal(a, p.grad) for a, p in zip(before, task.parameters(), strict=True))


def test_training_lowers_the_loss_and_the_target_does_not_collapse():
    """Smooth poses that a neighbour explains: the error falls, the embeddings stay apart."""
    of = layout("coco17")
    g = torch.Generator().manual_seed(0)
    pose, sway = torch.randn(1, 1, 17, 2, generator=g), torch.randn(1, 17, 17, generator=g).softmax(-1)
    x = pose + sway @ torch.randn(64, 1, 17, 2, generator=g)
    task = make(body=GraphEncoder(of, 1, GraphEncoderSettings(width=16)))
    optimizer = torch.optim.Adam(task.parameters(), 3e-3)
    valid, log = torch.ones(64, 1, 17, dtype=torch.bool), []
    for step in range(150):
        out = task(Batch(x, valid, Draws(step, 64)))
        optimizer.zero_grad()
        out["loss"].backward()
        optimizer.step()
        log.append([out["loss"].item(), out["target_std"].item()])
    assert log[-1][0] < 0.3 * log[0][0]
    assert log[-1][1] > 0.5 * log[0][1] > 0.01


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"parts": []}, "parts"),
        ({"parts": ["tail"]}, "tail"),
        ({"parts": ["head", "head"]}, "once"),
        ({"parts": list(PARTS)}, "17 of 17"),
        ({"masked_joints": -1}, "masked_joints"),
        ({"masked_joints": 17}, "17 of 17"),
        ({"beta": 0.5}, "beta"),
        ({"beta": float("nan")}, "beta"),
    ],
)
def test_masks_that_cannot_be_are_told(settings, match):
    with pytest.raises(ValueError, match=match):
        make(**settings)


def test_more_that_cannot_be_is_told():
    with pytest.raises(ValueError, match=r"torso.*pruned"):
        make(body=encoder(joints="pruned"), parts=["torso"])
    with pytest.warns(UserWarning, match="no effect"):  # their number is given, so the part need not be there
        make(body=encoder(joints="pruned"), parts=["torso"], masked_joints=3)
    with pytest.raises(ValueError, match="heads"):
        GraphEncoderSettings(kind="gat", width=6, heads=4)
    for wrong in ({"layers": 0}, {"width": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            GraphEncoderSettings(**wrong)
    with pytest.raises(ValueError, match=r"decoder\.layers"):
        GraphDecoderSettings(layers=0)
    with pytest.raises(ValueError, match=r"head\.layers"):
        HeadSettings(kind="strl", layers=0)
    with pytest.raises(ValueError, match="multiple of 4"):
        build_classifier(encoder(width=6), 3, HeadSettings(kind="strl"))
    transformer = TransformerEncoder(layout("coco17"), T, EncoderSettings(layers=1, width=8, heads=1, segment_frames=3))
    with pytest.raises(ValueError, match=r"head\.kind strl.*graph layers.*transformer"):
        build_classifier(transformer, 3, HeadSettings(kind="strl"))
    for section in (
        lambda: GraphEncoderSettings(heads=2),
        lambda: HeadSettings(layers=2),
        lambda: SkeletonMAESettings(masked_joints=0, random_parts=2),
        lambda: SkeletonMAESettings(parts=("head",), random_parts=2),
    ):
        with pytest.warns(UserWarning, match="no effect"):
            section()


# STRL


def strl(layers=3, of="coco17", seed=0, **settings) -> STRL:
    """An STRL whose batch norms have seen something, in eval mode and float64."""
    torch.manual_seed(seed)
    model = STRL(
        encoder(of, seed=seed), 4, HeadSettings(kind="strl", layers=layers, hidden=16, **({"dropout": 0.0} | settings))
    ).double()
    model(make_batch(of, 8).x.double(), torch.arange(8), 8)
    return model.eval()


def reference(model: STRL, people: torch.Tensor) -> torch.Tensor:
    """Logits of one clip, person by person and frame by frame: people (M, T, V, C)."""
    body = model.encoder
    streams = [body.embedding.tokenizer(x[:, body.joints]) for x in people]  # (T, V, D) each
    for layer, graph in zip(model.layers, model.graphs, strict=True):
        modelled = []
        for h in streams:
            frames = []
            for t in range(T):
                here = h[t] + layer.temporal_position[t]
                whole = sum(graph(here, body.embedding.adjacency))
                joined = torch.stack([torch.cat([whole, joint]) for joint in here])
                frames.append(joined + layer.residual(here))
            modelled.append(torch.stack(frames))
        mean = sum(modelled) / len(modelled)
        streams = [torch.relu(layer.norm(mean.flatten(0, 1)) @ layer.mix.weight.T).view(T, -1, D)]
    return model.head(model.temporal(streams[0][None])[0].mean((0, 1)))


@pytest.mark.parametrize("layers", [1, 3])
def test_strl_of_one_two_and_three_people_by_hand(layers):
    model, x = strl(layers), make_batch(count=6).x.double()
    clip_index = torch.tensor([0, 1, 1, 2, 2, 2])
    with torch.no_grad():
        found = model(x, clip_index, 3)
        for clip in range(3):
            torch.testing.assert_close(found[clip], reference(model, x[clip_index == clip]))


def test_strl_does_not_ask_who_is_first_nor_who_else_is_in_the_batch():
    model, x = strl(), make_batch(count=5).x.double()
    clip_index = torch.tensor([0, 0, 1, 2, 2])
    with torch.no_grad():
        found = model(x, clip_index, 3)
        order = torch.tensor([4, 1, 3, 0, 2])
        torch.testing.assert_close(model(x[order], clip_index[order], 3), found)
        torch.testing.assert_close(model(x[3:], clip_index[3:] - 2, 1), found[2:])


def test_absent_people_never_change_a_result(tmp_path):
    """A second body that is nowhere to be seen, and no second body: the same logits."""
    of, rng = layout("sbu15"), np.random.default_rng(0)
    alone = recording(30, 0, of, rng)[None]
    twice = np.concatenate([alone, np.full_like(alone, np.nan)])
    store = write_store(tmp_path / "store", [Clip("alone", alone, 0, {}), Clip("twice", twice, 0, {})], of, ["wave"])
    tracks = Tracks(store)
    track, clip_index = tracks.of_clips(torch.arange(2))
    x = Sampler(tracks, SamplingSettings(frames=T)).test_view(track)
    found = strl(of="sbu15")(x.double(), clip_index, 2)
    assert len(x) == 2
    assert torch.equal(found[0], found[1])


def test_each_layer_has_a_copy_of_the_encoder_of_its_own():
    body = encoder()
    model = STRL(body, 4, HeadSettings(kind="strl", hidden=16, dropout=0.0))
    graphs = model.graphs
    assert len(graphs) == len(model.layers) == 3
    for graph in graphs[1:]:
        for a, b in zip(graph.parameters(), body.trunk.parameters(), strict=True):
            assert torch.equal(a, b)
            assert a is not b
    groups = model.depth_groups()
    assert len(groups) == 1 + 3 * body.settings.layers
    trained_before = {id(p) for part in (body.embedding, *graphs) for p in part.parameters()}
    assert {id(p) for group in groups for p in group} == trained_before
    batch = make_batch(count=6)
    model(batch.x, torch.tensor([0, 0, 1, 2, 2, 3]), 4).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


@pytest.mark.parametrize("option", [f.name for f in fields(HeadSettings) if f.name != "kind"])
def test_every_option_of_strl_changes_its_output(option):
    outs = []
    for settings in ({}, {option: {"layers": 2, "hidden": 32, "dropout": 0.5}[option]}):
        torch.manual_seed(0)
        model = STRL(encoder(), 4, HeadSettings(kind="strl", **({"hidden": 16, "dropout": 0.0} | settings)))
        torch.manual_seed(0)
        outs.append(model(make_batch().x, torch.arange(B), B))
    assert not torch.allclose(*outs)


def test_time_is_seen_at_several_scales_and_joints_stay_apart():
    torch.manual_seed(0)
    part = MultiScaleTemporal(D).double().eval()
    h = torch.randn(2, 20, 5, D).double()
    moved = h.clone()
    moved[0, 10, 2] += 1
    changed = (part(h) != part(moved)).any(-1)
    assert changed.nonzero()[:, 1].unique().tolist() == [6, 8, 9, 10, 11, 12, 14]
    assert changed.nonzero()[:, [0, 2]].unique(dim=0).tolist() == [[0, 2]]


# recipes


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("encoder.layers", ["1", "2", "4"]),  # Table 4a
        ("encoder.kind", ["gcn", "gat"]),  # Table 4c, with the parts
        ("pretext.parts", [f"[{part}]" for part in PARTS]),
        ("pretext.masked_joints", ["5", "9", "12", "15"]),  # Table 5b, and the parts beside them
        ("pretext.parts", ["[left_arm,left_leg]", "[head,torso]", "[head,torso,left_arm,right_arm,right_leg]"]),
    ],
)
def test_the_papers_ablations_are_one_setting_each(option, values):
    where = {"data": "somewhere", "split": "official"}
    plain = flatten(Settings.from_recipe("skeletonmae-finegym", where).to_dict())
    for value in values:
        settings = Settings.from_recipe("skeletonmae-finegym", {**where, option: value})
        assert {k for k, v in flatten(settings.to_dict()).items() if v != plain[k]} == {option}
        SkeletonMAE(GraphEncoder(layout("coco17"), T, settings.encoder), settings.decoder, settings.pretext)


def test_the_papers_fine_tuning():
    s = method("skeletonmae").finetune
    s = FinetuneSettings(**s | {"head": HeadSettings(**s["head"])})
    assert (s.optimizer, s.momentum, s.lr, s.schedule, s.milestones) == ("sgd", 0.9, 0.1, "steps", (90, 100))
    assert (s.epochs, s.warmup_epochs, s.batch_size, s.label_smoothing) == (110, 5, 128, 0.1)
    assert (s.head.kind, s.head.layers) == ("strl", 3)


@pytest.mark.parametrize("recipe", [name for name in recipes() if name.startswith("skeletonmae")])
def test_the_papers_recipe(recipe):
    s = Settings.from_recipe(recipe, {"data": "somewhere", "split": "official"})
    assert (s.encoder.kind, s.encoder.layers, s.encoder.width, s.decoder.layers) == ("gin", 3, 64, 1)
    assert s.sampling.frames * s.training.batch_size == 1024
    t = s.training
    assert (t.epochs, t.lr, t.min_lr, t.weight_decay, t.warmup_epochs) == (50, 1.5e-4, 1.5e-4, 0, 0)
    assert (s.pretext.parts, s.pretext.beta, s.pretext.target) == (("right_arm", "right_leg"), 2, "features")
    task = SkeletonMAE(GraphEncoder(layout("coco17"), 64, s.encoder), s.decoder, s.pretext)
    assert (task.encoder.tokens, task.count) == (1088, 4)
    assert isinstance(task.decoder, GraphDecoder)

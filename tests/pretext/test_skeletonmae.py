"""SkeletonMAE: masks of body parts, its loss, and the paper's recipes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from kinemask.arguments import flatten, read_settings
from kinemask.draws import Draws
from kinemask.models.classifiers import build_classifier
from kinemask.nn.graph import (
    GraphDecoder,
    GraphEncoder,
)
from kinemask.nn.settings import EncoderSettings, GraphDecoderSettings, GraphEncoderSettings, HeadSettings
from kinemask.nn.transformer import TransformerEncoder
from kinemask.pretext.settings import SkeletonMAESettings
from kinemask.pretext.skeletonmae import SkeletonMAE
from kinemask.recipes import recipes
from kinemask.skeleton import PARTS, layout, layouts
from kinemask.training.settings import FinetuneSettings, Settings
from kinemask.windows.sampler import Batch
from tasks import (
    again,
    graph_encoder,
    noise_batch,
)

T, B, D = 6, 3, 8


def make(of="coco17", body=None, decoder=1, **settings) -> SkeletonMAE:
    return SkeletonMAE(body or graph_encoder(of), GraphDecoderSettings(layers=decoder), SkeletonMAESettings(**settings))


@pytest.mark.parametrize("of", layouts())
@pytest.mark.parametrize(
    "parts", [*([part] for part in PARTS), ["right_arm", "right_leg"], ["left_arm", "left_leg"], list(PARTS[1:])]
)
def test_parts_are_masked_in_every_frame(of, parts):
    task, joints = make(of, parts=parts), layout(of)
    masked = task.predict(noise_batch(of))[0].masked.sort(1).values
    expected = sorted(v for part in parts for v in joints.parts[part])
    tokens = [p * joints.num_joints + v for p in range(T) for v in expected]
    assert masked.tolist() == [tokens] * B


@pytest.mark.parametrize(("settings", "count"), [({}, 4), ({"masked_joints": 9}, 9), ({"parts": ["head"]}, 5)])
def test_as_many_joints_at_random_in_every_frame(settings, count):
    task = make(**{"masked_joints": 0} | settings)
    batch = noise_batch(count=200)
    mask = task.predict(batch)[0]
    hidden = torch.zeros(200, T * 17).scatter(1, mask.masked, 1.0).view(200, T, 17)
    assert (hidden.sum(-1) == count).all()
    assert (hidden[:, 0] != hidden[:, 1]).any(-1).float().mean() > 0.9
    assert (hidden.mean((0, 1)) - count / 17).abs().max() < 6 * (0.25 / 1200) ** 0.5


def test_parts_drawn_anew_are_whole_and_the_same_for_a_batch():
    task, drawn = make(random_parts=2), set()
    for seed in range(40):
        batch = again(noise_batch(), seed)
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
    batch = noise_batch(count=20)
    batch.valid[:, 1, :3] = False
    keep = make(masked_joints=0).predict(batch)[0].keep
    assert not {17, 18, 19} & set(keep.flatten().tolist())


def test_the_mask_token_enters_and_what_it_hides_does_not():
    task, batch = make(), noise_batch()
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
    values = [task(again(noise_batch()))["loss"].item() for task in tasks]
    assert values[0] != values[1]


@pytest.mark.parametrize("beta", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("target", ["features", "coordinates"])
@pytest.mark.parametrize("of", ["coco17", "sbu15"])
def test_loss_against_a_loop(of, target, beta):
    task, batch = make(of, target=target, beta=beta), noise_batch(of)
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
        task, batch = make(target=target), noise_batch()
        assert task(again(batch, valid=torch.zeros_like(batch.valid)))["loss"] == 0
        out = task(again(batch, x=torch.zeros_like(batch.x)))
        out["loss"].backward()
        assert out["loss"].isfinite()
        assert all(p.grad.isfinite().all() for p in task.parameters())


def test_no_gradient_through_the_target():
    task, batch = make(), noise_batch()
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
        make(body=graph_encoder(joints="pruned"), parts=["torso"])
    with pytest.warns(UserWarning, match="no effect"):  # their number is given, so the part need not be there
        make(body=graph_encoder(joints="pruned"), parts=["torso"], masked_joints=3)
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
        build_classifier(graph_encoder(width=6), 3, HeadSettings(kind="strl"))
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
    recipe = Settings.from_recipe("skeletonmae-finegym", {"data": "somewhere", "split": "official"})
    s = read_settings(FinetuneSettings, recipe.finetune)
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

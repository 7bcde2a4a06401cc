"""GraphCL and JOAO: the contrast and its views against plain loops, chances of pairs on the simplex, recipes."""

from __future__ import annotations

import random
from collections import Counter
from itertools import product

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from kinemask.draws import Draws
from kinemask.nn.settings import ProjectionSettings
from kinemask.pretext import views
from kinemask.pretext.contrast import nt_xent
from kinemask.pretext.graphcl import GraphCL, to_simplex
from kinemask.pretext.settings import GraphCLSettings
from kinemask.recipes import recipes
from kinemask.skeleton import layout
from kinemask.training.settings import Settings
from tasks import again, graph_encoder, make_batch, noise_batch, train

ALL = ("none", "drop", "edges", "mask", "subgraph")
B, T, V = 6, 4, 17
LAYOUTS = ("coco17", "ntu25", "sbu15")


def make(of="coco17", frames=T, **settings) -> GraphCL:
    task = GraphCL(graph_encoder(of, frames), ProjectionSettings(width=8), GraphCLSettings(**settings))
    return task.train()


def adversarial(**settings) -> GraphCL:
    return make(augmentations=ALL, pairs="adversarial", **settings)


# the contrast


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_contrast_against_a_loop(temperature):
    a, b = torch.randn(2, 3, 4, 5).double().numpy()
    unit = lambda z: z / np.linalg.norm(z)
    expected = np.empty((3, 4))
    for body, graph in product(range(3), range(4)):
        z = unit(a[body, graph])
        total = 0.0
        for other, another in product(range(3), range(4)):
            if other != body:
                total += np.exp(z @ unit(b[other, another]) / temperature)
        expected[body, graph] = -np.log(np.exp(z @ unit(b[body, graph]) / temperature) / total)
    found = nt_xent(torch.from_numpy(a), torch.from_numpy(b), temperature)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)


def test_the_loss_is_of_frames_that_were_seen():
    task, batch = make(), noise_batch(count=B, frames=T)
    first = []
    task.head.register_forward_hook(lambda *given: first.append(given[-1]))
    whole = task(again(batch))["loss"]
    a, b = first[0].chunk(2)
    torch.testing.assert_close(whole, nt_xent(a, b, 0.5).mean())
    batch.valid[2, 1:] = False
    batch.valid[2, 0, 3:] = False  # three joints of one frame are enough
    errors = nt_xent(a, b, 0.5)
    expected = torch.stack([*errors[[0, 1, 3, 4, 5]].mean(1), errors[2, 0]]).mean()
    torch.testing.assert_close(task(again(batch))["loss"], expected)


def test_one_body_has_nothing_to_be_contrasted_with():
    with pytest.raises(ValueError, match="one body alone"):
        make()(noise_batch(count=1, frames=T))


def test_a_collapse_is_seen():
    task, batch = make(), noise_batch(count=B, frames=T)
    assert 0.1 < task(again(batch))["spread"] <= 1
    with torch.no_grad():
        task.head[-1].weight.zero_()
        task.head[-1].bias.fill_(1)
    out = task(again(batch))
    assert out["spread"] < 1e-3
    assert out["agreement"] == pytest.approx(1)


# views


def view(name, of="coco17", share=0.2, count=50):
    """Of count × T graphs by one augmentation: the view, the skeleton's adjacency, joints and edges that change."""
    joined = layout(of).adjacency()
    joints, edges = views.counts(joined, share)
    kind = torch.full((count, T), ALL.index(name))
    made = views.augmented(kind, ALL, torch.from_numpy(joined), joints, edges, Draws(0, count))
    return made, torch.from_numpy(joined), joints, edges


@pytest.mark.parametrize("of", LAYOUTS)
@pytest.mark.parametrize("share", [0.01, 0.2, 0.6])
@pytest.mark.parametrize("name", ALL)
def test_an_augmentation_changes_its_own_and_leaves_the_rest(name, share, of):
    made, joined, joints, edges = view(name, of, share)
    size = len(joined)
    gone, hidden = (~made.present).sum(-1), made.hidden.sum(-1)
    assert (gone == (joints if name in ("drop", "subgraph") else 0)).all()
    assert (hidden == (joints if name == "mask" else 0)).all()
    assert torch.equal(made.adjacency, made.adjacency.mT)
    assert set(made.adjacency.unique().tolist()) <= {0, 1}
    both = made.present.unsqueeze(-1) & made.present.unsqueeze(-2)
    if name != "edges":
        assert torch.equal(made.adjacency, joined * both)
        return
    assert (made.adjacency.diagonal(dim1=-2, dim2=-1) == 0).all()
    changed = made.adjacency - joined
    assert ((changed == 1).sum((-1, -2)) == 2 * edges).all()
    assert ((changed == -1).sum((-1, -2)) == 2 * edges).all()
    assert size * (size - 1) // 2 - int(joined.sum()) // 2 >= edges


def test_a_subgraph_hangs_together():
    made, joined, *_ = view("subgraph", share=0.5)
    for present in made.present.flatten(0, 1).numpy():
        left, reached = set(np.flatnonzero(present).tolist()), [int(np.flatnonzero(present)[0])]
        for v in reached:
            reached += [u for u in np.flatnonzero(joined[v]).tolist() if u in left and u not in reached]
        assert set(reached) == left


def test_a_subgraph_grows_by_a_random_neighbour():
    """Of a small tree, as often as in a loop that takes neighbours one by one."""
    tree = {0: [1, 2, 3], 1: [0], 2: [0, 4], 3: [0], 4: [2, 5], 5: [4]}
    joined = torch.zeros(6, 6)
    for v, near in tree.items():
        joined[v, near] = 1
    draw, loop = random.Random(0), Counter()
    for _ in range(6000):
        taken = [draw.randrange(6)]
        while len(taken) < 3:
            taken.append(draw.choice(sorted({u for v in taken for u in tree[v]} - set(taken))))
        loop[tuple(sorted(taken))] += 1
    rows = views.grown(joined, torch.rand(6000, 3, 6, generator=torch.Generator().manual_seed(0)))
    found = Counter(tuple(row.nonzero().squeeze(1).tolist()) for row in rows)
    assert found.keys() == loop.keys()
    assert all(abs(found[k] - loop[k]) < 4 * loop[k] ** 0.5 * 2**0.5 for k in loop)


@pytest.mark.parametrize("name", ["drop", "mask", "edges", "subgraph"])
def test_every_joint_or_edge_is_changed_as_often_as_others(name):
    made, joined, joints, edges = view(name, count=500)
    if name == "edges":
        share = ((made.adjacency - joined) != 0).float().mean((0, 1))
        for of, count in ((joined > 0, edges), ((joined == 0) & ~torch.eye(V, dtype=torch.bool), edges)):
            assert (share[of] - 2 * count / of.sum()).abs().max() < 0.06
    elif name == "subgraph":  # the ends of limbs are cut off more often
        share = (~made.present).float().mean((0, 1))
        assert share[joined.sum(1) == 1].mean() > share[joined.sum(1) > 2].mean()
    else:
        changed = made.hidden if name == "mask" else ~made.present
        assert (changed.float().mean((0, 1)) - joints / V).abs().max() < 0.06


def test_frames_and_sides_have_views_of_their_own_and_a_clip_has_one():
    hidden = view("mask")[0].hidden
    assert (hidden[:, 0] != hidden[:, 1]).any(-1).float().mean() > 0.9
    seen = []
    for graph in ("frame", "clip"):
        task = make(augmentations=("drop",), graph=graph)
        task.encoder.trunk.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
        task(noise_batch(count=B, frames=T))
        first, second = seen[-1].chunk(2)
        assert not torch.equal(first, second)
        assert bool((first == first[:, :1]).all()) == (graph == "clip")


@pytest.mark.parametrize("name", ["drop", "mask", "subgraph"])
def test_what_is_taken_away_does_not_matter(name):
    """Features of joints that a view lacks, or hides, change nothing; those of the others do."""
    task, draws = make(augmentations=ALL), Draws(0, B)
    kind, embedded = torch.full((B, T), ALL.index(name)), torch.randn(B, T, V, 8)
    project = lambda x: task.project(x, [kind], (draws,))[0]
    changed = views.augmented(kind, ALL, task.encoder.embedding.adjacency, task.joints, task.edges, draws)
    away = (changed.hidden | ~changed.present).unsqueeze(-1)
    torch.testing.assert_close(project(embedded + 5 * away), project(embedded))
    assert (project(embedded + 0.1 * ~away) - project(embedded)).abs().max() > 1e-3


def test_views_follow_the_place_in_the_global_batch():
    task, x = make(augmentations=ALL), torch.randn(B, T, V, 8)
    kind = torch.arange(B * T).view(B, T) % 5
    (whole,), (part,) = (
        task.project(x[rows], [kind[rows]], (Draws(0, B, rows),)) for rows in (slice(0, B), slice(2, 4))
    )
    torch.testing.assert_close(part, whole[2:4])


# chances of pairs


@pytest.mark.parametrize("size", [2, 5, 25])
def test_the_nearest_point_of_the_simplex(size):
    rng = np.random.default_rng(size)
    for scale in (0.1, 1.0, 10.0):
        v = rng.normal(1 / size, scale, size)
        found = to_simplex(torch.from_numpy(v)).numpy()
        best = minimize(
            lambda p, v=v: ((p - v) ** 2).sum(),
            np.full(size, 1 / size),
            jac=lambda p, v=v: 2 * (p - v),
            bounds=[(0, 1)] * size,
            constraints={"type": "eq", "fun": lambda p: p.sum() - 1},
            options={"ftol": 1e-14, "maxiter": 500},
        )
        np.testing.assert_allclose(found, best.x, atol=1e-5)
        assert found.sum() == pytest.approx(1)
        assert found.min() >= 0


def test_what_a_pair_loses_is_what_it_would_lose_alone():
    task, batch = adversarial(), noise_batch(count=B, frames=T)
    task(again(batch))
    (losses,) = task.hardness
    for pair in (0, 7, 14, 24):
        alone = adversarial()
        alone.load_state_dict(task.state_dict())
        alone.chances.zero_()[pair] = 1
        torch.testing.assert_close(alone(again(batch))["loss"], losses[pair])


def test_chances_move_to_what_is_hard_and_stay_on_the_simplex():
    task = adversarial(ascent=0.1, gamma=0.5)
    hard = torch.zeros(25)
    hard[8], hard[3] = 0.2, -0.2
    for _ in range(400):
        task.hardness.append(hard)
        task.after_step(0.5)
        assert task.chances.sum() == pytest.approx(1, abs=1e-5)
        assert task.chances.min() >= 0
    expected = to_simplex(hard / 0.5 + 1 / 25)  # where the gradient less γ times the distance is the same for all
    torch.testing.assert_close(task.chances, expected, atol=1e-3, rtol=0)
    assert task.chances.argmax() == 8
    assert task.chances[3] == 0
    for _ in range(400):  # equally hard: γ brings them back
        task.hardness.append(torch.ones(25))
        task.after_step(0.5)
    torch.testing.assert_close(task.chances, torch.full((25,), 1 / 25), atol=1e-4, rtol=0)


def test_training_takes_the_harder_pairs_more_often():
    torch.manual_seed(0)
    task, batch = adversarial(ascent=0.05), make_batch("coco17", count=B, frames=T)
    log = train(task, batch, steps=8)
    with torch.no_grad():
        task(again(batch))
        losses = task.hardness[-1]
    assert torch.corrcoef(torch.stack([losses, task.chances]))[0, 1] > 0.5
    assert task.chances.sum() == pytest.approx(1, abs=1e-5)
    assert sum(log[-1][f"chance_{name}"] for name in ALL) == pytest.approx(1, abs=1e-5)
    assert log[-1]["chance_none"] < 0.2  # a view without augmentation is easy


def test_uniform_pairs_stay_uniform():
    task, batch = make(), make_batch("coco17", count=B, frames=T)
    log = train(task, batch)
    assert torch.equal(task.chances, torch.full((16,), 1 / 16))
    assert not task.hardness
    assert set(log[0]) == {"loss", "agreement", "spread"}


def test_evaluation_leaves_chances_alone():
    task = adversarial().eval()
    task(noise_batch(count=B, frames=T))
    assert not task.hardness


# recipes


@pytest.mark.parametrize("recipe", [name for name in recipes() if name.startswith("graphcl")])
def test_a_recipe_differs_from_skeletonmaes_in_the_pretext_alone(recipe):
    where = {"data": "somewhere", "split": "official"}
    here, there = (Settings.from_recipe(name, where) for name in (recipe, recipe.replace("graphcl", "skeletonmae")))
    for section in ("sampling", "encoder", "training", "finetune"):
        assert getattr(here, section) == getattr(there, section)
    assert here.pretext == GraphCLSettings()
    assert here.decoder == ProjectionSettings()

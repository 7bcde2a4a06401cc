"""STRL, SkeletonMAE's classifier: by hand for one, two and three people."""

from __future__ import annotations

import json
from dataclasses import fields

import numpy as np
import pytest
import safetensors.torch
import torch

from helpers import recording
from kinemask.models.classifiers import TrainedClassifier, load_classifier, save_classifier
from kinemask.models.encoders import read_weights
from kinemask.nn.settings import HeadSettings
from kinemask.nn.strl import STRL, MultiScaleTemporal
from kinemask.skeleton import layout
from kinemask.store.format import Clip
from kinemask.store.writer import write_store
from kinemask.windows.sampler import Sampler
from kinemask.windows.settings import SamplingSettings
from kinemask.windows.tracks import Tracks
from tasks import (
    graph_encoder,
    noise_batch,
    wander,
)

T, B, D = 6, 3, 8
OTHER = {"layers": 2, "hidden": 32, "dropout": 0.3, "dropout_of": "tokens", "encoders": "shared"}


def strl(layers=3, of="coco17", seed=0, **settings) -> STRL:
    """An STRL whose batch norms have seen something, in eval mode and float64."""
    torch.manual_seed(seed)
    model = STRL(
        graph_encoder(of, seed=seed),
        4,
        HeadSettings(kind="strl", layers=layers, hidden=16, **({"dropout": 0.0} | settings)),
    ).double()
    model(noise_batch(of, 8).x.double(), torch.arange(8), 8)
    return model.eval()


def reference(model: STRL, people: torch.Tensor) -> torch.Tensor:
    """Logits of one clip, person by person and frame by frame: people (M, T, V, C)."""
    body = model.encoder
    streams = [body.embedding.tokenizer(x[:, body.joints]) for x in people]  # (T, V, D) each
    for layer, graphs in zip(model.layers, model.graphs, strict=True):
        modelled = []
        for person, h in enumerate(streams):
            graph = graphs[0] if person == 0 else graphs[-1]
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


@pytest.mark.parametrize("encoders", ["per_person", "shared"])
@pytest.mark.parametrize("layers", [1, 3])
def test_strl_of_one_two_and_three_people_by_hand(layers, encoders):
    model, x = strl(layers, encoders=encoders), noise_batch(count=6).x.double()
    generator = torch.Generator().manual_seed(1)
    for graph in (graph for graphs in model.graphs for graph in graphs):
        wander(graph.double(), generator)  # as fine-tuning leaves them, each another
    clip_index = torch.tensor([0, 1, 1, 2, 2, 2])
    with torch.no_grad():
        found = model(x, clip_index, 3)
        for clip in range(3):
            torch.testing.assert_close(found[clip], reference(model, x[clip_index == clip]))


def test_a_shared_strl_does_not_ask_who_is_first_nor_who_else_is_in_the_batch():
    model, x = strl(encoders="shared"), noise_batch(count=5).x.double()
    clip_index = torch.tensor([0, 0, 1, 2, 2])
    with torch.no_grad():
        found = model(x, clip_index, 3)
        order = torch.tensor([4, 1, 3, 0, 2])
        torch.testing.assert_close(model(x[order], clip_index[order], 3), found)
        torch.testing.assert_close(model(x[3:], clip_index[3:] - 2, 1), found[2:])


def test_each_person_has_a_pre_trained_encoder_of_their_own():
    """They start as one and the same, and what only second people show trains the second alone."""
    one, two = strl(encoders="shared"), strl()
    x, clip_index = noise_batch(count=5).x.double(), torch.tensor([0, 0, 1, 2, 2])
    assert [len(graphs) for graphs in two.graphs] == [2, 1, 1]
    torch.testing.assert_close(two(x, clip_index, 3), one(x, clip_index, 3))
    first, second = two.graphs[0]
    two(x[:1], torch.zeros(1, dtype=torch.long), 1).sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in first.parameters())
    assert all(p.grad is None or not p.grad.any() for p in second.parameters())
    with torch.no_grad():
        before = two(x, clip_index, 3)
        wander(second, torch.Generator().manual_seed(0))
        after = two(x, clip_index, 3)
    assert torch.equal(after[1], before[1]), "a clip of one person has no second"
    assert (after[[0, 2]] != before[[0, 2]]).any(1).all()


def test_a_classifier_file_of_shared_encoders_says_so_or_is_of_the_time_before(tmp_path):
    model = strl(encoders="shared").float()
    trained = TrainedClassifier(model, SamplingSettings(frames=T), list("abcd"), {})
    save_classifier(tmp_path / "classifier.safetensors", trained)
    about, weights = read_weights(tmp_path / "classifier.safetensors", "a classifier")
    del about["head"]["encoders"]
    text = json.dumps(about)
    (tmp_path / "old.safetensors").write_bytes(safetensors.torch.save(weights, {"kinemask": text}))
    for name in ("classifier", "old"):
        assert load_classifier(tmp_path / f"{name}.safetensors").classifier.settings.encoders == "shared"


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
    body = graph_encoder()
    model = STRL(body, 4, HeadSettings(kind="strl", hidden=16, dropout=0.0))
    graphs = [graph for own in model.graphs for graph in own]
    assert len(model.graphs) == len(model.layers) == 3
    for graph in graphs[1:]:
        for a, b in zip(graph.parameters(), body.trunk.parameters(), strict=True):
            assert torch.equal(a, b)
            assert a is not b
    groups = model.depth_groups()
    assert len(groups) == 1 + 3 * body.settings.layers
    trained_before = {id(p) for part in (body.embedding, *graphs) for p in part.parameters()}
    assert {id(p) for group in groups for p in group} == trained_before
    batch = noise_batch(count=6)
    model(batch.x, torch.tensor([0, 0, 1, 2, 2, 3]), 4).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


@pytest.mark.parametrize("option", [f.name for f in fields(HeadSettings) if f.name != "kind"])
def test_every_option_of_strl_changes_its_output(option):
    outs = []
    for settings in ({}, {option: OTHER[option]}):
        torch.manual_seed(0)
        model = STRL(graph_encoder(), 4, HeadSettings(kind="strl", **({"hidden": 16, "dropout": 0.5} | settings)))
        wander(model.graphs[0][-1], torch.Generator().manual_seed(1))
        torch.manual_seed(0)
        outs.append(model(noise_batch().x, torch.tensor([0, 0, 1]), 2))
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

"""Optimizer groups and learning rates."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from kinemask.nn.heads import MLPClassifier
from kinemask.nn.settings import EncoderSettings, HeadSettings
from kinemask.nn.transformer import TransformerEncoder
from kinemask.pretext import NAMES
from kinemask.skeleton import layout
from kinemask.training import optim
from kinemask.training.settings import FinetuneSettings, TrainingSettings
from loops import loop_of


def test_the_learning_rate_rises_linearly_then_falls_as_a_cosine():
    s = TrainingSettings(epochs=10, warmup_epochs=2, lr=1e-3, min_lr=2e-4)
    rate = [optim.learning_rate(step, 50, s) for step in range(501)]
    assert rate[0] == 0
    assert rate[50] == pytest.approx(5e-4)
    assert rate[100] == pytest.approx(1e-3)
    assert rate[300] == pytest.approx(6e-4)  # half way down
    assert rate[500] == pytest.approx(2e-4)
    assert rate[200] == pytest.approx(2e-4 + 8e-4 * 0.5 * (1 + math.cos(math.pi / 4)))
    assert np.all(np.diff(rate[:101]) > 0)
    assert np.all(np.diff(rate[100:]) < 0)
    assert optim.learning_rate(0, 50, replace(s, warmup_epochs=0)) == pytest.approx(1e-3)
    assert optim.learning_rate(25, 50, replace(s, warmup_epochs=0.5)) == pytest.approx(1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_weight_decay_is_for_matrices_only(name, tiny, tmp_path):
    loop = loop_of(tiny, tmp_path, name=name)
    names = {id(p): n for n, p in loop.task.named_parameters()}
    decayed, plain = ({names[id(p)] for p in g["params"]} for g in loop.optimizer.param_groups)
    assert [g["weight_decay"] for g in loop.optimizer.param_groups] == [0.05, 0.0]
    assert loop.optimizer.param_groups[0]["betas"] == (0.9, 0.95)
    assert decayed | plain == {n for n, p in loop.task.named_parameters() if p.requires_grad}
    linear = {f"{n}.weight" for n, m in loop.task.named_modules() if isinstance(m, torch.nn.Linear)}
    assert decayed == linear & (decayed | plain)
    assert not any("position" in n or "mask_token" in n for n in decayed)
    assert "encoder.embedding.tokenizer.weight" in decayed


def test_layer_decay():
    settings = EncoderSettings(layers=3, width=16, heads=2, segment_frames=3)
    encoder = TransformerEncoder(layout("sbu15"), 12, settings)
    model = MLPClassifier(encoder, 4, HeadSettings(hidden=8))
    names = {id(p): n for n, p in model.named_parameters()}
    groups = optim.layer_groups(model, model.depth_groups(), 0.05, 0.5)
    scale = {names[id(p)]: g["scale"] for g in groups for p in g["params"]}
    decay = {names[id(p)]: g["weight_decay"] for g in groups for p in g["params"]}
    assert scale.keys() == dict(model.named_parameters()).keys()
    assert {scale[n] for n in scale if n.startswith("head")} == {1.0}
    for i, expected in enumerate((0.125, 0.25, 0.5)):
        assert {scale[n] for n in scale if f"blocks.{i}." in n} == {expected}
    assert scale["encoder.trunk.norm.weight"] == scale["encoder.trunk.norm.bias"] == 1.0  # a head's, as BEiT's
    assert scale["encoder.embedding.tokenizer.weight"] == scale["encoder.embedding.spatial_position"] == 0.0625
    assert decay["encoder.embedding.tokenizer.weight"] == decay["head.1.weight"] == 0.05
    assert decay["head.1.bias"] == decay["head.2.weight"] == decay["encoder.embedding.temporal_position"] == 0
    assert len(optim.layer_groups(model, model.depth_groups(), 0.05, 1.0)) == len(groups)


def test_steps_of_the_learning_rate():
    s = FinetuneSettings(epochs=110, warmup_epochs=5, lr=0.1, schedule="steps", milestones=(90, 100), optimizer="sgd")
    rate = [optim.learning_rate(step, 10, s) for step in range(1100)]
    assert rate[0] == 0
    assert rate[25] == pytest.approx(0.05)
    assert set(rate[50:900]) == {0.1}
    assert rate[900:1000] == pytest.approx([0.01] * 100)
    assert rate[1000:] == pytest.approx([0.001] * 100)

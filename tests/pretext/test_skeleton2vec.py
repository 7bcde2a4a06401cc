"""Skeleton2vec: the teacher that follows the student, and targets that do not collapse."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from kinemask.draws import Draws
from kinemask.windows.sampler import Sampler
from kinemask.windows.settings import SamplingSettings
from kinemask.windows.tracks import Tracks
from tasks import (
    FRAMES,
    make,
    make_batch,
    train,
)


def test_the_teacher_is_the_encoder_for_use_and_stops_at_the_end():
    task = make("skeleton2vec", pretext={"ema_decay": 0.5})
    encoders = task.encoders()
    assert encoders["encoder-student"] is task.encoder
    assert encoders["encoder"] is task.teacher.module
    x = make_batch().x
    assert torch.equal(encoders["encoder"](x), task.encoder(x))  # they start alike
    train(task, make_batch(), steps=2)
    after = [p.clone() for p in encoders["encoder"].parameters()]
    task.after_step(1.0)
    assert all(torch.equal(a, b) for a, b in zip(after, encoders["encoder"].parameters(), strict=True))
    assert not torch.equal(encoders["encoder"](x), task.encoder(x))


def test_targets_do_not_collapse(tiny):
    """A tiny model in training: its targets keep differing from clip to clip. Blind to its input they would not."""
    task = make("skeleton2vec", pretext={"ema_decay": 0.9})
    tracks = Tracks(tiny)
    sampler = Sampler(tracks, SamplingSettings(frames=FRAMES, window="uniform"))
    optimizer = torch.optim.AdamW([p for p in task.parameters() if p.requires_grad], 3e-3)
    spread, losses = [], []
    for step in range(60):
        draws = Draws(step, 16)
        out = task(sampler.sample(torch.arange(step % 2, 32, 2), draws))
        optimizer.zero_grad()
        out["loss"].backward()
        optimizer.step()
        task.after_step(step / 120)
        spread.append(out["target_std"].item())
        losses.append(out["loss"].item())
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])
    assert min(spread) > 0.2
    nn.init.zeros_(task.teacher.module.embedding.tokenizer.weight)
    with torch.no_grad():
        assert task(make_batch())["target_std"] < 1e-3


def test_more_layers_than_there_are_is_told():
    with pytest.raises(ValueError, match=r"top_k_layers 3 is more than encoder\.layers 2"):
        make("skeleton2vec", pretext={"top_k_layers": 3})


def test_a_centered_target_is_without_what_every_clip_has():
    plain, centered = (make("skeleton2vec", pretext={"center_target": on}) for on in (False, True))
    centered.load_state_dict(plain.state_dict())
    batch = make_batch()
    whole, rest = plain.target(batch).tokens, centered.target(batch).tokens
    assert whole.mean(0).abs().max() > 0.1
    assert rest.mean(0).abs().max() < 1e-5
    assert torch.allclose(whole - whole[:1], rest - rest[:1], atol=1e-5)  # what sets clips apart stays
    with pytest.raises(ValueError, match="needs two clips"):
        centered.target(make_batch(count=1))

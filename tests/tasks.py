"""Pretext tasks made small, batches of made-up motion for them, and a few steps of training."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import torch

from kinemask.draws import Draws
from kinemask.nn.graph import (
    GraphEncoder,
)
from kinemask.nn.settings import DecoderSettings, GraphEncoderSettings
from kinemask.pretext import NAMES, method
from kinemask.recipes import load_recipe, recipes
from kinemask.skeleton import layout
from kinemask.windows.sampler import Batch, Sampler
from kinemask.windows.settings import SamplingSettings
from kinemask.windows.tracks import Recordings, Tracks

LAYOUTS = ("ntu25", "sbu15", "coco17")
FRAMES, S, BATCH = 24, 3, 4
LENGTHS = 9, 40, 24, 31  # of the clips in a training set
TRACKS = len(LENGTHS)
SMALL = {"layers": 2, "width": 16, "heads": 2, "segment_frames": S}
SMALL_DECODER = {"layers": 1, "width": 16, "heads": 2}
DECODER = DecoderSettings(**SMALL_DECODER)
PAPERS = [r for r in recipes() if not r.endswith(("-demo", "-small"))]
RECIPE = {name: load_recipe(next(r for r in PAPERS if r.startswith(f"{name}-"))) for name in NAMES}


def make(name, of="sbu15", pretext=None, encoder=None, frames=FRAMES, seed=0):
    """A tiny task of a method, prepared: its first recipe's encoder, made small."""
    chosen, joints, recipe = method(name), layout(of), RECIPE[name]
    given = recipe["encoder"] | {k: v for k, v in SMALL.items() if k in recipe["encoder"]} | (encoder or {})
    decoder = chosen.decoder_settings(**{k: v for k, v in SMALL_DECODER.items() if k in recipe.get("decoder", {})})
    torch.manual_seed(seed)
    body = chosen.build_encoder(joints, frames, chosen.encoder_settings(**given))
    task = chosen.build(body, decoder, chosen.settings(**(pretext or {})))
    task.prepare(training_set(of, frames))
    return task


@cache
def training_set(of, frames):
    """A sampler of a few made-up clips of different lengths."""
    clips = [make_batch(of, 1, length, seed=length).x[0].numpy() for length in LENGTHS]
    return Sampler(Tracks(Recordings.of(layout(of), clips)), SamplingSettings(frames=frames, min_crop_frames=8))


def make_batch(of="sbu15", count=BATCH, frames=FRAMES, seed=0, still=False):
    """Smooth random motion, all of it seen; of the tracks of `training_set` in turn."""
    joints = layout(of)
    g = torch.Generator().manual_seed(seed)
    x = 0.4 * torch.randn(count, 1, joints.num_joints, joints.dims, generator=g)
    speed = 0.1 * torch.rand(count, 1, joints.num_joints, 1, generator=g)
    steps = speed * torch.randn(count, frames, joints.num_joints, joints.dims, generator=g)
    x = x.expand(-1, frames, -1, -1).clone() if still else x + steps.cumsum(1)
    return Batch(x, torch.ones(x.shape[:3], dtype=torch.bool), Draws(seed, count), torch.arange(count) % TRACKS)


def again(batch, seed=0, **changes):
    """The same batch with fresh draws."""
    return replace(batch, draws=Draws(seed, len(batch.x)), **changes)


def outcome(task, batch):
    """Losses of a batch, the same however often they are asked for."""
    with torch.no_grad():
        return task(again(batch))


def masked(task, batch):
    """The mask of a batch, of a method that has one; the same however often it is asked for."""
    with torch.no_grad():
        return task.predict(again(batch))[0]


def train(task, batch, steps=3, first=0, total=10):
    """Losses of a few steps; the same draws at every step, whichever it starts from."""
    optimizer, losses = torch.optim.AdamW([p for p in task.parameters() if p.requires_grad], 1e-2), []
    for step in range(first, first + steps):
        out = task(again(batch, seed=step))
        optimizer.zero_grad()
        out["loss"].backward()
        optimizer.step()
        task.after_step((step + 1) / total)
        losses.append({name: value.item() for name, value in out.items()})
    return losses


def graph_encoder(of="coco17", frames=6, seed=0, **settings) -> GraphEncoder:
    """A graph encoder of width 8 unless said otherwise."""
    torch.manual_seed(seed)
    return GraphEncoder(layout(of), frames, GraphEncoderSettings(**({"width": 8} | settings)))


def noise_batch(of="coco17", count=3, frames=6, seed=0) -> Batch:
    """Unrelated random poses, all of them seen."""
    joints = layout(of)
    x = torch.randn(count, frames, joints.num_joints, joints.dims, generator=torch.Generator().manual_seed(seed))
    return Batch(x, torch.ones(x.shape[:3], dtype=torch.bool), Draws(seed, count))


def wander(module, generator):
    """A small random step of every parameter."""
    with torch.no_grad():
        for p in module.parameters():
            p += 0.02 * torch.randn(p.shape, generator=generator)

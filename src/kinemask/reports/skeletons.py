"""What a pretext task sees and predicts of a few clips, as data for the moving skeletons of player.js."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kinemask.draws import Draws, key
from kinemask.nn.decoder import gather
from kinemask.player.scene import RATE, Bone, about, digits, fps_of, pack, still, unit_of
from kinemask.pretext import method
from kinemask.pretext.base import MaskedPrediction, Pretext, Target
from kinemask.pretext.mixed import first_task
from kinemask.pretext.targets import acceleration
from kinemask.runs.checkpoint import load_checkpoint
from kinemask.skeleton import Layout
from kinemask.store.opening import Store
from kinemask.training.settings import Settings
from kinemask.windows.sampler import Batch, Sampler
from kinemask.windows.streams import difference
from kinemask.windows.tracks import Tracks

CLIPS = 4
MASKED, KEPT, UNUSED = 0, 1, 2  # states of a (segment, joint)


def load_task(run: Path, settings: Settings, layout: Layout) -> Pretext:
    """A run's task, decoder included, with the weights of its checkpoint; ValueError where it has none that fits."""
    state = load_checkpoint(run)
    if state is None:
        raise ValueError(f"{run} has no checkpoint (last.pt)")
    chosen = method(settings.method)
    encoder = chosen.build_encoder(layout, settings.sampling.frames, settings.encoder)
    task = chosen.build(encoder, settings.decoder, settings.pretext)
    try:
        task.load_state_dict(first_task(state["task"]))
    except RuntimeError as error:
        raise ValueError(f"the checkpoint of {run} does not fit layout {layout.name}: {error}") from None
    return task.eval()


def choose_clips(store: Store, split: str, count: int = CLIPS) -> np.ndarray:
    """Test clips of several classes; any clips where there is no such split."""
    pool = store.split(split)[1] if split in store.splits else np.arange(len(store))
    return store.examples(count, pool)


@dataclass(frozen=True, eq=False)
class Drawn:
    """What is drawn at masked tokens, over the whole grid (B, T, V, C); explained: per body, in percent.

    kind, stride: the target's. Motion and acceleration: arrows of `true` and `predicted`; coordinates, `true` is 0 and
    `predicted` the error; features, nothing can be drawn. deviation: how far the target is from the plain values of its
    kind, as a share. normalised: whether the target's mean and scale had to be put back.
    """

    kind: str
    stride: int
    deviation: float
    normalised: bool
    true: Tensor
    predicted: Tensor
    masked: Tensor  # (B, P, V) bool, at the encoder's joints
    explained: Tensor  # (B,)


def predict(task: MaskedPrediction, batch: Batch) -> Drawn:
    """Run a task on a batch, and put its predictions back on the frames."""
    encoder = task.encoder
    with torch.no_grad():
        mask, _, predicted, target = task.predict(batch)
    predicted = predicted[..., : target.tokens.shape[-1]].float()
    x = batch.x[:, :, encoder.joints]
    B, T, V, _ = x.shape
    S = encoder.settings.segment_frames
    masked = torch.zeros(B, encoder.tokens, dtype=torch.bool).scatter_(1, mask.masked, True)
    wanted = gather(target.tokens, mask.masked)
    error = (predicted - wanted).square().mean((1, 2))
    explained = 100 * (1 - error / wanted.square().mean((1, 2)).clamp_min(1e-12))
    shape = masked.view(B, -1, V)
    normalised = bool((target.mean != 0).any() or (target.scale != 1).any())
    if target.kind == "features":
        nothing = torch.zeros_like(batch.x)
        return Drawn(target.kind, target.stride, 0.0, normalised, nothing, nothing, shape, explained)
    full = target.tokens.scatter(1, mask.masked.unsqueeze(-1).expand_as(predicted), predicted)
    true, guess = (frames(target._replace(tokens=tokens), S, V) for tokens in (target.tokens, full))
    deviation = float((true - plain(x, target)).norm() / plain(x, target).norm().clamp_min(1e-12))
    if target.kind == "coordinates":
        true, guess = torch.zeros_like(true), guess - true
    at = masked.view(B, T // S, 1, V, 1).expand(B, T // S, S, V, 1).reshape(B, T, V, 1)
    place = torch.zeros_like(batch.x)
    true, guess = (place.index_copy(2, encoder.joints, value * at) for value in (true, guess))
    return Drawn(target.kind, target.stride, deviation, normalised, true, guess, shape, explained)


def frames(target: Target, segment_frames: int, joints: int) -> Tensor:
    """Tokens with their mean and scale undone, back on the frames: (B, L, S·C) -> (B, T, V, C)."""
    values = target.tokens * target.scale + target.mean
    B, L, width = values.shape
    pieces = values.view(B, L // joints, joints, segment_frames, width // segment_frames).transpose(2, 3)
    return pieces.reshape(B, L // joints * segment_frames, joints, -1)


def plain(x: Tensor, target: Target) -> Tensor:
    """What a target of this kind is made of, before any mapping: (B, T, V, C) -> (B, T, V, C)."""
    match target.kind:
        case "motion":
            return difference(x, target.stride)
        case "acceleration":
            return acceleration(x)
        case _:
            return x


def scenes(
    task: Pretext, settings: Settings, store: Store, clips: np.ndarray
) -> tuple[dict[str, Any], list[list[Bone]]]:
    """Everything the player needs of some clips: whole clips as the model's window, without augmentation.

    Returns the data of its script, and the still picture of each clip.

    positions, true and predicted are 16-bit numbers in base64, in units of `unit` and, where a body has them, of
    `arrow`; state has a digit per (segment, joint), seen per (frame, joint) where some are missing.
    """
    whole = settings.sampling.unaugmented()
    tracks = Tracks(store, clips, "cpu", whole.missing)
    track, clip_index = tracks.of_clips(torch.arange(len(clips)))
    draws = lambda: Draws(key("report"), len(clips))
    batch = Sampler(tracks, whole).sample(track, draws(), clip_index)
    joint = Sampler(tracks, replace(whole, stream="joint")).sample(track, draws(), clip_index)
    batch.draws = Draws(key("report", "mask"), len(track))
    done = predict(task, batch) if isinstance(task, MaskedPrediction) else None
    positions, seen = joint.x.float().numpy(), joint.valid.numpy()
    out, stills = [], []
    for i, c in enumerate(clips):
        rows = (clip_index == i).numpy()
        unit = unit_of(positions[rows])
        bodies = [
            {"positions": pack(p, unit), "seen": digits(s)} for p, s in zip(positions[rows], seen[rows], strict=True)
        ]
        clip: dict[str, Any] = {
            "name": store.names[c],
            "label": store.classes[store.labels[c]] if store.labels[c] >= 0 else "",
            "frames": int(store.lengths[c]),
            "T": whole.frames,
            "rate": float(whole.frames / store.lengths[c] * (fps_of(store[c].fields) or RATE)),
            "unit": unit,
            "bodies": bodies,
        }
        if isinstance(task, MaskedPrediction) and done is not None:
            clip |= _predicted(done, task.encoder.joints, rows, bodies)
        out.append(clip)
        stills.append(still(positions[rows], store.layout.edges, ["middle"] * store.layout.num_joints))
    segment_frames = task.encoder.settings.segment_frames if isinstance(task, MaskedPrediction) else 1
    names = ("kind", "stride", "deviation", "normalised")
    kind = {name: getattr(done, name) for name in names} if done else {"kind": ""}
    return about(store.layout) | kind | {"filled": True, "S": segment_frames, "clips": out}, stills


def _predicted(done: Drawn, joints: Tensor, rows: np.ndarray, bodies: list[dict]) -> dict[str, Any]:
    """Adds states and predictions to the bodies of one clip; returns what is common to them."""
    true, guess = done.true[rows].numpy(), done.predicted[rows].numpy()
    size = unit_of(np.stack([true, guess]))
    masked, explained = done.masked[rows].numpy(), done.explained[rows]
    V = true.shape[2]
    for body, m, t, g in zip(bodies, masked, true, guess, strict=True):
        state = np.full((len(m), V), UNUSED)
        state[:, joints.numpy()] = np.where(m, MASKED, KEPT)
        body["state"] = digits(state)
        if done.kind != "features":
            body |= {"true": pack(t, size), "predicted": pack(g, size)}
    length = np.linalg.norm(true, axis=-1)
    typical = float(np.quantile(length[length > 0], 0.95)) if (length > 0).any() else 0.0
    return {"arrow": size, "typical": typical, "masked": float(masked.mean()), "explained": float(explained.mean())}

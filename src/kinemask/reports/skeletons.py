"""What a pretext task sees and predicts of a few clips, as arrays and as data for the skeletons of player.js."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kinemask.checks import among
from kinemask.draws import Draws, key
from kinemask.models.encoders import TrainedEncoder
from kinemask.nn.decoder import gather
from kinemask.player.scene import RATE, Bone, about, digits, fps_of, pack, still, unit_of
from kinemask.pretext import method
from kinemask.pretext.base import MaskedPrediction, Pretext, Target
from kinemask.pretext.mixed import first_task
from kinemask.pretext.targets import acceleration
from kinemask.reports.attention import received
from kinemask.runs.checkpoint import load_checkpoint
from kinemask.skeleton import Layout
from kinemask.store.opening import Store
from kinemask.training.settings import Settings
from kinemask.windows.sampler import Batch, Sampler
from kinemask.windows.streams import difference
from kinemask.windows.tracks import Tracks

CLIPS = 4
MARKED = ("saliency", "attention")  # a number for each (segment, joint)
MASKED, KEPT, UNUSED = 0, 1, 2  # states of a (segment, joint)
FARTHEST = 0.05  # deviation of a target from plain motion up to which motion is added up to positions
MOST_ATTENTION = 4.0  # times an even share, of a token's: what is drawn as the most


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


def choose_clips(
    store: Store, split: str, names: Sequence[str] = (), classes: np.ndarray | None = None, count: int = CLIPS
) -> np.ndarray:
    """Clips of these names; else test clips of several classes, or of chosen ones, or any where there is no such split.

    ValueError for a name that the store does not have, and where chosen classes have no clip.
    """
    if names:
        for name in names:
            if name not in store:
                raise ValueError(f"clip: {store.path} has no clip {name!r}{among(name, store.names)}")
        return np.array([store.names.index(name) for name in dict.fromkeys(names)])
    pool = store.split(split)[1] if split in store.splits else np.arange(len(store))
    if classes is not None:
        pool = pool[np.isin(store.labels[pool], classes)]
        if not len(pool):
            raise ValueError(f"none of these classes has a test clip in split {split}")
    return store.examples(count, pool)


@dataclass(frozen=True, eq=False)
class Drawn:
    """What is drawn at masked tokens, over the whole grid (B, T, V, C); explained: per body, in percent.

    kind, stride: the target's. Motion and acceleration: arrows of `true` and `predicted`; coordinates, `true` is 0 and
    `predicted` the error; features, nothing can be drawn. deviation: how far the target is from the plain values of its
    kind, as a share. normalised: whether the target's mean and scale had to be put back. rebuilt: where the prediction
    puts the joints, None where it does not tell.
    """

    kind: str
    stride: int
    deviation: float
    normalised: bool
    true: Tensor
    predicted: Tensor
    masked: Tensor  # (B, P, V) bool, at the encoder's joints
    explained: Tensor  # (B,)
    rebuilt: Tensor | None


def predict(task: MaskedPrediction, batch: Batch) -> Drawn:
    """Run a task on a batch, and put its predictions back on the frames."""
    encoder = task.encoder
    with torch.no_grad():
        mask, _, predicted, target = task.predict(batch)
        predicted = predicted[..., : target.tokens.shape[-1]].float()
        full = target.tokens.scatter(1, mask.masked.unsqueeze(-1).expand_as(predicted), predicted)
        positions = task.positions(full * target.scale + target.mean, target.kind)
    x = batch.x[:, :, encoder.joints]
    B, T, V, _ = x.shape
    S = encoder.settings.segment_frames
    masked = torch.zeros(B, encoder.tokens, dtype=torch.bool).scatter_(1, mask.masked, True)
    wanted = gather(target.tokens, mask.masked)
    error = (predicted - wanted).square().mean((1, 2))
    explained = 100 * (1 - error / wanted.square().mean((1, 2)).clamp_min(1e-12))
    shape = masked.view(B, -1, V)
    at = masked.view(B, T // S, 1, V, 1).expand(B, T // S, S, V, 1).reshape(B, T, V, 1)
    normalised = bool((target.mean != 0).any() or (target.scale != 1).any())
    place = lambda value: torch.zeros_like(batch.x).index_copy(2, encoder.joints, value)
    rebuilt = None
    if positions is not None:
        guess = on_frames(positions, S, V)
        rebuilt = batch.x.index_copy(2, encoder.joints, torch.where(at, guess, x))
    if target.kind == "features":
        nothing = torch.zeros_like(batch.x)
        return Drawn(target.kind, target.stride, 0.0, normalised, nothing, nothing, shape, explained, rebuilt)
    true, guess = (frames(target._replace(tokens=tokens), S, V) for tokens in (target.tokens, full))
    deviation = float((true - plain(x, target)).norm() / plain(x, target).norm().clamp_min(1e-12))
    if target.kind == "motion" and deviation <= FARTHEST:
        rebuilt = batch.x.index_copy(2, encoder.joints, add_up(x, guess, at.squeeze(-1), target.stride))
    if target.kind == "coordinates":
        true, guess = torch.zeros_like(true), guess - true
    true, guess = place(true * at), place(guess * at)
    return Drawn(target.kind, target.stride, deviation, normalised, true, guess, shape, explained, rebuilt)


def add_up(x: Tensor, motion: Tensor, masked: Tensor, stride: int = 1) -> Tensor:
    """Positions whose motion was predicted: x, motion (B, T, V, C), masked (B, T, V) bool -> (B, T, V, C).

    motion: x[t+stride] − x[t]. Masked positions follow backwards from the next frame at which the joint is kept; where
    there is none, forwards from the last one, whose own motion nobody predicts: it is taken to stay as it was. A joint
    that is masked throughout has its true mean place. Kept positions stay.
    """
    out = x.clone()
    for first in range(min(stride, x.shape[1])):
        chain = slice(first, None, stride)
        out[:, chain] = _add_up(x[:, chain], motion[:, chain], masked[:, chain])
    return out


def _add_up(x: Tensor, motion: Tensor, masked: Tensor) -> Tensor:
    out, known, hidden = x.clone(), ~masked, masked.unsqueeze(-1)
    for t in range(x.shape[1] - 2, -1, -1):
        back = (masked[:, t] & known[:, t + 1]).unsqueeze(-1)
        out[:, t] = torch.where(back, out[:, t + 1] - motion[:, t], out[:, t])
        known[:, t] |= back.squeeze(-1)
    for t in range(1, x.shape[1]):
        on = (~known[:, t] & known[:, t - 1]).unsqueeze(-1)
        before = torch.zeros_like(x[:, 0])
        if t > 1:
            kept = (~masked[:, t - 1] & ~masked[:, t - 2]).unsqueeze(-1)
            before = torch.where(kept, x[:, t - 1] - x[:, t - 2], before)
        step = torch.where(hidden[:, t - 1], motion[:, t - 1], before)
        out[:, t] = torch.where(on, out[:, t - 1] + step, out[:, t])
        known[:, t] |= on.squeeze(-1)
    path = torch.cat([torch.zeros_like(x[:, :1]), motion[:, :-1].cumsum(1)], 1)
    path = path - path.mean(1, keepdim=True) + x.mean(1, keepdim=True)
    return torch.where(known.unsqueeze(-1), out, path)


def frames(target: Target, segment_frames: int, joints: int) -> Tensor:
    """Tokens with their mean and scale undone, back on the frames: (B, L, S·C) -> (B, T, V, C)."""
    return on_frames(target.tokens * target.scale + target.mean, segment_frames, joints)


def on_frames(values: Tensor, segment_frames: int, joints: int) -> Tensor:
    """Values of tokens, back on the frames: (B, L, S·C) -> (B, T, V, C)."""
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


@dataclass(frozen=True, eq=False)
class ClipSeen:
    """A clip as a task sees it: positions (M, T, V, C) of its bodies, seen (M, T, V) bool, frames a second.

    frames: recorded ones. masked (M, P, V') bool at the encoder's joints; true, predicted, rebuilt (M, T, V, C) and
    explained as `Drawn` has them; saliency, attention (M, P, V') from 0 to 1 in the clip. None: not there.
    """

    name: str
    label: str
    frames: int
    rate: float
    positions: np.ndarray
    seen: np.ndarray
    masked: np.ndarray | None = None
    true: np.ndarray | None = None
    predicted: np.ndarray | None = None
    rebuilt: np.ndarray | None = None
    explained: float | None = None
    saliency: np.ndarray | None = None
    attention: np.ndarray | None = None

    def told(self, name: str) -> np.ndarray:
        """One of the arrays, which must be there."""
        found = getattr(self, name)
        assert found is not None
        return found


@dataclass(frozen=True, eq=False)
class Seen:
    """Clips as a task sees them. joints (V',): the encoder's; kind, stride, deviation, normalised: as `Drawn` has them.

    kind: "" where the task masks nothing. saliency: what the task's is called, "" for none. why: of what is not there
    (rebuilt, saliency, attention), the reason.
    """

    layout: Layout
    joints: np.ndarray
    segment_frames: int
    frames: int
    stream: str
    kind: str
    stride: int
    deviation: float
    normalised: bool
    saliency: str
    why: dict[str, str]
    clips: list[ClipSeen]


def see(task: Pretext, settings: Settings, store: Store, clips: np.ndarray, model: TrainedEncoder | None) -> Seen:
    """Whole clips as the model's window, without augmentation. model: whose attention is shown; None for no one's."""
    whole = settings.sampling.unaugmented()
    tracks = Tracks(store, clips, "cpu", whole.missing)
    track, clip_index = tracks.of_clips(torch.arange(len(clips)))
    draws = lambda: Draws(key("report"), len(clips))
    batch = Sampler(tracks, whole).sample(track, draws(), clip_index)
    joint = Sampler(tracks, replace(whole, stream="joint")).sample(track, draws(), clip_index)
    batch.draws = Draws(key("report", "mask"), len(track))
    done = predict(task, batch) if isinstance(task, MaskedPrediction) else None
    with torch.no_grad():
        saliency = task.saliency(batch) if isinstance(task, MaskedPrediction) else None
    attention = None if model is None else received(model, batch.x)
    rebuilt = done.rebuilt if done is not None and whole.stream == "joint" else None
    encoder = task.encoder if isinstance(task, MaskedPrediction) else model.encoder if model is not None else None
    found = []
    for i, c in enumerate(clips):
        rows = clip_index == i
        own = {}
        if done is not None:
            own = {name: getattr(done, name)[rows].numpy() for name in ("masked", "true", "predicted")}
            own |= {"explained": float(done.explained[rows].mean())}
        if rebuilt is not None:
            own["rebuilt"] = rebuilt[rows].numpy()
        if saliency is not None:
            scores = saliency.scores[rows]
            own["saliency"] = (scores / scores.max().clamp_min(1e-12)).numpy()
        if attention is not None:
            own["attention"] = (attention[rows] / MOST_ATTENTION).clamp(0, 1).numpy()
        found.append(
            ClipSeen(
                name=store.names[c],
                label=store.classes[store.labels[c]] if store.labels[c] >= 0 else "",
                frames=int(store.lengths[c]),
                rate=float(whole.frames / store.lengths[c] * (fps_of(store[c].fields) or RATE)),
                positions=joint.x[rows].float().numpy(),
                seen=joint.valid[rows].numpy(),
                **own,
            )
        )
    return Seen(
        layout=store.layout,
        joints=np.arange(store.layout.num_joints) if encoder is None else encoder.joints.cpu().numpy(),
        segment_frames=1 if encoder is None else encoder.settings.segment_frames,
        frames=whole.frames,
        stream=whole.stream,
        kind="" if done is None else done.kind,
        stride=1 if done is None else done.stride,
        deviation=0.0 if done is None else done.deviation,
        normalised=done is not None and done.normalised,
        saliency="" if saliency is None else saliency.title,
        why=_why(done, whole.stream, settings.method),
        clips=found,
    )


def _why(done: Drawn | None, stream: str, method: str) -> dict[str, str]:
    """Why a method has no figure of a kind, where it has none."""
    saliency = f"what {method} masks does not follow from one score of each token"
    if done is None:
        rebuilt = saliency = f"{method} does not predict what is masked"
    elif stream != "joint":
        rebuilt = f"the model works on the {stream} stream, not on positions"
    elif done.kind == "motion":
        rebuilt = f"its target is a mapping of the motion, {100 * done.deviation:.0f} % away from it"
    else:
        rebuilt = f"{method} predicts {done.kind}, which do not tell where joints are"
    return {
        "rebuilt": rebuilt,
        "saliency": saliency,
        "attention": "in its encoder, tokens do not attend to each other",
    }


def scene(seen: Seen) -> tuple[dict[str, Any], list[list[Bone]]]:
    """Everything the player needs of some clips: the data of its script, and the still picture of each clip.

    positions, true, predicted and rebuilt (from the positions) are 16-bit numbers in base64, in units of `unit` and,
    where a body has them, of `arrow` and `far`; state has a digit per (segment, joint), seen per (frame, joint) where
    some are missing; saliency and attention a digit from 0 to 9 per (segment, joint), x for unused joints.
    """
    out, stills = [], []
    for one in seen.clips:
        unit = unit_of(one.positions)
        bodies: list[dict[str, Any]] = [
            {"positions": pack(p, unit), "seen": digits(s)} for p, s in zip(one.positions, one.seen, strict=True)
        ]
        clip: dict[str, Any] = {
            "name": one.name,
            "label": one.label,
            "frames": one.frames,
            "T": seen.frames,
            "rate": one.rate,
            "unit": unit,
            "bodies": bodies,
        }
        out.append(clip | (_predicted(seen, one, bodies) if one.masked is not None else {}))
        _marks(seen, one, bodies)
        stills.append(still(one.positions, seen.layout.edges, ["middle"] * seen.layout.num_joints))
    kind = {"kind": seen.kind}
    if seen.kind:
        kind |= {name: getattr(seen, name) for name in ("stride", "deviation", "normalised")}
    return about(seen.layout) | kind | {"filled": True, "S": seen.segment_frames, "clips": out}, stills


def _predicted(seen: Seen, one: ClipSeen, bodies: list[dict[str, Any]]) -> dict[str, Any]:
    """Adds states and predictions to the bodies of one clip; returns what is common to them."""
    true, guess, masked = one.told("true"), one.told("predicted"), one.told("masked")
    size, V, far = unit_of(np.stack([true, guess])), true.shape[2], 0.0
    for body, m, t, g in zip(bodies, masked, true, guess, strict=True):
        state = np.full((len(m), V), UNUSED)
        state[:, seen.joints] = np.where(m, MASKED, KEPT)
        body["state"] = digits(state)
        if seen.kind != "features":
            body |= {"true": pack(t, size), "predicted": pack(g, size)}
    if one.rebuilt is not None and seen.kind != "coordinates":  # of these the prediction is that
        away = one.rebuilt - one.positions
        far = unit_of(away)
        for body, a in zip(bodies, away, strict=True):
            body["rebuilt"] = pack(a, far)
    length = np.linalg.norm(true, axis=-1)
    typical = float(np.quantile(length[length > 0], 0.95)) if (length > 0).any() else 0.0
    found = {"arrow": size, "typical": typical, "masked": float(masked.mean()), "explained": one.explained}
    return found | ({"far": far} if far else {})


def _marks(seen: Seen, one: ClipSeen, bodies: list[dict[str, Any]]) -> None:
    """Adds saliency and attention to the bodies of one clip, a digit each."""
    for name in MARKED:
        found = getattr(one, name)
        for body, scores in zip(bodies, () if found is None else found, strict=found is not None):
            marks = np.full((len(scores), seen.layout.num_joints), "x")
            marks[:, seen.joints] = np.rint(9 * scores).astype(int).astype(str)
            body[name] = "".join(marks.ravel())

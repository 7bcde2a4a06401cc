"""Mosaic: from a hidden, turned, stretched part of a clip, what fixed random convolutions say of all of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinemask.nn.average import MovingAverage
from kinemask.nn.encoder import Encoder
from kinemask.nn.places import COMMON, common, places
from kinemask.nn.settings import DecoderSettings
from kinemask.nn.transformer import initialise
from kinemask.pretext import masks, targets
from kinemask.pretext.base import MaskedPrediction, Prediction, Pretext, Target
from kinemask.pretext.convolution_targets import MOST_FITTED, Components
from kinemask.pretext.settings import MosaicSettings
from kinemask.windows.sampler import Batch, Sampler
from kinemask.windows.streams import difference

PARTS = (("trunk", "head"), ("left_arm",), ("right_arm",), ("left_leg",), ("right_leg",))


class Mosaic(MaskedPrediction):
    """Masks joints over tubes of time; predicts random convolutions of the clean clip and its parts, and motion.

    The mean of the kept tokens predicts the clip's components, the mean of a part's kept tokens that part's. Both are
    fixed before training, so they cannot collapse, and they are of the clip as it is: the encoder has to see through
    crop, camera, body size, noise and what is hidden.
    """

    def __init__(self, encoder: Encoder, decoder: DecoderSettings, settings: MosaicSettings):
        super().__init__(encoder, decoder if settings.motion_weight else nn.Identity())
        s = self.settings = settings
        P = encoder.segments
        self.length = min(s.tube_segments, P)
        self.kept = masks.kept_count(encoder.tokens, s.mask_ratio)
        found, kept = places(encoder.layout), encoder.layout.kept(encoder.settings.joints)
        member = torch.tensor([[found[v].limb in part for v in kept] for part in PARTS])
        self.member: Tensor  # (parts, V), 1 where a joint is of a part
        self.register_buffer("member", member.float(), persistent=False)
        self.common: Tensor  # (joints that layouts have in common, V)
        self.register_buffer("common", torch.from_numpy(common(encoder.layout)), persistent=False)
        self.clip_head = _head(encoder.width, s.components) if s.clip_weight else None
        parts = PARTS if s.part_weight else ()
        self.part_heads = nn.ModuleList(_head(encoder.width, s.part_components) for _ in parts)
        self.average = MovingAverage(encoder)
        # of every track, (tracks, components) and (tracks, parts, components), made by `prepare` whenever a run starts
        # or goes on; no buffers, or processes would send each other these tables at every step
        self.clip_target = self.part_target = torch.empty(0)

    def prepare(self, sampler: Sampler) -> None:
        self.prepare_together([self], [sampler])

    @torch.no_grad()
    def prepare_together(self, tasks: Sequence[Pretext], samplers: Sequence[Sampler]) -> None:
        """What is predicted, for each track: the components are those of all data sets together."""
        s, ours = self.settings, [task for task in tasks if isinstance(task, Mosaic)]
        some = [task._clean(sampler, MOST_FITTED // len(ours)) for task, sampler in zip(ours, samplers, strict=True)]
        windows = torch.cat([x for chunks in some for x in chunks])
        clip = Components.of(windows, list(range(len(COMMON))), s.kernels, s.components, s.whiten, seed=0)
        limbs = [[i for i, place in enumerate(COMMON) if place.limb in part] for part in PARTS]
        parts = [
            Components.of(windows, joints, s.part_kernels, s.part_components, s.whiten, 1 + i)
            for i, joints in enumerate(limbs)
        ]
        for task, sampler in zip(ours, samplers, strict=True):
            found = [(clip(x), torch.stack([part(x) for part in parts], 1)) for x in task._clean(sampler)]
            task.clip_target, task.part_target = (torch.cat(each) for each in zip(*found, strict=True))

    def _clean(self, sampler: Sampler, most: int | None = None) -> Iterator[Tensor]:
        """The common joints of tracks, at most so many, in their first test view: (rows, T, joints, C) at a time."""
        order = torch.randperm(len(sampler.tracks), generator=torch.Generator().manual_seed(0))[:most].sort().values
        for rows in order.to(self.common.device).split(512):
            yield torch.einsum("jv,btvc->btjc", self.common, sampler.test_view(rows))

    def mask(self, batch: Batch, embedded: Tensor, mapped: Tensor, token_valid: Tensor) -> masks.Mask:
        """Joints over tubes of segments, at random, with ragged ends."""
        P, V = self.encoder.segments, self.encoder.num_joints
        tubes = batch.draws.uniform(-(-P // self.length), V).repeat_interleave(self.length, 1)[:, :P]
        score = tubes + self.settings.ragged * batch.draws.uniform(P, V)
        return masks.split(score.flatten(1), self.kept, token_valid, "lowest")

    def target(self, batch: Batch) -> Target:
        segment_frames = self.encoder.settings.segment_frames
        if not self.settings.motion_weight:
            nothing = batch.x.new_zeros(len(batch.x), self.encoder.tokens, segment_frames * batch.x.shape[-1])
            return Target(nothing, nothing, torch.ones_like(nothing), "features")
        motion = difference(batch.x[:, :, self.encoder.joints])
        return Target(*targets.normalise(motion, segment_frames, self.settings.target_norm), "motion")

    def decode(self, encoded: Tensor, mask: masks.Mask) -> Tensor:
        """The motion at masked tokens; not asked for where it has no weight."""
        if self.settings.motion_weight:
            return super().decode(encoded, mask)
        S, C = self.encoder.settings.segment_frames, self.encoder.layout.dims
        return encoded.new_zeros(*mask.masked.shape, S * C)

    def losses(self, batch: Batch, done: Prediction) -> dict[str, tuple[float, Tensor]]:
        assert batch.track is not None
        s, encoded, terms = self.settings, done.encoded.float(), {}
        if s.motion_weight:
            terms["reconstruction"] = s.motion_weight, super().losses(batch, done)["reconstruction"][1]
        if self.clip_head is not None:
            guess = self.clip_head(encoded.mean(1)).float()
            terms["clip"] = s.clip_weight, F.mse_loss(guess, self.clip_target[batch.track])
        if self.part_heads:
            share = self.member[:, done.mask.keep % self.encoder.num_joints].transpose(0, 1)  # (B, parts, K)
            seen = share.sum(-1)
            means = share @ encoded / seen.clamp_min(1).unsqueeze(-1)
            guess = torch.stack([head(means[:, i]).float() for i, head in enumerate(self.part_heads)], 1)
            wrong = (guess - self.part_target[batch.track]).square().mean(-1)
            terms["parts"] = s.part_weight, targets.masked_mean(wrong, seen > 0)
        return terms

    def after_step(self, progress: float) -> None:
        start = self.settings.ema_decay
        self.average.update(self.encoder, start + (1 - start) * progress)

    def encoders(self) -> dict[str, Encoder]:
        return {"encoder": self.average.module, "encoder-student": self.encoder}


def _head(width: int, out: int) -> nn.Module:
    head = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, out))
    initialise(head)
    return head

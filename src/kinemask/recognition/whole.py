"""Models with everything inside, from raw keypoints of one clip to probabilities or features, for export."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from kinemask.models.encoders import TrainedEncoder
from kinemask.nn.heads import MLPClassifier
from kinemask.nn.readouts import Pooling, mean_of_tokens
from kinemask.recognition.model import ClipModel
from kinemask.recognition.one_clip import Bodies, read_clip, view
from kinemask.recognition.tuned import Tuned
from kinemask.skeleton import Layout
from kinemask.windows.bodies import MOST_BODIES
from kinemask.windows.settings import SamplingSettings


class Whole(nn.Module):
    """Keypoints (1, M, T, V, C) of any M and T, in a store's units and axes, NaN where missing -> (1, outputs).

    output: what the outputs are called.
    """

    output: ClassVar[str]
    layout: Layout


class WholeRecogniser(Whole):
    """Keypoints -> probabilities of the classes, as `Recogniser.predict_proba` has them."""

    output = "probabilities"

    def __init__(self, model: ClipModel):
        super().__init__()
        self.model, self.layout = model.eval(), model.layout
        self.sampling = SamplingSettings(frames=model.window.frames, test_crop=1.0, align=model.choice.align)
        self.tokens = None if model.encoder is None else Tokens(model.encoder, model.encoder.sampling.test_clips)
        self.tuned = None if model.tuned is None else TunedTokens(model.tuned)
        own = model.window.bodies > 1 or self.sampling.align == "pair"
        self.pair = own or any(one is not None and one.pair for one in (self.tokens, self.tuned))

    def forward(self, keypoints: Tensor) -> Tensor:
        bodies = read_clip(keypoints[0], self.layout, self.pair)
        windows = view(bodies, self.layout, self.sampling)[: self.model.window.bodies]
        beside = (None if one is None else one(bodies) for one in (self.tokens, self.tuned))
        return self.model(windows.unsqueeze(0), *beside)


class WholeEncoder(Whole):
    """Keypoints -> features, as `TrainedEncoder.encode` has them."""

    output = "features"

    def __init__(self, model: TrainedEncoder):
        super().__init__()
        self.layout, self.tokens = model.layout, Tokens(model.eval(), 1)

    def forward(self, keypoints: Tensor) -> Tensor:
        return self.tokens(read_clip(keypoints[0], self.layout, self.tokens.pair))


class Tokens(nn.Module):
    """What an encoder makes of the bodies of one clip, mean of the first `views` test windows: -> (1, D).

    pair: whether it needs two bodies. Raises ValueError for an encoder whose test windows are drawn at random.
    """

    def __init__(self, model: TrainedEncoder, views: int):
        super().__init__()
        check_window(model.sampling)
        self.encoder, self.layout, self.sampling = model.encoder, model.layout, model.sampling
        self.readout, self.views = model.readout, views
        assert isinstance(self.readout, Pooling) or self.readout is mean_of_tokens
        pooled_in_pairs = isinstance(self.readout, Pooling) and self.readout.settings.bodies == "pair"
        self.pair = self.sampling.align == "pair" or pooled_in_pairs

    def forward(self, bodies: Bodies) -> Tensor:
        views = [self._of_view(bodies, number) for number in range(self.views)]
        return torch.stack(views).mean(0)

    def _of_view(self, bodies: Bodies, number: int) -> Tensor:
        x = view(bodies, self.layout, self.sampling, number)
        if not isinstance(self.readout, Pooling):
            return _mean(self.encoder(x).float().mean((1, 2)), bodies.exists)
        if self.readout.settings.bodies == "mean":
            return _mean(self.readout.of_bodies(self.encoder(x)), bodies.exists)
        x, exists = x[:MOST_BODIES], bodies.exists[:MOST_BODIES].unsqueeze(1)
        roots = self.readout.of_roots(x)
        pair = self.readout.of_bodies(self.encoder(x)) * exists
        return torch.cat([pair.flatten(), (roots[1] - roots[0]) * exists[1]]).unsqueeze(0)


class TunedTokens(nn.Module):
    """What a fine-tuned encoder says of the bodies of one clip: log probabilities (1, classes).

    pair: whether it needs two bodies. Raises ValueError as `Tokens`.
    """

    def __init__(self, tuned: Tuned):
        super().__init__()
        model = tuned.model
        check_window(model.sampling)
        assert isinstance(model.classifier, MLPClassifier)
        self.tuned, self.classifier, self.sampling = tuned, model.classifier, model.sampling
        self.pair = self.sampling.align == "pair"

    def forward(self, bodies: Bodies) -> Tensor:
        return self.tuned.logarithms(
            torch.stack([self._of_view(bodies, number) for number in range(self.sampling.test_clips)]).mean(0)
        )

    def _of_view(self, bodies: Bodies, number: int) -> Tensor:
        encoded = self.classifier.encoder(view(bodies, self.classifier.encoder.layout, self.sampling, number))
        joints = encoded.float().mean(1).flatten(1)
        return self.classifier.head(_mean(joints, bodies.exists)).softmax(1)


def check_window(sampling: SamplingSettings) -> None:
    """ValueError where test windows are drawn at random."""
    if sampling.window != "crop":
        raise ValueError(
            f"an encoder with sampling.window {sampling.window} takes frames at random, which cannot be exported; train"
            " one with sampling.window crop"
        )


def _mean(values: Tensor, exists: Tensor) -> Tensor:
    """Mean of the rows (M, D) of bodies that exist: (1, D)."""
    kept = torch.where(exists.unsqueeze(1), values, 0.0)
    return (kept.sum(0) / exists.sum()).unsqueeze(0)

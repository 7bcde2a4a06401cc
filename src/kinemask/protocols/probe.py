"""Converged probes on frozen features: ridge in closed form, logistic regression by L-BFGS."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from kinemask.protocols import frozen
from kinemask.protocols.baselines import Baseline
from kinemask.protocols.case import Case, Outcome
from kinemask.protocols.features import Features
from kinemask.protocols.folds import folds
from kinemask.protocols.labels import draw_labels
from kinemask.protocols.ridge import fit_blocks
from kinemask.protocols.settings import ProbeSettings
from kinemask.runs.measures import accuracy
from kinemask.runs.result import Curve
from kinemask.windows.parts import Part

INVERSE_PENALTIES = tuple(10.0**k for k in range(-4, 3))  # C of logistic regression
_CURVE = "labels"


def probe(features: Features, classes: int, settings: ProbeSettings, seed: int) -> Outcome:
    """Scores with every label; for each number of labels a class, a point of a curve. The seed decides their draws."""
    train, test = features.train, features.test
    rows = [_mean(features.test_views(train.tracks)), *(features.view(n) for n in range(settings.views))]
    x, queries = torch.stack(rows), _mean(features.test_views(test.tracks))  # (1 + views, N, D), (N', D)
    everything, twins = np.arange(len(train.clips)), features.twins_differ() if settings.twins else None

    def scores(positions: np.ndarray) -> Tensor:
        labels, own = train.labels[positions], x[:, positions]
        if settings.kind == "ridge":
            blocks, asked, copies, differ = [own.flatten(0, 1)], [queries], [len(own)], [twins]
            other = features.beside(settings.beside, train.subset(positions), seed)
            if other is not None:
                blocks.append(other.gallery)
                asked.append(other.features(other.test.tracks))
                copies.append(1)
                differ.append(other.twins_differ() if settings.twins else None)
            return fit_blocks(blocks, labels, classes, copies, differ).probabilities(asked).cpu()
        return logistic(own.cpu(), labels.cpu(), classes, queries.cpu(), folds(train.subset(positions), test))

    found, truth = scores(everything), test.labels.cpu()
    if not settings.per_class:
        return Outcome(found)
    draws = _draws(train, settings, seed)
    points = [accuracy(scores(drawn), truth) for drawn in draws]
    return Outcome(found, curves={_CURVE: _curve(settings, points)}, labels=train.subset(draws[-1]).names)


def with_few_labels(case: Case, settings: ProbeSettings, seed: int, baseline: Baseline, outcome: Outcome) -> Outcome:
    """A baseline with the same draws of labels."""
    if not settings.per_class:
        return outcome
    truth, points = baseline.test.labels, []
    for drawn in _draws(case.train, settings, seed):
        scores = baseline.with_labels(case.train.subset(drawn)).scores(baseline.test.tracks)
        points.append(accuracy(scores, truth))
    return replace(outcome, curves={_CURVE: _curve(settings, points)})


def _draws(train: Part, settings: ProbeSettings, seed: int) -> list[np.ndarray]:
    return [draw_labels(train, seed, per_class=count) for count in settings.per_class]


def _curve(settings: ProbeSettings, points: list[float]) -> Curve:
    return Curve(title="labels a class", levels=tuple(map(float, settings.per_class)), accuracy=tuple(points))


def _mean(views: list[Tensor]) -> Tensor:
    return torch.stack(views).mean(0)


def logistic(x: Tensor, labels: Tensor, classes: int, queries: Tensor, held_out: list[np.ndarray]) -> Tensor:
    """Class probabilities (N', classes) of queries (N', D), from rows x (copies, N, D) with labels (N,).

    Features are standardised. The penalty is the one of the least log loss over the held-out clips, (N,) bool a fold;
    without folds it is 1.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    copies = len(x)
    rows = x.flatten(0, 1).double().numpy()
    mean, scale = rows.mean(0), rows.std(0)
    scale[scale <= 1e-8] = 1
    rows, asked = (rows - mean) / scale, (queries.double().numpy() - mean) / scale
    truth = np.tile(labels.numpy(), copies)

    def predict(used: np.ndarray, at: np.ndarray, c: float) -> np.ndarray:
        out = np.zeros((len(at), classes))
        present = np.unique(truth[used])
        if len(present) == 1:
            out[:, present] = 1
            return out
        model = LogisticRegression(C=c, max_iter=2000).fit(rows[used], truth[used])
        out[:, model.classes_] = model.predict_proba(at)
        return out

    best = 1.0
    if held_out:
        loss = dict.fromkeys(INVERSE_PENALTIES, 0.0)
        for c in loss:
            for fold in held_out:
                used, out = np.tile(~fold, copies), np.flatnonzero(fold)  # of a held-out clip, its first row
                guess = np.clip(predict(used, rows[out], c), 1e-12, None)
                guess /= guess.sum(1, keepdims=True)
                loss[c] += log_loss(truth[out], guess, labels=np.arange(classes), normalize=False)
        best = min(loss, key=lambda c: loss[c])
    return torch.from_numpy(predict(np.ones(len(rows), bool), asked, best)).float()


score = partial(frozen.score, run=probe, complete=with_few_labels)

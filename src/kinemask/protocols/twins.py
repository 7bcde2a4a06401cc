"""Generated twins, and what they teach a classifier: not to look at what differs between them.

A motion programme performed by several people of different build, tempo and sensor gives clips that agree in what is
done. The covariance of features within programmes is then a prior on a classifier's weights: within-class covariance
normalisation (Hatch et al., Interspeech 2006), whose classes nobody had to label.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from kinemask.nn.places import carried
from kinemask.skeleton import Layout, layout
from kinemask.synthetic.kinematics import rotation
from kinemask.synthetic.programmes import programme
from kinemask.windows.align import turns
from kinemask.windows.settings import Align
from kinemask.windows.tracks import Recordings, Tracks

PROGRAMMES, PERFORMANCES = 800, 3
TILT, ASTRAY = 0.1, 0.3  # radians that a camera leans, and that a body's heading is taken wrongly, at most
_SEED = 11
_WHAT, _WHO, _SENSOR = 1, 2, 3  # streams of draws that are not to be alike
_APART = (0.5, 1.6)  # metres between two people
_JOINT = 0.01  # metres by which sensors disagree where a joint is


def differences(features: Tensor) -> Tensor:
    """What twins' features (PROGRAMMES·PERFORMANCES, D) are from the mean of their programme: the same shape."""
    own = features.view(-1, PERFORMANCES, features.shape[1])
    return (own - own.mean(1, keepdim=True)).flatten(0, 1)


def performable(target: Layout) -> bool:
    """Whether twins can be made for a layout: in 3D, with left and right."""
    return target.dims == 3 and bool(target.pairs)


def twins(tracks: Tracks, align: Align, programmes: int | None = None) -> Tracks:
    """Twins in the layout of real tracks, turned as these are once they are aligned so, on their device.

    Programme by programme (PROGRAMMES of them), PERFORMANCES clips each; of two people where real clips are, as often.
    Where clips are not turned, twins face where real clips face. ValueError for a layout that has none.
    """
    if not performable(tracks.layout):
        raise ValueError(f"twins are generated in 3D, with left and right; layout {tracks.layout.name} is not so")
    target, rng, programmes = tracks.layout, np.random.default_rng(_SEED), programmes or PROGRAMMES
    bodies = torch.bincount(tracks.clip, minlength=len(tracks.clips)).cpu()
    two = bodies > 1
    pairs = round(programmes * float(two.double().mean()))
    weights = carried(layout("ntu25"), target)
    real = turns(tracks, "pair" if pairs else "heading").cpu()[bodies.cumsum(0) - bodies]  # of each clip's first body
    made = []
    for number in range(programmes):
        along_x = number < pairs and align != "heading"
        apart = rng.uniform(*_APART)
        for performance in range(PERFORMANCES):
            own = np.random.default_rng([_SEED, _SENSOR, number, performance])
            people = [_performed(number + programmes * second, performance) for second in range(1 + (number < pairs))]
            frames = min(map(len, people))
            clip = np.stack([weights @ person[:frames] for person in people])  # (M, T, V, 3)
            clip += own.normal(0.0, _JOINT, (len(clip), 1, *clip.shape[2:]))
            if len(clip) > 1:
                clip[1] = clip[1] * [-1.0, 1.0, -1.0] + [own.normal(0.0, 0.1), 0.0, apart + own.normal(0.0, 0.1)]
            clip -= clip[0, 0, list(target.origin)].mean(0)
            yaw = own.uniform(-ASTRAY, ASTRAY) + (np.pi / 2 if along_x else np.pi)  # clips turned so face away from z
            if align == "none":
                alike = real[two == (number < pairs)]
                alike = alike if len(alike) else real
                yaw -= float(alike[own.integers(len(alike))])
            lean = own.uniform(-TILT, TILT, 2)
            turned = rotation(np.array([lean[0], 0.0, lean[1]])) @ rotation(np.array([0.0, yaw, 0.0]))
            made.append((clip @ turned.T).astype(np.float32))
    return Tracks(Recordings.of(target, made), None, tracks.device)


@lru_cache(maxsize=2 * PROGRAMMES * PERFORMANCES)
def _performed(number: int, performance: int) -> np.ndarray:
    """A performance of a programme: joints (T, 25, 3) of NTU RGB+D, float32, which begins facing z."""
    what, who = ([_SEED, _WHAT, number], [_SEED, _WHO, number, performance])
    made = programme(np.random.default_rng(what), np.random.default_rng(who)).astype(np.float32)
    made.setflags(write=False)
    return made

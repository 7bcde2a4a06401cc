"""Recordings of three classes by four people, as the tests of recognition take them."""

from __future__ import annotations

import numpy as np

from helpers import CLASSES, recording
from kinemask.skeleton import layout

SBU = layout("sbu15")


def clips(count=24, of=SBU, seed=0, bodies=1):
    """Recordings of three classes by four people, their labels, and who."""
    rng = np.random.default_rng(seed)
    people = lambda i: np.stack([recording(20 + i % 7, i % 3, of, rng) for _ in range(bodies)])
    x = [people(i)[0] if bodies == 1 else people(i) for i in range(count)]
    return x, np.array([CLASSES[i % 3] for i in range(count)]), np.array([f"p{i // 3 % 4}" for i in range(count)])

"""What people do besides the action: before it, after it and meanwhile. None of it tells which action it is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kinemask.synthetic.performer import Performer
from kinemask.synthetic.timing import Timing, drift, ramp


def _one_hand(p: Performer) -> int:
    return int(p.rng.integers(2))


def scratch_head(p: Performer, k: Timing) -> None:
    side, w = _one_hand(p), k.held(p.rng)
    rub = 0.035 * np.sin(2 * np.pi * p.rng.uniform(1.5, 3.0) * k.t)[:, None] * p.outward((0.3, 1.0, 0.3), side)
    p.pose.head[:, 0] += 0.1 * w
    p.move_hand(side, p.near_head(p.outward((0.09, 0.06, -0.02), side) + p.hold_place(5)) + rub, w)


def touch_face(p: Performer, k: Timing) -> None:
    side = _one_hand(p)
    p.move_hand(side, p.near_head(p.outward((0.05, -0.06, 0.11), side) + 0.5 * p.hold_place(5)), k.held(p.rng))


def scratch_arm(p: Performer, k: Timing) -> None:
    side, w = _one_hand(p), k.held(p.rng)
    rub = 0.04 * np.sin(2 * np.pi * p.rng.uniform(1.5, 3.0) * k.t)[:, None] * np.array([0.0, 1.0, 0.0])
    p.move_hand(1 - side, p.outward((0.05, -0.35, 0.2), 1 - side), 0.6 * w)
    p.move_hand(side, p.pose.wrists[:, 1 - side] + p.outward((0.0, 0.12, 0.03), side) + rub, w)


def look_at_watch(p: Performer, k: Timing) -> None:
    side, w = _one_hand(p), k.held(p.rng)
    p.pose.head[:, 0] += 0.3 * w
    p.move_hand(side, p.outward((0.02, -0.14, 0.26), side) + p.hold_place(5), w)


def pull_clothes(p: Performer, k: Timing) -> None:
    """Both hands at the belly, a short pull down."""
    w = k.held(p.rng)
    pull = 0.06 * np.sin(2 * np.pi * p.rng.uniform(0.8, 1.6) * k.t)[:, None] * np.array([0.0, 1.0, 0.0])
    for side in (0, 1):
        p.move_hand(side, p.outward((0.11, -0.6 * p.person.body.arm, 0.15), side) + 0.5 * p.hold_place(5) + pull, w)


def reach_out(p: Performer, k: Timing) -> None:
    """A hand goes somewhere before the body and comes back, as if to lean on or touch something."""
    side = _one_hand(p)
    place = p.outward((p.rng.uniform(-0.05, 0.35), p.rng.uniform(-0.45, 0.1), p.rng.uniform(0.2, 0.45)), side)
    p.move_hand(side, place, k.held(p.rng))


def look_round(p: Performer, k: Timing) -> None:
    w, way = k.held(p.rng), p.rng.choice([-1, 1]) * p.rng.uniform(0.4, 0.9)
    p.pose.head[:, 1] += way * w
    p.pose.spine[:, 1] += 0.3 * way * w
    p.pose.head[:, 0] += p.rng.normal(0.0, 0.15) * w


def shift_weight(p: Performer, k: Timing) -> None:
    w, way = k.held(p.rng), p.rng.choice([-1, 1]) * p.rng.uniform(0.04, 0.1)
    p.pose.pelvis[:, 0] += way * w
    p.pose.turn[:, 2] += 0.9 * way * w
    p.pose.spine[:, 2] -= 1.1 * way * w


def step_aside(p: Performer, k: Timing) -> None:
    angle, length = p.rng.uniform(0.0, 2 * np.pi), p.rng.uniform(0.12, 0.35)
    p.step(k, length * np.array([np.sin(angle), 0.0, np.cos(angle)]))


def turn_body(p: Performer, k: Timing) -> None:
    """Turn towards something, and stay so."""
    turn = p.rng.normal(0.0, 0.4) * ramp((k.t - k.start) / (k.stop - k.start))
    p.pose.turn[:, 1] += turn
    p.pose.head[:, 1] += 0.3 * turn


def lean(p: Performer, k: Timing) -> None:
    w = k.held(p.rng)
    p.pose.spine[:, 0] += p.rng.normal(0.05, 0.18) * w
    p.pose.spine[:, 2] += p.rng.normal(0.0, 0.08) * w


Beside = Callable[[Performer, Timing], None]
HANDS: tuple[Beside, ...] = (scratch_head, touch_face, scratch_arm, look_at_watch, pull_clothes, reach_out)
BODY: tuple[Beside, ...] = (look_round, shift_weight, step_aside, turn_body, lean)


def do_something(p: Performer, timing: Timing | None) -> None:
    """With the hands, mostly; nothing where there is no time for it."""
    if timing is not None:
        kinds = HANDS if p.rng.random() < 0.7 else BODY
        kinds[int(p.rng.integers(len(kinds)))](p, timing)


def do_meanwhile(p: Performer, often: float) -> None:
    """With the body, at any time of the clip; the hands are left alone."""
    if p.rng.random() < often:
        start = p.rng.uniform(-0.3, p.frames / 45.0)
        BODY[int(p.rng.integers(len(BODY)))](p, Timing(p.frames, start, start + p.rng.uniform(0.8, 1.6)))
    p.pose.elbows += 0.15 * drift(p.rng, p.frames, (2,))

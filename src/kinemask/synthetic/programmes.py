"""Motion programmes: bodies that move as nobody told them to, for pre-training without a recording.

A clip is a posture and one to four things done at once or one after another: hands go to places or swing about them,
alone, together or mirrored; legs kick, lift and step; the trunk bends; people walk, turn, squat, jump, sit down, lie.
How far, how fast, how often and in which order is drawn anew for each clip. Nothing is fitted to any data set, and a
programme has no class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from kinemask.synthetic.kinematics import SIGNS, Body, rotation, turned
from kinemask.synthetic.performer import Performer, Person
from kinemask.synthetic.timing import RATE, Timing, drift, ramp

SHORTEST, LONGEST = 1.0, 5.0  # seconds of a clip
FEWEST_FRAMES = 12  # of a performance, however quick
PLACES = {  # where a hand may go on the body: from the head joint, in the head's axes (outwards, up, forward), metres
    "mouth": (0.05, -0.06, 0.12),
    "ear": (0.11, -0.02, 0.04),
    "crown": (0.06, 0.14, 0.0),
    "nape": (0.06, -0.05, -0.1),
}
ON_TRUNK = {  # in shares of the arm's length, from the spine shoulder, in the chest's axes
    "chest": (0.1, -0.25, 0.25),
    "other shoulder": (-0.3, -0.05, 0.2),
    "belly": (0.08, -0.6, 0.25),
    "hip": (0.4, -0.75, 0.0),
    "back": (0.1, -0.6, -0.25),
    "midline": (0.03, -0.35, 0.5),
}


def programme(rng: np.random.Generator, who: np.random.Generator | None = None) -> np.ndarray:
    """One clip: joints (T, 25, 3) in the order of NTU RGB+D at 30 frames a second, metres, y up, floor at y = 0.

    who: draws who performs it, how fast, and how a sensor sees it, so that a programme has as many performances as
    there are states of `who`: twins, which agree in what is done and with which hand. They begin facing z.
    """
    frames = round(rng.uniform(SHORTEST, LONGEST) * RATE)
    person = _person(rng)
    if who is not None:
        person = replace(_person(who), hand=person.hand, both=person.both)
    p = Performer(person, rng, frames)
    facing = rng.uniform(-np.pi, np.pi)
    heading = np.full(frames, facing if who is None else 0.0)
    posture = rng.choice(["stand", "sit", "low"], p=[0.8, 0.15, 0.05])
    if posture != "stand":
        _lower(p, np.ones(frames), rng.uniform(0.45, 0.6) if posture == "sit" else rng.uniform(0.2, 0.45))
    acts, weights = zip(*ACTS, strict=True) if posture == "stand" else zip(*SEATED_ACTS, strict=True)
    chosen = rng.choice(len(acts), size=rng.integers(1, 5), replace=False, p=np.array(weights) / sum(weights))
    for n in chosen:
        acts[n](p, _when(rng, frames))
    if rng.random() < 0.2:
        heading = heading + _keyed(rng, _when(rng, frames), [rng.uniform(-np.pi, np.pi)], stays=rng.random() < 0.6)
    if rng.random() < 0.08:
        heading = heading + rng.uniform(-1.5, 1.5) * np.arange(frames) / RATE
    joints = p.joints(0.0, np.zeros(3))
    if rng.random() < 0.04:
        joints = _lying(rng, joints, frames)
    axes, hips = rotation(heading[:, None] * [0.0, 1.0, 0.0]), p.pose.pelvis * [1.0, 0.0, 1.0]
    way = np.cumsum(turned(axes, np.diff(hips, axis=0, prepend=hips[:1])), 0)  # a turn bends the way that is walked
    moved = (joints - hips[:, None]) @ axes.swapaxes(1, 2) + way[:, None]
    return sensed(rng, moved) if who is None else sensed(who, _retimed(who, moved))


def sensed(rng: np.random.Generator, joints: np.ndarray) -> np.ndarray:
    """Joints (T, V, 3) as some sensor sees them: trembling, wandering, at times with a limb stuck or off its place."""
    frames, count = joints.shape[:2]
    loose = rng.uniform(0.4, 1.6, (count, 1))
    out = joints + loose * rng.uniform(0.0, 0.006) * rng.normal(size=joints.shape)
    out += loose * rng.uniform(0.0, 0.015) * drift(rng, frames, (count, 3), 0.2, 2.0)
    for _ in range(rng.poisson(0.4)):
        start, which = int(rng.integers(frames)), rng.integers(count, size=rng.integers(1, 4))
        run = np.arange(start, min(start + int(rng.integers(2, 15)), frames))
        stuck = out[start, which] if rng.random() < 0.5 else out[run][:, which] + rng.normal(0.0, 0.1, 3)
        out[run[:, None], which] = stuck
    return out


# bodies and time


def _person(rng: np.random.Generator) -> Person:
    return replace(Person.sample(rng), body=_proportions(rng))


def _proportions(rng: np.random.Generator) -> Body:
    """A body from a child's to a giant's: limbs and trunk longer or shorter than is usual."""
    body, size = Body.sample(rng), rng.uniform(0.6, 1.15)
    trunk_size, arms, legs, head = rng.normal(1.0, 0.07, 4) + np.array([0.0, 0.0, 0.0, 0.35 * (1.0 - size)])
    groups = {
        trunk_size: ("hips", "waist", "chest", "neck", "shoulders"),
        arms: ("upper_arm", "forearm", "hand", "fingers", "thumb"),
        legs: ("thigh", "shin", "foot", "sole"),
        head: ("head",),
    }
    return replace(
        body, **{name: float(getattr(body, name) * size * share) for share, names in groups.items() for name in names}
    )


def _retimed(rng: np.random.Generator, joints: np.ndarray) -> np.ndarray:
    """Joints (T, V, 3) faster or slower, here and there, and cut a little at both ends: (T', V, 3)."""
    frames = len(joints)
    begin, end = rng.uniform(0.0, 0.1), 1.0 - rng.uniform(0.0, 0.1)
    count = max(round(frames * (end - begin) * np.exp(rng.normal(0.0, 0.25))), FEWEST_FRAMES)
    passed = np.cumsum(np.exp(0.4 * drift(rng, count, (), 0.2, 1.0)))
    share = (passed - passed[0]) / (passed[-1] - passed[0])
    at = (begin + (end - begin) * share) * (frames - 1)
    before = np.minimum(at.astype(int), frames - 2)
    late = (at - before)[:, None, None]
    return (1.0 - late) * joints[before] + late * joints[before + 1]


def _when(rng: np.random.Generator, frames: int) -> Timing:
    """A stretch of the clip, often all of it; what is done may have begun before and end after."""
    length = frames / RATE
    if rng.random() < 0.5:
        return Timing(frames, -0.2 * rng.random(), length + 0.2 * rng.random())
    start = rng.uniform(0.0, 0.5) * length
    return Timing(frames, start, start + rng.uniform(0.35, 0.9) * length)


def _keyed(
    rng: np.random.Generator, k: Timing, places: Sequence[float | np.ndarray], stays: bool = False
) -> np.ndarray:
    """From 0 to each place in turn by minimum-jerk steps with rests between, and back unless it stays: (T, ...)."""
    stops = [np.asarray(place, float) for place in places] + ([] if stays else [np.zeros(np.shape(places[0]))])
    shares = np.exp(rng.normal(0.0, 0.6, 2 * len(stops)))
    ends = k.start + (k.stop - k.start) * np.cumsum(shares) / shares.sum()
    t, now = k.t, np.zeros(np.shape(places[0]))
    out = np.zeros((k.frames, *now.shape))
    for n, stop in enumerate(stops):
        begun, done = (k.start if n == 0 else ends[2 * n - 1]), ends[2 * n]
        step = ramp((t - begun) / max(done - begun, 0.1))
        out += step.reshape(-1, *(1,) * now.ndim) * (stop - now)
        now = stop
    return out


def _repeated(rng: np.random.Generator, places: list[np.ndarray]) -> list[np.ndarray]:
    """The places as they are, or gone through several times."""
    return places * int(rng.integers(2, 5)) if rng.random() < 0.3 else places


def _swing(rng: np.random.Generator, k: Timing, shape: tuple[int, ...], slow: float = 0.4, fast: float = 3.0):
    """A rhythm of unit size (T, *shape) with a harmonic, that begins and ends; its parts are out of step."""
    rate = np.exp(rng.uniform(np.log(slow), np.log(fast)))
    phase = 2 * np.pi * rate * k.t + 0.2 * drift(rng, k.frames, ()) + rng.uniform(0, 2 * np.pi)
    phase = phase.reshape(-1, *(1,) * len(shape)) + rng.choice([0.0, np.pi / 2, np.pi, 3 * np.pi / 2], shape)
    wave = np.sin(phase) + rng.uniform(0.0, 0.4) * np.sin(2 * phase + rng.uniform(0, 2 * np.pi))
    return wave * k.held(rng).reshape(-1, *(1,) * len(shape))


# hands


def _place(p: Performer, side: int) -> np.ndarray:
    """Where a hand may go: on the body, or anywhere within reach, more often before than behind it: (T, 3)."""
    rng, arm, kind = p.rng, p.person.body.arm, p.rng.random()
    if kind < 0.2:
        spot = np.array(list(PLACES.values())[rng.integers(len(PLACES))]) * p.person.body.head / 0.13
        return p.near_head(p.outward(spot, side)) + rng.normal(0.0, 0.02, 3)
    if kind < 0.4:
        spot = np.array(list(ON_TRUNK.values())[rng.integers(len(ON_TRUNK))]) * arm
        return np.tile(p.outward(spot, side) + rng.normal(0.0, 0.02, 3), (p.frames, 1))
    outwards, raised = rng.uniform(-0.7, 1.7), np.arcsin(rng.uniform(-1.0, 1.0))
    way = np.array([np.sin(outwards) * np.cos(raised), np.sin(raised), np.cos(outwards) * np.cos(raised)])
    spot = np.array([p.person.body.shoulders, -0.035, 0.0]) + arm * rng.uniform(0.35, 1.0) * way
    return np.tile(p.outward(spot, side), (p.frames, 1))


def _sides(p: Performer) -> list[int]:
    return [0, 1] if p.rng.random() < 0.4 else [p.side if p.rng.random() < 0.8 else p.other]


def reach(p: Performer, k: Timing) -> None:
    """Hands go from place to place; two of them mirrored, one after the other, or each its own way."""
    rng, sides = p.rng, _sides(p)
    mirrored, late = rng.random() < 0.6, rng.uniform(0.0, 0.5) * (rng.random() < 0.4)
    seed, first = int(rng.integers(2**32)), sides[0]
    spots = _repeated(rng, [_place(p, first) for _ in range(rng.integers(1, 4))])
    bulge = rng.normal(0.0, 0.1, 3)
    for n, side in enumerate(sides):
        own = k if n == 0 else k.late(late)
        if n and not mirrored:
            spots = [_place(p, side) for _ in range(len(spots))]
        flip = np.array([-1.0, 1.0, 1.0]) if n and mirrored else np.ones(3)
        rest, order = p.pose.wrists[:, side].copy(), np.random.default_rng(seed if mirrored else seed + n)
        weights = _keyed(order, own, list(np.eye(len(spots))))
        target = np.stack([spot * flip for spot in spots], 1)  # (T, places, 3)
        moving = 4.0 * weights.max(-1) * (1.0 - weights.max(-1))
        p.pose.wrists[:, side] = (
            (1.0 - weights.sum(-1, keepdims=True)) * rest
            + (weights[..., None] * target).sum(1)
            + moving[:, None] * p.outward(bulge, side)
        )
        p.pose.elbows[:, side] += rng.normal(0.0, 0.6) * weights.max(-1)


def swing_hands(p: Performer, k: Timing) -> None:
    """Hands hold a place and go to and fro, round and round or in an eight about it."""
    rng, sides = p.rng, _sides(p)
    spot, size = _place(p, sides[0]), p.person.body.arm * rng.uniform(0.04, 0.4)
    wave = size * _swing(rng, k, (3,)) * rng.dirichlet(np.ones(3)) * 2.0
    hold, opposite = k.held(rng), rng.choice([-1.0, 1.0])
    for n, side in enumerate(sides):
        flip = np.array([-1.0, 1.0, 1.0]) if n else np.ones(3)
        p.move_hand(side, (spot + (opposite if n else 1.0) * wave) * flip, hold)
        p.pose.palms[:, side] += rng.uniform(0.0, 3.0) * wave * flip


def carry(p: Performer, k: Timing) -> None:
    """Both hands on one thing that goes from place to place."""
    rng, arm = p.rng, p.person.body.arm
    width = arm * rng.uniform(0.05, 0.35)
    spots = [arm * np.array([rng.uniform(-0.4, 0.4), rng.uniform(-0.8, 0.6), rng.uniform(0.4, 0.8)]) for _ in range(3)]
    spots = _repeated(rng, spots[: rng.integers(1, 4)])
    weights = _keyed(rng, k, list(np.eye(len(spots))))
    held = weights.sum(-1, keepdims=True)
    thing = weights @ np.stack(spots)
    for side, sign in enumerate(SIGNS):
        p.pose.wrists[:, side] = (1.0 - held) * p.pose.wrists[:, side] + thing + held * [sign * width, 0.0, 0.0]


def bend_wrists(p: Performer, k: Timing) -> None:
    for side in _sides(p):
        p.pose.palms[:, side] += _swing(p.rng, k, (3,)) * p.rng.uniform(0.1, 0.8)


# trunk, head and legs


def bend_trunk(p: Performer, k: Timing) -> None:
    rng = p.rng
    size = np.array([rng.uniform(-0.3, 1.2), rng.uniform(-0.8, 0.8), rng.uniform(-0.5, 0.5)]) * (rng.random(3) < 0.5)
    angle = _swing(rng, k, (1,), 0.3, 1.2) * size * 0.5 if rng.random() < 0.3 else _keyed(rng, k, [size])
    p.pose.spine += 0.6 * angle
    p.pose.turn += 0.4 * angle
    p.pose.pelvis[:, 2] -= 0.15 * np.sin(angle[:, 0])


def move_head(p: Performer, k: Timing) -> None:
    size = np.array([p.rng.uniform(-0.5, 0.6), p.rng.uniform(-1.0, 1.0), p.rng.uniform(-0.5, 0.5)])
    size = size * (p.rng.random(3) < 0.5)
    p.pose.head += _swing(p.rng, k, (1,)) * size * 0.5 if p.rng.random() < 0.5 else _keyed(p.rng, k, [size])


def squat(p: Performer, k: Timing) -> None:
    """Down and up, once or often; or a jump, with both feet off the floor."""
    rng = p.rng
    if rng.random() < 0.35:
        height = np.maximum(_swing(rng, k, (), 0.6, 2.2), 0.0) * rng.uniform(0.05, 0.3)
        p.pose.pelvis[:, 1] += height
        p.pose.ankles[..., 1] += height[:, None]
        p.pose.toes += 0.6 * np.minimum(height / 0.1, 1.0)[:, None]
        return
    times = int(rng.integers(1, 4))
    weight = _keyed(rng, k, [1.0, 0.0] * times)
    p.bend(weight, rng.uniform(0.2, 1.0))


def sit_down(p: Performer, k: Timing) -> None:
    weight = _keyed(p.rng, k, [1.0], stays=p.rng.random() < 0.7)
    _lower(p, 1.0 - weight if p.rng.random() < 0.4 else weight, p.rng.uniform(0.4, 0.6))


def _lower(p: Performer, weight: np.ndarray, height: float) -> None:
    """Towards a seat, or the floor, of a height in shares of that of the standing hips."""
    body = p.person.body
    p.pose.pelvis[:, 1] += weight * (height - 1.0) * body.standing
    p.pose.pelvis[:, 2] -= weight * body.thigh * p.rng.uniform(0.7, 1.0)
    p.pose.spine[:, 0] += 0.4 * 4.0 * weight * (1.0 - weight)


def kick(p: Performer, k: Timing) -> None:
    """A foot goes somewhere and back, once or in rhythm; or both, in turn."""
    rng, body = p.rng, p.person.body
    leg = body.thigh + body.shin
    way = np.array([rng.uniform(-0.3, 0.7), rng.uniform(0.05, 0.7), rng.uniform(-0.6, 0.8)]) * leg
    sides = [0, 1] if rng.random() < 0.35 else [int(rng.integers(2))]
    rhythmic, wave = rng.random() < 0.4, _swing(rng, k, (), 0.5, 2.0)
    for n, side in enumerate(sides):
        up = np.maximum(wave if n == 0 else -wave, 0.0) if rhythmic else _keyed(rng, k.late(0.2 * n), [1.0])
        p.pose.ankles[:, side] += up[:, None] * p.outward(way, side)
        p.pose.pelvis[:, 0] -= 0.07 * SIGNS[side] * up
        p.pose.toes[:, side] += rng.normal(0.0, 0.4) * up


def step(p: Performer, k: Timing) -> None:
    angle, length = p.rng.uniform(0.0, 2 * np.pi), p.rng.uniform(0.1, 0.7)
    p.step(k, length * np.array([np.sin(angle), 0.0, np.cos(angle)]))


def walk(p: Performer, k: Timing) -> None:
    """Steps on the spot, onwards, backwards or to a side, from a stroll to a run, with swinging arms."""
    rng, body = p.rng, p.person.body
    rate, stride = rng.uniform(0.6, 1.6), rng.uniform(0.15, 0.9) * (body.thigh + body.shin)
    phase = rate * k.t + rng.random()
    going = k.held(rng) if rng.random() < 0.4 else np.ones(k.frames)
    angle = rng.choice([0.0, np.pi, np.pi / 2, -np.pi / 2], p=[0.75, 0.1, 0.075, 0.075])
    way = np.array([np.sin(angle), 0.0, np.cos(angle)])
    speed = going * 2.0 * rate * stride * rng.choice([0.0, 1.0], p=[0.25, 0.75])
    travel = np.cumsum(speed) / RATE
    p.pose.pelvis += travel[:, None] * way
    lift = rng.uniform(0.05, 0.35) * (body.thigh + body.shin)
    arms = rng.uniform(0.0, 0.5) * body.arm
    for side, sign in enumerate(SIGNS):
        own = (phase + 0.5 * side) % 1.0
        swing = ramp((own - 0.5) * 2.0)  # on the floor for half of a cycle, then through the air
        along = stride * np.where(own < 0.5, 0.5 - 2.0 * own, swing - 0.5)
        moved = going * np.where(speed.max() > 0, along, 0.3 * along)
        p.pose.ankles[:, side] += (travel + moved)[:, None] * way
        p.pose.ankles[:, side, 1] += going * lift * 4.0 * swing * (1.0 - swing) * (own >= 0.5)
        back = -np.cos(2 * np.pi * own) * going
        p.pose.wrists[:, side] += arms * back[:, None] * np.array([0.0, 0.15, 0.8])
        p.pose.turn[:, 2] += 0.03 * sign * back
    p.pose.pelvis[:, 1] += 0.03 * going * np.abs(np.sin(2 * np.pi * phase)) - 0.02 * going


Act = Callable[[Performer, Timing], None]
# how often each is chosen
HAND_ACTS: tuple[tuple[Act, float], ...] = ((reach, 5), (swing_hands, 3), (carry, 1), (bend_wrists, 0.7))
SEATED_ACTS = (*HAND_ACTS, (bend_trunk, 1.5), (move_head, 1))
ACTS = (*SEATED_ACTS, (squat, 1), (sit_down, 0.7), (kick, 1.5), (step, 0.7), (walk, 1.5))


# the room


def _lying(rng: np.random.Generator, joints: np.ndarray, frames: int) -> np.ndarray:
    """On the back or the belly; at times on the way there, as in a fall."""
    down = np.ones(frames) if rng.random() < 0.5 else _keyed(rng, _when(rng, frames), [1.0], stays=True)
    angle = rng.choice([-1.0, 1.0]) * rng.uniform(1.2, 1.7) * down
    axes = rotation(angle[:, None] * [1.0, 0.0, 0.0])
    return joints @ axes.swapaxes(1, 2) + down[:, None, None] * [0.0, 0.12, 0.0]

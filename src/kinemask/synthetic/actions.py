"""The synthetic actions: along which trajectories a performer moves.

They come in groups that share their poses and differ in how the pose moves (a hand at the head: drink, telephone,
wave; hands before the chest: clap, rub), or only in the order of what happens: a hat put on or taken off, a thing
picked up or put down, a drawer opened or shut are each other reversed in time. So no single frame, and no average of
frames, names the action. People do other things before, after and meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from kinemask.synthetic.besides import do_meanwhile, do_something
from kinemask.synthetic.kinematics import SIGNS
from kinemask.synthetic.performer import Performer, Person
from kinemask.synthetic.timing import Plan, Timing, drift

BUSY = 0.35  # how often people do something else before, after, and meanwhile


def rhythm(p: Performer, k: Timing, slow: float, fast: float, swing: float) -> np.ndarray:
    """An oscillation (T,) of amplitude `swing`, metres or radians.

    Its rate, between `slow` and `fast` hertz, and its size are the person's and the occasion's.
    """
    rate = np.clip(p.rng.uniform(slow, fast) * p.person.tempo, slow, fast)
    phase = 2 * np.pi * rate * k.t + 0.25 * drift(p.rng, k.frames, ()) + p.rng.uniform(0, 2 * np.pi)
    return swing * p.person.gain * p.rng.uniform(0.7, 1.3) * np.sin(phase)


# a hand at the head


def drink(p: Performer, k: Timing) -> None:
    cup = p.carry_place(p.side)
    fetch, lift, _, lower, back = k.strokes(p.rng, 0.6, 0.7, 1.3, 0.7, 0.6)
    tilt = (lift - lower) * (0.6 + 0.4 * np.sin(2 * np.pi * p.rng.uniform(0.5, 0.9) * k.t + p.rng.uniform(0, 6)))
    p.pose.head[:, 0] -= 0.3 * tilt
    place = p.near_head(p.outward((0.07, -0.06, 0.12)) + 0.5 * p.hold_place(0))
    p.follow(p.side, [cup, place + tilt[:, None] * p.outward((0.02, 0.07, -0.02)), cup], [fetch, lift, lower, back])
    p.pose.palms[:, p.side] += (lift - lower)[:, None] * p.outward((-0.5, 0.3, 0.0))


def telephone(p: Performer, k: Timing) -> None:
    w = k.held(p.rng)
    p.pose.head[:, 2] += 0.12 * w * -p.sign
    p.move_hand(p.side, p.near_head(p.outward((0.11, -0.04, 0.06)) + 0.5 * p.hold_place(0)), w)
    p.pose.palms[:, p.side] += w[:, None] * p.outward((-0.4, 0.5, -0.2))


def wave(p: Performer, k: Timing) -> None:
    swing, w = rhythm(p, k, 0.8, 1.6, 0.14)[:, None], k.held(p.rng)
    place = p.near_head(p.outward((0.17, p.rng.uniform(-0.15, 0.12), 0.12)) + p.hold_place(1))
    p.move_hand(p.side, place + swing * p.outward((1.0, 0.0, 0.1)), w)
    p.pose.palms[:, p.side] += w[:, None] * (p.outward((-0.1, 0.4, 0.1)) + 3.0 * swing * p.outward((1.0, 0, 0)))


# hands before the chest


def together(p: Performer, k: Timing, gap: np.ndarray, slide: np.ndarray) -> None:
    """Both hands before the chest: (T,) `gap` to its side, sliding against each other by `slide`."""
    w, place = k.held(p.rng), np.array([0.0, p.rng.uniform(-0.32, -0.1), 0.26]) + p.hold_place(2)
    for side, sign in enumerate(SIGNS):
        shift = np.stack([sign * gap, sign * (0.5 * slide - 0.2 * gap), 0.9 * sign * slide], -1)
        p.move_hand(side, place + shift, w)
        p.pose.palms[:, side] += w[:, None] * np.array([-0.35 * sign, 0.5, 0.2])


def clap(p: Performer, k: Timing) -> None:
    swing = rhythm(p, k, 0.9, 1.8, 0.09)
    together(p, k, 0.06 + np.abs(swing).max() + swing, 0.008 * drift(p.rng, k.frames, ()))


def rub_hands(p: Performer, k: Timing) -> None:
    together(p, k, 0.075 + 0.008 * drift(p.rng, k.frames, ()), rhythm(p, k, 0.9, 1.8, 0.07))


# an arm stretched out


def knock(p: Performer, k: Timing) -> None:
    tap, w = rhythm(p, k, 0.9, 1.8, 0.09)[:, None], k.held(p.rng)
    yaw, pitch = p.rng.normal(0.1, 0.3), p.rng.normal(0.1, 0.25)
    way = p.outward((np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)))
    reach = np.clip(p.rng.normal(0.72, 0.08), 0.55, 0.88) * p.person.body.arm
    p.move_hand(p.side, p.outward((0.1, -0.03, 0.0)) + p.hold_place(3) + (reach + tap) * way, w)
    p.pose.palms[:, p.side] += 2.0 * w[:, None] * tap * np.array([0.0, 0.6, 0.8])


# each of these is done as told (way 1), or in the reverse order (way -1)


def hat(p: Performer, k: Timing, way: int) -> None:
    """From the belly to above the head and down on it."""
    take, _, lift, press, _, rest = k.strokes(p.rng, *(0.8, 0.3, 1.0, 0.4, 0.2, 0.7)[::way])
    height, habit = p.rng.uniform(0.06, 0.12), p.hold_place(4)
    p.pose.head[:, 0] += p.rng.uniform(0.0, 0.2) * (lift - rest)
    for side in (0, 1) if p.person.both else (p.side,):
        above, on = (p.near_head(p.outward((0.11, height + up, 0.03), side) + 0.5 * habit) for up in (0.13, 0.0))
        p.follow(side, [p.carry_place(side), above, on][::way], [take, lift, press, rest])


def low_thing(p: Performer, k: Timing, way: int) -> None:
    """Down for something low and up with it, held before the belly."""
    take, _, lift, _, rest = k.strokes(p.rng, *(1.0, 0.3, 1.0, 0.3, 0.6)[::way])
    low, ahead = p.rng.uniform(0.1, 0.5), p.rng.uniform(0.3, 0.42)
    p.bend(take - lift if way > 0 else lift - rest, p.rng.uniform(0.85, 1.1) * (1.0 - 0.6 * low))
    sides = (0, 1) if p.person.both else (p.side,)
    for side in sides:
        across = 0.08 if len(sides) == 2 else 0.2
        floor = p.to_chest(p.outward((across, low, ahead), side) + p.hold_place(5))
        p.follow(side, [floor, p.carry_place(side)][::way], [take, lift, rest])


def drawer(p: Performer, k: Timing, way: int) -> None:
    """The hand goes out, takes hold, comes near and lets go."""
    take, _, move, _, rest = k.strokes(p.rng, *(0.8, 0.3, 1.1, 0.2, 0.7)[::way])
    height, across = p.rng.uniform(-0.42, -0.12), p.rng.uniform(-0.05, 0.2)
    pull = p.rng.uniform(0.22, 0.32) * p.person.gain**0.5
    far, near = (p.outward((across, height, ahead)) + p.hold_place(3) for ahead in (0.2 + pull, 0.2))
    p.pose.spine[:, 0] += p.rng.uniform(0.05, 0.2) * (take - move if way > 0 else move - rest)
    p.follow(p.side, [far, near][::way], [take, move, rest])


SOLO: dict[str, tuple[Callable[[Performer, Timing], None], tuple[float, float]]] = {
    "drink": (drink, (1.6, 2.2)),
    "make a phone call": (telephone, (1.3, 2.0)),
    "wave": (wave, (1.2, 1.9)),
    "clap": (clap, (1.2, 1.9)),
    "rub hands": (rub_hands, (1.2, 1.9)),
    "knock on a door": (knock, (1.2, 1.9)),
    "put on a hat": (partial(hat, way=1), (1.5, 2.1)),
    "take off a hat": (partial(hat, way=-1), (1.5, 2.1)),
    "pick up": (partial(low_thing, way=1), (1.5, 2.1)),
    "put down": (partial(low_thing, way=-1), (1.5, 2.1)),
    "open a drawer": (partial(drawer, way=1), (1.3, 1.9)),
    "shut a drawer": (partial(drawer, way=-1), (1.3, 1.9)),
}
DUET = ("shake hands", "give an object")
CLASSES: tuple[str, ...] = (*SOLO, *DUET)


def perform(name: str, people: tuple[Person, Person], rng: np.random.Generator) -> np.ndarray:
    """Joints (M, T, 25, 3) in the room, metres, floor at y = 0, of one performance of the class `name`.

    Two bodies where the action needs two; a single performer faces -z, give or take its habit.
    """
    if name in DUET:
        return duet(name, people, rng)
    act, lasts = SOLO[name]
    plan = Plan.sample(rng, people[0].tempo, lasts, BUSY)
    performer = Performer(people[0], rng, plan.action.frames)
    do_meanwhile(performer, BUSY)
    do_something(performer, plan.before)
    act(performer, plan.action)
    do_something(performer, plan.after)
    heading = np.pi + people[0].turned + rng.normal(0.0, 0.3)
    return performer.joints(heading, np.append(rng.normal(0.0, 0.1, 1), [0.0, rng.normal(0.0, 0.15)]))[None]


def duet(name: str, people: tuple[Person, Person], rng: np.random.Generator) -> np.ndarray:
    """Two people face to face whose hands meet between them: shaken, or for one to hand something to the other."""
    plan = Plan.sample(rng, people[0].tempo, (1.3, 1.9), BUSY)
    frames = plan.action.frames
    apart, axis = rng.uniform(0.8, 1.0), np.pi / 2 * rng.choice([-1, 1]) + rng.normal(0.0, 0.35)
    height = 0.56 * (people[0].body.standing + people[1].body.standing) + rng.normal(0.0, 0.05)
    ahead = np.array([np.sin(axis), 0.0, np.cos(axis)])
    shaken, giver, across = name == "shake hands", int(rng.integers(2)), rng.normal(0.0, 0.04)
    pair = [Performer(replace(person, hand=people[0].hand) if shaken else person, rng, frames) for person in people]
    pump = rhythm(pair[0], plan.action, 0.8, 1.6, 0.07)[:, None] * [0.0, 1.0, 0.1] * shaken
    bodies = []
    for n, p in enumerate(pair):
        do_meanwhile(p, BUSY / 2)
        do_something(p, plan.before if rng.random() < 0.5 else None)
        k = plan.action.late(rng.uniform(0.0, 0.15))
        reach = np.array([across * (1 - 2 * n), height, apart / 2 - 0.10]) + pump * [1 - 2 * n, 1.0, 1 - 2 * n]
        p.pose.spine[:, 0] += 0.1 * k.held(rng)
        meet, lap = p.to_chest(reach), p.carry_place(p.side)
        if shaken:
            p.move_hand(p.side, meet, k.held(rng))
        else:
            way = 1 if n == giver else -1
            take, one, other, rest = k.strokes(rng, *(0.6, 0.8, 0.4, 0.9)[::way])
            p.follow(p.side, [lap, meet][::way], [take, one if n == giver else other, rest])
        do_something(p, plan.after if rng.random() < 0.5 else None)
        bodies.append(p.joints(axis + n * np.pi, (n - 0.5) * apart * ahead))
    return np.stack(bodies)

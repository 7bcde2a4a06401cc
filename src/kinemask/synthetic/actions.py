"""The synthetic actions: along which trajectories a performer moves.

They come in groups that share their poses and differ in how the pose moves: a hand held at the head (drink,
telephone, wave), hands before the chest (clap, rub, fold, roll, drum), an arm stretched out (point, knock, crank),
two people hand in hand (shake, give, saw). So no single frame, and no average of frames, names the action.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from kinemask.synthetic.kinematics import SIGNS
from kinemask.synthetic.performer import Performer, Person, Timing, drift


def circle(p: Performer, timing: Timing, slow: float, fast: float, radius: float) -> np.ndarray:
    """A round movement (T, 2) of that radius, metres or radians, while the action lasts.

    Its rate, between `slow` and `fast` hertz, is the person's and the occasion's.
    """
    rate = np.clip(p.rng.uniform(slow, fast) * p.person.tempo, slow, fast)
    wobble = 0.25 * drift(p.rng, timing.frames, ())
    gain = radius * p.person.gain * p.rng.uniform(0.85, 1.15)
    phase = 2 * np.pi * rate * timing.t + wobble + p.rng.uniform(0, 2 * np.pi)
    return (gain * timing.weight**2)[:, None] * np.stack([np.sin(phase), np.cos(phase)], -1)


def rhythm(p: Performer, timing: Timing, slow: float, fast: float, swing: float) -> np.ndarray:
    """An oscillation (T,) of amplitude `swing`, otherwise as `circle`."""
    return circle(p, timing, slow, fast, swing)[:, 0]


def drink(p: Performer, k: Timing) -> None:
    sip = rhythm(p, k, 0.35, 0.55, 1.6)
    p.pose.head[:, 0] -= 0.16 * k.weight + 0.15 * sip
    place = p.near_head(p.outward((0.07, -0.06, 0.10)) + p.hold_place(0))
    p.move_hand(p.side, place + sip[:, None] * p.outward((0.02, 0.07, -0.03)), k.weight)
    p.pose.palms[:, p.side] += k.weight[:, None] * p.outward((-0.5, 0.3, 0.0))


def telephone(p: Performer, k: Timing) -> None:
    p.pose.head[:, 2] += 0.12 * k.weight * -p.sign
    place = p.near_head(p.outward((0.11, -0.04, 0.06)) + p.hold_place(0))
    p.move_hand(p.side, place, k.weight)
    p.pose.palms[:, p.side] += k.weight[:, None] * p.outward((-0.4, 0.5, -0.2))


def wave(p: Performer, k: Timing) -> None:
    swing = rhythm(p, k, 0.6, 0.9, 0.20)
    place = p.near_head(p.outward((0.17, -0.02, 0.10)) + 1.3 * p.hold_place(0))
    p.move_hand(p.side, place + swing[:, None] * p.outward((1.0, 0.0, 0.1)), k.weight)
    p.pose.palms[:, p.side] += k.weight[:, None] * p.outward((-0.1, 0.4, 0.1)) + 3.0 * swing[:, None] * p.outward(
        (1.0, 0, 0)
    )


def together(p: Performer, k: Timing, gap: np.ndarray, slide: np.ndarray, push: np.ndarray) -> None:
    """Both hands before the chest: (T,) `gap` to its side, and against each other up (`slide`), ahead (`push`)."""
    place = np.array([0.0, -0.2, 0.26]) + p.hold_place(1)
    for side, sign in enumerate(SIGNS):
        shift = np.stack([sign * gap, sign * slide - 0.2 * sign * gap, sign * push], -1)
        p.move_hand(side, place + shift, k.weight)
        p.pose.palms[:, side] += k.weight[:, None] * np.array([-0.35 * sign, 0.5, 0.2])


def still(p: Performer, k: Timing) -> np.ndarray:
    """Nearly nothing (T,), metres."""
    return 0.008 * drift(p.rng, k.frames, ())


def clap(p: Performer, k: Timing) -> None:
    together(p, k, 0.19 + rhythm(p, k, 0.7, 1.1, 0.16), still(p, k), still(p, k))


def rub_hands(p: Performer, k: Timing) -> None:
    slide = rhythm(p, k, 0.7, 1.1, 0.15)
    together(p, k, 0.075 + still(p, k), 0.5 * slide, 0.9 * slide)


def fold_hands(p: Performer, k: Timing) -> None:
    together(p, k, 0.075 + still(p, k), still(p, k), still(p, k))


def roll_hands(p: Performer, k: Timing) -> None:
    """One hand round the other."""
    up, ahead = circle(p, k, 0.7, 1.1, 0.13).T
    together(p, k, 0.075 + still(p, k), up, ahead)


def drum(p: Performer, k: Timing) -> None:
    together(p, k, 0.12 + still(p, k), rhythm(p, k, 0.7, 1.1, 0.14), still(p, k))


def outstretched(p: Performer, k: Timing, shift: np.ndarray) -> None:
    """The arm stretched forward; the hand moves by `shift` (T, 3): outwards, up, along the arm."""
    yaw, pitch = p.rng.normal(0.15, 0.3), p.rng.normal(-0.02, 0.16)
    way = p.outward((np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)))
    shoulder = p.outward((p.person.body.shoulders, -0.035, 0.0))
    reach = np.clip(p.rng.normal(0.80, 0.06), 0.66, 0.92) * p.person.body.arm + shift[:, 2]
    across = shift[:, :2] @ np.array([[p.sign, 0.0, 0.0], [0.0, 1.0, 0.0]])
    p.pose.spine[:, 1] += 0.12 * yaw * p.sign * k.weight
    p.move_hand(p.side, shoulder + p.hold_place(2) + reach[:, None] * way + across, k.weight)


def point(p: Performer, k: Timing) -> None:
    outstretched(p, k, 0.01 * drift(p.rng, k.frames, (3,)))


def knock(p: Performer, k: Timing) -> None:
    tap = rhythm(p, k, 0.7, 1.1, 0.15)[:, None]
    outstretched(p, k, tap * np.array([0.0, 0.0, 1.0]))
    p.pose.palms[:, p.side] += 2.0 * tap * np.array([0.0, 0.6, 0.8])


def crank(p: Performer, k: Timing) -> None:
    turn = circle(p, k, 0.6, 0.9, 0.14)
    outstretched(p, k, np.insert(turn, 2, -0.08, axis=1))


SOLO: dict[str, tuple[Callable[[Performer, Timing], None], tuple[float, float]]] = {
    "drink": (drink, (0.9, 1.5)),
    "make a phone call": (telephone, (0.9, 1.5)),
    "wave": (wave, (0.9, 1.5)),
    "clap": (clap, (0.8, 1.4)),
    "rub hands": (rub_hands, (0.8, 1.4)),
    "fold hands": (fold_hands, (0.8, 1.4)),
    "roll hands": (roll_hands, (0.8, 1.4)),
    "drum": (drum, (0.8, 1.4)),
    "point at something": (point, (0.7, 1.3)),
    "knock on a door": (knock, (0.7, 1.3)),
    "turn a crank": (crank, (0.7, 1.3)),
}
DUET = {"shake hands": (0.0, 1.0, 0.15), "give an object": (0.0, 0.0, 0.0), "saw": (0.0, 0.1, 1.0)}  # way of the hands
CLASSES: tuple[str, ...] = (*SOLO, *DUET)


def perform(name: str, people: tuple[Person, Person], rng: np.random.Generator) -> np.ndarray:
    """Joints (M, T, 25, 3) in the room, metres, floor at y = 0, of one performance of the class `name`.

    Two bodies where the action needs two; a single performer faces -z, give or take its habit.
    """
    if name in SOLO:
        act, lasts = SOLO[name]
        timing = Timing.sample(rng, people[0].tempo, lasts)
        performer = Performer(people[0], rng, timing.frames)
        act(performer, timing)
        heading = np.pi + people[0].turned + rng.normal(0.0, 0.15)
        return performer.joints(heading, np.append(rng.normal(0.0, 0.1, 1), [0.0, rng.normal(0.0, 0.15)]))[None]
    return duet(name, people, rng)


def duet(name: str, people: tuple[Person, Person], rng: np.random.Generator) -> np.ndarray:
    """Two people face to face whose hands meet between them, and move together."""
    timing = Timing.sample(rng, people[0].tempo, (0.8, 1.4))
    apart, axis = rng.uniform(0.8, 0.98), np.pi / 2 * rng.choice([-1, 1]) + rng.normal(0.0, 0.25)
    height = 0.56 * (people[0].body.standing + people[1].body.standing) + rng.normal(0.0, 0.03)
    ahead = np.array([np.sin(axis), 0.0, np.cos(axis)])
    pair = [Performer(replace(person, hand=people[0].hand), rng, timing.frames) for person in people]
    side = rng.normal(0.0, 0.04)
    pump = rhythm(pair[0], timing, 0.7, 1.0, 0.17)[:, None] * DUET[name] + 0.01 * drift(rng, timing.frames, (3,))
    bodies = []
    for n, performer in enumerate(pair):
        late = rng.uniform(0.0, 0.2) if n else 0.0
        own = Timing(timing.frames, timing.start + late, timing.rise, timing.stop - late, timing.fall)
        meet = np.array([side * (1 - 2 * n), height, apart / 2 - 0.10])
        performer.pose.spine[:, 0] += 0.1 * own.weight
        reach = meet + pump * ([1.0, 1.0, 1.0] if n == 0 else [-1.0, 1.0, -1.0])  # one pulls where the other pushes
        performer.move_hand(performer.side, performer.to_chest(reach), own.weight)
        bodies.append(performer.joints(axis + n * np.pi, (n - 0.5) * apart * ahead))
    return np.stack(bodies)

"""A person who can be told what to do: body and habits, timing, posture at ease, hands that reach out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kinemask.synthetic.kinematics import SIGNS, Body, Pose, joints, trunk, turned

RATE = 30.0  # frames a second
UNTRIMMED = 0.3  # share of clips that begin, or end, amid the action


def ramp(x: np.ndarray) -> np.ndarray:
    """Minimum-jerk step from 0 (x ≤ 0) to 1 (x ≥ 1)."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * x * (10.0 + x * (6.0 * x - 15.0))


def drift(
    rng: np.random.Generator, frames: int, shape: tuple[int, ...], slowest: float = 0.1, fastest: float = 0.6
) -> np.ndarray:
    """Smooth wandering (frames, *shape) of unit variance: a few sines of 0.1-0.6 Hz with random phases."""
    t = np.arange(frames)[:, None] / RATE
    rates = rng.uniform(slowest, fastest, 5)
    waves = np.concatenate([np.sin(2 * np.pi * rates * t), np.cos(2 * np.pi * rates * t)], 1)
    return (waves @ rng.normal(0.0, 5**-0.5, (10, int(np.prod(shape))))).reshape(frames, *shape)


@dataclass(frozen=True)
class Person:
    """A body and its habits."""

    body: Body
    hand: int  # the side it acts with
    tempo: float
    gain: float  # amplitude of its movements
    slouch: float  # forward bend at rest, radians
    gaze: float  # pitch of the head at rest
    stance: float  # half the distance of the feet, metres
    elbow: float  # how far it raises its elbows
    sway: float
    turned: float  # its usual heading off the camera, radians
    habits: np.ndarray  # (6, 3) where it holds its hand, by group of actions, metres
    idle: int  # what the other arm usually does

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Person:
        return cls(
            body=Body.sample(rng),
            hand=int(rng.random() < 0.8),
            tempo=float(np.exp(rng.normal(0.0, 0.12))),
            gain=float(np.exp(rng.normal(0.0, 0.14))),
            slouch=float(rng.normal(0.06, 0.06)),
            gaze=float(rng.normal(0.08, 0.1)),
            stance=float(rng.uniform(0.07, 0.17)),
            elbow=float(rng.uniform(0.15, 0.9)),
            sway=float(rng.uniform(0.5, 1.5)),
            turned=float(rng.normal(0.0, 0.25)),
            habits=rng.normal(0.0, 0.03, (6, 3)),
            idle=int(rng.integers(4)),
        )


@dataclass(frozen=True)
class Timing:
    """When an action happens in its clip, seconds. A clip may begin or end amid the action."""

    frames: int
    start: float
    rise: float
    stop: float
    fall: float

    @property
    def t(self) -> np.ndarray:
        return np.arange(self.frames) / RATE

    @property
    def weight(self) -> np.ndarray:
        """0 at rest, 1 while the action lasts."""
        return ramp((self.t - self.start) / self.rise) - ramp((self.t - self.stop) / self.fall)

    @classmethod
    def sample(cls, rng: np.random.Generator, tempo: float, lasts: tuple[float, float]) -> Timing:
        rise, fall = rng.uniform(0.35, 0.6, 2) / tempo
        lead = -rng.uniform(0.3, 1.0) * rise if rng.random() < UNTRIMMED else rng.uniform(0.05, 0.7)
        hold = rng.uniform(*lasts) / tempo
        tail = -rng.uniform(0.3, 1.0) * fall if rng.random() < UNTRIMMED else rng.uniform(0.05, 0.55)
        stop = lead + rise + hold
        return cls(int(np.clip(round((stop + fall + tail) * RATE), 32, 90)), lead, rise, stop, fall)


class Performer:
    """One person over the frames of one clip: stands at ease, sways, and is told what to do."""

    def __init__(self, person: Person, rng: np.random.Generator, frames: int):
        self.person, self.rng, self.frames = person, rng, frames
        body, side = person.body, person.hand
        self.side, self.other, self.sign = side, 1 - side, SIGNS[side]
        sway = person.sway * rng.uniform(0.7, 1.3)
        self.pose = Pose(
            pelvis=np.array([0.0, body.standing, 0.0])
            + sway * np.array([0.02, 0.003, 0.015]) * drift(rng, frames, (3,)),
            turn=0.03 * sway * drift(rng, frames, (3,)),
            spine=np.array([person.slouch, 0.0, 0.0]) + 0.05 * sway * drift(rng, frames, (3,)),
            head=np.array([person.gaze, 0.0, 0.0]) + np.array([0.07, 0.14, 0.05]) * sway * drift(rng, frames, (3,)),
            wrists=0.018 * sway * drift(rng, frames, (2, 3)),
            elbows=person.elbow * np.ones((frames, 2)) + 0.1 * sway * drift(rng, frames, (2,)),
            palms=np.zeros((frames, 2, 3)) + np.array([0.0, 0.0, 0.25]),
            ankles=np.zeros((frames, 2, 3)),
            toes=np.zeros((frames, 2)),
        )
        for foot, sign in enumerate(SIGNS):
            self.pose.ankles[:, foot] = [sign * person.stance, body.sole, rng.normal(0.0, 0.05)]
            habit = person.idle if rng.random() < 0.6 else int(rng.integers(4))
            self.pose.wrists[:, foot] += self.resting(sign, 0 if foot == side else habit)

    def resting(self, sign: float, habit: int) -> np.ndarray:
        """Wrist at rest, in the chest's axes: hanging, before the belly, on the hip, or bent forward."""
        body = self.person.body
        places = [
            [sign * (body.shoulders + 0.07), -0.96 * body.arm, 0.03],
            [sign * 0.05, -0.62 * body.arm, 0.19],
            [sign * (body.shoulders + 0.06), -0.72 * body.arm, -0.02],
            [sign * (body.shoulders + 0.02), -0.55 * body.arm, 0.24],
        ]
        return np.array(places[habit]) + self.rng.normal(0.0, 0.02, 3)

    def near_head(self, offset: np.ndarray) -> np.ndarray:
        """A place given in the head's axes, from the head joint, as a wrist position."""
        core = trunk(self.person.body, self.pose)
        return self.to_chest(core.head + turned(core.head_axes, offset))

    def to_chest(self, points: np.ndarray) -> np.ndarray:
        """Points (T, 3) in the performer's axes as wrist positions."""
        core = trunk(self.person.body, self.pose)
        return turned(np.swapaxes(core.chest_axes, -1, -2), points - core.shoulder)

    def outward(self, vector: tuple[float, float, float]) -> np.ndarray:
        """(outwards from the acting side, up, forward) in the performer's axes."""
        return np.array(vector) * np.array([self.sign, 1.0, 1.0])

    def move_hand(self, side: int, target: np.ndarray, weight: np.ndarray) -> None:
        """Bring a wrist from where it is to `target`, by way of the front of the body."""
        w = weight[:, None]
        way = 4.0 * w * (1.0 - w) * np.array([SIGNS[side] * 0.04, 0.0, 0.08])
        self.pose.wrists[:, side] = (1.0 - w) * self.pose.wrists[:, side] + w * target + way

    def hold_place(self, group: int) -> np.ndarray:
        """Where this person, this time, holds its hand, off the usual place."""
        return self.person.habits[group] + self.rng.normal(0.0, 0.015, 3)

    def joints(self, heading: float, place: np.ndarray) -> np.ndarray:
        """The joints (T, 25, 3) in the room, for a performer who stands at `place` and faces `heading`."""
        return self.to_room(joints(self.person.body, self.pose), heading, place)

    @staticmethod
    def to_room(points: np.ndarray, heading: float, place: np.ndarray) -> np.ndarray:
        c, s = np.cos(heading), np.sin(heading)
        return points @ np.array([[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]]) + place

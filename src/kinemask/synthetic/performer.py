"""A person who can be told what to do: body and habits, posture at ease, hands and feet that go where they should."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kinemask.synthetic.kinematics import SIGNS, Body, Pose, joints, trunk, turned
from kinemask.synthetic.timing import Timing, drift, ramp

FAITHFUL = 0.9  # how often a person acts with the hand that it prefers


@dataclass(frozen=True)
class Person:
    """A body and its habits."""

    body: Body
    hand: int  # the side that it prefers
    both: bool  # whether it takes both hands where one is enough
    squats: float  # from 0, bends its back for what is low, to 1, bends its knees
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
            hand=int(rng.random() < 0.75),
            both=bool(rng.random() < 0.4),
            squats=float(rng.random()),
            tempo=float(np.exp(rng.normal(0.0, 0.15))),
            gain=float(np.exp(rng.normal(0.0, 0.2))),
            slouch=float(rng.normal(0.08, 0.1)),
            gaze=float(rng.normal(0.08, 0.12)),
            stance=float(rng.uniform(0.07, 0.2)),
            elbow=float(rng.uniform(0.1, 1.1)),
            sway=float(rng.uniform(0.5, 1.8)),
            turned=float(rng.normal(0.0, 0.3)),
            habits=rng.normal(0.0, 0.04, (6, 3)),
            idle=int(rng.integers(4)),
        )


class Performer:
    """One person over the frames of one clip: stands at ease, sways, and is told what to do."""

    def __init__(self, person: Person, rng: np.random.Generator, frames: int):
        self.person, self.rng, self.frames = person, rng, frames
        body = person.body
        self.side = person.hand if rng.random() < FAITHFUL else 1 - person.hand
        self.other, self.sign = 1 - self.side, SIGNS[self.side]
        sway = person.sway * rng.uniform(0.7, 1.3)
        slouch = person.slouch + rng.normal(0.0, 0.04)
        self.pose = Pose(
            pelvis=np.array([0.0, body.standing, 0.0])
            + sway * np.array([0.02, 0.003, 0.015]) * drift(rng, frames, (3,)),
            turn=0.03 * sway * drift(rng, frames, (3,)),
            spine=np.array([slouch, 0.0, 0.0]) + 0.05 * sway * drift(rng, frames, (3,)),
            head=np.array([person.gaze, 0.0, 0.0]) + np.array([0.07, 0.14, 0.05]) * sway * drift(rng, frames, (3,)),
            wrists=0.018 * sway * drift(rng, frames, (2, 3)),
            elbows=person.elbow * np.ones((frames, 2)) + 0.1 * sway * drift(rng, frames, (2,)),
            palms=np.zeros((frames, 2, 3)) + np.array([0.0, 0.0, 0.25]),
            ankles=np.zeros((frames, 2, 3)),
            toes=np.zeros((frames, 2)),
        )
        for side, sign in enumerate(SIGNS):
            self.pose.ankles[:, side] = [sign * person.stance, body.sole, rng.normal(0.0, 0.05)]
            self.pose.wrists[:, side] += self.resting(sign, person.idle if rng.random() < 0.5 else int(rng.integers(4)))

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

    # places

    def near_head(self, offset: np.ndarray) -> np.ndarray:
        """A place given in the head's axes, from the head joint, as a wrist position."""
        core = trunk(self.person.body, self.pose)
        return self.to_chest(core.head + turned(core.head_axes, offset))

    def to_chest(self, points: np.ndarray) -> np.ndarray:
        """Points (T, 3) in the performer's axes as wrist positions."""
        core = trunk(self.person.body, self.pose)
        return turned(np.swapaxes(core.chest_axes, -1, -2), points - core.shoulder)

    def outward(self, vector: Sequence[float] | np.ndarray, side: int | None = None) -> np.ndarray:
        """(outwards from a side, up, forward) in the performer's axes; from the acting side unless one is given."""
        return np.array(vector) * np.array([self.sign if side is None else SIGNS[side], 1.0, 1.0])

    def hold_place(self, group: int) -> np.ndarray:
        """Where this person, this time, holds its hand, off the usual place."""
        return self.person.habits[group] + self.rng.normal(0.0, 0.025, 3)

    def carry_place(self, side: int) -> np.ndarray:
        """Where a thing is held before the belly, as a wrist position."""
        return self.outward((0.08, -0.55 * self.person.body.arm, 0.25), side) + self.hold_place(0)

    # movements

    def move_hand(self, side: int, target: np.ndarray, weight: np.ndarray) -> None:
        """Bring a wrist from where it is to `target`, by way of the front of the body."""
        w = weight[:, None]
        way = 4.0 * w * (1.0 - w) * np.array([SIGNS[side] * 0.04, 0.0, 0.08])
        self.pose.wrists[:, side] = (1.0 - w) * self.pose.wrists[:, side] + w * target + way

    def follow(self, side: int, places: Sequence[np.ndarray], steps: Sequence[np.ndarray]) -> None:
        """Bring a wrist to each place ((3,) or (T, 3)) in turn, along steps (T,), and with the last one to its rest."""
        rest = self.pose.wrists[:, side].copy()
        for place, step in zip([*places, rest], steps, strict=True):
            self.move_hand(side, place, step)

    def bend(self, weight: np.ndarray, depth: float) -> None:
        """Go down (depth 0 to 1) for something low, with the back or the knees, as is the person's habit."""
        squats, down = self.person.squats, depth * weight
        self.pose.pelvis[:, 1] -= down * (0.06 + 0.36 * squats) * self.person.body.standing
        self.pose.pelvis[:, 2] -= 0.14 * down
        self.pose.turn[:, 0] += down * (0.75 - 0.35 * squats)
        self.pose.spine[:, 0] += down * (0.65 - 0.25 * squats)
        self.pose.head[:, 0] -= 0.3 * down

    def step(self, timing: Timing, way: np.ndarray) -> None:
        """Walk a step of `way` (3,), one foot after the other."""
        length = timing.stop - timing.start
        share = (timing.t - timing.start) / length
        self.pose.pelvis += ramp((share - 0.1) / 0.8)[:, None] * way
        first = int(way[0] < 0) if abs(way[0]) > 0.05 else self.side
        for side, begun in ((first, 0.0), (1 - first, 0.45)):
            moved = ramp((share - begun) / 0.5)
            self.pose.ankles[:, side] += moved[:, None] * way
            self.pose.ankles[:, side, 1] += 0.3 * np.linalg.norm(way) * 4.0 * moved * (1.0 - moved)

    # the result

    def joints(self, heading: float, place: np.ndarray) -> np.ndarray:
        """The joints (T, 25, 3) in the room, for a performer who stands at `place` and faces `heading`."""
        return self.to_room(joints(self.person.body, self.pose), heading, place)

    @staticmethod
    def to_room(points: np.ndarray, heading: float, place: np.ndarray) -> np.ndarray:
        c, s = np.cos(heading), np.sin(heading)
        return points @ np.array([[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]]) + place

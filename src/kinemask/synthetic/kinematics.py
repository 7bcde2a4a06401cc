"""An articulated body with the 25 joints of NTU RGB+D: bone lengths, a pose, and the joints that follow.

The trunk is posed by joint angles; arms and legs by where the wrist and the ankle are, from which the elbow
and the knee follow in closed form, so that planted feet stay planted and a hand meets a mouth whatever the
proportions.

Axes of a performer: x to its left, y up, z forward, floor at y = 0, metres; side 0 is left, side 1 right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FLEXED = 0.985  # a limb never straightens beyond this share of its length
SIGNS = np.array([1.0, -1.0])  # lateral direction of the left and of the right side


@dataclass(frozen=True)
class Body:
    """Bone lengths of one person, metres; widths are half-widths."""

    hips: float
    waist: float  # spine base to spine mid
    chest: float  # spine mid to spine shoulder
    neck: float
    head: float
    shoulders: float
    upper_arm: float
    forearm: float
    hand: float
    fingers: float
    thumb: float
    thigh: float
    shin: float
    foot: float
    sole: float  # ankle above the floor

    @property
    def arm(self) -> float:
        """Shoulder to wrist."""
        return self.upper_arm + self.forearm

    @property
    def standing(self) -> float:
        """Height of the spine base when standing at ease."""
        return self.sole + 0.975 * (self.thigh + self.shin)

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Body:
        """A person of 1.52-1.92 m with proportions of its own."""
        height = np.clip(rng.normal(1.71, 0.09), 1.52, 1.92)
        shares = {
            "hips": 0.048,
            "waist": 0.165,
            "chest": 0.128,
            "neck": 0.045,
            "head": 0.078,
            "shoulders": 0.106,
            "upper_arm": 0.163,
            "forearm": 0.145,
            "hand": 0.045,
            "fingers": 0.045,
            "thumb": 0.034,
            "thigh": 0.240,
            "shin": 0.238,
            "foot": 0.070,
            "sole": 0.040,
        }
        spread = rng.normal(1.0, 0.04, len(shares))
        return cls(**{name: float(height * share * s) for (name, share), s in zip(shares.items(), spread, strict=True)})


@dataclass
class Pose:
    """The degrees of freedom of one body over T frames, in its performer's axes.

    Angles are radians in the order pitch (forward), yaw (to the left), roll (to the right).
    """

    pelvis: np.ndarray  # (T, 3) position of the spine base
    turn: np.ndarray  # (T, 3) angles of the pelvis
    spine: np.ndarray  # (T, 3) angles of the chest in the pelvis
    head: np.ndarray  # (T, 3) angles of the head in the chest
    wrists: np.ndarray  # (T, 2, 3) from the spine shoulder, in the chest's axes
    elbows: np.ndarray  # (T, 2) how far the elbow is raised outwards, radians from hanging
    palms: np.ndarray  # (T, 2, 3) bend of the hand: added to the direction of the forearm, in the chest's axes
    ankles: np.ndarray  # (T, 2, 3) positions
    toes: np.ndarray  # (T, 2) pitch of the foot, positive with the toes down


@dataclass(frozen=True)
class Trunk:
    """What the trunk's angles give: joint positions (T, 3), axes of pelvis, chest and head (T, 3, 3)."""

    base: np.ndarray
    mid: np.ndarray
    shoulder: np.ndarray
    neck: np.ndarray
    head: np.ndarray
    pelvis_axes: np.ndarray
    chest_axes: np.ndarray
    head_axes: np.ndarray


def rotation(angles: np.ndarray) -> np.ndarray:
    """Rotation matrices (..., 3, 3) of angles (..., 3): roll about z, pitch about x, then yaw about y."""
    (cp, cy, cr), (sp, sy, sr) = np.moveaxis(np.cos(angles), -1, 0), np.moveaxis(np.sin(angles), -1, 0)
    rows = [
        [cy * cr + sy * sp * sr, sy * sp * cr - cy * sr, sy * cp],
        [cp * sr, cp * cr, -sp],
        [cy * sp * sr - sy * cr, cy * sp * cr + sy * sr, cy * cp],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def turned(axes: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Vectors (..., 3), given in these axes (..., 3, 3), in the axes outside."""
    return np.einsum("...ij,...j->...i", axes, np.broadcast_to(vectors, (*axes.shape[:-2], 3)))


def trunk(body: Body, pose: Pose) -> Trunk:
    """Spine, neck and head by forward kinematics."""
    pelvis_axes = rotation(pose.turn)
    chest_axes = pelvis_axes @ rotation(pose.spine)
    head_axes = chest_axes @ rotation(pose.head)
    up = np.array([0.0, 1.0, 0.0])
    mid = pose.pelvis + turned(pelvis_axes @ rotation(0.3 * pose.spine), body.waist * up)
    shoulder = mid + turned(chest_axes, body.chest * up)
    neck = shoulder + turned(chest_axes, body.neck * up)
    head = neck + turned(head_axes, body.head * np.array([0.0, 0.97, 0.22]))
    return Trunk(pose.pelvis, mid, shoulder, neck, head, pelvis_axes, chest_axes, head_axes)


def two_bones(
    root: np.ndarray, target: np.ndarray, hint: np.ndarray, first: float, second: float
) -> tuple[np.ndarray, np.ndarray]:
    """Middle and end joint (T, 3) of a limb of two bones that reaches from `root` for `target`.

    The middle joint bends towards `hint`. A target out of reach is approached as far as the limb goes.
    """
    line = target - root
    distance = np.linalg.norm(line, axis=-1, keepdims=True)
    line = line / np.maximum(distance, 1e-9)
    distance = np.clip(distance, 1.1 * abs(first - second) + 0.05, FLEXED * (first + second))
    along = (first**2 + distance**2 - second**2) / (2 * distance)
    pole = hint - (hint * line).sum(-1, keepdims=True) * line
    pole = pole / np.maximum(np.linalg.norm(pole, axis=-1, keepdims=True), 1e-9)
    return root + along * line + np.sqrt(np.maximum(first**2 - along**2, 0.0)) * pole, root + distance * line


def joints(body: Body, pose: Pose) -> np.ndarray:
    """The 25 joints (T, 25, 3) of a pose, in the performer's axes and the order of NTU RGB+D."""
    core = trunk(body, pose)
    out = np.empty((len(pose.pelvis), 25, 3))
    out[:, 0], out[:, 1], out[:, 20], out[:, 2], out[:, 3] = (
        core.base,
        core.mid,
        core.shoulder,
        core.neck,
        core.head,
    )
    for side, sign in enumerate(SIGNS):
        axes = core.chest_axes
        shoulder = core.shoulder + turned(axes, np.array([sign * body.shoulders, -0.035, 0.0]))
        raised = pose.elbows[:, side]
        hint = turned(axes, np.stack([sign * np.sin(raised), -np.cos(raised), np.full_like(raised, -0.45)], -1))
        target = core.shoulder + turned(axes, pose.wrists[:, side])
        elbow, wrist = two_bones(shoulder, target, hint, body.upper_arm, body.forearm)
        hand = (wrist - elbow) / body.forearm + turned(axes, pose.palms[:, side])
        hand = hand / np.linalg.norm(hand, axis=-1, keepdims=True)
        inward = turned(axes, np.array([-0.5 * sign, 0.3, 0.8]))
        inward = inward - 0.8 * (inward * hand).sum(-1, keepdims=True) * hand
        palm = wrist + body.hand * hand
        arm = 4 + 4 * side
        out[:, arm], out[:, arm + 1], out[:, arm + 2], out[:, arm + 3] = shoulder, elbow, wrist, palm
        out[:, 21 + 2 * side] = palm + body.fingers * hand
        out[:, 22 + 2 * side] = wrist + body.thumb * (0.8 * hand + inward)

        hip = core.base + turned(core.pelvis_axes, np.array([sign * body.hips, -0.01, 0.0]))
        hint = turned(core.pelvis_axes, np.array([0.15 * sign, 0.1, 1.0]))
        knee, ankle = two_bones(hip, pose.ankles[:, side], hint, body.thigh, body.shin)
        pitch = pose.toes[:, side] + 0.4
        splay = 0.2 * sign
        forward = np.stack([np.cos(pitch) * np.sin(splay), -np.sin(pitch), np.cos(pitch) * np.cos(splay)], -1)
        leg = 12 + 4 * side
        out[:, leg], out[:, leg + 1], out[:, leg + 2] = hip, knee, ankle
        out[:, leg + 3] = ankle + body.foot * turned(rotation(pose.turn * np.array([0.0, 1.0, 0.0])), forward)
    return out

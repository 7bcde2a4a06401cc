"""Settings of sampling, and the kinds of corruption: what the command line names before it needs torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from kinemask.checks import check_not_negative, check_positive, check_share, warn_unused

# Settings of SamplingSettings by what they touch. The others (window, missing, scale, align) touch training and tests.
_CHANGES = ("rotation", "shear", "noise", "limbs", "mirror", "stretch", "drop_joints", "drop_axis")
AUGMENTATION = ("crop", "min_crop_frames", *_CHANGES)  # what training draws
TEST_VIEW = ("test_crop", "test_clips")  # what tests see
OF_ENCODER = ("frames", "stream")  # an encoder's for good: its weights fit no other

Align = Literal["none", "heading", "pair"]
TokenStream = Literal["joint", "velocity", "bone", "root"]

# kind of corruption (windows.corruption) -> what its level means
CORRUPTIONS = {
    "joints": "occluded joints, share of the body",
    "parts": "occluded body parts, of six",
    "noise": "noise, standard deviation in the store's units",
    "dropped": "dropped frames, share of the clip",
    "rate": "frame rate, times the original",
    "camera": "camera turned, radians",
}


@dataclass(kw_only=True)
class SamplingSettings:
    """How a clip becomes the model's window of T frames.

    Args:
        frames: frames of the model's window, T
        window: crop resamples a random crop linearly; uniform takes one random frame of each of T equal intervals
        crop: the random crop's share of the clip, from and to
        test_crop: share of the clip, at its centre, that tests use (window crop); 0.95 as the released codes, HA-CM's
            text says 0.9
        test_clips: windows sampled per test clip; their scores are averaged. Crops lie evenly from the clip's start to
            its end: a test_crop well below 1 sets them apart
        min_crop_frames: a crop is no shorter than this many frames, or than the clip
        rotation: largest rotation in radians, about every axis or per axis [x, y, z]; 2D uses the last. [0, 3.1416, 0]
            turns a body any way about the vertical
        shear: largest off-diagonal entry of a random shear matrix
        noise: standard deviation of noise added to every coordinate, in the units after scaling
        limbs: largest relative change of bone lengths, each body's own, the same left and right: 0.15 is 0.85 to 1.15;
            bones keep their directions
        mirror: chance that a clip is mirrored at x = 0 (pairs laid along x by align: at z = 0), left and right joints
            changing places; leave it at 0 where classes have a side
        stretch: largest relative change of a clip's size along each axis
        drop_joints: largest share of a body's joints that is hidden, over a quarter of the window to all of it
        drop_axis: chance that one coordinate of a clip is 0 throughout
        stream: joint positions, motion (difference to the next frame) or bone (difference to the parent)
        missing: fill is linear in time (a joint never seen takes the root's place); zero as the published codes
        scale: torso divides by the track's median torso length
        align: turn a clip about the vertical: heading has its first body face one way, pair lays the line between two
            bodies along x (one body: its heading). 3D alone
    """

    frames: int = 120
    window: Literal["crop", "uniform"] = "crop"
    crop: tuple[float, float] = (0.5, 1.0)
    test_crop: float = 0.95
    test_clips: int = 1
    min_crop_frames: int = 64
    rotation: float | tuple[float, float, float] = 0.3
    shear: float = 0.0
    noise: float = 0.0
    limbs: float = 0.0
    mirror: float = 0.0
    stretch: float = 0.0
    drop_joints: float = 0.0
    drop_axis: float = 0.0
    stream: Literal["joint", "motion", "bone"] = "joint"
    missing: Literal["fill", "zero"] = "fill"
    scale: Literal["none", "torso"] = "none"
    align: Align = "none"

    def __post_init__(self):
        if len(self.crop) != 2 or not 0 < self.crop[0] <= self.crop[1] <= 1:
            raise ValueError(f"sampling.crop must be 0 < from <= to <= 1, not {list(self.crop)}")
        self.crop = (self.crop[0], self.crop[1])
        if not isinstance(self.rotation, int | float):
            if len(self.rotation) != 3:
                raise ValueError(f"sampling.rotation must be one angle or three, not {list(self.rotation)}")
            self.rotation = (self.rotation[0], self.rotation[1], self.rotation[2])
        if not 0 < self.test_crop <= 1:
            raise ValueError(f"sampling.test_crop must be in (0, 1], not {self.test_crop}")
        check_positive("sampling", self, "frames", "min_crop_frames", "test_clips")
        check_not_negative("sampling", self, "shear", "noise")
        check_share("sampling", self, "mirror", "drop_joints", "drop_axis")
        for name in ("limbs", "stretch"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"sampling.{name} must be at least 0 and below 1, not {getattr(self, name)}")
        if not all(0 <= angle < float("inf") for angle in self.angles):
            raise ValueError(f"sampling.rotation must be angles in radians from 0 up, not {self.rotation}")
        if self.window == "uniform":
            warn_unused("sampling", self, "with window uniform", "crop", "test_crop", "min_crop_frames")
        elif self.test_crop == 1:
            warn_unused("sampling", self, "with test_crop 1: its crops are all the whole clip", "test_clips")

    def unaugmented(self) -> SamplingSettings:
        """The same without what training draws: of crops the whole clip (window uniform still draws its frames)."""
        whole = {"crop": (1.0, 1.0)} if self.window == "crop" else {}
        return replace(self, **dict.fromkeys(_CHANGES, 0.0), **whole)

    @property
    def angles(self) -> tuple[float, float, float]:
        """The largest rotation about x, y and z, radians."""
        r = self.rotation
        return (r, r, r) if isinstance(r, int | float) else r

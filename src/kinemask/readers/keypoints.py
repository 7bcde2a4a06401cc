"""One person's keypoints as pose estimators write them, as the joints of a layout.

A source that names its joints has them matched by name. Others are known by how many there are: COCO's 17, Halpe's 26
(or 136), COCO-WholeBody's 133, OpenPose's 25 or 18, MPI's 15. What the layout lacks is left out, with a note, and what
the source lacks is missing. Three coordinates with confidences apart are 3D, z up as MMPose has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kinemask.readers.detections import Detection, identity
from kinemask.readers.files import as_numbers
from kinemask.readers.frames import plain
from kinemask.readers.joint_names import find_layout, listed, match_joints
from kinemask.skeleton import Layout, layout

BY_COUNT = {17: "coco17", 26: "halpe26", 136: "halpe26", 133: "coco133", 25: "openpose25", 18: "coco18", 15: "mpi15"}
SURE = (17, 26, 136, 133, 25, 18)  # counts that say which joints they are; others need the layout to be given
_SCORES = ("keypoint_scores", "keypoints_scores", "keypoint_score", "kp_scores", "kp_score", "keypoints_score")
_PARTS = ("score", "confidence", "visibility", "visible", "conf", "v")
_DATA_SETS: dict[str, str | tuple[str, ...]] = {  # by a word of their names in MMPose, the first that is there
    "h36m": "h36m17",
    "wholebody": "coco133",
    "halpe": "halpe26",
    "mpii": "mpii16",
    "posetrack": ("nose", "head_bottom", "head_top", *layout("coco17").joints[3:]),
    **dict.fromkeys(("coco", "ochuman", "humanart", "exlpose", "body", "person"), "coco17"),
}
_HINT = "; if they are those of an MMPose 3D estimator: --layout h36m17"


@dataclass
class Keypoints:
    """Reads people of one source. given: the layout to deliver. names: of the source's joints, () where it is silent.

    notes: what was found on the way, each once.
    """

    given: Layout
    names: tuple[str, ...] = ()
    notes: dict[str, None] = field(default_factory=dict)
    _picks: dict[tuple[int, tuple[str, ...]], list[int | None]] = field(default_factory=dict)

    def read(self, person: Mapping[str, Any], where: str) -> Detection:
        """Joints (V, C) and confidences; ValueError that names what is wrong."""
        values, score, names = self._parse(person, where)
        if values.shape[1] != self.given.dims:
            what = "3D keypoints (x, y, z and confidences apart)" if values.shape[1] == 3 else "2D keypoints"
            hint = _HINT if values.shape[1] == 3 else ""
            raise ValueError(f"{where}: {what}, and layout {self.given.name} is {self.given.dims}D{hint}")
        key = (len(values), names)
        if key not in self._picks:
            self._picks[key] = self._pick(len(values), names, where)
        picked = self._picks[key]
        if picked != list(range(len(values))):
            at = np.array([-1 if v is None else v for v in picked])
            values = np.where((at < 0)[:, None], np.nan, values[at])
            score = np.where(at < 0, np.nan, score[at])
        if self.given.dims == 3:
            values = values[:, [0, 2, 1]] * (1, 1, -1)  # z up
        return Detection(values, score, identity(person))

    def _parse(self, person: Mapping[str, Any], where: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
        """The source's joints (K, 2 or 3), their confidences (K,), NaN where unknown, and names."""
        value = person["keypoints"]
        scores = next((person[key] for key in _SCORES if person.get(key) is not None), None)
        names = self.names
        if isinstance(value, dict) and "x" in value:  # a list for each coordinate
            scores = next((value[key] for key in _PARTS if key in value), scores)
            value = np.stack([as_numbers(value.get(c), f"{where}: {c}") for c in "xy"], -1)
        elif isinstance(value, dict) or (isinstance(value, list) and value and isinstance(value[0], dict)):
            value, scores, names = _from_objects(value, names, where)
        joints = as_numbers(value, f"{where}: keypoints")
        joints, names = self._shape(joints, scores is not None, names, where)
        apart = None if scores is None else as_numbers(scores, f"{where}: keypoint_scores").ravel()
        if apart is not None and apart.shape != (len(joints),):
            raise ValueError(f"{where}: expected {len(joints)} confidences, found {apart.size}")
        if joints.shape[1] == 2:
            return joints, np.full(len(joints), np.nan) if apart is None else apart, names
        if joints.shape[1] == 4:
            return joints[:, :3], joints[:, 3] if apart is None else apart, names
        if apart is not None and not np.allclose(joints[:, 2], apart, atol=1e-3):
            return joints, apart, names
        if apart is None and self.given.dims == 3:
            return joints, np.full(len(joints), np.nan), names
        return joints[:, :2], joints[:, 2], names

    def _shape(
        self, joints: np.ndarray, scored: bool, names: tuple[str, ...], where: str
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """Keypoints as (K, 2 to 4)."""
        if joints.ndim == 3 and joints.shape[0] == 1:
            joints = joints[0]
        if joints.ndim == 2 and 2 <= joints.shape[1] <= 4:
            count = len(joints)
        else:
            own = len(names) or self.given.num_joints
            sizes = {own * width: own for width in (2, 3, 4)}
            if not names:
                sizes = {count * (2 if scored else 3): count for count in SURE} | sizes
            count = sizes.get(joints.size, 0) if joints.ndim == 1 else 0
        if not count or (names and count != len(names)):
            wanted = len(names) or self.given.num_joints
            raise ValueError(
                f"{where}: expected {wanted} keypoints of x, y and perhaps confidence, found {joints.size} numbers"
            )
        return joints.reshape(count, -1), names

    def _pick(self, count: int, names: tuple[str, ...], where: str) -> list[int | None]:
        """For each joint of the layout, which of the source's it is."""
        if not names:
            if count == self.given.num_joints:
                return list(range(count))
            if count not in SURE or self.given.dims == 3:
                known = BY_COUNT.get(count)
                hint = f"; if they are those of layout {known}: --layout {known}" if known else ""
                raise ValueError(
                    f"{where}: expected {self.given.num_joints} keypoints of x, y and perhaps confidence, as layout"
                    f" {self.given.name} has joints, found {count} of them{hint}"
                )
            names = layout(BY_COUNT[count]).joints
            self.notes[f"its {count} joints are taken for those of {BY_COUNT[count]}"] = None
        picked = match_joints(names, self.given)
        absent = [joint for joint, at in zip(self.given.joints, picked, strict=True) if at is None]
        needed = {self.given.joints[v] for side in self.given.torso_length for v in side}
        if len(absent) * 2 > len(picked) or needed & set(absent):
            exact = find_layout(names)
            hint = f"; they are those of layout {exact.name}: --layout {exact.name}" if exact else ""
            raise ValueError(
                f"{where}: the source's joints are not those of layout {self.given.name}: it has no {listed(absent)},"
                f" but {listed([name for at, name in enumerate(names) if at not in picked])}{hint}"
            )
        if absent:
            self.notes[f"the source has no {listed(absent)}, so missing"] = None
        if spare := [name for at, name in enumerate(names) if at not in picked]:
            self.notes[f"joints that layout {self.given.name} has not are left out: {listed(spare)}"] = None
        return picked


def _from_objects(value: Any, names: tuple[str, ...], where: str) -> tuple[Any, Any, tuple[str, ...]]:
    """Numbers, confidences and names of keypoints that are objects, in a list or by name."""
    if isinstance(value, dict):
        names, value = tuple(map(str, value)), list(value.values())
    elif all(isinstance(one, dict) for one in value):
        told = [next((one[key] for key in ("name", "part", "id") if key in one), None) for one in value]
        known_names = tuple(name for name in told if isinstance(name, str))
        names = known_names if len(known_names) == len(told) else names
    if not all(isinstance(one, dict) for one in value):
        return value, None, names
    value = [{**one.get("position", {}), **one} if isinstance(one.get("position"), dict) else one for one in value]
    scores = [next((one[key] for key in _PARTS if one.get(key) is not None), None) for one in value]
    known = [score for score in scores if score is not None]
    rows = [[one.get("x"), one.get("y")] for one in value]
    as_numbers(rows, f"{where}: keypoints")
    return rows, [np.nan if score is None else score for score in scores] if known else None, names


def tell_names(content: Any) -> list[tuple[str, ...]]:
    """The names of the joints that a file's content tells, one list for each kind of thing in it that has joints."""
    match content:
        case {"categories": [*categories]}:
            lists = [one.get("keypoints") for one in categories if isinstance(one, dict)]
            return [tuple(names) for names in lists if names is not None and _are_names(names)]
        case {"meta_info": {"keypoint_id2name": dict(by_id)}}:
            names = [by_id.get(str(i), by_id.get(i)) for i in range(len(by_id))]
            return [tuple(map(str, names))] if _are_names(names) else []
        case {"meta_info": {"keypoint_name2id": dict(by_name)}}:
            numbers = list(by_name.values())  # ids from 0
            return (
                [tuple(sorted(by_name, key=lambda name: by_name[name]))]
                if sorted(numbers) == [*range(len(numbers))]
                else []
            )
        case {"meta_info": {"dataset_name": str(name)}}:
            return [_joints_of(name)]
    return []


def _joints_of(data_set: str) -> tuple[str, ...]:
    """The joints of a data set that MMPose's models are trained on; ValueError for one that is not known."""
    found = next((joints for word, joints in _DATA_SETS.items() if word in plain(data_set)), None)
    if found is None:
        raise ValueError(f"meta_info says data set {data_set[:40]!r}, whose joints are not known, and not their names")
    return layout(found).joints if isinstance(found, str) else found


def _are_names(names: Any) -> bool:
    return isinstance(names, list) and len(names) > 0 and all(isinstance(name, str) and name for name in names)


def layout_of(names: Sequence[str], dims: int) -> Layout | None:
    """The shipped layout that a source's joints are of; None where there is none, or they hold COCO's 17."""
    if dims == 2 and None not in match_joints(names, layout("coco17")):
        return None
    return find_layout(names, dims)

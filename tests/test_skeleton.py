"""Layouts: the shipped ones agree with their data sets, and a user's own is checked joint by joint."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kinemask.skeleton import PARTS, Layout, layout, layouts

OWN = {
    "name": "stick",
    "dims": 2,
    "joints": ["hip", "chest", "head", "hand_l", "hand_r", "foot_l", "foot_r"],
    "parents": {
        "hip": None,
        "chest": "hip",
        "head": "chest",
        "hand_l": "chest",
        "hand_r": "chest",
        "foot_l": "hip",
        "foot_r": "hip",
    },
    "parts": {
        "head": ["head"],
        "torso": ["hip", "chest"],
        "left_arm": ["hand_l"],
        "right_arm": ["hand_r"],
        "left_leg": ["foot_l"],
        "right_leg": ["foot_r"],
    },
    "torso": ["hip", "chest"],
    "pairs": [["hand_l", "hand_r"], ["foot_l", "foot_r"]],
}

SHIPPED = {  # joints, dims, joints kept by "pruned", origin
    "ntu25": (25, 3, 18, ["spine_mid"]),
    "kinect20": (20, 3, 13, ["hip_centre"]),
    "utd20": (20, 3, 13, ["hip_centre"]),
    "sbu15": (15, 3, 9, ["torso"]),
    "penn13": (13, 2, 9, ["left_hip", "right_hip"]),
    "coco17": (17, 2, 13, ["left_hip", "right_hip"]),
    "coco18": (18, 2, 13, ["left_hip", "right_hip"]),
    "openpose25": (25, 2, 19, ["mid_hip"]),
    "mediapipe33": (33, 3, 29, ["left_hip", "right_hip"]),
    "h36m17": (17, 3, 10, ["root"]),
    "mpii16": (16, 2, 10, ["pelvis"]),
    "halpe26": (26, 2, 20, ["hip"]),
    "coco133": (133, 2, 129, ["left_hip", "right_hip"]),
    "mpi15": (15, 2, 9, ["left_hip", "right_hip"]),
    "kinect32": (32, 3, 23, ["pelvis"]),
    "smpl22": (22, 3, 12, ["pelvis"]),
    "smpl24": (24, 3, 14, ["pelvis"]),
}


def test_the_shipped_layouts_are_the_promised_ones():
    assert set(layouts()) == set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_layout_is_whole(name):
    it = layout(name)
    joints, dims, kept, origin = SHIPPED[name]
    assert (it.name, it.num_joints, it.dims) == (name, joints, dims)
    assert len(it.kept("pruned")) == kept
    assert not set(it.kept("pruned")) & set(it.torso)
    assert it.kept("all") == tuple(range(joints))
    assert [it.joints[v] for v in it.origin] == origin
    assert all(it.parts.values())
    for left, right in it.pairs:
        assert it.joints[left].replace("left", "right") == it.joints[right]
    assert 2 * len(it.pairs) == sum("left" in joint or "right" in joint for joint in it.joints)
    for part, members in it.parts.items():
        side = part.split("_")[0]
        if side in ("left", "right"):
            assert all(it.joints[v].startswith(side) for v in members)
    upper, lower = it.torso_length
    assert not set(upper) & set(lower)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_skeleton_is_one_piece_and_its_adjacency_symmetric(name):
    it = layout(name)
    matrix = it.adjacency()
    assert matrix.dtype == np.float32
    assert np.array_equal(matrix, matrix.T)
    assert not matrix.diagonal().any()
    assert matrix.sum() == 2 * len(it.edges) >= 2 * (it.num_joints - 1)
    reach = np.linalg.matrix_power(np.eye(it.num_joints) + matrix, it.num_joints)
    assert (reach > 0).all()


@pytest.mark.parametrize("name", SHIPPED)
def test_a_layout_survives_the_way_to_yaml_and_back(name, tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(layout(name).to_dict()))
    assert layout(path) == layout(name)
    assert hash(layout(path)) == hash(layout(name))


def test_ntu25_has_the_joint_sets_of_the_papers():
    it = layout("ntu25")
    assert it.torso == (0, 1, 4, 8, 12, 16, 20)
    assert sorted(it.dropped["pruned"]) == [0, 1, 4, 8, 12, 16, 20]
    assert sorted(it.dropped["pruned20"]) == [0, 1, 4, 8, 20]
    assert sorted(it.dropped["pruned16"]) == [0, 1, 2, 3, 4, 8, 12, 16, 20]
    assert [it.joints[v] for v in (1, 2, 3, 7, 19, 20, 24)] == [
        *("spine_mid", "neck", "head", "left_hand"),
        *("right_foot", "spine_shoulder", "right_thumb"),
    ]
    hub = {it.joints[v] for v in np.flatnonzero(it.adjacency()[20])}
    assert hub == {"neck", "left_shoulder", "right_shoulder", "spine_mid"}


KNOWN = {  # joints by their owners' numbers, and some of the bones
    "h36m17": (
        {0: "root", 3: "right_foot", 6: "left_foot", 8: "thorax", 10: "head", 13: "left_wrist", 16: "right_wrist"},
        [(1, 0), (4, 0), (8, 7), (11, 8), (14, 8), (9, 8)],
    ),
    "mpii16": (
        {0: "right_ankle", 5: "left_ankle", 6: "pelvis", 9: "head_top", 10: "right_wrist", 15: "left_wrist"},
        [(0, 1), (2, 6), (3, 6), (7, 6), (8, 7), (10, 11)],
    ),
    "halpe26": (
        {0: "nose", 5: "left_shoulder", 16: "right_ankle", 17: "head", 18: "neck", 19: "hip", 20: "left_big_toe"}
        | {21: "right_big_toe", 23: "right_small_toe", 24: "left_heel"},
        [(18, 19), (11, 19), (5, 18), (20, 15), (25, 16)],
    ),
    "coco133": (
        {16: "right_ankle", 17: "left_big_toe", 19: "left_heel", 20: "right_big_toe", 23: "right_jaw1", 31: "chin"}
        | {39: "left_jaw1", 53: "nose_bridge4", 59: "right_eyelid1", 68: "left_eyelid1", 71: "right_lip1"}
        | {74: "upper_lip", 80: "lower_lip", 91: "left_hand_root", 95: "left_thumb4", 96: "left_forefinger1"}
        | {111: "left_pinky_finger4", 112: "right_hand_root", 132: "right_pinky_finger4"},
        [(91, 9), (112, 10), (95, 94), (92, 91), (17, 15), (50, 0)],
    ),
    "mpi15": (
        {0: "head", 1: "neck", 2: "right_shoulder", 7: "left_wrist", 8: "right_hip", 13: "left_ankle", 14: "chest"},
        [(0, 1), (1, 14), (2, 1), (8, 14), (11, 14)],
    ),
    "kinect32": (
        {0: "pelvis", 2: "spine_chest", 4: "left_clavicle", 9: "left_hand_tip", 10: "left_thumb", 11: "right_clavicle"}
        | {18: "left_hip", 25: "right_foot", 26: "head", 27: "nose", 29: "left_ear", 30: "right_eye", 31: "right_ear"},
        [(4, 2), (10, 7), (9, 8), (18, 0), (26, 3)],
    ),
    "smpl22": ({0: "pelvis", 1: "left_hip", 15: "head", 21: "right_wrist"}, [(1, 0), (13, 9), (15, 12), (21, 19)]),
    "smpl24": (
        {1: "left_hip", 9: "spine3", 10: "left_foot", 12: "neck", 14: "right_collar", 22: "left_hand"},
        [(3, 0), (12, 9), (14, 9), (17, 14), (22, 20), (23, 21)],
    ),
}


@pytest.mark.parametrize("name", KNOWN)
def test_joints_have_their_owners_numbers(name):
    it, (joints, bones) = layout(name), KNOWN[name]
    assert {v: it.joints[v] for v in joints} == joints
    assert [it.parents[child] for child, _ in bones] == [parent for _, parent in bones]


def test_layouts_that_begin_with_others_keep_their_order():
    coco = layout("coco17").joints
    assert layout("halpe26").joints[:17] == layout("coco133").joints[:17] == coco
    assert layout("smpl24").joints[:22] == layout("smpl22").joints


def test_marks_of_the_face_mirror_as_in_300w():
    """Pairs of 300-W's numbers, which flip augmentation uses everywhere."""
    pairs = {(min(pair) - 23, max(pair) - 23) for pair in layout("coco133").pairs if 23 <= pair[0] < 91}
    eyes = {(36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46)}
    lips = {(48, 54), (49, 53), (50, 52), (55, 59), (56, 58), (60, 64), (61, 63), (65, 67)}
    jaw, brows = {(i, 16 - i) for i in range(8)}, {(17 + i, 26 - i) for i in range(5)}
    assert pairs == eyes | lips | jaw | brows | {(31, 35), (32, 34)}


def test_penn13_names_sides_by_the_subject():
    it = layout("penn13")
    assert it.joints[0] == "head"
    assert all(joint.startswith(("right", "left")[v % 2]) for v, joint in enumerate(it.joints[1:]))


@given(st.sampled_from(sorted(SHIPPED)), st.data())
def test_every_joint_leads_to_the_root(name, data):
    it = layout(name)
    v = data.draw(st.integers(0, it.num_joints - 1))
    for _ in range(it.num_joints):
        v = it.parents[v]
    assert v == it.root


def test_an_own_layout_needs_no_more_than_the_basics(tmp_path):
    it = Layout.from_dict(OWN)
    assert it.origin == (0,)
    assert it.edges == ((1, 0), (2, 1), (3, 1), (4, 1), (5, 0), (6, 0))
    assert it.dropped == {"pruned": (0, 1)}
    assert it.torso_length == ((1,), (0,))
    assert tuple(it.parts) == PARTS
    assert Layout.from_dict(it.to_dict()) == it
    (tmp_path / "me.yaml").write_text(yaml.safe_dump({k: v for k, v in OWN.items() if k != "name"}))
    assert layout(tmp_path / "me.yaml").name == "me"


def changed(**changes):
    content = copy.deepcopy(OWN)
    for path, value in changes.items():
        *outer, last = path.split("__")
        place = content
        for key in outer:
            place = place[key]
        if value is None and last != "hip":
            del place[last]
        else:
            place[last] = value
    return content


@pytest.mark.parametrize(
    "content, words",
    [
        (changed(joints=[*OWN["joints"], "head"]), ("'head'", "twice")),
        (changed(joints=["hip", True]), ("True", "quotes")),
        (changed(joints=[]), ("joints must be a list",)),
        (changed(parents__head="neck"), ("'head'", "'neck'", "unknown")),
        (changed(parents__neck="head"), ("'neck'", "unknown")),
        (changed(parents__head=None), ("'head'", "no entry in parents")),
        (changed(parents__chest="head"), ("'chest'", "cycle")),
        (changed(parents__hip="head"), ("'hip'", "cycle")),
        (changed(parents__head="head"), ("hip, head", "roots")),
        (changed(parts__head=[]), ("'head'", "none of the parts")),
        (changed(parts__head=["head", "hip"]), ("'hip'", "two parts", "head", "torso")),
        (changed(parts__head=["head", "head"]), ("'head'", "twice")),
        (changed(parts__head=["heed"]), ("'heed'", "parts.head")),
        (changed(parts__tail=[]), ("tail", "parts must be")),
        (changed(parts__head=None), ("parts must be", "unknown: head")),
        (changed(torso=["hip", "belly"]), ("'belly'", "torso")),
        (changed(torso=[]), ("torso names no joint",)),
        (changed(torso=["hip"]), ("torso_length must be given",)),
        (changed(torso="hip"), ("torso must be a list",)),
        (changed(pairs=[["hand_l", "foot_r"]]), ("hand_l", "foot_r", "does not mirror")),
        (changed(pairs=[["hand_r", "hand_l"]]), ("hand_r", "(left, right)")),
        (changed(pairs=[["hand_l", "hand_r"], ["hand_l", "hand_r"]]), ("'hand_l'", "twice")),
        (changed(pairs=[["hand_l", "hand_l"]]), ("'hand_l'", "twice")),
        (changed(pairs=[["hand_l"]]), ("['hand_l']", "couple")),
        (changed(dims=4), ("dims is 4", "2 or 3")),
        (changed(dims="2"), ("dims is '2'",)),
        (changed(dims=2.0), ("dims is 2.0",)),
        (changed(joints=[f"j{v}" for v in range(9000)]), ("9,000 joints; a layout has at most 1,000",)),
        (changed(edges=[["hip", "hip"]]), ("'hip'", "itself")),
        (changed(edges=[["hip", "tail"]]), ("'tail'", "edges")),
        (changed(origin=["tail"]), ("'tail'", "origin")),
        (changed(dropped={"none_left": OWN["joints"]}), ("none_left", "leaves no joint")),
        (changed(dropped={"all": ["hip"]}), ("'all'",)),
        (changed(dropped={"x": ["tail"]}), ("'tail'", "dropped.x")),
        (changed(dropped={20: ["hip"]}), ("dropped has the key 20", "quotes")),
        (changed(parents__hip=None) | {1: 2}, ("unknown key 1",)),
        (changed(torso_length=["hip"]), ("torso_length", "two lists")),
        (changed(colour="red"), ("unknown key colour",)),
        (changed(dims=None), ("lacks dims",)),
        ([1, 2], ("mapping",)),
        (None, ("mapping",)),
    ],
)
def test_a_fault_in_an_own_layout_names_file_and_joint(content, words, tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ValueError) as error:
        layout(path)
    assert all(word in str(error.value) for word in (str(path), *words)), error.value


def test_pairs_that_are_not_given_follow_from_the_joints_names():
    assert Layout.from_dict(changed(pairs=None)).pairs == ()
    renamed = json.loads(json.dumps(OWN).replace("hand_l", "left_hand").replace("hand_r", "right_hand"))
    del renamed["pairs"]
    it = Layout.from_dict(renamed)
    assert [(it.joints[left], it.joints[right]) for left, right in it.pairs] == [("left_hand", "right_hand")]
    renamed["parts"] |= {"left_arm": ["left_hand", "right_hand"], "right_arm": []}
    assert Layout.from_dict(renamed).pairs == ()


@pytest.mark.parametrize(
    "text, words",
    [
        (b"joints: [a, b", ("not valid YAML", "line 1")),
        (b"\xff\xfe\x00", ("not valid YAML", "not a text file")),
        (b"name: a\nname: b", ("'name'", "twice")),
        (b"!!python/object/apply:os.system ['true']", ("not valid YAML",)),
        (b"", ("mapping",)),
        (b"? [a, b]\n: c", ("not valid YAML", "not a single text")),
    ],
)
def test_a_file_that_is_no_layout_says_so(text, words, tmp_path):
    path = tmp_path / "own.yaml"
    path.write_bytes(text)
    with pytest.raises(ValueError) as error:
        layout(path)
    assert all(word in str(error.value) for word in (str(path), *words)), error.value


def test_a_thousand_joints_in_a_row_are_a_layout(tmp_path):
    joints = [f"j{v}" for v in range(1000)]
    parents = dict(zip(joints, [None, *joints], strict=False))
    empty = {part: [] for part in PARTS}
    content = {"name": "row", "dims": 3, "joints": joints, "parents": parents, "torso": [joints[-1]]}
    path = tmp_path / "row.yaml"
    path.write_text(yaml.safe_dump(content | {"parts": empty | {"torso": joints}}))
    assert layout(path).torso_length == ((999,), (0,))


def test_unknown_names_are_answered_with_known_ones(tmp_path):
    with pytest.raises(ValueError, match=r"unknown layout 'ntu26'; did you mean ntu25\?"):
        layout("ntu26")
    with pytest.raises(ValueError, match=r"unknown layout .*; known: coco133, .*utd20, a YAML file of your own"):
        layout(tmp_path)
    with pytest.raises(ValueError, match="'pruned9'; it has: all, pruned, pruned20, pruned16"):
        layout("ntu25").kept("pruned9")
    with pytest.raises(ValueError, match=r"'tail'.*spine_base"):
        layout("ntu25").index("tail")
    assert layout("ntu25").index("head") == 3

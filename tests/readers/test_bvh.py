"""BVH: forward kinematics against scipy's rotations, joints by name in the styles of several tools, units."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from kinemask.preparation.prepare import prepare
from kinemask.readers import Item, ReadOptions, reader
from kinemask.readers.bvh_file import parse_bvh
from kinemask.skeleton import Layout, layout
from kinemask.store.opening import open_store

READER = reader("bvh")
FRAMES = 9

# part: (parent, offset in metres); the parts are those of smpl22
BODY = {
    "pelvis": ("", (0, 0, 0)),
    "lower": ("pelvis", (0, 0.1, 0)),
    "middle": ("lower", (0, 0.15, 0.01)),
    "upper": ("middle", (0, 0.15, 0)),
    "neck": ("upper", (0, 0.2, -0.02)),
    "head": ("neck", (0, 0.1, 0.03)),
}
for _side, _x in (("left", 1), ("right", -1)):
    BODY |= {
        f"{_side}_hip": ("pelvis", (0.1 * _x, -0.05, 0)),
        f"{_side}_knee": (f"{_side}_hip", (0, -0.42, 0.02)),
        f"{_side}_ankle": (f"{_side}_knee", (0, -0.43, -0.02)),
        f"{_side}_foot": (f"{_side}_ankle", (0, -0.06, 0.15)),
        f"{_side}_collar": ("upper", (0.05 * _x, 0.15, 0)),
        f"{_side}_shoulder": (f"{_side}_collar", (0.12 * _x, 0.02, 0)),
        f"{_side}_elbow": (f"{_side}_shoulder", (0.28 * _x, 0, 0)),
        f"{_side}_wrist": (f"{_side}_elbow", (0.25 * _x, 0, 0.01)),
    }

STYLES = {  # what tools call the parts, in the order: pelvis, spine ×3, neck, head, then hip … wrist of a side
    "mixamo": "mixamorig:{}|Hips Spine Spine1 Spine2 Neck Head|UpLeg Leg Foot ToeBase Shoulder Arm ForeArm Hand|{s}{p}",
    "lafan": "{}|Hips Spine Spine1 Spine2 Neck Head|UpLeg Leg Foot Toe Shoulder Arm ForeArm Hand|{s}{p}",
    "smpl": "{}|pelvis spine1 spine2 spine3 neck head|hip knee ankle foot collar shoulder elbow wrist|{l}_{p}",
    "biovision": "{}|Hips Abdomen Chest Chest2 Neck Head|Hip Knee Ankle Toe Collar Shoulder Elbow Wrist|{s}{p}",
    "bandai": "{}|Hips Spine Spine1 Chest Neck Head|UpLeg LowerLeg Foot Toes Shoulder UpperArm LowerArm Hand|{p}_{i}",
    "max": "Bip01 {}|Pelvis Spine Spine1 Spine2 Neck Head|Thigh Calf Foot Toe0 Clavicle UpperArm Forearm Hand|{i} {p}",
    "rokoko": "{}|Hips Spine Spine1 Chest Neck Head|Thigh Shin Foot Toe Shoulder Arm ForeArm Hand|{s}{p}",
    "daz": "{}|hip abdomen abdomen2 chest neck head|Thigh Shin Foot Toe Collar Shldr ForeArm Hand|{m}{p}",
}


def names(style):
    """Part → name."""
    outer, middle, sided, form = STYLES[style].split("|")
    middles = ("pelvis", "lower", "middle", "upper", "neck", "head")
    found = {part: outer.format(name) for part, name in zip(middles, middle.split(), strict=True)}
    roles = ("hip", "knee", "ankle", "foot", "collar", "shoulder", "elbow", "wrist")
    for side in ("left", "right"):
        for role, name in zip(roles, sided.split(), strict=True):
            told = form.format(s=side.title(), l=side, i=side[0].upper(), m=side[0], p=name)
            found[f"{side}_{role}"] = outer.format(told)
    return found


def tree(called, unit=0.01, order="ZXY", body=BODY, moving=("pelvis",)):
    """The lines of HIERARCHY, and parts in the order of their channels."""
    lines, parts = ["HIERARCHY"], []

    def add(part, depth):
        parent, offset = body[part]
        indent = "\t" * depth
        parts.append(part)
        place = "Xposition Yposition Zposition " if part in moving else ""
        turns = " ".join(f"{axis}rotation" for axis in order)
        lines.append(f"{indent}{'JOINT' if parent else 'ROOT'} {called[part]}")
        lines.append(f"{indent}{{")
        lines.append(f"{indent}\tOFFSET " + " ".join(f"{x / unit:.6f}" for x in offset))
        lines.append(f"{indent}\tCHANNELS {6 if place else 3} {place}{turns}")
        children = [child for child, (above, _) in body.items() if above == part]
        for child in children:
            add(child, depth + 1)
        if not children:
            lines.extend(
                [f"{indent}\tEnd Site", f"{indent}\t{{", f"{indent}\t\tOFFSET 0 {0.1 / unit:.6f} 0", f"{indent}\t}}"]
            )
        lines.append(f"{indent}}}")

    add("pelvis", 0)
    return lines, parts


def motion(parts, seed=0):
    """Degrees (T, parts, 3) and the root's places (T, 3), in metres."""
    rng = np.random.default_rng(seed)
    turns = rng.uniform(-70, 70, (FRAMES, len(parts), 3))
    return turns, rng.normal(0, 1, (FRAMES, 3)) + np.array([0, 0.9, 0])


def write(path, style="mixamo", unit=0.01, order="ZXY", body=BODY, change=lambda text: text):
    lines, parts = tree(names(style), unit, order, body)
    turns, places = motion(parts)
    rows = []
    for t in range(FRAMES):
        numbers = [*(places[t] / unit), *turns[t].ravel()]
        rows.append(" ".join(f"{x:.6f}" for x in numbers))
    head = ["MOTION", f"Frames: {FRAMES}", "Frame Time: 0.0083333"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(change("\n".join([*lines, *head, *rows]) + "\n"))
    return path


def expected(order="ZXY", body=BODY):
    """Positions of the parts (T, 3), in metres: each turned about its parent's axes, by scipy."""
    _, parts = tree(names("mixamo"), 1, order, body)
    turns, places = motion(parts)
    found = {}
    for i, part in enumerate(parts):
        parent, offset = body[part]
        turn = Rotation.from_euler(order, turns[:, i], degrees=True)
        if parent:
            place, before = found[parent]
            found[part] = (place + before.apply(offset), before * turn)
        else:
            found[part] = (places, turn)
    return {part: place for part, (place, _) in found.items()}


def read(path, **options):
    return READER.read(Item(path, path.stem), ReadOptions(**options))


SMPL = {"spine1": "lower", "spine2": "middle", "spine3": "upper"}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("order", ["ZXY", "ZYX", "XYZ"])
def test_joints_are_where_they_should_be(tmp_path, style, order):
    clip = read(write(tmp_path / "a.bvh", style, order=order))
    places = expected(order)
    assert clip.data.shape == (1, FRAMES, 22, 3)
    for v, joint in enumerate(layout("smpl22").joints):
        wanted = places[SMPL.get(joint, joint)] - places["pelvis"][0]
        assert np.allclose(clip.data[0, :, v], wanted, atol=1e-4), joint
    assert clip.fields["fps"] == "120"


@pytest.mark.parametrize("unit, said", [(1, ""), (0.01, "centimetres"), (0.001, "millimetres"), (0.0254, "inches")])
def test_units_are_found_by_the_legs(tmp_path, unit, said):
    clip = read(write(tmp_path / "a.bvh", unit=unit))
    reference = read(write(tmp_path / "b.bvh"))
    assert np.allclose(clip.data, reference.data, atol=1e-4)
    assert any(said in note for note in clip.notes) if said else not clip.notes
    with pytest.raises(ValueError, match=r"the legs are .* which is no leg's length"):
        read(write(tmp_path / "c.bvh", unit=0.3))


def test_other_layouts(tmp_path):
    path, places = write(tmp_path / "a.bvh"), expected()
    wanted = {
        "kinect20": {"hip_centre": "pelvis", "spine": "middle", "shoulder_centre": "neck", "left_wrist": "left_wrist"},
        "h36m17": {"root": "pelvis", "left_foot": "left_ankle", "right_knee": "right_knee", "thorax": "upper"},
        "sbu15": {"torso": "upper", "left_hand": "left_wrist", "right_foot": "right_ankle"},
        "ntu25": {"spine_base": "pelvis", "left_foot": "left_foot", "left_ankle": "left_ankle"},
    }
    for name, joints in wanted.items():
        given = layout(name)
        clip = read(path, layout=given)
        origin = clip.data[0, 0, given.index(next(iter(joints)))] - places[next(iter(joints.values()))][0]
        for joint, part in joints.items():
            assert np.allclose(clip.data[0, :, given.index(joint)], places[part] + origin, atol=1e-4), (name, joint)
    missing = np.isnan(read(path, layout=layout("ntu25")).data[0]).all((0, 2))
    hands = {f"{side}_{part}" for side in ("left", "right") for part in ("hand_tip", "thumb")}
    assert {layout("ntu25").joints[v] for v in np.flatnonzero(missing)} == hands | {"spine_shoulder"}


def test_a_layout_of_the_files_own_names(tmp_path):
    parents = {"Hips": None, "LeftLeg": "Hips", "RightLeg": "Hips", "Head": "Hips"}
    parts = {"left_arm": [], "right_arm": []} | {"head": ["Head"], "torso": ["Hips"]}
    parts |= {"left_leg": ["LeftLeg"], "right_leg": ["RightLeg"]}
    own = Layout.from_dict(
        {"name": "own", "dims": 3, "joints": list(parents), "parents": parents, "parts": parts, "torso": ["Head"]}
    )
    clip = read(write(tmp_path / "a.bvh", "lafan"), layout=own)
    places = expected()
    assert np.allclose(clip.data[0, :, 1], places["left_knee"] - places["pelvis"][0], atol=1e-4)


def test_a_short_spine_and_missing_limbs(tmp_path):
    body = {part: ("pelvis" if parent == "middle" else parent, offset) for part, (parent, offset) in BODY.items()}
    body = {part: value for part, value in body.items() if part not in ("lower", "middle")}
    clip = read(write(tmp_path / "a.bvh", body=body))
    missing = np.isnan(clip.data[0]).all((0, 2))
    assert [layout("smpl22").joints[v] for v in np.flatnonzero(missing)] == ["spine1", "spine2"]
    legless = {part: value for part, value in BODY.items() if "knee" not in part and "ankle" not in part}
    legless = {part: value for part, value in legless.items() if "foot" not in part}
    with pytest.raises(
        ValueError, match=r"no joint is the left_knee, right_knee, left_ankle.*joints are mixamorig:Hips"
    ):
        read(write(tmp_path / "b.bvh", body=legless))


def test_a_store(tmp_path):
    for name in ("walk", "deep/run"):
        write(tmp_path / "raw" / f"{name}.bvh")
    (tmp_path / "raw" / "loud.BVH").write_text((tmp_path / "raw" / "walk.bvh").read_text().replace("\n", "\r\n"))
    store = open_store(prepare("bvh", tmp_path / "raw", tmp_path / "store", progress=False).path)
    assert (sorted(store.names), store.layout.name) == (["deep/run", "loud", "walk"], "smpl22")
    (tmp_path / "raw" / "clips.csv").write_text("clip,label\nwalk.bvh,a\nloud,b\n")
    store = open_store(prepare("bvh", tmp_path / "raw", tmp_path / "other", layout="kinect20", progress=False).path)
    assert (store.classes, store.layout.name) == (["a", "b"], "kinect20")
    with pytest.raises(ValueError, match="coco17 is 2D"):
        prepare("bvh", tmp_path / "raw", tmp_path / "flat", layout="coco17", progress=False)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda text: "", "the file ends before its motion"),
        (lambda text: "# nothing\n", "line 1: expected HIERARCHY"),
        (lambda text: text[: text.index("JOINT")], "the file ends before its motion"),
        (lambda text: text.replace("Frames: 9", "Frames: 999999999"), "999999999 frames of 69 channels are"),
        (lambda text: text.replace("Frames: 9", "Frames: -9"), "expected Frames: and their number"),
        (lambda text: text[:-20], "found 6"),
        (lambda text: text.replace("Zrotation", "Wrotation", 1), "line 5: expected a number of channels"),
        (lambda text: text.replace("CHANNELS 6", "CHANNELS 5"), "expected a number of channels"),
        (lambda text: text.replace("OFFSET 0.0", "OFFSET a", 1), "line 4: expected 3 numbers"),
        (lambda text: text.replace("}", "", 1), "expected ROOT, JOINT, End Site"),
        (lambda text: text.rstrip("\n")[:-9] + " nan\n", "a value is not finite"),
        (lambda text: text.rstrip("\n")[:-3] + " x\n", "expected numbers only"),
        (lambda text: re.sub("(Frame Time: .*\n)\\S+", r"\g<1>1e308", text), "a coordinate is not a finite length"),
        (lambda text: "HIERARCHY\n" + "JOINT a\n{\n" * 3, "expected ROOT"),
    ],
)
def test_bad_files(tmp_path, change, words):
    path = write(tmp_path / "a.bvh", change=change)
    with pytest.raises(ValueError, match=f"{path}.*{words}"):
        read(path)


def test_a_deep_tree_is_no_harm(tmp_path):
    path = tmp_path / "a.bvh"
    depth = 20_000
    lines = ["HIERARCHY", "ROOT r", "{", "OFFSET 0 0 0", "CHANNELS 1 Xrotation"]
    lines += ["JOINT j", "{", "OFFSET 0 1 0"] * depth + ["}"] * (depth + 1)
    path.write_text("\n".join([*lines, "MOTION", "Frames: 1", "Frame Time: 0.1", "0"]))
    assert parse_bvh(path).positions()[0, -1].tolist() == [0, depth, 0]


def test_flipped_bytes_are_errors_or_other_numbers_never_worse(tmp_path):
    path = write(tmp_path / "a.bvh")
    whole, rng = path.read_bytes(), np.random.default_rng(6)
    for _ in range(60):
        damaged = bytearray(whole)
        for at in rng.integers(0, rng.choice([1500, len(whole)]), rng.choice([1, 3])):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            found = read(path).data
        except ValueError as error:
            found = str(error)
        assert str(path) in found if isinstance(found, str) else not np.isinf(found).any()


@pytest.mark.parametrize("column", [True, False])
def test_a_unit_that_is_told_is_not_found_out(tmp_path, column):
    write(tmp_path / "raw" / "a.bvh", unit=0.0254)
    if column:
        (tmp_path / "raw" / "clips.csv").write_text("clip,unit\na,in\n")
    summary = prepare("bvh", tmp_path / "raw", tmp_path / "store", unit=None if column else "in", progress=False)
    reference = read(write(tmp_path / "b.bvh", unit=1))
    assert np.allclose(open_store(summary.path).clip(0), reference.data, atol=1e-4)


def test_ends_of_limbs_are_wrists_ankles_and_head(tmp_path):
    gone = {f"{side}_{part}" for side in ("left", "right") for part in ("ankle", "foot", "wrist", "collar")} | {"head"}
    body = {
        part: ("upper" if "collar" in parent else parent, x) for part, (parent, x) in BODY.items() if part not in gone
    }
    clip = read(write(tmp_path / "a.bvh", "lafan", body=body))
    missing = {layout("smpl22").joints[v] for v in np.flatnonzero(np.isnan(clip.data[0]).all((0, 2)))}
    assert missing == {f"{side}_{part}" for side in ("left", "right") for part in ("foot", "collar")}
    elbow, wrist = (clip.data[0, :, layout("smpl22").index(f"left_{part}")] for part in ("elbow", "wrist"))
    assert np.allclose(np.linalg.norm(wrist - elbow, axis=-1), 0.1, atol=1e-5)  # the end site's offset

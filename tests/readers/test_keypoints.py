"""Which joints keypoints are: told by the source, by their number, or not; and who writes them how."""

from __future__ import annotations

import json

import numpy as np
import pytest

from kinemask.preparation.prepare import prepare
from kinemask.readers import Item, ReadOptions, reader
from kinemask.skeleton import layout
from kinemask.store.opening import open_store

READER = reader("coco17")
COCO = layout("coco17").joints
FRAMES = 16


def body(joints=COCO, seed=0):
    """Pixels (T, K, 2) of somebody who walks; the same joint of any order is in the same place."""
    rng = np.random.default_rng(seed)
    pose = {name: rng.uniform(-60, 60, 2) for name in sorted({*COCO, *joints})}
    walk = np.arange(FRAMES)[:, None, None] * (5, 0)
    return 300 + np.array([pose[name] for name in joints]) + walk + np.sin(np.arange(FRAMES))[:, None, None]


def scored(joints, score=0.8):
    return np.c_[joints, np.full(len(joints), score)].ravel().tolist()


def dump(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def read(path, **options):
    return READER.read(Item(path, path.stem), ReadOptions(**options))


def check(clip, data, height=None):
    """Whether a clip of one body is where it should be, but for the origin."""
    assert len(clip.data) == 1
    flat = clip.data[0] * (1, -1) * float(clip.fields["scale"])
    assert np.array_equal(np.isnan(flat), np.isnan(data))
    assert np.nanstd((flat - data).reshape(-1, 2), axis=0).max() < 0.01


def data_set(joints, data, **more):
    images = [{"id": t, "file_name": f"{t:04d}.jpg"} for t in range(FRAMES)]
    notes = [{"id": t, "image_id": t, "category_id": 1, "keypoints": scored(who, 2)} for t, who in enumerate(data)]
    return {"images": images, "annotations": notes, "categories": [{"id": 1, "keypoints": list(joints), **more}]}


# ---- the source names its joints ----

SHUFFLED = [COCO[i] for i in np.random.default_rng(1).permutation(17)]
NAMED = {
    "another order": SHUFFLED,
    "another spelling": [name.upper() for name in COCO],
    "sides behind": ["_".join(name.split("_")[::-1]) for name in COCO],
    "camel": ["".join(word.title() for word in name.split("_")) for name in COCO],
    "more joints": ["neck", *SHUFFLED, "tail"],
}


@pytest.mark.parametrize("kind", NAMED)
def test_categories_name_the_joints(tmp_path, kind):
    names = NAMED[kind]
    plain = {"".join(sorted(name.lower().replace("_", ""))): name for name in COCO}
    usual = [plain.get("".join(sorted(name.lower().replace("_", ""))), name) for name in names]
    clip = read(dump(tmp_path / "a.json", data_set(names, body(usual))))
    data = body(usual)[:, [usual.index(name) for name in COCO]]
    check(clip, data)
    assert bool(clip.notes) == (kind == "more joints")


def test_joints_that_the_source_lacks_are_missing_and_said(tmp_path):
    names = ["nose", "head_bottom", "head_top", *COCO[3:]]
    clip = read(dump(tmp_path / "a.json", data_set(names, body(names))))
    assert np.flatnonzero(np.isnan(clip.data[0]).all((0, 2))).tolist() == [1, 2]
    assert "the source has no left_eye, right_eye, so missing" in clip.notes
    assert any("left out: head_bottom, head_top" in note for note in clip.notes)


def test_another_body_is_refused_or_of_its_own_layout(tmp_path):
    animal = ["nose", "tail", *(f"paw{i}" for i in range(15))]
    with pytest.raises(ValueError, match=r"a\.json.*it has no left_eye.*but tail, paw0"):
        read(dump(tmp_path / "a.json", data_set(animal, body(animal))))
    names = layout("mpii16").joints
    dump(tmp_path / "mpii" / "a.json", data_set(names, body(names)))
    summary = prepare("coco17", tmp_path / "mpii", tmp_path / "store", progress=False)
    assert open_store(summary.path).layout.name == "mpii16"
    assert any("are those of layout mpii16" in line for line in summary.warnings)
    two = data_set(COCO, body())
    two["categories"].append({"id": 2, "keypoints": animal})
    with pytest.raises(ValueError, match="categories with different keypoints"):
        read(dump(tmp_path / "b.json", two))


def mmpose(data, meta=None, scores=0.8):
    frames = []
    for t, who in enumerate(data):
        one = {"keypoints": who.tolist(), "keypoint_scores": [scores] * len(who)}
        frames.append({"frame_id": t, "instances": [one]})
    return frames if meta is None else {"meta_info": meta, "instance_info": frames}


@pytest.mark.parametrize("key", ["keypoint_id2name", "keypoint_name2id"])
def test_meta_info_names_the_joints(tmp_path, key):
    pairs = {str(i): name for i, name in enumerate(SHUFFLED)}
    meta = {key: pairs if key == "keypoint_id2name" else {name: int(i) for i, name in pairs.items()}}
    clip = read(dump(tmp_path / "a.json", mmpose(body(SHUFFLED), meta)))
    check(clip, body()[:, [COCO.index(name) for name in COCO]])


def lifted(seed=0):
    """Metres (T, 17, 3) of h36m17, z up."""
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.4, (1, 17, 3)) + rng.normal(0, 0.01, (FRAMES, 17, 3)) + (0, 0, 1)


def test_three_coordinates_are_3d(tmp_path):
    data, names = lifted(), layout("h36m17").joints
    meta = {"dataset_name": "h36m", "keypoint_id2name": {str(i): name for i, name in enumerate(names)}}
    dump(tmp_path / "raw" / "a.json", mmpose(data, meta))
    store = open_store(prepare("coco17", tmp_path / "raw", tmp_path / "store", progress=False).path)
    assert store.layout.name == "h36m17"
    up = data[..., [0, 2, 1]] * (1, 1, -1)
    assert np.allclose(store.clip(0)[0], up - up[0, 0], atol=1e-5)
    path = dump(tmp_path / "b.json", mmpose(data))
    with pytest.raises(ValueError, match=r"3D keypoints .*coco17 is 2D; .*--layout h36m17"):
        read(path)
    assert np.allclose(read(path, layout=layout("h36m17")).data[0], up - up[0, 0], atol=1e-5)
    with pytest.raises(ValueError, match="2D keypoints, and layout h36m17 is 3D"):
        read(dump(tmp_path / "c.json", mmpose(body())), layout=layout("h36m17"))


def test_a_third_number_that_is_the_confidence_is_no_coordinate(tmp_path):
    data = np.concatenate([body(), np.full((FRAMES, 17, 1), 0.8)], -1)
    check(read(dump(tmp_path / "a.json", mmpose(data))), body())


# ---- the number of joints tells ----


@pytest.mark.parametrize(
    "name, count", [("halpe26", 26), ("halpe26", 136), ("coco133", 133), ("openpose25", 25), ("coco18", 18)]
)
@pytest.mark.parametrize("apart", [True, False])
def test_more_joints_than_cocos(tmp_path, name, count, apart):
    names = [*layout(name).joints, *(f"spare{i}" for i in range(count - layout(name).num_joints))]
    data = body(names)
    if apart:
        path = dump(tmp_path / "a.json", mmpose(data))
    else:
        path = dump(
            tmp_path / "a.json", [{"image_id": f"{t}.jpg", "keypoints": scored(who)} for t, who in enumerate(data)]
        )
    clip = read(path)
    check(clip, data[:, [names.index(joint) for joint in COCO]])
    assert f"its {count} joints are taken for those of {name}" in clip.notes
    assert np.allclose(clip.score, 0.8)
    if count == layout(name).num_joints:
        check(read(path, layout=layout(name)), data)


def test_numbers_of_joints_that_tell_nothing(tmp_path):
    data = body([f"j{i}" for i in range(15)])
    path = dump(tmp_path / "a.json", mmpose(data))
    with pytest.raises(ValueError, match="found 15 of them; if they are those of layout mpi15: --layout mpi15"):
        read(path)
    assert read(path, layout=layout("mpi15")).data.shape == (1, FRAMES, 15, 2)


# ---- AlphaPose, TensorFlow.js and the like ----

TWO = (body(seed=0), body(seed=1) + np.array([400, 0]))


def flipped(t):
    """The two people of a frame, in any order, with their names."""
    return [(m, TWO[m][t]) for m in ((0, 1) if t % 3 else (1, 0))]


def neck18(who):
    """AlphaPose's 18 joints out of COCO's 17, as its pPose_nms.py makes them."""
    named = dict(zip(COCO, who, strict=True))
    named["neck"] = (named["left_shoulder"] + named["right_shoulder"]) / 2
    return np.array([named[name] for name in layout("coco18").joints])


WRITERS = {
    "list": lambda: [
        {"image_id": f"{t}.jpg", "category_id": 1, "keypoints": scored(who), "score": 2.5, "idx": [m + 1]}
        for t in range(FRAMES)
        for m, who in flipped(t)
    ],
    "by image": lambda: {
        f"{t}.jpg": [{"keypoints": scored(who), "scores": 2.5, "idx": m + 1} for m, who in flipped(t)]
        for t in range(FRAMES)
    },
    "by person": lambda: {
        str(m + 1): {f"{t:04d}": {"keypoints": scored(who), "scores": 2.5} for t, who in enumerate(TWO[m])}
        for m in (0, 1)
    },
    "by image and person": lambda: {
        f"{t}.jpg": {str(m): {"keypoints": scored(who)} for m, who in flipped(t)} for t in range(FRAMES)
    },
    "cmu": lambda: {
        f"{t}.jpg": {"version": "AlphaPose v0.3", "bodies": [{"joints": scored(neck18(who))} for _, who in flipped(t)]}
        for t in range(FRAMES)
    },
    "open": lambda: {
        f"{t}.jpg": {
            "version": "AlphaPose v0.3",
            "people": [{"pose_keypoints_2d": scored(neck18(who))} for _, who in flipped(t)],
        }
        for t in range(FRAMES)
    },
    "OpenPose in one file": lambda: [
        {
            "version": 1.3,
            "people": [{"person_id": [-1], "pose_keypoints_2d": scored(neck18(who))} for _, who in flipped(t)],
        }
        for t in range(FRAMES)
    ],
    "TensorFlow.js": lambda: [
        [
            {
                "score": 0.9,
                "keypoints": [{"x": x, "y": y, "score": 0.8, "name": n} for (x, y), n in zip(who, COCO, strict=True)],
            }
            for _, who in flipped(t)
        ]
        for t in range(FRAMES)
    ],
    "TensorFlow.js, frames": lambda: [
        {
            "frame": t,
            "poses": [{"keypoints": [{"x": x, "y": y, "score": 0.8} for x, y in who]} for _, who in flipped(t)],
        }
        for t in range(FRAMES)
    ],
    "PoseNet": lambda: [
        [
            {
                "keypoints": [
                    {"part": n, "position": {"x": x, "y": y}, "score": 0.8} for (x, y), n in zip(who, COCO, strict=True)
                ]
            }
            for _, who in flipped(t)
        ]
        for t in range(FRAMES)
    ],
    "predictions": lambda: {
        "predictions": [
            [{"keypoints": who.tolist(), "keypoint_scores": [0.8] * 17} for _, who in flipped(t)] for t in range(FRAMES)
        ]
    },
    "frames by number": lambda: {
        str(t): [{"keypoints": who.tolist(), "keypoint_scores": [0.8] * 17} for _, who in flipped(t)]
        for t in range(FRAMES)
    },
}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("lines", [False, True])
def test_two_people(tmp_path, kind, lines):
    content = WRITERS[kind]()
    path = tmp_path / "a.json"
    if lines and isinstance(content, dict):
        pytest.skip("an object is one line")
    path.write_text("\n".join(map(json.dumps, content)) if lines else json.dumps(content))
    clip = read(path)
    assert clip.data.shape == (2, FRAMES, 17, 2)
    assert np.allclose(clip.score, 0.8)
    flat = clip.data * (1, -1) * float(clip.fields["scale"])
    for data in TWO:
        assert min(np.nanstd((one - data).reshape(-1, 2), axis=0).max() for one in flat) < 0.01


@pytest.mark.parametrize(
    "content, words",
    [
        ({"0.jpg": {"bodies": 3}}, "found an object of 0.jpg"),
        ({"0.jpg": [{"keypoints": 3}]}, "expected 17 keypoints"),
        ([{"people": [3]}], "frame 0: expected a list of people with keypoints"),
        ([[{"keypoints": [{"x": "a", "y": 1}] * 17}]], "keypoints: expected numbers"),
        ([[{"keypoints": [{"x": 1, "y": 1}, 3]}]], "keypoints: expected"),
        ({"categories": [{"keypoints": ["a"] * 3}], "images": [{"id": 1}], "annotations": []}, "nobody is seen"),
    ],
)
def test_content_of_another_shape(tmp_path, content, words):
    path = dump(tmp_path / "a.json", content)
    with pytest.raises(ValueError, match=f"{path}.*{words}"):
        read(path)


def test_a_data_set_names_the_joints(tmp_path):
    up = lifted()[..., [0, 2, 1]] * (1, 1, -1)
    dump(tmp_path / "raw" / "a.json", mmpose(lifted(), {"dataset_name": "h36m"}))
    store = open_store(prepare("coco17", tmp_path / "raw", tmp_path / "store", progress=False).path)
    assert store.layout.name == "h36m17"
    assert np.allclose(store.clip(0)[0], up - up[0, 0], atol=1e-5)
    check(read(dump(tmp_path / "b.json", mmpose(body(), {"dataset_name": "coco"}))), body())
    missing = read(dump(tmp_path / "c.json", mmpose(body(), {"dataset_name": "posetrack18"})))
    assert np.flatnonzero(np.isnan(missing.data[0]).all((0, 2))).tolist() == [1, 2]
    with pytest.raises(ValueError, match="data set 'ap10k', whose joints are not known"):
        read(dump(tmp_path / "d.json", mmpose(body(), {"dataset_name": "ap10k"})))


def test_tables_of_any_layout_may_have_a_line_per_frame(tmp_path):
    data = body()
    lines = [",".join(["frame", *(f"{joint}_{part}" for joint in COCO for part in ("x", "y", "score"))])]
    lines += [",".join(map(str, [t, *scored(who)])) for t, who in enumerate(data)]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    clip = reader("arrays").read(Item(tmp_path / "a.csv", "a"), ReadOptions(layout("coco17")))
    check(clip, data)
    assert np.allclose(clip.score, 0.8)


@pytest.mark.parametrize("numbered", [True, False])
def test_somebody_in_frame_after_frame(tmp_path, numbered):
    poses = [{"score": 0.9, "keypoints": [{"x": x, "y": y, "score": 0.8} for x, y in who]} for who in body()]
    if numbered:
        poses = [{"frame": 3 + t, **pose} for t, pose in enumerate(poses)][::-1]
    check(read(dump(tmp_path / "a.json", poses)), body())


def test_people_of_one_frame(tmp_path):
    crowd = [{"keypoints": scored(body()[0] + np.array([300 * m, 0]))} for m in range(4)]
    assert read(dump(tmp_path / "a.json", crowd)).data.shape == (4, 1, 17, 2)

"""MediaPipe's landmarks as people write them: every form gives the same clip."""

from __future__ import annotations

import json

import numpy as np
import pytest

from kinemask.readers import Item, ReadOptions, reader
from kinemask.readers.cleaning import Rejected
from kinemask.skeleton import layout

READER = reader("mediapipe")
JOINTS = layout("mediapipe33").joints
MEDIAPIPE = [joint if "mouth" not in joint else "mouth_" + joint.removesuffix("_mouth") for joint in JOINTS]
FRAMES, NOBODY = 12, 5


def world(seed=0):
    """(T, 33, 3) metres, y down, about the hips; one frame is of nobody."""
    rng = np.random.default_rng(seed)
    body = rng.normal(0, 0.3, (1, 33, 3)) + rng.normal(0, 0.01, (FRAMES, 33, 3))
    body = np.round(body - body[:, [23, 24]].mean(1, keepdims=True), 5)
    body[NOBODY] = np.nan
    return body


def read(path, **options):
    return READER.read(Item(path, path.stem, None, options.pop("fields", {})), ReadOptions(**options))


def check(clip, scores=True):
    assert clip.data.shape == (1, FRAMES, 33, 3)
    assert np.allclose(clip.data[0], world() * (1, -1, -1), atol=1e-5, equal_nan=True)
    if scores:
        assert np.allclose(np.delete(clip.score[0], NOBODY, 0), 0.9)
    else:
        assert clip.score is None


# ---- JSON: a person, a frame, frames ----

one = lambda xyz: dict(zip("xyz", xyz.tolist(), strict=True))
seen = lambda xyz: {**one(xyz), "visibility": 0.9, "presence": 0.8}

PEOPLE = {
    "objects": lambda who: [seen(p) for p in who],
    "lists": lambda who: [[*p.tolist(), 0.9] for p in who],
    "with presence": lambda who: [[*p.tolist(), 0.9, 0.8] for p in who],
    "a row": lambda who: [x for p in who for x in (*p.tolist(), 0.9)],
    "numbered lists": lambda who: [[i, *p.tolist(), 0.9] for i, p in enumerate(who)],
    "capitals": lambda who: [{"X": p[0], "Y": p[1], "Z": p[2], "Visibility": 0.9} for p in who],
    "texts": lambda who: [{key: str(value) for key, value in seen(p).items()} for p in who],
    "by name": lambda who: {name: seen(p) for name, p in zip(MEDIAPIPE, who, strict=True)},
    "by name in capitals": lambda who: {
        name.upper(): [*p.tolist(), 0.9] for name, p in zip(MEDIAPIPE, who, strict=True)
    },
    "by number": lambda who: {str(i): seen(p) for i, p in enumerate(who)},
    "by number from 1": lambda who: {str(i): seen(p) for i, p in enumerate(who, 1)},
    "named, any order": lambda who: [{"name": name, **seen(p)} for name, p in zip(MEDIAPIPE, who, strict=True)][::-1],
    "with ids": lambda who: [{"id": i, **seen(p)} for i, p in enumerate(who)][::-1],
    "message": lambda who: {"landmark": [seen(p) for p in who]},
    "by coordinate": lambda who: {**{c: who[:, i].tolist() for i, c in enumerate("xyz")}, "visibility": [0.9] * 33},
}
KEYS = ("pose_world_landmarks", "poseWorldLandmarks", "worldLandmarks", "POSE_WORLD_LANDMARKS")


def dump(path, content):
    path.write_text(json.dumps(content))
    return path


def nobody(t, value, empty=None):
    return empty if t == NOBODY else value


@pytest.mark.parametrize("person", PEOPLE)
@pytest.mark.parametrize("several", [True, False])
def test_people(tmp_path, person, several):
    crowds = [nobody(t, [PEOPLE[person](who)] if several else PEOPLE[person](who)) for t, who in enumerate(world())]
    check(read(dump(tmp_path / "a.json", [{KEYS[several]: crowd} for crowd in crowds])))


@pytest.mark.parametrize("person", ["objects", "lists", "a row", "by name", "named, any order"])
def test_people_in_a_frames_place(tmp_path, person):
    check(read(dump(tmp_path / "a.json", [nobody(t, PEOPLE[person](who)) for t, who in enumerate(world())])))


FRAMES_OF = {
    "list": lambda frames: frames,
    "frames": lambda frames: {"fps": 30, "frames": frames},
    "results": lambda frames: {"video": "a.mp4", "results": frames},
    "by number": lambda frames: {str(t): frame for t, frame in enumerate(frames)},
    "by name": lambda frames: {f"frame_{t:04d}": frame for t, frame in reversed(list(enumerate(frames)))},
    "by image": lambda frames: {f"{t:06d}.jpg": frame for t, frame in enumerate(frames)},
    "by number within": lambda frames: {"fps": 30, "frames": {str(t + 7): frame for t, frame in enumerate(frames)}},
    "null": lambda frames: [None if t == NOBODY else frame for t, frame in enumerate(frames)],
    "left out": lambda frames: [{"frame": t, **frame} for t, frame in enumerate(frames) if t != NOBODY],
}


@pytest.mark.parametrize("outer", FRAMES_OF)
def test_frames(tmp_path, outer):
    frames = [{KEYS[0]: nobody(t, [PEOPLE["objects"](who)], [])} for t, who in enumerate(world())]
    check(read(dump(tmp_path / "a.json", FRAMES_OF[outer](frames))))


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.ndjson"])
@pytest.mark.parametrize("first", [[], [{"fps": 30, "source": "a.mp4"}]])
def test_lines_of_json(tmp_path, name, first):
    frames = [{KEYS[0]: nobody(t, [PEOPLE["objects"](who)])} for t, who in enumerate(world())]
    (tmp_path / name).write_text("\n".join(map(json.dumps, [*first, *frames])) + "\n\n")
    assert [item.name for item in READER.scan(tmp_path).items] == ["a"]
    check(read(tmp_path / name))


@pytest.mark.parametrize(
    "series",
    [
        lambda v: [nobody(t, seen(p)) for t, p in enumerate(world()[:, v])],
        lambda v: [nobody(t, [*p.tolist(), 0.9]) for t, p in enumerate(world()[:, v])],
    ],
)
def test_a_list_for_each_landmark(tmp_path, series):
    check(read(dump(tmp_path / "a.json", {name: series(v) for v, name in enumerate(MEDIAPIPE)})))


def test_null_visibility_and_null_landmarks(tmp_path):
    frames = [{KEYS[0]: nobody(t, [[{**one(p), "visibility": None} for p in who]])} for t, who in enumerate(world())]
    check(read(dump(tmp_path / "a.json", frames)), scores=False)
    frames[2][KEYS[0]][0][7] = None
    clip = read(dump(tmp_path / "a.json", frames))
    assert np.argwhere(np.isnan(clip.data[0, 2]).all(-1)).tolist() == [[7]]


def test_tensorflows_blazepose(tmp_path):
    pixels = 300 + 100 * np.nan_to_num(world())[..., :2]
    frames = []
    for t, who in enumerate(world()):
        named = [{**one(p), "score": 0.9, "name": name} for p, name in zip(who, MEDIAPIPE, strict=True)]
        image = [{"x": x, "y": y, "score": 0.9, "name": n} for (x, y), n in zip(pixels[t], MEDIAPIPE, strict=True)]
        frames.append(nobody(t, [{"score": 0.8, "keypoints": image, "keypoints3D": named}], []))
    path = dump(tmp_path / "a.json", frames)
    check(read(path))
    flat = read(path, layout=layout("coco17"), fields={"image_height": "480"})
    picked = [JOINTS.index(joint) for joint in layout("coco17").joints]
    expected = pixels[:, picked]
    expected[NOBODY] = np.nan
    step = np.diff(flat.data[0], axis=0) * (240, -240)
    assert np.allclose(step, np.diff(expected, axis=0), atol=1e-3, equal_nan=True)


# ---- tables ----

PARTS = ("x", "y", "z", "visibility")


def long_table(header, row, separator=","):
    lines = [separator.join(header)]
    lines += [
        separator.join(map(str, row(t, v, *(float(x) for x in p))))
        for t, who in enumerate(world())
        for v, p in enumerate(who)
        if t != NOBODY
    ]
    return "\n".join(lines) + "\n"


usual = lambda t, v, x, y, z: (t, v, x, y, z, 0.9)
comma = lambda number: f"{number}".replace(".", ",")
LONG = {
    "index": long_table(("frame", "landmark_index", *PARTS), usual),
    "id": long_table(("frame_id", "id", *PARTS), usual),
    "numbers": long_table(("Frame Number", "Landmark ID", "X", "Y", "Z", "Visibility"), usual),
    "capitals": long_table(("FRAME", "LANDMARK", "X", "Y", "Z", "V"), usual),
    "from 1": long_table(("frame", "landmark", *PARTS), lambda t, v, *p: usual(t, v + 1, *p)),
    "floats": long_table(("frame", "landmark", *PARTS), lambda t, v, *p: usual(float(t), float(v), *p)),
    "names": long_table(("frame", "landmark_name", *PARTS), lambda t, v, *p: usual(t, MEDIAPIPE[v], *p)),
    "enum": long_table(
        ("frame", "joint", *PARTS), lambda t, v, *p: usual(t, f"PoseLandmark.{MEDIAPIPE[v].upper()}", *p)
    ),
    "spaces": long_table(
        ("frame", "name", *PARTS), lambda t, v, *p: usual(t, MEDIAPIPE[v].replace("_", " ").title(), *p)
    ),
    "semicolons": long_table(("frame", "landmark", *PARTS), usual, ";"),
    "decimal commas": long_table(("frame", "landmark", *PARTS), lambda t, v, *p: (t, v, *map(comma, (*p, 0.9))), ";"),
    "index of pandas": long_table(("", "frame", "landmark", *PARTS), lambda t, v, *p: (33 * t + v, *usual(t, v, *p))),
    "image files": long_table(("image", "landmark", *PARTS), lambda t, v, *p: usual(f"img_{t:04d}.png", v, *p)),
    "times": long_table(("timestamp", "landmark", *PARTS), lambda t, v, *p: usual(round(t / 30, 4), v, *p)),
    "world beside image": long_table(
        ("frame", "landmark", "x", "y", "z", "world_x", "world_y", "world_z", "visibility"),
        lambda t, v, *p: (t, v, 0.5, 0.5, 0.5, *p, 0.9),
    ),
}


def wide_table(columns, first=(), before=lambda t: (), nobody_line=True, numbers=lambda p: (*p, 0.9)):
    """columns: (joint's index, part) → its column."""
    lines = [",".join([*first, *(columns(v, part) for v in range(33) for part in PARTS)])]
    for t, who in enumerate(world()):
        values = [""] * 132 if t == NOBODY else [f"{x}" for p in who for x in numbers(p)]
        if t != NOBODY or nobody_line:
            lines.append(",".join([*map(str, before(t)), *values]))
    return "\n".join(lines) + "\n"


camel = lambda name: name.split("_")[0] + "".join(part.title() for part in name.split("_")[1:])
WIDE = {
    "x1 y1 z1 v1": wide_table(lambda v, part: f"{part[0]}{v + 1}", ("frame",), lambda t: (t,)),
    "class before": wide_table(lambda v, part: f"{part[0]}{v + 1}", ("class", "frame"), lambda t: ("squat", t)),
    "x_0": wide_table(lambda v, part: f"{part}_{v}", ("frame",), lambda t: (t,)),
    "0_x": wide_table(lambda v, part: f"{v}_{part}", ("frame",), lambda t: (t,)),
    "nose_x": wide_table(lambda v, part: f"{MEDIAPIPE[v]}_{part}", ("frame",), lambda t: (t,)),
    "nose_x, no line": wide_table(lambda v, part: f"{MEDIAPIPE[v]}_{part}", ("frame",), lambda t: (t,), False),
    "NOSE.x": wide_table(lambda v, part: f"{MEDIAPIPE[v].upper()}.{part}", ("frame_number",), lambda t: (t,)),
    "noseX": wide_table(lambda v, part: camel(MEDIAPIPE[v]) + part.title(), ("frame",), lambda t: (t,)),
    "x_nose": wide_table(lambda v, part: f"{part}_{MEDIAPIPE[v]}", ("frame",), lambda t: (t,)),
    "Nose X": wide_table(lambda v, part: f"{MEDIAPIPE[v].replace('_', ' ').title()} {part.upper()}"),
    "landmark_00_x": wide_table(lambda v, part: f"landmark_{v:02d}_{part}", ("time_ms",), lambda t: (33 * t,)),
    "lm0x": wide_table(lambda v, part: f"lm{v}_{part}", ("",), lambda t: (t,)),
    "pose_0_x": wide_table(lambda v, part: f"pose_{v}_{part}"),
    "nose_world_x": wide_table(lambda v, part: f"{MEDIAPIPE[v]}_world_{part}"),
}


@pytest.mark.parametrize("text", [*LONG.values(), *WIDE.values()], ids=[*LONG, *WIDE])
def test_tables(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    check(read(tmp_path / "a.csv"))


def test_other_encodings_and_a_label(tmp_path):
    (tmp_path / "a.csv").write_bytes(WIDE["class before"].encode("utf-16"))
    clip = read(tmp_path / "a.csv")
    check(clip)
    assert any("column class is not read" in note for note in clip.notes)


def test_face_and_hands_after_the_pose_are_said(tmp_path):
    head, *rows = WIDE["x1 y1 z1 v1"].splitlines()
    more = [f"{part}{v}" for v in range(34, 60) for part in "xyzv"]
    (tmp_path / "a.csv").write_text(
        "\n".join([",".join([head, *more]), *(f"{row}{',0.5' * len(more)}" for row in rows)])
    )
    clip = read(tmp_path / "a.csv")
    check(clip)
    assert any("26 of them, are not read" in note for note in clip.notes)


def test_people_of_a_table(tmp_path):
    head, *rows = LONG["index"].splitlines()
    lines = [f"{head},person_id", *(f"{row},{who}" for row in rows for who in ("a", "b"))]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    assert read(tmp_path / "a.csv").data.shape == (2, FRAMES, 33, 3)


def test_image_landmarks_of_a_table_are_refused_in_3d(tmp_path):
    text = wide_table(
        lambda v, part: f"{part[0]}{v + 1}", numbers=lambda p: (0.5 + p[0] / 9, 0.5 + p[1] / 9, p[2], 0.9)
    )
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match=r"expected world landmarks.*--layout coco17"):
        read(tmp_path / "a.csv")
    fields = {"image_width": "640", "image_height": "480"}
    assert read(tmp_path / "a.csv", layout=layout("coco17"), fields=fields).data.shape == (1, FRAMES, 17, 2)


@pytest.mark.parametrize("key", ["landmarks", "keypoints"])
def test_landmarks_that_do_not_say_which_they_are(tmp_path, key):
    frames = [{key: nobody(t, PEOPLE["objects"](who), [])} for t, who in enumerate(world())]
    check(read(dump(tmp_path / "a.json", frames)))
    moved = [{key: nobody(t, PEOPLE["objects"](who + 0.5), [])} for t, who in enumerate(world())]
    with pytest.raises(ValueError, match=r"no frame has pose_world_landmarks.*--layout coco17"):
        read(dump(tmp_path / "b.json", moved))


@pytest.mark.parametrize(
    "text, words",
    [
        ("frame,landmark,x,y\n0,0,1,2\n", "line 1: .* no column z"),
        ("a,b\n1,2\n", "line 1: .* such as nose_x; no column joint, x, y, z"),
        ("frame,landmark,x,y,z\n0,33,1,2,3\n0,0,1,2,3\n", "line 2: layout mediapipe33 has no joint '33'"),
        ("frame,landmark,x,y,z\n0,tail,1,2,3\n", "no joint 'tail'"),
        ("landmark,x,y,z\n0,1,2,3\n0,1,2,3\n1,1,2,3\n", "each joint should have as many lines"),
        ("nose_x,nose_y,nose_z\n1,2,3\n", "line 1: no columns x, y, z of left_eye_inner"),
        ("frame,x1,y1,z1\n0,1,2,3\n", "line 1: no columns"),
        ("frame,nose_x,nose_x,nose_y\n0,1,2,3\n", "such as nose_x"),
    ],
)
def test_bad_tables(tmp_path, text, words):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match=f"a.csv.*{words}"):
        read(tmp_path / "a.csv")


@pytest.mark.parametrize("content", [[None] * 3, [{KEYS[0]: []}], [], {"frames": []}])
def test_nobody(tmp_path, content):
    with pytest.raises((Rejected, ValueError), match=r"nobody is seen|no frame has"):
        read(dump(tmp_path / "a.json", content))


@pytest.mark.parametrize("key", ["poses", "landmarks", "people"])
def test_numbered_frames_under_another_key(tmp_path, key):
    frames = [{"frame": t, "landmarks": PEOPLE["objects"](who)} for t, who in enumerate(world()) if t != NOBODY]
    check(read(dump(tmp_path / "a.json", {"video": "a.mp4", key: frames})))


def test_a_table_that_would_spread_over_gigabytes_is_refused(tmp_path):
    lines = [f"{t},{t % 90},0,1,2,3" for t in range(20_000)]
    (tmp_path / "a.csv").write_text("\n".join(["frame,body,landmark,x,y,z", *lines]))
    with pytest.raises(ValueError, match="20,000 joints would spread over 90 bodies in 20,000 frames"):
        read(tmp_path / "a.csv")

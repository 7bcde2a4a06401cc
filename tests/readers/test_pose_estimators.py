"""Output of pose estimators: MediaPipe, OpenPose, COCO keypoints; and people followed from frame to frame."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from kinemask.preparation.info import info
from kinemask.preparation.prepare import prepare
from kinemask.readers import Item, ReadOptions
from kinemask.readers import reader as find_reader
from kinemask.readers.cleaning import Rejected
from kinemask.readers.tracking import MEMORY, MOST, follow
from kinemask.skeleton import layout
from kinemask.store.opening import open_store

FRAMES = 24
POSES = {"openpose25": 25, "coco18": 18, "coco17": 17}


def item(path):
    return Item(path, path.stem)


def people(joints, count=1, frames=FRAMES, seed=0):
    """Pixels (M, T, V, 2) of people who walk past each other, each keeping their pose nearly."""
    rng = np.random.default_rng(seed)
    pose = rng.uniform(-60, 60, (count, 1, joints, 2))
    start = np.array([[200 + 400 * m, 300] for m in range(count)])[:, None, None]
    walk = np.array([(15 if m % 2 == 0 else -15, 0) for m in range(count)])[:, None, None]
    return start + pose + walk * np.arange(frames)[:, None, None] + rng.normal(0, 1, (count, frames, joints, 2))


def shuffled(data, seed=1):
    """The people of each frame in any order: a list of (V, 2) per frame."""
    rng = np.random.default_rng(seed)
    return [[data[m, t] for m in rng.permutation(len(data))] for t in range(data.shape[1])]


def scored(joints, score=0.8):
    """Joints with a confidence each, as a flat list."""
    return np.concatenate([joints, np.full((*joints.shape[:-1], 1), score)], -1).ravel().tolist()


# ---- writers: frames [[(V, 2), …], …] to a source's file or folder ----


def write_openpose(path, frames, first=0, key="pose_keypoints_2d", extra=None):
    path.mkdir(parents=True, exist_ok=True)
    for t, crowd in enumerate(frames, first):
        found = [{"person_id": [-1], key: scored(who), "face_keypoints_2d": []} | (extra or {}) for who in crowd]
        (path / f"{path.name}_{t:012d}_keypoints.json").write_text(json.dumps({"version": 1.3, "people": found}))
    return path


def dump(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def person(who):
    return {"keypoints": scored(who), "score": 0.9, "category_id": 1}


def mmpose(who):
    return {"keypoints": who.tolist(), "keypoint_scores": [0.8] * len(who), "bbox": [[0, 0, 9, 9]], "bbox_score": 0.9}


def ultralytics(who):
    x, y = who.T.tolist()
    return {"name": "person", "confidence": 0.9, "keypoints": {"x": x, "y": y, "visible": [0.8] * len(who)}}


def coco_results(path, frames):
    return dump(path, [{"image_id": t, **person(who)} for t, crowd in enumerate(frames) for who in crowd])


def coco_named(path, frames):
    return dump(
        path, [{"image_id": f"clip2_{t:04d}.jp2", **person(w)} for t, crowd in enumerate(frames) for w in crowd]
    )


def coco_data_set(path, frames):
    images = [{"id": 900 - t, "frame_id": t + 7, "height": 480, "width": 640} for t in range(len(frames))]
    notes = [{"image_id": 900 - t, **person(who)} for t, crowd in enumerate(frames) for who in crowd]
    return dump(path, {"images": images, "annotations": notes[::-1]})


def coco_mmpose(path, frames):
    return dump(path, [{"frame_id": t, "instances": list(map(mmpose, crowd))} for t, crowd in enumerate(frames)])


def coco_mmpose_old(path, frames):
    info = [{"frame_id": t + 1, "instances": list(map(mmpose, crowd))} for t, crowd in enumerate(frames)]
    return dump(path, {"meta_info": {"dataset_name": "coco"}, "instance_info": info})


def coco_ultralytics(path, frames):
    return dump(path, [list(map(ultralytics, crowd)) for crowd in frames])


def coco_folder(path, frames, write=ultralytics):
    for t, crowd in enumerate(frames):
        dump(path.with_suffix("") / f"{t}.json", list(map(write, crowd)))
    return path.with_suffix("")


COCO = {
    f.__name__: f
    for f in (coco_results, coco_named, coco_data_set, coco_mmpose, coco_mmpose_old, coco_ultralytics, coco_folder)
}


def damage(whole, rng):
    """JSON with a few letters exchanged for others of JSON."""
    damaged = bytearray(whole)
    for at in rng.integers(0, rng.choice([min(400, len(whole)), len(whole)]), rng.choice([1, 3])):
        damaged[at] = rng.choice(list(b'0123456789-.eE[]{},:"nullx'))
    return damaged


def matches(clip, expected, height):
    """Whether a clip's bodies, in any order, are those of (M, T, V, 2) pixels."""
    scale = float(clip.fields["scale"])
    assert scale == height / 2 if height else scale > 0
    flat = clip.data * (1, -1) * scale
    left = list(range(len(expected)))
    for body in flat:
        errors = [np.nanstd((body - expected[m]).reshape(-1, 2), axis=0).max() for m in left]
        best = int(np.argmin(errors))
        if errors[best] > 0.01 or not np.array_equal(np.isnan(body), np.isnan(expected[left[best]])):
            return False
        left.pop(best)
    return not left


class TestFollowing:
    def test_people_who_pass_each_other_stay_themselves(self):
        data = people(17, 4)
        rng = np.random.default_rng(2)
        orders = [rng.permutation(4) for _ in range(FRAMES)]
        places = np.concatenate([data[order, t] for t, order in enumerate(orders)])
        who = follow(places, np.repeat(np.arange(FRAMES), 4)).reshape(FRAMES, 4)
        names = {tuple(sorted({who[t, list(order).index(m)] for t, order in enumerate(orders)})) for m in range(4)}
        assert names == {(0,), (1,), (2,), (3,)}

    def test_the_sum_of_distances_is_least(self):
        """Against all assignments, on one step of people who are close together."""
        rng = np.random.default_rng(3)
        for _ in range(20):
            before = rng.normal(0, 1, (4, 6, 2)) + rng.normal(0, 0.2, (4, 1, 2))
            now = before[rng.permutation(4)] + rng.normal(0, 0.25, (4, 6, 2))
            cost = np.linalg.norm(before[:, None] - now[None], axis=-1).mean(-1)
            size = lambda x: np.linalg.norm(np.ptp(x, axis=-2), axis=-1)
            cost = cost / np.maximum(size(before)[:, None], size(now)[None])
            assert cost.max() < 1
            best = min(itertools.permutations(range(4)), key=lambda p: sum(cost[i, p[i]] for i in range(4)))
            if max(cost[i, best[i]] for i in range(4)) > 0.5:
                continue
            who = follow(np.concatenate([before, now]), np.repeat([0, 1], 4))
            assert who[4:].tolist() == [best.index(n) for n in range(4)]

    @pytest.mark.parametrize(
        "gap, moved, same",
        [(1, 0.3, True), (1, 0.7, False), (2, 0.7, True), (30, 0.9, True), (30, 1.2, False), (MEMORY + 1, 0.0, False)],
    )
    def test_gaps_and_jumps(self, gap, moved, same):
        body = np.random.default_rng(0).uniform(0, 1, (9, 2))
        body[0], body[1] = (0, 0), (3, 4)  # the box's diagonal is 5
        who = follow(np.stack([body, np.add(body, (moved * 5, 0))]), np.array([4, 4 + gap]))
        assert (who[1] == who[0]) == same

    def test_missing_joints(self):
        data = people(17, 2)
        data[np.random.default_rng(4).random(data.shape[:3]) < 0.5] = np.nan
        places = data.swapaxes(0, 1).reshape(-1, 17, 2)
        who = follow(places, np.repeat(np.arange(FRAMES), 2)).reshape(FRAMES, 2)
        assert (who == (0, 1)).all()
        apart = np.full((2, 4, 2), np.nan)
        apart[0, :2], apart[1, 2:] = 1, 1  # no joint in common
        assert follow(apart, np.array([0, 1])).tolist() == [0, 1]
        assert follow(np.ones((2, 4, 2)), np.array([0, 1])).tolist() == [0, 0]  # a body without extent

    def test_too_many_are_refused(self):
        with pytest.raises(ValueError, match=f"frame 3 has {MOST + 1} people"):
            follow(np.ones((MOST + 1, 2, 2)), np.full(MOST + 1, 3))


class TestOpenPose:
    reader = find_reader("openpose")

    @pytest.mark.parametrize("name", ["openpose25", "coco18"])
    @pytest.mark.parametrize("height", ["480", ""])
    def test_a_folder_of_frames_is_a_clip(self, name, height, tmp_path):
        data = people(POSES[name], 2)
        path = write_openpose(tmp_path / "walk", shuffled(data), first=40)
        found = self.reader.scan(tmp_path)
        assert (found.layout.name, found.items) == (name, [Item(path, "walk")])
        clip = self.reader.read(Item(path, "walk", 0, {"image_height": height}), ReadOptions(found.layout))
        assert matches(clip, data, height and 480)
        assert clip.score.shape == clip.data.shape[:3]
        assert np.allclose(clip.score, 0.8)

    def test_gaps_and_nobody(self, tmp_path):
        frames = shuffled(people(25))
        frames[3], frames[5] = [], []
        path = write_openpose(tmp_path / "walk", frames)
        (path / f"walk_{5:012d}_keypoints.json").unlink()
        clip = self.reader.read(item(path), ReadOptions())
        assert clip.data.shape == (1, FRAMES, 25, 2)
        assert np.flatnonzero(np.isnan(clip.data[0]).all((1, 2))).tolist() == [3, 5]

    def test_confidences_are_kept_and_may_drop_joints(self, tmp_path):
        data = people(25)
        path = write_openpose(tmp_path / "walk", shuffled(data))
        file = path / f"walk_{2:012d}_keypoints.json"
        content = json.loads(file.read_text())
        content["people"][0]["pose_keypoints_2d"][3 * 4 + 2] = 0.2
        content["people"][0]["pose_keypoints_2d"][3 * 5 : 3 * 6] = [0, 0, 0]
        file.write_text(json.dumps(content))
        for threshold, lost in ((0.0, [5]), (0.3, [4, 5])):
            clip = self.reader.read(item(path), ReadOptions(min_score=threshold))
            assert np.argwhere(np.isnan(clip.data[0]).all(-1)).tolist() == [[2, joint] for joint in lost]
            assert clip.score[0, 2, 4:6].tolist() == [0.2, 0]
        with pytest.raises(Rejected, match="no joint is seen"):
            self.reader.read(item(path), ReadOptions(min_score=0.9))

    def test_flickering_people_are_dropped_with_a_note(self, tmp_path):
        frames = shuffled(people(25))
        frames[7].append(people(25, seed=9)[0, 0] + 900)
        clip = self.reader.read(item(write_openpose(tmp_path / "walk", frames)), ReadOptions())
        assert len(clip.data) == 1
        assert clip.notes == ("dropped body 2: seen in 1 frames only",)

    def test_its_own_tracking_is_taken(self, tmp_path):
        data = people(25, 2)
        path = write_openpose(tmp_path / "walk", [[data[t % 2, t]] for t in range(FRAMES)])
        for t in range(FRAMES):  # the same number for whoever is seen
            file = path / f"walk_{t:012d}_keypoints.json"
            file.write_text(file.read_text().replace("[-1]", "[3]"))
        assert len(self.reader.read(item(path), ReadOptions()).data) == 1

    def test_old_names_and_bodies_without_a_pose(self, tmp_path):
        data = people(18)
        path = write_openpose(tmp_path / "walk", shuffled(data), key="pose_keypoints")
        file = path / f"walk_{0:012d}_keypoints.json"
        content = json.loads(file.read_text())
        content["people"].append({"pose_keypoints_2d": [], "face_keypoints_2d": [1, 2, 0.5]})
        file.write_text(json.dumps(content))
        assert matches(self.reader.read(item(path), ReadOptions()), data, None)

    def test_a_store_with_and_without_a_list(self, tmp_path):
        src = tmp_path / "raw"
        for i in range(4):
            write_openpose(src / "deep" / f"clip{i}", shuffled(people(25, seed=i)))
        store = open_store(prepare("openpose", src, tmp_path / "plain", progress=False).path)
        assert store.names == [f"deep/clip{i}" for i in range(4)]
        assert (store.labels == -1).all()
        lines = ["clip,label,subject,split,image_height"]
        lines += [f"deep/clip{i},{'ab'[i % 2]},p{i},{('train', 'test')[i // 2]},480" for i in range(4)]
        (src / "clips.csv").write_text("\n".join(lines))
        store = open_store(prepare("openpose", src, tmp_path / "listed", min_score=0.1, progress=False).path)
        assert (store.classes, store.labels.tolist()) == (["a", "b"], [0, 1, 0, 1])
        assert [len(part) for part in store.split("default")] == [2, 2]
        facts = info(store)
        assert (facts["layout"], facts["subjects"], facts["confidences"]) == ("openpose25", 4, True)
        assert store.fields["scale"].tolist() == ["240"] * 4

    @pytest.mark.parametrize(
        "change, words",
        [
            (lambda content: [], "expected a JSON object"),
            (lambda content: {"persons": []}, "expected people, a list of objects; found 'persons'"),
            (lambda content: {"people": {}}, "expected people, a list"),
            (lambda content: {"people": [3]}, "expected people, a list"),
            (
                lambda content: {"people": [{"pose_keypoints_2d": [1, 2]}]},
                r"person 1: expected 25 × 3 numbers.*found 2",
            ),
            (lambda content: {"people": [{"pose_keypoints_2d": [1.0] * 54}]}, "found 54; that is layout coco18"),
            (lambda content: {"people": [{"pose_keypoints_2d": ["a"] * 75}]}, "person 1: expected numbers"),
            (lambda content: {"people": [{"pose_keypoints_2d": "abc"}]}, "person 1: expected numbers"),
            (lambda content: {"people": [{"pose_keypoints_2d": [[1, 2]] * 75}]}, "person 1: expected 25"),
            (lambda content: {"people": [{"pose_keypoints_2d": [float("inf")] * 75}]}, "not a finite length"),
            (lambda content: {"people": [{"pose_keypoints_2d": {"a": 1}}]}, "person 1: expected numbers"),
            (lambda content: {"people": [{"pose_keypoints_2d": 5}]}, "person 1: expected 25 × 3 numbers.*found 1"),
        ],
    )
    def test_bad_frames(self, tmp_path, change, words):
        path = write_openpose(tmp_path / "walk", shuffled(people(25)))
        file = path / f"walk_{3:012d}_keypoints.json"
        file.write_text(json.dumps(change(json.loads(file.read_text()))))
        with pytest.raises(ValueError, match=f"{path}.*{words}") as caught:
            self.reader.read(item(path), ReadOptions())
        assert not isinstance(caught.value, Rejected)

    @pytest.mark.parametrize(
        "raw",
        [
            b"",
            b"\n",
            bytes(4000),
            b'{"people": [',
            b"[" * 100_000,
            b"\xff\xfe",
            b'{"people": [{"pose_keypoints_2d": [1e999',
        ],
    )
    def test_no_frame_at_all(self, tmp_path, raw):
        path = write_openpose(tmp_path / "walk", shuffled(people(25)))
        file = path / f"walk_{0:012d}_keypoints.json"
        file.write_bytes(raw)
        with pytest.raises(ValueError, match=f"{file}: not a JSON file"):
            self.reader.read(item(path), ReadOptions())

    def test_flipped_bytes_are_errors_or_other_numbers_never_worse(self, tmp_path):
        path = write_openpose(tmp_path / "walk", shuffled(people(25, 2, 4)))
        file, rng = path / f"walk_{1:012d}_keypoints.json", np.random.default_rng(6)
        whole = file.read_bytes()
        for _ in range(60):
            file.write_bytes(damage(whole, rng))
            try:
                found = self.reader.read(item(path), ReadOptions()).data
            except ValueError as error:
                found = str(error)
            assert str(path) in found if isinstance(found, str) else not np.isinf(found).any()

    def test_bad_folders(self, tmp_path):
        with pytest.raises(ValueError, match=r"holds no files NAME_000000000000_keypoints\.json"):
            prepare("openpose", tmp_path, tmp_path / "store")
        with pytest.raises(ValueError, match="expected a folder of files"):
            self.reader.read(item(dump(tmp_path / "x_0_keypoints.json", {"people": []})), ReadOptions())
        path = write_openpose(tmp_path / "walk", shuffled(people(25)))
        (path / f"run_{90:012d}_keypoints.json").write_text('{"people": []}')
        with pytest.raises(ValueError, match=r"walk: frames of several videos \(run, walk\)"):
            self.reader.read(item(path), ReadOptions())
        (path / f"run_{90:012d}_keypoints.json").rename(path / "walk_keypoints.json")
        with pytest.raises(ValueError, match=r"the file's name should read NAME_0+_keypoints\.json"):
            self.reader.read(item(path), ReadOptions())
        (path / "walk_keypoints.json").rename(path / f"walk_{10**14}_keypoints.json")
        (path / f"walk_{10**14}_keypoints.json").write_text((path / f"walk_{0:012d}_keypoints.json").read_text())
        with pytest.raises(ValueError, match=r"walk: .*expected consecutive frames"):
            self.reader.read(item(path), ReadOptions())
        with pytest.raises(ValueError, match=r"delivers layout openpose25 or coco18 or .*, not ntu25"):
            prepare("openpose", tmp_path, tmp_path / "store", layout="ntu25")
        empty = write_openpose(tmp_path / "empty", [[], []])
        with pytest.raises(Rejected, match=f"{empty}: nobody is seen"):
            self.reader.read(item(empty), ReadOptions())


class TestCoco:
    reader = find_reader("coco17")

    @pytest.mark.parametrize("kind", COCO)
    @pytest.mark.parametrize("count", [1, 3])
    def test_every_form_gives_the_same_clip(self, kind, count, tmp_path):
        data = people(17, count)
        path = COCO[kind](tmp_path / "walk.json", shuffled(data))
        clip = self.reader.read(item(path), ReadOptions())
        assert matches(clip, data, 480 if kind == "coco_data_set" else None)
        assert np.allclose(clip.score, 0.8)
        assert clip.name == "walk"

    @pytest.mark.parametrize("kind", COCO)
    def test_frames_without_people_are_gaps(self, kind, tmp_path):
        frames = shuffled(people(17))
        frames[4] = frames[5] = []
        clip = self.reader.read(item(COCO[kind](tmp_path / "walk.json", frames)), ReadOptions())
        assert clip.data.shape == (1, FRAMES, 17, 2)
        assert np.flatnonzero(np.isnan(clip.data[0]).all((1, 2))).tolist() == [4, 5]

    def test_a_list_names_files_and_folders(self, tmp_path):
        src = tmp_path / "raw"
        coco_results(src / "a.json", shuffled(people(17)))
        coco_folder(src / "b.json", shuffled(people(17, seed=1)), mmpose)
        (src / "clips.csv").write_text("clip,label,image_height\na,x,480\nb,y,960\n")
        store = open_store(prepare("coco17", src, tmp_path / "store", progress=False).path)
        assert (store.names, store.fields["scale"].tolist()) == (["a", "b"], ["240", "480"])
        (src / "clips.csv").write_text("clip\nc\n")
        with pytest.raises(ValueError, match=r"line 2: clip c should be one file \.json or folder of them"):
            self.reader.scan(src)
        (src / "clips.csv").unlink()
        (src / "c.json").write_text("[]")
        summary = prepare("coco17", src, tmp_path / "plain", progress=False)
        assert (summary.clips, summary.files, summary.rejected) == (2, 3, 1)
        assert open_store(summary.path).names == ["a", "b"]

    def test_tracks_and_confidence_of_people(self, tmp_path):
        data = people(17, 2)
        notes = [
            {"image_id": t, "track_id": int(m == t % 2), **person(data[m, t])} for t in range(FRAMES) for m in (0, 1)
        ]
        clip = self.reader.read(item(dump(tmp_path / "a.json", notes)), ReadOptions())
        assert np.abs(np.diff(clip.data[0], axis=0)).max() > 1  # the source's tracks, which swap the two
        del notes[5]["track_id"]
        clip = self.reader.read(item(dump(tmp_path / "a.json", notes)), ReadOptions())
        assert matches(clip, data, None)
        for note in notes[1::2]:
            note["score"] = 0.3
        for note in notes:
            note.pop("track_id", None)
        clip = self.reader.read(item(dump(tmp_path / "a.json", notes)), ReadOptions(min_score=0.3))
        assert matches(clip, data[:1], None)
        for note in notes:
            note["track_id"] = 1
        clip = self.reader.read(item(dump(tmp_path / "a.json", notes)), ReadOptions())
        assert matches(clip, data, None)
        assert clip.notes[0].startswith("the source names people of one frame alike, 24 times")

    @pytest.mark.parametrize("height", [10**400, -1, True, "480", None])
    def test_an_images_height_that_is_none_counts_for_nothing(self, tmp_path, height):
        data = people(17)
        value = json.loads(coco_data_set(tmp_path / "a.json", data[0, :, None]).read_text())
        for image in value["images"]:
            image["height"] = height
        assert matches(self.reader.read(item(dump(tmp_path / "b.json", value)), ReadOptions()), data, None)

    def test_confidences_unknown(self, tmp_path):
        data = people(17)
        notes = [{"image_id": t, "keypoints": data[0, t].tolist()} for t in range(FRAMES)]
        clip = self.reader.read(item(dump(tmp_path / "a.json", notes)), ReadOptions(min_score=0.5))
        assert matches(clip, data, None)
        assert clip.score is None

    @pytest.mark.parametrize(
        "content, words",
        [
            ({}, "expected COCO results.*found an object of nothing"),
            ({"a": 1}, "found an object of a"),
            (3, "found 3"),
            ("text", "found 'text'"),
            ([3], "found a list of 1"),
            ([{"image_id": 1}], "the list: expected a list of people with keypoints"),
            ([{"image_id": None, "keypoints": [1] * 51}], "person 0: image_id: expected a frame's number"),
            ([{"image_id": "video.mp4", "keypoints": [1] * 51}], "found 'video.mp4'"),
            ([{"image_id": True, "keypoints": [1] * 51}], "expected a frame's number"),
            ([{"image_id": 1, "keypoints": [1] * 50}], "frame 1: expected 17 keypoints .* found 50"),
            ([{"image_id": 1, "keypoints": ["a"] * 51}], "frame 1: keypoints: expected numbers"),
            ([{"image_id": 1, "keypoints": None}], "frame 1: keypoints: expected numbers"),
            ([{"image_id": 1, "keypoints": {"x": 5}}], "frame 1"),
            ([{"image_id": 1, "keypoints": {"x": [1] * 17, "y": [1] * 16}}], "shape"),
            ([{"image_id": 1, "keypoints": [1] * 34, "keypoint_scores": [1]}], "expected 17 confidences, found 1"),
            ([{"image_id": 1, "keypoints": [float("inf")] * 51}], "not a finite length"),
            ([{"image_id": i, "keypoints": [1] * 51} for i in (1, 10**9)], "expected consecutive frames"),
            ([{"instances": 3}], "frame 0: expected a list of people"),
            ([{"instances": []}, 3], "frame 1: expected an object with frame_id"),
            (
                [{"instances": [], "frame_id": 0}, {"instances": [], "frame_id": 0}],
                "frame 1: expected frame_id to be a whole number, found once",
            ),
            ([[{"keypoints": [1] * 51}], 3], "frame 1: expected a list of people"),
            ({"images": [{"id": [1]}], "annotations": []}, "images: expected objects, each with an id"),
            ({"images": [{"id": 1}, {"id": 1}], "annotations": []}, "images: expected objects, each with an id"),
            (
                {"images": [{"id": 1}], "annotations": [{"image_id": 2}]},
                "annotations: expected each to have an image_id",
            ),
            ({"images": [{"id": 1}], "annotations": [{"image_id": []}]}, "annotations: expected each to have"),
        ],
    )
    def test_content_of_another_shape(self, tmp_path, content, words):
        path = dump(tmp_path / "a.json", content)
        with pytest.raises(ValueError, match=f"{path}: .*{words}") as caught:
            self.reader.read(item(path), ReadOptions())
        assert not isinstance(caught.value, Rejected)

    @pytest.mark.parametrize("kind", COCO)
    def test_flipped_bytes_are_errors_or_other_numbers_never_worse(self, kind, tmp_path):
        path = COCO[kind](tmp_path / "walk.json", shuffled(people(17, 2, 4)))
        file = path / "2.json" if path.is_dir() else path
        whole, rng = file.read_bytes(), np.random.default_rng(6)
        for _ in range(60):
            file.write_bytes(damage(whole, rng))
            try:
                found = self.reader.read(item(path), ReadOptions()).data
            except ValueError as error:
                found = str(error)
            assert str(path) in found if isinstance(found, str) else not np.isinf(found).any()


class TestMediaPipe:
    reader = find_reader("mediapipe")
    joints = layout("mediapipe33").joints

    def world(self, seed=0):
        """(T, 33, 3) metres, y down, about the hips."""
        rng = np.random.default_rng(seed)
        body = rng.normal(0, 0.3, (1, 33, 3)) + rng.normal(0, 0.01, (FRAMES, 33, 3))
        return body - body[:, [23, 24]].mean(1, keepdims=True)

    def landmark(self, xyz, visibility=0.9):
        return dict(zip("xyz", map(float, xyz), strict=True), visibility=visibility)

    FORMS = (
        lambda key: lambda people: {key: people},
        lambda key: lambda people: {key: people[0]},
        lambda key: lambda people: {key: {"landmark": people[0]}},
        lambda key: lambda people: {key: [[[p["x"], p["y"], p["z"], p["visibility"]] for p in who] for who in people]},
        lambda key: lambda people: {key: [[p["x"], p["y"], p["z"], p["visibility"]] for p in people[0]]},
    )

    @pytest.mark.parametrize("key", ["pose_world_landmarks", "poseWorldLandmarks", "worldLandmarks"])
    @pytest.mark.parametrize("form", range(len(FORMS)))
    @pytest.mark.parametrize("outer", [lambda frames: frames, lambda frames: {"fps": 30, "frames": frames}])
    def test_world_landmarks_are_metres_y_up(self, tmp_path, form, key, outer):
        data = self.world()
        make = self.FORMS[form](key)
        frames = [make([[self.landmark(xyz) for xyz in frame]]) for frame in data]
        frames[6] = {key: []} if form % 2 else {key: None}
        clip = self.reader.read(item(dump(tmp_path / "walk.json", outer(frames))), ReadOptions())
        expected = data * (1, -1, -1)
        expected[6] = np.nan
        assert np.allclose(clip.data[0], expected, atol=1e-6, equal_nan=True)
        assert np.allclose(clip.score[0, :6], 0.9)

    def test_a_table(self, tmp_path):
        data = self.world()
        lines = ["frame,landmark,x,y,z,visibility"]
        lines += [
            ",".join(map(str, [t, v if t % 2 else self.joints[v], *data[t, v], 0.1 if v == 3 else 0.9]))
            for t in range(FRAMES)
            for v in range(33)
        ]
        path = tmp_path / "walk.csv"
        path.write_text("\n".join(lines))
        clip = self.reader.read(item(path), ReadOptions(min_score=0.5))
        expected = data * (1, -1, -1)
        expected[:, 3] = np.nan
        assert np.allclose(clip.data[0], expected, atol=1e-6, equal_nan=True)
        assert np.allclose(clip.score[0, :, 3], 0.1)
        shifted = [line.split(",") for line in lines[1:]]
        path.write_text(
            "\n".join([lines[0], *(",".join([f, v, f"{float(x) + 0.5}", *rest]) for f, v, x, *rest in shifted)])
        )
        with pytest.raises(
            ValueError, match=r"walk\.csv: expected world landmarks.*but the hips are 0\.5 .*--layout coco17"
        ):
            self.reader.read(item(path), ReadOptions())

    def image_frames(self, data, size):
        return [
            [[self.landmark((*(xy / size), 0.1)) for xy in data[m, t]] for m in range(len(data))] for t in range(FRAMES)
        ]

    def test_image_landmarks_give_coco(self, tmp_path):
        size = np.array([640, 480])
        data = people(33, 2)
        frames = [{"landmarks": crowd[:: (-1) ** t]} for t, crowd in enumerate(self.image_frames(data, size))]
        path = dump(tmp_path / "raw" / "walk.json", frames)
        (tmp_path / "raw" / "clips.csv").write_text("clip,image_width,image_height\nwalk,640,480\n")
        (listed,) = self.reader.scan(tmp_path / "raw").items
        clip = self.reader.read(listed, ReadOptions(layout("coco17")))
        picked = [self.joints.index(joint) for joint in layout("coco17").joints]
        assert matches(clip, data[:, :, picked], 480)
        assert clip.score.shape == (2, FRAMES, 17)
        store = prepare("mediapipe", tmp_path / "raw", tmp_path / "store", layout="coco17", progress=False)
        assert open_store(store.path).layout == layout("coco17")
        with pytest.raises(ValueError, match="needs the columns image_width and image_height"):
            self.reader.read(item(path), ReadOptions(layout("coco17")))
        with pytest.raises(
            ValueError, match=r"no frame has pose_world_landmarks.*image landmarks give 2D: --layout coco17"
        ):
            self.reader.read(item(path), ReadOptions())

    def test_people_are_followed_by_where_they_are_in_the_image(self, tmp_path):
        """In world landmarks everybody is at the origin; here they even have the same pose, but for a mark."""
        size, data = np.array([640, 480]), people(33, 2)
        body = self.world()
        both = np.stack([body, body])
        both[1, :, 5] += 0.01
        frames = []
        for t, crowd in enumerate(self.image_frames(data, size)):
            world = [[self.landmark(xyz) for xyz in both[m, t]] for m in (0, 1)]
            step = (-1) ** t
            frames.append({"frame": t, "pose_landmarks": crowd[::step], "pose_world_landmarks": world[::step]})
        clip = self.reader.read(item(dump(tmp_path / "walk.json", frames)), ReadOptions())
        expected = both * (1, -1, -1)
        assert any(np.allclose(clip.data, expected[order], atol=1e-6) for order in ([0, 1], [1, 0]))

    @pytest.mark.parametrize(
        "content, words",
        [
            ({}, "expected a list of frames"),
            ({"frames": 3}, "expected a list of frames"),
            ([3], "expected a list of frames, each an object"),
            ([{"hands": []}], "no frame has pose_world_landmarks or"),
            ([{"pose_world_landmarks": 3}], "frame 0: pose_world_landmarks: expected a list of people, found 3"),
            ([{"pose_world_landmarks": [3]}], "person 1: expected a list of landmarks, found 3"),
            ([{"pose_world_landmarks": {"a": 1}}], "person 1: expected a list of landmarks, found an object of a"),
            ([{"pose_world_landmarks": [[{"x": 1, "y": 2, "z": 3}] * 32]}], "expected 33 landmarks"),
            ([{"pose_world_landmarks": [[{"x": 1, "y": 2}] * 33]}], "person 1: expected numbers"),
            ([{"pose_world_landmarks": [[{"x": "a", "y": 2, "z": 3}] * 33]}], "person 1: expected numbers"),
            (
                [{"pose_world_landmarks": [[[1, 2]] * 33]}],
                "expected 33 landmarks of x, y, z and visibility, found .33, 2.",
            ),
            ([{"pose_world_landmarks": [[[1, 2, 3]] * 32 + [[1]]]}], "person 1: expected an array of numbers"),
            (
                [{"pose_world_landmarks": [], "frame": 0}] * 2,
                "frame 1: expected frame to be a whole number, found once",
            ),
            ([{"pose_world_landmarks": [], "frame": "a"}], "expected frame to be a whole number"),
            ([{"pose_world_landmarks": [], "frame": 10**30}], "expected frame to be a whole number"),
            ([{"pose_world_landmarks": [[[float("inf"), 1, 1]] * 33]}], "not a finite length"),
        ],
    )
    def test_content_of_another_shape(self, tmp_path, content, words):
        path = dump(tmp_path / "a.json", content)
        with pytest.raises(ValueError, match=f"{path}: .*{words}") as caught:
            self.reader.read(item(path), ReadOptions())
        assert not isinstance(caught.value, Rejected)

    def test_sources(self, tmp_path):
        with pytest.raises(ValueError, match=r"holds no files \.json or \.csv"):
            prepare("mediapipe", tmp_path, tmp_path / "store")
        with pytest.raises(ValueError, match="does not exist"):
            prepare("mediapipe", tmp_path / "absent", tmp_path / "store")
        empty = dump(tmp_path / "a.json", [])
        with pytest.raises(Rejected, match="nobody is seen"):
            self.reader.read(item(empty), ReadOptions())

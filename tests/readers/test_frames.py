"""Which frame, and which video: numbers and their names, times, strides, file names, folders."""

from __future__ import annotations

import json

import numpy as np
import pytest

from figures import dump, figure, keypoints, pixels, shape_of
from kinemask.preparation.prepare import prepare
from kinemask.readers import Item, ReadOptions, reader
from kinemask.readers.frames import close_steps, frame_number, number_frames, split_names
from kinemask.skeleton import layout
from kinemask.store.opening import open_store

GAP = [0, 1, 2, 3, 8, 9, 10, 11, 12, 13]


def read(name, path, **options):
    found = reader(name).read(Item(path, path.stem), ReadOptions(**options))
    return found if hasattr(found, "data") else list(found)


def world(body):
    """A frame of MediaPipe's world landmarks, y down, about the hips."""
    hips = body[[23, 24]].mean(0)
    return {"pose_world_landmarks": [[dict(zip("xyz", (xyz - hips) * (1, -1, -1), strict=True)) for xyz in body]]}


class TestNumbers:
    @pytest.mark.parametrize(
        "numbers, positions, said",
        [
            ([3, 4, 5, 9], [0, 1, 2, 6], ""),
            ([0, 5, 10, 15, 25, 30], [0, 1, 2, 3, 5, 6], "steps of 5"),
            ([0, 33, 67, 100, 133, 200, 233], [0, 1, 2, 3, 4, 6, 7], "steps of 33"),
            ([1000, 1017, 1033, 1050, 1067], [0, 1, 2, 3, 4], "steps of 17"),
            ([0, 2, 5, 6, 11, 13, 20], [0, 2, 5, 6, 11, 13, 20], ""),  # seen now and then
            ([0, 7, 14], [0, 7, 14], ""),  # too few to tell
        ],
    )
    def test_constant_steps_close_up(self, numbers, positions, said):
        found, doubts = close_steps(numbers)
        assert found.tolist() == positions
        assert bool(said) == bool(doubts)
        assert all(said in doubt for doubt in doubts)

    @pytest.mark.parametrize("value, number", [(7, 7), (7.0, 7), ("7", 7), ("7.0", 7), ("a/img_0007_left.jpg", 7)])
    def test_what_is_a_number(self, value, number):
        assert frame_number(value, "here") == number

    @pytest.mark.parametrize("value", [True, 0.5, "nothing.jpg", None, 10**16, [3]])
    def test_what_is_none(self, value):
        with pytest.raises(ValueError, match="here: expected a frame's number"):
            frame_number(value, "here")

    @pytest.mark.parametrize("key", ["frame", "frame_id", "frameIndex", "Frame Number", "frame_no", "frame_idx"])
    @pytest.mark.parametrize("kind", [int, float, str])
    def test_names_of_the_frames_number(self, key, kind):
        assert number_frames([{key: kind(n), "timestamp": 0.1 * n} for n in GAP]) == (GAP, ())

    @pytest.mark.parametrize("key, unit", [("timestamp", 1 / 30), ("timestamp_ms", 1000 / 30), ("time", 33333)])
    def test_times_where_no_number_is_told(self, key, unit):
        assert number_frames([{key: n * unit} for n in GAP])[0] == GAP

    def test_seconds_in_place_of_a_number(self):
        assert number_frames([{"frame": n / 25} for n in GAP]) == (GAP, ())

    def test_times_that_tell_nothing_are_left_and_said(self):
        times = np.cumsum(np.random.default_rng(0).uniform(1, 9, 12))
        numbers, doubts = number_frames([{"time": float(time)} for time in times])
        assert numbers == list(range(12))
        assert "no constant step" in doubts[0]


class TestNames:
    @pytest.mark.parametrize(
        "names, videos, numbers",
        [
            (["f3.png", "f1.png", "f2.png"], ["", "", ""], [3, 1, 2]),
            (["cam1_002_v2.jpg", "cam1_001_v2.jpg"], ["", ""], [2, 1]),
            (["run/1.jpg", "run/2.jpg", "sit/1.jpg"], ["run", "run", "sit"], [1, 2, 1]),
            (["run\\1.jpg", "sit\\1.jpg"], ["run", "sit"], [1, 1]),
            (["run_1.jpg", "run_2.jpg", "sit_1.jpg", "sit_2.jpg"], ["run", "run", "sit", "sit"], [1, 2, 1, 2]),
            (
                ["cam1_1.jpg", "cam2_1.jpg", "cam1_2.jpg", "cam2_2.jpg"],
                ["cam1", "cam2", "cam1", "cam2"],
                [1, 1, 2, 2],
            ),
            (["2024-01-05_07.jpg", "2024-01-05_06.jpg"], ["", ""], [7, 6]),
            (["f_2_jpg.rf.01234567abcdef.jpg", "f_1_jpg.rf.99234567abcdef.jpg"], ["", ""], [2, 1]),
        ],
    )
    def test_videos_and_numbers(self, names, videos, numbers):
        assert split_names(names) == (videos, numbers)

    def test_names_without_numbers(self):
        assert split_names(["a.jpg", "b.jpg"]) == (["", ""], None)


class TestCoco:
    body = pixels(12)

    def data_set(self, path, order, name="img_{:04d}.jpg", extra=lambda t: {}):
        images = [{"id": 50 + t, "file_name": name.format(t), "height": 480, "width": 640, **extra(t)} for t in order]
        notes = [keypoints(self.body[t], image_id=50 + t, id=t) for t in range(len(self.body))]
        return dump(path, {"images": images, "annotations": notes})

    @pytest.mark.parametrize("order", [range(12), range(11, -1, -1), [5, 2, 9, 0, 1, 11, 3, 4, 10, 8, 7, 6]])
    def test_images_in_any_order(self, tmp_path, order):
        clip = read("coco17", self.data_set(tmp_path / "a.json", order))
        assert clip.data.shape == (1, 12, 17, 2)
        assert np.allclose(shape_of(clip.data * (1, -1))[0], shape_of(self.body[None])[0], atol=1e-4)
        assert not clip.notes

    @pytest.mark.parametrize("frame", ["frame_id", "frameNumber"])
    def test_a_number_goes_before_the_name(self, tmp_path, frame):
        reverse = self.data_set(tmp_path / "a.json", range(12), extra=lambda t: {frame: str(11 - t)})
        clip = read("coco17", reverse)
        assert np.allclose(shape_of(clip.data[:, ::-1] * (1, -1))[0], shape_of(self.body[None])[0], atol=1e-4)

    @pytest.mark.parametrize(
        "name, extra",
        [
            ("{}/{:03d}.jpg", None),
            ("{}_{:03d}.jpg", None),
            ("{:.0}{:03d}.jpg", "video_id"),
            ("{:.0}{:03d}.jpg", "vid_id"),
        ],
    )
    def test_several_videos_are_several_clips(self, tmp_path, name, extra):
        images, notes = [], []
        for v, video in enumerate(("run", "sit")):
            for t in range(10):
                key = {extra: video} if extra else {}
                images.append({"id": 20 * v + t, "file_name": name.format(video, t), **key})
                notes.append(keypoints(pixels(10, seed=v, speed=9 * v)[t], image_id=20 * v + t))
        path = dump(tmp_path / "src" / "all.json", {"images": images, "annotations": notes})
        clips = read("coco17", path)
        assert [clip.name for clip in clips] == ["all/run", "all/sit"]
        assert all(clip.data.shape == (1, 10, 17, 2) for clip in clips)
        (tmp_path / "src" / "clips.csv").write_text("clip,label\nall/sit,rest\nall/run,move\n")
        store = open_store(prepare("coco17", tmp_path / "src", tmp_path / "store", progress=False).path)
        assert store.names == ["all/sit", "all/run"]
        assert [store.classes[label] for label in store.labels] == ["rest", "move"]
        assert np.array_equal(store.clip(1), clips[0].data.astype(np.float32))

    def test_results_named_by_folder(self, tmp_path):
        people = [keypoints(self.body[t], image_id=f"{v}/{t}.png") for t in range(12) for v in ("a", "b")]
        assert [clip.name for clip in read("coco17", dump(tmp_path / "x.json", people))] == ["x/a", "x/b"]

    def test_two_images_of_one_number_are_no_frame(self, tmp_path):
        people = [keypoints(self.body[t], image_id=name) for t, name in enumerate(("a_left1.png", "b1.png", "c2.png"))]
        with pytest.raises(ValueError, match=r"person 1: image_id: 'b1\.png' and 'a_left1\.png' have one number, 1"):
            read("coco17", dump(tmp_path / "x.json", people))

    def test_a_video_that_is_not_there(self, tmp_path):
        people = [keypoints(self.body[t], image_id=f"{v}/{t}.png") for t in range(12) for v in ("a", "b")]
        dump(tmp_path / "src" / "x.json", people)
        (tmp_path / "src" / "clips.csv").write_text("clip\nx/a\nx/c\n")
        summary = prepare("coco17", tmp_path / "src", tmp_path / "store", progress=False)
        assert (summary.clips, summary.rejected_clips) == (1, 1)
        assert "has no recording c; it has: a, b" in (summary.path / "rejected.csv").read_text()

    @pytest.mark.parametrize("write", [lambda who: [who], lambda who: {"instances": [who]}])
    def test_a_folder_of_files_per_image_is_a_clip(self, tmp_path, write):
        for video in ("run", "sit"):
            for t in range(12):
                dump(tmp_path / "src" / video / f"{t:05d}.json", write(keypoints(self.body[t])))
        dump(tmp_path / "src" / "whole.json", [keypoints(self.body[t], image_id=t) for t in range(12)])
        store = open_store(prepare("coco17", tmp_path / "src", tmp_path / "store", progress=False).path)
        assert (store.names, store.lengths.tolist()) == (["run", "sit", "whole"], [12, 12, 12])
        assert np.array_equal(store.clip(0), store.clip(2))

    def test_strides_are_said(self, tmp_path):
        people = [keypoints(self.body[t], image_id=10 * t) for t in range(12)]
        dump(tmp_path / "src" / "a.json", people)
        summary = prepare("coco17", tmp_path / "src", tmp_path / "store", progress=False)
        assert open_store(summary.path).lengths.tolist() == [12]
        assert "frames are numbered in steps of 10" in summary.doubts[0]
        assert 'kept,a,"frames are numbered' in (summary.path / "rejected.csv").read_text()
        assert "doubt: a: frames are numbered" in str(summary)


class TestMediaPipe:
    body = figure(layout("mediapipe33"), max(GAP) + 1)

    @pytest.mark.parametrize(
        "number",
        [
            lambda n: {"frame": n},
            lambda n: {"frame": f"{n}"},
            lambda n: {"frameIndex": float(n)},
            lambda n: {"frame_number": n, "timestamp": n / 30},
            lambda n: {"timestamp_ms": 33 * n},
            lambda n: {"frame": 33 * n},
            lambda n: {"frame": 4 * n},
        ],
    )
    def test_gaps_are_kept(self, tmp_path, number):
        path = dump(tmp_path / "a.json", [number(n) | world(self.body[n]) for n in GAP])
        clip = read("mediapipe", path)
        assert np.flatnonzero(~np.isnan(clip.data[0]).all((1, 2))).tolist() == GAP
        assert bool(clip.doubts) == (number(2).get("frame") in (66, 8))

    def test_a_folder_of_files_per_image_is_a_clip(self, tmp_path):
        for n in GAP:
            dump(tmp_path / "src" / "walk" / f"pose_{n}.json", world(self.body[n]))
        store = open_store(prepare("mediapipe", tmp_path / "src", tmp_path / "store", progress=False).path)
        assert (store.names, store.lengths.tolist()) == (["walk"], [max(GAP) + 1])


@pytest.mark.parametrize("column", ["frame", "frame_number", "FrameIndex"])
@pytest.mark.parametrize("factor, write, said", [(1, "{}", 0), (1, "{}.0", 0), (33, "{}", 1), (5, "{}", 1)])
def test_tables(tmp_path, column, factor, write, said):
    body = pixels(max(GAP) + 1)
    lines = [f"{column},joint,x,y"]
    lines += [f"{write.format(factor * n)},{v},{x},{y}" for n in GAP for v, (x, y) in enumerate(body[n])]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    clip = read("arrays", tmp_path / "a.csv", layout=layout("coco17"))
    assert np.flatnonzero(~np.isnan(clip.data[0]).all((1, 2))).tolist() == GAP
    assert len(clip.doubts) == said


def test_openpose_files_of_every_third_frame(tmp_path):
    body = pixels(8, of="openpose25")
    for t in range(8):
        people = [{"pose_keypoints_2d": keypoints(body[t])["keypoints"]}]
        (tmp_path / "walk").mkdir(exist_ok=True)
        (tmp_path / "walk" / f"walk_{3 * t:012d}_keypoints.json").write_text(json.dumps({"people": people}))
    clip = read("openpose", tmp_path / "walk")
    assert clip.data.shape[:2] == (1, 8)
    assert "steps of 3" in clip.doubts[0]

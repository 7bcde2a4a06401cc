"""Who is who: the source's ids, people followed, joined and found twice, and clips of one person."""

from __future__ import annotations

import time

import numpy as np
import pytest

from figures import dump, figure, keypoints, pixels
from kinemask.preparation.prepare import prepare
from kinemask.readers import Item, ReadOptions, reader
from kinemask.readers.tracking import follow, join, twins
from kinemask.skeleton import layout
from kinemask.store.opening import open_store

T = 40


def read(path, people):
    return reader("coco17").read(Item(dump(path / "a.json", people), "a"), ReadOptions())


def hips(body):
    """Where a body (T, 17, 2) of a store is, along x."""
    return body[:, [11, 12], 0].mean(1)


def crossing(**names):
    """Two people who walk through each other, with the same pose, and what they are called: key → of each."""
    ways = np.stack([pixels(T, 100, 10, 3), pixels(T, 490, -10, 3)])
    return [keypoints(ways[m, t], image_id=t, **{k: v[m] for k, v in names.items()}) for t in range(T) for m in (0, 1)]


class TestIds:
    @pytest.mark.parametrize("key", ["track_id", "idx", "person_id", "trackId", "id", "object_id"])
    @pytest.mark.parametrize("values", [(1, 2), (1.0, 2.0), ("1", "2"), ([1.0], [2.0]), ("ann", "ben")])
    def test_ids_under_any_name_and_type(self, tmp_path, key, values):
        clip = read(tmp_path, crossing(**{key: values}))
        assert len(clip.data) == 2
        for body, step in zip(clip.data, (1, -1), strict=True):
            assert (np.sign(np.diff(hips(body))) == step).all()
        assert not clip.notes

    def test_numbers_of_annotations_are_no_names(self, tmp_path):
        ways = np.stack([pixels(T, 100, 1, 0), pixels(T, 490, 1, 1)])
        people = [keypoints(ways[m, t], image_id=t, id=2 * t + m) for t in range(T) for m in (0, 1)]
        clip = read(tmp_path, people)
        assert clip.data.shape[:2] == (2, T)
        assert not np.isnan(clip.data).any()

    @pytest.mark.parametrize("value", [0, -1, None, [-1]])
    def test_one_id_for_all_tells_nothing(self, tmp_path, value):
        ways = np.stack([pixels(T, 100, 1, 0), pixels(T, 490, 1, 1)])
        people = [keypoints(ways[m, t], image_id=t, idx=value) for t in range(T) for m in (0, 1)]
        clip = read(tmp_path, people)
        assert clip.data.shape[:2] == (2, T)
        assert not np.isnan(clip.data).any()
        assert bool(clip.notes) == (value == 0)

    def test_the_better_of_two_of_one_name_is_kept(self, tmp_path):
        body = pixels(T, 100, 1)
        people = [keypoints(body[t], image_id=t, track_id=3) for t in range(T)]
        worse = keypoints(body[5] + 90, image_id=5, track_id=3)
        worse["keypoints"][:6] = [0] * 6
        clip = read(tmp_path, [worse, *people])
        assert clip.data.shape[:2] == (1, T)
        assert not np.isnan(clip.data).any()
        assert "found twice in a frame, 1 times" in clip.notes[0]


class TestOneBody:
    @pytest.mark.parametrize("gap, far", [(3, 0), (90, 0), (90, 300)])
    def test_somebody_who_comes_back(self, tmp_path, gap, far):
        body = pixels(T, 100, 1)
        people = [keypoints(body[t] + (far * (t >= 20), 0), image_id=t + gap * (t >= 20)) for t in range(T)]
        clip = read(tmp_path, people)
        assert clip.data.shape[:2] == (1, T + gap)
        assert bool(clip.notes) == (gap > 60)

    @pytest.mark.parametrize("other", [False, True])
    def test_renewed_ids(self, tmp_path, other):
        """Of one person, and of one of two, who may not be taken for the other."""
        ways = [pixels(T, 100, 1), pixels(T, 400, 1, 1)]
        people = [keypoints(ways[0][t], image_id=t, track_id=1 + 8 * (t // 15)) for t in range(T)]
        if other:
            people += [keypoints(ways[1][t], image_id=t, track_id=4) for t in range(T)]
        clip = read(tmp_path, people)
        assert clip.data.shape[:2] == (1 + other, T)
        assert not np.isnan(clip.data).any()
        assert clip.notes == tuple(f"joined person {n} to person 1: they are never seen in one frame" for n in (9, 17))
        assert clip.people == ("1", "4")[: 1 + other]

    def test_people_who_are_seen_together_stay_apart(self, tmp_path):
        ways = [pixels(T, 100, 1), pixels(T, 400, 1, 1)]
        people = [keypoints(ways[0][t], image_id=t) for t in range(25)]
        people += [keypoints(ways[1][t], image_id=t) for t in range(20, T)]
        clip = read(tmp_path, people)
        assert (~np.isnan(clip.data).all((2, 3))).sum(1).tolist() == [25, 20]

    @pytest.mark.parametrize("names", [None, (1, 2)])
    @pytest.mark.parametrize("often", [1.0, 0.4])
    def test_somebody_found_twice_is_one_body(self, tmp_path, names, often):
        body, rng = pixels(T, 100, 4), np.random.default_rng(0)
        people = []
        for t in range(T):
            name = {} if names is None else {"track_id": names[0]}
            people.append(keypoints(body[t], image_id=t, **name))
            if rng.random() < often:
                name = {} if names is None else {"track_id": names[1]}
                people.append(keypoints(body[t] + rng.normal(0, 4, (17, 2)), image_id=t, **name))
        clip = read(tmp_path, people)
        assert clip.data.shape[:2] == (1, T)
        assert any("found twice in the same place" in note for note in clip.notes)

    def test_two_people_side_by_side_are_two(self, tmp_path):
        ways = [pixels(T, 100, 4), pixels(T, 160, 4)]
        clip = read(tmp_path, [keypoints(way[t], image_id=t) for t in range(T) for way in ways])
        assert clip.data.shape[:2] == (2, T)


def crowd(people, frames, seed=0):
    """Places (N, 17, 2) of people in a hall, and the frame of each."""
    rng = np.random.default_rng(seed)
    ways = np.stack(
        [pixels(frames, at, speed, m) for m, (at, speed) in enumerate(rng.normal(0, (900, 3), (people, 2)))]
    )
    ways[..., 1] += rng.uniform(0, 900, (people, 1, 1))
    return ways.swapaxes(0, 1).reshape(-1, 17, 2), np.repeat(np.arange(frames), people)


def seconds(places, frames):
    start = time.process_time()
    who = follow(places, frames)
    join(places, frames, who, 1.0)
    twins(places, frames, who)
    return time.process_time() - start


def test_a_crowd_is_followed_in_time():
    follow(*crowd(2, 2))  # imports
    short = seconds(*crowd(100, 25))
    assert seconds(*crowd(100, 100)) < min(5, 10 * short)


def test_a_crowd_that_nothing_connects_is_followed_too():
    places, frames = crowd(100, 40)
    places += np.random.default_rng(1).uniform(0, 1e5, (len(places), 1, 2))
    assert seconds(places, frames) < 5


class TestChosenPeople:
    def src(self, tmp_path, listed="", names=(7, 3)):
        """Somebody who walks in 40 frames, who stands in 30 of them, and a third in 10."""
        ways = [pixels(T, 100, 4), pixels(T, 400, 0, 1), pixels(T, 600, 0, 2)]
        spans = [range(T), range(5, 35), range(10)]
        called = [{"track_id": name} for name in (*names, 5)] if names else [{}] * 3
        people = [
            keypoints(way[t], image_id=t, **who)
            for way, span, who in zip(ways, spans, called, strict=True)
            for t in span
        ]
        dump(tmp_path / "src" / "a.json", people)
        if listed:
            (tmp_path / "src" / "clips.csv").write_text(listed)
        return tmp_path / "src"

    @pytest.mark.parametrize("most", [1, 2])
    def test_the_most_seen_are_kept(self, tmp_path, most):
        summary = prepare("coco17", self.src(tmp_path), tmp_path / "store", bodies=most, progress=False)
        store = open_store(summary.path)
        assert store.bodies.tolist() == [most]
        assert (~np.isnan(store.clip(0)).all((2, 3))).sum(1).tolist() == [40, 30][:most]
        assert "dropped body 5: seen in 10 frames" in (summary.path / "rejected.csv").read_text()

    @pytest.mark.parametrize("names, called", [((7, 3), ["a#7", "a#3", "a#5"]), ((), ["a#1", "a#2", "a#3"])])
    def test_a_clip_of_each(self, tmp_path, names, called):
        src = self.src(tmp_path, names=names)
        store = open_store(prepare("coco17", src, tmp_path / "store", per_person=True, progress=False).path)
        assert (store.names, store.lengths.tolist(), set(store.bodies.tolist())) == (called, [40, 30, 10], {1})
        assert set(store.fields["recording"]) == {"a"}
        assert np.allclose(store.clip(1)[0, 0, [11, 12]].mean(0), 0, atol=1e-5)  # their own origin
        alone = prepare("coco17", src, tmp_path / "two", per_person=True, bodies=2, progress=False)
        assert open_store(alone.path).names == called[:2]

    def test_labels_by_person(self, tmp_path):
        src = self.src(tmp_path, "clip,label\na#3,stand\na#7,walk\na,both\n")
        store = open_store(prepare("coco17", src, tmp_path / "store", progress=False).path)
        assert store.names == ["a#3", "a#7", "a"]
        assert [store.classes[label] for label in store.labels] == ["stand", "walk", "both"]
        assert (store.lengths.tolist(), store.bodies.tolist()) == ([30, 40, 40], [1, 1, 3])
        speed = [np.abs(np.diff(hips(store.clip(i)[0]))).mean() for i in (0, 1)]
        assert speed[1] > 3 * speed[0]

    def test_a_person_who_is_not_there(self, tmp_path):
        src = self.src(tmp_path, "clip\na#7\na#2\n")
        summary = prepare("coco17", src, tmp_path / "store", progress=False)
        assert (summary.clips, summary.rejected_clips) == (1, 1)
        assert "there is no person 2 in a; there are: 7, 3, 5" in (summary.path / "rejected.csv").read_text()

    def test_people_of_arrays(self, tmp_path):
        src = tmp_path / "src"
        src.mkdir()
        both = np.stack([figure(layout("ntu25"), T), figure(layout("ntu25"), T, 2, 0.1, 1)])
        both[0, 30:] = np.nan
        np.save(src / "a.npy", both)
        (src / "clips.csv").write_text("clip,label\na#1,x\na#2,y\n")
        store = open_store(prepare("arrays", src, tmp_path / "store", layout="ntu25", progress=False).path)
        assert (store.names, store.lengths.tolist()) == (["a#1", "a#2"], [30, 40])
        (src / "clips.csv").write_text("clip\na\n")
        one = prepare("arrays", src, tmp_path / "one", layout="ntu25", bodies=1, progress=False)
        kept = open_store(one.path).clip(0)
        assert np.allclose(kept[0], both[1] - both[1, 0, 1], atol=1e-5)  # about the spine's middle

    def test_people_of_tables(self, tmp_path):
        """Called as the column says; one whose id is renewed is one."""
        (tmp_path / "src").mkdir()
        ways = {"ann": pixels(T, 100, 4), "ben": pixels(T, 400, 0, 1)}
        lines = ["frame,body,joint,x,y"]
        for name, way in ways.items():
            for t in range(T):
                who = "ben2" if name == "ben" and t >= 22 else name
                lines += [f"{t},{who},{v},{x},{y}" for v, (x, y) in enumerate(way[t])]
        (tmp_path / "src" / "a.csv").write_text("\n".join(lines))
        (tmp_path / "src" / "clips.csv").write_text("clip,label\na#ben,stand\na,both\n")
        summary = prepare("arrays", tmp_path / "src", tmp_path / "store", layout="coco17", progress=False)
        store = open_store(summary.path)
        assert (store.names, store.bodies.tolist(), store.lengths.tolist()) == (["a#ben", "a"], [1, 2], [T, T])
        assert not np.isnan(store.clip(1)).any()
        assert np.abs(np.diff(hips(store.clip(0)[0]))).mean() < 0.05
        assert "joined body ben2 to body ben" in (summary.path / "rejected.csv").read_text()

    def test_no_people_at_all(self, tmp_path):
        with pytest.raises(ValueError, match="bodies is 0"):
            prepare("coco17", self.src(tmp_path), tmp_path / "store", bodies=0, progress=False)

"""One's own recordings: lists, arrays, tables."""

from __future__ import annotations

import os
import pickle
import zipfile

import numpy as np
import pytest

from kinemask.readers import Item, ReadOptions, reader
from kinemask.skeleton import layout
from readers.samples import OWN, item, write_csv, write_npy, write_npz


class Harm:
    def __reduce__(self):
        return (os._exit, (3,))


class TestArrays:
    source = reader("arrays")
    joints = np.random.default_rng(3).normal(1, 0.2, (5, 20, 3))

    def listing(self, folder, text, files=("one.npy", "two.npz", "deep/three.csv")):
        (folder / "deep").mkdir(exist_ok=True)
        for name in files:
            path = folder / name
            {".npy": write_npy, ".npz": write_npz, ".csv": write_csv}[path.suffix](path.parent, self.joints)
            (path.parent / f"mine{path.suffix}").rename(path)
        (folder / "clips.csv").write_text(text)
        return folder

    def test_listing(self, tmp_path):
        self.listing(
            tmp_path,
            "clip,label,subject,split,split:b\none.npy,10,anna,train,\ntwo,9,ben,test,train\ndeep/three.csv,,,,test\n",
        )
        found = self.source.scan(tmp_path)
        assert found.classes == ("9", "10")
        assert found.splits == {"default", "b"}
        columns = ("subject", "split:default", "split:b")
        assert found.items == [
            Item(tmp_path / "one.npy", "one", 1, dict(zip(columns, ("anna", "train", ""), strict=True))),
            Item(tmp_path / "two.npz", "two", 0, dict(zip(columns, ("ben", "test", "train"), strict=True))),
            Item(tmp_path / "deep/three.csv", "deep/three", None, dict(zip(columns, ("", "", "test"), strict=True))),
        ]
        clips = [self.source.read(one, OWN) for one in found.items]
        assert [clip.label for clip in clips] == [1, 0, None]
        assert all(np.array_equal(clip.data, clips[0].data) for clip in clips)

    @pytest.mark.parametrize(
        "text, words",
        [
            ("", "line 1: expected a column clip, found nothing"),
            ("title,label\n", "line 1: expected a column clip"),
            ("clip,frames\none,3", "a store has a column frames of its own"),
            ("clip,a,a\none,3,4", "all different"),
            ("clip,split,split:default\none,,", "same split"),
            ("clip\n", "lists no clip"),
            ("clip\none.npy\nfour.npy\n", "line 3: clip four.npy .* no such file"),
            ("clip\none.npy\none\n", "line 3: clip one stands in line 2 already"),
            ("clip,split\none,held out\n", "line 2: split:default should be train, test or empty"),
            ("clip,label\none\n", "line 2: expected 2 fields"),
            ("clip\none,two\n", r"line 2: expected 1 fields \(clip\)"),
            ("clip,label\n,a\n", "line 2: the clip is not named"),
            ("clip\n../one.npy\n", "line 2: clip ../one.npy lies outside"),
            ("clip\none.txt\n", "line 2: .* no such file"),
            (f"clip\n{'n' * 900}\n", "line 2: clip n{60}: File name too long"),
            ('clip\n"one\n' + "two\n" * 50_000, "field larger than field limit.*is a quote left open"),
        ],
    )
    def test_bad_lists(self, tmp_path, text, words):
        with pytest.raises(ValueError, match=f"clips.csv.*{words}"):
            self.source.scan(self.listing(tmp_path, text))

    def test_no_list(self, tmp_path):
        with pytest.raises(ValueError, match=r"holds no clips\.csv"):
            self.source.scan(tmp_path)
        with pytest.raises(ValueError, match="needs a layout"):
            self.source.choose_layout(None)

    def test_never_unpickles(self, tmp_path):
        harm = np.array([Harm()], object)
        np.save(tmp_path / "a.npy", harm, allow_pickle=True)
        np.savez(tmp_path / "b.npz", keypoints=harm)
        np.savez(tmp_path / "c.npz", keypoints=self.joints, score=harm)
        (tmp_path / "d.npy").write_bytes(pickle.dumps(Harm()))
        for path in sorted(tmp_path.iterdir()):
            with pytest.raises(ValueError, match=f"{path}.*(Python objects|not a whole)"):
                self.source.read(item(path), OWN)

    @pytest.mark.parametrize(
        "write, words",
        [
            (lambda f, x: np.savez(f / "a.npz", joints=x), "expected the key keypoints, found joints"),
            (lambda f, x: np.savez(f / "a.npz"), "expected the key keypoints, found none"),
            (
                lambda f, x: np.savez(f / "a.npz", keypoints=x, score=x),
                r"score should have the shape \(5, 20\)",
            ),
            (
                lambda f, x: np.save(f / "a.npy", x[..., :2]),
                r"layout kinect20 needs the shape \(frames, 20, 3\) or",
            ),
            (lambda f, x: np.save(f / "a.npy", x[:0]), "needs the shape"),
            (lambda f, x: np.save(f / "a.npy", x[0]), "needs the shape"),
            (lambda f, x: np.save(f / "a.npy", x.astype(str)), "expected numbers"),
            (lambda f, x: np.save(f / "a.npy", x.astype(complex)), "expected numbers"),
        ],
    )
    def test_arrays_of_another_shape(self, tmp_path, write, words):
        write(tmp_path, self.joints)
        (path,) = tmp_path.iterdir()
        with pytest.raises(ValueError, match=f"{path}.*{words}"):
            self.source.read(item(path), OWN)

    @pytest.mark.parametrize("frames", [10**6, 10**12, 10**18])
    def test_a_header_that_promises_too_much(self, tmp_path, frames):
        path = write_npy(tmp_path, self.joints)
        with path.open("r+b") as file:
            header = {"descr": "<f8", "fortran_order": False, "shape": (frames, 20, 3)}
            np.lib.format.write_array_header_1_0(file, header)
        packed = tmp_path / "packed.npz"
        with zipfile.ZipFile(packed, "w") as file:
            file.write(path, "keypoints.npy")
        for bad in (path, packed):
            with pytest.raises(ValueError, match=f"{bad}.*not a whole"):
                self.source.read(item(bad), OWN)

    def test_scores_and_bodies(self, tmp_path):
        score = np.ones((2, 5, 20))
        score[0, 1, 2], score[0, 3, 4], score[1] = 0.2, np.nan, 0
        path = write_npz(tmp_path, np.stack([self.joints, self.joints]), score=score)
        clip = self.source.read(item(path), ReadOptions(OWN.layout, min_score=0.3))
        assert clip.data.shape == (1, 5, 20, 3)
        assert clip.notes == ("dropped body 2: no joint is seen in any frame",)
        assert np.array_equal(np.argwhere(np.isnan(clip.data[0]).all(-1)), [[1, 2], [3, 4]])
        assert np.isnan(self.source.read(item(path), OWN).data[0]).all(-1).sum() == 1
        assert np.array_equal(clip.score, score[:1], equal_nan=True)

    @pytest.mark.parametrize("name", ["score", "confidence", "visibility"])
    def test_tables_may_have_scores_and_a_single_body(self, tmp_path, name):
        lines = [f"{t},{v},1,{t},3,{0.2 if v == 4 else '' if v == 5 else 0.9}" for t in range(3) for v in range(20)]
        path = tmp_path / "mine.csv"
        path.write_text("\n".join([f"frame,landmark,x,y,z,{name}", *lines]))
        clip = self.source.read(item(path), ReadOptions(OWN.layout, min_score=0.3))
        assert (clip.data.shape, clip.score.shape) == ((1, 3, 20, 3), (1, 3, 20))
        assert np.array_equal(np.argwhere(np.isnan(clip.data[0, 0]).all(-1)), [[4], [5]])
        assert np.isnan(clip.score[0, :, 5]).all()
        assert np.allclose(clip.score[0, :, 4], 0.2)

    def test_data_centred_at_the_root_keep_it(self, tmp_path):
        centred = self.joints - self.joints[:, :1]
        centred[3] = 0
        clip = self.source.read(item(write_npy(tmp_path, centred)), OWN)
        assert np.array_equal(clip.data[0, [0, 1, 2, 4], 0], np.zeros((4, 3)))
        assert np.isnan(clip.data[0, 3]).all()
        assert clip.notes == ("body 1: hip_centre is zero in every frame, so it is the origin",)

    @pytest.mark.parametrize("height", ["", "480"])
    def test_two_dimensions(self, tmp_path, height):
        pixels = 240 + 100 * np.random.default_rng(4).normal(size=(5, 17, 2))
        path = write_npy(tmp_path, pixels)
        options = ReadOptions(layout("coco17"))
        clip = self.source.read(Item(path, "mine", 0, {"image_height": height}), options)
        scale = float(clip.fields["scale"])
        assert scale == 240 if height else 0 < scale < 1000
        assert np.allclose(np.diff(clip.data[0], axis=0) * [1, -1] * scale, np.diff(pixels, axis=0), atol=0.01)
        for bad in ("-1", "tall", "nan"):
            with pytest.raises(ValueError, match="image_height should be a positive number"):
                self.source.read(Item(path, "mine", 0, {"image_height": bad}), options)

    @pytest.mark.parametrize(
        "text, words",
        [
            ("frame,body,x,y,z\n", "line 1: .* no column joint"),
            ("frame,body,joint,x,y\n", "line 1: .* no column z"),
            ("frame,body,joint,x,y,z\n", "no line after its header"),
            ("frame,body,joint,x,y,z\n0,a,20,1,2,3\n", "line 2: layout kinect20 has no joint '20'"),
            ("frame,body,joint,x,y,z\n0,a,nose,1,2,3\n", "line 2: layout kinect20 has no joint 'nose'"),
            (
                "frame,body,joint,x,y,z\n0.5,a,0,1,2,3\n",
                "line 2: frame should be a whole number, found '0.5'",
            ),
            ("frame,body,joint,x,y,z\n0,a,0,1,2,three\n", "line 2: z should be a number, found 'three'"),
            ("frame,body,joint,x,y,z\n0,a,0,1,2\n", "line 2: expected 6 fields"),
            ("frame,body,joint,x,y,z\n0,a,0,1,2,3\n0,a,hip_centre,1,2,3\n", "line 3: a second line for this"),
            ("frame,body,joint,x,y,z\n0,a,0,1,2,3\n1000000000,a,0,1,2,3\n", "numbered 0 to 1000000000"),
        ],
    )
    def test_bad_tables(self, tmp_path, text, words):
        path = tmp_path / "mine.csv"
        path.write_text(text)
        with pytest.raises(ValueError, match=f"{path}.*{words}"):
            self.source.read(item(path), OWN)

    def test_tables_may_have_gaps_names_and_bodies(self, tmp_path):
        lines = ["﻿frame, body, joint, x, y, z"]
        lines += [f"{t},{who},{j},1,{t},3" for t in (7, 9) for who in ("b", "a") for j in ("head", "0")]
        (tmp_path / "mine.csv").write_text("\n".join([*lines, "9,a,1,,,"]))
        clip = self.source.read(item(tmp_path / "mine.csv"), OWN)
        assert clip.data.shape == (2, 3, 20, 3)
        assert np.array_equal(np.argwhere(~np.isnan(clip.data[1]).any(-1)), [[0, 0], [0, 3], [2, 0], [2, 3]])

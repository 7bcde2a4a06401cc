"""Units, the vertical, shares of an image, bodies without hips; and which axis of an array is which."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from figures import dump, figure, keypoints, pixels, shape_of
from kinemask.preparation.prepare import prepare
from kinemask.preparation.reading import read_clips
from kinemask.preparation.shaping import METRES, check_torso
from kinemask.skeleton import layout
from kinemask.store.opening import open_store

T = 40
NTU = layout("ntu25")


def save(folder, listed="clip", **arrays):
    """A source of arrays, and its list, whose further columns are the same for all."""
    folder.mkdir(parents=True, exist_ok=True)
    columns, _, values = listed.partition("=")
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    lines = [columns, *(f"{name},{values}" if values else name for name in arrays)]
    (folder / "clips.csv").write_text("\n".join(lines))
    return folder


def stored(tmp_path, src, dataset="arrays", **options):
    summary = prepare(dataset, src, tmp_path / "store", progress=False, **options)
    rows = list(csv.reader((summary.path / "rejected.csv").open()))[1:]
    return open_store(summary.path), summary, rows


class TestUnits:
    @pytest.mark.parametrize("unit", METRES)
    def test_other_units_are_converted_when_told(self, tmp_path, unit):
        body = figure(NTU, T)
        src = save(tmp_path / "src", a=body / METRES[unit])
        store, summary, _ = stored(tmp_path, src, layout="ntu25", unit=unit)
        assert np.allclose(store.clip(0)[0], body - body[0, 1], atol=1e-5)
        assert not summary.doubts

    @pytest.mark.parametrize("unit, words", [("mm", "in mm"), ("cm", "in cm")])
    def test_they_are_found_out_when_not_told(self, tmp_path, unit, words):
        src = save(tmp_path / "src", a=figure(NTU, T) / METRES[unit], b=figure(NTU, T))
        store, summary, rows = stored(tmp_path, src, layout="ntu25")
        assert (store.names, summary.rejected) == (["b"], 1)
        assert "the median torso is" in rows[0][2]
        assert words in rows[0][2]
        assert f"--unit {unit}" in rows[0][2]

    def test_a_column_tells_the_unit_of_each(self, tmp_path):
        body = figure(NTU, T)
        src = save(tmp_path / "src", a=body, b=body * 1000, c=body * 1000)
        (src / "clips.csv").write_text("clip,unit\na,m\nb,mm\nc,\n")
        store, _, _ = stored(tmp_path, src, layout="ntu25", unit="mm")
        assert store.names == ["a", "b", "c"]
        assert np.allclose(store.clip(0), store.clip(1), atol=1e-5)
        (src / "clips.csv").write_text("clip,unit\na,m\nb,feet\n")
        _, summary, rows = stored(tmp_path / "other", src, layout="ntu25")
        assert summary.rejected == 1
        assert "unit is 'feet'; it should be one of m, cm, mm, in, ft" in rows[0][2]

    @pytest.mark.parametrize(
        "length, unit, outcome",
        [
            (0.5, None, "fine"),
            (float("nan"), None, "fine"),
            (500, None, "refused"),
            (500, "mm", "fine"),
            (0.5, "mm", "refused"),
            (50, "m", "doubted"),
            (2.0, None, "doubted"),
            (0.05, None, "doubted"),
            (1e6, None, "refused"),
        ],
    )
    def test_how_sure_it_is(self, length, unit, outcome):
        if outcome == "refused":
            with pytest.raises(ValueError, match="where people's is"):
                check_torso(length, unit)
        else:
            assert bool(check_torso(length, unit)) == (outcome == "doubted")

    def test_data_sets_have_their_units(self, tmp_path):
        for option in ({"unit": "mm"}, {"up": "z"}):
            with pytest.raises(ValueError, match=r"ntu60 comes in metres, y up"):
                prepare("ntu60", tmp_path, tmp_path / "store", **option)
        with pytest.raises(ValueError, match="ntu60 knows its arrays' axes"):
            prepare("ntu60", tmp_path, tmp_path / "store", axes="TMVC")
        with pytest.raises(ValueError, match="layout coco17 is 2D, so unit has no effect"):
            prepare("coco17", tmp_path, tmp_path / "store", layout="coco17", unit="mm")
        with pytest.raises(ValueError, match="unit is 'miles'"):
            next(read_clips(save(tmp_path / "src", a=figure(NTU)), "arrays", layout="ntu25", unit="miles"))


class TestUp:
    @pytest.mark.parametrize("up", ["x", "y", "z", "-x", "-y", "-z"])
    def test_the_axis_that_points_up(self, tmp_path, up):
        """Turned, never mirrored: lengths, heights and the hand that is left stay."""
        body = figure(NTU, T)
        axis, sign = "xyz".index(up[-1]), -1 if up.startswith("-") else 1
        turned = np.roll(body, axis - 1, axis=-1)  # y becomes that axis
        if sign < 0:
            turned[..., [axis, axis - 1]] *= -1
        src = save(tmp_path / "src", a=turned)
        store, summary, _ = stored(tmp_path, src, layout="ntu25", up=up)
        clip = store.clip(0)[0]
        assert np.allclose(clip[..., 1], (body - body[0, 1])[..., 1], atol=1e-5)
        triple = lambda x: np.linalg.det((x[:, [3, 4, 16]] - x[:, [0]]).astype(float))
        assert np.allclose(triple(clip), triple(body), atol=1e-4)
        assert not summary.doubts

    @pytest.mark.parametrize("up, turn", [("z", [0, 2, 1]), ("x", [1, 0, 2])])
    def test_a_hint_where_gravity_looks_wrong(self, tmp_path, up, turn):
        bodies = {f"c{i}": figure(NTU, T, seed=i)[..., turn] for i in range(4)}
        _, summary, rows = stored(tmp_path, save(tmp_path / "src", **bodies), layout="ntu25")
        assert f"in 4 of 4 clips heads are not above feet, but in the direction of {up}: --up {up}" in summary.doubts
        assert rows[-1][:2] == ["kept", ""]

    def test_somebody_who_lies_down_is_no_reason(self, tmp_path):
        bodies = {f"c{i}": figure(NTU, T, seed=i)[..., [1, 0, 2] if i == 0 else [0, 1, 2]] for i in range(4)}
        assert not stored(tmp_path, save(tmp_path / "src", **bodies), layout="ntu25")[1].doubts

    def test_in_two_dimensions(self, tmp_path):
        down = pixels(T)
        src = save(tmp_path / "src", a=down * (1, -1))
        _, summary, _ = stored(tmp_path, src, layout="coco17")
        assert "heads are not above feet, but in the direction of -y" in summary.doubts[0]
        assert summary.doubts[0].endswith("(--up y)")
        store, summary, _ = stored(tmp_path / "y", src, layout="coco17", up="y")
        assert not summary.doubts
        right, _, _ = stored(tmp_path / "down", save(tmp_path / "right", a=down), layout="coco17")
        assert np.allclose(store.clip(0), right.clip(0), atol=1e-5)
        with pytest.raises(ValueError, match="layout coco17 is 2D: up may be y"):
            stored(tmp_path / "z", src, layout="coco17", up="z")


class TestShares:
    size = np.array([640, 480])

    def write(self, kind, folder, body, listed):
        if kind == "arrays":
            return save(folder, listed, a=body)
        dump(folder / "a.json", [keypoints(frame, image_id=t) for t, frame in enumerate(body)])
        columns, _, values = listed.partition("=")
        (folder / "clips.csv").write_text(f"{columns}\na,{values}" if values else f"{columns}\na")
        return folder

    @pytest.mark.parametrize("kind", ["arrays", "coco17"])
    @pytest.mark.parametrize("centred", [False, True])
    def test_their_aspect_is_asked_for(self, tmp_path, kind, centred):
        body = pixels(T)
        shares = body / self.size * (2 if centred else 1) - (1 if centred else 0)
        options = {"layout": "coco17"} if kind == "arrays" else {}
        for at, listed in enumerate(("clip", "clip,image_height=480", "clip,image_width=640")):
            with pytest.raises(ValueError, match="seem to be shares of the image's width and height"):
                stored(tmp_path / f"{at}", self.write(kind, tmp_path / f"src{at}", shares, listed), kind, **options)
        src = self.write(kind, tmp_path / "whole", shares, "clip,image_width,image_height=640,480")
        store, _, _ = stored(tmp_path / "whole-store", src, kind, **options)
        assert np.allclose(shape_of(store.clip(0) * (1, -1))[0], shape_of(body[None])[0], atol=1e-3)

    def test_a_height_in_the_same_unit_is_taken(self, tmp_path):
        body = pixels(T) / 480
        store, _, _ = stored(tmp_path, save(tmp_path / "src", "clip,image_height=1", a=body), layout="coco17")
        assert np.allclose(shape_of(store.clip(0) * (1, -1))[0], shape_of(body[None])[0], atol=1e-4)


class TestWithoutHips:
    legs = tuple(
        v for v, joint in enumerate(layout("coco17").joints) if joint.split("_")[-1] in ("hip", "knee", "ankle")
    )

    def test_the_shoulders_scale(self, tmp_path):
        body = pixels(T)
        whole, _, _ = stored(tmp_path / "whole", save(tmp_path / "a", a=body), layout="coco17")
        body[:, self.legs] = np.nan
        store, summary, rows = stored(tmp_path / "half", save(tmp_path / "b", a=body), layout="coco17")
        ratio = float(store.fields["scale"][0]) / float(whole.fields["scale"][0])
        assert 0.5 < ratio < 2
        assert "a column image_height does better" in rows[0][2]
        assert summary.rejected == 0

    def test_where_there_are_none_either_the_column_is_named(self, tmp_path):
        body = pixels(T)
        body[:, 5:] = np.nan
        with pytest.raises(ValueError, match=r"add a column image_height to clips\.csv"):
            stored(tmp_path, save(tmp_path / "src", a=body), layout="coco17")


class TestAxes:
    bodies = np.stack([pixels(T, 100, 4), pixels(T, 400, -2, 1)])  # (M, T, V, C)

    @pytest.mark.parametrize("axes", ["MTVC", "TMVC", "CTVM", "mvtc", "TVMC", "VCTM"])
    def test_any_order_when_told(self, tmp_path, axes):
        array = self.bodies.transpose(["MTVC".index(letter) for letter in axes.upper()])
        store, _, _ = stored(tmp_path, save(tmp_path / "src", a=array), layout="coco17", axes=axes)
        assert np.allclose(shape_of(store.clip(0) * (1, -1)), shape_of(self.bodies), atol=1e-4)

    @pytest.mark.parametrize("axes", ["TVC", "VCT", "CTV"])
    def test_of_one_body(self, tmp_path, axes):
        array = self.bodies[0].transpose(["TVC".index(letter) for letter in axes])
        store, _, _ = stored(tmp_path, save(tmp_path / "src", a=array), layout="coco17", axes=axes)
        assert np.allclose(shape_of(store.clip(0) * (1, -1)), shape_of(self.bodies[:1]), atol=1e-4)

    @pytest.mark.parametrize(
        "array, offered",
        [
            (bodies[:1].swapaxes(0, 1), "TMVC"),
            (bodies.swapaxes(0, 1), "TMVC"),
            (np.concatenate([bodies[:, :12]] * 4 + [bodies[:, :12] + 9] * 3).swapaxes(0, 1), "TMVC"),  # 14 in 12 frames
            (bodies[:1].transpose(3, 1, 2, 0), "CTVM"),
            (bodies[0].transpose(2, 0, 1), "CTV"),
        ],
    )
    def test_an_order_that_seems_to_be_another_is_refused(self, tmp_path, array, offered):
        with pytest.raises(ValueError, match=f"--axes {offered}"):
            stored(tmp_path, save(tmp_path / "src", a=array), layout="coco17")

    def test_few_frames_of_few_people_are_no_reason(self, tmp_path):
        store, _, _ = stored(tmp_path, save(tmp_path / "src", a=self.bodies[:, :1]), layout="coco17")
        assert (store.bodies.tolist(), store.lengths.tolist()) == ([2], [1])

    @pytest.mark.parametrize("axes, words", [("TVX", "should name T, V, C"), ("TTVC", "each once"), ("TVC", "4 axes")])
    def test_axes_that_do_not_fit(self, tmp_path, axes, words):
        with pytest.raises(ValueError, match=words):
            stored(tmp_path, save(tmp_path / "src", a=self.bodies), layout="coco17", axes=axes)

    @pytest.mark.parametrize("of", ["coco17", "ntu25"])
    @pytest.mark.parametrize("score", [False, True])
    @pytest.mark.parametrize("several", [False, True])
    @pytest.mark.parametrize("flat", [False, True])
    def test_rows_of_numbers_and_a_score_for_each_joint(self, tmp_path, of, score, several, flat):
        body = pixels(T) if of == "coco17" else figure(NTU, T)
        plain = body[None] if several else body
        array = np.concatenate([plain, np.full((*plain.shape[:-1], 1), 0.9)], -1) if score else plain.copy()
        if score:
            array[..., 3, -1] = 0.1
        array = array.reshape(*array.shape[:-2], -1) if flat else array
        store, _, _ = stored(tmp_path, save(tmp_path / "src", a=array), layout=of, min_score=0.5 if score else 0.0)
        expected = body.copy()
        if score:
            expected[:, 3] = np.nan
            assert np.allclose(store.score(0)[0, :, [2, 3]].T, (0.9, 0.1), atol=1e-3)
        assert np.array_equal(np.isnan(store.clip(0)[0]), np.isnan(expected))

    def test_a_third_coordinate_is_no_score(self, tmp_path):
        array = np.concatenate([pixels(T), np.full((T, 17, 1), 3.5)], -1)
        with pytest.raises(ValueError, match=r"between 3\.5 and 3\.5, which is no confidence"):
            stored(tmp_path, save(tmp_path / "src", a=array), layout="coco17")

    @pytest.mark.parametrize("main", ["keypoints", "keypoint", "kpts", "data"])
    @pytest.mark.parametrize("score", ["score", "scores", "keypoint_scores", "confidence"])
    def test_names_in_an_npz(self, tmp_path, main, score):
        src = save(tmp_path / "src", a=0)
        (src / "a.npy").unlink()
        np.savez(src / "a.npz", **{main: pixels(T), score: np.full((T, 17), 0.7), "fps": 30})
        store, _, rows = stored(tmp_path, src, layout="coco17")
        assert np.allclose(store.score(0), 0.7, atol=1e-3)
        told = " ".join(row[2] for row in rows)
        assert "keys that are not read: fps" in told
        assert (f"{main} is taken for keypoints" in told) == (main != "keypoints")
        assert (f"{score} is taken for score" in told) == (score != "score")

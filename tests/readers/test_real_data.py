"""Real data sets: counts, splits, and the traps that each holds."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.io import loadmat

from kinemask.readers import reader
from kinemask.readers.files import read_mat
from kinemask.skeleton import layout
from readers.samples import DATA, OWN, PLAIN, REAL, files_of, item

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real data in {DATA}")


@pytest.fixture(scope="module")
def real():
    """Clips of each real data set, read once: name -> (files, clips by name, reasons by file name)."""
    cache = {}

    def load(name):
        if name not in cache:
            source = reader(name)
            files = files_of(source, DATA / name)
            clips, reasons = {}, {}
            for path in files:
                try:
                    clip = source.read(item(path), PLAIN)
                    clips[clip.name] = clip
                except ValueError as error:
                    reasons[path.name] = error
            cache[name] = files, clips, reasons
        return cache[name]

    return load


class TestRealData:
    @pytest.mark.filterwarnings("ignore:All-NaN slice")  # a head that is never seen
    @pytest.mark.parametrize("name", REAL)
    def test_counts_splits_and_convention(self, real, name):
        source, (files, clips, _) = reader(name), real(name)
        assert (len(files), len(clips)) == (source.expected.files, source.expected.clips)
        for split, rule in source.splits.items():
            sides = Counter(rule.side(clip.fields) for clip in clips.values())
            assert (sides["train"], sides["test"]) == source.expected.splits[split]
            assert sides.total() == len(clips)
        assert {clip.label for clip in clips.values()} == set(range(len(source.classes)))
        own = source.choose_layout()
        head, foot = (own.parts[part][-1 if part == "left_leg" else 0] for part in ("head", "left_leg"))
        height = [np.nanmedian(c.data[0, :, head, 1]) - np.nanmedian(c.data[0, :, foot, 1]) for c in clips.values()]
        assert np.nanmedian(height) > 0.9  # y is up, units are metres or half image heights
        assert not any(np.isinf(clip.data).any() for clip in clips.values())

    def test_nw_ucla_traps(self, real):
        _, clips, _ = real("nw-ucla")
        rows = {name: (clip.data.shape, clip.data.tobytes()) for name, clip in clips.items()}
        training = {rows[name] for name, clip in clips.items() if clip.fields["camera"] != "3"}
        copies = Counter(n[:3] for n, c in clips.items() if c.fields["camera"] == "3" and rows[n] in training)
        assert copies == {"a02": 50, "a03": 45}
        assert {n for n, c in clips.items() if c.data.shape[1] == 1} == {"a02_s09_e04_v02", "a02_s09_e04_v03"}
        assert sum(np.isnan(clip.data[..., 0]).sum() for clip in clips.values()) == 12

    def test_penn_action_traps(self, real):
        _, clips, reasons = real("penn-action")
        assert not reasons
        assert "no joint is flagged as visible" in clips["1516"].notes[0]
        assert np.isnan(clips["1516"].data[0, 0, :, 0]).sum() == 4
        missing = np.concatenate([np.isnan(clip.data[..., 0]).ravel() for clip in clips.values()])
        assert 0.215 < missing.mean() < 0.225
        assert max(np.nanmax(np.abs(clip.data)) for clip in clips.values()) < 5  # no placeholder at (1, 1)
        assert clips["0001"].fields["scale"] == "180"

    def test_mat_files_as_scipy_reads_them(self):
        """Among them two that MATLAB wrote without the end of a compressed stream."""
        files = [*(DATA / "penn-action" / "labels" / f"{n}.mat" for n in ("0001", "1605", "1833"))]
        files += files_of(reader("utd-mhad"), DATA / "utd-mhad")[::100]
        for path in files:
            expected = {k: v for k, v in loadmat(path).items() if not k.startswith("__")}
            found = read_mat(path, tuple(expected))
            for key, value in expected.items():
                same = value[0] if value.dtype.kind == "U" else value
                assert np.array_equal(found[key], same) if value is same else found[key] == same

    def test_sbu_bodies_are_of_human_size(self, real):
        _, clips, _ = real("sbu")
        own = layout("sbu15")
        thigh = [own.index("left_hip"), own.index("left_knee")]
        lengths = [np.linalg.norm(np.diff(c.data[:, :, thigh], axis=2), axis=-1) for c in clips.values()]
        assert all(clip.data.shape[0] == 2 for clip in clips.values())
        assert 0.3 < np.median(np.concatenate([x.ravel() for x in lengths])) < 0.6

    def test_utd_in_either_joint_order(self):
        path = files_of(reader("utd-mhad"), DATA / "utd-mhad")[0]
        own, other = (reader("utd-mhad").read(item(path), o).data for o in (PLAIN, OWN))
        order = [layout("utd20").index(joint) for joint in OWN.layout.joints]
        assert np.array_equal(own[:, :, order], other)
        with pytest.raises(ValueError, match="utd20 or kinect20, not ntu25"):
            reader("utd-mhad").choose_layout(layout("ntu25"))

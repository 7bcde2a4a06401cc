"""UTD-MHAD's and Penn Action's MAT files: other shapes, other versions, visibility."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from scipy.io import savemat

from kinemask.readers import reader
from readers.samples import PLAIN, item, write_penn

JOINTS = np.random.default_rng(2).normal(1, 0.2, (5, 20, 3))


@pytest.mark.parametrize(
    "content, words",
    [
        ({"other": np.zeros((20, 3, 4))}, "no variable 'd_skel'"),
        ({"d_skel": np.zeros((3, 20, 4))}, r"shape \(20, 3, frames\), found \(3, 20, 4\)"),
        ({"d_skel": np.zeros((20, 3, 0))}, "found"),
        ({"d_skel": "text"}, "expected numbers"),
        ({"d_skel": {"a": 1}}, "expected numbers"),
        ({"d_skel": np.array([[1, "a"]], object)}, "expected numbers"),
        ({"d_skel": scipy.sparse.eye_array(20, format="csc")}, "expected numbers"),
    ],
)
def test_mat_of_another_shape(tmp_path, content, words):
    path = tmp_path / "a1_s1_t1_skeleton.mat"
    savemat(path, content)
    with pytest.raises(ValueError, match=f"{path}.*{words}"):
        reader("utd-mhad").read(item(path), PLAIN)


def test_mat_of_one_frame_and_of_other_versions(tmp_path):
    path = tmp_path / "a1_s1_t1_skeleton.mat"
    savemat(path, {"d_skel": JOINTS[0]})
    assert reader("utd-mhad").read(item(path), PLAIN).data.shape == (1, 1, 20, 3)
    savemat(path, {"d_skel": JOINTS[0]}, format="4")
    assert reader("utd-mhad").read(item(path), PLAIN).data.shape == (1, 1, 20, 3)
    savemat(path, {"d_skel": JOINTS.transpose(1, 2, 0)}, do_compression=True)
    assert reader("utd-mhad").read(item(path), PLAIN).data.shape == (1, 5, 20, 3)
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n" * 99)
    with pytest.raises(ValueError, match=r"7\.3"):
        reader("utd-mhad").read(item(path), PLAIN)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"train": 0}, "train should be 1 or -1"),
        ({"visibility": np.ones((5, 12))}, r"shape \(frames, 13\)"),
        ({"dimensions": [[0, 480, 5]]}, "dimensions should be height"),
        ({"dimensions": []}, "dimensions should be height"),
        ({"action": ""}, "no class ''"),
    ],
)
def test_penn_action_of_another_shape(tmp_path, changes, words):
    path = write_penn(tmp_path, JOINTS[:, :13, :2], **changes)
    with pytest.raises(ValueError, match=words):
        reader("penn-action").read(item(path), PLAIN)


def test_penn_action_visibility(tmp_path):
    visible = np.ones((5, 13), np.uint8)
    visible[2, 3] = 0
    path = write_penn(tmp_path, JOINTS[:, :13, :2], visibility=visible, train=-1)
    clip = reader("penn-action").read(item(path), PLAIN)
    assert np.array_equal(np.argwhere(np.isnan(clip.data).all(-1)), [[0, 2, 3]])
    assert reader("penn-action").splits["official"].side(clip.fields) == "test"

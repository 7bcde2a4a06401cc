"""SBU's tables: units, bad lines."""

from __future__ import annotations

import numpy as np
import pytest

from kinemask.readers import reader
from kinemask.skeleton import layout
from readers.samples import PLAIN, item, write_sbu

JOINTS = np.random.default_rng(2).normal(1, 0.2, (5, 20, 3))


def test_sbu_units_and_bad_lines(tmp_path):
    joints = JOINTS[:, :15].copy()
    path = write_sbu(tmp_path, joints)
    clip = reader("sbu").read(item(path), PLAIN)
    x, y, z = np.moveaxis(joints, -1, 0)
    millimetres = np.stack([1280 - 2560 * x, 960 - 1920 * y, 10000 * z / 7.8125], -1)
    torso = layout("sbu15").index("torso")
    assert np.allclose(clip.data[0], (millimetres - millimetres[0, torso]) / 1000, atol=1e-5)
    lines = path.read_text().splitlines()
    for bad in (lines[2] + ",1", lines[2].rpartition(",")[0], lines[2].replace(",", ",x", 1), ""):
        path.write_text("\n".join([*lines[:2], bad, *lines[3:]]))
        with pytest.raises(ValueError, match=f"{path}, line 3: expected 91 numbers"):
            reader("sbu").read(item(path), PLAIN)
    with pytest.raises(ValueError, match="should lie at sXXsYY"):
        reader("sbu").read(item(tmp_path / "skeleton_pos.txt"), PLAIN)

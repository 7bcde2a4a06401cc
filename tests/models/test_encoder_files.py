"""Encoder files: read back, of an earlier format, damaged, hostile."""

from __future__ import annotations

import pytest

from helpers import LIES
from kinemask.models.encoders import load_encoder
from kinemask.runs import checkpoint


@pytest.mark.parametrize("lie", LIES)
def test_a_file_that_is_no_encoder_is_told(lie, whole, tmp_path):
    path = tmp_path / "encoder.safetensors"
    path.write_bytes((whole["mamp"] / "encoder.safetensors").read_bytes())
    load_encoder(path)
    LIES[lie](path)
    with pytest.raises(ValueError, match=r"encoder\.safetensors"):
        load_encoder(path)
    assert not (tmp_path / "trace").exists()


def test_an_absent_encoder_is_told(tmp_path):
    with pytest.raises(ValueError, match="no encoder at"):
        load_encoder(tmp_path)
    with pytest.raises(ValueError, match="no encoder at"):
        load_encoder(tmp_path / "encoder.safetensors")
    with pytest.raises(ValueError, match="not a run"):
        checkpoint.read_config(tmp_path)

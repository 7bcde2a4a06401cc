"""What the tests of training share: an uninterrupted run of each method."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers import make_settings
from kinemask.pretext import NAMES
from kinemask.training.pretraining import pretrain


@pytest.fixture(scope="session")
def whole(tiny, tmp_path_factory) -> dict[str, Path]:
    """An uninterrupted run of each method."""
    folder = tmp_path_factory.mktemp("runs")
    return {name: pretrain(make_settings(tiny, name), folder / name, quiet=True) for name in NAMES}

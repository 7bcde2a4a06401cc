"""What several test files share: one thread per process, and a tiny store of made-up recordings."""

from __future__ import annotations

import pytest
import torch

from helpers import CLASSES, recordings
from kinemask import readers
from kinemask.models import architectures
from kinemask.pretext import methods
from kinemask.skeleton import layout
from kinemask.store.opening import Store
from kinemask.store.writer import write_store

torch.set_num_threads(1)  # the machine is shared, and bitwise comparisons need one order of sums


@pytest.fixture(scope="session", autouse=True)
def _few_twins():
    """Of a recogniser's generated twins a few: making all of them takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kinemask.protocols.twins.PROGRAMMES", 12)
        yield


@pytest.fixture(autouse=True)
def _registered_for_one_test(monkeypatch):
    """What a test registers is not known to the next, which may run in the same process or not."""
    for module, name in ((readers, "_REGISTERED"), (architectures, "_ARCHITECTURES"), (methods, "_METHODS")):
        monkeypatch.setattr(module, name, dict(getattr(module, name)))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Store:
    """A store of layout sbu15: splits xsub and xcam, an unlabelled clip, a test clip that copies a training clip."""
    of = layout("sbu15")
    path = tmp_path_factory.mktemp("stores") / "tiny"
    return write_store(path, recordings(of), of, CLASSES, meta={"dataset": "tiny", "units": "metres"})

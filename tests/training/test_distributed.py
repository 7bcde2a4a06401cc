"""Several processes do what one does."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from helpers import make_settings, state
from kinemask.runs.log import read_metrics
from kinemask.training.pretraining import pretrain
from loops import alike, environment

pytestmark = pytest.mark.slow  # torchrun starts two processes

TORCHRUN = """
import os, sys, torch, yaml
from kinemask.training.pretraining import pretrain
from kinemask.training.settings import Settings
torch.set_num_threads(1)
os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "False"  # a meeting place of its own for every run
for argument in sys.argv[1:]:
    os.environ["MASTER_PORT"], config = argument.split(":", 1)
    pretrain(Settings.from_dict(yaml.safe_load(open(config))), config.removesuffix(".yaml"), quiet=True)
"""
GATHERED = {"pretext_negatives": "gathered", "pretext_contrast_weight": 2.0}
RUNS = {
    "mamp": ("mamp", {}),
    "mamp-accumulated": ("mamp", {"training_accumulate": 3}),
    "hacm-mean": ("hacm", GATHERED),
    "hacm-rows": ("hacm", GATHERED | {"pretext_contrast_reduction": "rows", "pretext_similarity": "cosine"}),
    "hacm-sum": ("hacm", GATHERED | {"pretext_contrast_reduction": "sum"}),
    "hacm-local": ("hacm", {"pretext_contrast_weight": 2.0}),
}


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


@pytest.fixture(scope="module")
def two_processes(tiny, tmp_path_factory) -> dict[str, tuple[Path, Path]]:
    """Each run of RUNS with one process and with two: name -> (one, two)."""
    folder = tmp_path_factory.mktemp("processes")
    (folder / "driver.py").write_text(TORCHRUN)
    out, arguments = {}, []
    for (name, (of, changes)), port in zip(RUNS.items(), free_ports(len(RUNS)), strict=True):
        settings = make_settings(tiny, of, **changes, training_epochs=2, training_log_every=1)
        config = folder / f"{name}-two.yaml"
        config.write_text(yaml.safe_dump(settings.to_dict()))
        arguments.append(f"{port}:{config}")
        one = pretrain(settings, folder / f"{name}-one", quiet=True)
        out[name] = one, folder / f"{name}-two"
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*launch, folder / "driver.py", *arguments]
    process = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True)
    try:
        _, said = process.communicate(timeout=150)
    finally:
        process.terminate()  # torchrun ends its processes with itself
        process.wait(30)
    assert process.returncode == 0, said[-3000:]
    return out


@pytest.mark.parametrize("name", [name for name in RUNS if name != "hacm-local"])
def test_two_processes_do_what_one_does(name, two_processes):
    one, two = two_processes[name]
    a, b = read_metrics(one), read_metrics(two)
    assert len(a) == len(b) == state(one)["step"]
    for x, y in zip(a, b, strict=True):
        assert x.keys() == y.keys()
        for part in {"loss", "reconstruction", "contrast"} & x.keys():
            assert x[part] == pytest.approx(y[part], rel=1e-4)
    alike(one, two)


def test_local_negatives_are_fewer(two_processes):
    one, two = (read_metrics(run)[0]["contrast"] for run in two_processes["hacm-local"])
    assert abs(one - two) > 1e-4
    assert one == pytest.approx(read_metrics(two_processes["hacm-mean"][0])[0]["contrast"])

"""Signals: SIGTERM and Ctrl-C save and exit, whatever the parent process does with them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import yaml

from helpers import make_settings, same, state, weights
from kinemask.runs.log import read_metrics
from kinemask.training.distributed import World
from kinemask.training.pretraining import pretrain
from kinemask.training.settings import Settings
from loops import environment, logged, loop_of

DRIVER = """
import sys, time
from pathlib import Path
import torch, yaml
from kinemask.errors import Stopped
from kinemask.training.distributed import World
from kinemask.training.loop import run_job
from kinemask.training.pretraining import Pretraining
from kinemask.training.settings import Settings

class Slow(Pretraining):
    def after_step(self, progress):
        super().after_step(progress)
        time.sleep(0.3)

torch.set_num_threads(1)
world = World.alone("cpu")
job = Slow(Settings.from_dict(yaml.safe_load(open(sys.argv[1]))), world)
try:
    run_job(job, Path(sys.argv[2]), world, quiet=True)
except Stopped as stopped:
    print(stopped)
    sys.exit(3)
"""


@contextmanager
def training(settings: Settings, folder: Path, ignored: bool = False) -> Iterator[subprocess.Popen[str]]:
    """A process that trains slowly in folder / "run", from the first line of its log on."""
    config, run, driver = folder / "settings.yaml", folder / "run", folder / "driver.py"
    config.write_text(yaml.safe_dump(settings.to_dict()))
    driver.write_text(DRIVER)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.default_int_handler)
    try:
        command = [sys.executable, driver, config, run]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        until = time.monotonic() + 120
        while not read_metrics(run) and time.monotonic() < until and process.poll() is None:
            time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "ignored"), [(signal.SIGTERM, False), (signal.SIGINT, False), (signal.SIGINT, True)]
)
def test_a_signal_saves_and_the_same_command_resumes(number, ignored, whole, tiny, tmp_path):
    settings, run = make_settings(tiny), tmp_path / "run"
    with training(settings, tmp_path, ignored) as process:
        process.send_signal(number)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 3, said
    assert "run the same command to resume" in said
    assert 2 <= state(run)["step"] < state(whole["mamp"])["step"]
    assert not [f for f in os.listdir(run) if f.startswith(".")]
    pretrain(settings, run, quiet=True)
    assert same(weights(run), weights(whole["mamp"]))


@pytest.mark.slow
def test_a_second_process_is_told_who_trains_until_that_is_killed(whole, tiny, tmp_path):
    settings, run = make_settings(tiny), tmp_path / "run"
    with training(settings, tmp_path) as process:
        with pytest.raises(ValueError, match=rf"{run} is in use by process {process.pid} on .+ since"):
            pretrain(settings, run, quiet=True)
        assert process.poll() is None
    assert (run / ".lock").exists()
    pretrain(settings, run, quiet=True)
    assert same(weights(run), weights(whole["mamp"]))
    assert logged(run) == logged(whole["mamp"])
    assert not [f for f in os.listdir(run) if f.startswith(".")]


class Two(World):
    """Two processes, of which the other one was asked to stop."""

    def sum(self, value):
        return value + 1


@pytest.mark.parametrize(("device", "step", "agreed"), [("cpu", 1, True), ("cuda", 1, False), ("cuda", 2, True)])
def test_processes_agree_to_stop(device, step, agreed, tiny, tmp_path, monkeypatch):
    """At every step; on CUDA, where asking waits for the device, at the steps that log."""
    loop = loop_of(tiny, tmp_path)
    monkeypatch.setattr(torch, "tensor", lambda value, device: torch.as_tensor(value))  # no CUDA is needed
    loop.world, loop.step = Two(0, 2, torch.device(device)), step
    assert loop.asked_to_stop(threading.Event()) == agreed


def test_signals_are_given_back(tiny, tmp_path):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    settings = make_settings(tiny, training_epochs=1)
    pretrain(settings, tmp_path / "run", quiet=True)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    done = []
    thread = threading.Thread(target=lambda: done.append(pretrain(settings, tmp_path / "b", quiet=True)))
    thread.start()  # signals belong to the main thread; training works in any
    thread.join()
    assert done

"""A run's folder: what is missing or damaged is told with the file's name, and whose settings it has."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import yaml

from kinemask.files import write_atomically
from kinemask.runs.checkpoint import STATE, load_checkpoint, save_checkpoint
from kinemask.runs.run import Run, differences
from kinemask.store.format import sha256
from made_results import keep, made_result

CONFIG = {"method": "mamp", "data": ["store"], "split": "xsub", "seed": 3, "pretext": {}, "training": {"lr": 0.1}}


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    return tmp_path / "run"


def test_what_a_run_says_of_itself(folder):
    run = Run(folder)
    assert (run.name, run.config, run.pretrained) == ("run", CONFIG, True)
    assert (run.metrics(), run.training_seconds(), run.results()) == ([], None, [])
    (folder / "metrics.jsonl").write_text('{"step": 1, "seconds": 2.0}\n{"step": 2, "seconds": 0.5}\n{"step": 3}\n{"st')
    assert run.training_seconds() == 2.5
    assert [line["step"] for line in run.metrics()] == [1, 2, 3]  # a killed process's last line does not count


@pytest.mark.parametrize(
    "content, told",
    [
        (None, "is not a run: it has no config.yaml"),
        (b"method: [", r"config\.yaml: not valid YAML"),
        (b"\xff\xfe\x00", r"config\.yaml: not valid YAML"),
        (b"", r"config\.yaml does not hold the settings"),
        (b"- a list", r"config\.yaml does not hold the settings"),
        (b"method: [mamp]\ndata: [x]\nsplit: xsub\nseed: 0", r"config\.yaml: method, data and split must be texts"),
        (b"method: mamp\ndata: [1]\nsplit: xsub\nseed: 0", r"config\.yaml: method, data and split must be texts"),
        (b"method: mamp\ndata: [x]\nsplit: xsub\nseed: x", r"config\.yaml: .* seed a whole number"),
        (b"method: mamp\nsplit: xsub", r"config\.yaml does not hold the settings of a run: it lacks data, seed"),
    ],
)
def test_settings_that_are_missing_or_damaged(content, told, folder):
    (folder / "config.yaml").unlink()
    if content is not None:
        (folder / "config.yaml").write_bytes(content)
    with pytest.raises(ValueError, match=f"{folder}.*{told}|{told}"):
        Run(folder).config  # noqa: B018


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "[" * 10**5,
        '{"loss": 1.0}',
        '{"step": "one"}',
        '{"step": true}',
        '{"step": 1.5}',
        '{"step": NaN}',
        '{"step": -1}',
        '{"step": 1, "loss": null}',
        '{"step": 1, "loss": ' + "9" * 400 + "}",
        '{"step": 1, "loss": ' + "9" * 5000 + "}",
        '{"step": 1, "loss": {"a": 1}}',
    ],
)
def test_a_damaged_log_is_told_with_its_line(line, folder):
    (folder / "metrics.jsonl").write_text(f'{{"step": 1}}\n{line}\n{{"step": 3}}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2: "):
        Run(folder).metrics()


def test_a_damaged_result_is_told_with_its_name(folder):
    path = Path(keep(folder).path)
    path.write_text("{")
    with pytest.raises(ValueError, match=rf"{path.name} is damaged"):
        Run(folder).results()


def test_encoders_by_name_and_role(folder):
    run = Run(folder)
    with pytest.raises(ValueError, match=r"encoder\.safetensors: this run has not finished training"):
        run.encoder()
    (folder / "encoder.safetensors").touch()
    assert run.encoder() == folder / "encoder.safetensors"
    with pytest.raises(ValueError, match="has no teacher and student"):
        run.encoder("teacher")
    with pytest.raises(ValueError, match=r"no encoder at .*encoder-student\.safetensors"):
        run.encoder("encoder-student")
    (folder / "encoder-student.safetensors").touch()
    assert run.encoder("teacher") == run.encoder()
    assert run.encoder("student") == run.encoder("encoder-student")
    for name in ("../run/encoder", "a\\encoder", str(folder / "encoder")):
        with pytest.raises(ValueError, match="without its ending"):
            run.encoder(name)


def test_a_result_is_current_while_its_encoder_is_there(folder):
    (folder / "encoder.safetensors").write_bytes(b"one")
    result = made_result(encoder_sha256=sha256(folder / "encoder.safetensors"))
    assert Run(folder).is_current(result)
    assert Run(folder).is_current(made_result(encoder_sha256=None))
    (folder / "encoder.safetensors").write_bytes(b"two")
    assert not Run(folder).is_current(result)


def test_a_folder_is_claimed_for_settings(folder):
    other = CONFIG | {"seed": 4, "training": {"lr": 0.2}}
    Run(folder).claim(other)  # nothing was saved yet
    assert Run(folder).config == other
    (folder / "last.pt").touch()
    Run(folder).claim(other | {"data": ["moved"], "training": {"lr": 0.2, "device": "cpu", "log_every": 9}})
    with pytest.raises(ValueError, match=r"other settings: seed \(was 4, now 3\), training\.lr \(was 0\.2, now 0\.1\)"):
        Run(folder).claim(CONFIG)
    with pytest.raises(ValueError, match=r"other settings: method \(was 'mamp', now 'mae'\);"):
        Run(folder).claim(CONFIG | {"method": "mae", "pretext": {"new": 1}})


def test_differences_are_named_with_dots():
    a, b = {"x": 1, "s": {"y": 2, "z": 3}, "gone": {"w": None}}, {"x": 1, "s": {"y": 4, "z": 3}, "new": {"v": 0}}
    assert differences(a, b) == {"new.v": (None, 0), "s.y": (2, 4)}


def test_checkpoints_stand_in_for_damaged_ones(folder):
    assert load_checkpoint(folder) is None
    state = dict.fromkeys(STATE, 0)
    for step in (1, 2):
        save_checkpoint(folder, state | {"step": step})
    whole = (folder / "last.pt").read_bytes()
    (folder / "last.pt").write_bytes(whole[:100])
    with pytest.warns(UserWarning, match=r"resuming from .*previous\.pt, because .*last\.pt"):
        assert load_checkpoint(folder)["step"] == 1
    assert (folder / "last.pt").exists()
    torch.save({"step": 1}, folder / "previous.pt")
    with pytest.raises(ValueError, match=r"no readable checkpoint: .*last\.pt.*previous\.pt: not a checkpoint"):
        load_checkpoint(folder)
    shutil.rmtree(folder)


def test_a_failed_write_leaves_what_was_there(folder):
    def fail(path: Path) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    with pytest.raises(OSError, match=r"cannot write .*config\.yaml \(No space left"):
        write_atomically(folder / "config.yaml", fail)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before

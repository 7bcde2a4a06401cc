"""A run's folder: what is missing or damaged is told with the file's name, and whose settings it has."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
import yaml

from kinemask.files import partial_path, try_lock, write_atomically
from kinemask.models.encoders import read_weights
from kinemask.runs.checkpoint import load_checkpoint, save_checkpoint
from kinemask.runs.log import read_metrics
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


STATE = {
    "step": 2,
    "task": {"w": torch.ones(3)},
    "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"params": [0]}]},
    "sources": [{"frames.npy": "0"}],
    "log": {"since": 1, "sums": {"loss": 0.5}},
}


def test_checkpoints_stand_in_for_damaged_ones(folder):
    assert load_checkpoint(folder) is None
    for step in (1, 2):
        save_checkpoint(folder, STATE | {"step": step})
    whole = (folder / "last.pt").read_bytes()
    (folder / "last.pt").write_bytes(whole[:100])
    with pytest.warns(UserWarning, match=r"resuming from .*previous\.pt, because .*last\.pt"):
        assert load_checkpoint(folder)["step"] == 1
    assert (folder / "last.pt").exists()
    torch.save({"step": 1}, folder / "previous.pt")
    with pytest.raises(ValueError, match=r"no readable checkpoint: .*last\.pt.*previous\.pt: not a checkpoint"):
        load_checkpoint(folder)
    shutil.rmtree(folder)


@pytest.mark.parametrize("error", [IndexError, TypeError, AttributeError, MemoryError])
def test_whatever_reading_a_damaged_checkpoint_raises(error, folder):
    """The bytes decide what torch stumbles over; 139 of 6,533 damaged files were none of the errors it documents."""

    def stumble(state):
        if state["step"] == 2:
            raise error

    for step in (1, 2):
        save_checkpoint(folder, STATE | {"step": step})
    with pytest.warns(UserWarning, match=error.__name__):
        assert load_checkpoint(folder, stumble)["step"] == 1


def nan(size: int = 3) -> torch.Tensor:
    return torch.full((size,), torch.nan)


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"step": "x"}, r"Expected `int`, got `str` - at `\$\.step`"),
        ({"step": -5}, r"`int` >= 0 - at `\$\.step`"),
        ({"step": True}, r"got `bool`"),
        ({"task": {"w": 3}}, r"Expected `Tensor`, got `int` - at `\$\.task"),
        ({"task": {"w": nan()}}, "weight w is not finite"),
        ({"task": {"w": torch.ones(1).expand(10**15)}}, r"a tensor of shape \(1000000000000000,\) has 4 bytes"),
        ({"optimizer": {}}, r"at `\$\.optimizer`"),
        ({"optimizer": {"state": {0: {"exp_avg": nan()}}, "param_groups": []}}, "exp_avg of parameter 0 is not finite"),
        ({"sources": 3}, r"at `\$\.sources`"),
        ({"log": {"since": 3, "sums": {}}}, "its log goes on from step 3, its weights from step 2"),
        ({"log": 3}, r"at `\$\.log`"),
    ],
)
def test_a_checkpoint_of_wrong_contents_is_refused(changes, told, folder):
    save_checkpoint(folder, STATE | changes)
    with pytest.raises(ValueError, match=rf"no readable checkpoint: .*last\.pt: .*{told}"):
        load_checkpoint(folder)
    save_checkpoint(folder, STATE)
    save_checkpoint(folder, STATE | changes)
    with pytest.warns(UserWarning, match=told):
        assert load_checkpoint(folder, drop_damaged=True)["step"] == STATE["step"]
    assert not (folder / "last.pt").exists()


def test_a_packed_checkpoint_is_refused_before_it_is_unpacked(folder):
    """A megabyte that would be a gigabyte: torch itself packs nothing, but unpacks."""
    save_checkpoint(folder, STATE)
    with zipfile.ZipFile(folder / "last.pt") as whole:
        parts = {name: whole.read(name) for name in whole.namelist()}
    with zipfile.ZipFile(folder / "last.pt", "w", zipfile.ZIP_DEFLATED) as pack:
        for name, content in parts.items():
            pack.writestr(name, bytes(1 << 28) if name.endswith("data/0") else content)
    assert (folder / "last.pt").stat().st_size < 1 << 20
    with pytest.raises(ValueError, match=r"last\.pt: its parts would unpack to 268,\d+,\d+ bytes, where"):
        load_checkpoint(folder)
    (folder / "last.pt").write_bytes(b"no zip")
    with pytest.raises(ValueError, match=r"last\.pt: damaged, BadZipFile"):
        load_checkpoint(folder)


def test_files_of_holes_are_refused(folder):
    for name in ("last.pt", "metrics.jsonl", "encoder.safetensors"):
        with (folder / name).open("wb") as file:
            file.write(b"{}")
            file.truncate(1 << 34)
    for read in (load_checkpoint, read_metrics, lambda run: read_weights(run / "encoder.safetensors", "an encoder")):
        with pytest.raises(ValueError, match=rf"{folder}.*17,179,869,184 bytes, of which \d+,?\d* are there"):
            read(folder)


def test_a_checkpoint_of_before_the_log_is_read(folder):
    save_checkpoint(folder, {name: value for name, value in STATE.items() if name != "log"})
    assert load_checkpoint(folder)["step"] == STATE["step"]


@pytest.mark.parametrize("name", ["last.pt", "previous.pt", "encoder.safetensors", "metrics.jsonl", "config.yaml"])
def test_a_folder_in_the_place_of_a_file_is_told(name, folder):
    (folder / name).unlink(missing_ok=True)
    (folder / name).mkdir()
    with pytest.raises(ValueError, match=rf"{name} is a folder"):
        Run(folder).claim(CONFIG)
    if name.endswith(".pt"):
        with pytest.raises(ValueError, match=rf"{name} is a folder"):
            load_checkpoint(folder)


def test_one_process_holds_a_run(folder):
    lock = folder / ".lock"
    lock.write_text("process 1 of a machine that lost its power")
    with Run(folder).hold():
        assert lock.exists()
        told = rf"the run {folder} is in use by process {os.getpid()} on .+ since \d{{4}}-"
        with pytest.raises(ValueError, match=told), Run(folder).hold():
            pass
        with pytest.raises(ValueError, match=told), Run(folder).hold():  # whom the first did not let in
            pass
    assert not lock.exists()
    with pytest.raises(KeyError), Run(folder).hold():
        raise KeyError
    with Run(folder).hold():
        Run(folder).claim(CONFIG)
        assert lock.exists()
    lock.write_text("of a killed process, whose run is finished otherwise")
    Run(folder).claim(CONFIG)
    assert not lock.exists()


LEFT = (".last.pt.partial-4711", ".encoder.safetensors.partial-0a1b2c3d", "evaluations/.knn-x.json.partial-12345678")


def test_what_killed_processes_left_is_swept(folder):
    (folder / "evaluations").mkdir()
    other = folder / ".notes.partial-of-mine"
    for path in (*(folder / name for name in LEFT), other):
        path.write_text("half")
    living = partial_path(folder / "last.pt")
    with living.open("w") as file:
        assert try_lock(file.fileno())
        Run(folder).claim(CONFIG)
        assert {p.name for p in folder.rglob(".*partial*")} == {living.name, other.name}
    write_atomically(folder / "encoder.safetensors", lambda p: p.write_text("whole"))
    assert living.exists()
    write_atomically(folder / "last.pt", lambda p: p.write_text("whole"))
    assert not living.exists()


@pytest.mark.parametrize("name", ["a*", "[x]"])
def test_only_leftovers_of_the_same_file_are_swept(name, tmp_path):
    other = partial_path(tmp_path / "ax")
    for path in (other, partial_path(tmp_path / name)):
        path.touch()
    write_atomically(tmp_path / name, lambda p: p.write_text("whole"))
    assert {p.name for p in tmp_path.iterdir()} == {name, other.name}


def test_a_failed_write_leaves_what_was_there(folder):
    def fail(path: Path) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    with pytest.raises(OSError, match=r"cannot write .*config\.yaml \(No space left"):
        write_atomically(folder / "config.yaml", fail)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before

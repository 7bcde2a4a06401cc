"""The command line: every command, and what a mistake is told."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kinemask import cli
from kinemask.arguments import Parser
from kinemask.cli import parsers
from kinemask.errors import Stopped
from kinemask.protocols.catalogue import PROTOCOLS
from kinemask.recipes import recipes
from kinemask.store.opening import open_store

README = (Path(__file__).parents[1] / "README.md").read_text()
SMALL = {
    "sampling.frames": 24,
    "sampling.min_crop_frames": 12,
    "encoder.layers": 1,
    "encoder.width": 16,
    "encoder.heads": 2,
    "decoder.layers": 1,
    "decoder.width": 16,
    "decoder.heads": 2,
    "training.epochs": 1,
    "training.warmup_epochs": 0,
    "training.batch_size": 8,
    "training.device": "cpu",
}
TINY = [part for name, value in SMALL.items() for part in (f"--{name}", str(value))]


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    status = cli.main(arguments)
    return status, *capsys.readouterr()


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Path:
    """Somebody's recordings: 2D coco17, a clips.csv with split and subject, one clip of two people."""
    folder = tmp_path_factory.mktemp("own")
    rng = np.random.default_rng(0)
    lines = ["clip,label,subject,split"]
    for i in range(16):
        bodies = 2 if i == 3 else 1
        walk = 200 + rng.normal(0, 40, (bodies, 1, 17, 2)) + rng.normal(0, 3, (bodies, 30 + i, 17, 2)).cumsum(1)
        np.save(folder / f"take{i}.npy", walk)
        lines.append(f"take{i},{'squat' if i % 2 else 'lunge'},p{i % 4},{'test' if i % 4 == 3 else 'train'}")
    (folder / "clips.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def made(own, tmp_path_factory) -> tuple[Path, Path]:
    """A store and a run of these recordings, through the command line alone."""
    place = tmp_path_factory.mktemp("made")
    store, out = place / "store", place / "run"
    assert cli.main(["prepare", "arrays", str(own), str(store), "--layout", "coco17"]) == 0
    command = ["pretrain", "--recipe", "mamp-demo", "--data", str(store), "--split", "default", "--out", str(out)]
    assert cli.main([*command, *TINY]) == 0
    return store, out


def test_help_is_quick_because_it_imports_nothing_heavy():
    code = "import sys; from kinemask.cli import main; main(['--help']); print(sorted(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert not {"'torch'", "'numpy'", "'jsonargparse'", "'scipy'", "'rich'"} & set(re.findall(r"'[\w.]+'", shown))
    assert all(f"  {name} " in shown for name in cli.COMMANDS)


@pytest.mark.parametrize("name", ["recipes", "datasets", "layouts"])
def test_lists(name, capsys):
    status, out, _ = run(capsys, name)
    assert status == 0
    assert all(re.match(r"\S+ +\S", line) for line in out.splitlines())


def test_own_recordings_from_files_to_a_report(made, capsys):
    store, out = made
    status, text, _ = run(capsys, "info", str(store), "--json")
    about = json.loads(text)
    assert status == 0
    assert about.keys() >= {"layout", "clips", "classes", "subjects", "bodies", "frames", "missing_fraction", "splits"}
    assert about["splits"]["default"] == {"train": 12, "test": 4, "test_duplicates_of_train": 0}
    assert run(capsys, "info", str(store))[0] == 0
    for protocol, about in PROTOCOLS.items():
        where = ["--run", str(out), "--data", str(store), "--split", "default", "--device", "cpu"]
        quick = ["--epochs", "1", "--warmup-epochs", "0"] if about.trains else []
        status, text, _ = run(capsys, "evaluate", protocol, *where, "--seed", "0", "1", *quick)
        assert status == 0
        assert f"baseline: {'from scratch' if about.trains else 'untrained encoder'}" in text
        results = [json.loads(Path(line).read_text()) for line in text.splitlines() if line.endswith(".json")]
        assert [r["seed"] for r in results] == [0, 1]
        assert {r["data"] for r in results} == {store.name}  # not "arrays", as every store of one's own would be
    status, text, _ = run(capsys, "report", str(out))
    assert status == 0
    assert Path(text.strip()).read_text().startswith("<!doctype html>")


def test_resume_with_other_settings_names_them(made, capsys):
    store, out = made
    command = ["pretrain", "--recipe", "mamp-demo", "--data", str(store), "--split", "default", "--out", str(out)]
    assert run(capsys, *command, *TINY)[0] == 0  # finished: nothing to do
    status, _, err = run(capsys, *command, *TINY, "--pretext.tau", "0.5")
    assert status == 2
    assert "pretext.tau (was 0.8, now 0.5)" in err


def test_print_config_shows_every_setting(capsys):
    status, out, _ = run(capsys, "pretrain", "--recipe", "hacm-ntu60", "--print-config", "--pretext.tau", "0.3")
    assert status == 0
    assert "tau: 0.3" in out
    assert all(f"{name}:" in out for name in ("mask_ratio", "contrast_weight", "curvature", "warmup_epochs"))


@pytest.mark.parametrize(
    "command, told",
    [
        ("nonsense", "known: demo"),
        ("preprae", "did you mean prepare?"),
        ("prepare nonsense {own} {new}", "nw-ucla"),
        ("prepare nw-ucla {own}/absent {new}", "absent"),
        ("prepare nw-ucla {own} {new}", "json"),
        ("prepare arrays {own} {new}", "needs a layout"),
        ("prepare arrays {own} {new} --layout ntu26", "ntu25"),
        ("prepare arrays {own} {store} --layout coco17", "overwrite"),
        ("info {own}", "not a store"),
        ("info {own}/absent", "no store"),
        ("pretrain --data {store} --split default", "--recipe"),
        ("pretrain --recipe mamp-ntu61 --data {store} --split default", "did you mean mamp-ntu60?"),
        ("pretrain --recipe mamp-demo --data {store} --split default --training.epoch 3", "training.epoch"),
        ("pretrain --recipe mamp-demo --data {store} --split default --encoder.layers many", "encoder.layers"),
        ("pretrain --recipe mamp-demo --data {store} --split nope --out {new}", "default"),
        ("pretrain --recipe mamp-demo --data {own} --split default --out {new}", "not a store"),
        ("pretrain --recipe mamp-demo --data {store} --split default --out {new} --encoder.joints arms", "arms"),
        ("pretrain --recipe hacm-demo --data {store} --split default --out {new} --sampling.frames 36", "even number"),
        ("pretrain --recipe mamp-demo --data {store} --split default --lr 3", "did you mean --training.lr?"),
        ("evaluate knn", "a run is needed"),
        ("evaluate knn --run {run} --data {store} --split default --neighbour 3", "did you mean --neighbours?"),
        ("evaluate knn --run {run} --data {store} --split default --seed []", "seed"),
        ("evaluate knn --run {run} --data {store} --split default --device tpu", "device"),
        ("evaluate knn --run {run} --data {store} --split default --encoder ../run/encoder", "ending"),
        ("report {run} --data {own}", "not a store"),
        ("prepare arrays {own} {new} --layout coco17 --split-rule all:subject=p1", "'all'"),
        (
            "prepare arrays {own} {new} --layout coco17 --split_rule default:subject=p1 --min_score 0.1",
            "default already",
        ),
        ("evaluate guess --run {run} --data {store} --split default", "linear"),
        ("evaluate knn --run {own} --data {store} --split default", "encoder"),
        ("evaluate knn --run {run} --data {store} --split nope", "default"),
        ("evaluate knn --run {run} --data {tiny} --split xsub", "coco17"),
        ("report {own}", "run"),
    ],
)
def test_mistakes_are_told(command, told, own, made, tiny, tmp_path, capsys):
    new = tmp_path / "new"
    places = {"own": own, "store": made[0], "run": made[1], "tiny": tiny.path, "new": new}
    status, _, err = run(capsys, *(part.format(**places) for part in command.split()))
    assert status == 2
    assert told in err
    assert "Traceback" not in err
    assert not new.exists() or not any(new.iterdir())


def test_help_without_a_recipe_lists_the_recipes(capsys):
    status, out, _ = run(capsys, "pretrain", "--help")
    assert status == 0
    assert "usage: kinemask pretrain" in out
    assert "mamp-ntu60 " in out
    for command in (
        ["pretrain", "--recipe", "mamp-demo"],
        ["evaluate", "knn"],
        *([c] for c in cli.COMMANDS if c not in ("pretrain", "evaluate")),
    ):
        with pytest.raises(SystemExit) as end:
            run(capsys, *command, "--help")
        assert end.value.code == 0


def parsers_of_all() -> dict[str, Parser]:
    """Every parser that there is: of commands, recipes and protocols."""
    made = {name: getattr(parsers, name)([]) for name in cli.COMMANDS if name not in ("pretrain", "evaluate")}
    made |= {f"pretrain {recipe}": parsers.pretrain(["--recipe", recipe])[1] for recipe in recipes()}
    return made | {f"evaluate {protocol}": parsers.evaluate([protocol]) for protocol in PROTOCOLS}


def test_every_option_has_a_help_text():
    for command, parser in parsers_of_all().items():
        for name, action in parser.known.items():
            assert action.help, f"{command}: {name}"
        assert "_" not in "".join(line.split()[0] for line in parser.format_help().splitlines() if "--" in line[:6])


def test_completion_knows_every_command_and_option(capsys):
    for shell in ("bash", "zsh", "fish"):
        status, out, _ = run(capsys, "completion", shell)
        assert status == 0
        assert all(word in out for word in (*cli.COMMANDS, "min-score", "mamp-ntu60", "robustness", "training.lr"))
    line = 'COMP_WORDS=(kinemask prepare --min); COMP_CWORD=2; _kinemask; echo "${COMPREPLY[@]}"'
    script = run(capsys, "completion", "bash")[1]
    shown = subprocess.run(["bash", "-c", script + "\n" + line], check=True, capture_output=True, text=True).stdout
    assert shown.split() == ["--min-score"]
    assert run(capsys, "completion", "tcsh")[0] == 2


@pytest.mark.parametrize("rank", ["0", "1"])
def test_only_the_first_process_speaks(rank, made, monkeypatch, capsys):
    store, out = made

    def stop(*_):
        raise Stopped("stopped at step 3")

    monkeypatch.setenv("RANK", rank)
    command = ["pretrain", "--recipe", "mamp-demo", "--data", str(store), "--split", "default", "--out", str(out)]
    assert run(capsys, *command, *TINY)[:2] == (0, f"{out}\n" if rank == "0" else "")
    monkeypatch.setattr("kinemask.training.pretraining.pretrain", stop)
    status, _, err = run(capsys, *command, *TINY)
    assert (status, "stopped" in err) == (3, rank == "0")


def test_a_terminal_that_lacks_letters_gets_the_rest(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stderr", stream)
    assert cli.main(["µ"]) == 2
    stream.flush()
    assert b"unknown command '?'" in stream.buffer.getvalue()


def test_the_readmes_python_example_runs(made, monkeypatch, tmp_path):
    """With its data set and recipe exchanged for small ones."""
    import kinemask

    store, _ = made
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code
    text = code[1].replace('kinemask.prepare("nw-ucla", "path/to/all_sqe", "stores/nw-ucla")', "")
    text = (
        text.replace("stores/nw-ucla", str(store))
        .replace("xview", "default")
        .replace("hacm-nw-ucla-small", "mamp-demo")
    )
    pretrain = kinemask.pretrain
    monkeypatch.setattr(kinemask, "pretrain", lambda *a, **k: pretrain(*a, **k, quiet=True, **SMALL), raising=False)
    monkeypatch.chdir(tmp_path)
    space: dict = {}
    exec(text, space)
    assert space["features"].shape == (8, 16)
    assert len(open_store(store)) == 16


def test_one_version():
    from kinemask.version import __version__

    assert f"\nversion: {__version__}\n" in (Path(__file__).parents[1] / "CITATION.cff").read_text()

"""The command line: every command, and what a mistake is told."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml

from kinemask import cli
from kinemask.arguments import Parser
from kinemask.cli import parsers
from kinemask.errors import Stopped
from kinemask.pretext.methods import NAMES
from kinemask.protocols.catalogue import PROTOCOLS
from kinemask.recipes import recipes
from kinemask.store.opening import open_store
from kinemask.training.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
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


ANSWERS = """
import contextlib, io, json, sys
from kinemask.cli import main
found = []
for words in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(words)
        except SystemExit as end:
            status = end.code
    heavy = [name for name in HEAVY if name in sys.modules]
    found.append((words, status, out.getvalue(), err.getvalue(), heavy))
print(json.dumps(found))
"""


def answers(*commands: list[str], heavy: tuple[str, ...] = ("torch", "sklearn")) -> list[tuple]:
    """(words, status, output, errors, heavy modules loaded by then) of commands, one after the other."""
    done = subprocess.run(
        [sys.executable, "-c", ANSWERS.replace("HEAVY", repr(heavy))],
        input=json.dumps(commands),
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout)


def test_help_imports_next_to_nothing():
    ((_, status, shown, _, loaded),) = answers(["--help"], heavy=("torch", "numpy", "jsonargparse", "scipy", "rich"))
    assert (status, loaded) == (0, [])
    assert all(f"  {name} " in shown for name in cli.COMMANDS)


QUESTIONS = [
    ["pretrain"],
    ["pretrain", "--recipe", "hacm-ntu60"],
    ["pretrain", "--recipe", "skeletonmae-ntu2d"],
    ["evaluate"],
    *(["evaluate", protocol] for protocol in PROTOCOLS),
    *([name] for name in cli.COMMANDS if name not in ("pretrain", "evaluate")),
]


def test_no_help_imports_torch():
    for words, status, out, err, heavy in answers(*([*question, "--help"] for question in QUESTIONS)):
        assert (status, err, heavy) == (0, "", []), words
        assert out.startswith(f"usage: kinemask {words[0]}"), words


def test_a_mistyped_option_imports_no_torch_and_is_told():
    asked = [words for words in QUESTIONS if words not in (["pretrain"], ["evaluate"])]
    for words, status, out, err, heavy in answers(*([*words, "--wieghts-and-all", "1"] for words in asked)):
        assert (status, out, heavy) == (2, "", []), words
        assert "unknown option --wieghts-and-all" in err, words


@pytest.mark.parametrize(
    "command, told",
    [
        ("preprae", "did you mean prepare?"),
        ("evaluate lineer", "did you mean linear?"),
        ("evaluate knn --neighbour 3", "did you mean --neighbours?"),
        ("evaluate knn --sampling.test-clip 3", "did you mean --sampling.test-clips?"),
        ("pretrain --recipe mamp-ntu61", "did you mean mamp-ntu60?"),
        ("pretrain --recipe mamp-demo --training.batch_sise 3", "did you mean --training.batch-size?"),
        ("pretrain --recipe mamp-demo --lr 3", "did you mean --training.lr?"),
        ("prepare nw-ucal here there", "unknown data set 'nw-ucal'; did you mean nw-ucla?"),
        ("prepare arrays here there --layout coco-17", "unknown layout 'coco-17'; did you mean coco17?"),
        ("prepare arrays here there --min-scroe 0.1", "did you mean --min-score?"),
        ("compare mamp --methods mamp", "not expected here"),
        ("compare --methods mamp --data a --split b --mamp.pretext.tua 3", "did you mean --mamp.pretext.tau"),
        ("compare --methods mamp --data a --split b --sweep pretext.tua 1 2", "did you mean --pretext.tau"),
        ("compare --ablation hacm-VIII --data a --pretext.tua 3", "did you mean --pretext.tau"),
        ("compare --ablation hacm-7 --data a", "unknown table 'hacm-7'"),
        ("completion bsh", "bash"),
    ],
)
def test_what_may_be_meant(command, told, capsys):
    status, _, err = run(capsys, *command.split())
    assert status == 2
    assert told in err


def test_of_an_option_given_twice_the_last_counts(capsys):
    words = ["--recipe", "mamp-demo", "--seed", "1", "--recipe=hacm-demo", "--seed", "2"]
    status, out, _ = run(capsys, "pretrain", *words, "--print-config")
    assert status == 0
    assert "method: hacm\n" in out
    assert "\nseed: 2\n" in out


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("--seed 0 --seed 1 --seed 2", [0, 1, 2]),
        ("--seed 0 1 --seed 2", [0, 1, 2]),
        ("--seed=0 --seed 1 2", [0, 1, 2]),
        ("--seed [0,1] --seed 2", 2),
        ("--seed=[0] --seed=[1]", [1]),
    ],
)
def test_values_of_a_list_given_twice_are_appended(words, values):
    parser = parsers.evaluate(["knn"])
    assert parser.parse(parser.read(["--run", "x", *words.split()])).seed == values


def test_of_so_many_numbers_or_one_the_last_count(capsys):
    given = "--sampling.crop 0.5 1 --sampling.crop 0.8 1 --sampling.rotation 0.5 --sampling.rotation 0.8"
    status, out, _ = run(capsys, "pretrain", "--recipe", "mamp-demo", "--print-config", *given.split())
    assert status == 0
    shown = yaml.safe_load(out)["sampling"]
    assert (list(shown["crop"]), shown["rotation"]) == ([0.8, 1.0], 0.8)
    free = parsers.compare([]).read(["--training.epochs", "5", "--training.epochs", "6"])
    assert free["training.epochs"] == "6"


@pytest.mark.parametrize("spelled", ["--{}-{}", "--{}_{}"])
def test_dashes_and_underscores(spelled, capsys):
    status, out, _ = run(
        capsys, "pretrain", "--recipe", "mamp-demo", "--print-config", f"{spelled.format('training.batch', 'size')}=24"
    )
    assert status == 0
    assert "batch_size: 24" in out
    words = ["prepare", "arrays", "a", "b", spelled.format("min", "score"), "0.5", spelled.format("split", "rule")]
    parser = parsers.prepare([])
    given = parser.parse(parser.read([*words[1:], "one:subject=a", "two:camera=b"]))
    assert (given.min_score, given.split_rule) == (0.5, ["one:subject=a", "two:camera=b"])


def test_a_warning_is_a_line(capsys):
    words = ["pretrain", "--recipe", "mosaic-utd-mhad-small", "--print-config", "--sampling.test-clips", "3"]
    status, _, err = run(capsys, *words)
    assert status == 0
    assert err == "warning: sampling.test_clips has no effect with test_crop 1: its crops are all the whole clip\n"


@pytest.mark.parametrize(
    "words, baselines", [([], True), (["--no-baselines"], False), (["--baselines", "false"], False)]
)
def test_no_x_leaves_x_out(words, baselines):
    parser = parsers.evaluate(["knn"])
    assert parser.parse(parser.read(["--run", "x", *words])).baselines is baselines


@pytest.mark.parametrize("name", ["recipes", "datasets", "layouts"])
def test_lists(name, capsys):
    status, out, _ = run(capsys, name)
    assert status == 0
    assert all(re.match(r"\S+ +\S", line) for line in out.splitlines())


def test_own_recordings_are_counted(made, capsys):
    store, _ = made
    status, text, _ = run(capsys, "info", str(store), "--json")
    about = json.loads(text)
    assert status == 0
    assert about.keys() >= {"layout", "clips", "classes", "subjects", "bodies", "frames", "missing_fraction", "splits"}
    assert about["splits"]["default"] == {"train": 12, "test": 4, "test_duplicates_of_train": 0}
    assert run(capsys, "info", str(store))[0] == 0


QUICK = {  # what makes a protocol short
    "linear": ["--epochs", "2", "--views", "1"],
    "probe": ["--per-class", "1", "2", "--readout.over", "parts"],
    "robustness": ["--epochs", "2", "--views", "1"],
    "finetune": ["--epochs", "1", "--warmup-epochs", "0"],
    "semi": ["--epochs", "1", "--warmup-epochs", "0"],
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_runs_and_is_found_again(protocol, made, capsys):
    store, out = made
    words = ["evaluate", protocol, "--run", str(out), "--seed", "0", "1", "--device", "cpu", *QUICK.get(protocol, [])]
    status, text, _ = run(capsys, *words)
    assert status == 0
    assert f"baseline: {'from scratch' if PROTOCOLS[protocol].trains else 'untrained encoder'}" in text
    paths = [Path(line) for line in text.splitlines() if line.endswith(".json")]
    results = [json.loads(path.read_text()) for path in paths]
    assert [r["seed"] for r in results] == [0, 1]
    assert {r["data"] for r in results} == {store.name}  # not "arrays", as every store of one's own would be
    written = [path.stat().st_mtime_ns for path in paths]
    assert run(capsys, *words, "--data", str(store), "--split", "default")[1] == text  # the run's own, named
    assert [path.stat().st_mtime_ns for path in paths] == written


def test_a_report_of_a_run(made, capsys):
    status, text, _ = run(capsys, "report", str(made[1]))
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
        (
            "pretrain --recipe hacm-demo --data {store} --split default --out {new} --sampling.align none"
            " --sampling.frames 42",
            "even number",
        ),
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
        ("view {store} --clip take99", "no clip 'take99'; did you mean take"),
        ("view {store} --format arrays", "format has no effect"),
        ("view {own} --format bvh", "bvh"),
        ("view {store} --save {new}/clip.avi", ".html, .gif, .mp4"),
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
    assert all(f"  {name} " in out for name in recipes())


def parsers_of_all() -> dict[str, Callable[[], Parser]]:
    """Every kind of parser: of commands, protocols, and a recipe of each method."""
    of_commands = [name for name in cli.COMMANDS if name not in ("pretrain", "evaluate")]
    first = [next(recipe for recipe in recipes() if recipe.startswith(f"{method}-")) for method in NAMES]
    return {
        **{name: partial(parsers.of_command(name), []) for name in of_commands},
        **{f"pretrain {recipe}": lambda recipe=recipe: parsers.pretrain(["--recipe", recipe])[1] for recipe in first},
        **{f"evaluate {protocol}": partial(parsers.evaluate, [protocol]) for protocol in PROTOCOLS},
    }


@pytest.mark.parametrize("command", (ALL := parsers_of_all()))
def test_every_option_has_a_help_text(command):
    parser = ALL[command]()
    assert all(action.help for action in parser.known.values())
    assert "_" not in "".join(line.split()[0] for line in parser.format_help().splitlines() if "--" in line[:6])


@pytest.mark.parametrize("recipe", recipes())
def test_every_recipe_parses(recipe):
    settings = Settings.from_recipe(recipe, {"data": "store", "split": "xsub"})
    assert settings.method == recipe.partition("-")[0]
    assert Settings.from_dict(settings.to_dict()) == settings


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


def test_the_first_pages_python_example_runs(made):
    store, out = made
    code = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "index.md").read_text(), re.DOTALL)
    assert code
    space: dict = {}
    exec(code[1].replace("stores/nw-ucla", str(store)).replace("runs/hacm", str(out)), space)
    assert space["features"].shape == (8, 16)


def test_results_are_a_frame_and_a_table(made):
    import kinemask

    results = kinemask.evaluate("knn", made[1], seed=[0, 1])
    frame = results.to_frame()
    assert list(frame["seed"]) == [0, 1]
    assert list(frame["accuracy"]) == [result.accuracy for result in results]
    assert {"untrained_encoder.accuracy", "random_convolutions_ridge.accuracy", "macro_f1"} <= set(frame.columns)
    assert "untrained encoder" in str(results)
    assert results._repr_html_().lstrip().startswith("<table")


def test_a_command_gives_the_signals_of_its_caller_back(capsys):
    before = signal.getsignal(signal.SIGTERM)
    assert run(capsys, "recipes")[0] == 0
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_command_is_terminated_where_ctrl_c_is_ignored(capsys, monkeypatch):
    """As of a shell's background jobs, in which SIGINT is ignored from the start."""
    monkeypatch.setitem(cli.COMMANDS, "recipes", lambda words: signal.raise_signal(signal.SIGTERM))
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        code, _, said = run(capsys, "recipes")
    finally:
        signal.signal(signal.SIGINT, before)
    assert code == 130
    assert "interrupted" in said


def test_one_version():
    from kinemask.version import __version__

    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text()

"""The printed commands: read by the command line's own parsers, they give the same settings."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import replace

import pytest

from kinemask.cli import parsers
from kinemask.pretext import NAMES
from kinemask.protocols.ensemble import ensemble
from kinemask.recipes import load_recipe, recipes
from kinemask.reports import reproduce
from kinemask.reports.runs import Evaluation, read_runs
from kinemask.runs.result import Results
from kinemask.runs.run import Run, differences
from kinemask.training.settings import Settings
from made_results import keep_scores


@pytest.mark.parametrize("name", [*NAMES, "own"])
def test_the_printed_command_gives_the_same_settings(make, tmp_path, monkeypatch, name):
    config = dict(Run(make("mamp" if name == "own" else name)).config)
    config["sampling"]["rotation"] = [0.1, 0.5, 0.1]
    shipped = next(recipe for recipe in map(load_recipe, recipes()) if recipe["method"] == config["method"])
    config |= {section: shipped.get(section, {}) for section in ("linear", "finetune")}
    if name == "own":
        monkeypatch.setattr(reproduce, "recipes", dict)
    command, recipe = reproduce.pretrain_command(config, ["store"], "out folder")
    assert (name == "own") == bool(recipe)
    words = shlex.split(command)
    assert words[:3] == ["kinemask", "pretrain", "--recipe"]
    if recipe:
        (tmp_path / "recipe.yaml").write_text(recipe)
        monkeypatch.chdir(tmp_path)
    else:
        assert words[3] in recipes()
    content, parser = parsers.pretrain(words[2:])
    given = parser.parse(parser.read(words[2:]))
    assert (given.out, given.data) == ("out folder", ["store"])
    settings = replace(Settings.of(content, given), data=config["data"])
    assert not differences(settings.to_dict(), config)


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("sampling.rotation", [0.1, 0.5], ["--sampling.rotation", "0.1", "0.5"]),
        ("seed", 3, ["--seed", "3"]),
        ("training.compile", True, ["--training.compile"]),
        ("training.compile", False, ["--no-training.compile"]),
        ("training.init_from", None, ["--training.init_from", "null"]),
        ("milestones", [], ["--milestones", "[]"]),
    ],
)
def test_a_setting_as_the_command_line_takes_it(name, value, words):
    assert reproduce.option(name, value) == words


def test_a_printed_evaluation_names_what_differs(make, store):
    (linear,) = (e for e in read_runs([make("mamp")])[0].evaluations if e.first.protocol == "linear")
    words = shlex.split(reproduce.evaluate_command(linear, "run", "store"))
    where = ["kinemask", "evaluate", "linear", "--run", "run", "--data", "store", "--split", "xsub", "--seed", "0", "1"]
    assert words == [*where, "--epochs", "2", "--views", "1"]
    sampling = linear.first.sampling | {"test_clips": 7, "crop": [0.9, 1.0]}
    other = replace(linear.first, encoder="encoder-student", sampling=sampling, baselines_asked=False)
    words = shlex.split(reproduce.evaluate_command(Evaluation(Results([other])), "run", "store"))
    assert words[10:12] == ["0", "--encoder"]
    assert " ".join(words).endswith("--sampling.crop 0.9 1.0 --sampling.test_clips 7 --views 1 --no-baselines")


def test_a_printed_ensemble_names_its_members(make, tmp_path):
    runs = [tmp_path / name for name in ("a", "b")]
    for run in runs:
        keep_scores(run)
        shutil.copy(make("mamp") / "config.yaml", run)
    (fused,) = ensemble(runs, weights=[2, 1])
    (shown,) = read_runs(runs[:1])
    told = next(line for line in reproduce.commands(shown)[0] if "ensemble" in line)
    hashes = [member.hash for member in fused.members]
    assert told == f"kinemask ensemble a b --weights 2 1 --hash {' '.join(hashes)}"

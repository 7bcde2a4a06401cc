"""Comparisons: every combination once, what is there already is found, and what fails is left out."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import fmean, stdev

import pytest

from kinemask import cli, compare
from kinemask.comparison.plan import Asked, plan
from kinemask.comparison.table import Line
from kinemask.protocols.evaluate import evaluate
from kinemask.runs.result import Result
from kinemask.runs.run import Run
from tiny_recipe import TINY, recipe_file


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> str:
    return recipe_file(tmp_path_factory.mktemp("recipes"), "one")


def asked(recipe: str, store, **changes) -> Asked:
    given = {"methods": [recipe], "data": [str(store.path)], "split": ["xsub"], "protocols": ["knn"]}
    return Asked(**given | {"overrides": {"training.device": "cpu"}} | changes)


def written(folder: Path) -> dict[str, int]:
    """Every file of a comparison's runs, with when it was written."""
    runs = folder / "runs"
    return {str(p.relative_to(runs)): p.stat().st_mtime_ns for p in sorted(runs.rglob("*")) if p.is_file()}


def kept(folder: Path, protocol: str) -> list[Result]:
    return [r for run in sorted((folder / "runs").iterdir()) for r in Run(run).results() if r.protocol == protocol]


def test_every_combination_is_run_once_and_found_again(tiny, recipe, tmp_path):
    again = lambda: compare([recipe], tiny.path, "xsub", ["knn", "retrieval"], [0, 1], out=tmp_path, device="cpu")
    found = again()
    before = written(tmp_path)
    results = {protocol: kept(tmp_path, protocol) for protocol in ("knn", "retrieval")}
    assert [len(of) for of in results.values()] == [2, 2]
    assert again() == found
    assert written(tmp_path) == before  # nothing was computed
    knn, retrieval = found
    assert [line.where.protocol for line in found] == ["knn", "retrieval"]
    assert knn.row.method == retrieval.row.method == "one"
    cells, values = retrieval.row.cells, [r.accuracy for r in results["retrieval"]]
    assert (cells["accuracy"].value, cells["accuracy"].spread) == pytest.approx((fmean(values), stdev(values)))
    mean = lambda get: pytest.approx(fmean(map(get, results["retrieval"])))
    assert cells["mean_average_precision"].value == mean(lambda r: r.measures["mean_average_precision"].value)
    assert cells["untrained_encoder"].value == mean(lambda r: r.baselines["untrained_encoder"].accuracy)
    compare([recipe], tiny.path, "xsub", ["knn"], [1], out=tmp_path, device="cpu", settings={"knn.neighbours": 3})
    after = written(tmp_path)
    new = [Path(name).name for name in after if name not in before]
    assert len(new) == 2  # a result and its scores: what another setting decides, and nothing else
    assert all(name.startswith("knn-tiny-xsub-") for name in new)
    assert {name: after[name] for name in before} == before


def test_what_a_killed_comparison_leaves_is_gone_on_with(tiny, recipe, tmp_path):
    again = lambda: compare([recipe], tiny.path, "xsub", ["knn", "retrieval"], [0, 1], out=tmp_path, device="cpu")
    found = again()
    first, second = sorted((tmp_path / "runs").iterdir())
    for path in first.glob("evaluations/retrieval*-scores.npz"):  # a result without its scores is none
        path.unlink()
    for path in second.glob("evaluations/*"):
        path.unlink()
    (second / "encoder.safetensors").unlink()  # stopped before its end, after its last checkpoint
    left = written(tmp_path)
    resumed = again()
    after = written(tmp_path)
    assert [comparable(line) for line in resumed] == [comparable(line) for line in found]
    same = {name for name in left if after[name] == left[name]}
    assert {n for n in left if n.startswith(first.name) and "retrieval" not in n} <= same  # not computed again
    assert len(kept(tmp_path, "knn")) == len(kept(tmp_path, "retrieval")) == 2


def comparable(line: Line) -> tuple:
    """A line without what it took."""
    return line.where, {n: cell for n, cell in line.row.cells.items() if not n.endswith(("seconds", "hours"))}


@pytest.mark.slow
def test_a_comparison_that_is_killed_resumes(tiny, recipe, tmp_path):
    command = [sys.executable, "-m", "kinemask", "compare", "--methods", recipe, "--data", str(tiny.path)]
    command += ["--split", "xsub", "--protocols", "knn", "linear", "--seed", "0", "1", "--device", "cpu"]
    command += ["--linear.epochs", "30", "--out", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None and not list(tmp_path.glob("runs/*/evaluations/knn*.json")):
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    left = written(tmp_path)
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "4 results, 0 of them" not in said.stdout
    assert len(kept(tmp_path, "knn")) == len(kept(tmp_path, "linear")) == 2
    after = written(tmp_path)
    done = [name for name in left if name.endswith(".json") or name.endswith("encoder.safetensors")]
    assert done
    assert all(after[name] == left[name] for name in done)


def test_its_results_are_those_of_evaluate(tiny, recipe, tmp_path):
    compare([recipe], tiny.path, "xsub", ["knn"], out=tmp_path, device="cpu", settings={"knn.neighbours": 3})
    (work,) = plan(asked(recipe, tiny))
    before = written(tmp_path)
    found = evaluate("knn", work.run(tmp_path).path, neighbours=3, device="cpu")
    assert list(found) == kept(tmp_path, "knn")
    assert written(tmp_path) == before


def test_protocols_that_train_keep_their_weights_by_key(tiny, recipe, tmp_path):
    settings = {"finetune.epochs": 1, "finetune.head.hidden": 8, "finetune.warmup_epochs": 0}
    given = [recipe], tiny.path, "xsub", ["finetune"]
    (line,) = compare(*given, protocol_seeds=[0, 1], out=tmp_path, device="cpu", settings=settings)
    cells = line.row.cells
    assert cells["results"] == "1 run × 2"
    assert cells["from_scratch"].value is not None
    assert cells["accuracy"].spread is not None  # over the protocol's seeds
    (run,) = (tmp_path / "runs").iterdir()
    folders = {Path(r.weights) for r in kept(tmp_path, "finetune")}
    assert len(folders) == 2
    assert all(folder.parent == run / "finetune" for folder in folders)


def test_what_fails_is_left_out_and_told(tiny, recipe, tmp_path):
    encoder = TINY["encoder"] | {"space": "poincare"}
    odd = recipe_file(tmp_path, "odd", "hacm", sampling={"frames": 27}, encoder=encoder)
    with pytest.raises(ValueError, match=r"1 of 2 runs failed.*odd-tiny-xsub-seed0.*even"):
        compare([odd, recipe], tiny.path, "xsub", ["knn"], out=tmp_path, device="cpu", baselines=False)
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert len(lines) == 3
    assert "| one |" in lines[2]


def test_a_disk_that_fails_one_combination_leaves_the_others(tiny, recipe, tmp_path):
    first, second = plan(asked(recipe, tiny, seeds=[0, 1], baselines=False))
    first.run(tmp_path).path.mkdir(parents=True)
    (first.run(tmp_path).path / "evaluations").touch()  # where a folder belongs
    with pytest.raises(ValueError, match=rf"1 of 2 runs failed.*{first.name}: \w+Error.*evaluations"):
        compare([recipe], tiny.path, "xsub", ["knn"], [0, 1], out=tmp_path, device="cpu", baselines=False)
    assert (tmp_path / "table.md").read_text().count("| one |") == 1
    assert len(Run(second.run(tmp_path).path).results()) == 1


@pytest.mark.slow
def test_jobs_on_a_cluster(tiny, recipe, tmp_path, capsys):
    pytest.importorskip("submitit")
    from kinemask.comparison.cluster import submit

    given = [recipe], tiny.path, "xsub", ["knn"]
    options = {"out": tmp_path, "device": "cpu", "baselines": False, "cluster": "local"}
    (line,) = compare(*given, **options)
    assert "1 are submitted" in capsys.readouterr().out
    assert line.row.method == "one"
    assert len(json.loads((tmp_path / "jobs" / "submitted.json").read_text())) == 1
    assert compare(*given, **options) == [line]
    assert "submitted" not in capsys.readouterr().out
    with pytest.raises(ValueError, match="unknown cluster 'moon'"):
        submit([], tmp_path, "moon", {})
    work = plan(asked(recipe, tiny))
    if shutil.which("srun") is None:
        with pytest.raises(ValueError, match=r"slurm: .*srun"):
            submit(work, tmp_path, "slurm", {})
    with pytest.raises(ValueError, match=r"slurm: .*nonsense"):
        submit(work, tmp_path, "local", {"nonsense": "3"})


def test_a_cluster_needs_submitit(tiny, recipe, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    monkeypatch.delitem(sys.modules, "kinemask.comparison.cluster", raising=False)
    with pytest.raises(ValueError, match=r"pip install 'kinemask\[cluster\]'"):
        compare([recipe], tiny.path, "xsub", ["knn"], out=tmp_path, cluster="slurm")


def test_on_the_command_line(tiny, recipe, tmp_path, capsys):
    two = recipe_file(tmp_path, "two", pretext={"tau": 0.3})
    command = ["compare", "--methods", recipe, two, "--data", str(tiny.path)]
    command += ["--split", "xsub", "--protocols", "knn", "--out", str(tmp_path / "out"), "--device", "cpu"]
    given = [*command, "--no-baselines", "--knn.neighbours", "3", "--training.epochs=1"]
    assert cli.main(given) == 0
    out = capsys.readouterr().out
    assert "2 results, 0 of them there already; 2 runs to do" in out
    assert (tmp_path / "out" / "table.md").read_text() in out
    assert cli.main(given) == 0
    assert "2 results, 2 of them there already; 0 runs to do" in capsys.readouterr().out
    runs = [str(run) for run in sorted((tmp_path / "out" / "runs").iterdir())]
    assert cli.main(["ensemble", *runs, "--weights", "2", "1", "--data", str(tiny.path), "--seed", "0"]) == 0
    out = capsys.readouterr().out
    assert "ensemble, tiny xsub" in out
    assert "weight 0.67" in out
    assert cli.main(["ensemble", *runs, "--data", "moon"]) == 2
    assert cli.main([*command, "--knn.neighbours"]) == 2
    assert "--knn.neighbours needs a value" in capsys.readouterr().err

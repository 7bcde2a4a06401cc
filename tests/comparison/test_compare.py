"""Comparisons: every combination once, what is there already is found, and what fails is left out."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import fmean, stdev
from xml.etree import ElementTree

import pytest

from helpers import recordings
from kinemask import cli, compare
from kinemask.comparison.plan import Asked, plan
from kinemask.comparison.table import Line
from kinemask.models.classifiers import load_classifier
from kinemask.models.encoders import load_encoder
from kinemask.protocols.ensemble import ensemble
from kinemask.protocols.evaluate import evaluate
from kinemask.runs.result import Result
from kinemask.runs.run import Run
from kinemask.store.writer import write_store
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


def test_an_interruption_between_evaluations_says_how_to_go_on(tiny, recipe, tmp_path, monkeypatch, capsys):
    words = ["compare", "--methods", recipe, "--data", str(tiny.path), "--split", "xsub", "--protocols", "knn"]
    words += ["retrieval", "--device", "cpu", "--out", str(tmp_path)]

    def interrupted(protocol, *given, **more):
        if protocol == "retrieval":
            raise KeyboardInterrupt
        return evaluate(protocol, *given, **more)

    with monkeypatch.context() as patched:
        patched.setattr("kinemask.comparison.compare.evaluate", interrupted)
        assert cli.main(words) == 3
    assert "what is done is kept, run the same command to resume" in capsys.readouterr().err
    assert len(kept(tmp_path, "knn")) == 1
    assert cli.main(words) == 0
    assert "2 results, 1 of them there already" in capsys.readouterr().out


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
    (line,) = compare(*given, protocol_seed=[0, 1], out=tmp_path, device="cpu", settings=settings)
    cells = line.row.cells
    assert cells["results"] == "1 run × 2"
    assert cells["from_scratch"].value is not None
    assert cells["accuracy"].spread is not None  # over the protocol's seeds
    (run,) = (tmp_path / "runs").iterdir()
    folders = {Path(r.weights) for r in kept(tmp_path, "finetune")}
    count = sum(p.numel() for p in load_classifier(min(folders)).classifier.parameters())
    assert count > sum(p.numel() for p in load_encoder(run).encoder.parameters())
    assert cells["parameters"] == f"{count / 1e3:.3g} k"
    assert len(folders) == 2
    assert all(folder.parent == run / "finetune" for folder in folders)


TWO = {"mask_ratio": 0.5, "tube_segments": 2}


def test_streams_with_teacher_and_student_have_a_line_each_and_one_together(tiny, tmp_path):
    both = recipe_file(tmp_path, "both", "skeleton2vec", pretext=TWO)
    given = {"stream": ["joint", "bone"], "encoder": ["teacher", "student"], "out": tmp_path / "out", "device": "cpu"}
    found = compare([both], tiny.path, "xsub", ["knn"], [0, 1], **given, baselines=False)
    rows = {line.row.method: line.row for line in found}
    inputs = ("joint", "bone", "joint + bone")
    assert set(rows) == {f"both, {of}, {role}" for of in inputs for role in ("teacher", "student")}
    assert {line.where.protocol for line in found} == {"knn"}
    fused = rows["both, joint + bone, student"].cells
    assert fused["results"] == "2 runs × 1"
    values = []
    for seed in (0, 1):
        runs = [run for run in (tmp_path / "out" / "runs").iterdir() if Run(run).config["seed"] == seed]
        hashes = [r.hash for run in runs for r in Run(run).results() if r.encoder == "encoder-student"]
        values.append(ensemble(runs, hashes=hashes, out=runs[0])[0].accuracy)
    assert (fused["accuracy"].value, fused["accuracy"].spread) == pytest.approx((fmean(values), stdev(values)))
    single = rows["both, joint, student"].cells
    assert float(fused["gflops"]) == pytest.approx(2 * float(single["gflops"]), rel=0.01)
    before = written(tmp_path / "out")
    assert compare([both], tiny.path, "xsub", ["knn"], [0, 1], **given, baselines=False) == found
    assert written(tmp_path / "out") == before


def test_a_sweep_draws_a_curve_with_error_bars(tiny, recipe, tmp_path):
    given = {"sweep": ["pretext.tau", "0.5", "2"], "out": tmp_path, "device": "cpu", "baselines": False}
    found = compare([recipe], tiny.path, "xsub", ["knn"], [0, 1, 2], **given)
    assert {line.row.method for line in found} == {"one, pretext.tau 0.5", "one, pretext.tau 2"}
    (curve,) = [path for path in found.files if path.suffix == ".svg"]
    assert curve.name == "tiny-xsub-knn-over-pretext.tau.svg"
    root = ElementTree.fromstring(curve.read_text())
    told = {title.text for title in root.iter("{http://www.w3.org/2000/svg}title")}
    assert told == {
        f"one, {row.method.split()[-1]}: {cell.value:.1f} ± {cell.spread:.1f} %"
        for row in (line.row for line in found)
        for cell in [row.cells["accuracy"]]
    }
    assert "<circle" in (tmp_path / "table.html").read_text()


def test_snapshots_of_both_encoders_are_two_curves(tiny, recipe, tmp_path):
    both = recipe_file(tmp_path, "both", "skeleton2vec", pretext=TWO)
    given = {"encoder": ["teacher", "student"], "snapshots": True, "device": "cpu", "baselines": False}
    settings = {"training.epochs": 2, "training.snapshot_every": 1}
    found = compare([both], tiny.path, "xsub", ["knn"], out=tmp_path / "out", settings=settings, **given)
    assert len(found) == 4
    (curve,) = [path for path in found.files if path.suffix == ".svg"]
    assert curve.name == "tiny-xsub-knn-over-epoch.svg"
    assert curve.read_text().count("<circle") == 4
    assert {"both, teacher", "both, student"} <= set(re.findall(r">([^<>]+)</text>", curve.read_text()))


def test_a_method_with_one_encoder_has_no_line_of_a_student(tiny, recipe, tmp_path):
    given = {"encoder": ["encoder", "teacher", "student"], "out": tmp_path, "device": "cpu", "baselines": False}
    assert [line.row.method for line in compare([recipe], tiny.path, "xsub", ["knn"], **given)] == ["one"]


def test_transfer_is_from_each_source_to_each_target(tiny, recipe, tmp_path):
    about = {"classes": tiny.classes, "meta": {"dataset": "other"}}
    write_store(tmp_path / "other", recordings(tiny.layout), tiny.layout, **about)
    settings = {"finetune.epochs": 1, "finetune.head.hidden": 8, "finetune.warmup_epochs": 0}
    target = {"target": [tmp_path / "other", tiny.path], "target_split": "xsub"}
    given = {"settings": settings, "out": tmp_path / "out", "device": "cpu", "baselines": False}
    found = compare([recipe], tiny.path, "xsub", ["finetune"], **target, **given)
    assert [tuple(line.where) for line in found] == [
        ("other", "xsub", "transfer", "tiny"),
        ("tiny", "xsub", "finetune", ""),
    ]
    assert len(list((tmp_path / "out" / "runs").iterdir())) == 1
    assert found[0].where.title == "other · xsub · transfer · from tiny"


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

"""The pages: their links, every command on them and in the README, their costs, and the code that people are to run."""

from __future__ import annotations

import csv
import json
import pkgutil
import re
import runpy
import shlex
import shutil
import sys
import tomllib
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import kinemask
from kinemask import api, cli  # noqa: F401 (api takes hold of functions that a test replaces)
from kinemask.arguments import read_settings
from kinemask.comparison import ablation, compare  # noqa: F401 (as api)
from kinemask.comparison.papers import paper_tables
from kinemask.models.classifiers import build_classifier
from kinemask.pretext import NAMES, method, register
from kinemask.readers import readers
from kinemask.skeleton import layout
from kinemask.training.settings import FinetuneSettings, Settings

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NEW_METHOD = (DOCS / "new-method.md").read_text()


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def commands(text: str) -> list[list[str]]:
    """The kinemask commands of a page's code blocks, those over several lines joined."""
    blocks = [code.replace("\\\n", "") for language, code in FENCED.findall(text) if language != "python"]
    lines = [line for code in blocks for line in code.splitlines() if line.startswith("kinemask ")]
    return [shlex.split(line, comments=True) for line in lines]


def sections() -> dict[str, list[list[str]]]:
    """The commands of each second-level section that has any, by page and title."""
    parts = {page: re.split(r"^## ", page.read_text(), flags=re.MULTILINE) for page in PAGES}
    named = {
        f"{name_of(page)}, {text.splitlines()[0]}": text for page, texts in parts.items() for text in texts if text
    }
    return {name: found for name, text in named.items() if (found := commands(text))}


def prose(page: Path) -> str:
    return re.sub(r"`[^`\n]*`", "", FENCED.sub("", page.read_text()))


# links


def anchors(page: Path) -> set[str]:
    """What links to a page's headings may name."""
    headings = re.findall(r"^#+ +(.+)$", FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", h.replace("`", "")).strip().lower()) for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.is_file(), target
        assert DOCS in there.parents or page.name == "README.md", f"{target} is not on the site"
        assert not anchor or anchor in anchors(there), target


def test_every_page_is_in_the_navigation():
    listed = re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text())
    assert sorted(listed) == [p.relative_to(DOCS).as_posix() for p in PAGES[1:]]


REFERENCE = re.findall(r"^::: (\S+)$", (DOCS / "reference" / "python.md").read_text(), re.MULTILINE)


def test_every_public_name_is_in_the_reference():
    assert {name.rpartition(".")[2] for name in REFERENCE} >= set(kinemask.__all__) - {"__version__"}


@pytest.mark.parametrize("name", REFERENCE)
def test_the_reference_names_what_is_there_and_says_something(name):
    assert (pkgutil.resolve_name(name).__doc__ or "").strip()


def test_the_oldest_versions_claimed_are_those_tested():
    claimed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    tested = dict(line.split("==") for line in (ROOT / ".ci" / "oldest.txt").read_text().splitlines()[1:])
    bounds = [re.match(r"([\w-]+)>=([\d.]+)", line) for line in claimed]
    assert {b[1] for b in bounds if b} == set(tested)
    assert all(tested[b[1]].startswith(b[2]) for b in bounds if b)


# commands


class Reached(Exception):
    """A command got past its parser: what it would have run, and with what."""


def shape_of(recipe: str, data: str) -> str:
    """The layout of a store that a page's command names."""
    dataset = Path(data).name
    if recipe.startswith("skeletonmae") or dataset.endswith("-2d") or dataset in ("finegym", "diving48"):
        return "coco17"
    known = readers()
    return (known[dataset].layout if dataset in known else None) or "ntu25"


def build(recipe: str, settings: Any) -> None:
    """Encoder and task of these settings: what cannot be told from one setting alone is told here."""
    with torch.device("meta"):
        chosen, of = method(settings.method), layout(shape_of(recipe, settings.data[0]))
        encoder = chosen.build_encoder(of, settings.sampling.frames, settings.encoder)
        chosen.build(encoder, settings.decoder, settings.pretext)


@pytest.fixture
def dry(monkeypatch):
    """Commands read their arguments in full, and stop before they work. Runs and stores need not be there."""

    def stop(name):
        def reached(*args, **options):
            raise Reached(name, args, options)

        return reached

    def store(path):
        name = Path(path).name
        about = {"name": name.removesuffix("-2d"), "identity": {}, "layout": layout(shape_of("", str(path)))}
        return SimpleNamespace(path=Path(path), split=lambda name: None, **about)

    def run_all(work, *_):
        raise Reached("compare", work, {})

    for place, name in (
        ("kinemask.demo.run_demo", "demo"),
        ("kinemask.preparation.info.info", "info"),
        ("kinemask.training.pretraining.pretrain", "pretrain"),
        ("kinemask.protocols.evaluate.evaluate", "evaluate"),
        ("kinemask.protocols.ensemble.ensemble", "ensemble"),
        ("kinemask.reports.report", "report"),
        ("kinemask.recognition.train.train", "train"),
        ("kinemask.preparation.prepare.prepare", "prepare"),  # after `train`, which imports it
        ("kinemask.recognition.predict.predict", "predict"),
        ("kinemask.recognition.live.LiveWindow", "live"),
        ("kinemask.recognition.recogniser.Recogniser.load", "live"),
        ("kinemask.recognition.embed.embed", "embed"),
        ("kinemask.viewing.view", "view"),
        ("kinemask.recognition.export.export", "export"),
        ("kinemask.training.released.import_released", "import"),
    ):
        monkeypatch.setattr(place, stop(name))
    monkeypatch.setattr("kinemask.comparison.compare.run_all", run_all)
    monkeypatch.setattr("kinemask.comparison.ablation.run_all", run_all)
    monkeypatch.setattr("kinemask.comparison.plan.open_store", store)


SECTIONS = sections()


@pytest.mark.filterwarnings("error:.*has no effect")
@pytest.mark.filterwarnings("ignore:ψ and φ")
@pytest.mark.parametrize(
    "section",
    [pytest.param(name, marks=[pytest.mark.slow] * (len(SECTIONS[name]) > 8)) for name in SECTIONS],
)
def test_every_command_parses(section, dry):
    for command in SECTIONS[section]:
        name, *rest = command[1:]
        if name in ("recipes", "datasets", "layouts", "completion"):
            assert cli.main(command[1:]) == 0
            continue
        with pytest.raises(Reached) as reached:
            assert not cli.main(command[1:]), shlex.join(command)
        kind, found, _ = reached.value.args
        assert kind == name, command
        if kind == "pretrain":
            build(rest[rest.index("--recipe") + 1], found[0])
        for work in found if kind == "compare" else ():
            build(work.recipe, work.settings)


# ablations


def test_the_tables_of_the_ablations_are_those_of_the_package():
    text = (DOCS / "ablations.md").read_text()
    made = runpy.run_path(str(DOCS / "ablations.py"))
    assert made["written"](text, made["measured"]()) == text, "run docs/ablations.py"
    assert sorted(name for _, name, _ in made["BLOCK"].findall(text)) == paper_tables()


def test_what_compare_measured_is_kept_for_the_page(tmp_path, monkeypatch, capsys):
    made = runpy.run_path(str(DOCS / "ablations.py"))
    keep, measured = made["keep"], made["measured"]
    monkeypatch.setitem(keep.__globals__, "HERE", tmp_path / "ablations.csv")
    lines = "data,split,method,accuracy,accuracy_std,mean_class_accuracy,mean_class_accuracy_std,common\n"
    table = tmp_path / "skeletonmae-5a-penn-action-12345678.csv"
    for value in (89, 90):  # a later number takes the place of an earlier one
        common = f"All rows: a recipe of {value}."
        table.write_text(f"{lines}penn-action,official,M 1,80,,{value},1.5,{common}\npenn-action,official,M 2,,,,,\n")
        keep(table)
    assert "in place of 89.0 ± 1.5, All rows: a recipe of 89." in capsys.readouterr().out
    (rows,) = measured().values()
    assert {label: made["shown"](line) for label, line in rows.items()} == {"M 1": "90.0 ± 1.5"}
    block = made["block"]("skeletonmae-5a", measured())
    assert "| here, penn-action official |" in block
    assert "*Here, penn-action official.* All rows: a recipe of 90." in block


# costs


@pytest.fixture(scope="module")
def costs():
    spec = spec_from_file_location("costs", DOCS / "costs.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    sys.modules["costs"] = module  # where dataclasses look it up
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_costs_are_as_counted(name, costs):
    row = f"| {' | '.join(costs.cost(name).cells())} |"
    for page in (DOCS / "methods" / "index.md", DOCS / "methods" / f"{name}.md"):
        assert row in page.read_text(), f"run docs/costs.py: {page.name} should have {row}"


def test_the_cost_of_the_ssl_classifier():
    chosen, of = method("skeletonmae"), layout("coco17")
    settings = Settings.from_recipe("skeletonmae-ntu2d", {"data": "-", "split": "-"})
    encoder = chosen.build_encoder(of, settings.sampling.frames, settings.encoder)
    classifier = build_classifier(encoder, 60, read_settings(FinetuneSettings, settings.finetune).head).eval()
    with FlopCounterMode(display=False) as counter:
        classifier(torch.zeros(1, settings.sampling.frames, 17, 2), torch.zeros(1, dtype=torch.long), 1)
    page = (DOCS / "methods" / "skeletonmae.md").read_text()
    assert f"{sum(p.numel() for p in classifier.parameters()):,} parameters" in page
    assert f"{counter.get_total_flops() / 1e9:.2f} GFLOP for" in page


# what the pages have people run


def of_language(text: str, language: str) -> list[str]:
    return [code for found, code in FENCED.findall(text) if found == language]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_on_the_pages_is_python(page):
    for code in of_language(page.read_text(), "python"):
        compile(code, name_of(page), "exec")


def test_the_new_method(tiny, tmp_path, monkeypatch, capsys):
    """The two files of the page, exactly, through the commands of the page; with a small store and network."""
    (code, *_), (recipe, *_) = of_language(NEW_METHOD, "python"), of_language(NEW_METHOD, "yaml")
    assert len((code + recipe).splitlines()) < 60
    (tmp_path / "forecast.py").write_text(code)
    (tmp_path / "forecast.yaml").write_text(recipe)
    monkeypatch.chdir(tmp_path)
    given = [shlex.split(line) for line in NEW_METHOD.splitlines() if line.startswith("python forecast.py")]
    assert [line[2] for line in given] == ["pretrain", "evaluate", "compare"]
    for line in given:
        line = [{"stores/nw-ucla": str(tiny.path), "xview": "xsub"}.get(word, word) for word in line[1:]]
        more = {"pretrain": NETWORK, "evaluate": ["--epochs", "2"], "compare": [*NETWORK, "--linear.epochs", "2"]}
        monkeypatch.setattr(sys, "argv", [*line, *more[line[1]]])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path("forecast.py", run_name="__main__")
        assert ended.value.code == 0, capsys.readouterr().err
    shown = capsys.readouterr().out
    assert "| forecast |" in shown
    logged = [json.loads(line) for line in Path("runs/forecast/metrics.jsonl").read_text().splitlines()]
    assert logged[-1]["loss"] < logged[0]["loss"]


def test_a_registered_method_is_told_from_the_packages_own():
    with pytest.raises(ValueError, match="one of kinemask's own"):
        register(method("mamp"))


NETWORK = [
    part
    for name, value in {
        "sampling.frames": 12,
        "sampling.min_crop_frames": 8,
        "encoder.layers": 1,
        "encoder.width": 16,
        "encoder.heads": 2,
        "decoder.layers": 1,
        "decoder.width": 16,
        "decoder.heads": 2,
        "training.epochs": 4,
        "training.warmup_epochs": 0,
        "training.batch_size": 8,
        "training.log_every": 1,
    }.items()
    for part in (f"--{name}", str(value))
]


def record(folder: Path) -> None:
    """Twenty recordings as the page describes them: 2D, two actions of five people, the last one for testing."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    lines = ["clip,label,subject,split"]
    for i in range(20):
        label, person = ("squat", "lunge")[i % 2], ("anna", "ben", "carl", "dora", "emil")[i // 4]
        t = np.linspace(0, 6, 40 + i)[:, None, None]
        sway = np.sin(t + rng.uniform(0, 6)) * np.where(i % 2, [30, 0], [0, 30])
        joints = 300 + rng.normal(0, 60, (1, 17, 2)) + sway + rng.normal(0, 2, (len(t), 17, 2))
        joints[rng.random(joints.shape[:2]) < 0.05] = np.nan
        np.save(folder / f"take{i + 1:02d}.npy", joints)
        lines.append(f"take{i + 1:02d},{label},{person},{'test' if person == 'emil' else 'train'}")
    (folder / "clips.csv").write_text("\n".join(lines) + "\n")


def test_own_data_from_a_folder_to_labels(tmp_path, monkeypatch, capsys):
    """Every command and Python example of the page, in order; of pre-training a few steps."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("kinemask.recognition.pretraining.STEPS", 3)
    record(tmp_path / "my-recordings")
    (tmp_path / "new-recordings").mkdir()
    for take in (1, 2):
        shutil.copy(tmp_path / "my-recordings" / f"take{take:02d}.npy", tmp_path / "new-recordings")
    page = (DOCS / "own-data.md").read_text()
    for _, *rest in commands(page):
        assert cli.main([*rest, *(["--kernels", "200"] if rest[0] == "train" else [])]) == 0, capsys.readouterr().err
    with Path("labels.csv").open() as table:
        assert [row["label"] for row in csv.DictReader(table)] == ["squat", "lunge"]
    assert len(Path("segments.jsonl").read_text().splitlines()) >= 2
    assert re.search(r"(1[5-9]|20) of 20 clips right", Path("my-recogniser/report.html").read_text())
    space: dict[str, Any] = {}
    for code in of_language(page, "python"):
        exec(code, space)
    assert space["again"].classes_.tolist() == ["lunge", "squat"]


@pytest.mark.slow
def test_own_data_with_pre_training(tmp_path, monkeypatch, capsys):
    """Every command and the last Python example of the page, in order."""
    monkeypatch.chdir(tmp_path)
    record(tmp_path / "my-recordings")
    page = DOCS / "own-pretraining.md"
    quick = ["--epochs", "2", "--warmup-epochs", "0", "--head.hidden", "8"]
    semi = [*quick, "--seed", "0", "1"]
    done, per_class = [], []
    for _, name, *rest in commands(page.read_text()):
        more = {"pretrain": NETWORK, "evaluate": semi if rest[0] == "semi" else quick}.get(name, [])
        capsys.readouterr()
        status = cli.main([name, *rest, *more])
        out, err = capsys.readouterr()
        assert status == 0, err
        assert ("8 labelled training clips; all are taken" in err) == ("20" in rest)
        if rest[0] == "semi":
            found = [json.loads(Path(p).read_text()) for p in out.split() if p.endswith(".json")]
            per_class += [sorted({len(r["labels"]) / 2 for r in found})]
            assert all(r["baselines"].keys() >= {"from_scratch", "random_convolutions_ridge"} for r in found)
        done.append(name)
    assert done == ["prepare", "info", "pretrain", "pretrain", *["evaluate"] * 3, "report", "evaluate", "train"]
    assert per_class == [[1], [5], [8]]
    assert Path("runs/mine/report.html").is_file()
    space: dict[str, Any] = {}
    exec(of_language(page.read_text(), "python")[-1], space)
    assert space["scores"].shape == (20, 2)


# encoders with a readout, and random convolutions beside


def test_the_tables_of_encoders_are_those_that_were_measured():
    text = (DOCS / "results.md").read_text()
    made = runpy.run_path(str(DOCS / "beside.py"))
    kept = made["measured"]()
    assert made["written"](text, kept) == text, "run docs/beside.py"
    assert {name for _, name, _ in made["BLOCK"].findall(text)} == {"mosaic", *(r["data"] for r in kept)}


def test_the_table_of_how_mosaic_grows_is_what_was_measured():
    made = runpy.run_path(str(DOCS / "scaling.py"))
    text = made["PAGE"].read_text()
    assert made["BLOCK"].search(text)
    assert made["written"](text, json.loads(made["MEASURED"].read_text())["points"]) == text, "run docs/scaling.py"

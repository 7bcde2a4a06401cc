"""The report: every section, whatever a run lacks; nothing from data reaches the page raw, and no address leaves it."""

from __future__ import annotations

import base64
import json
import re
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from types import UnionType
from typing import get_args, get_origin, get_type_hints

import numpy as np
import pytest
import torch
import yaml

from helpers import make_settings, recordings
from kinemask.cli import parsers
from kinemask.pretext import NAMES
from kinemask.pretext.base import Pretext
from kinemask.pretext.mamp import MAMP
from kinemask.protocols.evaluate import evaluate
from kinemask.recipes import load_recipe, recipes
from kinemask.reports import charts, figures, report, reproduce, tables
from kinemask.reports.comparison import Cell, Group, Row, comparison_page
from kinemask.reports.pages import Note, Table, render
from kinemask.reports.published import Place, place, published
from kinemask.reports.runs import Evaluation, read_runs
from kinemask.runs.measures import BASELINES, MEASURES, Measured
from kinemask.runs.result import Result, Results, Scored, read_result, read_results, result_path, scores_path
from kinemask.runs.run import Run, differences
from kinemask.skeleton import layout
from kinemask.store.format import Clip
from kinemask.store.writer import write_store
from kinemask.training.pretraining import pretrain
from kinemask.training.settings import Settings
from kinemask.windows.streams import difference

HOSTILE = ("<script>alert(1)</script>", "\"x' onload=alert(2) &amp;", "</script><img src=http://evil.example/x>")
SECTIONS = ("results", "beside-published-numbers", "training", "classes", "feature-space", "masks-and-predictions")
SECTIONS = (*SECTIONS, "settings", "reproduce")
VOID = {"meta", "input"}


class Structure(HTMLParser):
    """Reads a page as a browser does: checks that elements nest, and keeps what matters."""

    def __init__(self, page: str):
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.handlers: list[str] = []
        self.addresses: list[str] = []
        self.scripts = 0
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        found = {k: v or "" for k, v in attrs}
        self.scripts += tag == "script"
        self.ids += [found["id"]] if "id" in found else []
        self.handlers += [k for k in found if k.startswith("on")]
        self.addresses += [v for k, v in found.items() if k in ("src", "href", "action", "data") and v[:1] != "#"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store whose class and clip names are written to break a page."""
    of = layout("sbu15")
    clips = [Clip(f"<i>{c.name}", c.data, c.label, c.fields) for c in recordings(of)]
    path = tmp_path_factory.mktemp("hostile") / "store"
    return write_store(path, clips, of, HOSTILE, meta={"dataset": "<b>data", "units": "metres"})


@pytest.fixture(scope="module")
def make(store, tmp_path_factory):
    """Runs with evaluations, made once per method and seed."""
    made: dict[tuple, Path] = {}

    def make(name: str, seed: int = 3, **changes: str) -> Path:
        known = name, seed, *changes.values()
        if known not in made:
            folder = tmp_path_factory.mktemp("runs") / f"{name}{seed}"
            pretrain(make_settings(store, name, seed=seed, training_epochs=2, **changes), folder, quiet=True)
            evaluate("linear", folder, store.path, "xsub", seed=[0, 1], epochs=2, views=1)
            evaluate("knn", folder, store.path, "xcam", baselines=False)
            made[known] = folder
        return made[known]

    return make


def scene_of(page: str, number: int = 0) -> dict:
    return json.loads(re.findall(rf'id="scene{number}">(.*?)</script>', page, re.S)[0])


def unpack(text: str, unit: float) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<i2") * unit


def check_alone(page: str, *paths: Path) -> Structure:
    """The page is well formed, needs nothing from elsewhere and names no folder of this machine."""
    found = Structure(page)
    assert not found.addresses
    assert not found.handlers
    assert not re.search(r"@import|url\(|\bfetch\(|XMLHttpRequest|import\(", page)
    for path in paths:
        assert str(path) not in page
    assert len(page) < 5_000_000
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_page_has_every_section_and_escapes_what_data_says(make, store, name):
    run = make(name)
    out = report(run)
    assert out == run / "report.html"
    page = out.read_text()
    found = check_alone(page, run.parent, store.path.parent)
    assert [i for i in found.ids if i in SECTIONS] == list(SECTIONS)
    assert found.scripts == 2  # the page's own, and one scene
    outside = page.replace(re.findall(r'id="scene0">(.*?)</script>', page, re.S)[0], "")
    for text in HOSTILE:
        assert text not in outside
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;b&gt;data" in page
    assert "selection on the test set" in page
    assert re.search(r"\d ± \d", page)  # two seeds
    assert "No published numbers" in page
    views = 2 if scene_of(page)["kind"] != "features" else 1  # features cannot be drawn
    assert page.count("<canvas") == views * 3  # three classes
    again = report(run).read_text()
    assert again == page


@pytest.mark.parametrize(
    "name, kind, changes",
    [
        ("mamp", "motion", {}),
        ("mae", "coordinates", {}),
        ("hacm", "motion", {}),
        ("masksem", "motion", {}),
        ("masksem", "acceleration", {"pretext_predict": "acceleration"}),
    ],
)
def test_players_show_the_clip_and_what_is_true_of_it(make, store, name, kind, changes):
    run = make(name, **changes)
    page = report(run).read_text()
    scene = scene_of(page)
    assert "predicts features" not in page
    assert ("acceleration of masked joints" in page) == (kind == "acceleration")
    assert scene["kind"] == kind
    assert (scene["deviation"] > 1e-6) == (name == "hacm")  # its target is a mapping of the motion
    T, S, V, C = scene["T"], scene["S"], scene["joints"], scene["dims"]
    encoder = layout("sbu15").kept(Run(run).config["encoder"]["joints"])
    for clip in scene["clips"]:
        i = store.names.index(clip["name"])
        assert clip["label"] == store.classes[store.labels[i]]
        assert len(clip["bodies"]) == store.bodies[i]
        assert 0 <= clip["masked"] <= 1
        for body in clip["bodies"]:
            x = unpack(body["positions"], clip["unit"]).reshape(T, V, C)
            state = np.array([*body["state"]]).reshape(T // S, V)
            assert set(np.unique(state[:, encoder])) == {"0", "1"}
            assert (np.delete(state, encoder, axis=1) == "2").all()
            true = unpack(body["true"], clip["arrow"]).reshape(T, V, C)
            masked = np.repeat(state == "0", S, axis=0)
            assert not true[~masked].any()
            assert not unpack(body["predicted"], clip["arrow"]).reshape(T, V, C)[~masked].any()
            if kind == "motion":
                moved = difference(torch.tensor(x[None]))[0].numpy()
                np.testing.assert_allclose(true[masked], moved[masked], atol=0.05 * np.abs(moved).max() + 1e-3)


@pytest.mark.parametrize("what", ["features", "no tokens"])
def test_a_task_without_drawable_predictions_still_shows_its_clips(make, monkeypatch, tmp_path, what):
    if what == "features":
        target = MAMP.target
        monkeypatch.setattr(MAMP, "target", lambda task, batch: target(task, batch)._replace(kind="features"))
    else:
        monkeypatch.setattr(figures, "load_task", lambda *_: Pretext())
    page = report(make("mamp"), tmp_path / "page.html").read_text()
    check_alone(page)
    scene = scene_of(page)
    body = scene["clips"][0]["bodies"][0]
    assert "true" not in body
    assert ("state" in body) == (what == "features")
    assert page.count("<canvas") == 3
    assert ("predicts features" in page) == (what == "features")


@pytest.mark.parametrize("name", ["mamp", "mae"])
def test_two_dimensions(tmp_path, name):
    of = layout("coco17")
    rng = np.random.default_rng(0)
    sides = ({"split:xsub": "train"}, {"split:xsub": "test"})
    clips = [Clip(f"c{i}", rng.normal(size=(1, 30, 17, 2)).cumsum(1) / 9, None, sides[i % 2]) for i in range(24)]
    flat = write_store(tmp_path / "flat", clips, of, ())
    run = pretrain(make_settings(flat, name, training_epochs=1), tmp_path / "run", quiet=True)
    page = report(run).read_text()
    check_alone(page, tmp_path)
    assert scene_of(page)["dims"] == 2
    assert len(scene_of(page)["clips"]) == 4  # unlabelled clips are shown too
    assert "Drag to turn" not in page
    assert "labelled test clips" in page  # why there is no t-SNE


def test_a_run_may_lack_anything_but_its_settings(make, tmp_path):
    run = tmp_path / "bare"
    run.mkdir()
    config = Run(make("mamp")).config | {"data": str(tmp_path / "away" / "gone")}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    page = report(run, tmp_path / "pages" / "page.html").read_text()
    check_alone(page, tmp_path)
    for said in ("no evaluations yet", "No training curve", "t-SNE skipped: ", "No skeletons: ", "gone"):
        assert said in page
    with pytest.raises(ValueError, match=r"no config\.yaml"):
        report(tmp_path)
    with pytest.raises(ValueError, match="at least one run"):
        report([])
    with pytest.raises(ValueError, match="not a store"):
        report(run, data=tmp_path)


def test_a_moved_store_can_be_given(make, store, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(make("mamp"), run)
    config = Run(run).config | {"data": str(tmp_path / "gone")}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    whole = (run / "last.pt").read_bytes()
    (run / "last.pt").write_bytes(whole[: len(whole) // 2])
    (run / "previous.pt").unlink(missing_ok=True)
    page = report(run, data=store.path).read_text()
    assert (run / "last.pt").exists()  # looking at a run changes nothing of it
    check_alone(page, tmp_path, store.path.parent)
    assert "t-SNE skipped" not in page
    assert "no readable checkpoint" in page


def test_an_evaluation_of_a_former_encoder_is_marked(make, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(make("mamp"), run)
    assert "earlier encoder" not in report(run).read_text()
    (run / "encoder.safetensors").unlink()
    assert "earlier encoder" in report(run).read_text()


def test_several_runs_share_a_page(make, tmp_path):
    runs = [make("mamp", 3), make("mamp", 4), make("hacm")]
    twin = tmp_path / "mamp3"
    shutil.copytree(runs[0], twin)
    page = report([*runs, twin]).read_text()
    found = check_alone(page, runs[0].parent, tmp_path)
    assert {f"scene{i}" for i in range(4)} <= set(found.ids)
    assert "mamp3 (2)" in page
    assert "1 more run below" in page
    assert "3 pre-training seeds" in page  # the twin counts as what it is named
    assert re.search(r'<tr class="own"><td class="word">method</td>', page)  # a setting in which they differ


def filed(run: Path, keep: str, **changes) -> list[Result]:
    """Rewrites a run's results of a protocol, each under the name of what it then is."""
    out = []
    for result in read_results(run):
        arrays = result.scores_path.read_bytes()
        if result.protocol == keep:
            for path in (Path(result.path), result.scores_path):
                path.unlink()
            result = replace(result, **changes)
            path = result_path(run, result)
            path.write_text(json.dumps({k: v for k, v in asdict(result).items() if k != "path"}))
            scores_path(path).write_bytes(arrays)
            out.append(read_result(path))
    return out


def test_published_numbers_stand_beside_their_like(make, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(make("mamp"), run)
    measures = {"accuracy": Measured(value=89.2), "mean_class_accuracy": Measured(value=90.0)}
    filed(run, "linear", data="ntu60", split="xview", measures=measures)
    page = report(run).read_text()
    table = re.findall(r"<h3>ntu60 · xview · linear</h3>(.*?)</table>", page, re.S)[0]
    values = [float(v) for v in re.findall(r'<td class="number">([\d.]+)', table)]
    assert values == sorted(values, reverse=True)
    assert len(values) > 20
    assert re.search(r'<tr class="own">.*?89\.2 ± 0\.0', table)
    (source,) = read_results(run)[0].trained.sources
    trained = replace(read_results(run)[0].trained, sources=[replace(source, dataset="finegym")])
    measures = {"accuracy": Measured(value=99.0), "mean_class_accuracy": Measured(value=90.0)}
    where = {"data": "finegym", "split": "official", "protocol": "finetune"}
    filed(run, "linear", **where, measures=measures, trained=trained)
    table = re.findall(r"<h3>finegym · official · finetune</h3>(.*?)</table>", report(run).read_text(), re.S)[0]
    assert "mean over classes" in table
    assert re.search(r'<tr class="own">.*?90\.0 ± 0\.0.*?top-1 99\.0', table)
    assert table.index("91.8") < table.index("90.0")


def test_a_place_among_published_numbers(make):
    own = replace(next(r for r in read_results(make("mamp")) if r.protocol == "linear"), data="ntu60", split="xview")
    tuned, few = replace(own, protocol="finetune"), {"fraction": 0.05, "per_class": 0}
    assert place(own) == ("ntu60", "xview", "linear")
    assert place(replace(own, split="xview-val")) is None
    assert place(replace(own, data="sbu", split="fold3")) == ("sbu", "5-fold", "linear")
    assert place(tuned) == ("ntu60", "xview", "transfer")
    assert place(replace(tuned, data="<b>data")) == ("<b>data", "xview", "finetune")
    assert place(replace(tuned, encoder_sha256=None)) == ("ntu60", "xview", "supervised")
    assert place(replace(own, protocol="semi", settings=few)) == ("ntu60", "xview", "semi-5")
    assert place(replace(own, protocol="semi", settings=few | {"per_class": 3})) == ("ntu60", "xview", "semi")
    fused = {"protocol": "semi", "evaluation": few, "runs": ["a", "b"], "weights": [1.0, 1.0]}
    assert place(replace(own, protocol="ensemble", settings=fused)) == ("ntu60", "xview", "semi-5")
    mamp = [p for p in published(Place("ntu60", "xsub", "linear")) if p.method == "MAMP" and p.stream == "joint"]
    assert [p.value for p in mamp] == [84.9]  # printed by three tables, shown once
    assert {p.value for p in published(Place("nw-ucla", "xview", "linear"))} >= {92.9, 74.3}


def test_every_measure_and_every_baseline_is_shown(make, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(make("mamp"), run)
    names = [*MEASURES, "a <new> measure"]
    measures = {
        name: Measured(value=50 + i, unseen=60.5 + i, interval=(10.25 + i, 90.25 + i)) for i, name in enumerate(names)
    }
    baselines = {
        name: Scored(measures={n: Measured(value=20 + 10 * i + j / 10, unseen=3.3 + i) for j, n in enumerate(names)})
        for i, name in enumerate([*BASELINES, "a <new> baseline"])
    }
    filed(run, "linear", measures=measures, baselines=baselines)
    page = report(run).read_text()
    check_alone(page)
    text = " ".join(re.sub(r"<[^>]*>", " ", page.partition("<section")[2].partition("</section>")[0]).split())
    titles = [*MEASURES.values(), "a &lt;new&gt; measure", *BASELINES.values(), "a &lt;new&gt; baseline"]
    assert [title for title in titles if title not in text] == []
    for scored in (measures, *(b.measures for b in baselines.values())):
        for measured in scored.values():
            assert f"{measured.value:.1f}" in text
            assert f"{measured.unseen:.1f}" in text


@pytest.mark.parametrize(
    "own, others, told",
    [
        (80.0, {"untrained_encoder": 70.0, "raw_coordinates_knn": 75.0}, "raw coordinates, 1-NN (75.0 %)."),
        (60.0, {"untrained_encoder": 70.0, "new": 65.0}, "untrained encoder (70.0 %), which is ahead of this encoder."),
        (70.0, {"untrained_encoder": 70.0}, "untrained encoder (70.0 %), which is level with this encoder."),
    ],
)
def test_the_headline_names_the_strongest_baseline(make, tmp_path, own, others, told):
    run = tmp_path / "run"
    shutil.copytree(make("mamp"), run)
    seen = lambda unseen: {"accuracy": Measured(value=50.0, unseen=unseen)}  # the unseen clips decide
    beside = {name: Scored(measures=seen(value)) for name, value in others.items()}
    filed(run, "linear", measures=seen(own), baselines=beside)
    line = re.findall(r'<p class="headline">(.*?)</p>', report(run).read_text(), re.S)[0]
    words = " ".join(re.sub(r"<[^>]*>", "", line).split())
    assert f"Strongest baseline on those: {told}" in words
    assert ("Others: " in words) == (len(others) > 1)


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


def test_confusion_has_only_classes_that_occur():
    drawn = charts.confusion(np.array([7, 7, 3]), np.array([7, 3, 3]), [f"class-{i}" for i in range(10)])
    assert [tick.label for tick in drawn.names] == ["class-3 4", "class-7 8"]
    assert len(drawn.counts) == 3
    assert "class-7: 1 of 2 taken for class-3" in [count.about for count in drawn.counts]


HOSTILE_TEXT = "<script>alert(1)</script>\"' onload='x"


def hostile(kind: type) -> object:
    """A view whose every text is hostile."""
    made = {}
    for name, annotation in get_type_hints(kind).items():
        made[name] = hostile_value(annotation)
    return kind(**made)


def hostile_value(annotation):
    origin, arguments = get_origin(annotation), get_args(annotation)
    if is_dataclass(annotation):
        return hostile(annotation)
    if origin in (list, Sequence):
        return [hostile_value(arguments[0])]
    if origin is tuple:
        return tuple(map(hostile_value, arguments))
    if origin is dict:
        return {HOSTILE_TEXT: hostile_value(arguments[1])}
    if origin is UnionType:
        return hostile_value(arguments[0])
    return {str: HOSTILE_TEXT, int: 0, float: 0.5, bool: True}.get(annotation, HOSTILE_TEXT)


def test_every_template_escapes_every_text():
    table = Table([HOSTILE_TEXT], [[HOSTILE_TEXT], ["x" * 30 + HOSTILE_TEXT]], numbers=[0], own=[0])
    kinds = {"training": [hostile(charts.Line)], "classes_of": hostile(figures.Classes)}
    kinds |= {"robustness": [hostile(figures.Robustness)], "embeddings": hostile(figures.Embedding)}
    kinds |= {"scenes": hostile(figures.Scene)}
    each = {key: {HOSTILE_TEXT: view, "two": Note(HOSTILE_TEXT)} for key, view in kinds.items()}
    places = tables.PublishedView([tables.Beside(HOSTILE_TEXT, table, True)], [HOSTILE_TEXT], [HOSTILE_TEXT])
    page = render(
        "page.html",
        names=[HOSTILE_TEXT, "two"],
        headlines=[hostile(tables.Headline)],
        results=hostile(tables.ResultsView),
        published=places,
        settings=table,
        reproduce=hostile(tables.Reproduce),
        **each,
    )
    cell = {"accuracy": Cell(80.0, 1.0), HOSTILE_TEXT: HOSTILE_TEXT}
    rows = [Row(method=HOSTILE_TEXT, cells=cell), Row(method="b", cells=cell, published=True, source=HOSTILE_TEXT)]
    beside = comparison_page({"accuracy": "accuracy", HOSTILE_TEXT: HOSTILE_TEXT}, [Group(HOSTILE_TEXT, rows)])
    for html, scripts in ((page, 2), (beside, 0)):
        found = check_alone(html)
        assert found.scripts == scripts
        assert html.count("&lt;script&gt;alert(1)") > 5
        assert HOSTILE_TEXT not in html


@pytest.mark.parametrize("low, high", [(0, 1), (0.2, 0.21), (-3, 4e5), (1e-7, 1e-3), (2, 2)])
def test_ticks_are_round_and_within(low, high):
    found = charts.ticks(low, high)
    assert 1 <= len(found) <= 6
    assert all(low - 1e-9 * abs(high) <= t <= high * (1 + 1e-9) for t in found)

"""The report: every section, whatever a run lacks; nothing from data reaches the page raw, and no address leaves it."""

from __future__ import annotations

import base64
import json
import re
import shlex
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from kinemask.protocols.protocols import evaluate

from conftest import recordings
from kinemask.pretext import NAMES
from kinemask.pretext.base import Pretext
from kinemask.protocols.evaluate import evaluate
from kinemask.recipes import recipes
from kinemask.reports import charts, figures, report, reproduce, skeletons
from kinemask.reports.published import place, published
from kinemask.reports.runs import read_runs
from kinemask.reports.skeletons import recognise
from kinemask.runs.run import Run
from kinemask.skeleton import layout
from kinemask.store.format import Clip
from kinemask.store.writer import write_store
from kinemask.training.pretraining import pretrain
from kinemask.training.settings import flatten
from kinemask.windows.streams import difference
from test_training import make_settings

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

    def make(name: str, seed: int = 3) -> Path:
        if (name, seed) not in made:
            folder = tmp_path_factory.mktemp("runs") / f"{name}{seed}"
            pretrain(make_settings(store, name, seed=seed, training_epochs=2), folder, quiet=True)
            evaluate("linear", folder, store.path, "xsub", seed=[0, 1], epochs=2, views=1)
            evaluate("knn", folder, store.path, "xcam", baselines=False)
            made[name, seed] = folder
        return made[name, seed]

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
    views = 2 if scene_of(page)["kind"] in ("motion", "coordinates") else 1  # features cannot be drawn
    assert page.count("<canvas") == views * 3  # three classes
    again = report(run).read_text()
    assert again == page


@pytest.mark.parametrize(
    "name, kind", [("mamp", "motion"), ("mae", "coordinates"), ("hacm", "motion"), ("masksem", "motion")]
)
def test_players_show_the_clip_and_what_is_true_of_it(make, store, name, kind):
    run = make(name)
    scene = scene_of(report(run).read_text())
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


def test_a_target_is_recognised_by_its_values():
    x = torch.randn(2, 12, 5, 3).cumsum(1)
    assert recognise(x, x) == ("coordinates", 1, 0.0)
    assert recognise(difference(x, 3) * 1.01, x)[:2] == ("motion", 3)
    assert recognise(torch.randn_like(x), x)[0] == "features"


@pytest.mark.parametrize("what", ["features", "no tokens"])
def test_a_task_without_drawable_predictions_still_shows_its_clips(make, monkeypatch, tmp_path, what):
    if what == "features":
        monkeypatch.setattr(skeletons, "recognise", lambda true, x: ("features", 1, 0.0))
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
    for said in ("no evaluations yet", "No training curve", "No t-SNE: ", "No skeletons: ", "gone"):
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
    assert "No t-SNE" not in page
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


def test_published_numbers_stand_beside_their_like(make, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(make("mamp"), run)
    for path in (run / "evaluations").glob("linear*.json"):
        result = json.loads(path.read_text()) | {"data": "ntu60", "split": "xview", "accuracy": 89.2}
        path.write_text(json.dumps(result))
    page = report(run).read_text()
    table = re.findall(r"<h3>ntu60 · xview · linear</h3>(.*?)</table>", page, re.S)[0]
    values = [float(v) for v in re.findall(r'<td class="number">(?:<strong>)?([\d.]+)', table)]
    assert values == sorted(values, reverse=True)
    assert len(values) > 20
    assert re.search(r'<tr class="own">.*?89\.2 ± 0\.0', table)
    for path in (run / "evaluations").glob("linear*.json"):
        result = json.loads(path.read_text()) | {"data": "finegym", "split": "official", "protocol": "finetune"}
        result |= {"accuracy": 99.0, "metrics": {"mean_class_accuracy": 90.0}}
        result["run"]["data"]["dataset"] = "finegym"
        path.write_text(json.dumps(result))
    table = re.findall(r"<h3>finegym · official · finetune</h3>(.*?)</table>", report(run).read_text(), re.S)[0]
    assert "mean over classes" in table
    assert re.search(r'<tr class="own">.*?90\.0 ± 0\.0.*?top-1 99\.0', table)
    assert table.index("91.8") < table.index("90.0")
    for path in (run / "evaluations").glob("linear*.json"):
        result = json.loads(path.read_text()) | {"data": "ntu60", "split": "xview", "protocol": "linear"}
        result["run"]["data"]["dataset"] = "<b>data"
        path.write_text(json.dumps(result))
    own = [e.about for e in read_runs([run])[0].evaluations if e.about["protocol"] == "linear"]
    assert place(own[0] | {"split": "xview-val"}) is None
    assert place(own[0] | {"data": "sbu", "split": "fold3"}) == ("sbu", "5-fold", "linear")
    assert place(own[0] | {"protocol": "finetune"}) == ("ntu60", "xview", "transfer")
    assert place(own[0] | {"protocol": "finetune", "data": "<b>data"}) == ("<b>data", "xview", "finetune")
    mamp = [p for p in published(("ntu60", "xsub", "linear")) if p.method == "MAMP" and p.stream == "joint"]
    assert [p.value for p in mamp] == [84.9]  # printed by three tables, shown once
    assert {p.value for p in published(("nw-ucla", "xview", "linear"))} >= {92.9, 74.3}


@pytest.mark.parametrize("name", [*NAMES, "own"])
def test_the_printed_command_gives_the_same_settings(make, tmp_path, monkeypatch, name):
    config = dict(Run(make("mamp" if name == "own" else name)).config)
    config["sampling"]["rotation"] = [0.1, 0.5, 0.1]
    if name == "own":
        monkeypatch.setattr(reproduce, "recipes", dict)
    command, recipe = reproduce.pretrain_command(config, config["data"], "out folder")
    assert (name == "own") == bool(recipe)
    words = shlex.split(command)
    assert words[:2] == ["kinemask", "pretrain"]
    if recipe:
        (tmp_path / "recipe.yaml").write_text(recipe)
        monkeypatch.chdir(tmp_path)
    else:
        assert words[3] in recipes()
    settings, given = parse(words[2:])
    assert given.out == "out folder"
    assert flatten(settings.to_dict()) == flatten(config)


def test_confusion_shows_only_classes_that_occur():
    drawn = charts.confusion(np.array([7, 7, 3]), np.array([7, 3, 3]), [f"class-{i}" for i in range(10)])
    assert re.findall(r"class-\d \d", drawn) == ["class-3 4", "class-7 8"]
    assert drawn.count("<title>") == 3
    assert "class-7: 1 of 2 taken for class-3" in drawn


@pytest.mark.parametrize("low, high", [(0, 1), (0.2, 0.21), (-3, 4e5), (1e-7, 1e-3), (2, 2)])
def test_ticks_are_round_and_within(low, high):
    found = charts.ticks(low, high)
    assert 1 <= len(found) <= 6
    assert all(low - 1e-9 * abs(high) <= t <= high * (1 + 1e-9) for t in found)

"""The report: every section, whatever a run lacks; nothing from data reaches the page raw, and no address leaves it."""

from __future__ import annotations

import base64
import json
import re
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from helpers import make_settings
from html_pages import HOSTILE, check_alone
from kinemask.pretext import NAMES
from kinemask.pretext.base import Pretext
from kinemask.pretext.mamp import MAMP
from kinemask.reports import report, skeletons
from kinemask.reports.published import Place, place, published
from kinemask.runs.measures import BASELINES, MEASURES, Measured
from kinemask.runs.result import Result, Scored, Trained, read_result, read_results, result_path, scores_path
from kinemask.runs.run import Run
from kinemask.skeleton import layout
from kinemask.store.format import Clip
from kinemask.store.writer import write_store
from kinemask.training.pretraining import pretrain
from kinemask.windows.streams import difference

SECTIONS = ("results", "beside-published-numbers", "training", "classes", "feature-space", "attention")
SECTIONS = (*SECTIONS, "masks-and-predictions", "settings", "reproduce")


def scene_of(page: str, number: int = 0) -> dict:
    return json.loads(re.findall(rf'id="scene{number}">(.*?)</script>', page, re.S)[0])


def unpack(text: str, unit: float) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<i2") * unit


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
    scene, body = scene_of(page), scene_of(page)["clips"][0]["bodies"][0]
    views = 1 if scene["kind"] in ("features", "") else 2  # features cannot be drawn, nor nothing
    views += sum(kind in body for kind in ("rebuilt", "saliency", "attention"))
    assert page.count('<div class="view"') == views * 3  # three classes
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
    S, V, C = scene["S"], scene["joints"], scene["dims"]
    encoder = layout("sbu15").kept(Run(run).config["encoder"]["joints"])
    for clip in scene["clips"]:
        i = store.names.index(clip["name"])
        assert clip["label"] == store.classes[store.labels[i]]
        assert len(clip["bodies"]) == store.bodies[i]
        assert 0 <= clip["masked"] <= 1
        T = clip["T"]
        assert clip["rate"] == pytest.approx(30 * T / store.lengths[i])  # in real time
        for body in clip["bodies"]:
            x = unpack(body["positions"], clip["unit"]).reshape(T, V, C)
            state = np.array([*body["state"]]).reshape(T // S, V)
            assert set(np.unique(state[:, encoder])) == {"0", "1"}
            assert (np.delete(state, encoder, axis=1) == "2").all()
            for marks in (body[name] for name in ("saliency", "attention") if name in body):
                assert len(marks) == len(body["state"])
                assert {i for i, m in enumerate(marks) if m == "x"} == {
                    i for i, s in enumerate(body["state"]) if s == "2"
                }
            assert ("rebuilt" in body) == (kind == "motion")
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
        monkeypatch.setattr(skeletons, "load_task", lambda *_: Pretext())
    page = report(make("mamp"), tmp_path / "page.html").read_text()
    check_alone(page)
    scene = scene_of(page)
    body = scene["clips"][0]["bodies"][0]
    assert "true" not in body
    assert "rebuilt" not in body
    assert ("state" in body) == (what == "features")
    assert page.count('<div class="view"') == 3 * (1 + sum(name in body for name in ("saliency", "attention")))
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
    assert "Drag to move" in page
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


def from_data(result: Result, dataset: str, split: str) -> Trained:
    """How a result's encoder came about, with the name of another data set and of its split."""
    (source,) = result.trained.sources
    return replace(result.trained, sources=[replace(source, dataset=dataset)], split=split)


def test_published_numbers_stand_beside_their_like(make, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(make("mamp"), run)
    measures = {"accuracy": Measured(value=89.2), "mean_class_accuracy": Measured(value=90.0)}
    filed(run, "linear", data="ntu60", split="xview", measures=measures)
    assert "ntu60 · xview · linear · from &lt;b&gt;data" in report(run).read_text()  # of which nothing is on record
    of = from_data(read_results(run)[0], "ntu60", "xview")
    filed(run, "linear", trained=of)
    page = report(run).read_text()
    table = re.findall(r"<h3>ntu60 · xview · linear</h3>(.*?)</table>", page, re.S)[0]
    values = [float(v) for v in re.findall(r'<td class="number">([\d.]+)', table)]
    assert values == sorted(values, reverse=True)
    assert len(values) > 15
    assert "3s" not in table  # the run's stream is joint
    assert re.search(r'<tr class="own">.*?89\.2 ± 0\.0', table)
    measures = {"accuracy": Measured(value=99.0), "mean_class_accuracy": Measured(value=90.0)}
    where = {"data": "finegym", "split": "official", "protocol": "finetune", "dims": 2}
    of = from_data(read_results(run)[0], "finegym", "official")
    filed(run, "linear", **where, measures=measures, trained=of)
    table = re.findall(r"<h3>finegym · official · finetune</h3>(.*?)</table>", report(run).read_text(), re.S)[0]
    assert "mean over classes" in table
    assert re.search(r'<tr class="own">.*?90\.0 ± 0\.0.*?top-1 99\.0', table)
    assert table.index("91.8") < table.index("90.0")


def test_a_place_among_published_numbers(make):
    linear = next(r for r in read_results(make("mamp")) if r.protocol == "linear")
    own = replace(linear, data="ntu60", split="xview", trained=from_data(linear, "ntu60", "xview"))
    tuned, few = replace(own, protocol="finetune"), {"fraction": 0.05, "per_class": 0}
    assert place(own) == ("ntu60", "xview", "linear", "")
    assert place(replace(own, split="xview-val")) is None
    assert place(replace(own, data="sbu", split="fold3")) == ("sbu", "5-fold", "linear", "ntu60")
    assert place(tuned) == ("ntu60", "xview", "finetune", "")
    assert place(replace(tuned, data="<b>data")) == ("<b>data", "xview", "transfer", "ntu60")
    assert place(replace(tuned, encoder_sha256=None)) == ("ntu60", "xview", "supervised", "")
    assert place(replace(own, protocol="semi", settings=few)) == ("ntu60", "xview", "semi-5", "")
    assert place(replace(own, protocol="semi", settings=few | {"per_class": 3})) == ("ntu60", "xview", "semi", "")
    fused = {"protocol": "semi", "evaluation": few, "runs": ["a", "b"], "weights": [1.0, 1.0]}
    assert place(replace(own, protocol="ensemble", settings=fused)) == ("ntu60", "xview", "semi-5", "")
    mamp = [p for p in published(Place("ntu60", "xsub", "linear")) if p.method == "MAMP" and p.stream == "joint"]
    assert [p.value for p in mamp] == [84.9]  # printed by three tables, shown once
    assert {p.value for p in published(Place("nw-ucla", "xview", "linear"))} >= {92.0, 74.3}


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

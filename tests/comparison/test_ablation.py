"""Papers' tables: every printed number has its row, every row fits its data, and ours stand beside theirs."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from kinemask import compare
from kinemask.comparison import papers
from kinemask.comparison.papers import PaperRow, PaperTable, paper_table, paper_tables
from kinemask.comparison.plan import resolve
from kinemask.pretext import method
from kinemask.reports.published import published_rows
from kinemask.skeleton import layout
from kinemask.training.settings import Settings
from tiny_recipe import recipe_file

METRICS = {"accuracy": "top1", "mean_class_accuracy": "mean_class"}
LAYOUTS = {
    "ntu60": "ntu25",
    "nw-ucla": "kinect20",
    "finegym": "coco17",
    "diving48": "coco17",
    "utd-mhad": "utd20",
    "penn-action": "penn13",
}


@pytest.mark.parametrize("name", paper_tables())
def test_a_table_has_the_numbers_that_are_published(name):
    table = paper_table(name)
    also = [r for r in published_rows() if r["source"] == "skeletonmae.md 4.4"] if name == "skeletonmae-5a" else []
    printed = [*(r for r in published_rows() if r["source"] == table.source), *also]
    numbers = lambda metric: Counter(
        (r["split"] or "official", float(r["value"])) for r in printed if r["metric"] == metric
    )
    ours = Counter((split, value) for row in table.rows for split, value in row.published.items())
    doubled = {("official", 91.0): 1} if name == "skeletonmae-5b" else {}  # one choice in two rows of the paper
    assert ours + Counter(doubled) == numbers(METRICS[table.measure])
    assert Counter(row.hours for row in table.rows if row.hours) == Counter(
        value for _, value in numbers("pretrain_hours").elements()
    )
    assert Counter(row.gflops for row in table.rows if row.gflops) == Counter(
        value for _, value in numbers("gflops").elements()
    )
    assert {r["dataset"] for r in printed} == ({table.data} if table.source else set())
    assert len({row.label for row in table.rows}) == len(table.rows)


def test_every_ablation_row_of_the_papers_is_in_a_table():
    sources = {paper_table(name).source for name in paper_tables()}
    assert {r["source"] for r in published_rows() if r["protocol"].startswith("ablation")} <= sources


@pytest.mark.filterwarnings("error:.*has no effect")
@pytest.mark.filterwarnings("ignore:ψ and φ")
@pytest.mark.parametrize("small, data", [(False, ""), (True, "utd-mhad")])
@pytest.mark.parametrize("name", paper_tables())
def test_every_row_makes_a_network_of_its_own(name, small, data):
    table = paper_table(name)
    data = data or table.data
    if small and table.method == "skeletonmae":
        pytest.skip("its recipes come in one size")
    made: dict[str, str] = {}
    for row in table.rows:
        if row.reason:
            assert not row.set
            continue
        recipe = resolve(row.method or table.method, data, small)
        changes = {k: v for k, v in {**table.changes(small), **row.changes(small)}.items() if _trains(k)}
        if "pruned20" in changes.values() or "pruned16" in changes.values():
            of = layout("ntu25")
        else:
            of = layout(LAYOUTS[data])
        s = Settings.from_recipe(recipe, {"data": "-", "split": "-", **changes})
        with torch.device("meta"):
            chosen = method(s.method)
            encoder = chosen.build_encoder(of, s.sampling.frames, s.encoder)
            chosen.build(encoder, s.decoder, s.pretext)
        made[row.label] = repr((s.to_dict(), row.baseline, row.changes(small)))
    repeated = 1 if name == "hacm-V" else 0  # the original, and its reproduction
    assert len(set(made.values())) == len(made) - repeated


def _trains(name: str) -> bool:
    return not name.startswith(("linear.", "finetune.", "probe."))


# running one


ROWS = (
    PaperRow(label="τ 0.5", set={"pretext.tau": 0.5}, published={"xsub": 80.0, "xview": 85.0}, hours=2.5),
    PaperRow(label="τ 0.8", set={"pretext.tau": 0.8}, published={"xsub": 81.0, "xview": 86.0}),
    PaperRow(label="odd", set={"encoder.joints": "pruned20"}, published={"xsub": 70.0}),
    PaperRow(label="other", published={"xsub": 60.0}, reason="takes video", gflops=42.8),
)
TABLE = PaperTable(
    title="A paper, Table I",
    source="paper.md Table I",
    data="ntu60",
    splits=("xsub", "xview"),
    protocol="knn",
    method="mamp",
    rows=ROWS,
    set={"knn.neighbours": 3},
    note="Of two temperatures.",
)


@pytest.fixture
def paper(monkeypatch):
    monkeypatch.setattr(papers, "paper_tables", lambda: ["paper-I"])
    monkeypatch.setattr("kinemask.comparison.ablation.paper_table", lambda name: TABLE)
    monkeypatch.setattr("kinemask.comparison.papers.paper_table", lambda name: TABLE)


def test_ours_stand_beside_theirs(tiny, paper, tmp_path):
    recipe = recipe_file(tmp_path, "one")
    given = {"data": tiny.path, "split": "xsub", "ablation": "paper-I", "out": tmp_path / "out", "device": "cpu"}
    table = compare([recipe], **given, baselines=False)
    rows = {line.row.method: line.row for line in table}
    assert list(rows) == [row.label for row in ROWS]
    assert rows["τ 0.5"].cells["settings"] == "pretext.tau 0.5"
    assert rows["τ 0.5"].cells["published"] == "xsub 80.0, xview 85.0"  # of other data than ours
    assert rows["τ 0.5"].cells["published_hours"] == "2.5"
    assert rows["other"].cells["published_gflops"] == "42.8"
    assert "ntu60" in rows["τ 0.8"].source
    assert 0 <= rows["τ 0.5"].cells["accuracy"].value <= 100
    assert "accuracy" not in rows["odd"].cells
    assert "pruned20" in rows["odd"].source
    assert rows["other"].source.startswith("takes video")
    assert len(list((tmp_path / "out" / "runs").iterdir())) == 2

    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "runs").rglob("*") if p.is_file()}
    assert compare([recipe], **given, baselines=False) == table
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "runs").rglob("*") if p.is_file()} == before

    texts = [path.read_text() for path in table.files]
    other = compare([recipe], **given, baselines=False, settings={"knn.neighbours": 1})
    assert not set(other.files) & set(table.files)
    assert [path.read_text() for path in table.files] == texts
    assert len(list((tmp_path / "out" / "runs").iterdir())) == 2  # trained once
    (page,) = [path for path in table.files if path.suffix == ".html"]
    assert "<h1>A paper, Table I</h1>" in page.read_text()
    all_rows = "All rows: one with knn.neighbours 3, training.device cpu."
    assert f"<p>Of two temperatures. {all_rows}</p>" in page.read_text()
    assert all(all_rows in text for text in texts)
    (file,) = [path for path in table.files if path.suffix == ".csv"]
    with file.open() as opened:
        assert [line["method"] for line in csv.DictReader(opened)] == list(rows)
    assert Path(file).name.startswith("paper-I-tiny-")


def test_settings_of_protocols_that_are_not_asked_for_are_left_out(tiny, paper, tmp_path, monkeypatch):
    recipe = recipe_file(tmp_path, "one")
    given = {"data": tiny.path, "split": "xsub", "ablation": "paper-I", "out": tmp_path / "out", "device": "cpu"}
    table = compare([recipe], **given, baselines=False, protocols=["retrieval"])
    assert {line.where.protocol for line in table} == {"retrieval"}

    differing = replace(TABLE, rows=(PaperRow(label="k 5", set={"knn.neighbours": 5}),))
    monkeypatch.setattr("kinemask.comparison.ablation.paper_table", lambda name: differing)
    with pytest.raises(ValueError, match=r"differ in knn\.neighbours: add knn to protocols"):
        compare([recipe], **given, protocols=["retrieval"])


def test_a_row_of_a_baseline_has_its_accuracy(tiny, paper, tmp_path, monkeypatch):
    rows = (PaperRow(label="trained"), PaperRow(label="not trained", baseline="untrained_encoder"))
    monkeypatch.setattr("kinemask.comparison.ablation.paper_table", lambda name: replace(TABLE, rows=rows))
    recipe = recipe_file(tmp_path, "one")
    given = {"data": tiny.path, "split": "xsub", "ablation": "paper-I", "out": tmp_path / "out", "device": "cpu"}
    found = {line.row.method: line.row for line in compare([recipe], **given)}
    assert found["not trained"].cells["accuracy"] == found["trained"].cells["untrained_encoder"]
    without = {line.row.method: line.row for line in compare([recipe], **given, baselines=False)}
    assert "they were left out" in without["not trained"].source


@pytest.mark.parametrize(
    "change, told",
    [
        ({"settings": {"pretext.tau": 0.3}}, "pretext.tau is what the rows"),
        ({"settings": {"mamp-demo.pretext.tau": 0.3}}, "mamp-demo.pretext.tau is what the rows"),
        ({"methods": ["hacm"]}, "no row of hacm"),
        ({"sweep": ["pretext.tau", "1"]}, "sweep makes lines"),
        ({"encoder": ["student"]}, "encoder makes lines"),
        ({"settings": {"training.lr": -1}}, "no row can be run on tiny: .*training.lr"),
        ({"methods": ["mamp-demo", "mamp-ntu60"]}, "both recipes of mamp"),
    ],
    ids=str,
)
def test_mistakes_about_a_table_are_told(change, told, tiny, paper, tmp_path):
    given = {"methods": ["mamp-demo"], "data": tiny.path, "split": "xsub", "ablation": "paper-I", "out": tmp_path}
    with pytest.raises(ValueError, match=told):
        compare(**given | change)


def test_an_unknown_table_is_told(tiny):
    with pytest.raises(ValueError, match=r"unknown table 'hacm-7'.*hacm-V"):
        compare(data=tiny.path, ablation="hacm-7")

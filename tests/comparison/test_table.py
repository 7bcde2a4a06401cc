"""The table of a comparison: means, folds, published numbers, and files that no name can break."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from statistics import stdev

import pytest

from kinemask.comparison.table import Entry, Line, lines, markdown, write_tables
from kinemask.runs.cost import Cost
from kinemask.runs.measures import Measured
from kinemask.runs.result import Result, Scored
from made_results import made_result, trained

COST = Cost(parameters=1_234_567, flops=2_500_000_000, seconds=60.0)


def found(accuracy: float, seed: int, **changes) -> Result:
    scored = lambda value: Scored(measures={"accuracy": Measured(value=value)})
    measures = {
        "accuracy": Measured(value=accuracy, unseen=accuracy - 10),
        "mean_class_accuracy": Measured(value=accuracy - 1),
    }
    baselines = {"untrained_encoder": scored(54.0), "raw_coordinates_knn": scored(62.0)}
    about = {"seed": seed, "measures": measures, "baselines": baselines, "encoder_sha256": "0"}
    return made_result(**about | changes)


def entry(label: str, *results: Result) -> Entry:
    return Entry(label, results, COST)


def own(table: Sequence[Line]) -> list[Line]:
    return [line for line in table if not line.row.published]


def test_folds_have_a_line_over_all_of_them():
    def fold(number, name, *accuracies, val=""):
        changes = {"data": "sbu", "split": f"fold{number}{val}", "test_clips_unseen": 40}
        return [entry(name, found(accuracy, seed, **changes)) for seed, accuracy in enumerate(accuracies)]

    of = lambda table: [(x.where.split, x.row.method, x.row.cells["accuracy"].value) for x in own(table)]
    whole = [run for i in range(1, 6) for run in fold(i, "one", 80 + i)]
    table = lines(whole + [run for i in (1, 2, 3, 5) for run in fold(i, "two", 70)])  # the fourth failed
    assert of(table)[-1] == ("5-fold", "one", 83)
    assert len(of(table)) == 10
    assert {x.where.split for x in table if x.row.published} == {"5-fold"}
    table = lines(whole[:2])
    assert of(table)[-1] == ("2-fold", "one", 81.5)
    assert own(table) == table  # published is the mean of five
    assert len(of(lines(fold(1, "one", 80, 80) + fold(2, "one", 60)))) == 2  # folds would weigh by their seeds
    assert of(lines(fold(1, "one", 80, val="-val") + fold(2, "one", 60, val="-val")))[-1] == ("2-fold-val", "one", 70)


@pytest.mark.parametrize(
    "where, method, column, value, source",
    [
        (("penn-action", "official", "finetune"), "CascadeFormer", "accuracy", 94.66, "2d-pose"),
        (("ntu60", "xsub", "finetune"), "SkeletonMAE-graph", "accuracy", 92.8, "STRL"),
        (("finegym", "official", "finetune"), "SkeletonMAE-graph", "mean_class_accuracy", 91.8, "2d-pose"),
    ],
)
def test_numbers_from_poses_are_found_with_their_metric(where, method, column, value, source):
    data, split, protocol = where
    of = replace(trained(data), split=split)
    table = lines([entry("one", found(80, 0, data=data, split=split, protocol=protocol, trained=of))])
    rows = [line.row for line in table if line.row.method.startswith(method)]
    assert rows[0].cells[column].value == value
    assert source in rows[0].source
    told = [(row.method, str(row.cells.get(column))) for row in rows]
    assert len(told) == len(set(told))


def test_the_table_has_means_baselines_costs_and_published_numbers(tmp_path):
    table = lines(
        [
            entry("one", found(80, 0), found(82, 1)),  # one pre-training, two seeds of the protocol
            entry("two", found(90, 0), found(92, 1)),
            entry("two", found(94, 2)),
        ]
    )
    two, one = (line.row for line in table[:2])
    numbers = lambda row: (row.cells["accuracy"].value, row.cells["accuracy"].spread)
    assert numbers(one) == pytest.approx((81, stdev([80, 82])))
    assert numbers(two) == pytest.approx((92.5, stdev([91, 94])))  # over pre-trainings
    assert (two.cells["results"], one.cells["gflops"], one.cells["pretraining_hours"]) == (
        "2 runs × 1.5",
        "2.5",
        "0.0167",
    )
    published = {line.row.method: line.row for line in table[2:]}
    assert published["Colorization"].cells["accuracy"].value == 91.1
    assert all(row.source and row.published for row in published.values())
    write_tables(table, tmp_path)
    text = (tmp_path / "table.md").read_text()
    assert text == markdown(table)
    assert "| two | 92.5 ± 2.1 | 82.5 ± 2.1 | 91.5 ± 2.1 | 54.0 | 62.0 | 2 runs × 1.5 | 1.23 M | 2.5 |" in text
    with (tmp_path / "table.csv").open() as file:
        read = list(csv.DictReader(file))
    assert [float(line["accuracy"]) for line in read] == [line.row.cells["accuracy"].value for line in table]
    assert (read[0]["data"], read[0]["split"], read[0]["protocol"]) == ("nw-ucla", "xview", "linear")
    assert read[2]["accuracy_std"] == ""
    page = (tmp_path / "table.html").read_text()
    assert page.count("<h2>") == 1
    assert "nw-ucla · xview · linear" in page
    assert "Colorization" in page


def test_nothing_found_leaves_no_files(tmp_path):
    write_tables(lines([]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_names_cannot_break_the_table(tmp_path):
    write_tables(lines([entry("<script>|x", found(80, 0))]), tmp_path)
    assert "<script>" not in (tmp_path / "table.html").read_text().split("</style>")[1]
    assert len({line.count("|") for line in (tmp_path / "table.md").read_text().splitlines()}) == 1

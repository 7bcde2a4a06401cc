"""Published numbers: each stands beside results of its data, split, protocol, source and input, and beside no other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from kinemask.reports.published import ACCURACIES, METRICS, Place, inputs, place, published, published_rows
from kinemask.runs.measures import Measured
from kinemask.runs.result import Member, Result, Source
from made_results import made_result, trained

STREAMS = (("joint",), ("motion",), ("bone",), ("joint", "motion", "bone"))
Row = dict[str, str]


def result_for(row: Row, streams: tuple[str, ...], dims: int) -> Result:
    """A result of ours as near to a published one as there can be: its data, split, protocol and source."""
    protocol, settings, sha = row["protocol"], {}, "0"
    if protocol.startswith("semi-"):
        protocol, settings = "semi", {"fraction": float(protocol[5:]) / 100, "per_class": 0}
    elif protocol == "transfer":
        protocol = "finetune"
    elif protocol == "supervised":
        protocol, sha = "finetune", None
    elif protocol == "knn":
        settings = {"neighbours": 1}
    origin = {"": row["dataset"], "other": "elsewhere"}.get(row["origin"], row["origin"])
    split = {"5-fold": "fold1", "": "official"}.get(row["split"], row["split"])
    of = replace(trained(origin, streams[0]), split=split)
    if origin == "several":
        of = replace(of, sources=[Source(dataset=name, sha256={}) for name in (row["dataset"], "ntu60")])
    result = made_result(
        protocol=protocol,
        settings=settings,
        data=row["dataset"],
        split=split,
        encoder_sha256=sha,
        trained=of,
        dims=dims,
    )
    if len(streams) == 1:
        return result
    member = Member(run="r", hash="0", seed=0, weight=1.0, method="mamp", stream="", accuracy=Measured(value=1.0))
    return replace(
        result,
        protocol="ensemble",
        settings={"protocol": protocol, "evaluation": settings},
        members=[replace(member, stream=name) for name in streams],
    )


def results_for(row: Row) -> Iterator[Result]:
    """Those that there can be: of an ablation there are none, it is no protocol."""
    if row["protocol"].startswith("ablation"):
        return iter(())
    return (result_for(row, streams, dims) for streams in STREAMS for dims in (2, 3))


def beside(result: Result) -> list[tuple[str, str, float]]:
    where = place(result)
    assert where is not None
    return [(p.method, p.metric, p.value) for p in published(where, inputs(result))]


UNREACHABLE: dict[str, tuple[int, Callable[[Row], bool]]] = {
    # reason: how many, which
    "of an ablation table, where `compare --ablation` sets them beside ours": (
        125,
        lambda row: row["protocol"].startswith("ablation"),
    ),
    "its input is video, or sensors beside the skeleton": (
        31,
        lambda row: row["stream"].startswith("rgb") or row["stream"] == "skeleton+imu",
    ),
    "a fourth stream, the motion of bones, is not made here": (2, lambda row: row["stream"] == "4s"),
    "pre-trained on several data sets that its source does not name": (1, lambda row: row["origin"] == "several"),
}


def test_every_row_can_be_reached_or_there_is_a_reason():
    counts: Counter[str] = Counter()
    for row in published_rows():
        found = (row["method"], METRICS[row["metric"]], float(row["value"]))
        reasons = [reason for reason, (_, holds) in UNREACHABLE.items() if holds(row)]
        reached = any(found in beside(result) for result in results_for(row))
        assert reached != bool(reasons), row
        counts.update(reasons[:1])
    assert counts == {reason: count for reason, (count, _) in UNREACHABLE.items()}
    assert len(published_rows()) - counts.total() == 622


@pytest.mark.parametrize(
    "change, there",
    [
        ({}, 71.1),
        ({"origin": "ntu120"}, 72.3),
        ({"origin": "nw-ucla"}, None),
        ({"origin": "pku-mmd-2"}, None),  # then it is fine-tuning, of which nothing is published on this data set
        ({"split": "xview"}, None),
        ({"streams": ("motion",)}, None),
    ],
    ids=str,
)
def test_transfer_stands_beside_transfer_from_the_same_data(change, there):
    row = {"dataset": "pku-mmd-2", "split": "xsub", "protocol": "transfer", "origin": "ntu60"} | change
    found = beside(result_for(row, change.get("streams", ("joint",)), 3))
    assert [value for method, _, value in found if method == "HA-CM"] == ([] if there is None else [there])
    assert bool(found) == (there is not None)


def test_a_run_of_several_data_sets_stands_beside_none_of_one():
    of = trained("ntu60")
    mixed = replace(of, sources=[*of.sources, Source(dataset="ntu120", sha256={})])
    result = made_result(data="ntu60", split="xsub", trained=mixed, encoder_sha256="0")
    where = place(result)
    assert where == ("ntu60", "xsub", "linear", "ntu120+ntu60")
    assert published(where) == []


@pytest.mark.parametrize(
    "dims, streams, values",
    [
        (3, ("joint",), {"MAMP": 93.1}),
        (2, ("joint",), {"SkeletonMAE-graph": 92.8}),
        (2, ("joint", "motion", "bone"), {}),
        (3, ("joint", "motion", "bone"), {"CrosSCLR": 86.2}),
        (3, ("joint", "bone"), {}),
    ],
    ids=str,
)
def test_poses_and_streams_agree(dims, streams, values):
    row = {"dataset": "ntu60", "split": "xsub", "protocol": "finetune", "origin": ""}
    found = beside(result_for(row, streams, dims))
    for method in ("MAMP", "SkeletonMAE-graph", "CrosSCLR"):
        assert {v for name, _, v in found if name == method} >= {values[method]} if method in values else True
        assert method in values or method not in {name for name, *_ in found}


@pytest.mark.parametrize(
    "settings, protocol",
    [
        ({"neighbours": 1}, "knn"),
        ({"readout": {"over": "mean", "pieces": [1]}}, "knn"),
        ({"neighbours": 5}, "5-nn"),
        ({"beside": "convolutions"}, "knn with convolutions"),
        ({"readout": {"over": "joints", "pieces": [1]}}, "knn, another readout"),
    ],
    ids=str,
)
def test_other_settings_are_another_protocol(settings, protocol):
    result = made_result(protocol="knn", settings={"neighbours": 1, **settings}, encoder_sha256="0")
    where = place(result)
    assert where is not None
    assert where.protocol == protocol
    assert bool(published(where, inputs(result))) == (protocol == "knn")


def test_labels_of_a_file_are_no_share_of_them():
    row = {"dataset": "ntu60", "split": "xsub", "protocol": "semi-10", "origin": ""}
    result = result_for(row, ("joint",), 3)
    assert beside(result)
    assert not beside(replace(result, settings={**result.settings, "labels": "earlier.json"}))


@pytest.mark.parametrize("split", ["xview", "all"])
def test_a_run_of_another_split_stands_beside_none(split):
    row = {"dataset": "ntu60", "split": "xsub", "protocol": "linear", "origin": ""}
    result = result_for(row, ("joint",), 3)
    assert beside(result)
    other = replace(result, trained=replace(result.trained, split=split))
    where = place(other)
    assert where is not None
    assert (where.origin, beside(other)) == (f"ntu60 {split}", [])


def test_weights_of_unknown_data_stand_beside_no_published_number():
    result = made_result(encoder_sha256="0", trained=replace(trained(), sources=[]))
    where = place(result)
    assert where is not None
    assert where.origin == "unknown data"
    assert not published(where, inputs(result))


def test_costs_are_beside_accuracies_and_no_number_comes_twice():
    (own,) = [p for p in published(Place("diving48", "official", "finetune"), {"2d-pose"}) if p.metric == "gflops"]
    assert own.value == 42.8
    for row in published_rows():
        where = Place(row["dataset"], row["split"], row["protocol"], row["origin"])
        found = [(p.method, p.stream, p.metric, p.value) for p in published(where)]
        assert len(found) == len(set(found))
        assert {p.metric for p in published(where)} & set(ACCURACIES) or row["protocol"] == "other"


@pytest.mark.parametrize(
    "source, note, value",
    [
        ("ha-cm.md Table VII", "cross mask; odd S even T1; with L_c2", "85.9"),
        ("ha-cm.md Table VII", "cross mask; odd S even T2; with L_c2", "85.5"),
        ("skeletonmae.md 4.4", "without loading the pre-trained encoder", "86.3"),
    ],
)
def test_rows_that_papers_print_are_there(source, note, value):
    (row,) = [row for row in published_rows() if (row["source"], row["note"]) == (source, note)]
    assert row["value"] == value

"""Fine-tuning with few labels: draws, earlier draws, baselines of the same draw."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers import make_settings
from kinemask import cli, evaluate
from kinemask.protocols.labels import draw_from_all
from kinemask.protocols.settings import SemiSettings
from kinemask.runs.result import read_result
from kinemask.store.format import Clip
from kinemask.store.writer import write_store
from kinemask.training.pretraining import pretrain
from kinemask.windows.parts import parts
from tuning import QUICK


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory) -> Path:
    return pretrain(make_settings(tiny, training_epochs=1), tmp_path_factory.mktemp("semi") / "run", quiet=True)


def ask(run, store, **more):
    quick = QUICK | {"epochs": 1, "warmup_epochs": 0, "baselines": False, "seed": 0}
    return evaluate("semi", run, store.path, "xsub", **quick | more)


@pytest.mark.filterwarnings("ignore:class .* labelled training clips; all are taken")
def test_labels_are_drawn_class_by_class(run, tiny):
    train, _ = parts(tiny, "xsub", torch.device("cpu"), "fill")
    counts = torch.bincount(train.labels)
    for more, expected in (
        ({"fraction": 0.3}, [max(1, round(0.3 * int(n))) for n in counts]),
        ({"fraction": 0.01}, [1, 1, 1]),
        ({"per_class": 4}, [4, 4, 4]),
        ({"per_class": 100}, counts.tolist()),
    ):
        (result,) = ask(run, tiny, **more)
        index = [tiny.names.index(name) for name in result.labels]
        assert set(index) <= set(train.clips.tolist())
        assert len(set(index)) == len(index) == result.training_clips
        assert np.bincount(tiny.labels[index], minlength=3).tolist() == expected


@pytest.mark.filterwarnings("ignore:the draw of seed .* has no label of")
def test_labels_are_drawn_from_all_clips_together(tiny):
    """As a shuffle of the whole set: every subset is as likely, so classes have what chance gives them."""
    train, _ = parts(tiny, "xsub", torch.device("cpu"), "fill")
    labels, N = train.labels.numpy(), len(train.clips)
    draws = [draw_from_all(train, seed, 0.3) for seed in range(400)]
    assert {len(draw) for draw in draws} == {int(0.3 * N)}
    assert all((np.diff(draw) > 0).all() for draw in draws)
    chosen = np.bincount(np.concatenate(draws), minlength=N) / len(draws)
    assert abs(chosen - int(0.3 * N) / N).max() < 0.12  # five standard deviations
    share = np.array([np.bincount(labels[draw], minlength=3) for draw in draws])
    assert (share.std(0) > 0.5).all(), "a class has the same number in every draw"
    assert set(draw_from_all(train, 3, 0.1)) < set(draws[3])


@pytest.mark.filterwarnings("ignore:the draw of seed .* has no label of")
def test_semi_draws_as_it_is_asked_to(run, tiny):
    train, _ = parts(tiny, "xsub", torch.device("cpu"), "fill")
    (result,) = ask(run, tiny, fraction=0.3, draw="uniform")
    assert result.labels == train.subset(draw_from_all(train, 0, 0.3)).names
    assert result.labels != ask(run, tiny, fraction=0.3)[0].labels


def test_draws_that_leave_something_out_are_told(tiny):
    train, _ = parts(tiny, "xsub", torch.device("cpu"), "fill")
    with pytest.warns(UserWarning, match=r"seed 0 has no label of 1 of the classes"):
        draw_from_all(train, 0, 2.5 / len(train.clips))
    with pytest.raises(ValueError, match=r"0\.001 of \d+ labelled training clips is none"):
        draw_from_all(train, 0, 0.001)
    for other in ({"per_class": 2}, {"labels": "draw.json"}):
        with pytest.warns(UserWarning, match=r"semi\.draw has no effect where"):
            SemiSettings(draw="uniform", **other)


def test_a_class_with_too_few_clips_is_told(run, tiny):
    with pytest.warns(UserWarning, match=r"class wave has \d+ labelled training clips; all are taken"):
        ask(run, tiny, per_class=50)


def test_draws_differ_by_seed_repeat_and_nest(run, tiny):
    draws = [r.labels for r in ask(run, tiny, seed=[0, 1], per_class=3)]
    assert draws[0] != draws[1]
    assert ask(run, tiny, seed=1, per_class=3, overwrite=True)[0].labels == draws[1]
    assert set(ask(run, tiny, per_class=2)[0].labels) < set(draws[0])


def test_only_drawn_labels_are_used(run, tiny, tmp_path):
    """Other labels may be anything."""
    (result,) = ask(run, tiny, per_class=2)
    clips = []
    for i, name in enumerate(tiny.names):
        fields = {k: str(v[i]) for k, v in tiny.fields.items() if not k.endswith("-val")}
        label = int(tiny.labels[i])
        if fields["split:xsub"] == "train" and label >= 0 and name not in result.labels:
            label = (label + 1) % 3
        clips.append(Clip(name, np.array(tiny.clip(i)), None if label < 0 else label, fields))
    other = write_store(tmp_path / "other", clips, tiny.layout, tiny.classes, meta={"dataset": "other"})
    (again,) = ask(run, other, labels=result.path)
    assert again.labels == result.labels
    np.testing.assert_array_equal(again.scores()["scores"], result.scores()["scores"])


def test_an_earlier_draw_can_be_taken(run, tiny):
    first, second = ask(run, tiny, seed=[0, 1], per_class=2)
    (taken,) = ask(run, tiny, labels=second.path)
    assert taken.labels == second.labels != first.labels
    assert taken.hash not in (first.hash, second.hash)


def test_draws_that_cannot_be_taken_are_told(run, tiny, tmp_path):
    with pytest.raises(ValueError, match="no file"):
        ask(run, tiny, labels=str(tmp_path / "draw.json"))
    (drawn,) = ask(run, tiny, per_class=2)
    text = Path(drawn.path).read_text()
    test_clip = tiny.names[tiny.split("xsub")[1][0]]
    for content, match in (
        ("{", "damaged"),
        ("[1]", "no result of this version"),
        (json.dumps(json.loads(text) | {"labels": None}), "has no labels"),
        (text.replace(drawn.labels[0], "nobody"), "'nobody'"),
        (text.replace(drawn.labels[0], test_clip), f"'{test_clip}', which is no labelled training clip"),
    ):
        path = tmp_path / "draw.json"
        path.write_text(content)
        with pytest.raises(ValueError, match=match):
            ask(run, tiny, labels=str(path))


@pytest.mark.parametrize(
    ("change", "match"),
    [({"fraction": 0.0}, "fraction"), ({"fraction": 1.5}, "fraction"), ({"per_class": -1}, "per_class")],
)
def test_bad_fractions_are_told(change, match):
    with pytest.raises(ValueError, match=match):
        SemiSettings(**change)


def test_semi_has_baselines_of_the_same_draw(run, tiny, capsys):
    quick = ["--epochs", "1", "--warmup-epochs", "0", "--head.hidden", "8", "--device", "cpu", "--per-class", "2"]
    where = ["--run", str(run), "--data", str(tiny.path), "--split", "xsub"]
    assert cli.main(["evaluate", "semi", *where, *quick]) == 0
    said = capsys.readouterr().out
    results = [read_result(Path(line)) for line in said.splitlines() if line.endswith(".json")]
    assert [r.seed for r in results] == [0, 1, 2, 3, 4]
    assert "baseline: from scratch" in said
    assert len({r.baselines["raw_coordinates_knn"].accuracy for r in results}) > 1  # by the drawn clips alone

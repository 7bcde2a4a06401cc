"""From recordings to a recogniser: what is found out, said, written; how good it is on people not seen; bad input."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from scipy.stats import beta

from helpers import CLASSES, metadata
from html_pages import check_alone
from kinemask import Recogniser, cli, open_store, train
from kinemask.recognition.assessment import Assessment, clip_folds, exact_interval, group_folds
from kinemask.recognition.labels import find_labelled
from kinemask.recognition.learning import learn
from kinemask.store.format import Clip
from kinemask.store.writer import write_store
from recognition_clips import SBU, clips


def write(folder, count=24, columns=("label", "subject"), nan=()):
    """Recordings as arrays and clips.csv; nan: numbers of those in which nobody is seen."""
    folder.mkdir(parents=True, exist_ok=True)
    x, y, people = clips(count)
    known = {"label": y, "subject": people, "split": ["test" if i % 4 == 3 else "train" for i in range(count)]}
    rows = [",".join(["clip", *columns])]
    for i, one in enumerate(x):
        np.save(folder / f"take{i:02d}.npy", one * np.nan if i in nan else one)
        rows.append(",".join([f"take{i:02d}", *(str(known[name][i]) for name in columns)]))
    (folder / "clips.csv").write_text("\n".join(rows) + "\n")
    return folder


def store_of(path, labels, subjects=None, classes=CLASSES, split=None):
    x, _, people = clips(len(labels))
    subjects = people if subjects is None else subjects
    fields = [{"subject": str(who)} if who else {"subject": ""} for who in subjects]
    if split is not None:
        fields = [one | {"split:mine": side} for one, side in zip(fields, split, strict=True)]
    made = [Clip(f"c{i}", x[i][None], label, fields[i]) for i, label in enumerate(labels)]
    return write_store(path, made, SBU, classes, meta={"dataset": "mine", "units": "metres"})


def test_from_a_folder_to_a_recogniser_and_a_report(tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.main(["train", str(write(tmp_path / "src")), "--out", str(out), "--kernels", "100"]) == 0
    said = capsys.readouterr().out
    assert "is read as your own arrays" in said
    assert "15 joints in 3D (sbu15)" in said
    assert "labels are those of clips.csv" in said
    assert "24 clips of 3 classes" in said
    assert re.search(r"\d+ of 24 clips right, [\d.]+% \(95 % interval [\d.]+% to 100.0%\): people held out", said)
    assert "strongest baseline: " in said
    assert f"kinemask predict {out} NEW-RECORDINGS --out labels.csv" in said
    assert sorted(path.name for path in out.iterdir()) == ["recogniser.safetensors", "report.html"]
    page = (out / "report.html").read_text()
    check_alone(page, tmp_path)
    for words in ("24 of 24 clips right", "most frequent class", "kinemask predict", "15 joints in 3D", "log loss"):
        assert words in page, words
    made = Recogniser.load(out)
    x, y, _ = clips(12, seed=5)
    assert made.score(x, y) > 0.9
    record = json.loads(metadata(out / "recogniser.safetensors")["kinemask"])["record"]
    assert record["reading"] == {"format": "arrays"}
    assert record["assessment"]["clips"] == 24


def test_folders_are_labels(tmp_path):
    x, y, _ = clips(18)
    for i, (one, label) in enumerate(zip(x, y, strict=True)):
        (tmp_path / "src" / label).mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "src" / label / f"{i}.npy", one)
    found = train(tmp_path / "src", tmp_path / "out", kernels=60, store=tmp_path / "store")
    assert found.recogniser.classes_.tolist() == sorted(CLASSES)
    assert "who is in a clip is not known" in found.said[0]
    assert found.assessment.by == "clips held out"
    assert len(open_store(tmp_path / "store")) == 18
    assert "clips held out" in str(found)


def test_a_store_with_a_split(tmp_path):
    sides = ["train"] * 18 + ["test"] * 6
    store = store_of(tmp_path / "store", [i % 3 for i in range(24)], split=sides)
    found = train(store.path, tmp_path / "out", split="mine", kernels=60)
    assert len(found.assessment) == 6
    assert "the test part of split mine" in str(found)
    assert found.recogniser.record_["clips"] == 18
    again = Recogniser.load(tmp_path / "out").predict_proba([store.clip(i) for i in range(18, 24)])
    np.testing.assert_allclose(again, found.assessment.probabilities, atol=1e-5)


def test_the_person_is_never_seen(tmp_path, monkeypatch):
    """Every clip is scored once, by a fit without any clip of its person."""
    from kinemask.recognition import assessment

    store = store_of(tmp_path / "store", [i % 3 for i in range(24)])
    people = np.array(store.fields["subject"])
    seen = []
    true = assessment.predict_held_out

    def spy(bank, fold, test, *others):
        assert not set(people[fold]) & set(people[test])
        seen.extend(test.tolist())
        return true(bank, fold, test, *others)

    monkeypatch.setattr(assessment, "predict_held_out", spy)
    train(store.path, tmp_path / "out", kernels=30)
    assert sorted(seen) == list(range(24))


def test_what_is_held_out_is_fitted_without(tmp_path):
    """A person whose labels are all wrong is recognised wrongly, though the others are right."""
    labels = [i % 3 for i in range(24)]
    odd = [(label + 1) % 3 if i // 3 % 4 == 0 else label for i, label in enumerate(labels)]
    found = train(store_of(tmp_path / "store", odd).path, tmp_path / "out", kernels=100).assessment
    assert 9 <= found.right <= 18  # fitted with that person, it would know more


@pytest.mark.parametrize("right, of", [(0, 5), (3, 7), (20, 20), (811, 861)])
def test_the_interval_is_clopper_and_pearsons(right, of):
    low = beta.ppf(0.025, right, of - right + 1) if right else 0.0
    high = beta.ppf(0.975, right + 1, of - right) if right < of else 1.0
    assert exact_interval(right, of) == pytest.approx((low, high), abs=1e-6)


def test_an_assessment_says_where_it_fails():
    labels = np.array([0, 0, 0, 1, 1, 2])
    scores = torch.full((6, 3), 0.1)
    for row, (guess, much) in enumerate([(0, 0.9), (1, 0.4), (1, 0.42), (1, 0.8), (2, 0.5), (2, 0.7)]):
        scores[row, guess] = much
    shares = (scores / scores.sum(1, keepdim=True)).numpy()
    found = Assessment("clips held out", ["a", "b", "c"], labels, shares, {"x": 2})
    assert found.right == 3
    assert [(c.true, c.taken, c.count, c.of) for c in found.confused] == [("a", "b", 2, 3), ("b", "c", 1, 2)]
    assert found.per_class == [("a", 1, 3), ("b", 1, 2), ("c", 1, 1)]
    assert found.strongest == ("x", 2)
    assert found.curve[0].answered == 6
    assert found.advised.right == found.advised.answered == 3


def test_folds():
    who = np.array([f"p{i % 7}" for i in range(30)])
    folds = group_folds(who)
    assert len(folds) == 5
    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(30))
    assert group_folds(np.zeros(5)) == []
    labels, together = np.arange(20) % 2, np.repeat(np.arange(10), 2)
    for fold in clip_folds(labels, together):
        assert not set(together[fold.train]) & set(together[fold.test])
    assert clip_folds(np.arange(3), np.arange(3)) == []


# bad input


def test_no_labels(tmp_path):
    with pytest.raises(ValueError, match=r"have no labels: a column label in .*clips\.csv, or a folder for each class"):
        train(write(tmp_path / "src", columns=("subject",)), tmp_path / "out")
    store = store_of(tmp_path / "store", [None] * 6)
    with pytest.raises(ValueError, match="no clip has a label"):
        train(store.path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_one_class(tmp_path):
    with pytest.raises(ValueError, match="only one class, 'wave'"):
        train(store_of(tmp_path / "store", [0] * 6).path, tmp_path / "out")


def test_one_clip_of_a_class(tmp_path):
    labels = [0, 1] * 9 + [2]
    found = train(store_of(tmp_path / "store", labels).path, tmp_path / "out", kernels=60)
    assert "1 class has one clip, held out of which nothing is left: bow" in found.said
    assert "never recognised: bow" in str(found)
    assert found.recogniser.classes_.tolist() == ["wave", "kick", "bow"]


def test_one_clip_of_every_class(tmp_path):
    found = train(store_of(tmp_path / "store", [0, 1, 2], subjects=[""] * 3).path, tmp_path / "out", kernels=60)
    assert found.assessment is None
    assert "not known: held out of so few, nothing is left" in str(found)
    assert "is not known" in (tmp_path / "out" / "report.html").read_text()
    assert Recogniser.load(tmp_path / "out").predict_proba(clips(4)[0]).shape == (4, 3)


def test_a_class_in_the_test_part_alone(tmp_path):
    labels, sides = [0, 1] * 6 + [2] * 3, ["train"] * 12 + ["test"] * 3
    store = store_of(tmp_path / "store", labels, split=sides)
    with pytest.raises(ValueError, match="classes in its test part alone, which nothing can be learned of: bow"):
        train(store.path, tmp_path / "out", split="mine")
    with pytest.raises(ValueError, match="no split 'yours'"):
        train(store.path, tmp_path / "out", split="yours")


def test_nobody_in_some_recordings_or_in_all(tmp_path, capsys):
    src = write(tmp_path / "src", nan=(3, 4))
    train(src, tmp_path / "out", kernels=30, quiet=False)
    said = capsys.readouterr().out
    assert "2 files rejected" in said
    assert "rejected: take03.npy: no joint is seen in any frame" in said
    with pytest.raises(ValueError, match=r"no reader takes|no clip of"):
        train(write(tmp_path / "none", count=3, nan=range(3)), tmp_path / "out2")


def test_recordings_without_a_label(tmp_path, capsys):
    """A label each, and the rest without one: what is learned of these is said, and written down."""
    src, rest = write(tmp_path / "src"), 21
    rows = (src / "clips.csv").read_text().splitlines()
    without = [re.sub(r",\w+,", ",,", row) if i > 3 else row for i, row in enumerate(rows)]
    (src / "clips.csv").write_text("\n".join(without) + "\n")
    few = train(src, tmp_path / "few", kernels=60, quiet=False)
    said = capsys.readouterr().out
    assert f"{rest} of 24 clips have no label; labels are spread to them" in said
    assert "training on 3 clips of 3 classes" in said
    assert "labels spread to clips without one" in str(few)
    assert few.assessment is None  # held out of a label each, nothing is left
    again = Recogniser.load(tmp_path / "few")
    assert again.choice_.spread
    assert again.record_["unlabelled"] == rest
    assert f"3, and {rest} without a label" in (tmp_path / "few" / "report.html").read_text()
    assert cli.main(["train", str(src), "--out", str(tmp_path / "off"), "--kernels", "60", "--spread", "no"]) == 0
    assert f"{rest} of 24 clips have no label and are left out" in capsys.readouterr().out
    assert Recogniser.load(tmp_path / "off").record_["unlabelled"] == 0


def test_nobody_who_is_held_out_is_spread_to(tmp_path):
    store = store_of(
        tmp_path / "store", [i % 3 if i < 12 else None for i in range(24)], ["ab"[i % 2] for i in range(24)]
    )
    found = find_labelled(store, None)
    assert found.train.tolist() == list(range(12))
    assert found.unlabelled.tolist() == list(range(12, 24))
    held_out = np.array([0, 2, 4])  # of a
    assert found.apart_from(held_out).tolist() == [13, 15, 17, 19, 21, 23]
    some = find_labelled(store_of(tmp_path / "some", [0, 1, 0, 1, None, None], [*"abab", "", "b"]), None)
    assert some.apart_from(np.array([0, 2])).tolist() == [5]  # not one that may be of a
    unknown = find_labelled(store_of(tmp_path / "other", [0, 1, 0, 1, None], [""] * 5), None)
    assert unknown.apart_from(np.array([0])).tolist() == [4]


def test_each_is_scored_by_a_recogniser_that_was_spread_to_others(tmp_path, monkeypatch):
    subjects = ["abc"[i // 3 % 3] for i in range(36)]
    store = store_of(tmp_path / "store", [i % 3 if i < 18 else None for i in range(36)], subjects)
    labelled, seen = find_labelled(store, None), []
    held_out = lambda bank, fitted, tested, *rest: seen.append((fitted, tested)) or torch.full((len(tested), 3), 1 / 3)
    monkeypatch.setattr("kinemask.recognition.assessment.predict_held_out", held_out)
    learn(Recogniser(kernels=40, twins=False), labelled)
    who = labelled.groups["subject"]
    assert sorted(i for _, tested in seen for i in tested) == list(range(18))
    for fitted, tested in seen:
        assert (fitted >= 18).any()
        assert not set(who[fitted]) & set(who[tested])


def test_a_recordings_pieces_are_not_spread_to_when_it_is_held_out(tmp_path):
    x, _, _ = clips(8)
    made = [Clip(f"c{i}", x[i % 6][None], i % 2 if i < 6 else None, {"subject": ""}) for i in range(8)]
    copies = write_store(tmp_path / "copies", made, SBU, CLASSES, meta={"dataset": "mine", "units": "metres"})
    found = find_labelled(copies, None)
    assert found.apart_from(np.array([0])).tolist() == [7]  # 6 is a copy of 0
    assert found.apart_from(np.array([3])).tolist() == [6, 7]


def test_of_many_without_a_label_some_are_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr("kinemask.recognition.labels.MOST_UNLABELLED", 4)
    found = find_labelled(store_of(tmp_path / "store", [i % 3 if i < 12 else None for i in range(24)]), None)
    assert len(set(found.unlabelled.tolist())) == 4
    assert "12 of 24 clips have no label; labels are spread to 4 of them, drawn at random," in found.said[0]


def test_subjects_of_some_clips_alone(tmp_path):
    subjects = ["a", "b"] * 8 + ["", ""]
    found = find_labelled(store_of(tmp_path / "store", [i % 3 for i in range(18)], subjects), None)
    assert found.people is None
    assert "subject is known of 16 of 18 clips alone" in found.said[-1]


def test_where_it_is_written(tmp_path):
    store = store_of(tmp_path / "store", [i % 2 for i in range(8)])
    train(store.path, tmp_path / "out", kernels=30)
    with pytest.raises(ValueError, match="holds a recogniser already; --overwrite"):
        train(store.path, tmp_path / "out", kernels=30)
    train(store.path, tmp_path / "out", kernels=30, overwrite=True)
    with pytest.raises(ValueError, match="no encoder at"):
        train(tmp_path / "absent", tmp_path / "out4", encoder=tmp_path / "none")
    with pytest.raises(ValueError, match="tokens are an encoder's"):  # before anything is read
        train(tmp_path / "absent", tmp_path / "out4", features=["tokens"])
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file"):
        train(store.path, tmp_path / "file")
    with pytest.raises(ValueError, match="is a store already, so --unit would have no effect"):
        train(store.path, tmp_path / "out3", unit="mm")


def test_units_of_training_are_those_of_prediction(tmp_path):
    src = tmp_path / "src"
    x, y, _ = clips(12)
    src.mkdir()
    for i, one in enumerate(x):
        np.save(src / f"t{i}.npy", one * 1000)
    (src / "clips.csv").write_text("clip,label\n" + "".join(f"t{i},{label}\n" for i, label in enumerate(y)))
    train(src, tmp_path / "out", unit="mm", kernels=30)
    from kinemask import predict

    found = predict(tmp_path / "out", [src / "t1.npy"])
    np.save(tmp_path / "metres.npy", x[1])
    same = predict(tmp_path / "out", [tmp_path / "metres.npy"], unit="m")
    assert found[0].label == same[0].label
    assert found[0].probability == pytest.approx(same[0].probability, abs=1e-4)

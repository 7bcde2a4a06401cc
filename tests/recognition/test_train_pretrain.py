"""`train --pretrain`: what it pre-trains on, that it resumes, and what is said of accuracy on clips it has seen."""

from __future__ import annotations

import os
import signal
import warnings

import numpy as np
import pytest

from helpers import CLASSES, same, weights
from kinemask import cli, load_encoder, train
from kinemask.errors import Stopped
from kinemask.recognition import pretraining
from kinemask.recognition.text import duration
from kinemask.runs.run import Run
from kinemask.skeleton import layout
from kinemask.store.format import Clip
from kinemask.store.opening import open_store
from kinemask.store.writer import write_store
from kinemask.training.pretraining import Pretraining
from loops import ALONE
from recognition_clips import SBU, clips
from tiny_recipe import recipe_file

SEEN = "the encoder saw these clips in pre-training, without their labels"


@pytest.fixture(autouse=True)
def tiny(tmp_path, monkeypatch):
    use(monkeypatch, recipe_file(tmp_path, "tiny", "mosaic", pretext={"kernels": 40}))


def use(monkeypatch, recipe):
    for name, value in (("RECIPE", recipe), ("STEPS", 6), ("START", None)):  # the shipped encoder is of other sizes
        monkeypatch.setattr(pretraining, name, value)


@pytest.fixture
def store(tmp_path):
    """24 clips, the last six without a label, by four people; a test part of the last labelled ones."""
    x, y, people = clips(24)
    labels = [CLASSES.index(name) if i < 18 else None for i, name in enumerate(y)]
    sides = ["test" if 12 <= i < 18 else "train" for i in range(24)]
    made = [Clip(f"c{i}", x[i][None], labels[i], {"subject": people[i], "split:mine": sides[i]}) for i in range(len(x))]
    return write_store(tmp_path / "store", made, SBU, CLASSES, meta={"dataset": "mine", "units": "metres"})


def the_run(out):
    (run,) = out.glob("pretrained-*")
    return run


def test_clips_without_a_label_are_pretrained_on_and_are_no_class(store, tmp_path, capsys):
    found = train(store.path, tmp_path / "out", pretrain=True, kernels=40, quiet=False)
    said = capsys.readouterr().out
    assert "6 of 24 clips have no label; labels are spread to them where there are few labels" in said
    assert "pre-training on 24 clips, 6 of them without a label (" in said
    assert "6 steps, about" in said
    assert found.recogniser.classes_.tolist() == sorted(CLASSES, key=CLASSES.index)
    assert len(found.assessment) == 18
    assert {"tokens" in one.choice.features for one in found.recogniser.tried_} == {True, False}
    assert Run(the_run(tmp_path / "out")).config["split"] == "all"
    assert str(found).count(SEEN) == 1
    assert SEEN in (tmp_path / "out" / "report.html").read_text()


def test_the_test_part_of_a_split_is_not_seen(store, tmp_path, capsys):
    found = train(store.path, tmp_path / "out", pretrain=True, split="mine", kernels=40, quiet=False)
    assert "pre-training on 18 clips, 6 of them" in capsys.readouterr().out
    assert found.assessment.note == ""
    record = load_encoder(the_run(tmp_path / "out")).record
    assert (record["split"], record["sources"][0]["sha256"]) == ("mine", store.identity)
    whole = train(store.path, tmp_path / "out2", pretrain=True, kernels=40)
    again = train(store.path, tmp_path / "out3", encoder=the_run(tmp_path / "out2"), split="mine", kernels=40)
    assert whole.assessment.note == again.assessment.note == SEEN


def test_an_interrupted_run_resumes_and_ends_alike(tmp_path, monkeypatch, capsys):
    """Of a folder of recordings, which is read into a new store each time."""
    src, (x, y, people) = tmp_path / "src", clips(18)
    src.mkdir()
    for i, one in enumerate(x):
        np.save(src / f"take{i:02d}.npy", one)
    rows = [f"take{i:02d},{y[i] if i < 15 else ''},{people[i]}" for i in range(18)]
    (src / "clips.csv").write_text("\n".join(["clip,label,subject", *rows]) + "\n")
    command = ["train", str(src), "--pretrain", "--kernels", "40", "--out"]
    assert cli.main([*command, str(tmp_path / "whole")]) == 0
    after_step = Pretraining.after_step

    def stopping(self, progress):
        after_step(self, progress)
        if progress == 0.5:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Pretraining, "after_step", stopping)
    out = tmp_path / "out"
    capsys.readouterr()
    assert cli.main([*command, str(out)]) == 3
    assert "run the same command to resume" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == [the_run(out).name]
    monkeypatch.undo()
    use(monkeypatch, str(tmp_path / "tiny.yaml"))
    assert cli.main([*command, str(out)]) == 0
    assert same(weights(the_run(out)), weights(the_run(tmp_path / "whole")))
    capsys.readouterr()
    assert cli.main([*command, str(out), "--overwrite"]) == 0
    assert "is pre-trained already, on 18 clips, 3 of them without a label" in capsys.readouterr().out


def test_without_unlabelled_clips_it_says_so(tmp_path, capsys):
    x, y, people = clips(12)
    made = [Clip(f"c{i}", x[i][None], CLASSES.index(y[i]), {"subject": people[i]}) for i in range(12)]
    path = write_store(tmp_path / "all", made, SBU, CLASSES, meta={"dataset": "mine", "units": "metres"}).path
    train(path, tmp_path / "out", pretrain=True, kernels=40, quiet=False)
    said = capsys.readouterr().out
    assert "no recording is without a label: pre-training has the labelled ones alone" in said
    assert "pre-training on 12 labelled clips" in said


def test_mistakes(store, tmp_path):
    with pytest.raises(ValueError, match="--pretrain makes an encoder"):
        train(store.path, tmp_path / "out", pretrain=True, encoder=store.path)
    with pytest.raises(ValueError, match="use no encoder; add tokens"):
        train(store.path, tmp_path / "out", pretrain=True, features=["convolutions"])
    assert not (tmp_path / "out").exists()


def test_too_many_clips_are_refused_before_pretraining(store, tmp_path, monkeypatch):
    monkeypatch.setattr("kinemask.windows.mapped.memory_left", lambda: 20_000)
    with pytest.raises(ValueError, match="clips are too many for a recogniser"):
        train(store.path, tmp_path / "out", pretrain=True)
    assert not (tmp_path / "out").exists()


def test_other_recordings_make_another_run(store, tmp_path, monkeypatch):
    def stop(*_):
        raise Stopped("stopped")

    monkeypatch.setattr(pretraining, "run_job", stop)
    said = []
    for seed in (0, 0, 1):
        with pytest.raises(Stopped):
            pretraining.pretrain_beside(tmp_path / "out", store, None, seed, "cpu", said.append, True)
    assert len(said) == 3
    assert len({line.split("kept in ")[1] for line in said}) == 2


def test_the_shipped_recipe_fits_any_layout(store, monkeypatch):
    monkeypatch.undo()
    made = pretraining.settings_for(open_store(store.path), None, 0, "cpu")
    assert made.sampling.align == "heading"
    assert made.encoder.positions == "named"
    assert made.training.epochs == pretraining.STEPS  # a step a pass
    assert made.training.save_every == pretraining.KEPT_EVERY
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the shipped encoder was trained on clips prepared as these
        task = Pretraining(made, ALONE).task
    assert same(task.encoders()["encoder"].state_dict(), load_encoder("mosaic-small").encoder.state_dict())


def test_it_starts_from_the_shipped_encoder_where_that_reads_the_layout(store, tmp_path, monkeypatch):
    monkeypatch.undo()
    flat = write_store(
        tmp_path / "flat", [Clip("c", np.ones((1, 9, 17, 2), np.float32), 0, {})], layout("coco17"), ["a"]
    )
    start = [pretraining.settings_for(open_store(s.path), None, 0, "cpu").training.init_from for s in (store, flat)]
    assert start == ["mosaic-small", None]


@pytest.mark.parametrize(("seconds", "said"), [(0.2, "about 1 s"), (89, "about 89 s"), (150, "about 2 minutes")])
def test_durations(seconds, said):
    assert duration(seconds) == said

"""`train --finetune`: an encoder fine-tuned without each fold, what it counts, and the recogniser that holds it."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import kinemask
from helpers import CLASSES, metadata
from kinemask import Recogniser, cli, train
from kinemask.models.encoders import save_encoder
from kinemask.nn.settings import EncoderSettings
from kinemask.nn.transformer import TransformerEncoder
from kinemask.recognition import tuned, tuning
from kinemask.recognition.assessment import Fold
from kinemask.recognition.labels import find_labelled
from kinemask.recognition.tuned import blend
from kinemask.recognition.tuning import Tuning
from kinemask.recognition.whole import WholeRecogniser
from kinemask.runs.run import Run
from kinemask.store.format import Clip
from kinemask.store.writer import write_store
from kinemask.training.finetuning import Finetuning
from kinemask.windows.settings import SamplingSettings
from recognition_clips import SBU, clips

FOLDS = 4  # people


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with an encoder and a store; one of the store's classes has no clip with a label."""
    folder = tmp_path_factory.mktemp("finetune")
    torch.manual_seed(0)
    sampling = SamplingSettings(frames=24, min_crop_frames=8, align="heading", test_clips=2)
    made = TransformerEncoder(SBU, 24, EncoderSettings(layers=1, width=16, heads=2, segment_frames=3))
    record = {"settings": {}, "steps": 0, "epochs": 0, "method": "mae", "sources": [], "split": "all"}
    save_encoder(folder / "encoder.safetensors", made, sampling, record)
    x, y, people = clips(24)
    classes = ["nothing", *CLASSES]
    x = [one - one[0, list(SBU.origin)].mean(0) for one in x]  # as `prepare` leaves them
    rows = [Clip(f"c{i}", x[i][None], classes.index(y[i]), {"subject": people[i]}) for i in range(24)]
    write_store(folder / "store", rows, SBU, classes, meta={"dataset": "mine", "units": "metres"})
    return folder


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(tuning, "STEPS", 8)


@pytest.fixture(scope="module")
def trained(place, tmp_path_factory):
    """With a share of the fine-tuned encoder, whatever clips left out say."""
    out = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "STEPS", 8)
        patch.setattr(tuned, "BETTER", 100.0)
        settings = {"encoder": place / "encoder.safetensors", "finetune": True, "kernels": 40, "device": "cpu"}
        return train(place / "store", out, **settings)


def runs(out):
    (folder,) = out.glob("finetuned-*")
    return {path.name: Run(path) for path in folder.iterdir()}


def test_each_clip_is_scored_by_what_has_not_learned_from_it(place, tmp_path):
    labelled = find_labelled(kinemask.open_store(place / "store"), None)
    people = labelled.people
    folds = [Fold(np.flatnonzero(people != who), np.flatnonzero(people == who)) for who in np.unique(people)]
    said = []
    given = Tuning(encoder=place / "encoder.safetensors", out=tmp_path, device="cpu", say=said.append)
    made = given.over(labelled, folds)
    assert made.left_out.shape == (24, 3)
    assert (made.left_out < 0).all()
    for number, fold in enumerate(folds):
        model = kinemask.load_classifier(made.folder / f"fold{number}")
        assert made.settings(len(fold.train)).epochs == 8
        own = model.predict([labelled.store.clip(int(labelled.train[i])) for i in fold.test])[:, made.columns]
        found = made.left_out[torch.from_numpy(fold.test)]
        torch.testing.assert_close(own.log(), found, atol=0.01, rtol=0.01)  # which may be of bf16
    assert not list(made.folder.rglob("*.pt"))
    assert len({run.config["training_clips"] for run in runs(tmp_path).values()}) == FOLDS
    assert f"without each of {FOLDS} folds, and on all clips if that helps: 8 steps each, about" in said[0]
    again = given.over(labelled, folds)
    assert said[1:] == [f"the encoder is fine-tuned already, without each of {FOLDS} folds"]
    torch.testing.assert_close(again.left_out, made.left_out)


def test_another_state_of_the_numbers_makes_other_runs(place, tmp_path, monkeypatch):
    """`train --overwrite` goes on after the code has changed, in place of runs that another code has made."""
    labelled = find_labelled(kinemask.open_store(place / "store"), None)
    folds = [Fold(np.arange(12), np.arange(12, 24))]
    given = Tuning(encoder=place / "encoder.safetensors", out=tmp_path, device="cpu")
    made = given.over(labelled, folds)
    monkeypatch.setattr("kinemask.protocols.finetune.NUMERICS", -1)
    again = given.over(labelled, folds)
    assert again.folder != made.folder
    assert again.is_done("fold0")


def test_the_recogniser_has_it_inside(trained, place):
    made = trained.recogniser
    assert made.choice_.tuned == 0.75
    assert "the fine-tuned encoder (75%) beside" in str(trained)
    assert {one.choice.tuned for one in made.tried_} == {0.0, 0.25, 0.5, 0.75}
    assert len(trained.assessment) == 24
    assert set(runs(trained.path.parent)) == {*(f"fold{k}" for k in range(FOLDS)), "all"}
    store = kinemask.open_store(place / "store")
    x = [store.clip(i) for i in range(0, 24, 3)]
    again = Recogniser.load(trained.path)
    assert again.choice_ == made.choice_
    assert again.classes_.tolist() == list(CLASSES)
    np.testing.assert_allclose(again.predict_proba(x), made.predict_proba(x), atol=1e-6)
    np.testing.assert_allclose(made.predict_proba(x).sum(1), 1, atol=1e-5)
    features = again.transform(x)
    assert features.shape == (8, made.n_features_out_)
    alone = kinemask.load_classifier(runs(trained.path.parent)["all"].path).predict(x)[:, 1:]
    np.testing.assert_allclose(np.exp(features[:, -3:]), alone, atol=1e-5)
    ridge, beside = made.model_.tuned.counts
    assert min(ridge, beside) > 0
    logits = ridge * made.model_.probe(torch.from_numpy(features[:, :-3])) + beside * features[:, -3:]
    np.testing.assert_allclose(logits.softmax(1), made.predict_proba(x), atol=1e-6)
    embedded = kinemask.embed(trained.path.parent, [place / "store"], out=place / "features.npz")
    assert embedded.features.shape == (24, made.n_features_out_)


def test_everything_inside_for_export_is_the_recogniser(trained, tmp_path):
    (one, _, _), (two, _, _) = clips(5, seed=3), clips(5, seed=5, bodies=2)
    x = [*(np.asarray(clip, np.float32)[None] + 1 for clip in one), *(np.asarray(clip, np.float32) for clip in two)]
    whole = WholeRecogniser(trained.recogniser.model_)
    with torch.no_grad():
        found = torch.cat([whole(torch.from_numpy(clip)[None]) for clip in x])
    np.testing.assert_allclose(found, trained.recogniser.predict_proba(x), atol=1e-5)
    pytest.importorskip("onnx")
    assert kinemask.export(trained.path.parent, tmp_path / "model.onnx").difference < 1e-4


def test_what_is_left_out_decides_what_it_counts():
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 3
    truth = torch.nn.functional.one_hot(labels, 3).float()
    noise = lambda scale: scale * torch.randn(60, 3, generator=rng)
    good, bad = truth + noise(0.3), noise(1.0)
    best, tried = blend(bad, good.log_softmax(1), labels)
    assert best.share > 0
    assert [one.share for one in tried] == [0, 0.25, 0.5, 0.75]
    assert best.loss < 0.2 * tried[0].loss
    assert best.accuracy > 80
    best, tried = blend(good, bad.log_softmax(1), labels)
    assert (best.share, best.counts) == (0.0, (1.0, 0.0))
    assert tried[0] is best


def test_an_interrupted_run_resumes(place, tmp_path, monkeypatch, capsys):
    command = ["train", str(place / "store"), "--encoder", str(place / "encoder.safetensors"), "--finetune"]
    command += ["--kernels", "40", "--device", "cpu", "--out", str(tmp_path / "out")]
    after_step, steps = Finetuning.after_step, []

    def counted(self, progress):
        after_step(self, progress)
        steps.append(progress)
        if len(steps) == 11:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Finetuning, "after_step", counted)
    assert cli.main(command) == 3
    assert "run the same command to resume" in capsys.readouterr().err
    assert sorted(runs(tmp_path / "out")) == ["fold0", "fold1"]
    assert not (tmp_path / "out" / "recogniser.safetensors").exists()
    assert cli.main(command) == 0
    assert len(steps) in (FOLDS * 8, (FOLDS + 1) * 8)  # each step once
    assert "learned from labels" not in capsys.readouterr().out


def test_mistakes_and_too_few_clips(place, tmp_path, capsys):
    with pytest.raises(ValueError, match="--finetune is of an encoder"):
        train(place / "store", tmp_path / "out", finetune=True)
    x, y, people = clips(6)
    rows = [Clip(f"c{i}", x[i][None], CLASSES.index(y[i]), {"subject": people[i]}) for i in range(3)]
    few = write_store(tmp_path / "few", rows, SBU, CLASSES, meta={"dataset": "mine", "units": "metres"}).path
    encoder = place / "encoder.safetensors"
    found = train(few, tmp_path / "out", encoder=encoder, finetune=True, kernels=40, quiet=False)
    assert "whether fine-tuning helps: it is left alone" in capsys.readouterr().out
    assert found.recogniser.model_.tuned is None
    assert [path.name for path in (tmp_path / "out").iterdir() if path.is_dir()] == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"columns": torch.tensor([0, 1, 9])}, "columns"),
        ({"counts": torch.ones(3)}, "counts"),
        ({"tuned.head.4.bias": None}, "the file holds"),
    ],
    ids=["a class of none", "three counts", "a weight missing"],
)
def test_files_that_lie_are_refused(trained, tmp_path, change, told):
    tensors = load_file(trained.path) | change
    path = tmp_path / "recogniser.safetensors"
    save_file({name: value for name, value in tensors.items() if value is not None}, path, metadata(trained.path))
    with pytest.raises(ValueError, match=told):
        Recogniser.load(path)

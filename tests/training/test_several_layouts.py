"""Pre-training on stores of several layouts at once: one set of weights, batches of one store each."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers import CLASSES, make_settings, recordings, same, state, weights
from kinemask.api import evaluate
from kinemask.models.encoders import load_encoder
from kinemask.pretext import NAMES, method
from kinemask.recognition.recogniser import Recogniser
from kinemask.reports.skeletons import load_task
from kinemask.skeleton import layout
from kinemask.store.format import Clip
from kinemask.store.writer import write_store
from kinemask.training.loop import Loop
from kinemask.training.pretraining import Pretraining, pretrain, turns
from kinemask.training.settings import Settings
from loops import ALONE

TRANSFORMERS = [name for name in NAMES if method(name).architecture == "transformer"]
NAMED = {"encoder_positions": "named"}


@pytest.fixture(scope="module")
def ntu(tmp_path_factory):
    of = layout("ntu25")
    clips = recordings(of, 30, seed=1)
    return write_store(tmp_path_factory.mktemp("several") / "ntu", clips, of, CLASSES, meta={"dataset": "second"})


def run_of(settings, run):
    return Loop(Pretraining(settings, ALONE), run, ALONE, quiet=True)


def both(tiny, ntu, **changes):
    return make_settings(tiny, data=[str(tiny.path), str(ntu.path)], split="all", **NAMED, **changes)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_every_transformer_method_learns_from_two_layouts(tiny, ntu, tmp_path, name):
    settings = both(tiny, ntu, name=name, training_epochs=2)
    job = run_of(settings, tmp_path / "loop").job
    batches = [job.sample(step, 0, 1) for step in range(2 * job.steps_per_epoch)]
    assert {batch.source for batch in batches} == {0, 1}
    assert {batch.x.shape[2] for batch in batches} == {15, 25}
    run = pretrain(settings, tmp_path / "run", quiet=True)
    assert state(run)["step"] == 2 * job.steps_per_epoch
    load_task(run, Settings.from_dict(settings.to_dict()), tiny.layout)  # as the report does
    for store in (tiny, ntu):  # one encoder for both layouts, each evaluated as its own is
        (result,) = evaluate("knn", run, store.path, "xsub", baselines=False)
        assert 0 <= result.accuracy <= 100


def test_the_weights_are_the_same_and_both_layouts_pull_at_them(tiny, ntu, tmp_path):
    job = run_of(both(tiny, ntu), tmp_path / "loop").job
    first, second = (dict(task.named_parameters()) for task in job.task.tasks)
    assert all(first[name] is second[name] for name in first)
    assert len(list(job.task.parameters())) == len(first)
    for step in range(job.steps_per_epoch):
        job.task.zero_grad()
        job.task(job.sample(step, 0, 1))["loss"].backward()
        assert all(p.grad is not None for p in job.task.parameters() if p.requires_grad)


def test_sets_are_drawn_by_weight_and_each_goes_round_its_own_tracks():
    source, visits = turns([1, 3], 4000, seed=0)
    assert abs(source.mean() - 0.75) < 0.03
    for one in (0, 1):
        assert visits[source == one].tolist() == list(range((source == one).sum()))
    assert np.array_equal(source[:100], turns([1, 3], 100, seed=0)[0])
    assert not np.array_equal(source, turns([1, 3], 4000, seed=1)[0])


def test_stores_of_one_layout_with_weights_are_sets_of_their_own(tiny, tmp_path):
    settings = make_settings(tiny, data=[str(tiny.path)] * 2, training_weights=[1.0, 5.0], training_epochs=40)
    job = run_of(settings, tmp_path / "loop").job
    assert len(job.sets) == 2
    drawn = [job.batch(step)[0] for step in range(40 * job.steps_per_epoch)]
    assert drawn.count(1) > 2 * drawn.count(0)
    wrong = make_settings(tiny, data=[str(tiny.path)] * 2, training_weights=[1.0, 1.0, 1.0])
    with pytest.raises(ValueError, match=r"training\.weights has 3 numbers for 2 stores"):
        run_of(wrong, tmp_path / "wrong")


def test_resumed_it_ends_as_if_it_had_not_stopped(tiny, ntu, tmp_path):
    settings = both(tiny, ntu, name="mosaic", training_epochs=3)
    whole = pretrain(settings, tmp_path / "whole", quiet=True)
    loop = run_of(settings, tmp_path / "parts")
    for _ in range(4):
        loop.advance(loop.task)
    loop.save()
    again = pretrain(settings, tmp_path / "parts", quiet=True)
    assert same(weights(again), weights(whole))


@pytest.mark.parametrize("first", ["sbu15", "kinect20"])
def test_learned_positions_belong_to_one_layout(first, tmp_path):
    second = "ntu25" if first == "sbu15" else "utd20"  # as many joints, in another order
    stores = []
    for of in map(layout, (first, second)):
        data = np.random.default_rng(0).normal(size=(1, 30, of.num_joints, 3)).astype(np.float32)
        stores.append(write_store(tmp_path / of.name, [Clip(f"c{n}", data + n, None, {}) for n in range(8)], of, []))
    settings = make_settings(stores[0], data=[str(store.path) for store in stores], split="all")
    with pytest.raises(ValueError, match=rf"both layout {first} .* and layout {second} .*encoder\.positions named"):
        pretrain(settings, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_each_store_has_its_split(tiny, ntu, tmp_path):
    settings = both(tiny, ntu)
    settings.split = "xsub+all"
    job = run_of(settings, tmp_path / "loop").job
    assert job.sets[0].clips.tolist() == tiny.split("xsub")[0].tolist()
    assert len(job.sets[1].clips) == len(ntu)
    settings.split = "xsub+all+xsub"
    with pytest.raises(ValueError, match="names 3 splits for 2 stores"):
        run_of(settings, tmp_path / "other")


def test_an_encoder_with_learned_positions_stays_on_its_layout(tiny, ntu, tmp_path):
    run = pretrain(make_settings(tiny, training_epochs=1), tmp_path / "run", quiet=True)
    assert not load_encoder(run).encoder.knows(ntu.layout)
    with pytest.raises(ValueError, match=r"sbu15 \(15 joints\).*ntu25 \(25 joints\)"):
        evaluate("knn", run, ntu.path, "xsub", baselines=False)


def test_mosaic_predicts_the_same_of_all_data_sets(tiny, ntu, tmp_path):
    loop = run_of(both(tiny, ntu, name="mosaic"), tmp_path / "loop")
    targets = torch.cat([task.clip_target for task in loop.job.task.tasks])
    assert targets.mean(0).abs().max() < 0.02
    assert targets.square().mean().item() == pytest.approx(1, abs=0.02)


def test_what_learned_from_several_layouts_starts_any_other_run(tiny, ntu, tmp_path):
    run = pretrain(both(tiny, ntu, training_epochs=1), tmp_path / "run", quiet=True)
    on_another = make_settings(ntu, split="all", training_init_from=str(run), **NAMED)
    for settings in (both(tiny, ntu, training_init_from=str(run)), on_another):
        job = Pretraining(settings, ALONE)
        assert same(dict(next(iter(job.task.encoders().values())).state_dict()), weights(run))
    fixed = make_settings(ntu, split="all", training_init_from=str(run))
    with pytest.raises(ValueError, match=r"encoder|positions"):
        Pretraining(fixed, ALONE)


def test_it_is_an_encoder_for_recognisers_of_either_layout(tiny, ntu, tmp_path):
    run = pretrain(both(tiny, ntu, training_epochs=1), tmp_path / "run", quiet=True)
    for store in (tiny, ntu):
        made = Recogniser(features=["tokens"], encoder=run, device="cpu").fit(store)
        assert made.model_.encoder.layout == store.layout
        path = made.save(tmp_path / f"{store.layout.name}.safetensors")
        assert np.array_equal(Recogniser.load(path, "cpu").predict_proba(store), made.predict_proba(store))

"""Pre-training on several stores of one layout at once."""

from __future__ import annotations

import pytest
import torch

from helpers import CLASSES, make_settings, recordings, same, state, weights
from kinemask.models.encoders import load_encoder
from kinemask.skeleton import layout
from kinemask.store.writer import write_store
from kinemask.training.pretraining import pretrain
from loops import loop_of


def second(tmp_path, seed=1):
    of = layout("sbu15")
    clips = recordings(of, 20, seed)
    return write_store(tmp_path / f"{of.name}-{seed}", clips, of, CLASSES, meta={"dataset": "second"})


def test_two_stores_of_one_layout_are_learned_from_at_once(tiny, tmp_path):
    other = second(tmp_path)
    data = [str(tiny.path), str(other.path)]
    job = loop_of(tiny, tmp_path / "loop", data=data).job
    one, two = (loop_of(store, tmp_path / f"loop{i}").job for i, store in enumerate((tiny, other)))
    assert len(job.sets[0]) == len(one.sets[0]) + len(two.sets[0])
    epoch = torch.cat([job.batch(step)[1] for step in range(job.steps_per_epoch)])
    assert set(job.sets[0].store_of[job.sets[0].clip[epoch]].tolist()) == {0, 1}
    names = [name for step in range(job.steps_per_epoch) for name in job.names(step)]
    assert {name.rpartition(" of ")[2] for name in names} == set(data)
    run = pretrain(make_settings(tiny, data=data), tmp_path / "run", quiet=True)
    alone = pretrain(make_settings(tiny), tmp_path / "alone", quiet=True)
    assert not same(weights(run), weights(alone))
    found = load_encoder(run).record["sources"]
    assert found == [{"dataset": s.name, "sha256": s.identity} for s in (tiny, other)]
    assert state(run)["sources"] == [tiny.identity, other.identity]


def test_a_run_does_not_resume_on_other_stores(tiny, tmp_path):
    settings = make_settings(tiny, training_epochs=1)
    run = pretrain(settings, tmp_path / "run", quiet=True)
    more = make_settings(tiny, training_epochs=1, data=[str(tiny.path), str(second(tmp_path).path)])
    with pytest.raises(ValueError, match="was trained on another store than"):
        pretrain(more, run, quiet=True)

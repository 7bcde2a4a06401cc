"""A store in Python: clips by number and name, as a table, as a data set of PyTorch, in a notebook."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from helpers import recordings
from kinemask.skeleton import layout
from kinemask.store.writer import write_store
from kinemask.windows.settings import SamplingSettings
from kinemask.windows.window import Window

BODY = layout("sbu15")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("made") / "store", recordings(BODY), BODY, ("wave", "kick", "bow"))


def test_a_clip_by_number_and_by_name(store):
    assert store[0].name == "clip00"
    assert store[-1].name == "nameless"
    assert store[np.int64(4)].name == "clip04"
    for which in (7, "clip07"):
        clip = store[which]
        assert np.array_equal(clip.data, store.clip(7), equal_nan=True)
        assert (clip.label, clip.class_name) == (1, "kick")
        assert clip.fields["subject"] == "3"
        assert clip.layout is store.layout
        assert clip.score is None
    assert (store["nameless"].label, store["nameless"].class_name) == (None, "")
    assert [clip.name for clip in store[2:4]] == ["clip02", "clip03"]


def test_what_is_not_there(store):
    for number in (len(store), -len(store) - 1):
        with pytest.raises(IndexError):
            store[number]
    with pytest.raises(KeyError, match="did you mean"):
        store["clip99x"]
    with pytest.raises(TypeError):
        store[1.0]
    assert "clip07" in store
    assert "clip99" not in store


def test_iterating_gives_every_clip_once(store):
    assert [clip.name for clip in store] == store.names
    assert len(store) == len(store.names)


def test_short_words(store):
    assert repr(store[0]) == "<clip 'clip00': 'wave', 2 people, 90 frames, sbu15>"
    assert "unlabelled" in repr(store["nameless"])
    assert len(repr(store)) < 200 + len(str(store.path))
    assert "47 clips, 3 classes, sbu15; splits xcam, xcam-val, xsub, xsub-val" in repr(store)


def test_a_notebook_shows_moving_skeletons(store):
    for shown in (store, store[3]):
        html = shown._repr_html_()
        assert html.count("<iframe") == 1
        assert "moving skeleton of" in html
    assert "bow" in store._repr_html_()  # clips of two classes, the first and the last


def test_examples_are_of_several_classes(store):
    assert store.labels[store.examples(3)].tolist() == [0, 1, 2]
    assert store.labels[store.examples(9)].tolist() == [0, 1, 2]
    nameless = np.array([store.names.index("nameless")])
    assert store.examples(4, nameless).tolist() == nameless.tolist()


def test_the_table_is_clips_csv(store):
    frame = store.to_frame()
    assert list(frame["name"]) == store.names
    assert frame["label"].isna().sum() == 1
    assert frame["label"][7] == "kick"
    assert list(frame["frames"]) == store.lengths.tolist()
    assert {"bodies", "subject", "camera", "split:xsub"} < set(frame.columns)


def test_without_pandas_the_extra_is_named(store, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ValueError, match=r"kinemask\[tables\]"):
        store.to_frame()


def test_a_data_set_of_one_side(store):
    train, test = store.split("xsub")
    for side, indices in (("train", train), ("test", test)):
        found = store.dataset("xsub", side)
        assert isinstance(found, Dataset)
        assert len(found) == len(indices)
        clip, label = found[2]
        assert clip.dtype == torch.float32
        assert torch.equal(clip.isnan(), torch.from_numpy(np.isnan(store.clip(indices[2]))))
        assert label == store.labels[indices[2]]
    assert len(store.dataset()) == len(store)
    assert store.dataset()[store.names.index("nameless")][1] == -1
    clip[:] = 0  # a copy: the store's file stays as it is
    store.verify()


@pytest.mark.parametrize(
    "given, told", [(("xsub",), "side"), (("all", "train"), "side"), (("xsub", "val"), "side"), (("x", "test"), "xsub")]
)
def test_a_split_and_a_side_go_together(given, told, store):
    with pytest.raises(ValueError, match=told):
        store.dataset(*given)


def test_windows_make_batches(store):
    window = Window(store.layout, SamplingSettings(frames=16), bodies=2)
    x, label = next(iter(DataLoader(store.dataset("xsub", "test", transform=window), batch_size=4)))
    assert x.shape == (4, 2, 16, 15, 3)
    assert x.isfinite().all()
    assert label.dtype == torch.int64


def test_a_store_is_opened_and_read_without_pytorch(store):
    code = (
        f"import sys, kinemask; s = kinemask.open_store({str(store.path)!r}); s[0], repr(s), list(s), s._repr_html_()"
    )
    code += "\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)

"""Recognisers on disk: the same after as before, and files that lie are refused without running anything."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers import Hostile, metadata, rewrite
from kinemask import Recogniser
from kinemask.models.encoders import save_encoder
from kinemask.nn.settings import EncoderSettings, ReadoutSettings
from kinemask.nn.transformer import TransformerEncoder
from kinemask.skeleton import layout
from kinemask.windows.settings import SamplingSettings
from recognition_clips import SBU, clips

KINDS = {
    "convolutions": {"features": "convolutions"},
    "statistics": {"features": "statistics"},
    "both": {"features": ["statistics", "convolutions"]},
    "tokens": {"features": "tokens"},
    "hybrid": {"features": ["convolutions", "tokens"], "readout": ReadoutSettings(over="parts", pieces=[1, 2])},
}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    torch.manual_seed(0)
    sampling = SamplingSettings(frames=24, min_crop_frames=8)
    made = TransformerEncoder(SBU, 24, EncoderSettings(layers=1, width=16, heads=2, segment_frames=3))
    path = tmp_path_factory.mktemp("encoder") / "encoder.safetensors"
    record = {"settings": {}, "steps": 0, "epochs": 0, "method": "mae", "sources": [], "split": "all"}
    save_encoder(path, made, sampling, record)
    return path


@pytest.fixture(scope="module")
def saved(tmp_path_factory, encoder):
    """A recogniser of every kind, in its own folder."""
    x, y, people = clips(18)
    folders = {}
    for name, settings in KINDS.items():
        with_encoder = {"encoder": encoder} if "tokens" in settings["features"] else {}
        folders[name] = tmp_path_factory.mktemp(name)
        made = Recogniser("sbu15", kernels=60, **settings, **with_encoder).fit(x, y, people)
        made.save(folders[name])
        folders[name, "made"] = made
    return folders


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_same_after_as_before(saved, kind):
    x, _, _ = clips(9, seed=4)
    again, made = Recogniser.load(saved[kind]), saved[kind, "made"]
    np.testing.assert_allclose(again.predict_proba(x), made.predict_proba(x), atol=1e-6)
    np.testing.assert_allclose(again.transform(x), made.transform(x), atol=1e-5)
    assert (again.predict(x) == made.predict(x)).all()
    assert again.layout_ == SBU
    assert again.choice_ == made.choice_
    assert set(again.choice_.features) == set(np.atleast_1d(KINDS[kind]["features"]))
    assert again.lengths_ == made.lengths_
    again.save(saved[kind] / "copy.safetensors")
    assert (saved[kind] / "copy.safetensors").read_bytes() == (saved[kind] / "recogniser.safetensors").read_bytes()


def test_an_encoder_of_another_layout_is_refused(encoder):
    x, y, _ = clips(6, of=layout("ntu25"))
    with pytest.raises(ValueError, match="trained on layout sbu15"):
        Recogniser("ntu25", encoder=encoder).fit(x, y)


def test_the_encoders_share_is_chosen_by_clips_left_out(encoder):
    x, y, people = clips(24)
    found = Recogniser(SBU, kernels=60, encoder=encoder, align="none", mirrored=False).fit(x, y, people)
    tried = {(one.choice.features, one.choice.shares) for one in found.tried_}
    three = ("convolutions", "statistics", "tokens")
    assert {one.choice.shares[-1] for one in found.tried_ if one.choice.features == three} == {0.25, 0.5, 0.75}
    assert (("tokens",), (1.0,)) in tried
    best = min(found.tried_, key=lambda one: one.loss)
    own = next(one for one in found.tried_ if one.choice == found.choice_)
    assert own.loss <= best.loss / 0.98**3  # only clear gains change a choice, three times at the most


def change(**values):
    return lambda path: rewrite(path, lambda about: about | values)


def tensor(name, new):
    """Change one tensor of the file."""

    def act(path):
        about, tensors = metadata(path), load_file(path)
        tensors[name] = new(tensors[name])
        save_file({k: v.contiguous() for k, v in tensors.items()}, path, metadata=about)

    return act


def without(name):
    def act(path):
        about, tensors = metadata(path), load_file(path)
        del tensors[name]
        save_file(tensors, path, metadata=about)

    return act


LIES = {
    "truncated": lambda p: p.write_bytes(p.read_bytes()[:-100]),
    "empty": lambda p: p.write_bytes(b""),
    "text": lambda p: p.write_text("no weights"),
    "pickle": lambda p: p.write_bytes(pickle.dumps(Hostile(p.parent / "trace"))),
    "huge header": lambda p: p.write_bytes((2**60).to_bytes(8, "little") + b"{}"),
    "not JSON": lambda p: rewrite(p, lambda about: "{"),
    "a list": lambda p: rewrite(p, lambda about: "[]"),
    "another format": change(format=9),
    "an encoder": change(kind="encoder"),
    "no layout": change(layout={}),
    "another layout": lambda p: rewrite(p, lambda about: about | {"layout": layout("ntu25").to_dict()}),
    "one class too many": lambda p: rewrite(p, lambda about: about | {"classes": [*about["classes"], "hop"]}),
    "a class twice": change(classes=["wave", "wave", "bow"]),
    "classes of lists": change(classes=[[1], [2], [3]]),
    "no classes": change(classes=[]),
    "lengths of text": change(lengths=["a", "b", "c"]),
    "a hundred bodies": change(window={"frames": 64, "bodies": 100}),
    "a billion frames": change(window={"frames": 10**9, "bodies": 1}),
    "frames as text": change(window={"frames": "64", "bodies": 1}),
    "an unknown feature": change(choice={"features": ["dreams"], "shares": [1.0], "align": "none", "mirrored": False}),
    "shares of two": change(choice={"features": ["convolutions"], "shares": [0.5, 0.5], "align": "none"}),
    "no choice": change(choice=None),
    "tokens of no encoder": change(choice={"features": ["convolutions", "tokens"], "shares": [0.5, 0.5]}),
    "NaN": tensor("probe.weights", lambda w: w * torch.nan),
    "no temperature": without("probe.temperature"),
    "a negative temperature": tensor("probe.temperature", lambda t: -t),
    "a scale of zero": tensor("probe.scale", torch.zeros_like),
    "a narrower probe": tensor("probe.mean", lambda m: m[:-1]),
    "kernels without an end": tensor("kernels.dilation", lambda d: d * 10**6),
    "kernels of length zero": tensor("kernels.length", torch.zeros_like),
    "kernels of other lengths": tensor("kernels.length", lambda n: n.flip(0) // 11 * 11 + n.flip(0) % 11),
    "taps missing": tensor("kernels.taps", lambda t: t[:-1]),
    "kernels of floats": tensor("kernels.taken", lambda t: t.float()),
    "another number of channels": tensor("kernels.taken", lambda t: t[:, :-1]),
    "channels of scale zero": tensor("channels.scale", torch.zeros_like),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_file_that_lies_is_refused_by_name(saved, tmp_path, lie):
    path = tmp_path / "recogniser.safetensors"
    path.write_bytes((saved["convolutions"] / "recogniser.safetensors").read_bytes())
    LIES[lie](path)
    with pytest.raises(ValueError, match=r"recogniser\.safetensors") as error:
        Recogniser.load(path)
    assert len(str(error.value)) <= 600
    assert not (tmp_path / "trace").exists()


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(ValueError, match=r"no recogniser at .*kinemask train"):
        Recogniser.load(tmp_path)


def test_the_file_is_small_and_plain(saved):
    path = saved["convolutions"] / "recogniser.safetensors"
    assert path.stat().st_size < 200_000
    about = json.loads(metadata(path)["kinemask"])
    assert about["classes"] == ["bow", "kick", "wave"]
    assert about["layout"]["name"] == "sbu15"

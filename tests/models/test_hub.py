"""Encoders on the Hub, which is a folder here; and what is asked of the real package, if that is there."""

from __future__ import annotations

import inspect
import sys

import numpy as np
import pytest
import torch
import yaml

from hub_in_a_folder import FolderHub
from kinemask import load_encoder
from kinemask.models.encoders import TrainedEncoder, save_encoder
from kinemask.models.hub import code, here_or_fetched, words
from kinemask.nn.settings import EncoderSettings
from kinemask.nn.transformer import TransformerEncoder
from kinemask.skeleton import layout
from kinemask.version import __version__
from kinemask.windows.settings import SamplingSettings

SBU = layout("sbu15")
RECORD = {"settings": {}, "steps": 9, "epochs": 3, "method": "mae", "split": "xsub"}
RECORD |= {"sources": [{"dataset": "my|set\n# and", "sha256": "0"}]}


@pytest.fixture
def hub(tmp_path, monkeypatch) -> FolderHub:
    return FolderHub(tmp_path).install(monkeypatch)


@pytest.fixture
def encoder() -> TrainedEncoder:
    torch.manual_seed(0)
    made = TransformerEncoder(SBU, 24, EncoderSettings(layers=1, width=16, heads=2, segment_frames=3))
    return TrainedEncoder(made, SamplingSettings(frames=24, min_crop_frames=8), dict(RECORD)).eval()


def test_an_encoder_comes_back_as_it_went(hub, encoder):
    assert encoder.push_to_hub("me/hacm", license="cc-by-4.0") == "https://hub/me/hacm/commit/main"
    x = [np.random.default_rng(0).normal(0, 0.3, (30, 15, 3)).astype(np.float32)]
    again = TrainedEncoder.from_pretrained("me/hacm")
    assert torch.equal(again.encode(x), encoder.encode(x))
    assert again.record == RECORD
    assert set(hub.files("me/hacm")) == {"encoder.safetensors", "README.md"}


def test_folders_of_the_machine_stay_there(hub, encoder):
    before = {"settings": {"data": ["/home/anna/stores/clinic"], "training": {"init_from": "C:\\Users\\anna\\first"}}}
    encoder.record |= before | {"pretraining": {"settings": {"data": ["stores/mine", "/srv/theirs"]}}}
    encoder.push_to_hub("me/hacm")
    assert b"anna" not in hub.files("me/hacm")["encoder.safetensors"]
    record = TrainedEncoder.from_pretrained("me/hacm").record
    assert record["settings"] == {"data": ["clinic"], "training": {"init_from": "first"}}
    assert record["pretraining"]["settings"]["data"] == ["mine", "theirs"]
    assert encoder.record["settings"]["data"] == ["/home/anna/stores/clinic"]


def test_the_card_of_an_encoder(hub, encoder):
    encoder.push_to_hub("me/hacm")
    _, header, text = hub.files("me/hacm")["README.md"].decode().split("---\n", 2)
    assert yaml.safe_load(header)["library_name"] == "kinemask"
    assert "license" not in yaml.safe_load(header)
    for part in ("# hacm\n", "Layout `sbu15`: 15 joints in 3D", "`head`, `neck`", "method `mae` in 3 epochs"):
        assert part in text
    assert "On `my|set # and`, split `xsub`" in text
    assert "## Licence\n\nNone is stated" in text


def test_a_file_that_is_here_needs_no_hub(encoder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    save_encoder(tmp_path / "encoder.safetensors", encoder.encoder, encoder.sampling, encoder.record)
    for source in (tmp_path, tmp_path / "encoder.safetensors", str(tmp_path)):
        assert TrainedEncoder.from_pretrained(source).layout == load_encoder(source).layout
    with pytest.raises(ValueError, match="is here, so revision v1 would have no effect"):
        TrainedEncoder.from_pretrained(tmp_path, revision="v1")


@pytest.mark.parametrize("act", ["push", "fetch"])
def test_without_the_package(act, encoder, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ValueError, match=r"huggingface_hub: pip install 'kinemask\[hub\]'"):
        encoder.push_to_hub("me/hacm") if act == "push" else TrainedEncoder.from_pretrained("me/hacm")


@pytest.mark.parametrize("name", ["runs/a/b", "squats", "../up", "/etc/none", "me/with space", ".hidden/x", ""])
def test_what_names_no_repository(name, hub, encoder):
    with pytest.raises(ValueError, match="OWNER/NAME"):
        encoder.push_to_hub(name)
    if name:  # the empty path is this folder
        with pytest.raises(ValueError, match="OWNER/NAME"):
            TrainedEncoder.from_pretrained(name)
    assert not hub.calls


def test_what_is_not_to_be_had(hub, encoder):
    with pytest.raises(ValueError, match=r"me/none cannot be had from the Hub: .*Repository Not Found"):
        TrainedEncoder.from_pretrained("me/none")
    encoder.push_to_hub("me/hacm")
    with pytest.raises(ValueError, match=r"me/hacm cannot be had from the Hub: .*Revision Not Found"):
        TrainedEncoder.from_pretrained("me/hacm", revision="v9")
    (hub.root / "me" / "hacm" / "main" / "encoder.safetensors").unlink()
    (hub.root / "me" / "hacm" / "main" / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(ValueError, match="me/hacm on the Hub has no encoder"):
        TrainedEncoder.from_pretrained("me/hacm")
    assert not list(hub.cache.rglob("*.bin"))


def test_what_is_asked_of_the_hub(hub, encoder):
    encoder.push_to_hub("me/hacm", private=True, revision="v1", token="secret", message="first", card=False)
    TrainedEncoder.from_pretrained("me/hacm", revision="v1", token="secret")
    us = {"library_name": "kinemask", "library_version": __version__}
    calls = dict(hub.calls)
    del calls["upload_folder"]["folder_path"]  # a temporary one
    assert calls == {
        "HfApi": {"token": "secret", **us},
        "create_repo": {"repo_id": "me/hacm", "private": True, "exist_ok": True},
        "create_branch": {"repo_id": "me/hacm", "branch": "v1", "exist_ok": True},
        "upload_folder": {"repo_id": "me/hacm", "revision": "v1", "commit_message": "first"},
        "snapshot_download": {
            "repo_id": "me/hacm",
            "revision": "v1",
            "token": "secret",
            "allow_patterns": ["encoder.safetensors"],
            **us,
        },
    }
    assert set(hub.files("me/hacm", "v1")) == {"encoder.safetensors"}


def test_the_real_package_takes_what_is_asked_of_it(tmp_path, encoder):
    """Every call that the stand-in saw fits the signature of the installed package."""
    real = pytest.importorskip("huggingface_hub")
    from huggingface_hub import errors

    with pytest.MonkeyPatch.context() as patch:
        hub = FolderHub(tmp_path).install(patch)
        encoder.push_to_hub("me/hacm", revision="v1")
        TrainedEncoder.from_pretrained("me/hacm", revision="v1")
    assert len(hub.calls) == 5
    for name, given in hub.calls:
        call = getattr(real, name, None) or getattr(real.HfApi(), name)
        inspect.signature(call).bind(**given)
    assert issubclass(errors.GatedRepoError, errors.RepositoryNotFoundError)
    assert issubclass(errors.RevisionNotFoundError, OSError)
    assert "commit_url" in inspect.signature(real.CommitInfo).parameters


def test_the_real_package_without_a_network(tmp_path, monkeypatch):
    """The Hub cannot be reached: an OSError that says so, and no file."""
    pytest.importorskip("huggingface_hub")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(OSError, match=r"(?i)offline|cache"):
        here_or_fetched("me/none-of-this-name", "encoder.safetensors")


def test_names_and_sentences_mean_nothing_in_markdown():
    assert code("a`b\n|c") == "`a'b |c`"
    assert words("[x](http://y) <b>|\n# 5 %") == "x (http: y) b 5 %"

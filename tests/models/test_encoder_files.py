"""Encoder files: read back without any pretext method, of an earlier format, damaged, hostile."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers import LIES, metadata, rewrite
from kinemask.models.architectures import Architecture, architecture, register_architecture
from kinemask.models.encoders import build_encoder, load_encoder, save_encoder
from kinemask.nn.transformer import TransformerEncoder
from kinemask.pretext import NAMES, method
from kinemask.runs.result import Trained
from kinemask.skeleton import layout
from kinemask.windows.settings import SamplingSettings
from loops import environment

ARCHITECTURES = sorted({method(name).architecture for name in NAMES})
SOURCE = {"dataset": "tiny", "sha256": {"frames.npy": "0" * 64}}
RECORD = {
    "method": "mamp",
    "settings": {"seed": 3},
    "sources": [SOURCE],
    "split": "xsub",
    "steps": 8,
    "epochs": 2.0,
    "pretraining": None,
}
RENAMED = {  # names of weights now -> in format 1
    "embedding.": "",
    "trunk.blocks": "blocks",
    "trunk.norm": "norm",
    "trunk.layers": "graph.layers",
    "trunk.activations": "graph.activations",
}


def make(name, path):
    """An encoder's file, and the encoder."""
    chosen = architecture(name)
    torch.manual_seed(0)
    encoder = chosen.build(layout("sbu15"), 12, chosen.settings(layers=2, width=8, joints="pruned")).eval()
    save_encoder(path, encoder, SamplingSettings(frames=12, stream="bone"), RECORD)
    return encoder


def recordings():
    return np.random.default_rng(0).normal(size=(3, 20, 15, 3)).astype(np.float32)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_file_gives_the_same_encoder(name, tmp_path):
    path = tmp_path / "encoder.safetensors"
    encoder, before = make(name, path), torch.get_rng_state()
    model = load_encoder(path)
    assert torch.equal(torch.get_rng_state(), before)
    assert not model.training
    assert (model.layout, model.encoder.settings) == (encoder.layout, encoder.settings)
    assert (model.sampling, model.record) == (SamplingSettings(frames=12, stream="bone"), RECORD)
    x = torch.randn(3, 12, 15, 3)
    assert torch.equal(model.encoder(x), encoder(x))
    assert torch.equal(load_encoder(tmp_path).encode(recordings()), model.encode(recordings()))
    about = json.loads(metadata(path)["kinemask"])
    assert about["architecture"] == name
    assert "method" not in about
    assert build_encoder(about).state_dict().keys() == model.state_dict().keys()


LOADER = """
import sys, numpy as np
from kinemask import load_encoder
for path in sys.argv[2:]:
    np.save(path + ".npy", load_encoder(path).encode(np.load(sys.argv[1])).numpy())
print([name for name in sys.modules if name.startswith("kinemask.pretext") or name.startswith("kinemask.training")])
"""


def test_loading_imports_no_pretext_method(tmp_path):
    np.save(tmp_path / "x.npy", recordings())
    files = [tmp_path / f"{name}.safetensors" for name in ARCHITECTURES]
    for name, path in zip(ARCHITECTURES, files, strict=True):
        make(name, path)
    command = [sys.executable, "-c", LOADER, tmp_path / "x.npy", *files]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"
    for path in files:
        here = load_encoder(path).encode(recordings()).numpy()
        np.testing.assert_allclose(np.load(f"{path}.npy"), here, atol=1e-6)


@pytest.mark.parametrize("tuned", [False, True])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_files_of_format_1_are_read(name, tuned, tmp_path):
    """They named a method, had no embedding and trunk, and one data set."""
    path = tmp_path / "encoder.safetensors"
    make(name, path)
    expected = load_encoder(path)
    about = json.loads(metadata(path)["kinemask"])
    old = {"settings": {"seed": 3}, "steps": 8, "epochs": 2.0, "data": {**SOURCE, "split": "xsub"}}
    kept = {k: about[k] for k in ("layout", "encoder", "sampling")}
    before = {"pretraining": {**old, "steps": 5}} if tuned else {}
    about = {"format": 1, "method": "mamp", "record": old | before, **kept}
    weights = {}
    for key, value in load_file(path).items():
        new = next(prefix for prefix in RENAMED if key.startswith(prefix))
        weights[RENAMED[new] + key.removeprefix(new)] = value
    save_file(weights, path, metadata={"kinemask": json.dumps(about)})
    found = load_encoder(path)
    assert torch.equal(found.encode(recordings()), expected.encode(recordings()))
    assert found.record == RECORD | {"pretraining": {**RECORD, "steps": 5} if tuned else None}
    assert Trained.of(found.record).datasets == ["tiny"]


def test_an_architecture_of_ones_own(tmp_path):
    class Own(TransformerEncoder):
        architecture = "own"

    chosen = architecture("transformer")
    register_architecture(Architecture("own", chosen.settings, Own))
    encoder = make("own", tmp_path / "encoder.safetensors")
    assert type(encoder) is type(load_encoder(tmp_path).encoder) is Own
    with pytest.raises(ValueError, match="kinemask's own"):
        register_architecture(Architecture("graph", chosen.settings, Own))
    with pytest.raises(ValueError, match=r"unknown architecture 'os'.*transformer"):
        architecture("os")


@pytest.mark.parametrize("lie", LIES)
def test_a_file_that_is_no_encoder_is_told(lie, tmp_path):
    path = tmp_path / "encoder.safetensors"
    make("transformer", path)
    load_encoder(path)
    LIES[lie](path)
    with pytest.raises(ValueError, match=r"encoder\.safetensors"):
        load_encoder(path)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_neither_written_nor_read(value, tmp_path):
    path = tmp_path / "encoder.safetensors"
    encoder = make("transformer", path)
    changed = load_file(path)
    changed["trunk.norm.weight"][0] = value
    save_file(changed, path, metadata=metadata(path))
    with pytest.raises(ValueError, match=r"encoder\.safetensors: its weight trunk\.norm\.weight is not finite"):
        load_encoder(path)
    with torch.no_grad():
        encoder.trunk.norm.weight[0] = value
    with pytest.raises(FloatingPointError, match=r"trunk\.norm\.weight is not finite, so .*new\.safetensors"):
        save_encoder(tmp_path / "new.safetensors", encoder, SamplingSettings(frames=12), RECORD)
    assert {p.name for p in tmp_path.iterdir()} == {path.name}


def setting(section, name, value):
    """The metadata with another value there."""
    return lambda about: about | {section: about[section] | {name: value}}


HOSTILE = {  # what metadata claims -> why it is refused
    "deep JSON": (lambda about: "[" * 10**5, "more than 32 values inside each other"),
    "a deep record": (lambda about: json.dumps(about)[:-1] + ', "x": ' + "[" * 40 + "]" * 40 + "}", "more than 32"),
    "a record of 3": (lambda about: about | {"record": 3}, "no record, or one that is no dict"),
    "an architecture of two": (lambda about: about | {"architecture": ["a", "b"]}, "no architecture, or one"),
    "no sampling": (lambda about: about | {"sampling": None}, "no sampling, or one"),
    "format 1 of lists": (lambda about: {**about, "format": 1, "method": [], "record": []}, "is not an encoder"),
    "a format of lists": (lambda about: about | {"format": [1]}, "has format"),
    "a wide encoder": (setting("encoder", "width", 10**9), "encoder.width is 1000000000, beyond"),
    "a wider encoder": (setting("encoder", "width", 10**6), "they make a model of .* weights, and the file holds"),
    "beyond int64": (setting("encoder", "width", 2**64), "a whole number of more than 64 bits"),
    "many layers": (setting("encoder", "layers", 10**9), "encoder.layers is 1000000000, beyond"),
    "more layers": (setting("encoder", "layers", 200), "they make a model of .* weights, and the file holds"),
    "endless MLP": (setting("encoder", "mlp_ratio", math.inf), "encoder.mlp_ratio is inf, beyond"),
    "no number": (setting("encoder", "mlp_ratio", math.nan), "encoder.mlp_ratio is nan, beyond"),
    "a wide MLP": (setting("encoder", "mlp_ratio", 1e6), "they make a model of .* weights, and the file holds"),
    "many views": (setting("sampling", "test_clips", 10**9), "sampling.test_clips is 1000000000, beyond"),
    "a long window": (setting("sampling", "frames", 12 * 10**8), "sampling.frames is 1200000000, beyond"),
    "a longer window": (setting("sampling", "frames", 96_000), "they make a model of .* weights, and the file holds"),
    "a negative width": (setting("encoder", "width", -8), "encoder.width must be positive"),
    "many joints": (setting("layout", "joints", ["a"] * 10**5), "100,000 joints; a layout has at most"),
    "classes of numbers": (lambda about: about | {"classes": [1, 2]}, "a class whose name is no text"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_metadata_is_refused_before_anything_is_built(case, tmp_path):
    change, words = HOSTILE[case]
    path = tmp_path / "encoder.safetensors"
    make("transformer", path)
    rewrite(path, change)
    with pytest.raises(ValueError, match=words) as error:
        load_encoder(path)
    assert str(path) in str(error.value)
    assert len(str(error.value)) <= 500


def test_an_architecture_that_looks_at_its_weights_is_loaded(tmp_path):
    class Looking(TransformerEncoder):
        architecture = "looking"

        def __init__(self, *args):
            super().__init__(*args)
            assert self.embedding.tokenizer.weight.abs().max().item() > 0

    register_architecture(Architecture("looking", architecture("transformer").settings, Looking))
    make("looking", tmp_path / "encoder.safetensors")
    assert type(load_encoder(tmp_path).encoder) is Looking


def test_an_absent_encoder_is_told(tmp_path):
    for path in (tmp_path, tmp_path / "encoder.safetensors"):
        with pytest.raises(ValueError, match="no encoder at"):
            load_encoder(path)

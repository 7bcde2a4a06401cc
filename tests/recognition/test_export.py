"""Exported models: raw keypoints in, what PyTorch says out, for any people and frames; checked before it is written."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import kinemask
from kinemask import Recogniser
from kinemask.models.encoders import TrainedEncoder, save_encoder
from kinemask.nn.graph import GraphEncoder
from kinemask.nn.readouts import read_by
from kinemask.nn.settings import EncoderSettings, GraphEncoderSettings, ReadoutSettings
from kinemask.nn.transformer import TransformerEncoder
from kinemask.recognition import export as exporting
from kinemask.recognition.export import read_model
from kinemask.recognition.onnx_weights import pack
from kinemask.recognition.programs import run_onnx
from kinemask.recognition.whole import WholeEncoder, WholeRecogniser
from kinemask.store.format import Clip
from kinemask.store.writer import write_store
from kinemask.windows.settings import SamplingSettings
from recognition_clips import SBU, clips

onnx = pytest.importorskip("onnx")
SAMPLING = SamplingSettings(frames=24, min_crop_frames=8)
RECORD = {"settings": {}, "steps": 0, "epochs": 0, "method": "mae", "sources": [], "split": "all"}
READOUTS = {
    "mean": ReadoutSettings(),
    "parts": ReadoutSettings(over="parts", pieces=[1, 2], statistics=["mean", "std"]),
    "pair": ReadoutSettings(over="joints", pieces=[1, 2], statistics=["mean", "max"], bodies="pair"),
    "layers": ReadoutSettings(layers=1),
}


def make_encoder(kind="transformer", **changes):
    torch.manual_seed(0)
    if kind == "graph":
        return GraphEncoder(SBU, 24, GraphEncoderSettings(width=8, layers=2)).eval()
    settings = EncoderSettings(layers=2, width=16, heads=2, segment_frames=3, **changes)
    return TransformerEncoder(SBU, 24, settings).eval()


def people(count=8, seed=3):
    """Clips of one to three people, far from the origin, with gaps; one of a single frame."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(count):
        x, _, _ = clips(1, seed=seed + i, bodies=1 + i % 3)
        clip = np.asarray(x[0], np.float32)
        clip = (clip[None] if clip.ndim == 3 else clip) + rng.normal(0, 2, 3).astype(np.float32)
        clip[rng.random(clip.shape[:3]) < 0.05] = np.nan
        found.append(clip)
    return [*found, found[0][:, :1]]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    path = tmp_path_factory.mktemp("encoder") / "encoder.safetensors"
    save_encoder(path, make_encoder(space="poincare"), SAMPLING, RECORD)
    return path


def sensed(x, seed):
    """Recordings that tremble by a millimetre, as a sensor's do.

    In stiller ones rounding is most of some channels, and decides on which side of 0 a convolution's answer is.
    """
    rng = np.random.default_rng(seed)
    return [one + rng.normal(0, 0.001, one.shape) for one in x]


def learn(encoder, *features):
    """A recogniser that has seen one and two people, and labels of which a quarter is wrong: it is not too sure."""
    (one, y, _), (two, _, _) = clips(36), clips(36, bodies=2, seed=5)
    x = [a if i % 4 else b for i, (a, b) in enumerate(zip(one, two, strict=True))]
    x, y[1::4] = sensed(x, 1), np.roll(y[1::4], 1)
    with_encoder = {"encoder": encoder} if "tokens" in features else {}
    return Recogniser("sbu15", features=features, kernels=40, align="heading", **with_encoder).fit(x, y)


@pytest.fixture(scope="module")
def recogniser(tmp_path_factory, encoder):
    folder = tmp_path_factory.mktemp("recogniser")
    learn(encoder, "convolutions", "tokens").save(folder)
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    x, y, _ = clips(30, seed=8)
    x = sensed(x, 2)
    names = sorted(set(y))
    made = [Clip(f"c{i}", a[None], names.index(b), {}) for i, (a, b) in enumerate(zip(x, y, strict=True))]
    return write_store(tmp_path_factory.mktemp("made") / "store", made, SBU, names).path


@pytest.fixture(scope="module")
def written(recogniser, store, tmp_path_factory):
    """The recogniser as ONNX, and what was said of it."""
    said = kinemask.export(recogniser, tmp_path_factory.mktemp("onnx") / "new" / "model.onnx", data=store)
    return said


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("made", [{}, {"space": "poincare", "joints": "pruned"}, {"kind": "graph"}], ids=str)
def test_an_encoder_with_everything_inside_is_the_encoder(made, readout):
    encoder = make_encoder(**made)
    for changes in ({}, {"align": "pair", "scale": "torso", "stream": "motion"}):
        sampling = SamplingSettings(frames=24, min_crop_frames=8, **changes)
        shortened, pooled = read_by(READOUTS[readout], encoder)
        model = TrainedEncoder(shortened, sampling, RECORD, pooled)
        whole = WholeEncoder(model)
        x = exporting._centred(people(), SBU)
        with torch.no_grad():
            found = torch.cat([whole(torch.from_numpy(clip)[None]) for clip in people()])
        torch.testing.assert_close(found, model.encode(x), atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("features", [("convolutions",), ("statistics",), ("statistics", "tokens")], ids=str)
def test_a_recogniser_with_everything_inside_is_the_recogniser(features, encoder):
    made = learn(encoder, *features)
    whole = WholeRecogniser(made.model_)
    with torch.no_grad():
        found = torch.cat([whole(torch.from_numpy(clip)[None]) for clip in people()])
    np.testing.assert_allclose(found, made.predict_proba(people()), atol=1e-5)


def test_onnx_says_what_pytorch_says_of_any_people_and_frames(written, recogniser):
    assert written.path.name == "model.onnx"
    assert written.difference < 1e-4
    assert (written.clips, written.made, written.agreement) == (30, False, 100.0)
    assert written.accuracy == written.accuracy_before > 50
    run = run_onnx(written.path.read_bytes())
    found = np.stack([run(clip) for clip in people()])
    np.testing.assert_allclose(found, Recogniser.load(recogniser, "cpu").predict_proba(people()), atol=1e-4)
    assert found.max(1).mean() < 0.97  # not so sure that a difference would not show


def test_the_file_tells_how_to_read_it_and_nothing_of_this_machine(written):
    model = onnx.load(written.path)
    onnx.checker.check_model(model)
    (entry,) = model.metadata_props
    about = json.loads(entry.value)
    assert about["classes"] == ["bow", "kick", "wave"]
    assert about["layout"] == SBU.to_dict()
    assert (about["output"], about["units"]) == ("probabilities", "metres, y up")
    sizes = [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    assert (sizes[0], *sizes[3:]) == (1, 15, 3)
    assert all(isinstance(size, str) for size in sizes[1:3])
    assert str(kinemask.__path__[0]).encode() not in written.path.read_bytes()
    assert b".py" not in written.path.read_bytes()
    assert model.opset_import[0].version == 18


def test_eight_bits_are_smaller_and_say_what_they_cost(recogniser, written, store, tmp_path):
    said = kinemask.export(recogniser, tmp_path / "small.onnx", data=store, quantize=True)
    assert said.size < 0.9 * written.size
    assert 1e-7 < said.difference < 0.1
    assert said.agreement >= 90
    assert "weights of eight bits" in str(said)
    assert "accuracy on those with a label" in str(said)


def test_a_program_of_torch_export(recogniser, tmp_path):
    said = kinemask.export(recogniser, tmp_path / "model.pt2")
    assert said.made
    assert "made-up clips" in str(said)
    extra = {"kinemask.json": ""}
    module = torch.export.load(tmp_path / "model.pt2", extra_files=extra).module()
    assert json.loads(extra["kinemask.json"])["classes"] == ["bow", "kick", "wave"]
    found = np.concatenate([module(torch.from_numpy(clip)[None]).detach().numpy() for clip in people()])
    np.testing.assert_allclose(found, Recogniser.load(recogniser, "cpu").predict_proba(people()), atol=1e-5)


@pytest.mark.parametrize("kind", ["transformer", pytest.param("graph", marks=pytest.mark.slow)])
def test_an_encoder_as_onnx(kind, tmp_path):
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, make_encoder(kind), SAMPLING, RECORD)
    said = kinemask.export(path, tmp_path / "encoder.onnx")
    assert (said.output, said.agreement, said.accuracy) == ("features", None, None)
    run = run_onnx(said.path.read_bytes())
    expected = read_model(path).expected(people())
    np.testing.assert_allclose(np.stack([run(clip) for clip in people()]), expected, atol=1e-4)


@pytest.mark.parametrize(
    "names, told",
    [
        (("recogniser", "model.h5"), r"\.onnx, \.html, \.pt2"),
        (("encoder", "page.html"), "is no recogniser"),
        (("recogniser", "model.pt2", "quantize"), r"eight bits are for \.onnx and \.html"),
        (("store", "model.onnx"), "neither a recogniser nor a run"),
        (("away", "model.onnx"), "no encoder at"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(names, told, recogniser, encoder, store, tmp_path):
    sources = {"recogniser": recogniser, "encoder": encoder, "store": store, "away": tmp_path / "away"}
    source = sources[names[0]]
    with pytest.raises(ValueError, match=told):
        kinemask.export(source, tmp_path / "out" / names[1], quantize="quantize" in names)
    assert not (tmp_path / "out").exists()


def test_a_store_of_another_layout_and_random_test_windows_are_refused(encoder, tmp_path):
    of = kinemask.layout("coco17")
    made = write_store(tmp_path / "flat", [Clip("a", np.ones((1, 3, 17, 2)), None, {})], of, ())
    with pytest.raises(ValueError, match=r"layout sbu15, the store .* of coco17"):
        kinemask.export(encoder, tmp_path / "model.onnx", data=made.path)
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, make_encoder(), SamplingSettings(frames=24, window="uniform"), RECORD)
    with pytest.raises(ValueError, match="frames at random"):
        kinemask.export(path, tmp_path / "model.onnx")


@pytest.mark.parametrize("name", ["onnx", "onnxruntime", "onnxscript"])
def test_a_missing_package_is_named(name, recogniser, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ValueError, match=rf"needs the package {name}: pip install 'kinemask\[onnx\]'"):
        kinemask.export(recogniser, tmp_path / "model.onnx")


def test_what_differs_from_pytorch_is_not_written(encoder, tmp_path, monkeypatch):
    made = read_model(encoder)
    other = exporting.Model(made.whole, made.about, lambda clips: made.expected(clips) + 1e-3)
    monkeypatch.setattr(exporting, "read_model", lambda source: other)
    with pytest.raises(FloatingPointError, match="differ from PyTorch's by"):
        kinemask.export(encoder, tmp_path / "model.pt2")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("eight_bits", [False, True])
def test_packed_weights_are_the_weights(eight_bits):
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(45, 64)).astype(np.float32)
    across = rng.normal(size=(64, 32)).astype(np.float32)
    sparse = np.where(rng.random((16, 15, 9)) < 0.1, rng.normal(size=(16, 15, 9)), 0).astype(np.float32)
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    tables = {"sparse": sparse, "dense": dense, "across": across, "first": np.array(0)}
    tables |= {"series": np.array([6, 15, -1]), "row": np.array([1, -1])}
    steps = [  # (kind, inputs, output, attributes), of a clip of 30 frames
        ("Gather", ["keypoints", "first"], "body", {"axis": 1}),
        ("Flatten", ["body"], "flat", {"axis": 2}),
        ("MatMul", ["flat", "dense"], "a", {}),
        ("Gemm", ["a", "across"], "b", {}),
        ("Reshape", ["body", "series"], "over time", {}),
        ("Conv", ["over time", "sparse"], "c", {}),
        ("Reshape", ["b", "row"], "d", {}),
        ("Reshape", ["c", "row"], "e", {}),
        ("Concat", ["d", "e"], "out", {"axis": 1}),
    ]
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, [output], **more) for kind, inputs, output, more in steps],
        "made",
        [helper.make_tensor_value_info("keypoints", floats, [1, "m", "t", 15, 3])],
        [helper.make_tensor_value_info("out", floats, None)],
        [onnx.numpy_helper.from_array(value, name) for name, value in tables.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    before = model.SerializeToString()
    packed = pack(model, eight_bits)
    assert model.SerializeToString() == before
    assert len(packed) < (0.5 if eight_bits else 0.95) * len(before)
    clip = rng.normal(size=(1, 30, 15, 3)).astype(np.float32)
    expected, found = run_onnx(before)(clip), run_onnx(packed)(clip)
    if eight_bits:
        assert 0 < np.abs(found - expected).max() < 0.02 * np.abs(expected).max()
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_pages_python_runs_the_file(written, tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parents[2] / "docs" / "export.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    shutil.copy(written.path, "model.onnx")
    np.save("take00.npy", people()[0])
    exec(code, {})
    assert capsys.readouterr().out.split()[0] in ("bow", "kick", "wave")

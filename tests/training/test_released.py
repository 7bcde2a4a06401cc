"""Released checkpoints: a small state of the released names and shapes, made here, against a plain reference of it."""

from __future__ import annotations

import argparse
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import kinemask
from helpers import Hostile, recordings
from kinemask import cli, load_encoder
from kinemask.reports.reproduce import pretrain_command
from kinemask.runs.run import Run
from kinemask.skeleton import layout
from kinemask.store.writer import write_store
from kinemask.training.released import RELEASES
from released_weights import LAYERS, C, D, H, made, write

SIZES = {"mae": (25, 4, 3), "mamp": (25, 4, 3), "hacm": (18, 3, 4), "masksem": (25, 4, 3)}  # V, S, P


def reference(w: dict[str, Tensor], x: Tensor, hyperbolic: bool) -> Tensor:
    """What an encoder of these weights makes of bodies x (B, T, V, C), token by token: (B, P, V, D)."""
    S = w["joints_embed.proj.weight"].shape[2]
    tokens = F.conv2d(x.permute(0, 3, 1, 2), w["joints_embed.proj.weight"], w["joints_embed.proj.bias"], (S, 1))
    h = tokens.permute(0, 2, 3, 1) + w["pos_embed"] + w["temp_embed"]
    if hyperbolic:
        norm = h.norm(dim=-1, keepdim=True)
        h = h / norm * torch.tanh(norm).clamp_max(1 - 1e-5)
    grid = h.shape
    h = h.flatten(1, 2)
    linear = lambda h, name: h @ w[f"{name}.weight"].T + w[f"{name}.bias"]
    norm = lambda h, name: F.layer_norm(h, (D,), w[f"{name}.weight"], w[f"{name}.bias"])
    for i in range(LAYERS):
        q, k, v = linear(norm(h, f"blocks.{i}.norm1"), f"blocks.{i}.attn.qkv").split(D, -1)
        heads = []
        for one in range(H):
            own = slice(one * D // H, (one + 1) * D // H)
            attention = (q[..., own] @ k[..., own].mT / (D / H) ** 0.5).softmax(-1)
            heads.append(attention @ v[..., own])
        h = h + linear(torch.cat(heads, -1), f"blocks.{i}.attn.proj")
        hidden = F.gelu(linear(norm(h, f"blocks.{i}.norm2"), f"blocks.{i}.mlp.fc1"))
        h = h + linear(hidden, f"blocks.{i}.mlp.fc2")
    return norm(h, "norm").view(grid)


@pytest.mark.parametrize("name", RELEASES)
def test_an_imported_encoder_is_the_released_one(name, tmp_path):
    V, S, P = SIZES[name]
    weights = made(V, S, P)
    file = write(tmp_path / "checkpoint-399.pth", name, weights)
    assert cli.main(["import", name, str(file), "--out", str(tmp_path / "run")]) == 0
    model, ntu = load_encoder(tmp_path / "run"), layout("ntu25")
    kept = list(range(25)) if V == 25 else [2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15, 17, 18, 19, 21, 22, 23, 24]
    assert (model.layout, model.encoder.joints.tolist()) == (ntu, kept)
    assert (model.sampling.frames, model.encoder.settings.segment_frames, model.record["epochs"]) == (P * S, S, 400)
    x = torch.randn(3, P * S, 25, C, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = reference(weights, x[:, :, kept], name == "hacm")
        torch.testing.assert_close(model.encoder(x), expected, atol=2e-6, rtol=1e-5)
    clip = np.random.default_rng(0).normal(size=(1, 40, 25, C)).astype(np.float32)
    assert model.encode(clip).shape == (1, D)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    of = layout("ntu25")
    folder = tmp_path_factory.mktemp("released") / "store"
    return write_store(folder, recordings(of), of, ["wave", "kick", "bow"], meta={"dataset": "small"})


def test_an_imported_run_is_evaluated(store, tmp_path):
    file = write(tmp_path / "released.pth", "mamp", made(25, 4, 3))
    quick = {"device": "cpu", "baselines": False}
    run = kinemask.import_released("mamp", file, tmp_path / "run")
    for where, told in (({}, "name the one to evaluate on .data"), ({"data": store.path}, "name the one .* .split")):
        with pytest.raises(ValueError, match=told):
            kinemask.evaluate("knn", run, **where, **quick)
    (result,) = kinemask.evaluate("knn", run, store.path, "xsub", **quick)
    assert (result.trained.method, result.trained.datasets) == ("mamp", [])
    known = kinemask.import_released("mamp", file, tmp_path / "known", data=store.path, split="xsub")
    (same,) = kinemask.evaluate("knn", known, **quick)
    assert same.trained.datasets == [store.name]
    np.testing.assert_array_equal(same.scores()["scores"], result.scores()["scores"])
    assert Run(known).config["imported"]["file"] == "released.pth"
    command, recipe = pretrain_command(Run(known).config, ["stores/small"], "runs/known")
    assert (command, recipe) == (
        "kinemask import mamp released.pth --out runs/known --data stores/small --split xsub",
        "",
    )
    with pytest.raises(ValueError, match="other settings"):
        kinemask.import_released("mae", file, known, data=store.path, split="xsub")


def without(weights, key):
    return {k: v for k, v in weights.items() if k != key}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda w: without(w, "blocks.1.attn.qkv.bias"), r"weights lack blocks\.1\.attn\.qkv\.bias"),
        (lambda w: {}, r"weights lack joints_embed\.proj\.weight"),
        (lambda w: w | {"pos_embed": torch.zeros(1, 1, 7, D)}, "16 or 18 or 20 or 25 joints"),
        (lambda w: w | {"pos_embed": torch.zeros(25, D)}, "pos_embed has 2 dimensions, not 4"),
        (lambda w: w | {"norm.bias": torch.zeros(D + 1)}, "weights do not fit"),
        (lambda w: w | {"norm.bias": torch.full((D,), torch.nan)}, r"norm\.bias is not finite"),
        (lambda w: w | {"norm.bias": torch.zeros(1).expand(10**9)}, r"norm\.bias: a tensor of shape .* has 4 bytes"),
        (lambda w: w | {"norm.bias": "text"}, r"weights lack norm\.bias"),
        (lambda w: w | {"temp_embed": torch.zeros(1, 0, 1, D)}, "frames must be positive"),
    ],
)
def test_weights_of_something_else_are_refused(change, told, tmp_path):
    file = write(tmp_path / "other.pth", "mamp", change(made(25, 4, 3)))
    with pytest.raises(ValueError, match=rf"other\.pth.*{told}"):
        kinemask.import_released("mamp", file, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("how", ["absent", "pickle", "torch", "args", "text", "list", "cut"])
def test_a_hostile_file_runs_nothing(how, tmp_path):
    file, trace = tmp_path / "hostile.pth", tmp_path / "trace"
    match how:
        case "pickle":
            file.write_bytes(pickle.dumps(Hostile(trace)))
        case "torch":
            write(file, "mamp", made(25, 4, 3), epoch=Hostile(trace))
        case "args":
            write(file, "mamp", made(25, 4, 3), args=argparse.Namespace(model=Hostile(trace)))
        case "text":
            file.write_text("weights")
        case "list":
            torch.save([1, 2], file)
        case "cut":
            write(file, "mamp", made(25, 4, 3))
            file.write_bytes(file.read_bytes()[:-300])
    with pytest.raises(ValueError, match=r"hostile\.pth"):
        kinemask.import_released("mamp", file, tmp_path / "run")
    assert not trace.exists()
    assert not (tmp_path / "run").exists()


def test_what_is_asked_wrongly_is_told(store, tmp_path):
    file = write(tmp_path / "released.pth", "mamp", made(25, 4, 3))
    for asked, told in (
        ({"split": "xsub"}, "of which store"),
        ({"data": store.path, "split": "nonsense"}, "nonsense"),
        ({"heads": 3}, r"encoder\.heads 3"),
        ({"heads": 0}, r"encoder\.heads must be positive"),
    ):
        with pytest.raises(ValueError, match=told):
            kinemask.import_released("mamp", file, tmp_path / "run", **asked)
    with pytest.raises(ValueError, match="no weights of mosaic were released"):
        kinemask.import_released("mosaic", file, tmp_path / "run")
    with pytest.raises(ValueError, match=r"lack mamp\.joints_embed"):
        kinemask.import_released("masksem", file, tmp_path / "run")

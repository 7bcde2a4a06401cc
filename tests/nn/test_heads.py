"""Classifiers around an encoder: the MLP head, drop path, parameters by depth."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from helpers import make_settings
from kinemask.models.classifiers import build_classifier
from kinemask.nn.heads import MLPClassifier
from kinemask.nn.settings import EncoderSettings, HeadSettings
from kinemask.nn.transformer import Block, TransformerEncoder
from kinemask.pretext import NAMES, method
from kinemask.skeleton import layout

OF = layout("sbu15")


def small_encoder(of=OF, frames=12, **changes) -> TransformerEncoder:
    torch.manual_seed(0)
    settings = EncoderSettings(**{"layers": 3, "width": 16, "heads": 2, "segment_frames": 3} | changes)
    return TransformerEncoder(of, frames, settings)


def test_the_classifier_is_the_papers_head_on_joints_side_by_side():
    encoder = small_encoder()
    model = MLPClassifier(encoder, 4, HeadSettings(hidden=8, dropout=0.3)).eval()
    assert [type(m).__name__ for m in model.head] == ["Dropout", "Linear", "BatchNorm1d", "ReLU", "Linear"]
    x, clip_index = torch.randn(3, 12, 15, 3), torch.tensor([1, 0, 1])
    tokens = encoder(x)  # (B, P, V, D)
    clips = torch.stack([tokens[1].mean(0).flatten(), tokens[[0, 2]].mean((0, 1)).flatten()])
    torch.testing.assert_close(model(x, clip_index, 2), model.head(clips))
    assert HeadSettings() == HeadSettings(kind="mlp", hidden=2048, dropout=0.3, layers=3)


def by_hand(tokens, clip_index, clips, how):
    """Clips' features, clip by clip; tokens (B, P, V, D) are dropped before the means, or the means are."""
    torch.manual_seed(1)
    tokens = F.dropout(tokens, 0.3) if how == "tokens" else tokens
    features = torch.stack([tokens[clip_index == clip].mean((0, 1)).flatten() for clip in range(clips)])
    return F.dropout(features, 0.3) if how == "features" else features


@pytest.mark.parametrize("how", ["features", "tokens"])
def test_dropout_acts_on_the_tokens_or_on_their_means(how):
    model = MLPClassifier(small_encoder(), 4, HeadSettings(hidden=8, dropout=0.3, dropout_of=how)).train()
    x, clip_index = torch.randn(3, 12, 15, 3), torch.tensor([0, 1, 1])
    with torch.no_grad():
        expected = model.head[1:](by_hand(model.encoder(x), clip_index, 2, how))
        torch.manual_seed(1)
        torch.testing.assert_close(model(x, clip_index, 2), expected)
        other = {"features": "tokens", "tokens": "features"}[how]
        model.eval()
        same = MLPClassifier(model.encoder, 4, HeadSettings(hidden=8, dropout=0.3, dropout_of=other)).eval()
        same.load_state_dict(model.state_dict())
        assert torch.equal(model(x, clip_index, 2), same(x, clip_index, 2))


def test_what_is_not_dropped_has_no_place_to_drop():
    with pytest.warns(UserWarning, match=r"head\.dropout_of has no effect with dropout 0"):
        HeadSettings(dropout=0.0, dropout_of="tokens")


def test_drop_path_skips_rows_and_makes_up_for_it():
    torch.manual_seed(0)
    block = Block(8, 2, 2.0).train()
    x = torch.randn(64, 5, 8)
    whole = block(x)
    block.drop_path = 0.4
    torch.manual_seed(1)
    kept = (torch.rand(64) >= 0.4).float()[:, None, None], (torch.rand(64) >= 0.4).float()[:, None, None]
    half = x + kept[0] / 0.6 * block.attention(block.norm1(x))
    expected = half + kept[1] / 0.6 * block.mlp(block.norm2(half))
    torch.manual_seed(1)
    torch.testing.assert_close(block(x), expected)
    torch.testing.assert_close(block.eval()(x), whole)
    block.train().drop_path = math.nextafter(1, 0)  # nothing is left
    assert torch.equal(block(x), x)


@pytest.mark.parametrize(("layers", "expected"), [(1, [0.3]), (3, [0, 0.15, 0.3])])
def test_drop_path_rises_linearly(layers, expected):
    encoder = small_encoder(layers=layers)
    encoder.set_drop_path(0.3)
    assert [block.drop_path for block in encoder.trunk.blocks] == pytest.approx(expected)


@pytest.mark.parametrize("name", NAMES)
def test_every_methods_classifier_trains_and_is_told_apart_by_depth(name, tiny):
    """Absent bodies do not exist, a clip's bodies are one clip, and every parameter learns."""
    chosen, settings = method(name), make_settings(tiny, name)
    encoder = chosen.build_encoder(tiny.layout, 24, settings.encoder)
    model = build_classifier(
        encoder, 3, HeadSettings(kind="strl" if chosen.architecture == "graph" else "mlp", hidden=8)
    )
    x, clip_index = torch.randn(6, 24, 15, 3), torch.tensor([0, 0, 1, 2, 3, 3])
    out = model(x, clip_index, 4)
    assert out.shape == (4, 3)
    F.cross_entropy(out, torch.tensor([0, 1, 2, 0])).backward()
    lost = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not lost
    model.eval()
    alone = model(x[2:3], torch.zeros(1, dtype=torch.long), 1)
    torch.testing.assert_close(model(x, clip_index, 4)[1:2], alone, atol=1e-5, rtol=1e-4)
    grouped = [id(p) for group in model.depth_groups() for p in group]
    assert len(set(grouped)) == len(grouped)
    final = {id(p) for n, p in encoder.named_parameters() if n.startswith("trunk.norm.")}
    assert {id(p) for p in encoder.parameters()} - final <= set(grouped) <= {id(p) for p in model.parameters()}
    assert not final & set(grouped)

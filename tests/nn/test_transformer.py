"""The transformer encoder and the decoder: options, tokens in their places, drop path."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch

from kinemask.nn.decoder import Decoder
from kinemask.nn.encoder import segment
from kinemask.nn.settings import DecoderSettings, EncoderSettings
from kinemask.nn.transformer import TransformerEncoder
from kinemask.skeleton import layout
from tasks import BATCH as B
from tasks import (
    DECODER,
    FRAMES,
    S,
    make,
    make_batch,
)


def small(**changes) -> TransformerEncoder:
    """An encoder of 8 segments and 15 joints."""
    settings = EncoderSettings(**({"layers": 1, "width": 16, "heads": 2, "segment_frames": S} | changes))
    return TransformerEncoder(layout("sbu15"), FRAMES, settings)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("layers", 2),
        ("width", 32),
        ("heads", 4),
        ("mlp_ratio", 2.0),
        ("segment_frames", 6),
        ("joints", "all"),
        ("space", "euclidean"),
        ("curvature", 0.3),
        ("projection", "paper"),
        ("epsilon", 0.1),
    ],
)
def test_every_option_of_the_encoder_changes_its_output(option, value):
    x = 20 * make_batch().x  # far enough for the boundary to matter
    base = EncoderSettings(layers=1, width=16, heads=2, segment_frames=S, joints="pruned", space="poincare")
    outs = []
    for settings in (base, replace(base, **{option: value})):
        torch.manual_seed(0)
        outs.append(TransformerEncoder(layout("sbu15"), FRAMES, settings)(x))
    assert outs[0].shape != outs[1].shape or not torch.allclose(*outs)


@pytest.mark.parametrize("option", [f.name for f in fields(DecoderSettings)])
def test_every_option_of_the_decoder_changes_its_output(option):
    changed = replace(DECODER, **{option: {"layers": 2, "width": 32, "heads": 4, "mlp_ratio": 2.0}[option]})
    outs = []
    for settings in (DECODER, changed):
        torch.manual_seed(0)
        decoder = Decoder(small(), 9, settings)
        outs.append(decoder(torch.ones(1, 7, 16), torch.arange(7)[None], torch.arange(7, 120)[None]))
    assert not torch.allclose(*outs)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"segment_frames": 5}, "24.*5"),
        ({"segment_frames": 0}, "segment_frames"),
        ({"heads": 3}, "heads"),
        ({"heads": 0}, "heads"),
        ({"layers": -1}, "layers"),
        ({"width": 0}, "width"),
        ({"joints": "nonsense"}, "nonsense"),
        ({"curvature": 0.0}, "curvature"),
        ({"epsilon": -0.5}, "epsilon"),
        ({"epsilon": 1.5}, "epsilon"),
    ],
)
def test_bad_encoder_settings_are_told(options, match):
    with pytest.raises(ValueError, match=match):
        make("mamp", encoder={"space": "poincare"} | options)


def test_segments_hold_their_frames_in_order():
    x = make_batch().x
    tokens = segment(x, S)
    assert tokens.shape == (B, FRAMES // S, 15, S * 3)
    for p, v in [(0, 0), (3, 14), (7, 2)]:
        assert torch.equal(tokens[1, p, v], x[1, p * S : p * S + S, v].flatten())


def test_the_decoder_returns_tokens_to_their_places():
    torch.manual_seed(0)
    decoder = Decoder(small(), 9, DECODER)
    seen = []
    decoder.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    encoded = torch.randn(2, 5, 16)
    order = torch.stack([torch.randperm(120) for _ in range(2)])
    keep, masked = order[:, :5], order[:, 5:]
    predicted = decoder(encoded, keep, masked)
    position = (decoder.temporal_position + decoder.spatial_position).flatten(0, 1)
    kept = decoder.embed(encoded)
    for b in range(2):
        for i, token in enumerate(keep[b]):
            torch.testing.assert_close(seen[0][b, token], kept[b, i] + position[token])
        for token in masked[b]:
            torch.testing.assert_close(seen[0][b, token], decoder.mask_token + position[token])
    p, v = 3, 7
    torch.testing.assert_close(position[p * 15 + v], decoder.temporal_position[p, 0] + decoder.spatial_position[0, v])
    # the order in which tokens are listed means nothing
    shuffled, shuffled_masked = torch.randperm(5), torch.randperm(115)
    other = decoder(encoded[:, shuffled], keep[:, shuffled], masked[:, shuffled_masked])
    torch.testing.assert_close(other, predicted[:, shuffled_masked])
    # but where they are does
    moved = keep.clone()
    moved[:, 0], masked = masked[:, 0], torch.cat([keep[:, :1], masked[:, 1:]], 1)
    assert not torch.allclose(decoder(encoded, moved, masked)[:, 1:], predicted[:, 1:])


def test_attention_is_a_softmax_of_queries_and_keys():
    torch.manual_seed(0)
    encoder = small(layers=2)
    tokens = encoder.project(encoder.embed(make_batch().x)).flatten(1, 2)
    found = list(encoder.attention(tokens))
    assert len(found) == 2
    L, H, width = encoder.tokens, 2, 8  # of a head
    for weights, block in zip(found, encoder.trunk, strict=True):
        assert weights.shape == (B, H, L, L)
        torch.testing.assert_close(weights.sum(-1), torch.ones(B, H, L))
        x = block.norm1(tokens)
        q, k, v = (x @ w.T + b for w, b in zip(*(p.chunk(3) for p in block.attention.qkv.parameters()), strict=True))
        mixed = []
        for h in range(H):
            own = slice(h * width, (h + 1) * width)
            raw = (q[..., own] @ k[..., own].mT / width**0.5).exp()
            plain = raw / raw.sum(-1, keepdim=True)
            torch.testing.assert_close(weights[:, h], plain)
            mixed.append(plain @ v[..., own])
        torch.testing.assert_close(block.attention.out(torch.cat(mixed, -1)), block.attention(x))
        tokens = block(tokens)

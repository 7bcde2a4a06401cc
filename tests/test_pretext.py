"""Pretext tasks: what every method promises, and each formula of MAE, MAMP and HA-CM against a slow reference."""

from __future__ import annotations

import math
import warnings
from dataclasses import fields, replace
from functools import cache
from types import NoneType
from typing import Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import torch
from torch import nn

from kinemask.draws import Draws
from kinemask.nn.decoder import Decoder
from kinemask.nn.encoder import segment
from kinemask.nn.settings import DecoderSettings, EncoderSettings
from kinemask.nn.transformer import TransformerEncoder
from kinemask.pretext import NAMES, masks, method, targets
from kinemask.pretext.contrast import cross_contrast
from kinemask.pretext.settings import HACMSettings, MAMPSettings
from kinemask.recipes import load_recipe, recipes
from kinemask.skeleton import layout
from kinemask.windows.sampler import Batch, Sampler
from kinemask.windows.settings import SamplingSettings
from kinemask.windows.streams import difference
from kinemask.windows.tracks import Recordings, Tracks

LAYOUTS = ("ntu25", "sbu15", "coco17")
FRAMES, S, B = 24, 3, 4
SMALL = {"layers": 2, "width": 16, "heads": 2, "segment_frames": S}
SMALL_DECODER = {"layers": 1, "width": 16, "heads": 2}
DECODER = DecoderSettings(**SMALL_DECODER)
NEEDS_PROCESSES = {"negatives"}  # options whose effect takes several processes, tested with torchrun
PAPERS = [r for r in recipes() if not r.endswith(("-demo", "-small"))]
RECIPE = {name: load_recipe(next(r for r in PAPERS if r.startswith(f"{name}-"))) for name in NAMES}
OPTIONS = [(name, f.name) for name in NAMES for f in fields(method(name).settings)]
TOKENS = [name for name, option in OPTIONS if option == "mask_ratio"]  # methods that draw what they keep
BAD = {
    "mask_ratio": (0.0, 1.0, -3.0),
    "tau": (0.0, -1.0),
    "motion_stride": (0, FRAMES, -1),
    "ema_decay": (-0.1, 1.1),
    "tube_segments": (0, -1),
    "motion_weight": (-0.1, math.nan),
    "top_k_layers": (-1, 3),
    "acceleration_weight": (-0.1, 1.1),
}


def make(name, of="sbu15", pretext=None, encoder=None, frames=FRAMES, seed=0):
    """A tiny task of a method, prepared: its first recipe's encoder, made small."""
    chosen, joints, recipe = method(name), layout(of), RECIPE[name]
    given = recipe["encoder"] | {k: v for k, v in SMALL.items() if k in recipe["encoder"]} | (encoder or {})
    decoder = chosen.decoder_settings(**{k: v for k, v in SMALL_DECODER.items() if k in recipe.get("decoder", {})})
    torch.manual_seed(seed)
    body = chosen.build_encoder(joints, frames, chosen.encoder_settings(**given))
    task = chosen.build(body, decoder, chosen.settings(**(pretext or {})))
    task.prepare(training_set(of, frames))
    return task


@cache
def training_set(of, frames):
    """A sampler of a few made-up clips of different lengths."""
    clips = [make_batch(of, 1, length, seed=length).x[0].numpy() for length in (9, 40, 24)]
    return Sampler(Tracks(Recordings.of(layout(of), clips)), SamplingSettings(frames=frames, min_crop_frames=8))


def make_batch(of="sbu15", count=B, frames=FRAMES, seed=0, still=False):
    """Smooth random motion, all of it seen."""
    joints = layout(of)
    g = torch.Generator().manual_seed(seed)
    x = 0.4 * torch.randn(count, 1, joints.num_joints, joints.dims, generator=g)
    speed = 0.1 * torch.rand(count, 1, joints.num_joints, 1, generator=g)
    steps = speed * torch.randn(count, frames, joints.num_joints, joints.dims, generator=g)
    x = x.expand(-1, frames, -1, -1).clone() if still else x + steps.cumsum(1)
    return Batch(x, torch.ones(x.shape[:3], dtype=torch.bool), Draws(seed, count))


def again(batch, seed=0, **changes):
    """The same batch with fresh draws."""
    return replace(batch, draws=Draws(seed, len(batch.x)), **changes)


def outcome(task, batch):
    """Mask and losses of a batch, the same however often it is asked for."""
    with torch.no_grad():
        return task.predict(again(batch))[0], task(again(batch))


def train(task, batch, steps=3, first=0, total=10):
    """Losses of a few steps; the same draws at every step, whichever it starts from."""
    optimizer, losses = torch.optim.AdamW([p for p in task.parameters() if p.requires_grad], 1e-2), []
    for step in range(first, first + steps):
        out = task(again(batch, seed=step))
        optimizer.zero_grad()
        out["loss"].backward()
        optimizer.step()
        task.after_step((step + 1) / total)
        losses.append({name: value.item() for name, value in out.items()})
    return losses


# every method, none of them by name


def others(name, option):
    """Other values of an option, from its type and default; some of them may be refused."""
    settings = method(name).settings
    default = next(f.default for f in fields(settings) if f.name == option)
    kind = get_type_hints(settings)[option]
    if get_origin(kind) is Literal:
        values = get_args(kind)
    elif isinstance(default, bool):
        values = (not default,)
    elif isinstance(default, float):
        values = (0.0, 1.0, default / 20, default / 2, 2 * default)
    elif isinstance(default, tuple):
        values = (default[:-1], default[1:])
    else:
        assert kind is int or set(get_args(kind)) == {int, NoneType}
        values = (1, 2, 4)
    return [value for value in values if value != default]


def settings_of(name, **values):
    """Settings as a hashable key, or None where they are refused."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            make(name, pretext=values)
        except ValueError:
            return None
    unused = {str(w.message).split(" ")[0] for w in said if "has no effect" in str(w.message)}
    return name, tuple(sorted(values.items())), frozenset(u.removeprefix("pretext.") for u in unused)


@cache
def trained(name, values):
    """Loss and parts over three steps of training with these settings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return train(make(name, pretext=dict(values)), make_batch())


def has_effect(name, option, beside):
    """Whether some other value of the option changes training, beside other settings; and which say it does not."""
    before, silent = settings_of(name, **beside), []
    for value in others(name, option):
        after = settings_of(name, **beside, **{option: value})
        if before is None or after is None:
            continue
        if trained(*before[:2]) != trained(*after[:2]):
            return True, []
        if option not in after[2]:
            silent.append(value)
    return False, silent


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_every_option_changes_training_or_says_that_it_does_not(name, option):
    """By itself, or beside another one; where it does nothing, a warning says so."""
    if option in NEEDS_PROCESSES:
        return
    alone, silent = has_effect(name, option, {})
    if alone:
        return
    assert not silent, f"{option} {silent} does nothing and says nothing"
    rest = [o for n, o in OPTIONS if n == name and o != option and o not in NEEDS_PROCESSES]
    assert any(has_effect(name, option, {o: value})[0] for o in rest for value in others(name, o))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("of", LAYOUTS)
def test_forward_backward_and_mask(name, of):
    task, batch = make(name, of), make_batch(of)
    out = task(again(batch))
    assert {"loss", "reconstruction"} <= set(out)
    assert all(value.shape == () and value.isfinite() for value in out.values())
    out["loss"].backward()
    for parameter, value in task.named_parameters():
        if value.requires_grad:
            assert value.grad is not None, f"{parameter} is not trained"
            assert value.grad.isfinite().all(), parameter
    assert task.encoder.embedding.tokenizer.weight.grad.abs().sum() > 0
    mask, encoded, predicted, target = task.predict(again(batch))
    L, K = task.encoder.tokens, mask.keep.shape[1]
    assert mask.keep.dtype == mask.masked.dtype == torch.int64
    assert torch.equal(torch.cat(mask[:2], 1).sort(1).values, torch.arange(L).expand(B, L))
    assert encoded.shape == (B, L if name == "skeletonmae" else K, task.encoder.width)
    assert predicted.shape[:2] == (B, L - K)
    assert predicted.shape[2] >= target.tokens.shape[2]
    assert target.tokens.shape == target.mean.shape == target.scale.shape
    assert target.tokens.shape[:2] == (B, L)


@pytest.mark.parametrize("name", NAMES)
def test_traced_it_is_the_same(name):
    """`training.compile`, with the compiler's tracer and without its code generation, which needs a C++ compiler."""
    batch, gradients = make_batch(), []
    for task in (make(name), make(name)):
        run = task if not gradients else torch.compile(task, backend="aot_eager")
        out = run(again(batch))
        out["loss"].backward()
        trained = {k: v.grad for k, v in task.named_parameters() if v.requires_grad}
        gradients.append({"loss": out["loss"].detach()} | trained)
    torch.compiler.reset()
    torch.testing.assert_close(gradients[1], gradients[0])


@pytest.mark.parametrize("name", NAMES)
def test_encoders_for_use(name):
    """The one in training is among them, and all are built alike."""
    task, x = make(name), make_batch().x
    encoders = task.encoders()
    assert "encoder" in encoders
    assert set(encoders) <= {"encoder", "encoder-student"}
    assert task.encoder in encoders.values()
    assert all(e(x).shape == (B, e.segments, e.num_joints, e.width) for e in encoders.values())
    assert len({tuple(e.state_dict()) for e in encoders.values()}) == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_decides_everything(name):
    batch = make_batch()
    (mask, losses), (mask2, losses2) = (outcome(make(name), batch) for _ in range(2))
    assert torch.equal(mask.keep, mask2.keep)
    assert torch.equal(mask.masked, mask2.masked)
    assert losses == losses2
    assert train(make(name), batch) == train(make(name), batch)
    if name in TOKENS:
        assert not torch.equal(mask.keep, make(name).predict(again(batch, seed=1))[0].keep)


@pytest.mark.parametrize("name", NAMES)
def test_the_state_is_all_there_is(name):
    """A task that takes over another's state goes on as that one does: averages and references are in it."""
    batch, first, second = make_batch(), make(name), make(name, seed=1)
    train(first, batch)
    second.load_state_dict(first.state_dict())
    second.train(first.training)
    with torch.no_grad():
        assert second(again(batch)) == first(again(batch))
    second.after_step(0.5)
    first.after_step(0.5)
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("name", NAMES)
def test_preparing_again_changes_nothing(name):
    task = make(name)
    before = {key: value.clone() for key, value in task.state_dict().items()}
    task.prepare(training_set("sbu15", FRAMES))
    assert all(torch.equal(value, before[key]) for key, value in task.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_rows_of_a_batch_do_not_touch(name):
    """Masks, predictions and targets of a body do not depend on the others: cut in two, a batch gives the same."""
    task, batch = make(name), make_batch()
    mask, _, predicted, target = task.predict(again(batch))
    for rows in (slice(0, 2), slice(2, 4)):
        part = Batch(batch.x[rows], batch.valid[rows], Draws(0, B, rows))
        mask2, _, predicted2, target2 = task.predict(part)
        assert torch.equal(mask2.keep, mask.keep[rows])
        torch.testing.assert_close(predicted2, predicted[rows])
        torch.testing.assert_close(target2.tokens, target.tokens[rows])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("what", ["still", "zeros"])
def test_no_motion_is_finite(name, dtype, what):
    task, batch = make(name), make_batch(still=True)
    if what == "zeros":
        batch = again(batch, x=torch.zeros_like(batch.x))
        for parameter, value in task.named_parameters():
            if "position" in parameter:
                nn.init.zeros_(value)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        out = task(batch)
    out["loss"].backward()
    assert out["loss"].isfinite()
    assert all(p.grad.isfinite().all() for p in task.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", TOKENS)
def test_tokens_without_a_valid_frame_are_the_last_to_be_kept(name):
    task, batch = make(name, pretext={"mask_ratio": 0.5}), make_batch(count=30)
    kept_joints = task.encoder.joints.tolist()
    valid = batch.valid.clone()
    valid[:, 6:12, kept_joints[2]] = False  # segments 2 and 3 of the third joint: two tokens
    valid[:, 12:17, kept_joints[4]] = False  # segment 4; segment 5 has one valid frame left
    V = task.encoder.num_joints
    never = {2 * V + 2, 3 * V + 2, 4 * V + 4}
    keep = task.predict(again(batch, valid=valid))[0].keep
    assert not never & set(keep.flatten().tolist())
    assert 5 * V + 4 in keep.flatten().tolist()
    nothing = torch.zeros_like(valid)
    nothing[:, 0] = True  # only the first segment was seen: fewer valid tokens than are kept
    keep = task.predict(again(batch, valid=nothing))[0].keep
    seen_tokens = set(range(V))
    assert all(seen_tokens <= set(row) for row in keep.tolist())


def pulls(task, batch):
    """Which predictions (B, L-K) the reconstruction loss pulls at, the masked tokens' joints, and its value."""
    done = task.predict(batch)
    done.predicted.retain_grad()
    value = task.losses(batch, done)["reconstruction"][1]
    value.backward()
    assert done.predicted.grad is not None
    return done.predicted.grad.abs().sum(-1) > 0, done.mask.masked % task.encoder.num_joints, value


@pytest.mark.parametrize("name", NAMES)
def test_tokens_without_a_valid_frame_carry_no_loss(name):
    task, batch = make(name), make_batch()
    joint = int(pulls(task, again(batch))[1][0, 0])
    valid = batch.valid.clone()
    valid[:, :, task.encoder.joints[joint]] = False
    pulled, joints, _ = pulls(task, again(batch, valid=valid))
    assert torch.equal(pulled, joints != joint)
    pulled, _, value = pulls(task, again(batch, valid=torch.zeros_like(valid)))
    assert value.item() == 0
    assert not pulled.any()


@pytest.mark.parametrize("name", NAMES)
def test_a_body_with_gaps_weighs_as_much_as_another(name):
    """The loss of a batch is the mean of the losses of its parts, so that processes and accumulation agree."""
    task, batch = make(name), make_batch()
    valid = batch.valid.clone()
    valid[0, 3:, task.encoder.joints[1:]] = False
    whole = task(again(batch, valid=valid))["reconstruction"]
    rows = slice(0, 1), slice(1, 2), slice(2, 4)
    parts = [task(Batch(batch.x[r], valid[r], Draws(0, B, r)))["reconstruction"] for r in rows]
    torch.testing.assert_close(whole, (parts[0] + parts[1] + 2 * parts[2]) / 4)


@pytest.mark.parametrize("name", NAMES)
def test_only_the_chosen_joints_are_encoded_and_predicted(name):
    """Dropped joints enter nothing but, in some methods, the mask."""
    task, batch = make(name, "ntu25", encoder={"joints": "pruned"}), make_batch("ntu25")
    dropped = [j for j in range(25) if j not in task.encoder.joints.tolist()]
    assert dropped == [0, 1, 4, 8, 12, 16, 20]
    moved = batch.x.clone()
    moved[:, :, dropped] += torch.randn(B, FRAMES, 7, 3)
    mask, losses = outcome(task, batch)
    task.mask = lambda *_: mask
    assert outcome(task, again(batch, x=moved))[1] == losses


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("joints", "count"), [("all", 25), ("pruned", 18), ("pruned20", 20), ("pruned16", 16)])
def test_joint_sets_of_every_method(name, joints, count):
    task = make(name, "ntu25", encoder={"joints": joints})
    assert task.encoder.num_joints == count
    assert task(make_batch("ntu25"))["loss"].isfinite()


def test_absent_bodies_never_enter(tiny):
    of = Tracks(tiny)
    assert len(of) == tiny.bodies.sum()
    sampler = Sampler(of, SamplingSettings(frames=FRAMES, min_crop_frames=8))
    batch = sampler.sample(torch.arange(8), Draws(0, 8))
    assert batch.x.flatten(1).abs().sum(1).gt(0).all()
    for name in NAMES:
        assert make(name)(again(batch))["loss"].isfinite()


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_autocast(name):
    task, batch = make(name), make_batch()
    full = task(again(batch))["loss"]
    with torch.autocast("cpu", torch.bfloat16):
        half = task(again(batch))["loss"]
    half.backward()
    assert half.dtype == torch.float32
    assert all(p.grad.isfinite().all() for p in task.parameters() if p.requires_grad)
    assert half.item() == pytest.approx(full.item(), rel=0.1)


@pytest.mark.filterwarnings("ignore:.*has no effect")
@pytest.mark.parametrize(
    ("name", "option", "value"), [(name, option, v) for name, option in OPTIONS for v in BAD.get(option, ())]
)
def test_bad_settings_are_told(name, option, value):
    with pytest.raises(ValueError, match=option):
        make(name, pretext={option: value})


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_kept_tokens_means_nothing(name):
    task, batch = make(name), make_batch()
    mask, _, predicted, _ = task.predict(again(batch))
    other = mask._replace(keep=mask.keep[:, torch.randperm(mask.keep.shape[1])])
    task.mask = lambda *_: other
    mask2, _, predicted2, _ = task.predict(again(batch))
    assert torch.equal(mask2.keep, other.keep)
    torch.testing.assert_close(predicted2, predicted)


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
        decoder = Decoder((8, 9), 16, 9, settings)
        outs.append(decoder(torch.ones(1, 7, 16), torch.arange(7)[None], torch.arange(7, 72)[None]))
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


def test_unknown_methods_are_told():
    with pytest.raises(ValueError, match="mamp"):
        method("nonsense")


# what only some methods promise


def combined(name, *options):
    return [(name, o) for o in options]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *combined("mamp", {"target_norm": "sequence", "motion_stride": 2}, {"mask_ratio": 0.5}),
        *combined(
            "hacm",
            {"temporal_strategy": 2, "temporal_group": "odd", "mask": "low"},
            {"temporal_strategy": 2, "temporal_projection": "first_block", "similarity": "cosine"},
            {"criteria": "spatial", "contrast_weight": 0.0, "gumbel": False},
            {"criteria": "temporal", "contrast_weight": 0.0, "target_space": "euclidean"},
            {"contrast_reduction": "sum", "target_norm": "none"},
        ),
    ],
)
@pytest.mark.parametrize("of", LAYOUTS)
def test_options_together(name, of, options):
    task, batch = make(name, of, options), make_batch(of)
    task(again(batch))["loss"].backward()
    assert all(p.grad.isfinite().all() for p in task.parameters() if p.requires_grad)
    L = task.encoder.tokens
    groups = 2 if getattr(task.settings, "criteria", "") == "cross" else 1
    kept = groups * max(1, round(L / groups * (1 - task.settings.mask_ratio)))
    assert task.predict(again(batch))[0].keep.shape == (B, kept)


@pytest.mark.parametrize(
    ("name", "pretext"), [("mae", {}), ("mamp", {}), ("hacm", {"criteria": "temporal", "contrast_weight": 0})]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_motion_gives_a_uniform_mask(name, pretext, dtype):
    """Nothing moves, nothing is preferred: every token is kept as often as any other."""
    task, batch = make(name, "sbu15", pretext), make_batch(count=400, still=True)
    nn.init.zeros_(task.encoder.embedding.temporal_position)  # a criterion on embeddings sees positions move
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16), torch.no_grad():
        mask = task.predict(again(batch))[0]
    share = torch.bincount(mask.keep.flatten(), minlength=task.encoder.tokens) / 400
    expected = task.kept / task.encoder.tokens
    assert (share - expected).abs().max() < 6 * math.sqrt(expected / 400)


@pytest.mark.parametrize(
    ("name", "pretext", "touched"),
    [
        ("mae", {}, False),
        ("mamp", {}, False),
        ("hacm", {"radial_weight": 0.0}, False),
        ("hacm", {"gumbel": False}, True),  # they are the root
        ("skeleton2vec", {}, False),
        ("masksem", {}, False),
    ],
)
def test_dropped_joints_and_the_mask(name, pretext, touched):
    task, batch = make(name, "ntu25", pretext, {"joints": "pruned"}), make_batch("ntu25")
    moved = batch.x.clone()
    moved[:, :, [0, 1, 4, 8, 12, 16, 20]] += torch.randn(B, FRAMES, 7, 3)
    before, after = (outcome(task, again(batch, x=x))[0].keep for x in (batch.x, moved))
    assert torch.equal(before, after) != touched


# masks


@pytest.mark.parametrize(
    ("tokens", "ratio", "kept"),
    [(750, 0.9, 75), (216, 0.9, 22), (432, 0.9, 43), (10, 0.99, 1), (10, 0.001, 9), (2, 0.5, 1)],
)
def test_counts(tokens, ratio, kept):
    assert masks.kept_count(tokens, ratio) == kept


def test_counts_of_the_papers():
    encoder = {"layers": 1, "width": 8, "heads": 1}
    mamp = make("mamp", "ntu25", encoder={**encoder, "segment_frames": 4}, frames=120)
    assert (mamp.encoder.tokens, mamp.kept) == (750, 75)
    hacm = make("hacm", "ntu25", encoder={**encoder, "segment_frames": 3}, frames=72)
    assert (hacm.encoder.segments, hacm.encoder.tokens, hacm.kept) == (24, 432, 22)
    mask = hacm.predict(make_batch("ntu25", frames=72))[0]
    assert mask.keep.shape == (B, 44)
    even = mask.keep // 18 % 2 == 0
    assert even.sum(1).tolist() == [22] * B


def test_split_keeps_the_lowest_or_highest():
    score = torch.tensor([[3.0, -1.0, 2.0, 0.0]])
    valid = torch.ones(1, 4, dtype=torch.bool)
    assert masks.split(score, 2, valid, "lowest").keep.tolist() == [[1, 3]]
    assert masks.split(score, 2, valid, "highest").keep.tolist() == [[0, 2]]
    assert masks.split(score, 2, valid, "lowest").masked.tolist() == [[2, 0]]
    valid[0, [0, 1]] = False
    assert set(masks.split(score, 2, valid, "lowest").keep[0].tolist()) == {2, 3}
    assert set(masks.split(score, 2, valid, "highest").keep[0].tolist()) == {2, 3}
    assert len(masks.split(score, 3, valid, "highest").keep[0]) == 3


def test_motion_intensity_token_by_token():
    x = make_batch().x.double()
    found = masks.motion_intensity(x, S)
    for b, p, v in [(0, 0, 0), (1, 3, 7), (3, 7, 14), (2, 1, 4)]:
        this, last = (x[b, q * S : q * S + S, v] for q in (max(p, 1), max(p, 1) - 1))
        assert found[b, p, v].item() == pytest.approx((this - last).abs().mean().item())


@pytest.mark.parametrize("mover", [(2, 3), (5, 0), (7, 8)])
def test_mamp_masks_what_moves(mover):
    """One joint moves in one segment. Without chance (tau → 0) it is masked, in the place p*V + v."""
    p, v = mover
    task = make("mamp", pretext={"tau": 1e-3, "mask_ratio": 1 / 120})
    x = torch.zeros(1, FRAMES, 15, 3)
    x[:, p * S :, v] = 1.0
    batch = Batch(x, torch.ones(x.shape[:3], dtype=torch.bool), Draws(0, 1))
    assert task.predict(batch)[0].masked.tolist() == [[p * 15 + v]]


def test_mamp_masks_motion_more_often_and_tau_blurs_it():
    batch = make_batch(count=60)
    shares = []
    for tau in (0.05, 0.8, 50.0):
        task = make("mamp", pretext={"tau": tau, "mask_ratio": 0.5})
        intensity = masks.motion_intensity(batch.x, S).flatten(1)
        masked = task.predict(again(batch))[0].masked
        shares.append((intensity.gather(1, masked).mean() / intensity.mean()).item())
    assert shares[0] > shares[1] > shares[2] > 0.97
    assert shares[2] < 1.1


def test_log_probability_is_the_papers():
    intensity = torch.rand(3, 50).double()
    expected = torch.log(torch.softmax(intensity / (intensity.max(1, keepdim=True).values * 0.8), 1))
    torch.testing.assert_close(masks.log_probability(intensity, 0.8), expected)
    still = masks.log_probability(torch.zeros(2, 50), 0.8)
    torch.testing.assert_close(still, torch.full((2, 50), -math.log(50)))


# tokens in their places


def test_segments_hold_their_frames_in_order():
    x = make_batch().x
    tokens = segment(x, S)
    assert tokens.shape == (B, FRAMES // S, 15, S * 3)
    for p, v in [(0, 0), (3, 14), (7, 2)]:
        assert torch.equal(tokens[1, p, v], x[1, p * S : p * S + S, v].flatten())


def test_the_decoder_returns_tokens_to_their_places():
    torch.manual_seed(0)
    decoder = Decoder((8, 9), 16, 9, DECODER)
    seen = []
    decoder.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    encoded = torch.randn(2, 5, 16)
    order = torch.stack([torch.randperm(72) for _ in range(2)])
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
    torch.testing.assert_close(position[p * 9 + v], decoder.temporal_position[p, 0] + decoder.spatial_position[0, v])
    # the order in which tokens are listed means nothing
    shuffled, shuffled_masked = torch.randperm(5), torch.randperm(67)
    other = decoder(encoded[:, shuffled], keep[:, shuffled], masked[:, shuffled_masked])
    torch.testing.assert_close(other, predicted[:, shuffled_masked])
    # but where they are does
    moved = keep.clone()
    moved[:, 0], masked = masked[:, 0], torch.cat([keep[:, :1], masked[:, 1:]], 1)
    assert not torch.allclose(decoder(encoded, moved, masked)[:, 1:], predicted[:, 1:])


def test_masked_tokens_do_not_leak_into_the_encoder():
    task, batch = make("mamp", encoder={"layers": 2}), make_batch()
    mask, encoded, predicted, _ = task.predict(again(batch))
    tokens = segment(batch.x, S).flatten(1, 2).clone()
    tokens.scatter_(1, mask.masked.unsqueeze(-1).expand(-1, -1, 9), 7.0)
    x = tokens.view(B, FRAMES // S, 15, S, 3).transpose(2, 3).reshape(batch.x.shape)
    task.mask = lambda *_: mask
    _, encoded2, predicted2, _ = task.predict(again(batch, x=x))
    torch.testing.assert_close(encoded2, encoded)
    torch.testing.assert_close(predicted2, predicted)


# targets and loss


@pytest.mark.parametrize("norm", ["token", "sequence", "none"])
def test_targets_against_a_loop(norm):
    frames = difference(make_batch().x)
    target, mean, scale = targets.normalise(frames, S, norm)
    x = frames.double().numpy()
    for b in range(B):
        for p in range(FRAMES // S):
            for v in range(15):
                values = x[b, p * S : p * S + S, v].reshape(-1)
                over = {"token": values, "sequence": x[b, :, v].reshape(-1), "none": None}[norm]
                if over is not None:
                    values = (values - over.mean()) / np.sqrt(over.var(ddof=1) + 1e-6)
                assert np.abs(target[b, p * 15 + v].numpy() - values).max() < 1e-4
    torch.testing.assert_close(target * scale + mean, segment(frames, S).flatten(1, 2), atol=1e-5, rtol=1e-5)


def test_a_still_token_has_a_finite_target():
    for norm in ("token", "sequence", "none"):
        assert targets.normalise(torch.zeros(1, FRAMES, 15, 3), S, norm)[0].abs().max() == 0


def test_mean_squared_error_against_a_loop():
    predicted, target = torch.randn(3, 10, 6), torch.randn(3, 10, 6)
    weight = torch.rand(3, 10) > 0.4
    expected = [
        np.mean([((predicted[b, i] - target[b, i]) ** 2).mean().item() for i in range(10) if weight[b, i]])
        for b in range(3)
    ]
    assert targets.masked_mean(targets.squared_error(predicted, target), weight).item() == pytest.approx(
        np.mean(expected), rel=1e-5
    )


def test_mae_predicts_coordinates_and_mamp_motion():
    batch = make_batch()
    mae, mamp = make("mae", pretext={"target_norm": "none"}), make("mamp", pretext={"target_norm": "none"})
    motion = torch.cat([batch.x[:, 1:] - batch.x[:, :-1], torch.zeros(B, 1, 15, 3)], 1)
    assert torch.equal(mae.target(batch).tokens, segment(batch.x, S).flatten(1, 2))
    torch.testing.assert_close(mamp.target(batch).tokens, segment(motion, S).flatten(1, 2))
    as_mamp = make("mae", pretext={"masking": "motion", "predict": "motion"})
    assert outcome(as_mamp, batch)[1] == outcome(make("mamp"), batch)[1]
    assert MAMPSettings().masking == "motion"


def test_mae_masks_at_random():
    task = make("mae")
    keep = task.predict(make_batch(count=500))[0].keep
    share = torch.bincount(keep.flatten(), minlength=120) / 500
    assert (share - 0.1).abs().max() < 6 * math.sqrt(0.09 / 500)


# HA-CM


def reference_distance(u, v):
    return np.arccosh(1 + 2 * ((u - v) ** 2).sum() / ((1 - (u**2).sum()) * (1 - (v**2).sum())))


def embeddings(task, x):
    embedded = task.encoder.embed(x)
    return embedded.detach(), task.encoder.project(embedded).detach()


@pytest.mark.parametrize("joints", ["pruned", "all"])
@pytest.mark.parametrize("radial_weight", [1.0, 0.01])
def test_spatial_criterion_against_a_loop(joints, radial_weight):
    task = make("hacm", pretext={"radial_weight": radial_weight}, encoder={"joints": joints})
    batch, of, encoder = make_batch(), layout("sbu15"), task.encoder
    embedded, mapped = embeddings(task, batch.x)
    segments = torch.tensor([1, 4, 6])
    found = task.spatial(batch.x, embedded, mapped, segments).detach()
    hub = list(of.dropped["pruned"]) if joints == "pruned" else list(of.torso)
    assert set(hub) == set(of.torso)
    with torch.no_grad():
        tokens = encoder.embedding.tokenizer(segment(batch.x[:, :, hub], S)).mean(
            2
        )  # averaged, then mapped; no positions
        root = encoder.project(tokens).double().numpy()
    points = mapped.double().numpy()
    for b, (i, p), v in [(0, (0, 1), 0), (1, (1, 4), 5), (3, (2, 6), encoder.num_joints - 1)]:
        expected = radial_weight * reference_distance(points[b, p, v], root[b, p])
        expected += sum(reference_distance(points[b, p, v], points[b, p, w]) for w in range(encoder.num_joints))
        assert found[b, i, v].item() == pytest.approx(expected, rel=1e-3)


def test_temporal_criterion_1_against_a_loop():
    task, batch = make("hacm"), make_batch()
    embedded, mapped = embeddings(task, batch.x)
    segments = torch.tensor([0, 2, 4, 6])
    found = task.temporal(batch.x, embedded, mapped, segments)
    points = mapped.double().numpy()
    assert (found <= 1e-6).all()
    for b, i, v in [(0, 0, 0), (1, 2, 5), (3, 3, 8)]:
        expected = sum(
            1 - np.cosh(reference_distance(points[b, int(segments[i]), v], points[b, int(q), v])) for q in segments
        )
        assert found[b, i, v].item() == pytest.approx(expected, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("projection", ["frozen", "first_block"])
def test_temporal_criterion_2_against_a_loop_and_not_constant(projection):
    task, batch = make("hacm", pretext={"temporal_strategy": 2, "temporal_projection": projection}), make_batch()
    embedded, mapped = embeddings(task, batch.x)
    segments = torch.tensor([0, 2, 4, 6])
    with torch.no_grad():
        found = task.temporal(batch.x, embedded, mapped, segments)
        if projection == "frozen":
            q, k = task.psi(embedded), task.phi(embedded)
        else:
            block = task.encoder.trunk.blocks[0]
            q, k, _ = block.attention.qkv(block.norm1(embedded)).chunk(3, -1)
    q, k = (t[:, segments].double().numpy() for t in (q, k))
    for b, v in [(0, 0), (2, 5), (3, 8)]:
        scores = np.exp(q[b, :, v] @ k[b, :, v].T / 4)  # √D = 4
        expected = (scores / scores.sum(1, keepdims=True)).sum(0)
        np.testing.assert_allclose(found[b, :, v], expected, rtol=1e-4)
    assert found.std() > 1e-4


def test_frozen_projections_do_not_train_and_borrowed_ones_follow_the_encoder():
    batch = make_batch()
    frozen = make("hacm", pretext={"temporal_strategy": 2})
    trained = {name for name, p in frozen.named_parameters() if p.requires_grad}
    assert not any("psi" in name or "phi" in name for name in trained)
    assert {"psi.weight", "phi.weight"} <= set(frozen.state_dict())  # a resumed run masks with the same maps
    assert not any("psi" in n for n, _ in make("hacm", pretext={"temporal_strategy": 1}).named_parameters())
    for projection, follows in (("frozen", False), ("first_block", True)):
        settings = {"temporal_strategy": 2, "temporal_projection": projection, "criteria": "temporal"}
        task = make("hacm", pretext=settings | {"contrast_weight": 0, "gumbel": False})
        before = outcome(task, batch)[0].keep
        nn.init.normal_(task.encoder.trunk.blocks[0].attention.qkv.weight)
        assert torch.equal(before, outcome(task, batch)[0].keep) != follows


def crafted(extreme, pretext):
    """A task whose token (p, v) lies at the coordinate of its first frame, all at 0 except the extreme ones."""
    task = make("hacm", pretext={"gumbel": False, "contrast_weight": 0} | pretext)
    encoder = task.encoder
    with torch.no_grad():
        for parameter in encoder.embedding.parameters():
            parameter.zero_()
        encoder.embedding.tokenizer.weight[0, 0] = 1
    x = torch.zeros(1, FRAMES, 15, 3)
    for p, v in extreme:
        x[:, p * S, encoder.joints[v]] = 1.0
    return task, Batch(x, torch.ones(x.shape[:3], dtype=torch.bool), Draws(0, 1))


@pytest.mark.parametrize("temporal_group", ["even", "odd"])
@pytest.mark.parametrize("mask", ["high", "low"])
def test_cross_masks_fall_on_exactly_the_extreme_tokens(temporal_group, mask):
    """One joint is far out in one segment of either group: lowest in the hierarchy there, least like itself here."""
    V, in_even, in_odd = 9, (2, 7), (5, 3)
    spatial, temporal = (in_odd, in_even) if temporal_group == "even" else (in_even, in_odd)
    keep_one, mask_one = 0.999, 1 / 36  # of the 36 tokens of a group
    ratio = {"high": mask_one, "low": keep_one}[mask]
    task, batch = crafted([in_even, in_odd], {"temporal_group": temporal_group, "mask": mask, "mask_ratio": ratio})
    found = task.predict(batch)[0]
    kept, masked = set(found.keep[0].tolist()), set(found.masked[0].tolist())
    token = spatial[0] * V + spatial[1]
    assert (masked if mask == "high" else kept) & group(spatial, V) == {token}
    # the temporal criterion is lowest there: kept by `high`, masked by `low`
    ratio = {"high": keep_one, "low": mask_one}[mask]
    task, batch = crafted([in_even, in_odd], {"temporal_group": temporal_group, "mask": mask, "mask_ratio": ratio})
    found = task.predict(batch)[0]
    kept, masked = set(found.keep[0].tolist()), set(found.masked[0].tolist())
    token = temporal[0] * V + temporal[1]
    assert (kept if mask == "high" else masked) & group(temporal, V) == {token}


def group(of, V):
    """Tokens of all segments that are even, or odd, as that of `of`."""
    return {p * V + v for p in range(of[0] % 2, FRAMES // S, 2) for v in range(V)}


@pytest.mark.parametrize("criteria", ["spatial", "temporal"])
def test_a_single_criterion_masks_over_all_tokens(criteria):
    V, extreme = 9, (5, 3)
    ratio = {"spatial": 1 / 72, "temporal": 0.999}[criteria]
    task, batch = crafted([extreme], {"criteria": criteria, "mask_ratio": ratio})
    found = task.predict(batch)[0]
    one = found.masked if criteria == "spatial" else found.keep
    assert one.tolist() == [[extreme[0] * V + extreme[1]]]


def test_noise_softens_the_mask_and_tau_says_how_much():
    batch = make_batch(count=40)
    task = make("hacm", pretext={"gumbel": False, "contrast_weight": 0})
    sure = task.predict(again(batch))[0].keep.sort(1).values
    assert torch.equal(sure, task.predict(again(batch, seed=1))[0].keep.sort(1).values)
    shared = []
    for tau in (0.01, 0.9, 100.0):
        keep = make("hacm", pretext={"tau": tau, "contrast_weight": 0}).predict(again(batch))[0].keep
        shared.append(np.mean([len(set(a) & set(b)) for a, b in zip(sure.tolist(), keep.tolist(), strict=True)]))
    assert shared[0] > shared[1] > shared[2]


@pytest.mark.parametrize("space", ["poincare", "euclidean"])
def test_hacm_target(space):
    task, batch = make("hacm", pretext={"target_space": space, "target_norm": "none"}), make_batch()
    x = batch.x[:, :, task.encoder.joints]
    motion = torch.cat([x[:, 1:] - x[:, :-1], torch.zeros(B, 1, 9, 3)], 1).double()
    if space == "poincare":
        norm = motion.norm(dim=-1, keepdim=True).clamp_min(1e-12)
        motion = torch.tanh(norm) * motion / norm
    torch.testing.assert_close(
        task.target(batch).tokens.double(), segment(motion, S).flatten(1, 2), atol=1e-6, rtol=1e-5
    )


def test_an_odd_number_of_segments_is_told():
    with pytest.raises(ValueError, match=r"even number of segments, not 7"):
        make("hacm", frames=21)
    make("hacm", frames=21, pretext={"criteria": "spatial", "contrast_weight": 0})


def test_settings_that_cannot_be_are_told():
    with pytest.raises(ValueError, match="contrast_weight"):
        HACMSettings(criteria="spatial")
    with pytest.raises(ValueError, match="poincare"):
        make("hacm", encoder={"space": "euclidean"})
    with pytest.warns(UserWarning, match="no effect"):
        HACMSettings(temporal_projection="first_block")


def test_the_mapping_serves_downstream_use():
    task, batch = make("hacm"), make_batch()
    encoder = task.encoder
    mapped = encoder.project(encoder.embed(batch.x))
    assert (mapped.norm(dim=-1) < 1).all()
    torch.testing.assert_close(encoder(batch.x), encoder.encode(mapped.flatten(1, 2)).view(mapped.shape))
    encoder.settings = replace(encoder.settings, space="euclidean")
    assert not torch.allclose(encoder(batch.x), encoder.encode(mapped.flatten(1, 2)).view(mapped.shape), atol=1e-3)


# cross-contrast


def slow_contrast(odd, even, whole, similarity, reduction):
    total = 0.0
    for a, b in ((odd, whole), (even, whole), (even, odd)):
        a, b = a.double().numpy(), b.double().numpy()
        matrix = np.array([[x @ y for y in b] for x in a])
        if similarity == "cosine":
            matrix /= np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)
        else:
            matrix = np.exp(matrix) / np.exp(matrix).sum(1, keepdims=True)
        error = (matrix - np.eye(len(a))) ** 2
        total += {"mean": error.mean(), "rows": error.sum(1).mean(), "sum": error.sum()}[reduction]
    return total


@pytest.mark.parametrize("similarity", ["softmax", "cosine"])
@pytest.mark.parametrize("reduction", ["mean", "rows", "sum"])
def test_cross_contrast_against_a_loop(similarity, reduction):
    g = torch.Generator().manual_seed(0)
    odd, even, whole = (0.7 * torch.randn(6, 8, generator=g) for _ in range(3))
    expected = slow_contrast(odd, even, whole, similarity, reduction)
    for negatives in ("local", "gathered"):  # the same in one process
        found = cross_contrast(odd, even, whole, similarity, reduction, negatives).item()
        assert found == pytest.approx(expected, rel=1e-4)


def test_reductions_differ_by_the_batch():
    found = {
        r: outcome(make("hacm", pretext={"contrast_reduction": r}), make_batch())[1]["contrast"].item()
        for r in ("mean", "rows", "sum")
    }
    assert found["rows"] == pytest.approx(B * found["mean"])
    assert found["sum"] == pytest.approx(B * B * found["mean"])


@pytest.mark.parametrize("temporal_group", ["even", "odd"])
def test_the_loss_weight_is_heeded(temporal_group):
    batch = make_batch()
    losses = {}
    for weight in (0.0, 1.0, 2.5):
        task = make("hacm", pretext={"contrast_weight": weight, "temporal_group": temporal_group})
        losses[weight] = out = task(again(batch))
        if weight:
            torch.testing.assert_close(out["loss"], out["reconstruction"] + weight * out["contrast"])
        else:
            assert "contrast" not in out
    assert losses[0.0]["loss"] == losses[0.0]["reconstruction"] == losses[1.0]["reconstruction"]
    mask, encoded, _, _ = task.predict(again(batch))
    even = mask.keep // task.encoder.num_joints % 2 == 0
    pooled = [torch.stack([e[k].mean(0) for e, k in zip(encoded, which, strict=True)]) for which in (~even, even)]
    expected = slow_contrast(*(p.detach() for p in (*pooled, encoded.mean(1))), "softmax", "mean")
    assert losses[2.5]["contrast"].item() == pytest.approx(expected, rel=1e-4)

"""What every pretext task promises, none of them by name."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from torch import nn

from kinemask.draws import Draws
from kinemask.nn.encoder import segment
from kinemask.pretext import NAMES, method
from kinemask.pretext.base import MaskedPrediction
from kinemask.windows.sampler import Batch, Sampler
from kinemask.windows.settings import SamplingSettings
from kinemask.windows.tracks import Tracks
from tasks import BATCH as B
from tasks import (
    FRAMES,
    LAYOUTS,
    again,
    make,
    make_batch,
    outcome,
    train,
    training_set,
)

OPTIONS = [(name, f.name) for name in NAMES for f in fields(method(name).settings)]
MASKED = [name for name in NAMES if issubclass(method(name).task_class, MaskedPrediction)]
TOKENS = [name for name, option in OPTIONS if option == "mask_ratio"]  # methods that draw what they keep


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("of", LAYOUTS)
def test_forward_and_backward(name, of):
    task, batch = make(name, of), make_batch(of)
    out = task(again(batch))
    assert "loss" in out
    assert all(value.shape == () and value.isfinite() for value in out.values())
    out["loss"].backward()
    for parameter, value in task.named_parameters():
        if value.requires_grad:
            assert value.grad is not None, f"{parameter} is not trained"
            assert value.grad.isfinite().all(), parameter
    assert task.encoder.embedding.tokenizer.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("name", MASKED)
@pytest.mark.parametrize("of", LAYOUTS)
def test_the_mask_and_what_is_predicted(name, of):
    task, batch = make(name, of), make_batch(of)
    assert "reconstruction" in task(again(batch))
    mask, encoded, predicted, target = task.predict(again(batch))
    L, K = task.encoder.tokens, mask.keep.shape[1]
    assert mask.keep.dtype == mask.masked.dtype == torch.int64
    assert torch.equal(torch.cat(mask[:2], 1).sort(1).values, torch.arange(L).expand(B, L))
    assert encoded.shape == (B, L if name == "skeletonmae" else K, task.encoder.width)
    assert predicted.shape[:2] == (B, L - K)
    assert predicted.shape[2] >= target.tokens.shape[2]
    assert target.tokens.shape == target.mean.shape == target.scale.shape
    assert target.tokens.shape[:2] == (B, L)


@pytest.mark.slow
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
    assert outcome(make(name), batch) == outcome(make(name), batch)
    assert train(make(name), batch) == train(make(name), batch)
    assert train(make(name), batch) != train(make(name, seed=1), batch)


@pytest.mark.parametrize("name", MASKED)
def test_a_seed_decides_the_mask(name):
    batch = make_batch()
    mask, mask2 = (make(name).predict(again(batch))[0] for _ in range(2))
    assert torch.equal(mask.keep, mask2.keep)
    assert torch.equal(mask.masked, mask2.masked)
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


@pytest.mark.parametrize("name", MASKED)
def test_rows_of_a_batch_do_not_touch(name):
    """Masks, predictions and targets of a body do not depend on the others: cut in two, a batch gives the same."""
    task, batch = make(name), make_batch()
    mask, _, predicted, target = task.predict(again(batch))
    for rows in (slice(0, 2), slice(2, 4)):
        part = Batch(batch.x[rows], batch.valid[rows], Draws(0, B, rows), batch.track[rows])
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


@pytest.mark.parametrize("name", MASKED)
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


@pytest.mark.parametrize("name", MASKED)
def test_a_body_with_gaps_weighs_as_much_as_another(name):
    """The loss of a batch is the mean of the losses of its parts, so that processes and accumulation agree."""
    task, batch = make(name), make_batch()
    valid = batch.valid.clone()
    valid[0, 3:, task.encoder.joints[1:]] = False
    whole = task(again(batch, valid=valid))["reconstruction"]
    rows = slice(0, 1), slice(1, 2), slice(2, 4)
    parts = [task(Batch(batch.x[r], valid[r], Draws(0, B, r), batch.track[r]))["reconstruction"] for r in rows]
    torch.testing.assert_close(whole, (parts[0] + parts[1] + 2 * parts[2]) / 4)


@pytest.mark.parametrize("name", NAMES)
def test_only_the_chosen_joints_are_encoded_and_predicted(name):
    """Dropped joints enter nothing but, in some methods, the mask."""
    positions = {"streams": ["joint"]} if method(name).architecture == "transformer" else {}  # a bone sees its parent
    task, batch = make(name, "ntu25", encoder={"joints": "pruned"} | positions), make_batch("ntu25")
    dropped = [j for j in range(25) if j not in task.encoder.joints.tolist()]
    assert dropped == [0, 1, 4, 8, 12, 16, 20]
    moved = batch.x.clone()
    moved[:, :, dropped] += torch.randn(B, FRAMES, 7, 3)
    if isinstance(task, MaskedPrediction):
        mask = task.predict(again(batch))[0]
        task.mask = lambda *_: mask
    assert outcome(task, again(batch, x=moved)) == outcome(task, batch)


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
        task = make(name)
        task.prepare(sampler)
        assert task(again(batch))["loss"].isfinite()


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


@pytest.mark.parametrize("name", MASKED)
def test_the_order_of_kept_tokens_means_nothing(name):
    task, batch = make(name), make_batch()
    mask, _, predicted, _ = task.predict(again(batch))
    other = mask._replace(keep=mask.keep[:, torch.randperm(mask.keep.shape[1])])
    task.mask = lambda *_: other
    mask2, _, predicted2, _ = task.predict(again(batch))
    assert torch.equal(mask2.keep, other.keep)
    torch.testing.assert_close(predicted2, predicted)


def test_unknown_methods_are_told():
    with pytest.raises(ValueError, match="mamp"):
        method("nonsense")


@pytest.mark.parametrize("name", MASKED)
@pytest.mark.parametrize("of", LAYOUTS)
def test_what_decides_the_mask_is_a_number_for_each_token(name, of):
    task, batch = make(name, of), make_batch(of)
    with torch.no_grad():
        found, again_found = task.saliency(again(batch)), task.saliency(again(batch, seed=1))
    if found is None:
        assert again_found is None
        return
    assert found.title
    assert found.scores.shape == (B, task.encoder.segments, task.encoder.num_joints)
    assert (found.scores >= 0).all()
    assert found.scores.isfinite().all()
    assert torch.equal(found.scores, again_found.scores)  # no draw is in it


@pytest.mark.parametrize("name", MASKED)
@pytest.mark.parametrize("of", LAYOUTS)
def test_a_target_that_tells_where_joints_are_leads_back_there(name, of):
    task, batch = make(name, of), make_batch(of)
    with torch.no_grad():
        target = task.target(batch)
        found = task.positions(target.tokens * target.scale + target.mean, target.kind)
    if found is not None:
        encoder = task.encoder
        where = segment(batch.x[:, :, encoder.joints], encoder.settings.segment_frames).flatten(1, 2)
        torch.testing.assert_close(found, where, atol=1e-4, rtol=1e-4)

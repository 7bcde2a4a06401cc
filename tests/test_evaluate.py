"""Evaluation: protocols on frozen features, their controls, and what they write down."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from kinemask.protocols.protocols import PROTOCOLS, evaluate
from kinemask.runs.results import accuracy, hash8, per_class, read_results, summary, table, write_result
from sklearn.neighbors import KNeighborsClassifier

from kinemask.models.encoders import load_encoder
from kinemask.nn.readouts import mean_by
from kinemask.nn.settings import DecoderSettings
from kinemask.preparation.prepare import prepare
from kinemask.pretext import method
from kinemask.protocols.features import Features, check_fit, parts, raw_coordinates, with_sampling
from kinemask.protocols.knn import KNNSettings, knn, vote
from kinemask.protocols.linear import LinearHead, LinearSettings, linear
from kinemask.skeleton import layout
from kinemask.store.format import Clip
from kinemask.store.opening import open_store
from kinemask.store.writer import write_store
from kinemask.training.pretraining import pretrain
from kinemask.training.settings import Settings, TrainingSettings
from kinemask.windows import sampler
from kinemask.windows.settings import SamplingSettings

DATA = Path(os.environ.get("KINEMASK_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
QUICK = {"epochs": 5, "batch_size": 16, "views": 2}


def make_run(store, folder, name="mamp", sampling=None, epochs=2):
    chosen = method(name)
    space = {"space": "poincare", "joints": "pruned"} if name == "hacm" else {}
    settings = Settings(
        method=name,
        data=str(store.path),
        split="xsub",
        sampling=SamplingSettings(**({"frames": 24, "min_crop_frames": 8} | (sampling or {}))),
        encoder=chosen.encoder_settings(layers=1, width=16, heads=2, segment_frames=3, **space),
        decoder=DecoderSettings(layers=1, width=16, heads=2),
        pretext=chosen.settings(),
        training=TrainingSettings(epochs=epochs, warmup_epochs=0, batch_size=12, device="cpu", precision="fp32"),
    )
    return pretrain(settings, folder, quiet=True)


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory) -> Path:
    return make_run(tiny, tmp_path_factory.mktemp("evaluate") / "run")


@pytest.fixture
def plain(monkeypatch):
    """Features in float32, so that sums can be compared closely."""
    monkeypatch.setattr("kinemask.protocols.features.bf16_pays", lambda device: False)


class Given:
    """Features that are given: what a protocol needs, without an encoder. views: (number, N, D)."""

    def __init__(self, views, labels, test, test_labels):
        side = lambda labels: type("Part", (), {"labels": labels})()
        self.train, self.test, self.device = side(labels), side(test_labels), torch.device("cpu")
        self._views, self._test, self.asked = views, test, []

    def view(self, number):
        self.asked.append(number)
        return self._views[number % len(self._views)]

    fresh_view = view

    def test_views(self, part):
        return [self._views[0]] if part is self.train else self._test


def separable(count=90, classes=3, dims=8, seed=0):
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    return 4 * F.one_hot(labels, dims).float() + 0.3 * torch.randn(count, dims, generator=g), labels


# nearest neighbours


@pytest.mark.parametrize("neighbours", [1, 3, 5])
def test_the_vote_is_scikit_learns(neighbours):
    g = torch.Generator().manual_seed(0)
    gallery, queries = torch.randn(80, 6, generator=g), torch.randn(2500, 6, generator=g)  # more than one piece
    labels = (gallery[:, 0] > 0).long()  # two classes and odd numbers: no ties
    reference = KNeighborsClassifier(neighbours, metric="cosine", algorithm="brute").fit(gallery, labels)
    scores = vote(gallery, labels, queries, 2, neighbours)
    assert scores.shape == (2500, 2)
    torch.testing.assert_close(scores.sum(1), torch.ones(2500))
    assert np.array_equal(scores.argmax(1).numpy(), reference.predict(queries))
    shares = reference.predict_proba(queries)
    assert np.abs(scores.numpy() - shares).max() < 2e-3  # similarity adds only a little


def test_a_tie_goes_to_the_more_similar():
    gallery = F.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.3], [1.0, -0.2], [0.0, 1.0]]), dim=1)
    labels = torch.tensor([2, 0, 1, 1])
    assert vote(gallery, labels, torch.tensor([[1.0, 0.01]]), 3, 3).argmax().item() == 2
    assert vote(gallery, labels, torch.tensor([[0.0, 5.0]]), 3, 1).argmax().item() == 1
    assert vote(gallery, labels, torch.tensor([[1.0, -0.1]]), 3, 100).argmax().item() == 1  # no more than there are


def test_length_does_not_matter_to_neighbours():
    gallery, labels = separable()
    scale = torch.linspace(0.1, 10, len(gallery)).unsqueeze(1)
    torch.testing.assert_close(
        vote(gallery, labels, gallery[:9], 3, 5), vote(gallery * scale, labels, gallery[:9] * 7, 3, 5)
    )


def test_knn_on_given_features():
    x, labels = separable()
    test, truth = separable(seed=1)
    given = Given([x], labels, [test, test], truth)
    assert accuracy(knn(given, 3, KNNSettings(), 0).scores, truth) == 100
    assert knn(given, 3, KNNSettings(), 0).best_epoch is None
    with pytest.raises(ValueError, match="neighbours"):
        KNNSettings(neighbours=0)


# linear


def test_linear_learns_separable_features_and_not_shuffled_labels():
    x, labels = separable()
    test, truth = separable(seed=1)
    outcome = linear(Given([x], labels, [test], truth), 3, LinearSettings(epochs=20, batch_size=16), 0)
    assert accuracy(outcome.scores, truth) == 100
    torch.testing.assert_close(outcome.scores.sum(1), torch.ones(90))
    shuffled = labels[torch.randperm(90, generator=torch.Generator().manual_seed(0))]
    outcome = linear(Given([x], shuffled, [test], truth), 3, LinearSettings(epochs=20, batch_size=16), 0)
    assert accuracy(outcome.scores, truth) < 70


def test_the_headline_is_the_last_epoch_and_the_best_is_kept_beside():
    x, labels = separable()
    misleading = [x] + [-x] * 9  # what the first epoch learns the others unlearn
    outcome = linear(Given(misleading, labels, [x], labels), 3, LinearSettings(epochs=10, views=0), 0)
    assert outcome.best_epoch > 0.9
    assert accuracy(outcome.scores, labels) < 50


def test_linear_uses_views_in_turn():
    x, labels = separable(20)
    for views, expected in ((3, [0, 1, 2, 0, 1]), (0, [0, 1, 2, 3, 4]), (1, [0] * 5)):
        given = Given([x], labels, [x], labels)
        linear(given, 3, LinearSettings(epochs=5, views=views, batch_size=8), 0)
        assert given.asked == expected


def test_a_last_batch_of_one_clip_does_not_break_batch_norm():
    x, labels = separable(17)
    linear(Given([x], labels, [x], labels), 3, LinearSettings(epochs=2, batch_size=16), 0)
    linear(Given([x], labels, [x], labels), 3, LinearSettings(epochs=2, batch_size=2), 0)


def test_the_linear_head_is_as_published():
    head = LinearHead(8, 3)
    assert [tuple(p.shape) for p in head.parameters()] == [(3, 8), (3,)]  # no affine parameters in the norm
    x = 5 + 3 * torch.randn(500, 8)
    torch.testing.assert_close(head.norm(x).std(0, correction=0), torch.ones(8), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    "change", [{"epochs": 4}, {"batch_size": 8}, {"lr": 0.01}, {"momentum": 0.0}, {"views": 1}, {"views": 0}], ids=str
)
def test_every_option_of_linear_changes_scores(change):
    x, labels = separable(40)
    views = [x + 0.1 * i for i in range(3)] + [x]
    base = LinearSettings(epochs=6, batch_size=16, views=2)
    a, b = (linear(Given(views, labels, [x], labels), 3, s, 0).scores for s in (base, replace(base, **change)))
    assert not torch.allclose(a, b)


def test_a_seed_decides_the_head():
    x, labels = separable(40)
    settings = LinearSettings(**QUICK)
    scores = [linear(Given([x], labels, [x], labels), 3, settings, seed).scores for seed in (0, 0, 1)]
    assert torch.equal(scores[0], scores[1])
    assert not torch.equal(scores[0], scores[2])


# features


def test_encode_is_the_mean_over_segments_joints_and_bodies(run, tiny):
    model = load_encoder(run)
    data = np.random.default_rng(0).normal(0, 0.3, (2, 24, 15, 3)).astype(np.float32)  # exactly the window
    model = with_sampling(model, test_crop=1.0)
    with torch.no_grad():
        tokens = model.encoder(torch.from_numpy(data))
    assert tokens.shape == (2, 8, 15, 16)
    torch.testing.assert_close(model.encode([data])[0], tokens.mean((0, 1, 2)), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(model.encode([data[0]])[0], tokens[0].mean((0, 1)), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("window", ["crop", "uniform"])
def test_a_recordings_features_do_not_depend_on_its_company(window, run):
    model = with_sampling(load_encoder(run), window=window)
    rng = np.random.default_rng(0)
    clips = [rng.normal(0, 0.3, (m, t, 15, 3)).astype(np.float32) for m, t in ((1, 5), (3, 80), (2, 30), (1, 24))]
    together = model.encode(clips, batch_size=2)
    assert together.shape == (4, 16)
    for clip, feature in zip(clips, together, strict=True):
        torch.testing.assert_close(model.encode([clip])[0], feature, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(model.encode(clips[::-1]), together.flip(0), atol=1e-5, rtol=1e-4)


def test_encode_takes_arrays_tensors_and_gaps(run):
    model = load_encoder(run)
    x = np.random.default_rng(0).normal(0, 0.3, (3, 40, 15, 3)).astype(np.float32)
    expected = model.encode(list(x))
    for given in (x, torch.from_numpy(x), x[:, None], [torch.from_numpy(a) for a in x], x.astype(np.float64)):
        torch.testing.assert_close(model.encode(given), expected)
    absent = np.concatenate([x[:, None], np.full_like(x[:, None], np.nan)], 1)  # absent bodies do not count
    torch.testing.assert_close(model.encode(absent), expected)
    order = np.stack([x[:2], x[1:]], 1)
    torch.testing.assert_close(model.encode(order), (expected[:2] + expected[1:]) / 2, atol=1e-5, rtol=1e-4)
    gaps = x.copy()
    gaps[:, 10:14, 3] = np.nan
    assert model.encode(gaps).isfinite().all()
    assert not model.encode(x).requires_grad


@pytest.mark.parametrize(
    ("x", "match"),
    [
        (np.zeros((2, 10, 14, 3)), "14, 3"),
        (np.zeros((2, 10, 15, 2)), "15, 2"),
        (np.zeros((10, 15)), "recording 0"),
        (np.full((1, 10, 15, 3), np.nan), "missing"),
        (np.full((1, 10, 15, 3), np.inf), "infinity"),
        ([], "no recordings"),
    ],
)
def test_encode_tells_what_does_not_fit(x, match, run):
    with pytest.raises(ValueError, match=match):
        load_encoder(run).encode(x)


def test_features_of_an_evaluation_are_those_of_encode(run, tiny, plain):
    model = load_encoder(run)
    train, test = parts(tiny, "xsub", "cpu", "fill")
    features = Features(model, train, test)
    for part in (train, test):
        (found,) = features.test_views(part)
        torch.testing.assert_close(found, model.encode([tiny.clip(c) for c in part.clips]), atol=1e-5, rtol=1e-4)
        assert torch.equal(part.labels, torch.from_numpy(tiny.labels[part.clips]))
        assert (part.labels >= 0).all()  # the unlabelled clip takes no part
    views = with_sampling(model, test_crop=0.5, test_clips=3)
    assert len(Features(views, train, test).test_views(test)) == 3


def test_half_precision_features_are_nearly_the_same(run, tiny, monkeypatch):
    model = load_encoder(run)
    train, test = parts(tiny, "xsub", "cpu", "fill")
    both = []
    for pays in (False, True):
        monkeypatch.setattr("kinemask.protocols.features.bf16_pays", lambda device, pays=pays: pays)
        both.append(Features(model, train, test).test_views(test)[0])
    assert both[1].dtype == torch.float32
    assert (both[0] - both[1]).abs().max() < 0.05 * both[0].std()


def test_views_are_augmented_different_and_the_same_again(run, tiny, plain):
    train, test = parts(tiny, "xsub", "cpu", "fill")
    features = Features(load_encoder(run), train, test)
    first, second = features.view(0), features.view(1)
    assert first.shape == (len(train.clips), 16)
    assert not torch.allclose(first, second)
    assert features.view(0) is first
    torch.testing.assert_close(features.fresh_view(0), first)


def test_mean_by():
    values = torch.arange(8.0).view(4, 2)
    assert mean_by(values, torch.tensor([0, 1, 1, 0]), 2).tolist() == [[3, 4], [3, 4]]


def test_raw_coordinates(tiny):
    train, _ = parts(tiny, "xsub", "cpu", "fill")
    found = raw_coordinates(train, 24)
    assert found.shape == (len(train.clips), 24 * 15 * 3)
    for i, clip in enumerate(train.clips):
        data = torch.from_numpy(np.array(tiny.clip(clip)))
        if data.isnan().any():
            continue
        flat = data.mean(0).flatten(1).T[None]
        expected = F.interpolate(flat, 24, mode="linear", align_corners=False)[0].T.flatten()
        torch.testing.assert_close(found[i], expected, atol=1e-5, rtol=0)


@pytest.fixture(scope="session")
def nw_ucla(tmp_path_factory):
    if not (DATA / "nw-ucla").is_dir():
        pytest.skip(f"no NW-UCLA in {DATA}")
    path = tmp_path_factory.mktemp("real") / "nw-ucla"
    prepare("nw-ucla", DATA / "nw-ucla", path, progress=False)
    return open_store(path)


@pytest.mark.parametrize("frames", [30, 64])
def test_the_raw_control_of_nw_ucla(frames, nw_ucla):
    """About 62 % without any learning, 52 % on the clips of which no copy was seen."""
    train, test = parts(nw_ucla, "xview", "cpu", "fill")
    scores = vote(raw_coordinates(train, frames), train.labels, raw_coordinates(test, frames), 10, 1)
    unseen = torch.from_numpy(~nw_ucla.duplicates(train.clips, test.clips))
    assert (len(train.clips), len(test.clips), int(unseen.sum())) == (1020, 464, 369)
    assert accuracy(scores, test.labels) == pytest.approx(61.6, abs=0.7)
    assert accuracy(scores[unseen], test.labels[unseen]) == pytest.approx(51.8, abs=0.9)


# results


@pytest.mark.parametrize("protocol", [name for name, protocol in PROTOCOLS.items() if not protocol.trains])
def test_a_result_says_what_it_promises(protocol, run, tiny):
    settings = QUICK if "epochs" in PROTOCOLS[protocol].settings.__dataclass_fields__ else {}
    (result,) = evaluate(protocol, run, tiny.path, "xcam", device="cpu", **settings)
    path = Path(result["path"])
    assert path.parent == run / "evaluations"
    assert re.fullmatch(rf"{protocol}-tiny-xcam-[0-9a-f]{{8}}\.json", path.name)
    kept = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert kept.items() <= result.items()
    _, test = tiny.split("xcam")
    assert kept["test_clips"] == (tiny.labels[test] >= 0).sum()
    assert kept["test_clips_unseen"] == kept["test_clips"] - 1  # one is a copy
    assert 0 <= kept["accuracy"] <= 100
    assert 0 <= kept["accuracy_unseen"] <= 100
    assert (kept["accuracy_best_epoch"] is None) == (protocol != "linear")
    assert protocol != "linear" or kept["accuracy_best_epoch"] >= kept["accuracy"]
    assert {"untrained_encoder", "raw_coordinates_knn"} <= set(kept["controls"])
    assert all(0 <= v <= 100 for name, v in kept["controls"].items() if name != "details")
    assert set(kept["per_class"]) == {"wave", "kick", "bow"}
    assert (kept["seed"], kept["protocol"], kept["split"]) == (0, protocol, "xcam")
    assert kept["seconds"] > 0
    scores = np.load(path.with_name(f"{path.stem}-scores.npz"), allow_pickle=False)
    assert scores["scores"].shape == (kept["test_clips"], 3)
    assert list(scores["names"]) == [tiny.names[i] for i in test if tiny.labels[i] >= 0]
    assert 100 * (scores["scores"].argmax(1) == scores["labels"]).mean() == pytest.approx(kept["accuracy"])
    same = scores["scores"].argmax(1) == scores["labels"]
    unseen = scores["names"] != "copy"
    assert 100 * same[unseen].mean() == pytest.approx(kept["accuracy_unseen"])
    for i, name in enumerate(("wave", "kick", "bow")):
        assert 100 * same[scores["labels"] == i].mean() == pytest.approx(kept["per_class"][name])
    assert any(r["hash"] == kept["hash"] for r in read_results(run))


def test_the_same_evaluation_gives_the_same_numbers_and_replaces_its_file(run, tiny):
    a, b = (evaluate("linear", run, tiny.path, "xsub", device="cpu", **QUICK)[0] for _ in range(2))
    keep = lambda r: {k: v for k, v in r.items() if k != "seconds"}
    assert keep(a) == keep(b)


def test_no_test_clips_are_not_the_usual_number(run, tiny):
    with pytest.raises(ValueError, match="test_clips must be positive"):
        evaluate("knn", run, tiny.path, "xsub", test_clips=0)


def test_the_hash_depends_on_seed_settings_and_test_clips(run, tiny):
    def ask(**changes):
        more = {**QUICK, "controls": False} | changes
        return evaluate("linear", run, tiny.path, "xsub", device="cpu", **more)

    results = [
        *ask(seed=[0, 1]),
        *ask(lr=0.2),
        *ask(test_clips=3),
        *ask(controls=True, epochs=2),
    ]
    assert len({r["hash"] for r in results}) == len({r["path"] for r in results}) == 5
    assert [r["seed"] for r in results[:2]] == [0, 1]
    assert all(Path(r["path"]).is_file() for r in results)
    assert results[0]["controls"] is None
    assert ask(seed=1)[0]["accuracy"] == results[1]["accuracy"]  # alone or among others
    assert hash8({"b": 1, "a": 2}) == hash8({"a": 2, "b": 1})


def test_controls_do_not_depend_on_the_weights_under_test(run, tiny, tmp_path):
    other = make_run(tiny, tmp_path / "longer", epochs=6)
    a, b = (evaluate("knn", r, tiny.path, "xsub", device="cpu")[0] for r in (run, other))
    assert a["controls"] == b["controls"]
    assert a["hash"] != b["hash"]


@pytest.mark.parametrize("protocol", ["linear", "finetune"])
def test_shear_is_of_pretraining_alone(protocol, tiny, tmp_path, monkeypatch):
    run = make_run(tiny, tmp_path / "run", sampling={"shear": 0.5}, epochs=1)
    seen = []
    monkeypatch.setattr(sampler, "augment", lambda x, draws, clip_index, s: seen.append(s.shear) or x)
    evaluate(protocol, run, tiny.path, "xsub", device="cpu", controls=False, epochs=1)
    assert set(seen) == {0.0}


@pytest.mark.parametrize("name", ["mae", "hacm"])
def test_every_method_can_be_evaluated(name, tiny, tmp_path):
    run = make_run(tiny, tmp_path / name, name)
    (result,) = evaluate("knn", run, tiny.path, "xsub", device="cpu", controls=False)
    assert result["run"]["method"] == name


@pytest.mark.parametrize("stream", ["motion", "bone"])
def test_streams_are_evaluated_as_trained(stream, tiny, tmp_path):
    run = make_run(tiny, tmp_path / stream, sampling={"stream": stream})
    train, test = parts(tiny, "xsub", "cpu", "fill")
    model = load_encoder(run)
    (found,) = Features(model, train, test).test_views(test)
    (joint,) = Features(with_sampling(model, stream="joint"), train, test).test_views(test)
    assert not torch.allclose(found, joint, atol=1e-3)
    (result,) = evaluate("knn", run, tiny.path, "xsub", device="cpu")
    assert result["run"]["settings"]["sampling"]["stream"] == stream


def test_a_class_that_was_learnt_is_recognised(run, tiny):
    """The made-up classes swing other limbs; chance is 33 %."""
    settings = {"epochs": 60, "batch_size": 16, "views": 4}
    (result,) = evaluate("linear", run, tiny.path, "xcam", device="cpu", controls=False, **settings)
    assert result["accuracy"] > 50


def test_a_test_part_of_copies_only_gives_plain_json(tiny, run, tmp_path):
    of = layout("sbu15")
    clips = [
        Clip(f"{side}{i}", np.random.default_rng(i).normal(size=(1, 9, 15, 3)), i % 2, {"split:x": side})
        for side in ("train", "test")
        for i in range(4)
    ]
    store = write_store(tmp_path / "copies", clips, of, ["a", "b"], meta={"dataset": "copies"})
    (result,) = evaluate("knn", run, store.path, "x", device="cpu")
    assert (result["test_clips"], result["test_clips_unseen"], result["accuracy"]) == (4, 0, 100)
    json.loads(Path(result["path"]).read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


# what does not fit


def test_what_does_not_fit_is_told(run, tiny, tmp_path):
    with pytest.raises(ValueError, match=r"nonsense.*linear"):
        evaluate("nonsense", run, tiny.path, "xsub")
    with pytest.raises(ValueError, match=r"nonsense.*xsub"):
        evaluate("knn", run, tiny.path, "nonsense", device="cpu")
    with pytest.raises(ValueError, match="no encoder"):
        evaluate("knn", tmp_path, tiny.path, "xsub")
    with pytest.raises(ValueError, match="no encoder"):
        evaluate("knn", run, tiny.path, "xsub", encoder="encoder-student")
    for name in ("../run/encoder", "a\\encoder", str(run / "encoder")):
        with pytest.raises(ValueError, match="without its ending"):
            evaluate("knn", run, tiny.path, "xsub", encoder=name)
    with pytest.raises(ValueError, match="seed"):
        evaluate("knn", tmp_path / "nowhere", tmp_path / "nowhere", "xsub", seed=[])
    with pytest.raises(ValueError, match="no store"):
        evaluate("knn", run, tmp_path / "nowhere", "xsub")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="cuda"):
            evaluate("knn", run, tiny.path, "xsub", device="cuda")


def test_a_run_that_has_not_finished_is_told(run, tiny, tmp_path):
    (tmp_path / "config.yaml").write_bytes((run / "config.yaml").read_bytes())
    with pytest.raises(ValueError, match="has not finished training"):
        evaluate("knn", tmp_path, tiny.path, "xsub")


@pytest.mark.parametrize("name", ["lr", "momentum"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_bad_settings_of_linear_are_told(name, value):
    with pytest.raises(ValueError, match=f"linear: {name} must"):
        LinearSettings(**{name: value})


def test_a_result_that_is_no_json_leaves_no_scores(tmp_path):
    result = {"protocol": "knn", "data": "d", "split": "s", "hash": "0", "accuracy": float("nan")}
    with pytest.raises(ValueError, match="JSON"):
        write_result(tmp_path, result, torch.eye(2), torch.arange(2), ["a", "b"])
    assert not any((tmp_path / "evaluations").iterdir())


def test_an_accuracy_of_zero_is_an_accuracy():
    result = {"protocol": "linear", "data": "d", "split": "s", "test_clips": 2, "test_clips_unseen": 2}
    result |= {"accuracy": 0.0, "accuracy_best_epoch": 0.0, "controls": None}
    assert "best epoch" in table([result])
    assert "macro F1" not in table([result])
    assert re.search(r"macro F1 +12\.5 %", table([result | {"metrics": {"macro_f1": 12.5, "top5": None}}]))
    assert "best epoch" not in table([result | {"accuracy_best_epoch": None}])


def test_another_layout_is_told(run, tmp_path):
    of = layout("utd20")
    clips = [
        Clip(str(i), np.random.default_rng(i).normal(size=(1, 9, 20, 3)), 0, {"split:x": s})
        for i, s in ((0, "train"), (1, "test"))
    ]
    store = write_store(tmp_path / "other", clips, of, ["a"])
    with pytest.raises(ValueError, match=r"sbu15 \(15 joints\).*utd20 \(20 joints\)"):
        evaluate("knn", run, store.path, "x", device="cpu")
    model = load_encoder(run)
    with pytest.raises(ValueError, match="sbu15"):
        check_fit(model, store, run)


def test_a_split_without_labels_is_told(run, tmp_path):
    of = layout("sbu15")
    clips = [
        Clip(str(i), np.random.default_rng(i).normal(size=(1, 9, 15, 3)), 0 if i < 2 else None, {"split:x": s})
        for i, s in enumerate(("train", "train", "test", "test"))
    ]
    store = write_store(tmp_path / "half", clips, of, ["a"])
    with pytest.raises(ValueError, match=r"test part.*no labelled clips"):
        evaluate("knn", run, store.path, "x", device="cpu")


def test_summaries():
    assert summary([61.638]) == "61.6"
    assert summary([60.0, 62.0]) == "61.0 ± 1.4"
    scores, labels = torch.eye(3), torch.tensor([0, 1, 1])
    assert accuracy(scores, labels) == pytest.approx(200 / 3)
    assert per_class(scores, labels, ["a", "b", "c"]) == {"a": 100, "b": 50}

"""The estimator: it learns, is scikit-learn's in every way that lists of arrays can be, and says what is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks

from helpers import CLASSES
from kinemask import Recogniser
from recognition_clips import SBU, clips


@pytest.fixture(scope="module")
def fitted() -> Recogniser:
    x, y, people = clips()
    return Recogniser(SBU, kernels=200).fit(x, y, people)


def test_it_learns(fitted):
    x, y, _ = clips(30, seed=1)
    assert fitted.classes_.tolist() == sorted(CLASSES)
    assert fitted.score(x, y) > 0.9
    found = fitted.predict_proba(x)
    assert found.shape == (30, 3)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)
    assert (fitted.classes_[found.argmax(1)] == fitted.predict(x)).all()
    assert fitted.transform(x).shape == (30, fitted.n_features_out_)
    assert len(fitted.tried_) == 7  # heading, none, mirrored, convolutions, half and half, statistics, twins
    assert {one.choice.align for one in fitted.tried_} == {"heading", "none"}


def test_a_store_brings_layout_labels_and_people(tiny):
    found = Recogniser(kernels=200, align="heading", mirrored=False, features="convolutions").fit(tiny)
    assert found.layout_ == tiny.layout
    assert found.classes_.tolist() == sorted(CLASSES)
    assert found.predict_proba(tiny).shape == (len(tiny), 3)  # with the unlabelled clip
    assert found.score(tiny) > 0.9
    assert found.lengths_ == (1, 40, 90)


@pytest.mark.parametrize("labels", [[0, 1, 2], [False, True, True], ["a", "b", "c"]])
def test_labels_come_back_as_they_were(labels):
    x, _, _ = clips(12)
    y = np.array([labels[i % 3] for i in range(12)])
    found = Recogniser(SBU, kernels=50).fit(x, y).predict(x)
    assert found.dtype == y.dtype
    assert (found == y).mean() > 0.9


def test_it_does_not_matter_where_a_clip_lies(fitted):
    x, _, _ = clips(6, seed=2)
    elsewhere = [one + np.array([5, 0, -3]) for one in x]
    np.testing.assert_allclose(fitted.predict_proba(elsewhere), fitted.predict_proba(x), atol=1e-3)


def test_clips_are_predicted_one_by_one_as_together(fitted):
    x, _, _ = clips(5, seed=3)
    alone = np.concatenate([fitted.predict_proba([one]) for one in x])
    np.testing.assert_allclose(alone, fitted.predict_proba(x), atol=1e-5)


def test_recordings_without_a_label_are_learned_from():
    x, y, people = clips(36)
    few = np.where(np.arange(36) < 3, y, None)
    quick = Recogniser(SBU, kernels=60, align="none", mirrored=False, twins=False)
    spread = clone(quick).fit(x, few, people)
    assert spread.choice_.spread
    assert spread.score(x, y) > 0.9
    labelled = x[:3], y[:3], people[:3]
    alone, off = clone(quick).fit(*labelled), clone(quick).set_params(spread=False).fit(x, few, people)
    assert not off.choice_.spread
    np.testing.assert_array_equal(off.predict_proba(x), alone.predict_proba(x))
    assert not np.allclose(spread.predict_proba(x), alone.predict_proba(x))
    for missing in ([*y[:3], *[np.nan] * 33], np.array([*y[:3], *[np.nan] * 33], object)):  # as pandas has it
        again = clone(quick).fit(x, missing, [*people[:3], *[None] * 33])
        assert again.classes_.tolist() == spread.classes_.tolist()
        assert again.choice_.spread
    with pytest.warns(UserWarning, match="spread has no effect"):
        clone(quick).set_params(spread=True).fit(x[:3], y[:3], people[:3])


# scikit-learn

OF_SCIKIT_LEARN = (
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_get_params_invariance",
    "check_set_params",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_do_not_raise_errors_in_init_or_set_param",
    "check_mixin_order",
    "check_valid_tag_types",
)


@pytest.mark.parametrize("name", OF_SCIKIT_LEARN)
def test_checks_of_scikit_learn(name):
    """Those that do not hand over a table (N, features), which is no recording."""
    check = getattr(estimator_checks, name, None)
    if check is None:
        pytest.skip("not in this version of scikit-learn")
    check("Recogniser", Recogniser())


def test_it_is_cloned_and_keeps_what_it_was_given(fitted):
    again = clone(fitted)
    assert again.get_params() == fitted.get_params()
    assert not hasattr(again, "model_")
    with pytest.raises(NotFittedError):
        again.predict([np.zeros((3, 15, 3))])
    assert again.set_params(kernels=7).kernels == 7


def test_it_works_in_pipeline_grid_search_and_cross_validation():
    x, y, people = clips(24)
    halved = FunctionTransformer(lambda clips: [one[::2] for one in clips])
    pipeline = make_pipeline(halved, Recogniser(SBU, kernels=40, mirrored=False))
    assert pipeline.fit(x, y).score(x, y) > 0.9
    grid = GridSearchCV(Recogniser("sbu15", kernels=40), {"align": ["none", "heading"]}, cv=GroupKFold(2))
    grid.fit(x, y, groups=people)
    assert grid.best_params_["align"] in ("none", "heading")
    quick = Recogniser(SBU, kernels=40, align="none", mirrored=False)
    found = cross_val_predict(quick, x, y, cv=GroupKFold(4), groups=people)
    assert (found == y).mean() > 0.9


def test_refitting_forgets(fitted):
    x, y, people = clips(24)
    one = clone(fitted).fit(x, y, people)
    np.testing.assert_allclose(one.predict_proba(x), fitted.predict_proba(x), rtol=0, atol=0)
    one.fit(x[:12], np.where(y[:12] == "kick", "jump", y[:12]))
    assert one.classes_.tolist() == ["bow", "jump", "wave"]


# bad input

X, Y, PEOPLE = clips(12)
NOBODY = np.full((9, 15, 3), np.nan)
BAD = {
    "one class": (lambda: Recogniser(SBU).fit(X, ["wave"] * 12), "only one class, 'wave'"),
    "no labels": (lambda: Recogniser(SBU).fit(X), "requires y"),
    "labels of nobody": (lambda: Recogniser(SBU).fit(X, [None] * 12), "no recording has a label"),
    "no such spreading": (lambda: Recogniser(SBU, spread="yes").fit(X, Y), "spread is auto, true or false; not 'yes'"),
    "no layout": (lambda: Recogniser().fit(X, Y), r"need a layout.*15 joints in 3D: sbu15"),
    "no clips": (lambda: Recogniser(SBU).fit([], []), "no recordings"),
    "another shape": (lambda: Recogniser(SBU).fit([*X[:-1], np.zeros((9, 14, 3))], Y), "recording 11 has shape"),
    "nobody": (lambda: Recogniser(SBU).fit([*X[:-1], NOBODY], Y), "recording 11: no joint is seen"),
    "infinity": (lambda: Recogniser(SBU).fit([*X[:-1], NOBODY + np.inf], Y), "recording 11: no joint|infinity"),
    "too few labels": (lambda: Recogniser(SBU).fit(X, Y[:-1]), r"y has shape \(11,\)"),
    "numbers as labels": (lambda: Recogniser(SBU).fit(X, np.linspace(0, 1, 12)), "Unknown label type"),
    "too few groups": (lambda: Recogniser(SBU).fit(X, Y, PEOPLE[:-1]), r"groups have shape \(11,\)"),
    "a table": (lambda: Recogniser(SBU).fit(np.zeros((12, 45)), Y), "Reshape your data"),
    "features of no kind": (lambda: Recogniser(SBU, features="hopes").fit(X, Y), "not 'hopes'"),
    "features twice": (lambda: Recogniser(SBU, features=["statistics"] * 2).fit(X, Y), "once each"),
    "another align": (lambda: Recogniser(SBU, align="up").fit(X, Y), "align is auto or"),  # type: ignore[arg-type]
    "another mirrored": (lambda: Recogniser(SBU, mirrored="maybe").fit(X, Y), "mirrored is"),  # type: ignore[arg-type]
    "no kernels": (lambda: Recogniser(SBU, kernels=0).fit(X, Y), "kernels must be"),
    "tokens of no encoder": (lambda: Recogniser(SBU, features="tokens").fit(X, Y), "tokens are an encoder's"),
    "a readout of no encoder": (lambda: Recogniser(SBU, readout=object()).fit(X, Y), "a readout is an encoder's"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_said(case):
    act, said = BAD[case]
    with pytest.raises(ValueError, match=said):
        act()


def test_nobody_is_seen_in_what_is_predicted(fitted):
    with pytest.raises(ValueError, match="recording 1: no joint is seen"):
        fitted.predict([X[0], NOBODY])


def test_more_clips_than_fit_into_the_memory_are_refused(monkeypatch):
    x, y, people = clips(30)
    monkeypatch.setattr("kinemask.windows.mapped.memory_left", lambda: 20_000)
    with pytest.raises(ValueError, match=r"30 clips are too many for a recogniser.* Train on fewer"):
        Recogniser(SBU).fit(x, y, people)


def test_clips_of_one_frame_and_of_fifty_people(fitted):
    crowd = np.repeat(X[0][None], 50, 0) + np.random.default_rng(0).normal(0, 1, (50, 1, 1, 3))
    found = fitted.predict_proba([X[0][:1], crowd])
    assert np.isfinite(found).all()
    half = X[3].copy()
    half[:, 7:] = np.nan
    x, y, _ = clips(12)
    x[0], x[3] = x[0][:1], half
    trained = Recogniser(SBU, kernels=50).fit(x, y)
    assert np.isfinite(trained.predict_proba(x)).all()


@pytest.mark.parametrize("per_class", [1, 2])
def test_few_labels_are_enough_to_learn_from(per_class):
    x, y, people = clips(60)
    few = np.concatenate([np.flatnonzero(y == name)[:per_class] for name in CLASSES])
    found = Recogniser(SBU, kernels=500).fit([x[i] for i in few], y[few], people[few])
    assert found.score(x, y) > 0.5
    if per_class == 1:
        assert found.tried_ == ()  # nothing to choose by
        assert found.choice_.align == "heading"

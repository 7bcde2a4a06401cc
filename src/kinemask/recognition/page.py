"""What the report of a recogniser shows."""

from __future__ import annotations

from collections import Counter

from kinemask.recognition.labels import Labelled
from kinemask.recognition.text import advice, assessed, next_commands
from kinemask.recognition.train import Trained
from kinemask.reports import charts
from kinemask.reports.pages import Note, Table
from kinemask.reports.recogniser import Held, View


def page_of(trained: Trained, labelled: Labelled) -> View:
    """The page of a recogniser and the clips that it was made from."""
    made, store = trained.recogniser, labelled.store
    clips = Counter(store.classes[label] for label in store.labels[labelled.train].tolist())
    least, middle, most = made.lengths_
    others = f", and {len(labelled.unlabelled):,} without a label" if made.choice_.spread else ""
    about = [
        ("clips", f"{len(labelled.train):,}{others}"),
        ("classes", f"{len(labelled.classes)}"),
        ("people", "not known" if labelled.people is None else f"{len(set(labelled.people.tolist()))}"),
        ("frames", f"{least} to {most}, median {middle}"),
        ("layout", f"{store.layout.name}, {store.layout.num_joints} joints in {store.layout.dims}D"),
        ("looks at", str(made.choice_)),
        ("size", f"{trained.path.stat().st_size / 1e6:.1f} MB"),
        ("seconds", f"{trained.seconds:.0f}"),
    ]
    tried = [[str(one.choice), f"{one.accuracy:.1f}", f"{one.loss:.3f}"] for one in made.tried_]
    chosen = [row for row, one in enumerate(made.tried_) if one.choice == made.choice_]
    return View(
        name=store.name,
        about=about,
        said=list(trained.said),
        held=_held(trained) or Note("How good it is on new clips is not known: held out of so few, nothing is left."),
        tried=Table(["looks at", "accuracy, %", "log loss"], tried, numbers=(1, 2), own=chosen)
        if tried
        else Note("Nothing was tried out: too few clips of a class to learn from those left out."),
        classes=Table(["class", "clips"], [[name, str(clips[name])] for name in labelled.classes], numbers=(1,)),
        commands=next_commands(trained.path.resolve().parent.name),
    )


def _held(trained: Trained) -> Held | None:
    found = trained.assessment
    if found is None:
        return None
    total = len(found)
    rows = [("this recogniser", found.right), *sorted(found.baselines.items(), key=lambda one: -one[1])]
    answered = [p for p in found.curve[::2] if p.answered]
    series = [
        ("right, of those answered", "own", [100 * p.right / p.answered for p in answered]),
        ("answered", "m2", [100 * p.answered / total for p in answered]),
    ]
    calibration = found.calibration
    return Held(
        headline=assessed(found)[0],
        said=assessed(found)[1:],
        bars=[charts.bar(name, 100 * right / total) for name, right in rows],
        confusion=charts.confusion(found.labels, found.guesses, found.classes),
        classes=[
            charts.bar(name, 100 * right / of, f"of {of}")
            for name, right, of in sorted(found.per_class, key=lambda one: -one[1] / one[2])
        ],
        unsure=charts.curves("by confidence", [f"{p.threshold:g}" for p in answered], series, "confidence"),
        key=[("own", "right, of those answered"), ("m2", "answered")],
        advice="" if found.advised is None else advice(found),
        calibration="" if calibration is None else f"{calibration:.1f}",
    )

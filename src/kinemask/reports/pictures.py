"""Figures of runs as values: a name, what each shows, and its data. `paper` draws them; a page has the same data."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from kinemask.reports.attention import Attention
from kinemask.reports.examined import Examined
from kinemask.reports.features import Plane
from kinemask.reports.gains import Gains, Shares, confusion, gains
from kinemask.reports.skeletons import ClipSeen, Seen


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of a clip's tokens beside its mask. title: what they are."""

    seen: Seen
    clip: ClipSeen
    title: str


@dataclass(frozen=True, eq=False)
class Rebuilt:
    """A clip, what of it is kept, and where the prediction puts the rest."""

    seen: Seen
    clip: ClipSeen


@dataclass(frozen=True, eq=False)
class ClassGains:
    """The gains of each class."""

    gains: Gains


@dataclass(frozen=True, eq=False)
class Difference:
    """The difference of two confusion matrices."""

    gains: Gains


Data = Attention | ClassGains | Difference | Plane | Rebuilt | Scores | Shares


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure. name: of its files, without ending; about: its caption, which says how it was made."""

    name: str
    title: str
    about: str
    data: Data


@dataclass(frozen=True)
class Missing:
    """A figure that a run does not have, and why."""

    title: str
    why: str


def every_picture(runs: Sequence[Examined], classes: Sequence[str]) -> Iterator[Picture | Missing]:
    """Every figure of the runs, and of the first run beside each of the others; each with a name of its own."""
    taken: set[str] = set()
    for one in _every_picture(runs, classes):
        if isinstance(one, Picture):
            name, number = one.name, 2
            while one.name.lower() in taken:
                one, number = replace(one, name=f"{name}-{number}"), number + 1
            taken.add(one.name.lower())
        yield one


def _every_picture(runs: Sequence[Examined], classes: Sequence[str]) -> Iterator[Picture | Missing]:
    kinds: tuple[tuple[str, Callable[[Examined, Sequence[str]], Iterator[Picture]]], ...] = (
        ("confusion matrix", _confusion),
        ("t-SNE", _tsne),
        ("PCA", _pca),
        ("attention", _attention),
        ("saliency", _saliency),
        ("reconstruction", _reconstruction),
    )
    for run in runs:
        for title, make in kinds:
            try:
                yield from make(run, classes)
            except ValueError as error:
                yield Missing(f"{run.run.name}: {title}", run.said(error))
    for other in runs[1:]:
        try:
            yield from _gains(runs[0], other, classes)
        except ValueError as error:
            yield Missing(f"{runs[0].run.name} beside {other.run.name}: gains", other.said(error))


def stem(*parts: str) -> str:
    """The name of a file, from names of any letters."""
    return "-".join(re.sub(r"[^\w.+]+", "-", part).strip("-.") or "x" for part in parts)


def _confusion(run: Examined, classes: Sequence[str]) -> Iterator[Picture]:
    e = run.run.main
    if e is None:
        raise ValueError("there is no evaluation yet")
    found = confusion(e.first, classes)
    about = (
        f"Confusion matrix of {run.run.name} ({run.run.method}): {e.first.protocol} on {e.first.data} {e.first.split}, "
        f"seed {e.first.seed}. Rows are true classes; numbers are percent of a row's clips, of which there are "
        f"{_range(found.clips)}.{_left_out(found, len(e.first.per_class))}"
    )
    yield Picture(stem(run.run.name, "confusion"), "Confusion matrix", about, found)


def _tsne(run: Examined, classes: Sequence[str]) -> Iterator[Picture]:
    yield Picture(stem(run.run.name, "tsne"), "t-SNE", plane_caption(run.run.name, run.tsne), run.tsne)


def _pca(run: Examined, classes: Sequence[str]) -> Iterator[Picture]:
    yield Picture(stem(run.run.name, "pca"), "PCA", plane_caption(run.run.name, run.pca), run.pca)


def plane_caption(name: str, plane: Plane) -> str:
    """What a plane of clips shows."""
    clips, classes = len(plane.points), len(set(plane.labels.tolist()))
    text = f"{plane.method} of the features of {_count(clips, 'test clip')} of {_count(classes, 'class', 'classes')}"
    text += f", {name}, split {plane.split}."
    if plane.method == "t-SNE":
        text += " Features are compared by cosine; distances between far groups mean nothing."
    if plane.nmi is not None:
        text += (
            f" NMI of the classes with as many k-means clusters: {plane.nmi[0]:.2f} in the features,"
            f" {plane.nmi[1]:.2f} on this plane."
        )
    return text


def _attention(run: Examined, classes: Sequence[str]) -> Iterator[Picture]:
    about = attention_caption(run.run.name, run.attention)
    yield Picture(stem(run.run.name, "attention"), "Self-attention", about, run.attention)


def attention_caption(name: str, found: Attention) -> str:
    """What maps of attention show, with the numbers of the first and the last layer."""
    first, last = found.layers[0], found.layers[-1]
    numbers = ", ".join(
        f"{title} {100 * getattr(first, field):.0f} % in the first layer and {100 * getattr(last, field):.0f} % in the "
        f"last (evenly spread: {100 * getattr(found.even, field):.0f} %)"
        for title, field in (("to its own segment", "segment"), ("to its own joint", "joint"))
    )
    of = f"{_count(found.heads, 'head')} of {_count(len(found.layers), 'layer')}"
    on = f"{_count(found.bodies, 'body', 'bodies')} of {_count(found.clips, 'unmasked test clip')}"
    return (
        f"Self-attention of {name}, mean over {of} and {on}; a row is what looks. A token's attention goes {numbers}. "
        f"Its entropy is {100 * first.spread:.0f} % of the largest possible in the first layer, "
        f"{100 * last.spread:.0f} % in the last."
    )


def _saliency(run: Examined, classes: Sequence[str]) -> Iterator[Picture]:
    seen = run.seen
    if not seen.saliency:
        raise ValueError(seen.why["saliency"])
    for clip in seen.clips:
        about = (
            f"{seen.saliency} of {clip.label or clip.name} ({clip.name}; {run.run.name}, {run.run.method}), above: "
            "dark and large joints count most, and are masked most often. Below, the mask of one draw: "
            f"{100 * clip.told('masked').mean():.0f} % of the tokens."
        )
        data = Scores(seen, clip, seen.saliency)
        yield Picture(stem(run.run.name, "saliency", clip.name), f"{seen.saliency} and mask", about, data)


def _reconstruction(run: Examined, classes: Sequence[str]) -> Iterator[Picture]:
    seen = run.seen
    if any(clip.rebuilt is None for clip in seen.clips):
        raise ValueError(seen.why["rebuilt"])
    for clip in seen.clips:
        about = (
            f"Reconstruction of {clip.label or clip.name} ({clip.name}; {run.run.name}, {run.run.method}): the clip; "
            f"what is kept of it, {100 * (1 - clip.told('masked').mean()):.0f} % of the tokens; and in colour, where "
            f"the prediction puts the masked joints. {how_rebuilt(seen)}"
        )
        yield Picture(stem(run.run.name, "reconstruction", clip.name), "Reconstruction", about, Rebuilt(seen, clip))


def how_rebuilt(seen: Seen) -> str:
    """How positions follow from what is predicted."""
    text = {
        "coordinates": "Positions are what is predicted.",
        "motion": "Predicted motion is added up from the nearest frame at which a joint is kept; a joint that is masked"
        " throughout has its true mean place.",
        "features": "Features are predicted; the joint stands where its embedding is nearest to them.",
    }.get(seen.kind, "")
    if len(seen.joints) < seen.layout.num_joints:
        text += " Joints that the method does not use are left in place."
    if seen.normalised:
        text += " The target's normalisation, which the loss does not see, is undone by its true values."
    return text


def _gains(first: Examined, second: Examined, classes: Sequence[str]) -> Iterator[Picture]:
    found = gains(first.run, second.run, classes)
    name = lambda what: stem(found.first, "over", found.second, what)
    about = gains_caption(found)
    more = _left_out(found.confusion, len(found.classes))
    rows = f" Difference of the confusion matrices, in points; a row's clips are {_range(found.confusion.clips)}."
    yield Picture(name("confusion"), "Confusion difference", about + rows + more, Difference(found))
    yield Picture(name("classes"), "Gains by class", about, ClassGains(found))


def gains_caption(found: Gains) -> str:
    """What a run gains over another, in a sentence."""
    ours, theirs = found.accuracy
    low, high = found.interval
    seeds = "" if found.seeds == (1, 1) else f", mean of {found.seeds[0]} and {found.seeds[1]} seeds"
    return (
        f"{found.first} over {found.second}: {ours:.1f} % − {theirs:.1f} % = {found.gain:+.1f} points (95 % interval "
        f"{low:+.1f} to {high:+.1f}, by bootstrap over the clips), {found.protocol} on the {found.clips} test clips of "
        f"{found.place}{seeds}."
    ).replace("-", "−")


def _left_out(found: Shares, present: int) -> str:
    left = present - len(found.rows)
    return f" {_count(left, 'class is', 'classes are')} not among the rows." if left > 0 else ""


def _count(number: int, one: str, several: str = "") -> str:
    return f"{number} {one if number == 1 else several or f'{one}s'}"


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"

"""The page's figures: training, classes, gains, conditions, feature space, attention, skeletons; or what is lacking."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kinemask.player.scene import Bone, Pane, Player
from kinemask.protocols.catalogue import PROTOCOLS
from kinemask.reports import charts, maps
from kinemask.reports.examined import Examined
from kinemask.reports.gains import gains
from kinemask.reports.pages import Note
from kinemask.reports.pictures import attention_caption, gains_caption, how_rebuilt, plane_caption
from kinemask.reports.runs import Evaluation, Shown, mark, without_paths
from kinemask.reports.skeletons import MARKED, scene
from kinemask.runs.result import Scored
from kinemask.runs.text import baseline_names, baseline_title

_NOT_CURVES = ("step", "epoch", "seconds", "tracks_per_second", "clips_per_second")
_SCHEDULE = "lr"
DRAWN = ("motion", "acceleration", "coordinates")  # targets that can be


def curves(run: Shown) -> list[charts.Line] | Note:
    """Every number of metrics.jsonl over epochs: the loss first, then its parts, the learning rate last."""
    lines = [line for line in run.run.metrics() if "epoch" in line]
    if len(lines) < 2:
        return Note("No training curve: metrics.jsonl has fewer than two lines.")
    names = [name for name in dict.fromkeys(name for line in lines for name in line) if name not in _NOT_CURVES]
    names.sort(key=lambda name: (name == _SCHEDULE, name != "loss"))
    series = {k: [(line["epoch"], line[k]) for line in lines if k in line and math.isfinite(line[k])] for k in names}
    same = [k for k in names if k != "loss" and series[k] == series.get("loss")]
    titles = {_SCHEDULE: "learning rate", "loss": " = ".join(["loss", *same])}
    shown = {titles.get(k, k.replace("_", " ")): points for k, points in series.items() if points and k not in same}
    return [charts.line(title, *zip(*points, strict=True), unit="epoch") for title, points in shown.items()]


@dataclass(frozen=True)
class Classes:
    """A confusion matrix, and the accuracy of each class."""

    title: str
    confusion: charts.Confusion
    bars: list[charts.Bar]


def classes(run: Shown) -> Classes | Note:
    """Of the leading evaluation's lowest seed."""
    e = run.main
    if e is None:
        return Note("No evaluation yet.")
    first = e.first
    try:
        found = first.scores()
    except ValueError as error:
        return Note(f"No confusion matrix: {without_paths(str(error), first.scores_path)}.")
    labels, guess = found["labels"], found["scores"].argmax(1)
    clips = dict(zip(*np.unique(labels, return_counts=True), strict=True))
    rows = [(first.classes[i], 100 * float((guess[labels == i] == i).mean()), f"of {n}") for i, n in clips.items()]
    rows.sort(key=lambda row: -row[1])
    title = f"{first.protocol}, {first.data} {first.split}, seed {first.seed}"
    return Classes(title, charts.confusion(labels, guess, first.classes), [charts.bar(*row) for row in rows])


@dataclass(frozen=True)
class Conditions:
    """Curves of an evaluation as conditions change, and the key to them: (class of style.css, name)."""

    title: str
    key: list[tuple[str, str]]
    curves: list[charts.Curves]


def conditions(run: Shown) -> list[Conditions]:
    """Of each evaluation that has curves."""
    return [_conditions(e) for e in run.evaluations if e.first.curves and not e.stale]


def _conditions(e: Evaluation) -> Conditions:
    first = e.first
    everyone: list[tuple[str, str, list[Scored]]] = [("own", "this encoder", list(e.results))]
    for name in baseline_names(e.results):
        scored = [r.baselines[name] for r in e.results if name in r.baselines]
        everyone.append((f"m{mark(name)}", baseline_title(name), [s for s in scored if s.curves]))
    everyone = [one for one in everyone if one[2]]
    drawn = []
    for kind, curve in first.curves.items():
        series = [
            (name, mark, np.mean([s.curves[kind].accuracy for s in scored if kind in s.curves], 0).tolist())
            for mark, name, scored in everyone
        ]
        title, _, unit = curve.title.partition(", ")
        drawn.append(charts.curves(title, [f"{level:g}" for level in curve.levels], series, unit))
    seeds = f", mean of {len(e.results)} seeds" if len(e.results) > 1 else ""
    about = PROTOCOLS[first.protocol].curves if first.protocol in PROTOCOLS else first.protocol
    title = f"{first.data}, split {first.split}: accuracy in percent {about}{seeds}"
    return Conditions(title, [(mark, name) for mark, name, _ in everyone], drawn)


@dataclass(frozen=True)
class Plane:
    """Test clips on a plane, and what is to be said of it."""

    scatter: charts.Scatter
    about: str


def embedding(run: Examined) -> list[Plane | Note]:
    """The test clips' features by t-SNE and PCA."""
    name, out = run.run.name, []
    for title, make in (("t-SNE", lambda: run.tsne), ("PCA", lambda: run.pca)):
        try:
            plane = make()
        except ValueError as error:
            out.append(Note(f"{title} skipped: {run.said(error)}"))
            continue
        drawn = charts.scatter(plane.points, plane.labels, plane.classes, f"{title} of {name}")
        out.append(Plane(drawn, plane_caption(name, plane)))
    return out


@dataclass(frozen=True)
class Looks:
    """Maps of an encoder's attention, and what is to be said of them."""

    maps: list[maps.Heat]
    about: str


def attention(run: Examined) -> Looks | Note:
    """Mean self-attention from segment to segment and from joint to joint."""
    try:
        found = run.attention
    except ValueError as error:
        return Note(f"No maps of attention: {run.said(error)}.")
    P, V = len(found.segments), len(found.joints)
    segments = maps.heat("between segments", found.segments * P, [str(p + 1) for p in range(P)], _UNIT)
    joints = maps.heat("between joints", found.joints * V, found.ordered_names, _UNIT)
    return Looks([segments, joints], attention_caption(run.run.name, found))


_UNIT = "times an even share"


@dataclass(frozen=True)
class GainsView:
    """What a run gains over another."""

    title: str
    about: str
    changes: maps.Changes
    bars: list[maps.Gain]


def gains_over(first: Examined, second: Examined, classes: Sequence[str]) -> GainsView | Note:
    """The first run's leading evaluation beside the other's."""
    title = f"{first.run.name} over {second.run.name}"
    try:
        found = gains(first.run, second.run, classes)
    except ValueError as error:
        return Note(f"{title}: {second.said(ValueError(first.said(error)))}.")
    table = found.confusion
    drawn = maps.changes(table.rows, table.columns, table.values)
    bars = maps.gain_bars(
        [(name, value, f"({clips} clip{'s' * (clips != 1)})") for name, value, clips in found.classes]
    )
    return GainsView(title, gains_caption(found), drawn, bars)


@dataclass(frozen=True)
class Clip:
    """A clip to play; masked, explained: None where nothing is predicted."""

    name: str
    label: str
    frames: int
    masked: float | None
    explained: float | None
    player: Player


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Players of some clips. data: for player.js; kind: of the target, "" without one; drawn: whether it is drawn.

    rebuilt: how positions follow from what is predicted, saliency: what it is called; "" where these are not shown.
    """

    name: str
    data: dict[str, Any]
    clips: list[Clip]
    frames: int
    kind: str
    stride: int
    normalised: bool
    deviation: float
    stream: str
    turns: bool
    unused: bool
    drawn: bool
    rebuilt: str
    saliency: str
    attention: bool


_PANES = {  # what a pane shows, and its title
    "seen": "input",
    "predicted": "prediction",
    "rebuilt": "reconstruction",
    "saliency": "saliency",
    "attention": "attention that joints get",
}


def skeletons(run: Examined, number: int) -> Scene | Note:
    """Players of some clips: what the task sees, and what it predicts. number: of the scene on the page."""
    try:
        seen = run.seen
    except ValueError as error:
        return Note(f"No skeletons: {run.said(error)}")
    data, stills = scene(seen)
    bodies = [body for clip in data["clips"] for body in clip["bodies"]]
    drawn = seen.kind in DRAWN
    there = {"seen", *(["predicted"] if drawn else []), *(k for k in ("rebuilt", *MARKED) if k in bodies[0])}
    shows = {name: title for name, title in _PANES.items() if name in there}
    if seen.saliency:
        shows["saliency"] = seen.saliency
    name = f"scene{number}"
    return Scene(
        name=name,
        data=data,
        clips=[_clip(clip, i, name, shows, stills[i], data) for i, clip in enumerate(data["clips"])],
        frames=seen.frames,
        kind=seen.kind,
        drawn=drawn,
        stride=seen.stride,
        normalised=seen.normalised,
        deviation=seen.deviation,
        stream=seen.stream,
        turns=data["dims"] == 3,
        unused=any("2" in body.get("state", "") for body in bodies),
        rebuilt=how_rebuilt(seen) if "rebuilt" in shows else "",
        saliency=seen.saliency,
        attention="attention" in shows,
    )


def _clip(
    clip: dict[str, Any], i: int, name: str, shows: dict[str, str], still: list[Bone], scene: dict[str, Any]
) -> Clip:
    panes = [Pane(i, kind, "", title, f"{clip['name']}, {title}", still) for kind, title in shows.items()]
    player = Player(name, f"{clip['label']} {clip['name']}".strip(), scene["dims"] == 3, panes)
    known = {key: clip[key] for key in ("name", "label", "frames")}
    return Clip(**known, masked=clip.get("masked"), explained=clip.get("explained"), player=player)

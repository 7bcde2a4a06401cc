"""The page's figures: training, confusion, curves over conditions, t-SNE, moving skeletons; or what is lacking."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kinemask.models.encoders import load_encoder, placed
from kinemask.player.scene import Bone, Pane, Player
from kinemask.protocols.catalogue import PROTOCOLS
from kinemask.reports import charts
from kinemask.reports.embedding import embed_test_clips
from kinemask.reports.pages import Note
from kinemask.reports.runs import Evaluation, Shown, mark, without_paths
from kinemask.reports.skeletons import choose_clips, load_task, scenes
from kinemask.runs.result import Scored
from kinemask.runs.text import baseline_names, baseline_title
from kinemask.store.opening import Store, open_store
from kinemask.training.settings import Settings

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


def open_data(run: Shown, given: str | Path | None) -> Store:
    """The first store of a run, or the one given in its place; ValueError where it is absent."""
    return open_store(given or run.stores[0])


def test_split(run: Shown, store: Store) -> str:
    """The split whose test part is shown: of the leading evaluation on this store, else the run's own."""
    own = [e.first.split for e in (run.main, *run.evaluations) if e and e.first.store_sha256 == store.identity]
    return next((split for split in [*own, run.split] if split in store.splits), run.split)


@dataclass(frozen=True)
class Embedding:
    """Test clips in feature space."""

    count: int
    split: str
    scatter: charts.Scatter


def embedding(run: Shown, given: str | Path | None) -> Embedding | Note:
    """t-SNE of the test clips' features."""
    try:
        store = open_data(run, given)
        model = load_encoder(run.run.path, _device())
        model = placed(model, store.layout, run.run.path, f"the store {store.path}")
        split = test_split(run, store)
        points, labels = embed_test_clips(model, store, split)
    except ValueError as error:
        return Note(f"t-SNE skipped: {_said(error, run, given)}")
    return Embedding(len(points), split, charts.scatter(points, labels, store.classes, f"t-SNE of {run.name}"))


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
    """Players of some clips. data: for player.js; kind: of the target, "" without one; drawn: whether it is drawn."""

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


def skeletons(run: Shown, given: str | Path | None, number: int) -> Scene | Note:
    """Players of some clips: what the task sees, and what it predicts. number: of the scene on the page."""
    try:
        store = open_data(run, given)
        config = Settings.from_dict(run.run.config)
        task = load_task(run.run.path, config, store.layout)
        split = test_split(run, store)
        scene, stills = scenes(task, config, store, choose_clips(store, split))
    except ValueError as error:
        return Note(f"No skeletons: {_said(error, run, given)}")
    bodies = [body for clip in scene["clips"] for body in clip["bodies"]]
    drawn = scene["kind"] in DRAWN
    shows = {"seen": "input", "predicted": "prediction"} if drawn else {"seen": "input"}
    return Scene(
        name=f"scene{number}",
        data=scene,
        clips=[_clip(clip, i, f"scene{number}", shows, stills[i], scene) for i, clip in enumerate(scene["clips"])],
        frames=config.sampling.frames,
        kind=scene["kind"],
        drawn=drawn,
        stride=scene.get("stride", 1),
        normalised=scene.get("normalised", False),
        deviation=scene.get("deviation", 0.0),
        stream=config.sampling.stream,
        turns=scene["dims"] == 3,
        unused=any("2" in body.get("state", "") for body in bodies),
    )


def _clip(
    clip: dict[str, Any], i: int, name: str, shows: dict[str, str], still: list[Bone], scene: dict[str, Any]
) -> Clip:
    panes = [Pane(i, kind, "", title, f"{clip['name']}, {title}", still) for kind, title in shows.items()]
    player = Player(name, f"{clip['label']} {clip['name']}".strip(), scene["dims"] == 3, panes)
    known = {key: clip[key] for key in ("name", "label", "frames")}
    return Clip(**known, masked=clip.get("masked"), explained=clip.get("explained"), player=player)


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _said(error: ValueError, run: Shown, given: str | Path | None) -> str:
    paths = [run.run.path, *run.stores, *([given] if given else [])]
    return without_paths(str(error).splitlines()[0], *paths)

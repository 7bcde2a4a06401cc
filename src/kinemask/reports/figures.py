"""The page's figures: training curves, confusion, t-SNE, moving skeletons. What is lacking is said in its place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kinemask.models.encoders import load_encoder
from kinemask.protocols.features import check_fit
from kinemask.reports import charts
from kinemask.reports.embedding import embed_test_clips
from kinemask.reports.html import Markup, data, join, note, tag, void
from kinemask.reports.runs import Run, without_paths
from kinemask.reports.skeletons import choose_clips, load_task, scenes
from kinemask.store.store import Store, open_store
from kinemask.training.settings import Settings
from kinemask.windows.corruption import KINDS

_NOT_CURVES = ("step", "epoch", "tracks_per_second", "clips_per_second")


def curves(run: Run) -> Markup:
    """Every number of metrics.jsonl over epochs: the loss first, then its parts, the learning rate last."""
    lines = [m for m in run.metrics if "epoch" in m]
    if len(lines) < 2:
        return note("No training curve: metrics.jsonl has fewer than two lines.")
    names = [k for k in dict.fromkeys(k for m in lines for k in m) if k not in _NOT_CURVES]
    names.sort(key=lambda k: (k == "lr", k != "loss"))
    series = {k: [(m["epoch"], m[k]) for m in lines if _finite(m.get(k))] for k in names}
    same = [k for k in names if k != "loss" and series[k] == series.get("loss")]
    panels = []
    for k in names:
        if k in same or not series[k]:
            continue
        title = {"lr": "learning rate", "loss": " = ".join(["loss", *same])}.get(k, k.replace("_", " "))
        panels.append(charts.line(title, *zip(*series[k], strict=True), unit="epoch"))
    return tag("div", *panels, class_="panels")


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and bool(np.isfinite(value))


def confusion(run: Run) -> Markup:
    """Confusion matrix and per-class accuracy of the leading evaluation's lowest seed."""
    e = run.main
    if e is None:
        return note("No evaluation yet.")
    try:
        scores, labels = e.scores()
    except ValueError as error:
        return note(f"No confusion matrix: {error}.")
    about, classes = e.about, e.about["classes"]
    guess = scores.argmax(1)
    rows = [
        (classes[i], 100 * float((guess[labels == i] == i).mean()), f"of {(labels == i).sum()}")
        for i in np.unique(labels)
    ]
    rows.sort(key=lambda row: -row[1])
    title = f"{about['protocol']}, {about['data']} {about['split']}, seed {about['seed']}"
    matrix = tag(
        "figure", tag("figcaption", tag("b", "Confusion"), " ", title), charts.confusion(labels, guess, classes)
    )
    per_class = tag(
        "figure", tag("figcaption", tag("b", "Accuracy per class"), " in %, of test clips"), charts.bars(rows)
    )
    return tag("div", matrix, per_class, class_="pair" if len(rows) <= charts.FEW_CLASSES else "pair wide")


def robustness(run: Run) -> Markup:
    """Accuracy as the test clips get worse, of each evaluation that measured it; nothing where none did."""
    out: list[Markup] = []
    for e in run.evaluations:
        if "curves" not in e.about or e.stale:
            continue
        panels = []
        for kind, curve in e.about["curves"].items():
            names = [("this encoder", "own", "")]
            names += [("untrained encoder", "m0", "controls.details.untrained_encoder.")]
            names += [("raw coordinates, 1-NN", "m1", "controls.details.raw_coordinates.")]
            series = [
                (name, mark, np.mean(found, 0).tolist())
                for name, mark, where in names
                if (found := e.lists(f"{where}curves.{kind}.accuracy"))
            ]
            title, _, unit = KINDS[kind][0].partition(", ")
            panels.append(charts.curves(title, [f"{level:g}" for level in curve["levels"]], series, unit))
        about = f"{e.about['data']}, split {e.about['split']}"
        seeds = f", mean of {len(e.results)} seeds" if len(e.results) > 1 else ""
        out.append(tag("h3", f"{about}: accuracy in percent as the test clips get worse{seeds}"))
        marks = (("own", "this encoder"), ("m0", "untrained encoder"), ("m1", "raw coordinates, 1-NN"))
        out.append(tag("p", *(tag("span", tag("s", class_=m), name) for m, name in marks), class_="key"))
        out.append(tag("div", *panels, class_="panels"))
    return join(out)


def open_data(run: Run, given: str | Path | None) -> Store:
    """The store of a run, or the one given in its place; ValueError where it is absent."""
    return open_store(given or run.config["data"])


def test_split(run: Run, store: Store) -> str:
    """The split whose test part is shown: of the leading evaluation on this store, else the run's own."""
    own = [e.about["split"] for e in (run.main, *run.evaluations) if e and e.about["store_sha256"] == store.identity]
    return next((split for split in [*own, run.config["split"]] if split in store.splits), run.config["split"])


def embedding(run: Run, given: str | Path | None) -> Markup:
    """t-SNE of the test clips' features."""
    try:
        store = open_data(run, given)
        model = load_encoder(run.path, _device())
        check_fit(model, store, run.path)
        split = test_split(run, store)
        points, labels = embed_test_clips(model, store, split)
    except ValueError as error:
        return note(f"No t-SNE: {_said(error, run, given)}")
    caption = (
        f"{len(points)} test clips of split {split}, by the encoder's features (t-SNE of cosine neighbours; distances"
        " between far groups mean nothing). Choose a class to pick it out."
    )
    return join([charts.scatter(points, labels, store.classes, run.name), tag("p", caption, class_="caption")])


def skeletons(run: Run, given: str | Path | None, number: int) -> Markup:
    """Players of some clips: what the task sees, and what it predicts."""
    try:
        store = open_data(run, given)
        config = Settings.from_dict(run.config)
        task = load_task(run.path, config, store.layout)
        split = test_split(run, store)
        scene = scenes(task, config, store, choose_clips(store, split))
    except ValueError as error:
        return note(f"No skeletons: {_said(error, run, given)}")
    name = f"scene{number}"
    players = [_player(name, i, clip, scene) for i, clip in enumerate(scene["clips"])]
    return join(
        [
            _legend(scene),
            *players,
            tag("p", _caption(scene, config.sampling.stream), class_="caption"),
            data(name, scene),
        ]
    )


def _player(name: str, i: int, clip: dict[str, Any], scene: dict[str, Any]) -> Markup:
    facts = [f"{clip['frames']} frames shown as {scene['T']}"]
    if "explained" in clip:
        facts.append(f"{100 * clip['masked']:.0f} % of the tokens masked")
        share = f"{clip['explained']:.0f} %" if clip["explained"] >= 0.5 else "none"
        facts.append(f"prediction explains {share} of the target's variance")
    head = tag("figcaption", tag("b", clip["label"] or clip["name"]), f" {clip['name']}; " + "; ".join(facts))
    views = ["seen"] + (["predicted"] if scene["kind"] in ("motion", "coordinates") else [])
    canvases = [
        tag("div", tag("canvas", data_view=view, role="img", aria_label=f"skeleton, {view}"), tag("span", caption))
        for view, caption in zip(views, ("input", "prediction"), strict=False)
    ]
    play = tag("button", "Play", type="button", class_="play")
    slider = void("input", type="range", min=0, max=scene["T"] - 1, value=0, aria_label=f"frame of {clip['name']}")
    turns = " turns" if scene["dims"] == 3 else ""
    bar = tag("div", play, slider, tag("output"), class_="controls")
    return tag(
        "figure",
        head,
        tag("div", *canvases, class_="views"),
        bar,
        class_=f"player{turns}",
        data_scene=name,
        data_clip=i,
    )


def _legend(scene: dict[str, Any]) -> Markup:
    entries = [("kept", "kept: the encoder sees it"), ("masked", "masked")]
    if any("2" in body.get("state", "") for clip in scene["clips"] for body in clip["bodies"]):
        entries.append(("unused", "joint that the encoder leaves out"))
    if scene["kind"] in ("motion", "coordinates"):
        entries += [("true", "true"), ("predicted", "predicted")]
    return tag(
        "p", *(tag("span", tag("i", class_=kind), words) for kind, words in entries if scene["kind"]), class_="key"
    )


def _caption(scene: dict[str, Any], stream: str) -> str:
    words = ["The first test clip of classes spread over the data set, whole, without augmentation."]
    if scene["dims"] == 3:
        words.append("Drag to turn.")
    if scene["kind"] == "motion":
        over = "to the next frame" if scene["stride"] == 1 else f"over {scene['stride']} frames"
        words.append(f"Arrows are the displacement of masked joints {over}, enlarged alike in both colours.")
    elif scene["kind"] == "coordinates":
        words.append("Predicted joints stand where the prediction puts them, beside the true skeleton in grey.")
    elif scene["kind"] == "features":
        words.append("This method predicts features, not motion or coordinates: its predictions cannot be drawn.")
    else:
        words.append("This method's task has no masked tokens to show.")
    if stream != "joint":
        words.append(f"The model works on the {stream} stream; it is drawn at the joints.")
    if scene["kind"] in ("motion", "coordinates"):
        if scene["normalised"]:
            words.append(
                "The target is normalised; its mean and scale, which the loss does not see, are the true ones here."
            )
        if scene["deviation"] > 1e-3:
            words.append(
                f"The target is a mapping of the {scene['kind']}, {100 * scene['deviation']:.1f} % away from it here;"
                " it is drawn as it is, in the mapped space."
            )
    return " ".join(words)


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _said(error: ValueError, run: Run, given: str | Path | None) -> str:
    paths: Sequence[str | Path] = [run.path, run.config["data"], *([given] if given else [])]
    return without_paths(str(error).splitlines()[0], *paths)

"""The page's tables: results with their controls, published numbers beside them, settings, commands."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from kinemask.arguments import flatten
from kinemask.protocols.protocols import PROTOCOLS
from kinemask.reports.charts import bars
from kinemask.reports.html import Markup, join, note, table, tag
from kinemask.reports.published import Published, place, published
from kinemask.reports.reproduce import commands
from kinemask.reports.runs import Evaluation, Run
from kinemask.runs.results import MEASURES, distinct, summary
from kinemask.version import __version__

LONG = 16  # lines of a table that then scrolls by itself
SELECTION = "best epoch: selection on the test set"
_FREE = {"seed", "data", "training.device", "training.log_every", "training.save_every", "training.compile"}


def percent(values: list[float]) -> str:
    return f"{summary(values)} %" if values else "—"


def headlines(runs: Sequence[Run], most: int = 3) -> Markup:
    """What the first runs came to; the rest stand in the table."""
    rest = len(runs) - most
    more = [tag("p", f"{rest} more run{'s' if rest > 1 else ''} below.", class_="headline")] if rest > 0 else []
    return join([*map(headline, runs[:most]), *more])


def headline(run: Run) -> Markup:
    """A run's result in a sentence or two, beside its controls."""
    e = run.main
    if e is None:
        return tag("p", tag("b", run.name), f" ({run.config['method']}) has no evaluations yet.", class_="headline")
    about = e.about
    known = PROTOCOLS.get(about["protocol"])
    title = known.title if known else about["protocol"]
    unseen = e.copies
    score = e.values("accuracy_unseen" if unseen else "accuracy")
    on = f"{about['test_clips_unseen']} test clips that are no copies of training clips" if unseen else "test clips"
    words: list[Any] = [
        tag("b", run.name),
        f" ({run.config['method']}): {title} is right on ",
        tag("strong", percent(e.values("accuracy"))),
        f" of the {about['test_clips']} test clips of {about['data']}, split {about['split']}",
    ]
    words += [f", and on {percent(score)} of the {on}." if unseen else "."]
    tail = "_unseen" if unseen else ""
    fresh, raw = (e.values(f"{name}{tail}") for name in (_fresh(e), "controls.raw_coordinates_knn"))
    if fresh and raw:
        other, it = ("An untrained encoder of the same shape", "the untrained encoder")
        if _fresh(e).endswith("scratch"):
            other, it = ("The same from scratch", "the same from scratch")
        start = f"On those, {other[0].lower()}{other[1:]}" if unseen else other
        near = percent(distinct(raw))
        words.append(f" {start} gets {percent(fresh)} and nearest neighbours on raw coordinates {near}")
        beaten = [name for name, values in ((it, fresh), ("raw coordinates", raw)) if fmean(score) <= fmean(values)]
        words.append(f": this run does not beat {' or '.join(beaten)}." if beaten else ".")
    if e.stale:
        words.append(" The encoder has changed since this evaluation.")
    return tag("p", *words, class_="headline")


def results(runs: Sequence[Run]) -> Markup:
    """Every evaluation of every run, seeds aggregated; runs that differ in their seed alone also together."""
    rows, numbers = [], (5, 6, 7, 8, 9)
    for run in runs:
        rows += [_result(run.name, run.config["method"], e) for e in run.evaluations]
    if not rows:
        return note("No evaluations yet. `kinemask evaluate linear --run RUN --data STORE --split NAME` makes one.")
    rows += _over_seeds(runs)
    head = ("run", "method", "protocol", "data", "split", "accuracy, last epoch (95 % interval)", "on unseen clips")
    controls = ("untrained, or from scratch", "raw coordinates, 1-NN")
    parts = [
        _chart(runs),
        table((*head, SELECTION, *controls, "seeds", "test clips"), rows, numbers=numbers),
        tag(
            "p",
            "Top-1 accuracy in percent. The headline is the last epoch's. ± is the standard deviation over the seeds of"
            " the protocol's own training; the encoder is one and the same. The interval is the bootstrap's, over test"
            " clips, mean of the seeds. Unseen clips are those test clips that are no exact copies of training clips."
            " Controls: the same protocol on untrained encoders of this shape (mean of three), or, for fine-tuning,"
            " from scratch; and nearest neighbours on the raw coordinates. mAP: mean average precision."
            " Mean over classes: of each class's accuracy. Calibration error: the expected one, over 15 bins.",
            class_="caption",
        ),
    ]
    return join(parts)


def _result(name: str, method: str, e: Evaluation) -> list[Any]:
    a = e.about
    unseen = f" ({a['test_clips_unseen']} clips)" if e.copies else " (all)"
    encoder = "" if a["encoder"] == "encoder" else f", {a['encoder']}"
    stale = tag("em", " of an earlier encoder") if e.stale else ""
    known = e.values("accuracy_unseen")
    fresh, raw = _shown(e.values(_fresh(e))), _shown(distinct(e.values("controls.raw_coordinates_knn")))
    return [
        name,
        method + encoder,
        a["protocol"] + (" (clean clips)" if "curves" in a else ""),
        a["data"],
        a["split"],
        join([tag("strong", summary(e.values("accuracy")), stale), _interval(e), _precision(e, ""), _measures(e)]),
        join([summary(known), tag("small", unseen)]) if known else "—",
        _shown(e.values("accuracy_best_epoch")),
        join([fresh, _precision(e, "controls.details.untrained_encoder.")]),
        join([raw, _precision(e, "controls.details.raw_coordinates.")]),
        ", ".join(str(r["seed"]) for r in e.results),
        str(a["test_clips"]),
    ]


def _shown(values: list[float]) -> str:
    return summary(values) if values else "—"


def _fresh(e: Evaluation) -> str:
    """The control that had no pre-training: untrained encoders, or fine-tuning from scratch."""
    return "controls.untrained_encoder" if e.values("controls.untrained_encoder") else "controls.from_scratch"


def _precision(e: Evaluation, where: str) -> Markup:
    values = e.values(f"{where}mean_average_precision")
    return tag("small", f" mAP {summary(values)}") if values else Markup("")


def _measures(e: Evaluation) -> Markup:
    """The other measures of the scores."""
    found = {title: e.values(f"metrics.{name}") for name, title in MEASURES.items()}
    return join([tag("small", f"; {title} {summary(values)}") for title, values in found.items() if values])


def _interval(e: Evaluation) -> Markup:
    """Mean of the seeds' bounds; nothing where a result has none."""
    bounds = e.lists("confidence_interval")
    low_high = [f"{fmean(side):.1f}" for side in zip(*bounds, strict=True)]
    return tag("small", f" ({'–'.join(low_high)})") if bounds else Markup("")


def _over_seeds(runs: Sequence[Run]) -> list[list[Any]]:
    """Rows for runs that share all settings but the seed: mean ± standard deviation of the runs' means."""
    groups: dict[str, list[tuple[Run, Evaluation]]] = {}
    for run in runs:
        same = {k: v for k, v in flatten(run.config).items() if k not in _FREE}
        for e in run.evaluations:
            a = e.about
            key = [a["protocol"], a["data"], a["split"], a["encoder"], a["settings"], a["test_clips_sampled"]]
            key.append(a.get("augmentation"))
            groups.setdefault(repr((sorted(same.items()), key)), []).append((run, e))
    out = []
    for members in groups.values():
        seeds = [run.config["seed"] for run, _ in members]
        if len(set(seeds)) < 2:
            continue
        a = members[0][1].about
        fresh = _fresh(members[0][1])
        names = ("accuracy", "accuracy_unseen", "accuracy_best_epoch", fresh)
        cells = [_shown([fmean(v) for _, e in members if (v := e.values(name))]) for name in names]
        raw = members[0][1].values("controls.raw_coordinates_knn")
        label = tag("strong", f"{len(members)} pre-training seeds")
        method, last = members[0][0].config["method"], ", ".join(map(str, seeds))
        row = [label, method, a["protocol"], a["data"], a["split"], tag("strong", cells[0]), *cells[1:]]
        out.append([*row, _shown(distinct(raw)), last, str(a["test_clips"])])
    return out


def _chart(runs: Sequence[Run]) -> Markup:
    """Accuracies as bars, the controls as ticks on them."""
    found = [(run, e) for run in runs for e in run.evaluations if not e.stale]
    rows, marks = [], []
    for run, e in found:
        values, a = e.values("accuracy"), e.about
        label = f"{run.name}: " if len(runs) > 1 else ""
        rows.append((f"{label}{a['protocol']}, {a['data']} {a['split']}", fmean(values), "%"))
        names = (
            ("untrained, or from scratch", _fresh(e)),
            ("raw coordinates", "controls.raw_coordinates_knn"),
        )
        marks.append([(title, fmean(v)) for title, name in names if (v := e.values(name))])
    names = ("untrained, or from scratch", "raw coordinates, 1-NN")
    key = tag("p", *(tag("span", tag("s", class_=f"m{i}"), name) for i, name in enumerate(names)), class_="key")
    return join([bars(rows, marks), key])


def beside_published(runs: Sequence[Run]) -> Markup:
    """Per data set, split and protocol: the published numbers and the runs' own, highest first."""
    groups: dict[tuple[str, str, str] | None, list[tuple[Run, Evaluation]]] = {}
    for run in runs:
        for e in run.evaluations:
            groups.setdefault(place(e.about), []).append((run, e))
    out = []
    for where, own in groups.items():
        if where is None:
            out.append(note(f"Split {own[0][1].about['split']} is for choosing settings; nothing is published on it."))
            continue
        title = tag("h3", " · ".join(where))
        known = published(where)
        if not known:
            out += [title, note("No published numbers of this data set, split and protocol are on record.")]
            continue
        out += [title, _published_table(known, own, where)]
    if not out:
        return note("Without an evaluation there is nothing to set beside published numbers.")
    caption = (
        "Published numbers are quoted from the tables named; an empty stream was not stated. Most public codes report"
        " the best test accuracy over all epochs, which selects on the test set; the rows of this page are the last"
        " epoch's. Methods differ in what they were trained on and in the size of their models."
    )
    return join([*out, tag("p", caption, class_="caption")])


def _published_table(known: list[Published], own: list[tuple[Run, Evaluation]], where: tuple[str, str, str]) -> Markup:
    lines: list[tuple[float, bool, list[Any]]] = []
    for p in known:
        about = ", ".join(filter(None, (p.venue, p.year)))
        lines.append((p.value, False, [p.method, about, p.stream, f"{p.value:.1f}", p.source, p.note]))
    metric = known[0].metric  # a data set is published by one
    for run, e in own:
        values, a = e.values("accuracy"), e.about
        shown = values if metric == "accuracy" else e.values(f"metrics.{metric}")
        streams = [m["stream"] for m in a.get("members", ())] or [run.config.get("sampling", {}).get("stream", "")]
        stream = " + ".join(dict.fromkeys(streams))
        remarks = ["last epoch"] if a["accuracy_best_epoch"] is not None else []
        remarks += [f"ensemble of {len(streams)} runs"] if "members" in a else []
        remarks += [f"split {a['split']}"] if a["split"] != where[1] else []
        remarks += [f"{summary(e.values('accuracy_unseen'))} on unseen clips"] if e.copies else []
        remarks += [f"top-1 {summary(values)}"] if metric != "accuracy" else []
        remarks += ["of an earlier encoder"] if e.stale else []
        name = tag("strong", f"{run.name} ({run.config['method']})")
        cells = [name, "", stream, tag("strong", _shown(shown)), "this page", ", ".join(remarks)]
        lines.append((fmean(shown) if shown else 0.0, True, cells))
    lines.sort(key=lambda item: -item[0])
    head = ["method", "published", "stream", MEASURES.get(metric, metric), "source", "note"]
    used = [i for i in range(len(head)) if any(line[i] for *_, line in lines)]
    rows = [[line[i] for i in used] for *_, line in lines]
    found = table([head[i] for i in used], rows, [mine for _, mine, _ in lines], numbers=(used.index(3),))
    if len(lines) <= LONG:
        return found
    return tag("div", found, class_="long one" if len(own) == 1 else "long")


def settings(runs: Sequence[Run]) -> Markup:
    """Every setting of every run, the rows in which runs differ highlighted."""
    flat = [{k: _plain(k, v) for k, v in flatten(run.config).items()} for run in runs]
    names = sorted({k for one in flat for k in one}, key=lambda k: ("." in k, k))
    rows = [[k, *(one.get(k, "—") for one in flat)] for k in names]
    differ = [len(set(row[1:])) > 1 for row in rows]
    title = f"{len(names)} settings" + (f", {sum(differ)} of them different" if len(runs) > 1 else "")
    found = table(("setting", *(run.name for run in runs)), rows, differ)
    return tag("details", tag("summary", title), found)


def _plain(name: str, value: Any) -> str:
    """A setting without the folders that lead to a path."""
    written = str(value)
    return Path(written).name if name == "data" or Path(written).is_absolute() else written


def reproduce(runs: Sequence[Run]) -> Markup:
    """Commands, versions and seeds."""
    import torch

    out = []
    for run in runs:
        lines, recipe = commands(run)
        out.append(tag("h3", run.name))
        if recipe:
            out.append(tag("details", tag("summary", "recipe.yaml, for the first command"), tag("pre", recipe)))
        out.append(tag("pre", "\n".join(lines)))
    versions = f"Python {platform.python_version()}, PyTorch {torch.__version__}, kinemask {__version__}"
    seeds = ", ".join(f"{run.name}: {run.config['seed']}" for run in runs)
    out.append(tag("p", f"Page made with {versions}. Pre-training seeds: {seeds}.", class_="caption"))
    return join(out)

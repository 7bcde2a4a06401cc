"""The page's tables: results beside their baselines, published numbers beside both, settings, commands."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from kinemask.protocols.catalogue import PROTOCOLS
from kinemask.reports.charts import Bar, Mark, bar
from kinemask.reports.pages import Table
from kinemask.reports.published import ACCURACIES, Place, Published, inputs, place, published, stream
from kinemask.reports.reproduce import commands
from kinemask.reports.runs import Evaluation, Shown, mark, measure_title, ordered
from kinemask.runs.result import Result
from kinemask.runs.run import differences
from kinemask.runs.text import baseline_names, baseline_title, distinct, measured, summary
from kinemask.version import __version__
from kinemask.windows.settings import CORRUPTIONS

LONG = 16  # lines of a table that then scrolls by itself
HEADLINES = 3  # runs whose results are told in sentences
_FREE = ("seed", "data", "training.device", "training.log_every", "training.save_every", "training.compile")


def percent(values: Sequence[float]) -> str:
    return f"{summary(values)} %" if values else "—"


def shown(values: Sequence[float]) -> str:
    return summary(values) if values else "—"


@dataclass(frozen=True, kw_only=True)
class Headline:
    """What a run came to, for a sentence or two; `result` is None where nothing was evaluated.

    baselines: titles and accuracies, the strongest first: on the unseen clips where there are copies. beaten: how the
    strongest stands to the encoder, ahead or level; "" where the encoder is ahead.
    """

    run: str
    method: str
    protocol: str = ""
    place: str = ""
    accuracy: str = ""
    clips: int = 0
    unseen: str = ""
    unseen_clips: int = 0
    baselines: Sequence[tuple[str, str]] = ()
    beaten: str = ""
    stale: bool = False


def headline(run: Shown) -> Headline:
    """A run's leading result, beside its baselines."""
    e = run.main
    if e is None:
        return Headline(run=run.name, method=run.method)
    first = e.first
    score = e.unseen if first.copies else e.values
    own = score()
    beside = {name: values for name in baseline_names(e.results) if (values := score(baseline=name))}
    order = sorted(beside, key=lambda name: -fmean(beside[name]))
    best = fmean(beside[order[0]]) if order else None
    beaten = "" if best is None or not own or fmean(own) > best else "level with" if fmean(own) == best else "ahead of"
    known = PROTOCOLS.get(first.protocol)
    return Headline(
        run=run.name,
        method=run.method,
        protocol=known.title if known else first.protocol,
        place=f"{first.data}, split {first.split}",
        accuracy=percent(e.values()),
        clips=first.test_clips,
        unseen=percent(own) if first.copies else "",
        unseen_clips=first.test_clips_unseen,
        baselines=[(baseline_title(name), percent(distinct(beside[name]))) for name in order],
        beaten=beaten,
        stale=e.stale,
    )


@dataclass(frozen=True)
class Number:
    """A measured number as text. also: further measures of the same thing, (title, text)."""

    text: str
    interval: str = ""
    also: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, kw_only=True)
class Row:
    """An evaluation in the table of results; baselines and measures as the table's columns have them."""

    run: str
    method: str
    protocol: str
    data: str
    split: str
    accuracy: Number
    unseen: str
    unseen_clips: str
    best_epoch: str
    baselines: list[Number]
    measures: list[Number]
    seeds: str
    clips: int
    stale: bool = False
    over_seeds: bool = False


@dataclass(frozen=True, kw_only=True)
class ResultsView:
    """Bars and tables of all evaluations. baselines, measures: titles of the columns; key: of the marks on bars."""

    bars: list[Bar]
    key: list[tuple[str, str]]
    baselines: list[str]
    measures: list[str]
    best_epoch: bool
    rows: list[Row]


def results(runs: Sequence[Shown]) -> ResultsView | None:
    """Every evaluation of every run, seeds aggregated; runs that differ in their seed alone also together."""
    every = [(run, e) for run in runs for e in run.evaluations]
    if not every:
        return None
    baselines = baseline_names([r for _, e in every for r in e.results])
    measures = [name for name in ordered(name for _, e in every for name in e.measures) if name != "accuracy"]
    columns = baselines, measures
    return ResultsView(
        bars=[_bar(run, e, baselines, len(runs) > 1) for run, e in every if not e.stale],
        key=[(f"m{mark(name)}", baseline_title(name)) for name in baselines],
        baselines=[baseline_title(name) for name in baselines],
        measures=[measure_title(name) for name in measures],
        best_epoch=any(e.first.best_epoch is not None for _, e in every),
        rows=[_row(run, e, *columns) for run, e in every] + _over_seeds(every, *columns),
    )


def _bar(run: Shown, e: Evaluation, baselines: Sequence[str], named: bool) -> Bar:
    """The accuracy, and its baselines as marks."""
    first, label = e.first, f"{run.name}: " if named else ""
    found = [(name, e.values(baseline=name)) for name in baselines]
    marks = [Mark(baseline_title(name), fmean(values), mark(name)) for name, values in found if values]
    return bar(f"{label}{_called(first)}, {first.data} {first.split}", fmean(e.values()), marks=marks)


def _called(result: Result) -> str:
    """A protocol, and what stood beside the encoder's features."""
    beside = result.settings.get("beside", "none")
    return result.protocol if beside == "none" else f"{result.protocol} + {beside}"


def _row(run: Shown, e: Evaluation, baselines: Sequence[str], measures: Sequence[str]) -> Row:
    first = e.first
    beside = {name for r in e.results for b in r.baselines.values() for name in b.measures} - {"accuracy"}
    encoder = "" if first.encoder in ("encoder", None) else f", {first.encoder}"
    return Row(
        run=run.name,
        method=run.method + encoder,
        protocol=_called(first) + (" (clean clips)" if set(first.curves) & CORRUPTIONS.keys() else ""),
        data=first.data,
        split=first.split,
        accuracy=_number(e, "accuracy", also=ordered(beside)),
        unseen=shown(e.unseen()),
        unseen_clips=f"{first.test_clips_unseen} clips" if first.copies else "all",
        best_epoch=shown(e.best_epochs()),
        baselines=[_number(e, "accuracy", name, ordered(beside)) for name in baselines],
        measures=[_number(e, name) for name in measures],
        seeds=", ".join(str(r.seed) for r in e.results),
        clips=first.test_clips,
        stale=e.stale,
    )


def _number(e: Evaluation, measure: str, baseline: str | None = None, also: Sequence[str] = ()) -> Number:
    """A measure over seeds, its interval (mean of the seeds' bounds), and what else was measured of the same thing."""
    alike: Callable[[Sequence[float]], Sequence[float]] = distinct if baseline else list  # some depend on no seed
    values = alike(e.values(measure, baseline))
    bounds = [m.interval for m in measured(e.results, measure, baseline) if m.interval]
    interval = "–".join(f"{fmean(side):.1f}" for side in zip(*bounds, strict=True))
    more = [(measure_title(name), shown(v)) for name in also if (v := alike(e.values(name, baseline)))]
    known = alike(e.unseen(measure, baseline)) if e.first.copies and (baseline or measure != "accuracy") else []
    return Number(shown(values), interval, [*more, *([("on unseen clips", shown(known))] if known else [])])


def _over_seeds(
    every: Sequence[tuple[Shown, Evaluation]], baselines: Sequence[str], measures: Sequence[str]
) -> list[Row]:
    """Rows for runs that share all settings but the seed: mean ± standard deviation of the runs' means."""
    groups: dict[str, list[tuple[Shown, Evaluation]]] = {}
    for run, e in every:
        same = {name: value for name, value in dotted(run.run.config).items() if name not in _FREE}
        key = asdict(e.first.key) | {"seed": None, "encoder_sha256": e.first.encoder_sha256 is None}
        groups.setdefault(repr((sorted(same.items()), sorted(key.items()))), []).append((run, e))
    out = []
    for members in groups.values():
        seeds = [run.seed for run, _ in members]
        if len(set(seeds)) < 2:
            continue
        first = members[0][1].first
        over = lambda values, members=members: [fmean(v) for _, e in members if (v := values(e))]
        out.append(
            Row(
                run=f"{len(members)} pre-training seeds",
                method=members[0][0].method,
                protocol=first.protocol,
                data=first.data,
                split=first.split,
                accuracy=Number(shown(over(Evaluation.values))),
                unseen=shown(over(Evaluation.unseen)),
                unseen_clips="",
                best_epoch=shown(over(Evaluation.best_epochs)),
                baselines=[Number(shown(distinct(over(lambda e, n=name: e.values(baseline=n))))) for name in baselines],
                measures=[Number(shown(over(lambda e, n=name: e.values(n)))) for name in measures],
                seeds=", ".join(map(str, seeds)),
                clips=first.test_clips,
                over_seeds=True,
            )
        )
    return out


@dataclass(frozen=True)
class Beside:
    """Published numbers of a place, and the runs' own among them. long: whether the table scrolls by itself."""

    title: str
    table: Table
    long: bool


@dataclass(frozen=True)
class PublishedView:
    """Tables; places of which nothing is on record; splits that are for choosing settings."""

    places: list[Beside]
    unknown: list[str]
    chosen: list[str]


def beside_published(runs: Sequence[Shown]) -> PublishedView:
    """Per data set, split and protocol: the published numbers of the runs' input and their own, highest first."""
    groups: dict[Place, list[tuple[Shown, Evaluation]]] = {}
    chosen: dict[str, None] = {}
    for run in runs:
        for e in run.evaluations:
            where = place(e.first)
            if where is None:
                chosen[f"{e.first.data} {e.first.split}"] = None
            else:
                groups.setdefault(where, []).append((run, e))
    alike = {where: _alike(where, own) for where, own in groups.items()}
    tables = {where: _published_table(known, groups[where]) for where, known in alike.items() if known}
    return PublishedView(
        places=[Beside(where.title, found, len(found.rows) > LONG) for where, found in tables.items()],
        unknown=[where.title for where in groups if where not in tables],
        chosen=list(chosen),
    )


def _alike(where: Place, own: Sequence[tuple[Shown, Evaluation]]) -> list[Published]:
    streams = {name for _, e in own for name in inputs(e.first)}
    return [p for p in published(where, streams) if p.metric in ACCURACIES]


def _published_table(known: Sequence[Published], own: Sequence[tuple[Shown, Evaluation]]) -> Table:
    metric = known[0].metric  # a data set is published by one
    lines: list[tuple[float, bool, list[str]]] = []
    for p in known:
        about = ", ".join(filter(None, (p.venue, p.year)))
        lines.append((p.value, False, [p.method, about, p.stream, f"{p.value:.1f}", p.source, p.note]))
    for run, e in own:
        first, values = e.first, e.values(metric)
        remarks = [f"last epoch; best {shown(e.best_epochs())}"] if first.best_epoch is not None else []
        remarks += [f"ensemble of {len(first.members)} runs"] if first.members else []
        remarks += [f"split {first.split}"] if first.split.startswith("fold") else []
        remarks += [f"{shown(e.unseen())} on unseen clips"] if first.copies else []
        remarks += [f"top-1 {shown(e.values())}"] if metric != "accuracy" else []
        remarks += ["of an earlier encoder"] if e.stale else []
        cells = [f"{run.name} ({run.method})", "", stream(first), shown(values), "this page", ", ".join(remarks)]
        lines.append((fmean(values) if values else 0.0, True, cells))
    lines.sort(key=lambda item: -item[0])
    head = ["method", "published", "stream", measure_title(metric), "source", "note"]
    used = [i for i in range(len(head)) if any(line[i] for *_, line in lines)]
    return Table(
        head=[head[i] for i in used],
        rows=[[line[i] for i in used] for *_, line in lines],
        numbers=[used.index(3)],
        own=[i for i, (_, mine, _) in enumerate(lines) if mine],
    )


def settings(runs: Sequence[Shown]) -> Table:
    """Every setting of every run, the rows in which runs differ highlighted."""
    flat = [{name: _plain(name, value) for name, value in dotted(run.run.config).items()} for run in runs]
    names = sorted({name for one in flat for name in one}, key=lambda name: ("." in name, name))
    rows = [[name, *(one.get(name, "—") for one in flat)] for name in names]
    own = [i for i, row in enumerate(rows) if len(set(row[1:])) > 1]
    return Table(("setting", *(run.name for run in runs)), rows, own=own)


def dotted(config: dict[str, Any]) -> dict[str, Any]:
    """Nested settings by dotted names; those of None are left out."""
    return {name: value for name, (_, value) in differences({}, config).items()}


def _plain(name: str, value: Any) -> str:
    """A setting without the folders that lead to a path."""
    if name == "data":
        return ", ".join(Path(one).name for one in ([value] if isinstance(value, str) else value))
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else str(value)


@dataclass(frozen=True)
class Commands:
    """The commands behind a run, and the recipe file that the first one needs, or ""."""

    lines: list[str]
    recipe: str


@dataclass(frozen=True)
class Reproduce:
    """Commands by run; the versions that the page was made with; each run's seed."""

    runs: dict[str, Commands]
    versions: str
    seeds: str


def reproduce(runs: Sequence[Shown]) -> Reproduce:
    """Commands, versions and seeds."""
    import torch

    versions = f"Python {platform.python_version()}, PyTorch {torch.__version__}, kinemask {__version__}"
    seeds = ", ".join(f"{run.name}: {run.seed}" for run in runs)
    return Reproduce({run.name: Commands(*commands(run)) for run in runs}, versions, seeds)

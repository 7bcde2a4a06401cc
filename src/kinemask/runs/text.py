"""Results as plain and HTML tables, for the terminal and for notebooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from statistics import fmean, stdev

from kinemask.runs.measures import BASELINES, MEASURES, Measured
from kinemask.runs.result import Result, Results, Scored


def summary(values: Sequence[float]) -> str:
    """Mean ± standard deviation (of the sample); the value alone where all are one."""
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{fmean(values):.1f} ± {stdev(values):.1f}"


def distinct(values: Sequence[float]) -> Sequence[float]:
    """One value where all are the same, as where the seed changes nothing."""
    return values[:1] if len(set(values)) == 1 else values


def measured(results: Sequence[Result], name: str, baseline: str | None = None) -> list[Measured]:
    """A measure of every result that has it; of their baselines of a name, where one is given."""
    scored: list[Scored | None] = [r if baseline is None else r.baselines.get(baseline) for r in results]
    return [s.measures[name] for s in scored if s is not None and name in s.measures]


def baseline_names(results: Sequence[Result]) -> list[str]:
    """Names of the baselines that any of these results has, in the order of `BASELINES`."""
    found = {name for r in results for name in r.baselines}
    return [name for name in BASELINES if name in found] + sorted(found - BASELINES.keys())


def baseline_title(name: str) -> str:
    return BASELINES.get(name, name.replace("_", " "))


def lines(results: Results) -> list[tuple[str, list[float]]]:
    """Titles and values (one per seed) of what these results of one protocol show, the headline first."""
    first, out = results[0], []

    def add(title: str, values: Sequence[float]) -> None:
        if values:
            out.append((title, list(values)))

    epochs = first.best_epoch is not None
    accuracies = measured(results, "accuracy")
    add("accuracy (last epoch)" if epochs else "accuracy", [m.value for m in accuracies])
    if first.copies:
        add(f"  on the {first.test_clips_unseen} unseen clips", [m.unseen for m in accuracies if m.unseen is not None])
    add("best epoch (selects on the test set)", [r.best_epoch for r in results if r.best_epoch is not None])
    for name, title in MEASURES.items():
        if name != "accuracy":
            add(f"  {title}", [m.value for m in measured(results, name)])
    for i, member in enumerate(first.members):
        title = f"member: {member.run} ({member.stream}, weight {member.weight:.2g})"
        add(title, [r.members[i].accuracy.value for r in results])
    for name in baseline_names(results):
        turned = {r.baselines[name].align for r in results if name in r.baselines} - {None, "none"}
        title = f"baseline: {baseline_title(name)}" + (f" ({' or '.join(sorted(map(str, turned)))})" if turned else "")
        add(title, distinct([m.value for m in measured(results, "accuracy", name)]))
        precisions = [m.value for m in measured(results, "mean_average_precision", name)]
        add(f"baseline: {baseline_title(name)}, mean av. precision", distinct(precisions))
    return out


def heading(results: Results) -> str:
    """What was tried on what; first of all the baseline that does better, if one does."""
    first = results[0]
    where = f"{first.protocol}, {first.data} {first.split}"
    told = f"{where}, {first.test_clips} test clips, seeds: {len(results)}"
    name = strongest(results)
    if name is None:
        return told
    best, own = (fmean(m.value for m in measured(results, "accuracy", of)) for of in (name, None))
    if best <= own:
        return told
    return f"{baseline_title(name)}: {best:.1f} %, ahead of the {own:.1f} % evaluated here\n{told}"


def strongest(results: Sequence[Result]) -> str | None:
    """The baseline that all of these results have of the highest mean accuracy, by name; None where there is none."""
    shared = [name for name in baseline_names(results) if all(name in r.baselines for r in results)]
    return max(shared, key=lambda name: fmean(r.baselines[name].accuracy for r in results), default=None)


def table(results: Results) -> str:
    """Results of one protocol: accuracy over seeds, its interval, unseen clips, baselines, curves. "" for none."""
    if not results:
        return ""
    first = results[0]
    rows = [f"  {title:46} {summary(values):>12} %" for title, values in lines(results)]
    if bounds := [m.interval for m in measured(results, "accuracy") if m.interval]:
        low, high = (fmean(side) for side in zip(*bounds, strict=True))
        rows[0] += f"  (95 % interval over test clips: {low:.1f} to {high:.1f})"
    if first.transfer:
        matched, new = first.transfer.matched, first.transfer.new
        told = f"{len(matched)} of {len(matched) + len(new)} joints matched by name"
        rows.append(f"  from layout {first.transfer.layout}: {told}; new: {', '.join(new) or 'none'}")
    for kind, curve in first.curves.items():
        means = [fmean(values) for values in zip(*(r.curves[kind].accuracy for r in results), strict=True)]
        points = [f"{level:g}: {mean:.1f}" for level, mean in zip(curve.levels, means, strict=True)]
        rows.append(f"  {curve.title:46} {'  '.join(points)}")
    return "\n".join([heading(results), *rows])


def html_table(results: Results) -> str:
    """As `table`, as an HTML table for notebooks."""
    if not results:
        return ""
    row: Callable[[str, list[float]], str] = lambda title, values: (
        f"<tr><td>{escape(title.strip())}</td><td style='text-align:right'>{summary(values)} %</td></tr>"
    )
    body = "".join(row(title, values) for title, values in lines(results))
    return f"<table><caption>{escape(heading(results))}</caption><tbody>{body}</tbody></table>"

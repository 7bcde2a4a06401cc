"""Comparisons: methods × data × protocols × seeds, each combination run once, in one table."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kinemask.comparison.curves import swept, write_curves
from kinemask.comparison.fusing import fused
from kinemask.comparison.plan import Asked, plan
from kinemask.comparison.table import Entry, Table, lines, write_tables
from kinemask.comparison.work import Evaluation, Work
from kinemask.errors import Stopped
from kinemask.protocols.catalogue import find_protocol
from kinemask.protocols.evaluate import evaluate, finished
from kinemask.runs.cost import cost
from kinemask.runs.result import Result
from kinemask.training.pretraining import pretrain

Found = dict[str, list[list[Result]]]  # by the work's name, of each of its evaluations


def compare(asked: Asked, out: str | Path = "runs/compare", quiet: bool = True) -> Table:
    """Run every combination that is not finished, and write OUT/table.md, .csv and .html; returns the table's lines.

    Of a sweep and of snapshots also OUT/PLACE-over-SETTING.svg, curves with error bars. Runs are kept in OUT/runs,
    their results with them. See `kinemask.compare`.
    """
    asked, options = without_cluster_options(asked)
    out = Path(out).resolve()
    work = plan(asked)
    found, failed = run_all(work, out, asked.cluster, options, quiet)
    made = entries(work, found, out, len(asked.streams))
    table = lines(made)
    curves = swept(made, asked.sweep[0] if asked.sweep and not asked.snapshots else "epoch")
    files = write_tables(table, out, charts=curves) + write_curves(curves, out)
    tell_failures(failed, len(work), out / "table.md")
    return Table(table, files)


def run_all(
    work: Sequence[Work], out: Path, cluster: str | None, options: dict[str, Any], quiet: bool
) -> tuple[Found, list[str]]:
    """Do what is not finished, here or on a cluster; every result that there is then, and what went wrong.

    Raises Stopped where it is interrupted here.
    """
    found = {w.name: results(w, out) for w in work}
    todo = [w for w in work if missing(w, found[w.name], out)]
    if not quiet:
        done = sum(len(of) for every in found.values() for of in every)
        every = sum(len(e.seeds) for w in work for e in w.evaluations)
        print(f"{every} results, {done} of them there already; {len(todo)} runs to do", flush=True)
    if cluster is None:
        try:
            failed = [f"{w.name}: {error}" for w in todo if (error := attempt(w, out, quiet))]
        except KeyboardInterrupt:  # between evaluations: pre-training raises Stopped itself
            raise Stopped("stopped; what is done is kept, run the same command to resume") from None
    else:
        from kinemask.comparison.cluster import submit

        failed = submit(todo, out, cluster, options)
    return found | {w.name: results(w, out) for w in todo}, failed


def without_cluster_options(asked: Asked) -> tuple[Asked, dict[str, Any]]:
    """What is asked without settings named slurm.NAME, and these; ValueError where nothing reads them."""
    head = "slurm."
    options = {name.removeprefix(head): v for name, v in asked.overrides.items() if name.startswith(head)}
    if options and asked.cluster is None:
        raise ValueError(f"slurm.{next(iter(options))} has no effect without a cluster")
    left = {name: value for name, value in asked.overrides.items() if not name.startswith(head)}
    return replace(asked, overrides=left), options


def tell_failures(failed: Sequence[str], runs: int, page: Path) -> None:
    """ValueError that lists what went wrong, if anything did."""
    if failed:
        raise ValueError(f"{len(failed)} of {runs} runs failed; {page} lacks them: " + "; ".join(failed))


def do(work: Work, out: Path, quiet: bool = True) -> None:
    """The pre-training if it is not finished, then the evaluations that are missing; each result is kept at once."""
    s, run = work.settings, work.run(out)
    if not run.has():
        pretrain(s, run.path, quiet)
    for e, seed in missing(work, results(work, out), out):
        evaluate(
            e.protocol,
            run.path,
            e.data,
            e.split,
            seed=seed,
            encoder=e.encoder,
            sampling=e.sampling,
            baselines=work.baselines,
            device=s.training.device,
            quiet=quiet,
            **e.own,
        )


def missing(work: Work, found: Sequence[Sequence[Result]], out: Path) -> list[tuple[Evaluation, list[int]]]:
    """Evaluations with seeds of which no result was found, one seed each where the protocol trains the encoder.

    An encoder other than the default one that a finished run does not have is passed over: its method leaves none.
    """
    run, todo = work.run(out), []
    for e, there in zip(work.evaluations, found, strict=True):
        left = [seed for seed in e.seeds if seed not in {r.seed for r in there}]
        if not left or (run.has() and not run.has(e.encoder)):
            continue
        trains = find_protocol(e.protocol).trains  # then seeds share nothing, and each is kept when it is done
        todo += [(e, [seed]) for seed in left] if trains else [(e, left)]
    return todo


def results(work: Work, out: Path) -> list[list[Result]]:
    """Those of each evaluation that are there."""
    return [of_evaluation(work, e, out) for e in work.evaluations]


def of_evaluation(work: Work, e: Evaluation, out: Path) -> list[Result]:
    run = work.run(out)
    if not run.has():
        return []
    there = finished(e.protocol, run, e.data, e.split, e.seeds, work.baselines, e.own, e.encoder, e.sampling)
    return [there[seed] for seed in e.seeds if seed in there]


def entries(work: Sequence[Work], found: Found, out: Path, streams: int = 1) -> list[Entry]:
    """Results as entries of the table, and the ensembles that those of several streams make."""
    made = []
    for w in work:
        run = w.run(out)
        made += [
            (w, e, Entry(e.label, there, cost(run, there[0]), e.series, e.at))
            for e, there in zip(w.evaluations, found[w.name], strict=True)
            if there
        ]
    return [entry for *_, entry in made] + fused(made, out, streams)


def attempt(work: Work, out: Path, quiet: bool = True) -> str:
    """Do it; what went wrong, or nothing. An interruption goes through."""
    if not quiet:
        print(work.name, flush=True)
    try:
        do(work, out, quiet)
    except (ValueError, FloatingPointError) as error:
        return str(error)
    except (OSError, RuntimeError) as error:  # of one combination; a memory that is too small for it, say
        traceback.print_exc()
        return f"{type(error).__name__}: {error}"
    return ""

"""Comparisons: methods × data × protocols × seeds, each combination run once, in one table."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kinemask.comparison.plan import Work, plan
from kinemask.comparison.table import Entry, Line, lines, write_tables
from kinemask.protocols.catalogue import find_protocol
from kinemask.protocols.evaluate import evaluate, finished
from kinemask.runs.cost import cost
from kinemask.runs.result import Result
from kinemask.training.pretraining import pretrain


def compare(
    methods: Sequence[str],
    data: str | Path | Sequence[str | Path],
    split: str | Sequence[str],
    protocols: Sequence[str] = ("linear", "knn"),
    seeds: Sequence[int] = (0,),
    *,
    protocol_seeds: Sequence[int] | None = None,
    small: bool = False,
    out: str | Path = "runs/compare",
    baselines: bool = True,
    device: str = "auto",
    cluster: str | None = None,
    quiet: bool = True,
    settings: Mapping[str, Any] | None = None,
) -> list[Line]:
    """Run every combination that is not finished, and write OUT/table.md, .csv and .html; returns the table's lines.

    Runs are kept in OUT/runs, their results with them. See `kinemask.compare`.
    """
    stores = [str(data)] if isinstance(data, str | Path) else [str(path) for path in data]
    splits = [split] if isinstance(split, str) else list(split)
    overrides = {"training.device": device, **(settings or {})}
    options = {k.removeprefix("slurm."): overrides.pop(k) for k in list(overrides) if k.startswith("slurm.")}
    if options and cluster is None:
        raise ValueError(f"slurm.{next(iter(options))} has no effect without a cluster")
    work = plan(list(methods), stores, splits, protocols, seeds, protocol_seeds, small, baselines, overrides, cluster)
    out = Path(out).resolve()
    there = [results(w, out) for w in work]
    todo = [w for w, found in zip(work, there, strict=True) if missing(w, found)]
    if not quiet:
        done, every = sum(map(len, there)), sum(len(seeds) for w in work for seeds in w.seeds.values())
        print(f"{every} results, {done} of them there already; {len(todo)} runs to do", flush=True)
    if cluster is None:
        failed = [f"{w.name}: {error}" for w in todo if (error := attempt(w, out, quiet))]
    else:
        from kinemask.comparison.cluster import submit

        failed = submit(todo, out, cluster, options)
    there = [results(w, out) if missing(w, found) else found for w, found in zip(work, there, strict=True)]
    table = lines([Entry(w.recipe, found, cost(w.run(out))) for w, found in zip(work, there, strict=True) if found])
    write_tables(table, out)
    if failed:
        raise ValueError(
            f"{len(failed)} of {len(work)} runs failed; {out / 'table.md'} lacks them: " + "; ".join(failed)
        )
    return table


def do(work: Work, out: Path, quiet: bool = True) -> None:
    """The pre-training if it is not finished, then the evaluations that are missing; each result is kept at once."""
    s, run = work.settings, work.run(out)
    if not (run.path / "encoder.safetensors").is_file():  # which a run has at its end
        pretrain(s, run.path, quiet)
    todo = missing(work, results(work, out))
    for protocol, given in work.protocols.items():
        left = [seed for name, seed in todo if name == protocol]
        trains = find_protocol(protocol).trains  # then seeds share nothing, and each is kept when it is done
        for seeds in [[seed] for seed in left] if trains else [left] * bool(left):
            evaluate(
                protocol,
                run.path,
                s.data[0],
                s.split,
                seed=seeds,
                baselines=work.baselines,
                device=s.training.device,
                quiet=quiet,
                **given,
            )


def missing(work: Work, found: Sequence[Result]) -> list[tuple[str, int]]:
    """Protocols and seeds of which no result was found."""
    there = {(r.protocol, r.seed) for r in found}
    return [(name, seed) for name, seeds in work.seeds.items() for seed in seeds if (name, seed) not in there]


def results(work: Work, out: Path) -> list[Result]:
    """Those of one pre-training that are there."""
    s, found = work.settings, []
    for protocol, given in work.protocols.items():
        seeds = work.seeds[protocol]
        there = finished(protocol, work.run(out), s.data[0], s.split, seeds, work.baselines, given)
        found += [there[seed] for seed in seeds if seed in there]
    return found


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

"""Comparisons: methods × data × protocols × seeds, each combination run once, in one table."""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kinemask.comparison.plan import Work, plan
from kinemask.comparison.table import rows, write_tables
from kinemask.files import write_atomically
from kinemask.protocols.protocols import evaluate, find_protocol
from kinemask.runs.cost import cost
from kinemask.runs.results import hash8
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
    controls: bool = True,
    device: str = "auto",
    cluster: str | None = None,
    quiet: bool = True,
    settings: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Run every combination that is not finished, and write OUT/table.md, .csv and .html; returns the table's rows.

    methods: recipes, or methods, for which METHOD-DATA (small: METHOD-DATA-small) is taken. split: one for all stores,
    one for each, or several of one store (of fold1, fold2 … the table has the mean too). seeds: of pre-training, and
    of the protocols on that run (semi: its usual draws), unless protocol_seeds are given. settings: by dotted name, of
    pre-training, of a protocol alone (linear.epochs), or of one of the methods alone (mamp.pretext.tau). cluster:
    "slurm" submits a job per pre-training with its evaluations and waits, with submitit's parameters from settings
    slurm.NAME; "local" does so in processes of this machine.

    A result is found again only where all its settings, the store, the code and the kind of device are the same.
    Starting again after an interruption goes on. A combination that fails is left out of the table and told at the end
    by a ValueError.
    """
    one = isinstance(data, str | Path)
    stores = [str(data)] if one else [str(path) for path in data]  # type: ignore[union-attr]
    splits = [split] if isinstance(split, str) else list(split)
    overrides = {"training.device": device, **(settings or {})}
    options = {k.removeprefix("slurm."): overrides.pop(k) for k in list(overrides) if k.startswith("slurm.")}
    if options and cluster is None:
        raise ValueError(f"slurm.{next(iter(options))} has no effect without a cluster")
    work = plan(list(methods), stores, splits, protocols, seeds, protocol_seeds, small, controls, overrides, cluster)
    out = Path(out).resolve()
    todo = [w for w in work if missing(w, out)]
    if not quiet:
        left, done = (sum(len(of(w, out)) for w in work) for of in (missing, finished))
        print(f"{left + done} results, {done} of them there already; {len(todo)} runs to do", flush=True)
    if cluster is None:
        failed = [f"{w.folder}: {error}" for w in todo if (error := attempt(w, out, quiet))]
    else:
        from kinemask.comparison.cluster import submit

        failed = submit(todo, out, cluster, options)
    table = rows([finished(w, out) for w in work])
    write_tables(table, out)
    if failed:
        raise ValueError(
            f"{len(failed)} of {len(work)} runs failed; {out / 'table.md'} lacks them: " + "; ".join(failed)
        )
    return table


def run(work: Work, out: Path, quiet: bool = True) -> None:
    """One pre-training and those of its evaluations that are missing; each result is kept as soon as it is there."""
    work.check_code()
    folder = pretrain(work.settings, out / "runs" / work.folder, quiet)
    expense = cost(folder)
    for protocol in work.protocols:
        left = [seed for name, seed in missing(work, out) if name == protocol]
        trains = find_protocol(protocol).trains  # then seeds share nothing, and each is kept when it is done
        for seeds in [[seed] for seed in left] if trains else [left] * bool(left):
            s = work.settings
            own = folder / f"{protocol}-{hash8(work.evaluation(protocol, seeds[0]))}" if trains else None
            found = evaluate(
                protocol,
                folder,
                s.data,
                s.split,
                out=own,
                seed=seeds,
                controls=work.controls,
                device=s.training.device,
                quiet=quiet,
                **work.protocols[protocol],
            )
            for result in found:
                about = {"recipe": Path(work.recipe).stem, "run": folder.name, "cost": expense}
                _keep(work.evaluation(protocol, result["seed"]), about | {"result": result}, out)


def missing(work: Work, out: Path) -> list[tuple[str, int]]:
    """Protocols and seeds whose results are not there yet."""
    wanted = [(protocol, seed) for protocol, seeds in work.seeds.items() for seed in seeds]
    return [(protocol, seed) for protocol, seed in wanted if _kept(work.evaluation(protocol, seed), out) is None]


def finished(work: Work, out: Path) -> list[dict[str, Any]]:
    """The kept results of one pre-training."""
    wanted = [work.evaluation(protocol, seed) for protocol, seeds in work.seeds.items() for seed in seeds]
    return [record for key in wanted if (record := _kept(key, out)) is not None]


def _place(key: dict[str, Any], out: Path) -> Path:
    return out / "results" / f"{key['protocol']}-{hash8(key)}.json"


def _kept(key: dict[str, Any], out: Path) -> dict[str, Any] | None:
    """The record of exactly this key: {key, recipe, run, cost, result}."""
    path = _place(key, out)
    if not path.is_file():
        return None
    record = json.loads(path.read_text())
    return record if record["key"] == key else None


def _keep(key: dict[str, Any], record: dict[str, Any], out: Path) -> None:
    path = _place(key, out)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"key": key} | record, indent=1) + "\n"
    write_atomically(path, lambda p: p.write_text(text))


def attempt(work: Work, out: Path, quiet: bool = True) -> str:
    """Run it; what went wrong, or nothing. An interruption goes through."""
    if not quiet:
        print(work.folder, flush=True)
    try:
        run(work, out, quiet)
    except (ValueError, FloatingPointError) as error:
        return str(error)
    except (OSError, RuntimeError) as error:  # of one combination; a memory that is too small for it, say
        traceback.print_exc()
        return f"{type(error).__name__}: {error}"
    return ""

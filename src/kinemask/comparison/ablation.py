"""A table of a paper as a comparison: its rows are run, and ours stand beside theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from kinemask.comparison.compare import entries, run_all, tell_failures, without_cluster_options
from kinemask.comparison.papers import PaperRow, PaperTable, paper_table
from kinemask.comparison.plan import Asked, Variant, paired, plan
from kinemask.comparison.table import Entry, Line, Table, digits, grouped, row_of, write_tables
from kinemask.comparison.work import Work
from kinemask.pretext import NAMES, method
from kinemask.protocols.catalogue import PROTOCOLS
from kinemask.recipes import load_recipe
from kinemask.reports.comparison import Cell, Row
from kinemask.reports.published import Place
from kinemask.runs.result import hash8
from kinemask.store.opening import Store

Reasons = dict[tuple[str, str], str]  # data and label of a row that cannot be run -> why


def compare_with_paper(name: str, asked: Asked, out: str | Path = "runs/compare", quiet: bool = True) -> Table:
    """Run every row of a paper's table that is not finished; returns the table's lines.

    asked.methods: recipes that take the place of the data's own recipes of the table's methods, or nothing but the
    methods themselves. Files are OUT/NAME-DATA-HASH8.md, .csv and .html: other settings make other files. A row that
    the data or the code cannot have is in the table with the reason. Raises ValueError where that is every row.
    """
    table = paper_table(name)
    asked, options = without_cluster_options(asked)
    out = Path(out).resolve()
    recipe_of = _recipes(table, asked.methods)
    usual = _usual(table, recipe_of, asked)
    work: list[Work] = []
    reasons: Reasons = {}
    for store, split in paired(asked.data, asked.split, "split"):
        here = replace(asked, data=[str(store.path)], split=[split], methods=list(recipe_of.values()), overrides=usual)
        work += _planned(table, recipe_of, here, store, reasons)
    found, failed = run_all(work, out, asked.cluster, options, quiet)
    made = lines(table, entries(work, found, out), reasons, asked.small)
    told = [w.name + repr([asdict(e) for e in w.evaluations]) for w in work]
    stem = f"{name}-{'+'.join(dict.fromkeys(w.dataset for w in work))}-{hash8({'work': sorted(told)})}"
    common = settings_text({k: v for k, v in usual.items() if (k, v) != ("training.device", "auto")})
    recipes = ", ".join(dict.fromkeys(Path(w.recipe).stem for w in work))
    all_rows = f"All rows: {recipes}{' with ' * bool(common)}{common}."
    paths = write_tables(made, out, stem, title=table.title, note=table.note, common=all_rows)
    tell_failures(failed, len(work), out / f"{stem}.md")
    return Table(made, paths)


def _recipes(table: PaperTable, given: Sequence[str]) -> dict[str, str]:
    """What stands for each method of a table: a recipe that was given, or its own name."""
    out = {name: name for name in table.methods}
    for one in given:
        of = one if one in NAMES else load_recipe(one)["method"]
        if of not in out:
            raise ValueError(f"{one}: {table.title} has no row of {of}; it has {', '.join(out)}")
        if out[of] not in (of, one):
            raise ValueError(f"{out[of]} and {one} are both recipes of {of}; give one")
        out[of] = one
    return out


def _usual(table: PaperTable, recipe_of: Mapping[str, str], asked: Asked) -> dict[str, Any]:
    """Settings of all rows: the table's, and those that are given in place of them or beside.

    A protocol's are left out where it is not asked for. ValueError where rows differ in one of these, or in one that is
    given for all.
    """
    absent = {*PROTOCOLS} - {*asked.protocols}
    for row in table.rows:
        of = Path(recipe_of.get(row.method or table.method, "")).stem
        for name in row.changes(asked.small):
            if (protocol := name.partition(".")[0]) in absent:
                raise ValueError(f"rows of {table.title} differ in {name}: add {protocol} to protocols")
            if twice := [one for one in (name, f"{of}.{name}") if one in asked.overrides]:
                raise ValueError(f"{twice[0]} is what the rows of {table.title} differ in; it cannot be given for all")
    own = {k: v for k, v in table.changes(asked.small).items() if k.partition(".")[0] not in absent}
    return own | dict(asked.overrides)


def _planned(
    table: PaperTable, recipe_of: Mapping[str, str], asked: Asked, store: Store, reasons: Reasons
) -> list[Work]:
    """Work of the rows that can be run on a store; the others are added to `reasons`."""
    variants: list[Variant] = []
    for row in table.rows:
        variant = Variant(recipe_of.get(row.method or table.method, ""), row.label, row.changes(asked.small))
        if why := row.reason or _problem(asked, variant, store):
            reasons[store.name, row.label] = why
        else:
            variants.append(variant)
    if not variants:
        raise ValueError(f"{table.title}: no row can be run on {store.name}: {next(iter(reasons.values()))}")
    return plan(asked, variants)


def _problem(asked: Asked, variant: Variant, store: Store) -> str:
    """Why the settings of a row do not fit a store's skeleton, or each other; nothing where they do."""
    try:
        s = plan(asked, [variant])[0].settings
        with torch.device("meta"):
            chosen = method(s.method)
            chosen.build(chosen.build_encoder(store.layout, s.sampling.frames, s.encoder), s.decoder, s.pretext)
    except ValueError as error:
        return str(error)
    return ""


def lines(table: PaperTable, made: Sequence[Entry], reasons: Reasons, small: bool) -> list[Line]:
    """The table's rows in the paper's order, on each place that there are results of."""
    return [
        Line(where, _row(table, row, where, labels.get(row.label, []), reasons, small))
        for where, labels in grouped(made).items()
        for row in table.rows
    ]


def _row(table: PaperTable, row: PaperRow, where: Place, runs: Sequence[Entry], reasons: Reasons, small: bool) -> Row:
    cells: dict[str, Cell | str] = dict(row_of(row.label, runs).cells) if runs else {}
    why = reasons.get((where.data, row.label), "") or ("" if runs else "no result")
    if row.baseline and runs:
        why = "" if row.baseline in cells else "a baseline, and they were left out"
        cells = {"accuracy": cells.get(row.baseline, "")}
    cells["settings"] = settings_text(row.changes(small))
    cells["published"] = published_text(table, row, where)
    cells["published_hours"] = "" if row.hours is None else digits(row.hours)
    cells["published_gflops"] = "" if row.gflops is None else digits(row.gflops)
    return Row(method=row.label, cells=cells, source="; ".join(filter(None, (why, source_text(table)))))


def settings_text(changes: Mapping[str, Any]) -> str:
    """Settings in a line, as the command line has their names and values."""
    plain = lambda value: str(value).lower() if isinstance(value, bool) else str(value).replace("'", "")
    return ", ".join(f"{name} {plain(value)}" for name, value in changes.items())


def published_text(table: PaperTable, row: PaperRow, where: Place) -> str:
    """The paper's number of the same data and split; elsewhere all that it has of the row."""
    if where.data == table.data:
        return f"{row.published[where.split]:.1f}" if where.split in row.published else ""
    several = len(row.published) > 1
    return ", ".join(f"{split} {value:.1f}" if several else f"{value:.1f}" for split, value in row.published.items())


def source_text(table: PaperTable) -> str:
    """Where a table's numbers are printed, and of what they are; nothing of a table that no paper has."""
    if not table.source:
        return ""
    measure = "" if table.measure == "accuracy" else ", mean over classes"
    return f"{table.source.replace('.md', ',')}: {table.data} {' '.join(table.splits)}, {table.protocol}{measure}"

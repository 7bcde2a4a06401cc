"""Ensembles of a comparison: the scores of runs that differ in their stream alone, fused."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add
from pathlib import Path

from kinemask.comparison.table import Entry
from kinemask.comparison.work import Evaluation, Work
from kinemask.protocols.ensemble import ensemble
from kinemask.runs.cost import Cost
from kinemask.runs.result import Result

Made = tuple[Work, Evaluation, Entry]


def fused(made: Sequence[Made], out: Path, streams: int) -> list[Entry]:
    """Entries of the ensembles of so many streams that have all their results; kept with the first member's run."""
    groups: dict[tuple[object, ...], list[Made]] = {}
    for work, e, entry in made:
        if e.fused:
            s = work.settings
            key = (e.fused, e.protocol, repr(e.settings), e.encoder, e.data, e.split, work.dataset, s.split, s.seed)
            groups.setdefault(key, []).append((work, e, entry))
    found = []
    for members in groups.values():
        whole = all(len(entry.results) == len(e.seeds) for _, e, entry in members)
        if whole and len(members) == streams:
            e = members[0][1]
            results = [_fuse(members, i, out) for i in range(len(e.seeds))]
            found.append(Entry(e.fused, results, _costs(members), e.fused_series, e.at))
    return found


def _fuse(members: Sequence[Made], number: int, out: Path) -> Result:
    """The ensemble of the members' results of one seed; one that is there already is found."""
    results = [entry.results[number] for *_, entry in members]
    runs = [work.run(out) for work, *_ in members]
    hashes = [result.hash for result in results]
    for there in runs[0].results():
        if [member.hash for member in there.members] == hashes:
            return there
    (result,) = ensemble([run.path for run in runs], hashes=hashes)
    return result


def _costs(members: Sequence[Made]) -> Cost | None:
    costs = [entry.cost for *_, entry in members]
    return None if None in costs else reduce(add, [one for one in costs if one is not None])

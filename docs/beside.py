"""Writes the tables of docs/results.md about encoders with a readout, and random convolutions beside them.

python docs/beside.py ["RECIPE AND OPTIONS=RUN" ...]

A run that is given is looked through for results of `probe` with this readout, and of `knn`; their numbers are kept in
benchmarks/results/beside.json.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from itertools import zip_longest
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from kinemask.runs.result import Result
from kinemask.runs.run import Run

PAGE = Path(__file__).parent / "results.md"
KEPT = Path(__file__).parents[1] / "benchmarks" / "results" / "beside.json"
BLOCK = re.compile(r"(<!-- (\S+), written by docs/beside.py -->\n).*?(<!-- end -->)", re.DOTALL)
READOUT = {"over": "joints", "pieces": [1, 3], "statistics": ["mean", "max"]}
OLD, ONE_SCALE = " †", 4  # the state of the numbers since which random convolutions have one scale for all channels
KEY = ("recipe", "pretraining_seed", "layers", "data", "split", "protocol", "beside", "seed")
SETS = {"nw-ucla": "NW-UCLA", "utd-mhad": "UTD-MHAD", "sbu": "SBU"}
FIVE = ", five windows"  # of nine tenths of a clip, over which features are averaged
MOSAIC = {  # what a row says, and the recipes that it is of
    "Mosaic, on this set": r"mosaic-(nw-ucla|utd-mhad|sbu)-small",
    "Mosaic from `mosaic-small`, on this set": r"mosaic-(nw-ucla|utd-mhad|sbu)-small --training.init-from [^,]*",
    "Mosaic from `mosaic-small`, on all three": r"mosaic-mixed-small .*, on the three sets",
    "Mosaic from `mosaic-small`, on the other two": r"mosaic-mixed-small .*, on the other two",
    "`mosaic-small`, generated motion alone": r"mosaic-small( --sampling.align pair)?",
}
ROWS = MOSAIC | {row + FIVE: of + FIVE for row, of in MOSAIC.items()}
HEAD = ("recipe, seed of pre-training", "features", "1 label a class", "2", "5", "all", "1-NN")

Record = dict[str, Any]
Numbers = list[float | None]


def record(result: Result, recipe: str, seed: int) -> Record:
    """What is kept of a result. Accuracies are in percent, labels those with 1, 2 and 5 labels a class."""

    def scored(of: Any) -> Record:
        accuracy, few = of.measures["accuracy"], of.curves.get("labels")
        return {"accuracy": accuracy.value, "unseen": accuracy.unseen, "labels": few and list(few.accuracy)}

    about: Record = {"recipe": recipe, "pretraining_seed": seed, "numerics": result.numerics}
    about |= {name: getattr(result, name) for name in ("data", "split", "protocol", "seed")}
    about |= {"beside": result.settings["beside"], "layers": result.settings["readout"].get("layers", 0)}
    return about | scored(result) | {"baselines": {name: scored(b) for name, b in result.baselines.items()}}


def wanted(result: Result) -> bool:
    """Whether a result is of the tables: of the encoder for use, without twins, and with the readout."""
    given = result.settings
    if result.encoder != "encoder" or given.get("twins"):
        return False
    if result.protocol == "knn":
        return given["readout"]["bodies"] == "mean"
    return (
        result.protocol == "probe"
        and list(given["per_class"]) == [1, 2, 5]
        and {name: given["readout"][name] for name in READOUT} == READOUT
    )


def keep(recipe: str, folder: str) -> None:
    """Add the results of a run to those kept, in place of older ones; of the same with and without baselines, with."""
    run, kept = Run(Path(folder)), json.loads(KEPT.read_text(encoding="utf-8"))
    new = [record(r, recipe, run.config["seed"]) for r in run.results() if wanted(r)]
    key = lambda r: tuple(r[name] for name in KEY)
    once = {key(r): r for r in sorted(new, key=lambda r: len(r["baselines"]))}
    kept["results"] = [r for r in kept["results"] if key(r) not in once] + list(once.values())
    KEPT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def block(name: str, kept: list[Record]) -> str:
    """The table of a data set: random convolutions, then of each recipe and seed tokens, and convolutions beside."""
    records = [r for r in kept if r["data"] == name]
    probes = [r for r in records if r["protocol"] == "probe"]
    lines: list[list[str]] = [list(HEAD), ["---"] * len(HEAD)]
    for mark in ("", OLD):
        told = [r for r in probes if _mark(r) == mark and "random_convolutions_ridge" in r["baselines"]]
        alike = [r for r in told if [r[n] for n in KEY[:-1]] == [told[0][n] for n in KEY[:-1]]]
        if alike:  # the draws of one run
            cells = _cells(alike, lambda r: r["baselines"]["random_convolutions_ridge"])
            lines.append([f"**random convolutions**{mark}", "", *cells, ""])
    for recipe, seed, layers in sorted({tuple(r[name] for name in KEY[:3]) for r in records}):
        said, tokens = f"`{recipe}`, {seed}", f"tokens of layer {layers}" if layers else "tokens"
        for beside, label in (("none", tokens), ("convolutions", f"{tokens}, convolutions beside")):
            own = [r for r in records if tuple(r[n] for n in (*KEY[:3], "beside")) == (recipe, seed, layers, beside)]
            scored, nearest = ([r for r in own if r["protocol"] == protocol] for protocol in ("probe", "knn"))
            if not scored:
                continue
            mark = _mark(scored[0]) if beside != "none" else ""
            lines.append([said, label + mark, *_cells(scored, lambda r: r), _percent(nearest)])
            if all("untrained_encoder" in r["baselines"] for r in scored):
                untrained = lambda r: r["baselines"]["untrained_encoder"]
                near = [untrained(r) for r in nearest if "untrained_encoder" in r["baselines"]]
                lines.append(["", f"untrained {label}{mark}", *_cells(scored, untrained), _percent(near)])
            said = ""
    return "\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines) + "\n"


def summary(kept: list[Record]) -> str:
    """Mosaic beside random convolutions and the best of the other methods: tokens / tokens, convolutions beside."""
    head = ("", "seeds", "1 label a class", "2", "5", "all", "unseen", "1-NN")
    lines: list[tuple[str, ...]] = [head, ("---",) * len(head)]
    for name, said in SETS.items():
        records = [r for r in kept if r["data"] == name]
        probes = [r for r in records if r["protocol"] == "probe" and not _mark(r)]
        told = [(r["seed"], r["baselines"].get("random_convolutions_ridge")) for r in probes]
        drawn = {seed: baseline for seed, baseline in told if baseline}
        numbers = _over([_numbers([r]) for r in drawn.values()], _spread)
        lines.append((f"**{said}**: random convolutions", "", *numbers))
        rows = {"the best of the six": (_both(records, "(?!mosaic).*", None), _most)}
        rows |= {row: (_both(records, recipe, 0), _spread) for row, recipe in ROWS.items()}
        for row, ((alone, beside), say) in rows.items():
            if alone:
                cells = zip_longest(_over(alone, say), _over(beside, say), fillvalue="")
                seeds = str(len(alone)) if say is _spread else ""
                lines.append((row, seeds, *(" / ".join(filter(None, both)) for both in cells)))
    return "\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines) + "\n"


def _numbers(probes: Sequence[Record], nearest: Sequence[Record] = ()) -> Numbers:
    """Means over draws: with 1, 2, 5 labels, all, all on unseen clips where not all are, and 1-NN."""
    unseen = [r["unseen"] for r in probes if r.get("unseen") not in (None, r["accuracy"])]
    few = [fmean(r["labels"][i] for r in probes) for i in range(3)]
    rest = ([r["accuracy"] for r in probes], unseen, [r["accuracy"] for r in nearest])
    return [*few, *(fmean(values) if values else None for values in rest)]


def _both(records: list[Record], recipe: str, layers: int | None) -> tuple[list[Numbers], list[Numbers]]:
    """Of runs of these recipes, read by so many layers (None: by any), the numbers alone and beside convolutions."""
    found: tuple[list[Numbers], list[Numbers]] = ([], [])
    of = [r for r in records if re.fullmatch(recipe, r["recipe"]) and layers in (None, r["layers"])]
    for run in sorted({tuple(r[n] for n in KEY[:3]) for r in of}):
        for numbers, beside in zip(found, ("none", "convolutions"), strict=True):
            own = [r for r in of if tuple(r[n] for n in (*KEY[:3], "beside")) == (*run, beside)]
            probes, nearest = ([r for r in own if r["protocol"] == p] for p in ("probe", "knn"))
            if probes and not (beside != "none" and _mark(probes[0])):
                numbers.append(_numbers(probes, nearest))
    return found


def _over(runs: list[Numbers], say: Callable[[list[float]], str]) -> list[str]:
    """What is said of each number over runs."""
    columns = [[n for n in column if n is not None] for column in zip(*runs, strict=True)]
    return [say(column) if column else "" for column in columns]


def _most(values: list[float]) -> str:
    return f"{max(values):.1f}"


def _mark(r: Record) -> str:
    """What a record's random convolutions are marked with."""
    return "" if (r["numerics"] or 0) >= ONE_SCALE else OLD


def _cells(records: list[Record], get: Callable[[Record], Record]) -> list[str]:
    """Accuracies with 1, 2, 5 labels a class and all."""
    found = [get(r) for r in records]
    return [*(_spread([f["labels"][i] for f in found]) for i in range(3)), _percent(found)]


def _percent(found: list[Record]) -> str:
    """Accuracy with all labels; in brackets on unseen clips, where not all are."""
    if not found:
        return ""
    text = _spread([f["accuracy"] for f in found])
    unseen = [f["unseen"] for f in found if f.get("unseen") not in (None, f["accuracy"])]
    return f"{text} ({_spread(unseen)})" if unseen else text


def _spread(values: list[float]) -> str:
    spread = stdev(values) if len(values) > 1 else 0.0
    return f"{fmean(values):.1f}" + (f" ± {spread:.1f}" if spread >= 0.05 else "")


def measured() -> list[Record]:
    """All that is kept."""
    return json.loads(KEPT.read_text(encoding="utf-8"))["results"]


def written(text: str, kept: list[Record]) -> str:
    """The page with its tables as they should be."""
    table = lambda name: summary(kept) if name == "mosaic" else block(name, kept)
    return BLOCK.sub(lambda found: f"{found[1]}{table(found[2])}{found[3]}", text)


if __name__ == "__main__":
    for given in sys.argv[1:]:
        keep(*given.rsplit("=", 1))
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), measured()), encoding="utf-8")

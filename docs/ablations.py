"""Writes the tables of docs/ablations.md from the papers' tables of the package, and from what was measured here.

python docs/ablations.py [FILE.csv ...]

FILE.csv: tables that `kinemask compare --ablation` wrote; their numbers are kept in docs/ablations.csv.
"""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path

from kinemask.comparison.ablation import settings_text
from kinemask.comparison.papers import PaperTable, paper_table, paper_tables

PAGE = Path(__file__).parent / "ablations.md"
HERE = Path(__file__).parent / "ablations.csv"
FIELDS = ("table", "data", "split", "row", "accuracy", "std", "common")
BLOCK = re.compile(r"(<!-- (\S+), written by docs/ablations.py -->\n).*?(<!-- end -->)", re.DOTALL)

Here = dict[tuple[str, str, str], dict[str, dict[str, str]]]  # table, data and split -> row -> its line


def measured() -> Here:
    """What was measured here."""
    found: Here = {}
    if HERE.is_file():
        with HERE.open(encoding="utf-8") as file:
            for line in csv.DictReader(file):
                found.setdefault((line["table"], line["data"], line["split"]), {})[line["row"]] = line
    return found


def shown(line: dict[str, str] | None) -> str:
    """An accuracy as the page has it."""
    if line is None:
        return ""
    spread = f" ± {float(line['std']):.1f}" if line["std"] else ""
    return f"{float(line['accuracy']):.1f}{spread}"


def keep(path: Path) -> None:
    """Add the numbers of a table that `compare` wrote to those measured here, in place of older ones."""
    (name, *_) = [t for t in sorted(paper_tables(), key=len, reverse=True) if path.name.startswith(f"{t}-")]
    measure = paper_table(name).measure
    lines: dict[tuple[str, ...], dict[str, str]] = {}
    if HERE.is_file():
        with HERE.open(encoding="utf-8") as file:
            lines = {tuple(line[k] for k in FIELDS[:4]): line for line in csv.DictReader(file)}
    with path.open(encoding="utf-8") as file:
        for line in csv.DictReader(file):
            value = next((k for k in (measure, "accuracy") if line.get(k)), None)
            if value is not None:
                key = (name, line["data"], line["split"], line["method"])
                new = (*key, line[value], line.get(f"{value}_std", ""), line.get("common", ""))
                if key in lines and lines[key]["common"] != new[-1]:
                    print(f"{key}: in place of {shown(lines[key])}, {lines[key]['common'] or 'settings unknown'}")
                lines[key] = dict(zip(FIELDS, new, strict=True))
    with HERE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines[key] for key in sorted(lines))


def command(name: str, table: PaperTable) -> str:
    return f"```bash\nkinemask compare --ablation {name} --data stores/{table.data} --out runs/ablations\n```\n"


def block(name: str, here: Here) -> str:
    """A table's command, and its rows: settings, the paper's numbers, and ours."""
    table = paper_table(name)
    places = [(data, split) for of, data, split in here if of == name]
    hours, small = any(row.hours for row in table.rows), any(row.small is not None for row in table.rows)
    costs = any(row.gflops for row in table.rows)
    printed = [split for split in table.splits if any(split in row.published for row in table.rows)]
    head = ["row", "settings", *["settings of small recipes"] * small, *(f"paper, {s}" for s in printed)]
    head += ["paper, h"] * hours + ["paper, GFLOPs"] * costs + [f"here, {data} {split}" for data, split in places]
    lines = [head, ["---"] * len(head)]
    for row in table.rows:
        cells = [row.label, f"({row.reason})" if row.reason else _code(settings_text(row.set))]
        if row.baseline:
            cells[1] = f"baseline `{row.baseline}` of {cells[1]}"
        cells += [_code(settings_text(row.changes(True)))] * small
        cells += [f"{row.published[s]:.1f}" if s in row.published else "" for s in printed]
        cells += [f"{row.hours:g}" if row.hours else ""] * hours + [f"{row.gflops:g}" if row.gflops else ""] * costs
        cells += [shown(here[name, data, split].get(row.label)) for data, split in places]
        lines.append(cells)
    common = f"\nAll rows: {_code(settings_text(table.set))}.\n" if table.set else ""
    told = [(f"{data} {split}", one["common"]) for data, split in places for one in here[name, data, split].values()]
    below = "".join(f"*Here, {place}.* {text}\n\n" for place, text in dict.fromkeys(told) if text)
    table_text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return f"\n{command(name, table)}{common}\n{table_text}\n{below}"


def _code(settings: str) -> str:
    return f"`{settings}`" if settings else "the recipe's"


def written(text: str, here: Here) -> str:
    """The page with its tables as they should be."""
    return BLOCK.sub(lambda found: f"{found[1]}{block(found[2], here)}{found[3]}", text)


if __name__ == "__main__":
    for given in sys.argv[1:]:
        keep(Path(given))
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), measured()), encoding="utf-8")

"""Draws docs/figures/mosaic-scaling.png, and writes the table of docs/mosaic-scaling.md, from what was measured.

python docs/scaling.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import fmean

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
PAGE, FIGURE = HERE / "mosaic-scaling.md", HERE / "figures" / "mosaic-scaling.png"
MEASURED = HERE.parent / "benchmarks" / "results" / "mosaic-scaling.json"
BLOCK = re.compile(r"(<!-- scaling, written by docs/scaling.py -->\n).*?(<!-- end -->)", re.DOTALL)
LABELS = {"1": "1 label a class", "2": "2", "5": "5", "all": "all", "1-NN": "1-NN"}
COLOURS = dict(zip(LABELS, ("#0a7ea4", "#3aa0a0", "#7a9a3a", "#d9772b", "#8a5fa8"), strict=True))
SETS = {"UTD-MHAD": ("f57", "f13"), "NW-UCLA": ("f21", "f12")}


def mean(point: dict, label: str, splits: tuple[str, ...]) -> float:
    return fmean(point["folds"][split][label] for split in splits)


def table(points: dict[str, dict]) -> str:
    lines = [["clips", "acts", "layouts", "steps", *SETS], ["---"] * (4 + len(SETS))]
    for p in points.values():
        about = [f"{p['clips']:,}", p["acts"], str(len(p["layouts"])), f"{p['steps']:,}"]
        cells = [
            ", ".join(f"{mean(p, n, splits):.1f}" for n in LABELS if n != "1-NN") + f" / {mean(p, '1-NN', splits):.1f}"
            for splits in SETS.values()
        ]
        lines.append([*about, *cells])
    return "\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines) + "\n"


def draw(points: dict[str, dict]) -> None:
    usual = points["clips 16384"]
    same = lambda p, axis: all(p[n] == usual[n] for n in ("clips", "steps", "acts", "layouts") if n != axis)
    axes = {"clips": "clips, at 1,536 steps", "steps": "steps, on 16,384 clips"}
    figure, grid = plt.subplots(len(SETS), len(axes), figsize=(9, 7), dpi=100, sharey="row")
    for row, (name, splits) in zip(grid, SETS.items(), strict=True):
        for ax, (axis, title) in zip(row, axes.items(), strict=True):
            shown = sorted((p for p in points.values() if same(p, axis)), key=lambda p: p[axis])
            for label, said in LABELS.items():
                x, y = [p[axis] for p in shown], [mean(p, label, splits) for p in shown]
                ax.plot(x, y, marker="o", ms=4, color=COLOURS[label], ls="--" if label == "1-NN" else "-", label=said)
            ax.set_xscale("log", base=2)
            ax.set_xticks([p[axis] for p in shown], [f"{p[axis]:,}" for p in shown])
            ax.minorticks_off()
            ax.set_title(f"{name}: {title}", fontsize=10)
            ax.grid(alpha=0.3)
        row[0].set_ylabel("accuracy, %")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="lower center", ncols=len(LABELS), frameon=False)
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    figure.savefig(FIGURE, facecolor="white")


def written(text: str, points: dict[str, dict]) -> str:
    return BLOCK.sub(lambda found: found[1] + table(points) + found[2], text)


if __name__ == "__main__":
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))["points"]
    draw(measured)
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), measured), encoding="utf-8")

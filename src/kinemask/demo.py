"""The main job on an embedded default: recordings, store, HA-CM, evaluation, report, and what was found in words."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kinemask.runs.result import Results

RECIPE = "hacm-demo"
SPLIT = "xsub-xview"  # tested on people not trained on, from a camera not trained on
FEW = (1, 2, 5)  # labels a class


def run_demo(out: str | Path = "kinemask-demo") -> Path:
    """Make recordings, prepare them, pre-train HA-CM, evaluate it, write a report: minutes on two CPU cores.

    Returns the report's path. What is there already is not made again.

    Args:
        out: folder for everything it makes
    """
    out = Path(out)
    start = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - start:4.0f} s] {text}", flush=True)

    recordings, store, run = out / "recordings", out / "store", out / RECIPE
    if not store.exists():
        _make_store(recordings, store, say)

    import torch  # not before the processes that read are gone

    from kinemask.api import evaluate, pretrain, report
    from kinemask.runs.text import table

    threads = f"{torch.get_num_threads()} threads"
    say(f"pre-training {RECIPE} on half of the people and two of the cameras, without labels ({threads})")
    pretrain(RECIPE, store, SPLIT, run)
    say("evaluating on the other people, from the third camera: probe, with baselines")
    probe = evaluate("probe", run, store, SPLIT, per_class=list(FEW))
    say("evaluating there: knn, with baselines")
    knn = evaluate("knn", run, store, SPLIT)
    say("writing the report")
    page = report([run])
    say("done\n")
    print("\n\n".join((table(probe), table(knn), verdict(probe))))
    print(f"\nreport: {page}")
    return page


def verdict(results: Results) -> str:
    """In plain words, how the encoder does beside the strongest baseline, with every label and with few."""
    from kinemask.runs.text import baseline_title, measured, strongest

    def points(curves: list[tuple[float, ...]]) -> list[float]:
        return [fmean(values) for values in zip(*curves, strict=True)]

    first, name = results[0], strongest(results)
    assert name is not None
    accuracies = measured(results, "accuracy")
    own, best = fmean(m.value for m in accuracies), fmean(r.baselines[name].accuracy for r in results)
    title = baseline_title(name)
    bounds = [m.interval for m in accuracies if m.interval]
    low, high = (fmean(side) for side in zip(*bounds, strict=True)) if bounds else (own, own)
    if low <= best <= high:
        found = f"level: its 95 % interval, {low:.1f} to {high:.1f}, holds the baseline."
    elif own > best:
        found = f"ahead by {own - best:.1f} points: pre-training has helped."
    else:
        found = f"behind by {best - own:.1f} points: here, seconds of the baseline beat minutes of pre-training."
    lines = [
        f"What was found, on people and from a camera not seen in training ({first.test_clips} clips, every label):",
        f"  HA-CM {own:.1f} %; strongest baseline {best:.1f} % ({title}). HA-CM is {found}",
    ]
    for kind, curve in first.curves.items():
        ours = points([r.curves[kind].accuracy for r in results])
        theirs = {b: points([r.baselines[b].curves[kind].accuracy for r in results]) for b in first.baselines}
        for i, level in enumerate(curve.levels):
            ahead = max(theirs, key=lambda b: theirs[b][i])
            told = f"{curve.title} {level:g}: HA-CM {ours[i]:.1f} %"
            lines.append(f"  {told}, strongest baseline {theirs[ahead][i]:.1f} % ({baseline_title(ahead)})")
    return "\n".join(lines)


def _make_store(recordings: Path, store: Path, say: Callable[[str], None]) -> None:
    from kinemask.preparation.prepare import prepare
    from kinemask.synthetic.recordings import CLASSES, write_recordings

    say(f"making recordings of {len(CLASSES)} actions as .skeleton files")
    partial = recordings.with_name(f".{recordings.name}.partial")
    if not recordings.exists():
        files = write_recordings(partial)
        partial.rename(recordings)
        size = sum(f.stat().st_size for f in recordings.iterdir()) / 1e6
        say(f"{len(files):,} files, {size:.0f} MB")
    say("preparing the store")
    print(prepare("synthetic", recordings, store))

"""The main job on an embedded default: recordings, store, HA-CM, evaluation, report."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

RECIPE = "hacm-demo"
SPLIT = "xview"  # trained on two cameras, tested on the third
VIEWS = 4  # of each training clip, for the linear protocol; half its default, to be quick


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

    say(f"pre-training {RECIPE} on {SPLIT}'s training cameras, without labels ({torch.get_num_threads()} threads)")
    pretrain(RECIPE, store, SPLIT, run)
    say("evaluating: linear, with baselines")
    linear = evaluate("linear", run, store, SPLIT, views=VIEWS)
    say("evaluating: knn, with baselines")
    knn = evaluate("knn", run, store, SPLIT)
    say("writing the report")
    page = report([run])
    say("done\n")
    print("\n\n".join(map(table, (linear, knn))))
    print(f"\nreport: {page}")
    return page


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

"""The main job on an embedded default: recordings, store, HA-CM, evaluation, report."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

RECIPE = "hacm-demo"
SPLIT = "xview"  # trained on two cameras, tested on the third
VIEWS = 4  # of each training clip, for the linear protocol; half its default, to be quick


def run_demo(out: Path) -> Path:
    """Make synthetic recordings, prepare them, pre-train HA-CM, evaluate it and write a report; returns its path.

    Everything goes into the folder `out`; what is there already is not made again.
    """
    start = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - start:4.0f} s] {text}", flush=True)

    recordings, store, run = out / "recordings", out / "store", out / RECIPE
    if not store.exists():
        _make_store(recordings, store, say)

    import torch  # not before the processes that read are gone

    from kinemask.api import evaluate, pretrain
    from kinemask.reports import report
    from kinemask.runs.results import table

    say(f"pre-training {RECIPE} on {SPLIT}'s training cameras, without labels ({torch.get_num_threads()} threads)")
    pretrain(RECIPE, store, SPLIT, run)
    say("evaluating: linear, with controls")
    results = evaluate("linear", run, store, SPLIT, views=VIEWS)
    say("evaluating: knn, with controls")
    results += evaluate("knn", run, store, SPLIT)
    say("writing the report")
    page = report([run])
    say("done\n")
    print("\n\n".join(table([result]) for result in results))
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

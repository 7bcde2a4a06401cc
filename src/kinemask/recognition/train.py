"""From a store, or a folder of recordings with labels, to a recogniser and a report."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinemask.errors import shorten
from kinemask.preparation.detection import detect
from kinemask.preparation.prepare import prepare
from kinemask.recognition.choice import FILE, KERNELS, asked
from kinemask.recognition.labels import find_labelled
from kinemask.skeleton import Layout
from kinemask.store.opening import Store, open_store
from kinemask.training.settings import Device
from kinemask.version import __version__

REPORT = "report.html"
_READING = ("min_score", "axes", "unit", "up", "bodies", "per_person")
_USUAL = {"min_score": 0.0, "axes": "", "unit": None, "up": None, "bodies": None, "per_person": False}


@dataclass(frozen=True, eq=False)
class Trained:
    """What `train` made.

    recogniser: fitted on every labelled clip (of the split's training part). assessment: of clips held out; None where
    none could be. path: of the file, report: of the page. said: sentences on what is not as it might be.
    """

    recogniser: Any
    assessment: Any
    path: Path
    report: Path
    said: tuple[str, ...]
    seconds: float

    def __str__(self) -> str:
        from kinemask.recognition.text import summary

        return summary(self)


def train(
    data: str | Path,
    out: str | Path,
    *,
    format: str | None = None,
    layout: str | Path | Layout | None = None,
    split: str | None = None,
    encoder: str | Path | None = None,
    pretrain: bool = False,
    finetune: bool = False,
    features: str | Sequence[str] = "auto",
    align: str = "auto",
    mirrored: str | bool = "auto",
    twins: str | bool = "auto",
    spread: str | bool = "auto",
    readout: Any = None,
    kernels: int = KERNELS,
    seed: int = 0,
    device: Device = "auto",
    store: str | Path | None = None,
    overwrite: bool = False,
    quiet: bool = False,
    **reading: Any,
) -> Trained:
    """Find out what `data` is, read it, choose, fit, assess, write; `api.train` describes the parameters."""
    start, out = time.monotonic(), Path(out)
    say: Callable[[str], None] = (lambda text: None) if quiet else (lambda text: print(text, flush=True))
    _check_out(out, overwrite)
    if pretrain and encoder is not None:
        raise ValueError(f"--pretrain makes an encoder, and {encoder} is one; leave one of them out")
    if finetune and encoder is None and not pretrain:
        raise ValueError("--finetune is of an encoder: give one by --encoder, or make one by --pretrain")
    settled = asked(features, align, mirrored, kernels, pretrain or encoder is not None, twins, spread)
    if encoder is not None:
        from kinemask.models.encoders import find

        find(Path(encoder), "encoder")
    with _opened(Path(data), format, layout, store, reading, say) as (opened, read):
        labelled = find_labelled(opened, split, settled.spread is not False, pretrain)
        for line in labelled.said:
            say(line)
        from kinemask.recognition.bank import check_fits
        from kinemask.recognition.learning import learn
        from kinemask.recognition.recogniser import Recogniser

        check_fits(len(labelled.train) + len(labelled.unlabelled), _device(device))
        if pretrain:
            from kinemask.recognition.pretraining import pretrain_beside

            encoder = pretrain_beside(out, opened, split, seed, device, say, quiet)
        tuning = None
        if finetune:
            from kinemask.recognition.tuning import Tuning

            assert encoder is not None
            tuning = Tuning(encoder=Path(encoder), out=out, seed=seed, device=device, say=say, quiet=quiet)
        made = Recogniser(
            features=features,
            align=align,  # type: ignore[arg-type]
            mirrored=mirrored,  # type: ignore[arg-type]
            twins=twins,  # type: ignore[arg-type]
            spread=spread,  # type: ignore[arg-type]
            encoder=encoder,
            readout=readout,
            kernels=kernels,
            seed=seed,
            device=device,
        )
        about = f"{len(labelled.train):,} clips of {len(labelled.classes)} classes ({_device(device)})"
        say(f"training on {about}, for {out}")
        assessment = learn(made, labelled, tuning)
        made.record_ = {
            "kinemask": __version__,
            "data": opened.name,
            "clips": len(labelled.train),
            "unlabelled": len(labelled.unlabelled) if made.choice_.spread else 0,
            "split": split,
            "reading": read,
            "assessment": None if assessment is None else assessment.to_dict(),
        }
        out.mkdir(parents=True, exist_ok=True)
        path, seconds = made.save(out), time.monotonic() - start
        trained = Trained(made, assessment, path, out / REPORT, labelled.said, seconds)
        from kinemask.recognition.page import page_of
        from kinemask.reports.recogniser import write_report

        write_report(trained.report, page_of(trained, labelled))
    return trained


def _device(device: str) -> str:
    from kinemask.training.distributed import choose_device

    return choose_device(device)


def _check_out(out: Path, overwrite: bool) -> None:
    if out.is_file():
        raise ValueError(f"{out} is a file; a recogniser is written into a folder")
    if (out / FILE).is_file() and not overwrite:
        raise ValueError(f"{out} holds a recogniser already; --overwrite replaces it, or give another --out")


def is_store(path: Path) -> bool:
    """Whether a folder says that it is a store."""
    return (path / "meta.json").is_file() and (path / "clips.csv").is_file()


@contextmanager
def _opened(
    data: Path,
    format: str | None,
    layout: str | Path | Layout | None,
    store: str | Path | None,
    reading: dict[str, Any],
    say: Callable[[str], None],
) -> Iterator[tuple[Store, dict[str, Any]]]:
    """The store, or one made of recordings for as long as the context lasts (or at `store`); and how they were read."""
    given = {name: value for name, value in reading.items() if value != _USUAL[name]}
    if is_store(data):
        settled = {"format": format, "layout": layout, "store": store, **given}
        useless = [f"--{name.replace('_', '-')}" for name, value in settled.items() if value is not None]
        if useless:
            raise ValueError(f"{data} is a store already, so {', '.join(useless)} would have no effect")
        opened = open_store(data)
        say(f"{data}: a store of {len(opened):,} clips, layout {opened.layout.name}")
        yield opened, {}
        return
    found = detect(data, format=format, layout=layout, **reading)
    say(f"{data} is read as {found}")
    if not found.labelled:
        raise ValueError(
            f"the recordings in {data} have no labels: a column label in {data / 'clips.csv'}, or a folder for each"
            " class, gives them"
        )
    say(f"labels are those of {found.labelled}")
    source = found.source
    by_folder = found.labelled == "its folders"
    with tempfile.TemporaryDirectory(prefix="kinemask-") as folder:
        place = Path(folder) / (data.resolve().name or "recordings") if store is None else Path(store)
        summary = prepare(
            source.reader.name, data, place, layout=source.layout, by_folder=by_folder, progress=False, **reading
        )
        say(str(summary))
        for line in _rejected(place) if store is None else []:
            say(line)
        used = {"format": source.reader.name, **given}
        yield open_store(place), {name: str(value) if name == "format" else value for name, value in used.items()}


def _rejected(store: Path, most: int = 5) -> list[str]:
    """What was left out, as rejected.csv has it, while it is there."""
    import csv

    with (store / "rejected.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    bad = [row for row in rows if row and row[0] in ("file", "clip")]
    lines = [f"  rejected: {shorten(': '.join(row[1:]), 200)}" for row in bad[:most]]
    return [*lines, *([f"  and {len(bad) - most:,} more; --store PATH keeps them all"] if len(bad) > most else [])]

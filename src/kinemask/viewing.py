"""Clips of a store, or of recordings in any format, as a page with moving skeletons or as a film."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from kinemask.checks import among
from kinemask.files import write_atomically
from kinemask.player.pages import render
from kinemask.player.scene import RATE, Moving, fps_of, show
from kinemask.preparation.detection import detect
from kinemask.preparation.reading import Source, name_item
from kinemask.readers.base import Item
from kinemask.skeleton import Layout
from kinemask.store.format import Clip
from kinemask.store.opening import open_store

FEW = 4  # clips that are shown where none is named
KINDS = (".html", ".gif", ".mp4")


def view(
    source: str | Path,
    clips: Sequence[str] = (),
    save: str | Path | None = None,
    *,
    format: str | None = None,
    fps: float | None = None,
    options: Mapping[str, Any] | None = None,
) -> Path:
    """Write clips of a store, a file or a folder as a page or a film; returns its path.

    clips: their names; by default the first few of recordings, of a store one of each of a few classes. save: .html,
    .gif or .mp4, by default NAME-view.html here. format: of recordings, where looking does not tell. fps: frames a
    second, instead of what the clips say. options: further ones of `detect`. Raises ValueError for clips that are not
    there, for recordings that cannot be read, and where a film cannot be made.
    """
    source = Path(source)
    if fps is not None and not 0 < fps < float("inf"):
        raise ValueError(f"fps must be a positive number, not {fps}")
    if save is not None and Path(save).suffix.lower() not in KINDS:
        raise ValueError(f"{save}: what is saved ends in {', '.join(KINDS)}")
    if (source / "meta.json").is_file():
        named = [name for name, value in {"format": format, **(options or {})}.items() if value]
        if named:
            raise ValueError(f"{source} is a store, so {named[0]} has no effect")
        layout, found = of_store(source, clips)
        read = f"a store, {layout.name}"
    else:
        detected = detect(source, format=format, **(options or {}))
        layout, found = of_recordings(detected.source, clips)
        read = f"read as {detected}"
    if fps is not None:
        found = [replace(clip, fps=fps) for clip in found]
    name = found[0].name if len(found) == 1 else source.resolve().stem
    out = Path(re.sub(r"[^\w.#-]+", "-", name) + "-view.html" if save is None else save)
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix.lower() != ".html":
        from kinemask.player.film import film

        film(found, layout, out)
        return out
    page = render("view.html", title=name, read=read, rate=f"{RATE:g}", shown=show(found, layout))
    write_atomically(out, lambda path: path.write_text(page, encoding="utf-8"))
    return out


def of_store(path: Path, names: Sequence[str]) -> tuple[Layout, list[Moving]]:
    """Clips of a store by their names, or one of each of a few classes; ValueError for a name that it does not have."""
    store = open_store(path)
    unknown = [name for name in names if name not in store]
    if unknown:
        raise ValueError(f"store {path} has no clip {unknown[0]!r}{among(unknown[0], store.names)}")
    return store.layout, [store[name].moving for name in names] or [store[i].moving for i in store.examples(FEW)]


def of_recordings(source: Source, names: Sequence[str]) -> tuple[Layout, list[Moving]]:
    """Clips of recordings by their names, or the first few that can be read.

    Raises ValueError for a name that is not there, and where nothing can be read, with the reader's reason.
    """
    scan = source.scan
    within = [item for item in scan.items if any(_may_hold(item, name) for name in names)]
    reasons: list[str] = []
    read = (
        _moving(clip, scan.classes)
        for clip in replace(source, scan=replace(scan, items=within or scan.items)).clips(
            failed=lambda item, failure: reasons.append(name_item(item, failure))
        )
    )
    if not names:
        found = list(islice(read, FEW))
    else:
        by_name = {clip.name: clip for clip in read if clip.name in names}
        if unknown := [name for name in names if name not in by_name]:
            why = f"; {reasons[0]}" if within and reasons else among(unknown[0], [item.name for item in scan.items])
            raise ValueError(f"{source.path} has no clip {unknown[0]!r}{why}")
        found = [by_name[name] for name in names]
    if not found:
        raise ValueError(reasons[0] if reasons else f"{source.path} holds no clip")
    return source.layout, found


def _may_hold(item: Item, name: str) -> bool:
    return name == item.name or name.startswith((f"{item.name}/", f"{item.name}#"))


def _moving(clip: Clip, classes: Sequence[str]) -> Moving:
    label = classes[clip.label] if clip.label is not None else ""
    return Moving(clip.name, clip.data, label, fps_of(clip.fields))

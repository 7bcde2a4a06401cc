"""Recordings: made into a store, looked through and shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from kinemask.preparation.prepare import Summary
    from kinemask.skeleton import Layout
    from kinemask.store.opening import Store


def prepare(
    dataset: str,
    src: str | Path,
    store: str | Path,
    *,
    layout: str | Path | Layout | None = None,
    exclude: str | Path | None = None,
    strict: bool = False,
    workers: int | None = None,
    dtype: Literal["float32", "float16"] = "float32",
    overwrite: bool = False,
    split_rule: str | Sequence[str] = (),
    min_score: float = 0.0,
    axes: str = "",
    unit: Literal["m", "cm", "mm", "in", "ft"] | None = None,
    up: Literal["x", "y", "z", "-x", "-y", "-z"] | None = None,
    bodies: int | None = None,
    per_person: bool = False,
    by_folder: bool = False,
    name: str | None = None,
    progress: bool = True,
) -> Summary:
    """Convert a data set or your recordings into a store.

    Returns a summary with counts and warnings. Raises ValueError for bad arguments and, if strict, for a bad file;
    OSError where the store cannot be written. Then, as after Ctrl-C, nothing half-written remains and a store that was
    there is untouched.

    Args:
        dataset: which data set SRC holds, or the format of its files (kinemask datasets)
        src: the folder (or file) in the original layout; a file may take 2 GB of memory, or KINEMASK_FILE_GB
        store: the folder to write
        layout: the skeleton, where the data set leaves a choice: a name (kinemask layouts) or a YAML file
        exclude: text file of clips to leave out, one name per line
        strict: stop at the first bad file; otherwise bad files go to rejected.csv
        workers: processes that read (default: one per core)
        dtype: of the stored coordinates
        overwrite: replace the store if it exists
        split_rule: a further split, NAME:COLUMN=a,b: clips whose COLUMN is a or b are for testing; one or several
        min_score: treat joints at or below this confidence as missing
        axes: what the axes of your arrays are: T frames, M people, V joints, C coordinates, such as TMVC
        unit: of your 3D coordinates (default: m; a column unit in clips.csv goes first)
        up: the axis of your recordings that points up (default: y in 3D, -y in images)
        bodies: keep this many people of a clip, those most seen
        per_person: make a clip of each person, NAME#1, NAME#2, ...; clips.csv may label them by these names
        by_folder: label clips by the folder of SRC that they are in, one for each class
        name: the data set's name in results (default: DATASET's; for a file format, STORE's)
        progress: show progress
    """
    from kinemask.preparation.prepare import prepare as run

    return run(
        dataset,
        src,
        store,
        layout=layout,
        exclude=exclude,
        strict=strict,
        workers=workers,
        dtype=dtype,
        overwrite=overwrite,
        split_rules=[split_rule] if isinstance(split_rule, str) else split_rule,
        min_score=min_score,
        axes=axes,
        unit=unit,
        up=up,
        bodies=bodies,
        per_person=per_person,
        by_folder=by_folder,
        name=name,
        progress=progress,
    )


def info(store: str | Path | Store) -> dict[str, Any]:
    """What a store holds, and what looks wrong: classes, people, lengths, missing joints, units, motion, duplicates.

    A dict that JSON can carry; its `doubts` are sentences. Also checks that the store's arrays are as written.

    Args:
        store: the store
    """
    from kinemask.preparation.info import info as run

    return run(store)


def view(
    source: str | Path,
    *,
    clip: str | Sequence[str] = (),
    save: str | Path | None = None,
    open: bool = False,
    format: str | None = None,
    layout: str | Path | Layout | None = None,
    axes: str = "",
    unit: Literal["m", "cm", "mm", "in", "ft"] | None = None,
    up: Literal["x", "y", "z", "-x", "-y", "-z"] | None = None,
    fps: float | None = None,
) -> Path:
    """Show clips of a store or of recordings as moving skeletons, side by side.

    Writes a page that needs nothing else, or a film, and returns its path. Raises ValueError for clips that are not
    there, for recordings that cannot be read, and where a film cannot be made, saying what is lacking.

    Args:
        source: a store, or a file or folder of recordings
        clip: names of clips, one or several (default: four, of a store's labelled clips of four classes)
        save: the file to write: .html, .gif or .mp4 (default: NAME-view.html in this folder)
        open: show it in the browser
        format: of recordings: a name that kinemask datasets lists, where looking at them does not tell
        layout: of recordings: the skeleton, where the format leaves a choice: a name, or a YAML file
        axes: of recordings: what the axes of your arrays are: T frames, M people, V joints, C coordinates
        unit: of recordings: of 3D coordinates (default: m)
        up: of recordings: the axis that points up (default: y in 3D, -y in images)
        fps: frames a second (default: what the clips say, or else 30)
    """
    from kinemask.viewing import view as run

    options = {"layout": layout, "axes": axes, "unit": unit, "up": up}
    given = {name: value for name, value in options.items() if value}
    out = run(source, [clip] if isinstance(clip, str) else clip, save, format=format, fps=fps, options=given)
    if open:
        import webbrowser

        if not webbrowser.open(out.resolve().as_uri()):
            raise ValueError(f"{out} is written, but no browser could be started here")
    return out

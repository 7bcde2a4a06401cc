"""Recordings of one's own: `clips.csv`, which lists them, and what becomes of each.

`clips.csv` has a column `clip` (a file or folder below its own) and any of `label`, `subject`, `image_height`
and more, as spreadsheets write it. A column `split` (train, test, val or empty) is the split `default`, `split:NAME`
is NAME.

3D coordinates are metres, y up. 2D coordinates are those of an image, y down; `image_height`, in the same
units, scales them, otherwise the clip's torso does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from kinemask.readers.base import Item, Scan
from kinemask.readers.cleaning import clean_2d, clean_3d
from kinemask.readers.sheets import is_unnamed, read_sheet
from kinemask.skeleton import Layout
from kinemask.store.format import SPLIT, Clip

LIST = "clips.csv"
UNITS = "metres in 3D; in 2D half image heights, or torso lengths where the image's height is unknown"
_LONGEST = 1000  # letters of a clip's path
TINY = 2.0  # no image has so few pixels
_TAKEN = ("name", "label", "frames", "bodies", "offset", "scale")  # a store's own columns
_KNOWN = ("clip", "label", "subject", "camera", "setup", "split", "image_height", "image_width")
OTHER_NAMES = {
    "clip": ("file", "filename", "file_name", "path", "filepath", "file_path", "name", "recording", "video", "sample"),
    "label": ("class", "class_name", "action", "activity", "labels"),
}
_PARTS = {"": "", "train": "train", "training": "train", "test": "test", "testing": "test"}
_PARTS |= dict.fromkeys(("val", "valid", "validation", "dev"), "val")
_OTHER_READERS = {  # what to do with a file of a kind that this reader does not read
    ".json": "for JSON of pose estimators, see the readers coco17, openpose, mediapipe and kinetics-skeleton",
    ".jsonl": "for JSON lines of MediaPipe, see the reader mediapipe",
    ".bvh": "for BVH files, see the reader bvh",
    ".pkl": "for pickles, see the reader pyskl",
    ".skeleton": "for .skeleton files, see the reader ntu60",
    ".mat": "save it as .npy or .csv",
}


@dataclass(frozen=True)
class Part:
    """That an item is a part of its file's content. whole: the name of a clip that were all of it.

    video: one of several recordings, "" where the file is one. person: one of the people, "" for all of them.
    """

    whole: str
    video: str = ""
    person: str = ""


def read_list(listing: Path, locate: Callable[[Path], list[Path]], what: str) -> Scan:
    """What `clips.csv` lists, in its order; classes are the distinct labels, sorted.

    locate: the files (or folders) that a path of the list, without or with its suffix, may mean; `what` they
    are. FILE/VIDEO names one of the recordings of a file, FILE#2 somebody in it, by the source's number for them,
    else by how often they are seen; the item's content is then a `Part`. Raises ValueError with file and line: no
    column `clip`, a file that is absent or named twice, a split's value that is no part of one, two clips of one name.
    """
    sheet = read_sheet(listing)
    rows = list(sheet.rows())
    kept, notes = _name_columns(listing, sheet.columns, [row for _, row in rows])
    items: list[Item] = []
    labels: list[str] = []
    names: dict[str, int] = {}
    for line, row in rows:
        where = f"{listing}, line {line}"
        fields = {column: row[at] for at, column in kept.items()}
        clip = fields.pop("clip")
        if not clip:
            raise ValueError(f"{where}: the clip is not named")
        if len(clip) > _LONGEST:
            raise ValueError(f"{where}: the clip's name has {len(clip):,} letters; a path has at most {_LONGEST:,}")
        try:
            path, video, person = _find_part(clip, listing.parent, locate, what, where)
        except OSError as error:  # a name that no file system takes
            raise ValueError(f"{where}: clip {clip[:60]}: {error.strerror}") from None
        whole = clip_name(path, listing.parent)
        part = Part(whole, video, person) if video or person else None
        name = "".join((whole, f"/{video}" if video else "", f"#{person}" if person else ""))
        if name in names:
            raise ValueError(f"{where}: clip {name} stands in line {names[name]} already")
        names[name] = line
        labels.append(fields.pop("label", ""))
        items.append(Item(path, name, None, _rename_splits(fields, where), part))
    if not items:
        raise ValueError(f"{listing} lists no clip")
    labels = _whole_numbers(labels)
    classes = _sort_labels({label for label in labels if label})
    index = {label: i for i, label in enumerate(classes)}
    sides = part_sides([item.fields for item in items])
    items = [
        replace(item, label=index.get(label), fields=fields)
        for item, label, fields in zip(items, labels, sides, strict=True)
    ]
    splits = {key.removeprefix(SPLIT) for key in items[0].fields if key.startswith(SPLIT)}
    return Scan(items, classes, splits=frozenset(splits), unlisted=(*sheet.notes, *notes))


def list_clips(src: Path, find: Callable[[Path], list[Path]], locate: Callable[[Path], list[Path]], what: str) -> Scan:
    """The clips of `clips.csv` (`read_list`) or, where there is none, all that `find` finds, unlabelled."""
    listing = src if src.name == LIST else src / LIST
    if listing.is_file():
        return read_list(listing, locate, what)
    return Scan([Item(path, clip_name(path, src)) for path in find(src)], ())


def existing(path: Path, suffixes: Sequence[str], folders: bool = False) -> list[Path]:
    """What a path of the list may mean: the file itself, if it has one of the suffixes (in either case), or the files
    with any of them added; with `folders`, a folder too."""
    listed = path.suffix.lower() in suffixes
    wanted = [path] if listed else [path.with_name(path.name + end) for s in suffixes for end in (s, s.upper())]
    return [path] * (folders and path.is_dir()) + [path for path in wanted if path.is_file()]


def clip_name(path: Path, folder: Path) -> str:
    """Name of a clip: its path below the folder, without suffix; its own name where it lies elsewhere."""
    below = path.relative_to(folder) if path != folder and path.is_relative_to(folder) else Path(path.name)
    return (below if path.is_dir() else below.with_suffix("")).as_posix()


def _name_columns(
    listing: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[dict[int, str], list[str]]:
    """The name of each column by its place, as readers know it, and notes on what was taken for what.

    Columns without a name go where they only count the rows, or are empty. Known names are found in any case, and
    `clip` and `label` under their usual other names.
    """
    kept = {}
    for at, column in enumerate(columns):
        if is_unnamed(column) and _is_index([row[at] for row in rows]):
            continue
        prefix, split, rest = column.partition(":")
        lower = "_".join(column.casefold().split())
        is_split = split and prefix.casefold() == "split"
        kept[at] = f"split:{rest}" if is_split else lower if lower in _KNOWN else column
    notes = []
    for wanted, others in OTHER_NAMES.items():
        places = [at for at, column in kept.items() if column.casefold().replace(" ", "_") in others]
        if wanted not in kept.values() and len(places) == 1:
            notes.append(f"{listing}: its column {kept[places[0]]} is taken for {wanted}")
            kept[places[0]] = wanted
    _check_columns(listing, list(kept.values()))
    return kept, notes


def _is_index(values: Sequence[str]) -> bool:
    """Whether they count up by one, or are all empty."""
    if not any(values):
        return True
    numbers = [int(float(value)) for value in values if re.fullmatch(r"\d{1,12}(\.0+)?", value)]
    return len(numbers) == len(values) and all(b == a + 1 for a, b in pairwise(numbers))


def _find_part(
    clip: str, folder: Path, locate: Callable[[Path], list[Path]], what: str, where: str
) -> tuple[Path, str, str]:
    """The file that the list means, and which recording and person of it, "" for all."""
    whole, mark, person = clip.rpartition("#") if "#" in clip else (clip, "", "")
    cuts = [(whole, "", person)] if mark else []
    if "\\" not in clip and not whole.startswith("/"):
        parts = whole.split("/")
        cuts += [("/".join(parts[:at]), "/".join(parts[at:]), person) for at in range(len(parts) - 1, 0, -1)]
    for file, video, who in () if locate(folder / clip) else cuts:
        if len(locate(folder / file)) == 1 and not (video and (folder / file).is_dir()):
            return _find_clip(file, folder, locate, what, where), video, who
    return _find_clip(clip, folder, locate, what, where), "", ""


def _find_clip(clip: str, folder: Path, locate: Callable[[Path], list[Path]], what: str, where: str) -> Path:
    """The one file or folder that the list means; ValueError that says what is there instead.

    A path of another computer, or of Windows, means the file whose path below the folder ends like it.
    """
    parts = [part for part in re.split(r"[/\\]", clip) if part not in ("", ".")]
    is_absolute = clip.startswith(("/", "\\")) or re.match(r"[A-Za-z]:[/\\]", clip) is not None
    candidates = [folder / clip]
    if "\\" in clip:
        candidates.append(folder.joinpath(*parts))
    if is_absolute:
        candidates += [folder.joinpath(*parts[at:]) for at in range(1, len(parts))]
    for path in candidates:
        if not (is_absolute and path == Path(clip)) and not path.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"{where}: clip {clip} lies outside {folder}; give its whole path if it is meant")
        if len(found := locate(path)) == 1:
            return found[0]
        if found:
            raise ValueError(f"{where}: clip {clip} should be one {what}; there is {' and '.join(map(str, found))}")
    there = next((path for path in candidates if path.exists()), None)
    if there is None:
        raise ValueError(f"{where}: clip {clip} should be one {what}; there is no such file")
    kind = "a folder" if there.is_dir() else f"a file {there.suffix}" if there.suffix else "a file without suffix"
    hint = f"; {_OTHER_READERS[there.suffix.lower()]}" if there.suffix.lower() in _OTHER_READERS else ""
    raise ValueError(f"{where}: clip {clip} is there, but is {kind}, not a {what}{hint}")


def make_clip(item: Item, data: np.ndarray, score: np.ndarray | None, layout: Layout, height: float | None) -> Clip:
    """A clip in the store's convention out of joints (M, T, V, C), missing ones NaN (`mark_missing`).

    score: (M, T, V) or None. height: of the image, in 2D (None: unknown, the torso scales).
    """
    if score is not None:
        score = score[~np.isnan(data).all((1, 2, 3))]  # as the cleaning drops bodies
    if layout.dims == 2 and (size := _share_size(data, item.fields, height)) is not None:
        data = data * size
    if layout.dims == 3:
        data, notes = clean_3d(data, layout)
        return Clip(item.name, data, item.label, dict(item.fields), notes, score)
    data, unit, notes = clean_2d(data, layout, height)
    return Clip(item.name, data, item.label, {**item.fields, "scale": f"{unit:g}"}, notes, score)


def _share_size(data: np.ndarray, fields: Mapping[str, str], height: float | None) -> np.ndarray | None:
    """What to multiply 2D data by that are shares of an image's width and height; None where they are not.

    An image's height of no more than TINY is in the data's own units, whatever these are. Raises ValueError where the
    image's size is not known: without it, nobody could tell how long a horizontal bone is.
    """
    seen = data[~np.isnan(data)]
    is_share = seen.size > 0 and np.abs(seen).max() <= TINY and np.percentile(np.abs(seen), 98) <= 1
    if not is_share or np.ptp(seen) == 0 or (height is not None and height <= TINY):
        return None
    width = positive(fields, "image_width")
    if width is None or height is None:
        raise ValueError(
            f"the coordinates lie between {seen.min():.2g} and {seen.max():.2g}, so that they seem to be shares of the"
            " image's width and height: add the columns image_width and image_height to clips.csv (an image_height of"
            " 1 alone, if x and y have one unit)"
        )
    centred = np.percentile(seen, 2) < -0.1  # from -1 to 1, as OpenPose's --keypoint_scale 4
    return np.array([width, height]) / (2 if centred else 1)


def positive(fields: Mapping[str, str], name: str) -> float | None:
    """The field of an item that should be a positive number; None where it is empty or absent."""
    text = fields.get(name, "")
    try:
        value = float(text) if text else None
    except ValueError:
        value = 0.0
    if value is not None and not 0 < value < np.inf:
        raise ValueError(f"{name} should be a positive number, found {text!r}")
    return value


def _sort_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """Labels in order: of their values if all are whole numbers, else of the alphabet."""
    labels = sorted(labels)
    return tuple(sorted(labels, key=int) if all(label.isdecimal() for label in labels) else labels)


def _check_columns(listing: Path, columns: list[str]) -> None:
    if "clip" not in columns:
        raise ValueError(f"{listing}, line 1: expected a column clip, found {', '.join(columns) or 'nothing'}")
    for column in columns:
        if columns.count(column) > 1 or is_unnamed(column):
            raise ValueError(f"{listing}, line 1: expected a name for each column, all different; found {columns}")
        if column in _TAKEN and column != "label":
            raise ValueError(f"{listing}, line 1: a store has a column {column} of its own; rename yours")
    if "split" in columns and "split:default" in columns:
        raise ValueError(f"{listing}, line 1: columns split and split:default are the same split")


def _rename_splits(fields: dict[str, str], where: str) -> dict[str, str]:
    """Fields with `split` renamed to `split:default`, their values checked: train, test, val or empty."""
    fields = {"split:default" if key == "split" else key: value for key, value in fields.items()}
    for key, value in fields.items():
        if key.startswith(SPLIT):
            if value.casefold() not in _PARTS:
                raise ValueError(f"{where}: {key} should be train, test or empty (or val), found {value!r}")
            fields[key] = _PARTS[value.casefold()]
    return fields


def part_sides(clips: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """The fields of clips with train and test only: `val` is the test part where there is none; where there is one,
    it is that of the split NAME-val, whose training part is NAME's."""
    splits = [key for key in (clips[0] if clips else {}) if key.startswith(SPLIT)]
    for key in splits:
        parts = {fields[key] for fields in clips}
        if "val" not in parts:
            continue
        if "test" not in parts:
            clips = [fields | {key: "test" if fields[key] == "val" else fields[key]} for fields in clips]
            continue
        held_out = {"train": "train", "val": "test"}
        clips = [
            fields | {key: fields[key].replace("val", ""), f"{key}-val": held_out.get(fields[key], "")}
            for fields in clips
        ]
    return list(clips)


def _whole_numbers(labels: list[str]) -> list[str]:
    """Labels as they are, or without their decimals where all are whole numbers that a spreadsheet made floats."""
    if all(re.fullmatch(r"(\d+\.0+)?", label) for label in labels):
        return [label.partition(".")[0] for label in labels]
    return labels

"""Labels from folders: recordings that lie in a folder for each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kinemask.readers import Item, Scan


def label_by_folder(scan: Scan, src: Path) -> Scan:
    """The same clips, labelled by the folder of `src` that they are in, one for each class.

    Raises ValueError where they have labels already, or lie in fewer than two folders.
    """
    if any(item.label is not None for item in scan.items) or scan.classes:
        raise ValueError(f"the clips of {src} have labels; folders do not label them too")
    folders = class_folders(scan.items, src)
    if len(set(folders) - {""}) < 2:
        there = ", ".join(sorted(set(folders) - {""})) or "none"
        raise ValueError(f"{src} has no folder for each of two or more classes; folders with clips: {there}")
    classes = tuple(sorted(set(folders) - {""}))
    index = {name: i for i, name in enumerate(classes)}
    items = [replace(item, label=index.get(folder)) for item, folder in zip(scan.items, folders, strict=True)]
    return replace(scan, items=items, classes=classes)


def class_folders(items: Sequence[Item], src: Path) -> list[str]:
    """The folder of `src` that each item is in, "" for one that is not in any; a clip may itself be a folder."""
    below = [item.path.relative_to(src).parts if item.path.is_relative_to(src) else () for item in items]
    return [parts[0] if len(parts) > 1 else "" for parts in below]

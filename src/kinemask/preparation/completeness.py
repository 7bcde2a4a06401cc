"""What a copy of a data set lacks, against the counts of a complete one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from kinemask.readers import Complete


def what_lacks(
    expected: Complete, files: Sequence[Path], clips: int, splits: Mapping[str, tuple[int, int]]
) -> list[str]:
    """Sentences on every count that differs from that of a complete copy; none where all agree.

    files, clips, splits: what was found, stored, and its (training, test) clips by split.
    """
    lines = []
    if len(files) != expected.files:
        gaps = expected.gaps(files)
        lines.append(_differ(len(files), expected.files, "files") + (f"; {gaps}" if gaps else ""))
    if clips != expected.clips:
        lines.append(_differ(clips, expected.clips, "clips"))
    for name, counts in expected.splits.items():
        if name not in splits:
            lines.append(f"no split {name}: the files that define it are not in this copy")
        elif splits[name] != counts:
            found, whole = ("/".join(f"{n:,}" for n in pair) for pair in (splits[name], counts))
            lines.append(f"split {name}: {found} clips for training/test; a complete copy has {whole}")
    return lines


def _differ(found: int, whole: int, what: str) -> str:
    amount = f"{whole - found:,} missing" if found < whole else f"{found - whole:,} too many"
    return f"{found:,} {what}; a complete copy has {whole:,} ({amount})"

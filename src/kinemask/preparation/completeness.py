"""What a copy of a data set lacks, against the counts of a complete one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_NTU_NAME = re.compile(r"S(\d{3})C\d{3}P(\d{3})R\d{3}A\d{3}$")


def what_lacks(
    expected: Mapping[str, Any], files: Sequence[Path], clips: int, splits: Mapping[str, tuple[int, int]]
) -> list[str]:
    """Sentences on every count that differs from that of a complete copy; none where all agree.

    expected: `files`, `clips`, `splits` {name: (train, test)}; for NTU also `setups` and
    `files_per_setup_and_subject`. files, clips, splits: what was found, stored, and its (train, test) counts.
    """
    lines = []
    if "files" in expected and len(files) != expected["files"]:
        lines.append(f"{_differ(len(files), expected['files'], 'files')}{_setups(expected, files)}")
    if "clips" in expected and clips != expected["clips"]:
        lines.append(_differ(clips, expected["clips"], "clips"))
    for name, counts in expected.get("splits", {}).items():
        if name not in splits:
            lines.append(f"no split {name}: the files that define it are not in this copy")
        elif tuple(splits[name]) != tuple(counts):
            found, whole = ("/".join(f"{n:,}" for n in pair) for pair in (splits[name], counts))
            lines.append(f"split {name}: {found} clips for training/test; a complete copy has {whole}")
    return lines


def _differ(found: int, whole: int, what: str) -> str:
    amount = f"{whole - found:,} missing" if found < whole else f"{found - whole:,} too many"
    return f"{found:,} {what}; a complete copy has {whole:,} ({amount})"


def _setups(expected: Mapping[str, Any], files: Sequence[Path]) -> str:
    """Which NTU setups lack files: absent altogether, or with too few files for one of their subjects."""
    if "setups" not in expected:
        return ""
    matches = (_NTU_NAME.match(path.stem) for path in files)
    found = Counter((int(match[1]), int(match[2])) for match in matches if match)
    present = {setup for setup, _ in found}
    absent = [setup for setup in expected["setups"] if setup not in present]
    whole = expected["files_per_setup_and_subject"]
    partial = sorted({setup for (setup, _), count in found.items() if count < whole})
    parts = [f"no file of setups {_ranges(absent)}"] * bool(absent)
    parts += [f"too few files of setups {_ranges(partial)}"] * bool(partial)
    return "".join(f"; {part}" for part in parts)


def _ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers as text, runs of three and more as first-last: 1, 4-7."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    texts = [f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    return ", ".join(texts)

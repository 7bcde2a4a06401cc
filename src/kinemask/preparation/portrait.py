"""What `info` finds, as text for a terminal, and a skeleton drawn in it."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np

from kinemask.store.opening import Store

WIDTH, HEIGHT = 32, 16  # characters, of 2 × 4 dots each
_DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])  # of Unicode's Braille patterns
_APART = ("splits", "class_counts", "subject_counts", "missing_by_joint", "duplicates", "doubts")
_LINE = 110


def describe(about: dict[str, Any]) -> str:
    """The facts of `info` in lines."""
    lines = []
    for name, value in about.items():
        if name in _APART:
            continue
        if isinstance(value, dict):
            value = ", ".join(f"{key} {_number(one)}" for key, one in value.items())
        lines.append(f"{name.replace('_', ' '):18} {_number(value)}")
    missing = {joint: share for joint, share in about["missing_by_joint"].items() if share > 0}
    worst = sorted(missing, key=lambda joint: -missing[joint])
    lines += _listed("clips of class", [f"{name} {count:,}" for name, count in about["class_counts"].items() if count])
    lines += _listed("clips of subject", [f"{name} {count:,}" for name, count in about["subject_counts"].items()])
    lines += _listed("missing joints", [f"{joint} {missing[joint]:.0%}" for joint in worst])
    within = about["duplicates"]["within"]
    for name, split in about["splits"].items():
        copies = split["test_duplicates_of_train"]
        leak = f"  ({copies} test clips are exact copies of training clips)" if copies else ""
        for part, count in within[name].items():
            leak += f"  ({count} copies within {part})" if count else ""
        lines.append(f"split {name:12} train {split['train']:>7,}  test {split['test']:>7,}{leak}")
    lines += [f"doubt: {doubt}" for doubt in about["doubts"]]
    return "\n".join(lines)


def _listed(name: str, values: list[str]) -> list[str]:
    text = ", ".join(values) or "none"
    return textwrap.wrap(text, _LINE, initial_indent=f"{name:18} ", subsequent_indent=" " * 19)


def _number(value: Any) -> Any:
    return f"{value:.4g}" if isinstance(value, float) else "unknown" if value is None else value


def portrait(store: Store) -> str:
    """A skeleton of the first clip in which all joints are seen, or most, from the front, and a line on which it is."""
    best: tuple[int, int, int] | None = None
    most = 0
    for i in range(min(len(store), 20)):
        seen = (~np.isnan(store.clip(i)[0, ..., 0])).sum(1)
        t = len(seen) // 2 if seen[len(seen) // 2] == seen.max() else int(seen.argmax())
        if seen[t] > most:
            best, most = (i, 0, t), int(seen[t])
    if best is None:
        return ""
    i, m, t = best
    picture = draw(np.asarray(store.clip(i)[m, t, :, :2], np.float64), store.layout.edges)
    return f"{picture}\n{store.names[i]}, frame {t + 1} of {store.lengths[i]}"


def draw(joints: np.ndarray, edges: tuple[tuple[int, int], ...]) -> str:
    """Joints (V, 2), y up, and their bones in dots; missing ones (NaN) are left out."""
    size = np.array([2 * WIDTH - 1, 4 * HEIGHT - 1])
    low, high = np.nanmin(joints, axis=0), np.nanmax(joints, axis=0)
    scale = min(size / np.maximum(high - low, 1e-9))
    places = (joints - (low + high) / 2) * scale * (1, -1) + size / 2
    seen = np.flatnonzero(~np.isnan(places).any(1)).tolist()
    bones = [(a, b) for a, b in edges if a in seen and b in seen] + [(v, v) for v in seen]
    dots = np.zeros((4 * HEIGHT, 2 * WIDTH), bool)
    for a, b in bones:
        steps = np.linspace(places[a], places[b], 4 * HEIGHT)
        x, y = np.clip(np.round(steps), 0, size).astype(int).T
        dots[y, x] = True
    cells = (dots.reshape(HEIGHT, 4, WIDTH, 2) * _DOTS[None, :, None]).sum((1, 3))
    lines = ["".join(chr(0x2800 + cell) if cell else " " for cell in row).rstrip() for row in cells.tolist()]
    return "\n".join(lines).strip("\n")

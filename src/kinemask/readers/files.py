"""Finding and opening files: the part that all readers share, with errors that name the file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from kinemask.budget import check_memory, check_numbers, read_bytes
from kinemask.readers.cleaning import Rejected
from kinemask.readers.mat_file import parse_mat

_JSON = {b",": 32, b":": 56, b"[": 88, b"{": 96}  # bytes in memory of what each mark tells: an item, a key, a container


def find_files(src: Path, pattern: str | tuple[str, ...], what: str) -> list[Path]:
    """Files below `src` (or `src` itself) whose name matches the glob `pattern` (one of them), sorted; hidden
    ones left out.

    Raises ValueError where there are none, saying `what` was looked for.
    """
    src = Path(src)
    if not src.exists():
        raise ValueError(f"{src} does not exist")
    patterns = (pattern,) if isinstance(pattern, str) else pattern
    if src.is_file() and any(src.match(pattern) or src.match(pattern.upper()) for pattern in patterns):
        found = [src]
    else:
        found = sorted(path for pattern in patterns for path in src.rglob(pattern))
        found = found or sorted(path for pattern in patterns for path in src.rglob(pattern.upper()))
    found = [path for path in found if path.is_file() and not path.name.startswith(".")]
    if not found:
        raise ValueError(f"{src} holds no {what}, at any depth")
    return found


def unique_names(paths: list[Path]) -> list[Path]:
    """`paths` as they are; ValueError where two files have one name."""
    seen: dict[str, Path] = {}
    for path in paths:
        if (other := seen.setdefault(path.name, path)) is not path:
            raise ValueError(f"two files are called {path.name}: {other} and {path}")
    return paths


def match_name(path: Path, pattern: re.Pattern[str], shape: str) -> re.Match[str]:
    """Match of the whole file name; ValueError that shows the `shape` it should have."""
    match = pattern.fullmatch(path.name)
    if match is None:
        raise ValueError(f"{path}: the file's name should read {shape}")
    return match


def read_text(path: Path) -> str:
    """A UTF-8 text file, with or without a byte order mark; ValueError for anything else."""
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a UTF-8 text file ({error.reason} at byte {error.start})") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(f"{path}, line {line}: a NUL character; not a text file")
    return text


def parse_json(path: Path) -> Any:
    """The value of a JSON file; ValueError with the place where it is none."""
    raw = read_bytes(path)
    _check_values(path, raw)
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:  # bad UTF-8 and bad JSON are ValueErrors
        raise ValueError(f"{path}: not a JSON file ({error})") from None


def _check_values(path: Path, raw: bytes) -> None:
    """ValueError where the values of a JSON text would take more memory than a file may."""
    check_memory(path, sum(raw.count(mark) * size for mark, size in _JSON.items()))


def parse_json_lines(path: Path) -> Any:
    """The value of a JSON file, or the list of those of its lines."""
    try:
        return parse_json(path)
    except ValueError:
        lines = [line for line in read_bytes(path).splitlines() if line.strip()]
        if len(lines) < 2:
            raise
        try:
            return [json.loads(line) for line in lines]
        except (ValueError, RecursionError):
            pass
        raise


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file whose outermost value is an object; ValueError with the place otherwise."""
    content = parse_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a JSON object, found a {type(content).__name__}")
    return content


def read_mat(path: Path, keys: tuple[str, ...]) -> dict[str, np.ndarray | str]:
    """The named variables of a MATLAB file (versions 4 to 7.2); ValueError naming what is wrong."""
    raw = read_bytes(path)
    if raw[124:128] in (b"\x00\x02IM", b"\x02\x00MI"):
        raise ValueError(f"{path}: a MATLAB 7.3 file; save it again with -v7")
    try:
        content = parse_mat(raw, keys) if raw[126:128] in (b"IM", b"MI") else _read_version_4(raw, keys)
    except ValueError as error:
        raise ValueError(f"{path}: not a whole MATLAB file of arrays: {error}") from None
    for key in keys:
        if key not in content:
            raise ValueError(f"{path}: no variable {key!r} in this MATLAB file")
    return {key: content[key] for key in keys}


def _read_version_4(raw: bytes, keys: tuple[str, ...]) -> dict[str, np.ndarray | str]:
    from scipy.io import loadmat  # not at import: listing the readers need not wait for it

    if 0 not in raw[:4]:  # a type number; scipy would take it for a later version
        raise ValueError("it has no header of a MATLAB file")
    try:
        content = loadmat(BytesIO(raw), variable_names=keys, chars_as_strings=True)
    except Exception as error:  # scipy raises errors of many kinds for broken files
        raise ValueError(f"{type(error).__name__}: {error}") from None
    is_text = lambda value: value.dtype.kind == "U" and value.size == 1
    return {key: str(content[key][0]) if is_text(content[key]) else content[key] for key in keys if key in content}


def as_numbers(value: Any, where: str) -> np.ndarray:
    """`value` as a float64 array, perhaps read-only; ValueError beginning with `where` if it is ragged, too large, or
    not all numbers."""
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError(f"{where}: expected an array of numbers, found lists of unequal lengths") from None
    check_numbers(where, array.size)
    return check_kind(array, where).astype(np.float64, copy=False)


def check_kind(array: np.ndarray, where: str) -> np.ndarray:
    """The array itself; ValueError beginning with `where` if it is not of numbers."""
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{where}: expected numbers, found {array.dtype}")
    return array


def brief(value: Any) -> str:
    """What a value from a file is, in few words whatever it is, for messages."""
    if isinstance(value, dict):
        return "an object of " + (", ".join(str(key)[:20] for key in list(value)[:5]) or "nothing")
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    return repr(value[:60] if isinstance(value, str) else value)[:62]


@contextmanager
def naming_file(path: Path) -> Iterator[None]:
    """Has a ValueError begin with the file's name."""
    try:
        yield
    except ValueError as error:
        raise name_file(path, error) from None


def name_file(path: Path, error: ValueError) -> ValueError:
    """The same error, Rejected or another ValueError, with the file's name before its words."""
    return (Rejected if isinstance(error, Rejected) else ValueError)(f"{path}: {error}")

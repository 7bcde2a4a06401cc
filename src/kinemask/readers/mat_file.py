"""MATLAB files of versions 5 to 7.2, as far as data sets need them: arrays of numbers and of characters.

Every count in a file is checked against the bytes that are there, so that a damaged file is an error and
nothing worse (general-purpose readers may crash the process on one). Format: MathWorks, "MAT-File Format".
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from math import prod

import numpy as np

_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXTS = {1: "ascii", 2: "ascii", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_MATRIX, _COMPRESSED = 14, 15
_CHARACTERS, _NUMERIC = 4, range(6, 16)  # classes of matrices; the others are cells, structs, objects, sparse
_LARGEST = 1 << 30  # bytes of one variable, decompressed

Variable = np.ndarray | str


def parse_mat(raw: bytes, names: tuple[str, ...]) -> dict[str, Variable]:
    """The named variables of a file's bytes, as far as it has them: number arrays, or text.

    Raises ValueError for a damaged file and for a named variable that is neither numbers nor text.
    """
    if len(raw) < 128 or raw[126:128] not in (b"IM", b"MI"):
        raise ValueError("it has no header of a MATLAB file")
    order = "<" if raw[126:128] == b"IM" else ">"
    found: dict[str, Variable] = {}
    for kind, body in _elements(raw[128:], order):
        if kind == _COMPRESSED:
            kind, body = next(_elements(_decompress(body), order), (0, b""))
        if kind == _MATRIX and body:
            parts = list(_elements(body, order))
            if len(parts) < 3:
                raise ValueError("a variable has no name or shape")
            name = parts[2][1].decode("latin-1")
            if name in names:
                found[name] = _variable(name, parts, order)
    return found


def _elements(raw: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """(type, content) of each data element, one after another."""
    at = 0
    while len(raw) - at >= 8:
        kind, size = (int(x) for x in np.frombuffer(raw, order + "u4", 2, at))
        if kind >> 16:  # a small element: type and size in one word, content in the other
            kind, size, start = kind & 0xFFFF, kind >> 16, at + 4
            at += 8
            if size > 4:
                raise ValueError("an element of 4 bytes claims more")
        else:
            start = at + 8
            at = start + (size if kind == _COMPRESSED else -(-size // 8) * 8)
        if start + size > len(raw):
            raise ValueError(f"it ends within a variable: {len(raw) - start} of {size} bytes are there")
        yield kind, raw[start : start + size]
    if any(raw[at:]):
        raise ValueError("it ends within a variable's tag")


def _decompress(body: bytes) -> bytes:
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(body, _LARGEST)
    except zlib.error as error:
        raise ValueError(f"damaged compressed data ({error})") from None
    if stream.unconsumed_tail:
        raise ValueError("a variable of more than a gigabyte")
    return content  # MATLAB leaves out the stream's end where it falls on a full buffer; lengths are checked later


def _variable(name: str, parts: list[tuple[int, bytes]], order: str) -> Variable:
    """Value of a matrix out of its parts: flags, dimensions, name, content."""
    flags, dims = (_numbers(5, part[1], order) for part in parts[:2])
    kind = int(flags[0]) & 0xFF if len(flags) else 0
    if kind != _CHARACTERS and kind not in _NUMERIC:
        raise ValueError(f"expected numbers or text in {name}, found a cell, struct, object or sparse matrix")
    shape = tuple(int(n) for n in dims)
    storage, content = parts[3] if len(parts) > 3 else (1, b"")
    if kind == _CHARACTERS:
        if storage not in _TEXTS:
            raise ValueError(f"text in {name} of unknown type {storage}")
        wide = {"<": "-le", ">": "-be"}[order] if _TEXTS[storage] in ("utf-16", "utf-32") else ""
        return content.decode(_TEXTS[storage] + wide)
    numbers = _numbers(storage, content, order)
    if min(shape, default=-1) < 0 or prod(shape) != numbers.size:
        raise ValueError(f"{name} has {numbers.size} numbers, which do not fill the shape {shape}")
    return numbers.reshape(shape, order="F")


def _numbers(storage: int, content: bytes, order: str) -> np.ndarray:
    if storage not in _NUMBERS:
        raise ValueError(f"numbers of unknown type {storage}")
    return np.frombuffer(content, order + _NUMBERS[storage])

"""MATLAB files of versions 5 to 7.2, as far as data sets need them: arrays of numbers and of characters.

Every count in a file is checked against the bytes that are there, so that a damaged file is an error and
nothing worse (general-purpose readers may crash the process on one). Format: MathWorks, "MAT-File Format".
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from math import prod

import numpy as np

from kinemask.budget import check_numbers

_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXTS = {1: "ascii", 2: "ascii", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_MATRIX, _COMPRESSED = 14, 15
_CHARACTERS, _NUMERIC = 4, range(6, 16)  # classes of matrices; the others are cells, structs, objects, sparse
_HEAD = 1 << 10  # bytes of a variable that hold its flags, shape and name; names have up to 63 letters
_MOST_AXES = 32

Variable = np.ndarray | str


def parse_mat(raw: bytes, names: tuple[str, ...]) -> dict[str, Variable]:
    """The named variables of a file's bytes, as far as it has them: number arrays, read-only, or text.

    Raises ValueError for a damaged file and for a named variable that is neither numbers nor text, or takes too much:
    its shape is looked at before anything is unpacked.
    """
    if len(raw) < 128 or raw[126:128] not in (b"IM", b"MI"):
        raise ValueError("it has no header of a MATLAB file")
    order = "<" if raw[126:128] == b"IM" else ">"
    found: dict[str, Variable] = {}
    for kind, body in _elements(memoryview(raw)[128:], order):
        if kind == _COMPRESSED:
            kind, body = _unpack(body, names, order)
        if kind == _MATRIX and len(body):
            parts = list(_elements(body, order))
            if len(parts) < 3:
                raise ValueError("a variable has no name or shape")
            name = _text(parts[2][1])
            if name in names:
                found[name] = _variable(name, parts, order)
    return found


def _elements(raw: memoryview, order: str, cut: bool = False) -> Iterator[tuple[int, memoryview]]:
    """(type, content) of each data element, one after another; cut: up to the first that is not whole."""
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
            if cut:
                return
            raise ValueError(f"it ends within a variable: {len(raw) - start} of {size} bytes are there")
        yield kind, raw[start : start + size]
    if not cut and any(raw[at:]):
        raise ValueError("it ends within a variable's tag")


def _unpack(body: memoryview, names: tuple[str, ...], order: str) -> tuple[int, memoryview]:
    """The element in a compressed one; an empty one where it is a variable of another name."""
    stream = zlib.decompressobj()
    try:
        head = stream.decompress(body, _HEAD)
        tag = np.frombuffer(head, f"{order}u4", 2 if len(head) >= 8 else 0).tolist()
        if not tag or tag[0] != _MATRIX:
            return 0, memoryview(b"")
        parts = [part for _, part in _elements(memoryview(head)[8:], order, cut=True)][:3]
        if len(parts) < 3:
            raise ValueError("a variable has no name or shape")
        if _text(parts[2]) not in names:
            return 0, memoryview(b"")
        _class(_text(parts[2]), parts[0], order)
        shape = _shape(parts[1], order)
        check_numbers(_text(parts[2]), prod(shape), len(body))
        most = len(head) + _HEAD + 16 * prod(shape)  # complex numbers have two of 8 bytes
        content = head + stream.decompress(stream.unconsumed_tail, most - len(head))
    except zlib.error as error:
        raise ValueError(f"damaged compressed data ({error})") from None
    if stream.unconsumed_tail:
        raise ValueError(f"{_text(parts[2])} is longer than its shape {shape} is")
    # MATLAB leaves out the stream's end where it falls on a full buffer; lengths are checked below
    return next(_elements(memoryview(content), order), (0, memoryview(b"")))


def _text(name: memoryview) -> str:
    return bytes(name).decode("latin-1")[:_HEAD]


def _shape(dims: memoryview, order: str) -> tuple[int, ...]:
    if len(dims) > 4 * _MOST_AXES or len(dims) % 4:
        raise ValueError("a variable has a shape of too many axes")
    shape = tuple(int(n) for n in _numbers(5, dims, order))
    if min(shape, default=-1) < 0:
        raise ValueError(f"a variable has the shape {shape}")
    return shape


def _class(name: str, flags: memoryview, order: str) -> int:
    """The class of a matrix, of numbers or characters; ValueError for any other."""
    kind = int(_numbers(5, flags, order)[0]) & 0xFF if len(flags) >= 4 else 0
    if kind != _CHARACTERS and kind not in _NUMERIC:
        raise ValueError(f"expected numbers or text in {name}, found a cell, struct, object or sparse matrix")
    return kind


def _variable(name: str, parts: list[tuple[int, memoryview]], order: str) -> Variable:
    """Value of a matrix out of its parts: flags, dimensions, name, content."""
    kind = _class(name, parts[0][1], order)
    shape = _shape(parts[1][1], order)
    storage, content = parts[3] if len(parts) > 3 else (1, memoryview(b""))
    if kind == _CHARACTERS:
        if storage not in _TEXTS:
            raise ValueError(f"text in {name} of unknown type {storage}")
        wide = {"<": "-le", ">": "-be"}[order] if _TEXTS[storage] in ("utf-16", "utf-32") else ""
        return bytes(content).decode(_TEXTS[storage] + wide)
    numbers = _numbers(storage, content, order)
    if prod(shape) != numbers.size:
        raise ValueError(f"{name} has {numbers.size} numbers, which do not fill the shape {shape}")
    return numbers.reshape(shape, order="F")


def _numbers(storage: int, content: memoryview, order: str) -> np.ndarray:
    if storage not in _NUMBERS:
        raise ValueError(f"numbers of unknown type {storage}")
    return np.frombuffer(content, order + _NUMBERS[storage])

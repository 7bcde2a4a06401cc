"""Number arrays as numpy pickles them (its versions 1 and 2), made without numpy's own unpickling.

Their content stays in the file until it is wanted, so that a pickle takes little memory whatever its size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")
_MOST_AXES = 8
_BYTE = np.dtype("u1")


class Refused(Exception):
    """What a pickle asks for and does not get; to be completed by file and byte."""


@dataclass(slots=True)
class Span:
    """Bytes that stay in the file; text: UTF-8 that stands for them, a letter for each (protocols up to 2)."""

    path: Path
    start: int
    length: int
    text: bool

    def read(self) -> bytes:
        """The bytes; ValueError for text that stands for none."""
        with self.path.open("rb") as file:
            file.seek(self.start)
            raw = file.read(self.length)
        return raw.decode("utf-8").encode("latin-1") if self.text else raw


@dataclass(slots=True)
class PickledArray:
    """A number array as a pickle describes it: dtype, shape, order of its axes, and content, mostly in the file."""

    dtype: np.dtype = _BYTE
    shape: tuple[int, ...] = (0,)
    fortran: bool = False
    content: bytes | Span = b""

    @property
    def size(self) -> int:
        """Bytes of the array."""
        return prod(self.shape) * self.dtype.itemsize

    def load(self) -> np.ndarray:
        """The array, read-only; ValueError where its content is not of its shape."""
        try:
            content = self.content.read() if isinstance(self.content, Span) else self.content
            array = np.frombuffer(content, self.dtype)
        except ValueError as error:
            raise ValueError(f"not the content of an array ({error})") from None
        if array.size != prod(self.shape):
            raise ValueError(f"{array.size} numbers for an array of shape {self.shape}")
        return array.reshape(self.shape, order="F" if self.fortran else "C")

    def build(self, state: Any) -> None:
        """Takes numpy's state of an array: version, shape, dtype, order, content."""
        match state:
            case (int(), tuple(shape), PickledDType() as kind, bool() | 0 | 1 as fortran, bytes() | Span() as content):
                self._fill(shape, kind.dtype, bool(fortran), content)
            case _:
                raise Refused("an array's state that is not one of numbers")

    def _fill(self, shape: tuple[Any, ...], dtype: np.dtype, fortran: bool, content: bytes | Span) -> None:
        if len(shape) > _MOST_AXES or not all(type(n) is int and n >= 0 for n in shape):
            raise Refused("an array's shape that is none")
        size, letters = prod(shape) * dtype.itemsize, isinstance(content, Span) and content.text
        length = content.length if isinstance(content, Span) else len(content)
        if not size <= length <= (2 * size if letters else size):
            raise Refused(f"an array of {size} bytes, of which {length} are there")
        self.dtype, self.shape, self.fortran, self.content = dtype, shape, fortran, content


class PickledDType:
    """A type of numbers as numpy pickles it: made of its letter and size, then told its byte order."""

    __slots__ = ("dtype",)

    def __init__(self, code: Any) -> None:
        try:
            self.dtype = np.dtype(code if isinstance(code, str) and len(code) == 2 else "O")
        except TypeError:
            self.dtype = np.dtype("O")
        if self.dtype.kind not in "fiub":
            shown = code[:20] if isinstance(code, str) else type(code).__name__
            raise Refused(f"an array of dtype {shown}, which is not of numbers")

    def build(self, state: Any) -> None:
        """Takes numpy's state of a dtype: version, byte order, nothing else."""
        match state:
            case (int(), "<" | ">" | "|" | "=" as order, None, None, None, *_):
                self.dtype = self.dtype.newbyteorder(order)
            case _:
                raise Refused("a dtype's state that is not one of numbers")


def _reconstruct(kind: Any, shape: Any, letter: Any) -> PickledArray:
    if kind is not NDARRAY:
        raise Refused("an array of a class of its own")
    return PickledArray()


def _from_buffer(content: Any, dtype: Any, shape: Any, order: Any) -> PickledArray:
    array = PickledArray()
    array.build((1, shape, dtype, order == "F", content))
    return array


def _scalar(kind: Any, content: Any) -> Any:
    if not isinstance(kind, PickledDType) or not isinstance(content, bytes) or len(content) != kind.dtype.itemsize:
        raise Refused("a scalar that is no number")
    return np.frombuffer(content, kind.dtype)[0].item()


def _encode(text: Any, encoding: Any) -> bytes | Span:
    """Bytes, which protocols up to 2 write as the text that they are in Latin-1."""
    if encoding != "latin1" or not (isinstance(text, str) or (isinstance(text, Span) and text.text)):
        raise Refused("an encoding of text that is not one of bytes")
    return text.encode("latin-1") if isinstance(text, str) else text


@dataclass(frozen=True, eq=False, slots=True)
class Name:
    """A class or function that a pickle may name, and what calling it does here (None: it may not be called)."""

    call: Callable[..., Any] | None


NDARRAY = Name(None)
NAMES = {
    "numpy.ndarray": NDARRAY,
    "numpy.dtype": Name(lambda code, align=False, copy=True: PickledDType(code)),
    **dict.fromkeys((f"{module}._reconstruct" for module in _MULTIARRAY), Name(_reconstruct)),
    **dict.fromkeys((f"{module}.scalar" for module in _MULTIARRAY), Name(_scalar)),
    **dict.fromkeys((f"{module}._frombuffer" for module in _NUMERIC), Name(_from_buffer)),
    "_codecs.encode": Name(_encode),
    "__builtin__.bytes": Name(lambda: b""),
}

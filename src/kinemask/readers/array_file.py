"""Number arrays in .npy and .npz files, their sizes known from their headers before anything is read."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from pathlib import Path
from tokenize import TokenError
from typing import IO, TypeVar

import numpy as np

T = TypeVar("T")

_LARGE = 1 << 28  # bytes of an array that no check of its packing is worth
_PACKED = 50  # times that what is packed may unpack to, beyond that


@dataclass(frozen=True)
class ArrayFile:
    """A number array in a file: its shape and type, as its header tells, and how to come by its content.

    member: its name in a .npz file, "" for a .npy file. start: of the content, in bytes.
    packed: bytes that it takes in a .npz file.
    """

    path: Path
    member: str
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    start: int
    packed: int

    def load(self) -> np.ndarray:
        """The whole array; ValueError where little would unpack to much."""
        size = prod(self.shape) * self.dtype.itemsize
        if self.member and size > max(_LARGE, _PACKED * self.packed):
            raise ValueError(f"{self.path}: {self.packed:,} bytes of {self.member} would unpack to {size:,}")
        (array,) = self._blocks(1, self.shape) if prod(self.shape) else (np.zeros(self.shape, self.dtype),)
        return array

    def entries(self) -> Iterator[np.ndarray]:
        """Its entries along the first axis, one in memory at a time."""
        if self.fortran and len(self.shape) > 1:
            yield from self.load()
        elif self.shape and prod(self.shape):
            yield from self._blocks(self.shape[0], self.shape[1:])

    def _blocks(self, count: int, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
        size = prod(shape) * self.dtype.itemsize
        with ExitStack() as stack:
            file: IO[bytes] = stack.enter_context(self.path.open("rb"))
            if self.member:
                file = stack.enter_context(stack.enter_context(zipfile.ZipFile(file)).open(self.member))
            file.read(self.start) if self.member else file.seek(self.start)
            for _ in range(count):
                try:
                    raw = file.read(size)
                except (zlib.error, zipfile.BadZipFile, EOFError) as error:
                    raise ValueError(f"{self.path}: not a whole .npz file ({error})") from None
                if len(raw) < size:
                    raise ValueError(f"{self.path}: not a whole {self.path.suffix} file: its content ends too soon")
                yield np.frombuffer(raw, self.dtype).reshape(shape, order="F" if self.fortran else "C")


def open_array(path: Path) -> ArrayFile:
    """The array of a .npy file; ValueError for what is none of numbers, or shorter than its header says."""
    with path.open("rb") as file:
        return _reading(path, lambda: _parse(path, "", file, os.fstat(file.fileno()).st_size, 0))


def open_arrays(path: Path) -> dict[str, ArrayFile]:
    """The arrays of a .npz file by their keys; ValueError as `open_array`'s."""

    def parse() -> dict[str, ArrayFile]:
        arrays = {}
        with zipfile.ZipFile(path) as pack:
            for entry in pack.infolist():
                if entry.filename.endswith(".npy"):
                    with pack.open(entry) as file:
                        found = _parse(path, entry.filename, file, entry.file_size, entry.compress_size)
                    arrays[entry.filename.removesuffix(".npy")] = found
        return arrays

    return _reading(path, parse)


def _parse(path: Path, member: str, file: IO[bytes], size: int, packed: int) -> ArrayFile:
    """An array's header, checked against the bytes that are there: `size` of them, `packed` where they are packed."""
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"a version of the array format, {version}, that is not known")
    shape, fortran, dtype = read(file)
    start = file.tell()
    if dtype.kind not in "fiub":
        raise ValueError(f"an array of {dtype}, not of numbers")
    length = prod(shape) * dtype.itemsize
    if length > size - start:
        raise ValueError(f"its header promises {length:,} bytes, of which {size - start:,} are there")
    return ArrayFile(path, member, shape, dtype, fortran, start, packed)


def _reading(path: Path, parse: Callable[[], T]) -> T:
    """What `parse` gives, with one kind of error for the many that broken files cause."""
    try:
        return parse()
    except (ArithmeticError, EOFError, LookupError, RuntimeError, SyntaxError, TypeError, TokenError) as error:
        cause = f"{type(error).__name__}: {error}"
    except (ValueError, zipfile.BadZipFile, zlib.error, OSError) as error:
        cause = str(error)
    raise ValueError(f"{path}: not a whole {path.suffix} file of number arrays ({cause})")

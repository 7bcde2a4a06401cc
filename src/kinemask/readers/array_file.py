"""Number arrays in .npy and .npz files, their sizes known from their headers before anything is read."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from math import prod
from pathlib import Path
from tokenize import TokenError
from typing import IO, TypeVar

import numpy as np

from kinemask.budget import bytes_on_disk, check_numbers

T = TypeVar("T")

_HEADERS = {(1, 0): 2, (2, 0): 4}  # bytes of the header's length, by the format's version
_LONGEST_HEADER = 1 << 16
_LARGEST = 1 << 60  # numbers of an array, were its empty axes not
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # NumPy uses no others, and LZMA takes what its header asks for


@dataclass(frozen=True)
class ArrayFile:
    """A number array in a file: its shape and type, as its header tells, and how to come by its content.

    member: its name in a .npz file, "" for a .npy file. start: of the content, in bytes.
    held: bytes that it takes in the file.
    """

    path: Path
    member: str
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    start: int
    held: int

    def load(self) -> np.ndarray:
        """The whole array, read-only, of a .npy file memory-mapped; ValueError where it takes too much."""
        check_numbers(self._where, prod(self.shape), self.held)
        if not prod(self.shape):
            return np.zeros(self.shape, self.dtype)
        if not self.member:
            order = "F" if self.fortran else "C"
            return np.asarray(np.memmap(self.path, self.dtype, "r", self.start, self.shape, order))
        (array,) = self._blocks(1, self.shape)
        return array

    def entries(self) -> Iterator[np.ndarray]:
        """Its entries along the first axis, one in memory at a time; ValueError where one takes too much."""
        if self.fortran and len(self.shape) > 1:
            yield from self.load()
        elif self.shape and prod(self.shape):
            check_numbers(self._where, prod(self.shape[1:]), self.held)
            yield from self._blocks(self.shape[0], self.shape[1:])

    @property
    def _where(self) -> str:
        return f"{self.path}, {self.member}" if self.member else str(self.path)

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
        size = os.fstat(file.fileno()).st_size
        return _reading(path, lambda: _parse(path, "", file, size, bytes_on_disk(path)))


def open_arrays(path: Path) -> dict[str, ArrayFile]:
    """The arrays of a .npz file by their keys; ValueError as `open_array`'s."""

    def parse() -> dict[str, ArrayFile]:
        arrays = {}
        with zipfile.ZipFile(path) as pack:
            for entry in pack.infolist():
                if entry.filename.endswith(".npy"):
                    if entry.compress_type not in _METHODS:
                        raise ValueError(f"{entry.filename[:60]} is packed by a method that NumPy does not use")
                    with pack.open(entry) as file:
                        found = _parse(path, entry.filename, file, entry.file_size, entry.compress_size)
                    arrays[entry.filename.removesuffix(".npy")] = found
        return arrays

    return _reading(path, parse)


def _parse(path: Path, member: str, file: IO[bytes], size: int, held: int) -> ArrayFile:
    """An array's header, checked against the bytes that are there: `size` of them, of which the file has `held`."""
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"a version of the array format, {version}, that is not known")
    told = file.read(_HEADERS[version])
    if (length := int.from_bytes(told, "little")) > _LONGEST_HEADER:
        raise ValueError(f"a header of {length:,} bytes")
    header = BytesIO(told + file.read(length))
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(header)
    start = file.tell()
    if dtype.kind not in "fiub":
        what = "Python objects" if dtype.hasobject else str(dtype)[:60]
        raise ValueError(f"expected numbers, found an array of {what}; save plain number arrays with numpy.save")
    start = file.tell()
    if dtype.kind not in "fiub":
        what = "Python objects" if dtype.hasobject else str(dtype)[:60]
        raise ValueError(f"expected numbers, found an array of {what}; save plain number arrays with numpy.save")
    if min(shape, default=0) < 0 or prod(n for n in shape if n) >= _LARGEST:
        raise ValueError(f"an array of the shape {str(shape)[:60]}")
    length = prod(shape) * dtype.itemsize
    if length > size - start:
        raise ValueError(f"its header promises {length:,} bytes, of which {size - start:,} are there")
    return ArrayFile(path, member, shape, dtype, fortran, start, held)


def _reading(path: Path, parse: Callable[[], T]) -> T:
    """What `parse` gives, with one kind of error for the many that broken files cause."""
    try:
        return parse()
    except (ArithmeticError, EOFError, LookupError, RuntimeError, SyntaxError, TypeError, TokenError) as error:
        cause = f"{type(error).__name__}: {error}"
    except (ValueError, zipfile.BadZipFile, zlib.error, OSError) as error:
        cause = str(error)
    raise ValueError(f"{path}: not a whole {path.suffix} file of number arrays ({cause})")

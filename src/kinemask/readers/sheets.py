"""Tables as spreadsheets write them: commas, semicolons or tabs; UTF-8, UTF-16 or Windows-1252; blank rows."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kinemask.budget import check_memory, read_bytes

_SEPARATORS = ",;\t|"
_FIELD = 64  # bytes of a field's text in memory
_MARKS = (  # the longer first: UTF-32's begins with UTF-16's
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_UNNAMED = re.compile(r"(Unnamed: ?\d+)?")  # the index that pandas writes, and reads again
_TOLD = re.compile(r"sep=([,;\t|])\r?\n")  # Excel's own first line
_DECIMAL_COMMA = re.compile(r"\s*[-+]?\d*,\d+([eE][-+]?\d+)?\s*")


@dataclass(frozen=True)
class Sheet:
    """A table's columns, in order, and where its rows are.

    separator: between fields. notes: sentences on what was taken for what.
    """

    path: Path
    columns: tuple[str, ...]
    separator: str
    text: str
    notes: tuple[str, ...] = ()

    def rows(self, empty: bool = False) -> Iterator[tuple[int, list[str]]]:
        """The rows that hold anything, each with its line, as many fields as columns; ValueError with file and line.

        empty: also those whose fields are all empty.
        """
        for line, row in self._records(empty):
            if len(row) > len(self.columns) and not any(field.strip() for field in row[len(self.columns) :]):
                row = row[: len(self.columns)]
            if len(row) != len(self.columns):
                raise ValueError(
                    f"{self.path}, line {line}: expected {len(self.columns)} fields ({', '.join(self.columns[:20])}),"
                    f" found {len(row)}"
                )
            yield line, [field.strip() for field in row]

    def _records(self, empty: bool) -> Iterator[tuple[int, list[str]]]:
        table = csv.reader(self.text.splitlines(keepends=True), delimiter=self.separator, skipinitialspace=True)
        header = True
        try:
            for row in table:
                filled = any(field.strip() for field in row)
                if not header and (filled or (empty and len(row) == len(self.columns) > 1)):
                    yield table.line_num, row
                header = header and not filled
        except csv.Error as error:
            raise ValueError(f"{self.path}, line {table.line_num}: {error}; is a quote left open?") from None


def read_sheet(path: Path) -> Sheet:
    """The table in a text file, its header the first row that holds anything; ValueError for binary files."""
    text, notes = decode(path)
    told = _TOLD.match(text)
    text = text[told.end() :] if told else text
    head = next((line for line in text.splitlines() if line.strip(_SEPARATORS + " \"'")), "")
    bare = re.sub(r'"[^"]*"', "", head)
    separator = told[1] if told else max(_SEPARATORS, key=bare.count)  # the first where none is there
    columns = next(iter(csv.reader([head], delimiter=separator, skipinitialspace=True)), [])
    check_memory(path, _FIELD * text.count(separator))
    columns = tuple(column.strip() for column in columns)
    while columns and not columns[-1]:  # empty columns at the right
        columns = columns[:-1]
    return Sheet(path, columns, separator, text, notes)


def decode(path: Path) -> tuple[str, tuple[str, ...]]:
    """A text file, and a note where its encoding had to be guessed; ValueError where it is no text."""
    raw = read_bytes(path)
    encoding = next((name for mark, name in _MARKS if raw.startswith(mark)), "")
    if not encoding and raw[:200].count(0) >= len(raw[:200]) // 3 > 0:  # UTF-16 without its mark
        encoding = "utf-16-le" if raw[1:200:2].count(0) > raw[0:200:2].count(0) else "utf-16-be"
    try:
        text, notes = raw.decode(encoding or "utf-8"), ()
    except UnicodeDecodeError as error:
        if encoding or 0 in raw:
            raise ValueError(f"{path}: not a text file ({error.reason} at byte {error.start})") from None
        text, notes = raw.decode("cp1252", "replace"), (f"{path}: not UTF-8, so it is read as Windows-1252 (Latin-1)",)
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(f"{path}, line {line}: not a text file (it holds zero bytes)")
    return text, notes


def is_unnamed(column: str) -> bool:
    """Whether a column has no name, or the one that pandas gives such."""
    return _UNNAMED.fullmatch(column) is not None


def number(text: str, where: str) -> float:
    """The number that a field holds, with a decimal point or comma, NaN for none; ValueError with the place."""
    if not text:
        return float("nan")
    try:
        return float(text)
    except ValueError:
        if _DECIMAL_COMMA.fullmatch(text):
            return float(text.replace(",", "."))
        if text.casefold() in ("none", "null", "na", "n/a"):
            return float("nan")
        raise ValueError(f"{where} should be a number, found {text[:40]!r}") from None

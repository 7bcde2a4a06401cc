"""Damages bytes as disks, transfers, spreadsheets and people with a bad intent do; each change is drawn by a seed."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable
from random import Random

NUMBERS = (
    "0",
    "-1",
    "1",
    "7",
    "255",
    "-2147483649",
    "4294967296",
    "1e9",
    "99999999999999999999",
    "-0.0",
    "1e308",
    "1e400",
)
NUMBERS += ("nan", "inf", "-inf", "NaN", "-Infinity", "Infinity", "1_0", "0x10", "1,5", "1e-320", "٣", "", "1" * 5000)
VALUES = ("null", "[]", "{}", '""', "true", '"x"', "[[]]", "[1,[2]]", '{"a":1}', "-1", "1.5", '"\\u0000"', '"\\ud800"')
WORDS = (b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\r\n", b"\n\n", b"\t", b'"', b",", b";", b"[", b"}", b"&a *a", b"../..")
WORDS += (
    "é\u202e".encode(),
    b"\xed\xa0\x80",
    b"--- !!python/name:os.system ''\n",
    b"#",
    b":",
    b"%s",
    b"{0}",
    b"/" * 300,
)
COUNTS = (
    0,
    1,
    0x7F,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    1 << 40,
    (1 << 63) - 1,
    1 << 63,
    (1 << 64) - 1,
)

_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_FIELD = re.compile(rb'[^\s,;:{}\[\]"]+')
_VALUE = re.compile(rb'-?\d[\d.eE+-]*|"[^"\\]*"|null|true|false')

Change = Callable[[Random, bytes], bytes]


def flip(draw: Random, raw: bytes) -> bytes:
    out = bytearray(raw)
    for _ in range(draw.choice((1, 1, 2, 8))):
        at = draw.randrange(min(len(out), draw.choice((64, 400, 1 << 30))))
        out[at] ^= 1 << draw.randrange(8)
    return bytes(out)


def cut(draw: Random, raw: bytes) -> bytes:
    return raw[: draw.randrange(len(raw))]


def drop(draw: Random, raw: bytes) -> bytes:
    at = draw.randrange(len(raw))
    return raw[:at] + raw[at + draw.choice((1, 2, 8, 100)) :]


def splice(draw: Random, raw: bytes) -> bytes:
    """A piece of it somewhere else, instead of what is there or beside it."""
    start, at, size = draw.randrange(len(raw)), draw.randrange(len(raw)), draw.choice((1, 4, 16, 100, 1000))
    return raw[:at] + raw[start : start + size] + raw[at + draw.choice((0, size)) :]


def insert(draw: Random, raw: bytes) -> bytes:
    at, what = draw.randrange(len(raw) + 1), draw.choice((*WORDS, draw.randbytes(draw.choice((1, 4, 60)))))
    return raw[:at] + what + raw[at:]


def replace_number(draw: Random, raw: bytes) -> bytes:
    return _replace(draw, raw, _NUMBER, draw.choice(NUMBERS).encode())


def replace_value(draw: Random, raw: bytes) -> bytes:
    return _replace(draw, raw, _VALUE, draw.choice(VALUES).encode())


def replace_count(draw: Random, raw: bytes) -> bytes:
    """A number of 1 to 8 bytes in a binary file."""
    size, order = draw.choice((1, 2, 4, 8)), draw.choice(("little", "big"))
    at = draw.randrange(min(len(raw), draw.choice((200, 1 << 30))))
    at -= at % draw.choice((1, size))
    return raw[:at] + (draw.choice(COUNTS) % (1 << 8 * size)).to_bytes(size, order) + raw[at + size :]


def swap(draw: Random, raw: bytes) -> bytes:
    """Two fields in each other's place."""
    found = list(_FIELD.finditer(raw[: 1 << 16]))
    if len(found) < 2:
        return flip(draw, raw)
    a, b = sorted(draw.sample(found, 2), key=lambda match: match.start())
    return raw[: a.start()] + b[0] + raw[a.end() : b.start()] + a[0] + raw[b.end() :]


def swap_lines(draw: Random, raw: bytes) -> bytes:
    lines = raw.splitlines(keepends=True)
    a, b = draw.randrange(len(lines)), draw.randrange(len(lines))
    lines[a], lines[b] = lines[b], lines[a]
    return b"".join(lines[: draw.choice((len(lines), len(lines) - 1))])


def repeat(draw: Random, raw: bytes) -> bytes:
    """A line or a piece, many times."""
    start = draw.randrange(len(raw))
    end = raw.find(b"\n", start) + 1 or start + draw.choice((1, 10, 100))
    return raw[:end] + raw[start:end] * draw.choice((1, 2, 50, 2000)) + raw[end:]


def nest(draw: Random, raw: bytes) -> bytes:
    """A value inside of very many lists or objects."""
    opened, closed = draw.choice(((b"[", b"]"), (b'{"a":', b"}"), (b"(", b")"), (b"- ", b"")))
    found = list(_VALUE.finditer(raw[: 1 << 16]))
    if not found:
        return opened * 2000 + raw
    match, deep = draw.choice(found), draw.choice((3, 100, 2000))
    return raw[: match.start()] + opened * deep + match[0] + closed * deep + raw[match.end() :]


def rename_key(draw: Random, raw: bytes) -> bytes:
    """Two keys of one name, or one that is not known."""
    return _replace(draw, raw, re.compile(rb'"[a-z_0-9]+"(?=\s*:)|^[a-z_]+(?=:)', re.MULTILINE), b'"x"')


def empty(draw: Random, raw: bytes) -> bytes:
    return draw.choice((b"", b"\n", b"[]", b"{}", b"null", b"0", b"\0" * 300, draw.randbytes(300)))


CHANGES: tuple[Change, ...] = (
    flip,
    cut,
    drop,
    splice,
    insert,
    replace_number,
    replace_value,
    replace_count,
    swap,
    swap_lines,
    repeat,
    nest,
    rename_key,
)


def mutate(draw: Random, raw: bytes) -> bytes:
    """One to three changes; of a zip file, half of the time, to what a part of it holds."""
    if draw.random() < 0.01:
        return empty(draw, raw)
    if raw[:2] == b"PK" and draw.random() < 0.5:
        return _mutate_part(draw, raw)
    for _ in range(draw.choice((1, 1, 2, 3))):
        if raw:
            raw = draw.choice(CHANGES)(draw, raw)
    return raw


def _mutate_part(draw: Random, raw: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(raw)) as pack:
        parts = {name: pack.read(name) for name in pack.namelist()}
    chosen = draw.choice(sorted(parts))
    parts[chosen] = mutate(draw, parts[chosen])
    methods = (zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", draw.choice(methods)) as pack:
        for name, content in parts.items():
            pack.writestr(name, content)
    return out.getvalue()


def _replace(draw: Random, raw: bytes, pattern: re.Pattern[bytes], by: bytes) -> bytes:
    found = list(pattern.finditer(raw[: 1 << 16]))
    if not found:
        return replace_count(draw, raw)
    match = draw.choice(found)
    return raw[: match.start()] + by + raw[match.end() :]


def mutate_safetensors(draw: Random, raw: bytes) -> bytes:
    """As `mutate`; three times in four, what its header says of the model, so that it is not merely unreadable."""
    if draw.random() < 0.25:
        return mutate(draw, raw)
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    about = mutate(draw, header["__metadata__"]["kinemask"].encode())
    header["__metadata__"]["kinemask"] = about.decode("utf-8", "replace")
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + raw[8 + size :]

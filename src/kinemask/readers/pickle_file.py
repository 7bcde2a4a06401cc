"""Pickles of plain values and number arrays, read without running anything that they ask for.

A pickle is a program that makes objects. It is read step by step here, and only these can come out of it: None,
bool, int, float, str, bytes, list, tuple, dict and number arrays. Any other class or function that it names is
an error. Every length is checked against the bytes that are there, and what is made against the file's size.
The steps are those of Python's `pickletools`, of all protocols, but for the texts of Python 2.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from pathlib import Path
from sys import getsizeof
from typing import Any, BinaryIO

from kinemask.budget import budget
from kinemask.readers.pickled_arrays import NAMES, Name, PickledArray, PickledDType, Refused, Span

__all__ = ["PickledArray", "read_pickle"]

_SHORT = 1 << 12  # bytes of the longest text that is read at once; longer ones are contents of arrays
_LINE = 1 << 24  # bytes of the longest line, in protocol 0


def read_pickle(path: Path) -> Any:
    """The value that a pickle holds, its arrays as `PickledArray`.

    Raises ValueError naming the file, the byte, and the class, function or length that is refused.
    """
    with path.open("rb") as file:
        return _Machine(path, file).run()


class _Machine:
    """The pickle machine: its stack, the stacks below its marks, its memo, and the bytes that it may still take."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self.file, self.size = path, file, path.stat().st_size
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: list[Any] = []
        self.budget = 3 * self.size + budget()  # the latter for clips whose keypoints lie elsewhere

    def run(self) -> Any:
        at = 0
        try:
            while True:
                at = self.file.tell()
                code = self.file.read(1)
                if code == b".":
                    return self.stack.pop()
                if code not in _STEPS:
                    raise Refused(_describe(code))
                argument, act = _STEPS[code]
                act(self) if argument is None else act(self, argument(self))
        except Refused as error:
            what = f"refused {error}"
        except (ValueError, IndexError, TypeError, AttributeError, OverflowError) as error:
            what = f"not a whole pickle ({error})"
        raise ValueError(
            f"{self.path}, byte {at}: {what}; expected only dicts, lists, text, numbers and number arrays"
        ) from None

    def read(self, length: int) -> bytes:
        """The next bytes. `pickletools` reads with this and `readline`."""
        if length > _SHORT:
            self.check(length)
        return self.file.read(length)

    def readline(self) -> bytes:
        return self.file.readline(_LINE)

    def check(self, length: int) -> None:
        left = self.size - self.file.tell()
        if length > left:
            raise Refused(f"a length of {length} bytes where {left} remain")

    def spend(self, size: int) -> None:
        self.budget -= size
        if self.budget < 0:
            raise Refused(f"what takes more than three times its size and {budget() / 1e9:g} GB in memory")

    def push(self, value: Any) -> None:
        self.spend(getsizeof(value) + 8)
        self.stack.append(value)

    def push_number(self, value: Any) -> None:
        if isinstance(value, int) and value.bit_length() > 64:
            raise Refused(f"a number of {value.bit_length()} bits")
        self.push(value)

    def push_content(self, length: int, text: bool = False) -> None:
        """Pushes text or bytes; long ones as their place in the file."""
        self.check(length)
        if length > _SHORT:
            self.push(Span(self.path, self.file.tell(), length, text))
            self.file.seek(length, 1)
        else:
            raw = self.file.read(length)
            self.push(raw.decode("utf-8") if text else raw)

    def push_text(self, length: int) -> None:
        self.push_content(length, text=True)

    def push_tuple(self, count: int) -> None:
        items = tuple(self.stack[-count:])
        if len(items) != count:
            raise Refused("a tuple of more than there is")
        del self.stack[-count:]
        self.push(items)

    def push_dict(self) -> None:
        items = self.pop_mark()
        self.push({})
        self.set_items(items)

    def mark(self) -> None:
        self.spend(64)
        self.below.append(self.stack)
        self.stack = []

    def pop_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.below.pop()
        return items

    def pop(self) -> None:
        self.stack.pop() if self.stack else self.pop_mark()

    def put(self, index: int) -> None:
        """Remembers the top of the stack. Indices count up, so that a huge one is no wish for memory."""
        if not 0 <= index <= len(self.memo) + 1:
            raise Refused(f"the memo's index {index} after {len(self.memo)} entries")
        self.memo += [None] * (index + 1 - len(self.memo))
        self.memo[index] = self.stack[-1]
        self.spend(8)

    def get(self, index: int) -> None:
        self.stack.append(self.memo[index])
        self.spend(8)

    def append(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise Refused(f"appending to a {type(self.stack[-1]).__name__}")
        self.stack[-1].extend(items)
        self.spend(8 * len(items))

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise Refused(f"setting items of a {type(target).__name__}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) not in (str, int, float, bool):
                raise Refused(f"a dict's key of type {type(key).__name__}")
            target[key] = value
            self.spend(100)

    def set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.set_items([key, value])

    def name(self, module: Any, name: Any) -> None:
        """Pushes a class or function, if it is one that number arrays need."""
        if not (isinstance(module, str) and isinstance(name, str)):  # never formatted: it may be huge, or hold itself
            raise Refused("the name of a class or function that is no text")
        known = NAMES.get(f"{module}.{name}")
        if known is None:
            raise Refused(f"{module[:80]}.{name[:80]}, which was not looked up or run")
        self.push(known)

    def name_from_stack(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.name(module, name)

    def call(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, Name) or function.call is None or not isinstance(arguments, tuple):
            raise Refused("a call of what is no function")
        self.push(function.call(*arguments))

    def build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if not isinstance(target, PickledArray | PickledDType):
            raise Refused(f"setting the state of a {type(target).__name__}")
        target.build(state)


_NUMBERS = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT")
_TEXTS = ("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8")
_BYTES = ("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8")
_ACTS: dict[str, Callable[..., object]] = {
    "PROTO": lambda machine, version: None,
    "FRAME": _Machine.check,
    "MARK": _Machine.mark,
    "POP": _Machine.pop,
    "POP_MARK": _Machine.pop_mark,
    "DUP": lambda machine: machine.push(machine.stack[-1]),
    "NONE": lambda machine: machine.push(None),
    "NEWTRUE": lambda machine: machine.push(True),
    "NEWFALSE": lambda machine: machine.push(False),
    "UNICODE": _Machine.push,
    **dict.fromkeys(_NUMBERS, _Machine.push_number),
    **dict.fromkeys(_TEXTS, _Machine.push_text),
    **dict.fromkeys(_BYTES, _Machine.push_content),
    "EMPTY_LIST": lambda machine: machine.push([]),
    "EMPTY_TUPLE": lambda machine: machine.push(()),
    "EMPTY_DICT": lambda machine: machine.push({}),
    "LIST": lambda machine: machine.push(machine.pop_mark()),
    "TUPLE": lambda machine: machine.push(tuple(machine.pop_mark())),
    "TUPLE1": lambda machine: machine.push_tuple(1),
    "TUPLE2": lambda machine: machine.push_tuple(2),
    "TUPLE3": lambda machine: machine.push_tuple(3),
    "DICT": _Machine.push_dict,
    "APPEND": lambda machine: machine.append([machine.stack.pop()]),
    "APPENDS": lambda machine: machine.append(machine.pop_mark()),
    "SETITEM": _Machine.set_item,
    "SETITEMS": lambda machine: machine.set_items(machine.pop_mark()),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.put),
    "MEMOIZE": lambda machine: machine.put(len(machine.memo)),
    "GLOBAL": lambda machine, name: machine.name(*name.split(" ", 1)),
    "STACK_GLOBAL": _Machine.name_from_stack,
    "REDUCE": _Machine.call,
    "BUILD": _Machine.build,
}
_OPCODES = {opcode.code.encode("latin-1"): opcode for opcode in pickletools.opcodes}


def _argument(opcode: pickletools.OpcodeInfo) -> Callable[[Any], Any] | None:
    """How a step's argument is read: the length of text or bytes, else what `pickletools` reads, if anything."""
    if opcode.name in (*_TEXTS, *_BYTES):
        size = 1 if opcode.name.startswith("SHORT") else 8 if opcode.name.endswith("8") else 4
        return lambda machine: int.from_bytes(machine.file.read(size), "little")
    return None if opcode.arg is None else opcode.arg.reader


_STEPS = {code: (_argument(opcode), _ACTS[opcode.name]) for code, opcode in _OPCODES.items() if opcode.name in _ACTS}


def _describe(code: bytes) -> str:
    """A step that is none of `_STEPS`."""
    if not code:
        return "an end of the file before that of the pickle"
    return f"the step {_OPCODES[code].name}, which makes other objects" if code in _OPCODES else f"the byte {code!r}"

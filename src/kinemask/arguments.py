"""The language of settings: parsers made from signatures and docstrings, for the command line, Python and recipes.

Names are dotted, `training.batch_size`; the command line writes them with dashes, `--training.batch-size 64`, and takes
underscores too. Lists are words one after the other (`--seed 0 1 2`) or `[0,1,2]`; booleans are `--X` and `--no-X`. Of
an option that is given twice the last counts, but values of a list of any length are appended.
"""

from __future__ import annotations

import builtins
import inspect
import re
import shutil
import textwrap
import types
from argparse import Action
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from jsonargparse import ArgumentParser, Namespace

from kinemask.checks import closest


class Parser(ArgumentParser):
    """What a command, a recipe or a call may name: each name with its type, default and help."""

    def __init__(self, command: str = "", about: str = ""):
        super().__init__(prog=f"kinemask {command}".strip(), exit_on_error=False, allow_abbrev=False, add_help=False)
        self.about, self.after = about, ""
        self.positional: list[str] = []
        self.known: dict[str, Action] = {}
        self.of_function: list[str] = []
        self.usual: dict[str, str] = {}  # what help says of a default that is not known yet
        self.free: Callable[[str], bool] = lambda name: False  # which further names there are; taken as written

    def add(self, function: Callable[..., Any], skip: Collection[str] = (), positional: bool = False) -> None:
        """The parameters of a function; positional: those without a default are words in their order."""
        variadic = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        parameters = inspect.signature(function).parameters.values()
        named = [p for p in parameters if p.kind not in variadic and p.name not in skip]
        if positional:
            self.positional = [p.name for p in named if p.default is inspect.Parameter.empty]
        before = set(self.known)
        self.add_function_arguments(_typed(function, named))
        self._describe(documented(function))
        self.of_function = [name for name in self.known if name not in before]

    def add_flag(self, name: str, text: str) -> None:
        """A switch that is off by default."""
        self.add_argument(f"--{name}", type=bool, default=False)
        self._describe({name: text})

    def add_section(self, settings: type, name: str = "", skip: Collection[str] = ()) -> None:
        """The fields of a class of settings, as NAME.FIELD."""
        self.add_class_arguments(settings, name or None, skip=set(skip))
        texts = documented(settings)
        for part, kind in get_type_hints(settings).items():
            if is_dataclass(kind):
                texts |= {f"{part}.{field}": text for field, text in documented(kind).items()}
        self._describe({f"{name}.{field}" if name else field: text for field, text in texts.items()})

    def _describe(self, texts: Mapping[str, str]) -> None:
        new = {a.dest: a for a in self._actions if a.dest not in self.known and hasattr(a, "_typehint")}
        new = {name: a for name, a in new.items() if not name.endswith(".help")}  # what a type of class brings along
        for name, action in new.items():
            action.help = texts.get(name, "")
        self.known |= new

    def among(self, values: Mapping[str, Any], section: str) -> dict[str, Any]:
        """Those values of a section that may be given, by their dotted names."""
        named = {f"{section}.{name}": value for name, value in values.items()}
        return {name: value for name, value in named.items() if name in self.known}

    def vague(self, section: str, usual: str) -> None:
        """Have help say in words what a section's defaults are."""
        self.usual |= {name: usual for name in self.known if name.startswith(f"{section}.")}

    def set_usual(self, values: Mapping[str, Any]) -> None:
        """Other defaults, by name, dotted or nested; before any name without a default is added.

        Raises ValueError for one that is unknown or does not fit.
        """
        self.parse(values)
        parsed = self.parse_object(self._tree(values))
        self.set_defaults({name: parsed[name] for name in self._flat(values)})

    # reading

    def read(self, words: Sequence[str]) -> dict[str, Any]:
        """What the words of a command line give, by name, values as written; --help prints and ends the program."""
        if {"-h", "--help"} & set(words):
            print(self.format_help(), end="")
            raise SystemExit(0)
        given: dict[str, Any] = {}
        said: dict[str, list[str]] = {}  # the words of each list
        rest, loose = list(words), list[str]()
        while rest:
            written, equals, value = rest.pop(0).partition("=")
            if not written.startswith("--"):
                loose.append(written + equals + value)
                continue
            name, yes = self._name(written)
            kind = self._type(name)
            if equals:
                values = [value]
            elif kind is bool:
                values = [rest.pop(0)] if rest and rest[0].lower() in ("true", "false") else ["true"]
            else:
                most = len(rest) if is_list(kind) or name not in self.known else 1
                count = next((i for i, word in enumerate(rest[:most]) if word.startswith("--")), min(most, len(rest)))
                values, rest = rest[:count], rest[count:]
                if not values:
                    what = f": {describe(kind)}" if name in self.known else ""
                    raise ValueError(f"{written} needs a value{what}")
            if not yes:
                values = ["false" if values[0].lower() == "true" else "true"]
            if is_list(kind) or name not in self.known:
                both = [*said.get(name, ()), *values]
                said[name] = both if appends(kind, both) else values
                given[name] = joined(said[name], kind)
            else:
                given[name] = values[0]
        for name in self.positional:
            if loose and is_list(self._type(name)):
                given[name], loose = loose, []
            elif loose:
                given[name] = loose.pop(0)
        if loose:
            raise ValueError(f"{loose[0]!r} is not expected here; options are given as --NAME VALUE")
        return given

    def parse(self, values: Mapping[str, Any]) -> Namespace:
        """Values by name, dotted or nested, as instances of their types, with defaults for the others.

        Raises ValueError for names that are unknown or lack, and for values of the wrong type.
        """
        flat = self._flat(values)
        required = [name for name, action in self.known.items() if action.required and flat.get(name) is None]
        try:
            if required:
                lacking = ", ".join(name.upper() if name in self.positional else option(name) for name in required)
                raise ValueError(f"{lacking}: required")
            return self._instances(self.parse_object(self._tree(values)))
        except Exception as error:  # jsonargparse wraps a section's own ValueError
            raise ValueError(self._told(error, flat)) from None

    def _instances(self, parsed: Namespace) -> Namespace:
        make = getattr(self, "instantiate", None) or self.instantiate_classes  # its name before 4.50
        return make(parsed)  # type: ignore[no-any-return]

    def _flat(self, values: Mapping[str, Any]) -> dict[str, Any]:
        flat = flatten(values)
        for name in flat:
            if name not in self.known:
                raise ValueError(f"unknown setting {name!r}{closest(name, self.known)}")
        return flat

    def _tree(self, values: Mapping[str, Any]) -> dict[str, Any]:
        tree = Namespace()
        for name, value in self._flat(values).items():
            tree[name] = list(value) if isinstance(value, tuple) else value
        return tree.as_dict()

    def _told(self, error: BaseException, values: Mapping[str, Any]) -> str:
        """A line on what is wrong: of a value, what is expected in its place."""
        found = re.match(r'Parser key "([\w.]+)"', str(error))
        if found and found[1] in self.known:
            name = found[1]
            return f"{name} must be {describe(self._type(name))}, not {values.get(name)!r}"
        return " ".join(str(error).split()) or type(error).__name__

    def _name(self, written: str) -> tuple[str, bool]:
        """The name that an option stands for, and whether the option says yes to it."""
        name = written[2:].replace("-", "_")
        if name in self.known or self.free(name):
            return name, True
        head, dot, last = name.rpartition(".")
        for plain in (name.removeprefix("no_"), head + dot + last.removeprefix("no_")):
            if plain != name and self._type(plain) is bool:
                return plain, False
        raise ValueError(f"unknown option {written}{closest(name, self.known, option)}")

    def _type(self, name: str) -> Any:
        return getattr(self.known.get(name), "_typehint", None)

    # help

    def format_help(self) -> str:  # pyright: ignore[reportIncompatibleMethodOverride] (3.14's has a formatter)
        """The text of --help: usage, what the command does, and every option with its type, help and default."""
        width = min(shutil.get_terminal_size().columns, 120)
        required = [n for n, action in self.known.items() if action.required and n not in self.positional]
        needed = [f"{option(n)} {placeholder(self._type(n))}" for n in required]
        words = [n.upper() + " ..." * is_list(self._type(n)) for n in self.positional]
        usage = " ".join([f"usage: {self.prog}", *words, *needed, "[options]"])
        lines = [*textwrap.wrap(usage, width, subsequent_indent="  "), ""]
        lines += [*textwrap.wrap(self.about, width), ""] if self.about else []
        section = None
        order = lambda item: (item[0] not in self.of_function, "." in item[0])
        for name, action in sorted(self.known.items(), key=order):
            if (here := name.rpartition(".")[0]) != section:
                lines += ([""] if section is not None else []) + ([f"{here}:"] if here else [])
                section = here
            lines += self._help_of(name, action, width)
        lines += ["", *textwrap.wrap(self.after, width)] if self.after else []
        return "\n".join(lines) + "\n"

    def _help_of(self, name: str, action: Action, width: int) -> list[str]:
        kind = self._type(name)
        shown = name.upper() if name in self.positional else f"{option(name)} {placeholder(kind)}".rstrip()
        if kind is bool:
            shown = f"--[no-]{option(name)[2:]}" if action.default is True else option(name)
        usual = self.usual.get(name) or (
            "" if kind is bool or action.default in (None, (), []) else plain(action.default)
        )
        text = f"{action.help} (default: {usual})" if usual else f"{action.help}"
        wrapped = textwrap.wrap(text, width - 30, break_long_words=False) or [""]
        first = [f"  {shown:26}  {wrapped[0]}".rstrip()] if len(shown) <= 26 else [f"  {shown}", " " * 30 + wrapped[0]]
        return [*first, *(" " * 30 + line for line in wrapped[1:])]


class _Names(dict[str, Any]):
    """The names that annotations may use; one that is imported for type checkers alone, a value's class, is a text."""

    def __missing__(self, name: str) -> Any:
        return getattr(builtins, name, str)


def _typed(function: Callable[..., Any], parameters: Sequence[inspect.Parameter]) -> Callable[..., Any]:
    """A function of these parameters, annotated by types; jsonargparse would import what they name, and PyTorch."""

    def typed() -> None: ...

    names = _Names(function.__globals__)
    known = [p.replace(annotation=eval(p.annotation, {}, names)) for p in parameters]
    typed.__signature__ = inspect.Signature(known)  # type: ignore[attr-defined]
    typed.__annotations__ = {p.name: p.annotation for p in known}
    return typed


def documented(thing: Any) -> dict[str, str]:
    """Help texts of a function's parameters or of a settings class's fields, from the `Args:` of their docstrings."""
    texts: dict[str, str] = {}
    for each in reversed(thing.__mro__) if isinstance(thing, type) else (thing,):
        name = ""
        for line in inspect.cleandoc(each.__doc__ or "").partition("Args:\n")[2].splitlines():
            if found := re.match(r" {4}(\w+): (.*)", line):
                name, texts[found[1]] = found[1], found[2]
            elif line.startswith(" " * 8):
                texts[name] += " " + line.strip()
            elif line.strip():
                break
    return texts


def summary(thing: Any) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join(inspect.cleandoc(thing.__doc__ or "").partition("\n\n")[0].split())


def option(name: str) -> str:
    """A name as the command line writes it."""
    return "--" + name.replace("_", "-")


def peek(words: Sequence[str], name: str) -> str | None:
    """The value of an option that decides which other options there are; of one given twice the last, as in `read`."""
    found = None
    for word, following in zip(words, [*words[1:], "--"], strict=True):
        if word.startswith(f"{option(name)}="):
            found = word.partition("=")[2]
        elif word == option(name) and not following.startswith("--"):
            found = following
    return found


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted names."""
    out: dict[str, Any] = {}
    for k, v in tree.items():
        out |= flatten(v, f"{prefix}{k}.") if isinstance(v, Mapping) else {prefix + k: v}
    return out


# types


def alternatives(kind: Any) -> list[Any]:
    """The types of a union, without None."""
    united = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    return [one for one in united if one is not type(None)]


def is_list(kind: Any) -> bool:
    """Whether a value of this type may be several words."""
    return any(_is_sequence(one) for one in alternatives(kind))


def _is_sequence(kind: Any) -> bool:
    origin = get_origin(kind)
    return isinstance(origin, type) and issubclass(origin, Sequence)


def appends(kind: Any, words: Sequence[str]) -> bool:
    """Whether values of an option that is given again are appended: to a list of any length, without brackets."""
    fixed = lambda one: get_origin(one) is tuple and Ellipsis not in get_args(one)
    several = any(_is_sequence(one) and not fixed(one) for one in alternatives(kind))
    return several and not any(word.startswith("[") for word in words)


def joined(words: list[str], kind: Any) -> Any:
    """The value of several words, as written: a list, unless it is one word and the type may be a single value."""
    if len(words) == 1 and (words[0].startswith("[") or not all(map(_is_sequence, alternatives(kind)))):
        return words[0]
    inner = [part for one in alternatives(kind) if _is_sequence(one) for part in alternatives(get_args(one)[0])]
    return words if str in inner else f"[{', '.join(words)}]"


_SINGLE = {int: ("N", "a whole number"), float: ("X", "a number"), bool: ("", "true or false"), str: ("TEXT", "a text")}


def placeholder(kind: Any) -> str:
    """What stands for a value of this type in help."""
    united = alternatives(kind)
    if is_list(kind):
        items = [item for item in get_args(next(filter(_is_sequence, united))) if item is not Ellipsis]
        first = placeholder(items[0])
        return " ".join([first] * len(items)) if len(items) == len(united) + 1 else f"{first} ..."
    if Path in united:
        return "PATH"
    if get_origin(united[0]) is Literal:
        return "{" + ",".join(map(str, get_args(united[0]))) + "}"
    return _SINGLE.get(united[0], ("VALUE", ""))[0]


def describe(kind: Any) -> str:
    """What a value of this type is, in words."""
    return " or ".join(dict.fromkeys(map(_describe, alternatives(kind))))


def _describe(kind: Any) -> str:
    if _is_sequence(kind):
        items = [item for item in get_args(kind) if item is not Ellipsis]
        if get_origin(items[0]) is Literal:
            return f"values out of {', '.join(map(str, get_args(items[0])))}"
        what = {int: "whole numbers", float: "numbers"}.get(items[0], "values")
        return f"{len(items)} {what}" if len(items) > 1 else f"a list of {what}"
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    return {Path: "a path"}.get(kind) or _SINGLE.get(kind, ("", "a value"))[1]


def plain(value: Any) -> str:
    """A default as the command line writes it."""
    return " ".join(map(plain, value)) if isinstance(value, list | tuple) else f"{value}"


def read_settings(settings: type, *values: Mapping[str, Any]) -> Any:
    """Settings from plain values, nested or by dotted name; of several mappings the later ones count.

    Raises ValueError for an unknown name and for a value of the wrong type.
    """
    merged = {name: value for one in values for name, value in flatten(one).items()}
    return settings(**vars(_parser_of(settings).parse(merged)))


@cache
def _parser_of(settings: type) -> Parser:
    parser = Parser()
    parser.add_section(settings)
    return parser

"""YAML and JSON from files that anybody may have written: plain values, limited in size and depth.

All layouts, recipes, settings of runs and metadata are read here. What is beyond a limit is refused before it takes
memory: such a file is damaged, or made to do harm, since a few lines of YAML may stand for billions of values.
"""

from __future__ import annotations

import json
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError

from kinemask.errors import shorten

YAML_BYTES = 1 << 18  # of a file
YAML_VALUES = 50_000  # with everything that aliases repeat; a long text counts as several
JSON_BYTES = 1 << 24
DEEPEST = 32  # lists and mappings inside each other
_TEXT = 64  # characters that count as a value


def read_yaml(path: Path | Traversable) -> Any:
    """The value of a YAML file; ValueError naming the file if it is no such file, or beyond the limits above."""
    return parse_yaml(_read(path, YAML_BYTES, "YAML"), str(path))


def parse_yaml(text: str, where: str) -> Any:
    """The value of a YAML text; ValueError beginning with `where`.

    The constructors of tags are the safe ones; a key given twice, a joint with two parents say, is an error.
    """
    if len(text) > YAML_BYTES:
        raise ValueError(f"{where}: {len(text):,} characters of YAML, at most {YAML_BYTES:,} are read")
    try:
        return yaml.load(text, Loader=_Limited)
    except Exception as error:  # besides its own errors, PyYAML lets those of int, float, datetime and others through
        kind = "" if isinstance(error, yaml.YAMLError) else f"{type(error).__name__}: "
        raise ValueError(shorten(f"{where}: not valid YAML: {kind}{' '.join(str(error).split())}")) from None


def read_json(path: Path) -> Any:
    """The value of a JSON file; ValueError naming the file if it is no such file, or beyond the limits above."""
    return parse_json(_read(path, JSON_BYTES, "JSON"), str(path))


def parse_json(text: str | bytes, where: str) -> Any:
    """The value of a JSON text; ValueError beginning with `where`."""
    if len(text) > JSON_BYTES:
        raise ValueError(f"{where}: {len(text):,} bytes of JSON, at most {JSON_BYTES:,} are read")
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(f"{where}: not valid JSON: more than {DEEPEST} values inside each other") from None
    except ValueError as error:
        raise ValueError(shorten(f"{where}: not valid JSON: {error}")) from None
    check_plain(value, f"{where}: not valid JSON")
    return value


def check_plain(value: Any, where: str) -> None:
    """ValueError beginning with `where` for JSON more than `DEEPEST` deep, or with integers that are no int64."""
    level = [value]
    for _ in range(DEEPEST + 1):
        if any(type(v) is int and not -(1 << 63) <= v < 1 << 63 for v in level):
            raise ValueError(f"{where}: a whole number of more than 64 bits")
        level = [v for v in level if isinstance(v, dict | list)]
        if not level:
            return
        level = [each for v in level for each in (v.values() if isinstance(v, dict) else v)]
    raise ValueError(f"{where}: more than {DEEPEST} values inside each other")


def _read(path: Path | Traversable, most: int, kind: str) -> str:
    if isinstance(path, Path) and (size := path.stat().st_size) > most:
        raise ValueError(f"{path}: {size:,} bytes of {kind}, at most {most:,} are read")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not valid {kind}: not a text file in UTF-8 (byte {error.start})") from None


class _Limited(yaml.SafeLoader):
    """YAML's safe loader, with limits, and without keys given twice."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._values = 0
        self._sizes: dict[yaml.Node, int] = {}  # values of each node, all repeated ones included

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        is_alias, mark, before = self.check_event(yaml.AliasEvent), self.peek_event().start_mark, self._values
        self._depth += 1
        if self._depth > DEEPEST:
            raise ComposerError(None, None, f"more than {DEEPEST} values inside each other", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        assert node is not None
        if is_alias and node not in self._sizes:
            raise ComposerError(None, None, "an alias inside of what it stands for", mark)
        self._values += self._sizes[node] if is_alias else 1
        if isinstance(node, yaml.ScalarNode) and not is_alias:
            self._values += len(node.value) // _TEXT
        if self._values > YAML_VALUES:
            words = f"more than {YAML_VALUES:,} values, with those that aliases repeat"
            raise ComposerError(None, None, words, mark)
        self._sizes.setdefault(node, self._values - before)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise ConstructorError(None, None, "a key is not a single text", key.start_mark)
            if key.value in seen:
                raise ConstructorError(None, None, f"{key.value!r} is given twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

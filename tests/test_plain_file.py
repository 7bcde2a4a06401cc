"""YAML and JSON that would take gigabytes, hours or the stack: refused by file and reason, at once."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from kinemask.plain_file import DEEPEST, JSON_BYTES, YAML_BYTES, check_plain, parse_yaml, read_json, read_yaml
from kinemask.recipes import load_recipe
from kinemask.runs.run import Run
from kinemask.skeleton import layout
from loops import environment


def bomb(first: str, between: str = "[{}]", levels: str = "abcdefghij") -> str:
    """Lines each of which repeats the one before nine times."""
    lines = [f"a: &a {between.format(', '.join([first] * 9))}"]
    lines += [f"{b}: &{b} {between.format(', '.join([f'*{a}'] * 9))}" for a, b in pairwise(levels)]
    return "\n".join([*lines, f"name: *{levels[-1]}", "joints: [a]", ""])


HOSTILE = {  # text of a YAML file -> why it is refused
    "aliases": (bomb("x"), "more than 50,000 values"),
    "aliases in a list": (f"parts: [{', '.join(re.findall('&.*', bomb('x')))}]", "more than 50,000 values"),
    "merged mappings": (bomb("{x: 1}", "{{<<: [{}]}}"), "more than 50,000 values"),
    "a long text repeated": (f"a: &a {'x' * 10**5}\nb: [{','.join(['*a'] * 10**4)}]", "more than 50,000 values"),
    "an alias in itself": ("a: &a [*a]", "an alias inside of what it stands for"),
    "a mapping in itself": ("&a {b: *a}", "an alias inside of what it stands for"),
    "an unknown alias": ("a: *b", "undefined alias"),
    "deep lists": ("[" * 10**4, "more than 32 values inside each other"),
    "deep mappings": ("{a: " * 10**4, "more than 32 values inside each other"),
    "deep blocks": ("\n".join(" " * i + "a:" for i in range(300)), "more than 32 values inside each other"),
    "deep dashes": ("- " * 10**4 + "x", "more than 32 values inside each other"),
    "large": ("x: " + "y" * YAML_BYTES, "bytes of YAML, at most"),
    "a key twice": ("a: 1\na: 2", "'a' is given twice"),
    "a list as key": ("? [a]\n: 1", "a key is not a single text"),
    "many digits": ("a: " + "1" * 10**4, "ValueError"),
    "no date": ("a: 2001-99-99", "ValueError"),
    "no number": ("a: !!int ''", "IndexError"),
    "no truth": ("a: !!bool x", "KeyError"),
    "no time": ("a: !!timestamp x", "AttributeError"),
    "beyond float": ("a: " + "1:" * 300 + "1.0", "OverflowError"),
    "an object": ("!!python/object/apply:os.system ['true']", "could not determine a constructor"),
    "a control character": ("a: \x01", "special characters are not allowed"),
}
READ = {"recipe": lambda path: load_recipe(str(path)), "layout": layout, "run": lambda path: Run(path.parent).config}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_yaml_is_refused_wherever_it_is_read(case, tmp_path):
    text, words = HOSTILE[case]
    path = tmp_path / "config.yaml"
    path.write_text(text)
    for read in READ.values():
        with pytest.raises(ValueError, match=words) as error:
            read(path)
        assert str(error.value).startswith(str(path))
        assert len(str(error.value)) <= 500


def test_values_that_stand_twice_are_read(tmp_path):
    shared = {"crop": [0.5, 1.0], "name": "x"}
    content = {"a": shared, "b": shared, "c": [shared["crop"]] * 50}
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(content))
    assert "*id001" in (tmp_path / "x.yaml").read_text()
    assert read_yaml(tmp_path / "x.yaml") == content
    assert parse_yaml("[1, 2.5, on, ~]", "here") == [1, 2.5, True, None]
    assert parse_yaml("a: &a {x: 1}\nb: {<<: *a, y: 2}", "here")["b"] == {"x": 1, "y": 2}


def test_an_alias_bomb_takes_no_memory(tmp_path):
    """In 64 MB beyond what the imports take."""
    (tmp_path / "config.yaml").write_text(bomb("x"))
    code = """
import resource, sys
from kinemask.skeleton import layout
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + 2**26
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    layout(sys.argv[1])
except ValueError as error:
    print(error)
"""
    if not Path("/proc/self/statm").exists():
        pytest.skip("no /proc to look up the memory in use")
    command = [sys.executable, "-c", code, tmp_path / "config.yaml"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True, timeout=60)
    assert "more than 50,000 values" in done.stdout


@pytest.mark.parametrize(
    "text, words",
    [
        (b"[" * 10**6, "more than 32 values inside each other"),
        (b"[" * 40 + b"]" * 40, "more than 32 values inside each other"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "more than 32 values inside each other"),
        (b"{", "line 1 column 2"),
        (b"", "Expecting value"),
        (b"1" * 10**4, "digits"),
        (b'{"a": [1, {"b": 9223372036854775808}]}', "a whole number of more than 64 bits"),
        (b"\xff", "not a text file in UTF-8"),
        (b" " * (JSON_BYTES + 1), "bytes of JSON, at most"),
    ],
)
def test_hostile_json_is_refused(text, words, tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(text)
    with pytest.raises(ValueError, match=words) as error:
        read_json(path)
    assert str(error.value).startswith(str(path))


def test_depth_counts_lists_and_mappings():
    value = 1
    for i in range(DEEPEST):
        value = [value, 2] if i % 2 else {"a": value}
    check_plain(value, "here")
    with pytest.raises(ValueError, match=r"^here: more than 32 values"):
        check_plain([value], "here")

"""Tables of poses, a line per joint or a line per frame, however their columns are called.

A line per joint: a column of the joint (a name or a number), x, y, perhaps z and a score. A line per frame: columns of
each joint's x, y, …, such as nose_x, NOSE.x, noseX, x_0, x1, kp0_x, landmark_0_visibility. Either may have columns of
the frame, or of its time, and of the person. Numbers of joints count from 0, or from 1 where there is no 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kinemask.readers.files import naming_file
from kinemask.readers.frames import NUMBERS, TIMES, as_whole, close_steps, number_frames, plain
from kinemask.readers.joint_names import listed, plain_name
from kinemask.readers.sheets import Sheet, is_unnamed, number, read_sheet
from kinemask.readers.tables import SPARSE, Poses, check_spread
from kinemask.readers.tracking import join_bodies
from kinemask.skeleton import Layout

_JOINTS = ("joint", "joint_name", "joint_id", "joint_index", "landmark", "landmark_name", "landmark_id")
_JOINTS += ("landmark_index", "landmark_idx", "landmark_number", "landmark_num", "keypoint", "keypoint_name")
_JOINTS += ("keypoint_id", "keypoint_index", "kp", "kp_id", "point", "point_id", "bodypart", "body_part", "part", "lm")
_JOINTS += ("lm_id", "id", "index", "name")  # the last only where no better one is there
_BODIES = ("body", "body_id", "person", "person_id", "person_index", "pose", "pose_id", "pose_index", "track_id")
_FRAMES = (*(name for name in NUMBERS if name != "index"), "image_id", "image", "file_name")
_SCORES = ("score", "visibility", "confidence", "vis", "conf", "likelihood", "v", "c", "presence")
_COORDINATE = {**{name: name for name in "xyz"}, **dict.fromkeys(_SCORES, "score")}
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_COUNTERS = {
    "landmark",
    "landmarks",
    "lm",
    "kp",
    "keypoint",
    "keypoints",
    "joint",
    "point",
    "pose",
    "body",
    "p",
    "j",
    "l",
}
_WORLD = "world"
_OTHERS = {"face", "hand", "hands", "lefthand", "righthand"}  # parts that MediaPipe Holistic numbers apart


@dataclass
class _Columns:
    """Where things stand in a row. long: by the part of a joint (x, y, z, score). wide: by a joint's index and part."""

    frame: int | None
    time: int | None
    body: int | None
    joint: int | None = None
    long: dict[str, int] = field(default_factory=dict)
    wide: dict[tuple[int, str], int] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def load_poses(path: Path, layout: Layout) -> Poses:
    """The poses of a table, of the joints of a layout; ValueError with file and line."""
    sheet = read_sheet(path)
    columns = _find_columns(sheet, layout)
    counted = columns.joint is None and columns.frame is None and columns.time is None  # an empty line is a frame
    lines, rows = [], []
    for line, row in sheet.rows(empty=counted):
        lines.append(line)
        rows.append(row)
    if not rows:
        raise ValueError(f"{path} has no line after its header")
    where = [f"{path}, line {line}" for line in lines]
    pick = lambda at: [row[at] for row in rows]
    bodies = (
        {name: m for m, name in enumerate(dict.fromkeys(pick(columns.body)))} if columns.body is not None else {"": 0}
    )
    body = [bodies[name] for name in pick(columns.body)] if columns.body is not None else [0] * len(rows)
    parts = ("x", "y", "z")[: layout.dims]
    if columns.joint is not None:
        joint = _joint_numbers(pick(columns.joint), layout, where)
        numbers, doubts = _number_rows(columns, rows, where, list(zip(body, joint, strict=True)))
        values = np.stack([_floats(pick(columns.long[part]), part, where) for part in parts], -1)
        scores = _floats(pick(columns.long["score"]), "score", where) if "score" in columns.long else None
    else:
        joint = None
        numbers, doubts = _number_rows(columns, rows, where, body)
        blank = np.full(len(rows), np.nan)
        part = lambda v, name: (
            _floats(pick(columns.wide[v, name]), sheet.columns[columns.wide[v, name]], where)
            if (v, name) in columns.wide
            else blank
        )
        joints = range(layout.num_joints)
        values = np.stack([np.stack([part(v, name) for name in parts], -1) for v in joints], 1)
        has_score = any(name == "score" for _, name in columns.wide)
        scores = np.stack([part(v, "score") for v in joints], 1) if has_score else None
    keys = list(zip(body, numbers.tolist(), *([joint] if joint is not None else []), strict=True))
    if len(set(keys)) < len(keys):
        seen: set[tuple[int, ...]] = set()
        at = next(at for at, key in enumerate(keys) if key in seen or seen.add(key))
        raise ValueError(f"{where[at]}: a second line for this frame, body and joint")
    first, last, given = numbers.min(), numbers.max(), len(np.unique(numbers))
    if len(bodies) * (last - first + 1) > SPARSE * given:
        raise ValueError(
            f"{path}: frames are numbered {first} to {last}, with {len(bodies)} bodies, but only {given} have"
            " lines: expected consecutive frame numbers and lasting body names"
        )
    shape = (len(bodies), int(last - first + 1), layout.num_joints)
    held = len(rows) if joint is not None else len(rows) * layout.num_joints
    with naming_file(path):
        check_spread(shape, held, layout.dims)
    data, score = np.full((*shape, layout.dims), np.nan), np.full(shape, np.nan)
    place = (np.array(body), numbers - first) + ((np.array(joint),) if joint is not None else ())
    data[place] = values
    if scores is not None:
        score[place] = scores
    groups, joined = join_bodies(np.where((data == 0).all(-1, keepdims=True), np.nan, data), list(bodies))
    data, score = (_merge(array, groups) for array in (data, score))
    people = tuple(list(bodies)[group[0]] for group in groups) if columns.body is not None else ()
    return Poses(data, None if scores is None else score, (*sheet.notes, *columns.notes, *joined), doubts, people)


def _merge(array: np.ndarray, groups: Sequence[Sequence[int]]) -> np.ndarray:
    """(M, T, …) with the bodies of each group in one, each in its own frames."""
    merged = np.stack([array[group[0]] for group in groups])
    for one, (_, *others) in zip(merged, groups, strict=True):
        for other in others:
            at = ~np.isnan(array[other]).all(tuple(range(1, array.ndim - 1)))
            one[at] = array[other][at]
    return merged


def _find_columns(sheet: Sheet, layout: Layout) -> _Columns:
    """What each column of a table is; ValueError that says what is missing."""
    known = {plain(column): at for at, column in reversed(list(enumerate(sheet.columns))) if not is_unnamed(column)}
    find = lambda names: next((known[plain(name)] for name in names if plain(name) in known), None)
    columns = _Columns(find(_FRAMES), find(TIMES), find(_BODIES))
    parts = ("x", "y", "z")[: layout.dims]
    worlds = ("{}", "{}_pixel", "{}_px", "{}_image") if layout.dims == 2 else ("world_{}", "{}_world", "{}_m", "{}")
    places = {part: find([form.format(part) for form in worlds]) for part in parts}
    columns.joint = find([name for name in _JOINTS if known.get(plain(name)) not in (columns.frame, columns.body)])
    if columns.joint is not None and all(at is not None for at in places.values()):
        columns.long = {part: at for part, at in places.items() if at is not None}
        if (at := find(_SCORES)) is not None:
            columns.long["score"] = at
    else:
        columns.joint = None
        columns.wide, columns.notes = _wide_columns(sheet, layout)
        if not columns.wide:
            absent = [] if find(_JOINTS) is not None else ["joint"]
            absent += [part for part, at in places.items() if at is None]
            raise ValueError(
                f"{sheet.path}, line 1: expected the columns frame,body,joint,{','.join(parts)}, or those of each"
                f" joint, such as {layout.joints[0]}_x; no column {', '.join(absent)}"
            )
    used = {columns.frame, columns.time, columns.body, columns.joint, *columns.long.values(), *columns.wide.values()}
    unused = [
        column
        for at, column in enumerate(sheet.columns)
        if at not in used and column and column.casefold() in ("class", "label", "action", "target")
    ]
    if unused:
        columns.notes.append(f"column {', '.join(unused)} is not read; labels are those of clips.csv")
    return columns


def _wide_columns(sheet: Sheet, layout: Layout) -> tuple[dict[tuple[int, str], int], list[str]]:
    """The column of each joint's x, y, …, in a table with a line per frame; notes on those left out."""
    names = {plain_name(joint): v for v, joint in enumerate(layout.joints)}
    named: dict[bool, dict[tuple[int, str], int]] = {False: {}, True: {}}  # by whether they are of the world
    numbered: dict[bool, dict[tuple[int, str], int]] = {False: {}, True: {}}
    for at, column in enumerate(sheet.columns):
        words = _WORD.findall(column)
        low = [word.lower() for word in words]
        if len(words) < 2:
            continue
        if low[-1] in _COORDINATE:
            part, key = _COORDINATE[low[-1]], words[:-1]
        elif low[0] in _COORDINATE:
            part, key = _COORDINATE[low[0]], words[1:]
        else:
            continue
        world = any(word.lower() == _WORLD for word in key)
        key = [word for word in key if word.lower() != _WORLD]
        while len(key) > 1 and key[0].lower() in _COUNTERS:
            key = key[1:]
        if key and key[-1].isdecimal() and len(key) == 1 and len(key[0]) <= 6:
            numbered[world].setdefault((int(key[0]), part), at)
        elif (v := names.get(plain_name("_".join(key)))) is not None:
            named[world].setdefault((v, part), at)
    wanted = layout.dims == 3
    found = named[wanted] or named[not wanted] if any(named.values()) else {}
    notes: list[str] = []
    if not found:
        counted = numbered[wanted] or numbered[not wanted]
        numbers = {v for v, part in counted if part == "x"}
        if not numbers or min(numbers) > 1:
            return {}, []
        base = min(numbers)
        if max(numbers) - base + 1 > layout.num_joints:
            more = max(numbers) - base + 1 - layout.num_joints
            notes.append(f"joints after the {layout.num_joints} of {layout.name}, {more} of them, are not read")
        found = {(v - base, part): at for (v, part), at in counted.items() if v - base < layout.num_joints}
    parts = ("x", "y", "z")[: layout.dims]
    absent = [joint for v, joint in enumerate(layout.joints) if any((v, part) not in found for part in parts)]
    if len(absent) == layout.num_joints:
        return {}, []
    if absent:
        if 2 * len(absent) > layout.num_joints:
            raise ValueError(
                f"{sheet.path}, line 1: no columns {', '.join(parts)} of {listed(absent)}, joints of {layout.name}"
            )
        notes.append(f"no columns of {listed(absent)}, so missing")
    return found, notes


def _joint_numbers(texts: Sequence[str], layout: Layout, where: Sequence[str]) -> list[int]:
    """Indices of joints, from names or numbers; these count from 1 where the last is there and 0 is not."""
    index = {joint: v for v, joint in enumerate(layout.joints)}
    spelt = {plain_name(joint): v for v, joint in enumerate(layout.joints)}
    numbers = {text: as_whole(text) for text in dict.fromkeys(texts)}
    told = {number for number in numbers.values() if number is not None}
    base = 1 if {1, layout.num_joints} <= told and 0 not in told else 0
    found: dict[str, int] = {}
    for text, value in numbers.items():
        v = index.get(text, spelt.get(plain_name(text)) if value is None else value - base)
        if v is None or not 0 <= v < layout.num_joints:
            raise ValueError(f"{where[texts.index(text)]}: layout {layout.name} has no joint {text[:60]!r}")
        found[text] = v
    return [found[text] for text in texts]


def _number_rows(
    columns: _Columns, rows: Sequence[Sequence[str]], where: Sequence[str], things: Sequence[object]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The frame of each row, and doubts: its number, or what its time tells, or how often its thing was met before."""
    if columns.frame is not None:
        texts = [row[columns.frame] for row in rows]
        told: dict[str, int] = {}
        for at, text in enumerate(texts):
            if text in told:
                continue
            value = as_whole(text)
            if value is None and (digits := re.findall(r"\d+", text)) and not re.fullmatch(r"[-+.\d]+", text):
                value = as_whole(digits[-1])  # frame_0012, 12.png
            if value is None:
                raise ValueError(f"{where[at]}: frame should be a whole number, found {text[:40]!r}")
            told[text] = value
        ordered = sorted(set(told.values()))
        positions, doubts = close_steps(ordered)
        place = dict(zip(ordered, (positions + ordered[0]).tolist(), strict=True))
        return np.array([place[told[text]] for text in texts]), doubts
    if columns.time is not None:
        texts = [row[columns.time] for row in rows]
        distinct = list(dict.fromkeys(texts))
        numbers, doubts = number_frames([{"time": text} for text in distinct])
        place = dict(zip(distinct, numbers, strict=True))
        return np.array([place[text] for text in texts]), doubts
    met: dict[object, int] = {}
    numbers = []
    for thing in things:
        met[thing] = met.get(thing, -1) + 1
        numbers.append(met[thing])
    if len(set(met.values())) > 1:
        raise ValueError(f"{where[0]}: without a column frame, each joint should have as many lines; some have more")
    return np.array(numbers), ()


def _floats(texts: Iterable[str], name: str, where: Sequence[str]) -> np.ndarray:
    """Numbers of a column, NaN where it is empty; ValueError with the line."""
    texts = list(texts)
    try:
        return np.array(texts, np.float64)
    except ValueError:
        return np.array([number(text, f"{place}: {name}") for text, place in zip(texts, where, strict=True)])

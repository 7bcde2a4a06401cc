"""Preparing: real data sets give the published counts; bad input is told and nothing half-written remains."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from helpers import DATA
from kinemask.preparation import workers as reading
from kinemask.preparation.completeness import what_lacks
from kinemask.preparation.info import info
from kinemask.preparation.prepare import prepare
from kinemask.preparation.reading import open_source, read_clips
from kinemask.progress import progress
from kinemask.readers import NAMES, Complete, Item, Reader, Rejected, Scan, SplitRule, reader, register
from kinemask.readers.ntu import absent_setups
from kinemask.skeleton import layout
from kinemask.store.format import Clip
from kinemask.store.opening import open_store
from kinemask.store.writer import StoreWriter
from loops import environment


def find(src):
    files = sorted(src.rglob("*.txt"))
    if not files:
        raise ValueError(f"{src} holds no .txt files")
    return files


def scan(src):
    return Scan.of_files(find(src), ("one", "two", "three"))


FAULTS = {
    "bug": IndexError("a fault of the reader"),
    "recursion": RecursionError("too deep"),
    "memory": MemoryError("too large"),
    "long": ValueError("y" * 10**6),
    "surrogate": ValueError("a reason with \udcff"),
}
NAMES_OF_CLIPS = {"nul": "c5\x000", "latin": "c5\udcff", "field": "c50"}


def read(item, options):
    """A clip of as many frames as the file says; words in its place stand for what can go wrong."""
    path = item.path
    word = path.read_text().strip()
    if word == "empty":
        raise Rejected(f"{path}: zero throughout")
    if word in FAULTS:
        raise FAULTS[word]
    if word == "interrupt":
        os.kill(reading_parent, signal.SIGINT)
        time.sleep(0.5)
    if word == "die":
        os._exit(1)
    if word in NAMES_OF_CLIPS:
        return Clip(NAMES_OF_CLIPS[word], np.ones((1, 2, 15, 3)), 0, {"room": "r\udce4um" if word == "field" else "a"})
    if not word.isdigit():
        raise ValueError(f"{path}: line 1: expected a number of frames, found {word!r}")
    seed = int(path.stem[1:])
    data = np.random.default_rng(seed).normal(size=(1, int(word), 15, 3))
    fields = {"subject": str(seed % 5), "room": "ab"[seed % 2]}
    notes = ("dropped body 2: a chair",) if seed == 3 else ()
    label = seed % 3 if item.label is None else item.label
    return Clip(path.stem, data, label, {**fields, **item.fields}, notes)


reading_parent = os.getpid()
RULE = SplitRule("odd train", lambda fields: "train" if int(fields["subject"]) % 2 else "test")
FAKE = Reader(
    name="fake",
    title="Made up",
    citation="Nobody",
    layout="sbu15",
    classes=("one", "two", "three"),
    splits={"xsub": RULE},
    scan=scan,
    read=read,
)


@pytest.fixture
def src(tmp_path):
    register(FAKE)
    for i in range(40):
        file = tmp_path / "raw" / f"room{i % 2}" / f"c{i:02d}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{3 + i}\n")
    return tmp_path / "raw"


def run(src, name="store", **options):
    return prepare("fake", src, src.parent / name, progress=False, **options)


def rejected(summary):
    with (summary.path / "rejected.csv").open(newline="") as file:
        header, *lines = csv.reader(file)
    assert header == ["kind", "name", "reason"]
    return lines


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def beside(src):
    return sorted(path.name for path in src.parent.iterdir() if path != src)


def test_a_data_set_becomes_a_store(src):
    summary = run(src, workers=1)
    store = open_store(summary.path, verify=True)
    assert (summary.clips, summary.files, summary.rejected, summary.notes) == (40, 40, 0, 1)
    assert store.names == [path.stem for path in find(src)]
    assert store.classes == ["one", "two", "three"]
    assert store.splits == ("xsub", "xsub-val")
    assert rejected(summary) == [["body", "c03", "dropped body 2: a chair"]]
    assert not summary.warnings
    assert str(summary).splitlines()[-1].startswith("fake: 40 clips from 40 files in")
    assert beside(src) == ["store"]
    meta = store.meta
    assert (meta["dataset"], meta["units"], meta["source"]["files"]) == ("fake", "metres", 40)
    assert str(src.parent) not in json.dumps(meta)


def test_any_number_of_workers_writes_the_same_store(src):
    (src / "bad1.txt").write_text("x")
    (src / "c99.txt").write_text("empty")
    assert reading.FEW_FILES < 40
    one, two = run(src, "one", workers=1), run(src, "two", workers=2)
    assert contents(one.path) == contents(two.path)
    assert (one.clips, one.rejected) == (two.clips, two.rejected) == (40, 2)


@pytest.mark.parametrize("workers", [1, 2])
def test_bad_files_are_listed_or_stop_a_strict_run(workers, src):
    (src / "room0" / "bad.txt").write_text("truncat")
    (src / "room1" / "c77.txt").write_text("empty")
    (src / "c02.txt").write_text("5")
    summary = run(src, workers=workers)
    assert (summary.clips, summary.files, summary.rejected) == (40, 43, 3)
    lines = [line for line in rejected(summary) if line[0] == "file"]
    assert lines == [
        ["file", "room0/bad.txt", "line 1: expected a number of frames, found 'truncat'"],
        ["file", "room0/c02.txt", "clip c02: another clip has the same name"],
        ["file", "room1/c77.txt", "zero throughout"],
    ]
    last = str(summary).splitlines()[-1]
    assert "3 files rejected, 0 excluded, 1 cleaning note (see rejected.csv)" in last
    with pytest.raises(ValueError, match=r"room0/bad\.txt: line 1: expected"):
        run(src, "strict", workers=workers, strict=True)
    (src / "room0" / "bad.txt").unlink()
    with pytest.raises(ValueError, match=r"room0/c02\.txt: clip c02: another clip"):
        run(src, "strict", workers=workers, strict=True)
    (src / "c02.txt").unlink()
    assert run(src, "strict", workers=workers, strict=True).rejected == 1
    assert beside(src) == ["store", "strict"]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("how", ["directory", "forbidden"])
def test_an_unreadable_file_is_listed_or_stops_a_strict_run(how, workers, src, monkeypatch):
    """A superuser may read everything, so the forbidden file is made up."""
    path, reason = src / "room0" / "c91.txt", {"directory": "Is a directory", "forbidden": "Permission denied"}[how]
    if how == "directory":
        path.mkdir()
    else:
        path.write_text("9")
        refuse(monkeypatch, path.name)
    summary = run(src, workers=workers)
    assert (summary.clips, summary.rejected) == (40, 1)
    assert ["file", "room0/c91.txt", reason] in rejected(summary)
    assert "; 1 file rejected, 0 excluded" in str(summary)
    with pytest.raises(ValueError, match=rf"room0/c91\.txt: {reason}"):
        run(src, "strict", workers=workers, strict=True)
    assert beside(src) == ["store"]


def refuse(monkeypatch, name):
    """From now on files of that name cannot be read."""
    read_text = Path.read_text

    def refusing(self, *args, **kwargs):
        if self.name == name:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))
        return read_text(self, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", refusing)


def test_an_unreadable_store_is_told(src, monkeypatch):
    path = run(src).path
    refuse(monkeypatch, "meta.json")
    with pytest.raises(PermissionError, match=str(path / "meta.json")):
        open_store(path)
    with pytest.raises(ValueError, match="not a store"):  # nor is it overwritten
        run(src, overwrite=True)


def test_an_exclusion_list_takes_clips_out_before_they_are_read(src):
    (src / "room0" / "c06.txt").write_text("truncated")
    (src.parent / "list").write_text("c04\n\n  c06  \r\nc05.txt\nS001\nS002\n")
    summary = run(src, exclude=src.parent / "list", strict=True)
    assert (summary.clips, summary.excluded) == (37, 3)
    assert [line[1] for line in rejected(summary) if line[0] == "excluded"] == ["c04", "c06", "c05.txt"]
    assert f"2 of the 5 names in {src.parent / 'list'} are not in this copy" in summary.warnings
    with pytest.raises(ValueError, match="exclusion list"):
        run(src, "other", exclude=src)
    (src.parent / "list").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="exclusion list"):
        run(src, "other", exclude=src.parent / "list")


def test_split_rules_add_splits(src):
    summary = run(src, split_rules=["xroom:room=b", "two: subject = 1, 3"])
    store = open_store(summary.path)
    assert store.splits == ("two", "two-val", "xroom", "xroom-val", "xsub", "xsub-val")
    train, test = store.split("xroom")
    assert set(store.fields["room"][train]) == {"a"}
    assert set(store.fields["room"][test]) == {"b"}
    assert set(store.fields["subject"][store.split("two")[1]]) == {"1", "3"}
    assert "room is b" in store.meta["splits"]["xroom"]["description"]
    with pytest.raises(ValueError, match="there is a split xsub already"):
        run(src, "other", split_rules=["xsub:room=b"])
    nobody = run(src, "other", split_rules=["none:room=z"])
    assert "split none: no clip to test" in nobody.warnings


@pytest.mark.parametrize("rule", ["xroom", "xroom:room", "xroom:=b", ":room=b", "xroom:room= , "])
def test_a_rule_that_says_nothing_is_refused(rule, src):
    with pytest.raises(ValueError, match="should read NAME:COLUMN=a,b"):
        run(src, split_rules=[rule])


def test_a_rule_may_not_be_called_all(src):
    with pytest.raises(ValueError, match="a split may not be called 'all'"):
        run(src, split_rules=["all:room=b"])
    assert beside(src) == []


def test_a_reading_process_ends_when_asked():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    try:
        signal.signal(signal.SIGTERM, lambda *_: None)
        reading._start_worker(read, None)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])


def test_a_rule_over_an_unknown_column_stops_the_run(src):
    with pytest.raises(ValueError, match="no column 'floor', only subject, room"):
        run(src, split_rules=["x:floor=1"])
    assert beside(src) == []


@pytest.mark.parametrize(
    "options, words",
    [
        ({"workers": 0}, "workers is 0"),
        ({"min_score": 0.3}, "no confidences"),
        ({"min_score": float("nan")}, "min_score must be a number"),
        ({"dtype": "int8"}, "float32 or float16"),
        ({"layout": "ntu26"}, "unknown layout 'ntu26'; did you mean ntu25"),
        ({"layout": "ntu25"}, "sbu15, not ntu25"),
        ({"exclude": "nowhere.txt"}, "exclusion list nowhere"),
    ],
)
def test_bad_arguments_are_refused_at_once(options, words, src):
    with pytest.raises(ValueError, match=words):
        run(src, **options)
    assert beside(src) == []


def test_bad_places_are_refused_at_once(src, tmp_path):
    with pytest.raises(ValueError, match=r"'ntu61'.*ntu60"):
        prepare("ntu61", src, tmp_path / "s")
    (tmp_path / "nothing").mkdir()
    for name in ("nothing", "nowhere"):
        with pytest.raises(ValueError, match=f"{name} holds no"):
            run(tmp_path / name)
    with pytest.raises(ValueError, match="exists already"):
        run(src, "raw", overwrite=False)
    with pytest.raises(ValueError, match="not a store"):
        run(src, "raw", overwrite=True)
    for file in find(src):
        file.write_text("junk")
    with pytest.raises(ValueError, match=r"no clip of .* is left to store; 40 files rejected.*c00.txt: line 1"):
        run(src)
    assert beside(src) == ["nothing"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("exists", [False, True])
def test_every_reader_refuses_a_folder_without_its_files(name, exists, tmp_path):
    if exists:
        (tmp_path / "src").mkdir()
        (tmp_path / "src" / "notes.md").write_text("none of it")
    with pytest.raises(ValueError, match="src"):
        prepare(name, tmp_path / "src", tmp_path / "store", progress=False)
    assert not (tmp_path / "store").exists()


def test_a_store_that_was_there_survives_a_failure(src):
    before = contents(run(src).path)
    (src / "c98.txt").write_text("junk")
    with pytest.raises(ValueError, match="c98"):
        run(src, overwrite=True, strict=True)
    assert contents(src.parent / "store") == before
    assert run(src, overwrite=True).rejected == 1
    assert beside(src) == ["store"]


def test_a_full_disk_is_reported_and_leaves_nothing(src, monkeypatch):
    add = StoreWriter.add

    def full(self, clip):
        if len(self) == 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        add(self, clip)

    monkeypatch.setattr(StoreWriter, "add", full)
    for workers in (1, 2):
        with pytest.raises(OSError, match=r"disk is full: store .* after 20 clips"):
            run(src, workers=workers)
    assert beside(src) == []


@pytest.mark.skipif(sys.platform != "linux", reason="the test's reader reaches worker processes by forking")
@pytest.mark.parametrize("workers", [1, 2])
def test_an_interruption_leaves_nothing(workers, src):
    (src / "c50.txt").write_text("interrupt")
    with pytest.raises(KeyboardInterrupt):
        run(src, workers=workers)
    assert beside(src) == []


ODD = {  # what a reader meets in one file -> the reason in rejected.csv
    "bug": r"cannot be read \(IndexError: a fault of the reader\)",
    "recursion": r"cannot be read \(RecursionError: .*\)",
    "memory": r"cannot be read \(MemoryError: .*\)",
    "long": r"(y+) \[\.\.\.\] y+",
    "surrogate": r"a reason with \\udcff",
    "nul": r"the text 'c5\\x000' is not UTF-8; rename it",
    "latin": r"the text 'c5\\udcff' is not UTF-8; rename it",
    "field": r"the text 'r\\udce4um' is not UTF-8; rename it",
}


@pytest.mark.parametrize("word", ODD)
def test_one_odd_file_is_rejected_by_name_whatever_it_does(word, src):
    (src / "c50.txt").write_text(word)
    summary = run(src, workers=2)
    assert summary.clips == 40
    assert summary.rejected + summary.rejected_clips == 1
    ((kind, name, reason),) = (line for line in rejected(summary) if line[0] in ("file", "clip"))
    assert name in {"file": ("c50.txt",), "clip": ("c5\x000", "c5\\udcff", "c50")}[kind]
    assert re.fullmatch(ODD[word], reason)
    assert len(reason) <= 500
    with pytest.raises(ValueError, match=r"c50\.txt: ") as error:
        run(src, "strict", workers=1, strict=True)
    assert len(str(error.value)) <= 500
    assert beside(src) == ["store"]


def test_a_file_whose_name_is_not_utf8_is_rejected(src):
    odd = os.fsencode(src) + b"/c\xe4\xff.txt"
    try:
        Path(os.fsdecode(odd)).write_text("5")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    summary = run(src)
    assert (summary.clips, summary.rejected) == (40, 1)
    assert ["file", r"c\udce4\udcff.txt", r"the text 'c\udce4\udcff' is not UTF-8; rename it"] in rejected(summary)


def test_a_source_that_cannot_be_listed_is_named(src):
    def scan(folder):
        raise TypeError("of a damaged list")

    register(replace(FAKE, name="odd", scan=scan))
    with pytest.raises(ValueError, match=rf"{src} cannot be read \(TypeError: of a damaged list\)"):
        read_clips(src, "odd")


def test_a_list_with_a_nul_is_named(tmp_path):
    (tmp_path / "clips.csv").write_bytes(b"clip,label\na,wave\nb\0c,kick\n")
    np.save(tmp_path / "a.npy", np.ones((5, 15, 3)))
    with pytest.raises(ValueError, match=r"clips\.csv, line 3: "):
        prepare("arrays", tmp_path, tmp_path / "store", layout="sbu15", progress=False)


SLOW = """
import os, sys, time
from pathlib import Path
from kinemask.preparation.workers import reading
from kinemask.readers import Item, ReadOptions

def read(item, options):
    (item.path / str(os.getpid())).touch()
    time.sleep(60)

if __name__ == "__main__":
    with reading(read, ReadOptions(), [Item(Path(sys.argv[1]), str(i)) for i in range(100)], 3) as results:
        next(results)
"""


def test_workers_end_with_a_killed_parent(tmp_path):
    (tmp_path / "script.py").write_text(SLOW)
    folder = tmp_path / "started"
    folder.mkdir()
    parent = subprocess.Popen([sys.executable, tmp_path / "script.py", folder], env=environment())
    try:
        wait_until(lambda: len(list(folder.iterdir())) == 3)
    finally:
        parent.kill()
        parent.wait()
    wait_until(lambda: not any(is_alive(int(path.name)) for path in folder.iterdir()))


def wait_until(true, seconds=30):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_alive(pid):
    """Whether a process runs; one that has ended and that nobody waits for does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="the test's reader reaches worker processes by forking")
def test_a_dead_worker_is_told(src):
    (src / "room1" / "c51.txt").write_text("die")
    with pytest.raises(OSError, match=r"fewer workers.*__main__"):
        run(src, workers=2)
    assert beside(src) == []


def test_a_source_that_lists_its_clips_brings_its_own_names(src):
    def scan(folder):
        side = lambda i: {"split:default": ("train", "test")[i % 4 == 0]}
        items = [Item(path, path.stem, i % 2, side(i)) for i, path in enumerate(find(folder))]
        return Scan(items, ("no", "yes"), splits=frozenset({"default"}))

    register(Reader("own", "Own", "", None, scan, read))
    with pytest.raises(ValueError, match="needs a layout"):
        prepare("own", src, src.parent / "store", progress=False)
    summary = prepare("own", src, src.parent / "store", layout=layout("sbu15"), progress=False)
    store = open_store(summary.path)
    assert store.classes == ["no", "yes"]
    assert store.labels.tolist() == [0, 1] * 20
    assert store.splits == ("default", "default-val")
    assert len(store.split("default")[1]) == 10
    with pytest.raises(ValueError, match="there is a split default already"):
        prepare("own", src, src.parent / "x", layout="sbu15", split_rules=["default:room=a"], progress=False)


def test_what_a_copy_lacks_is_said():
    expected = Complete(1440, 1430, {"x": (3, 4)}, partial(absent_setups, setups=range(1, 7)))
    files = [Path(f"S{s:03d}C001P{p:03d}R001A{a:03d}.skeleton") for s, p in ((1, 1), (3, 2)) for a in range(360)]
    assert what_lacks(expected, files[:-1], 1430, {"x": (2, 4)}) == [
        "719 files; a complete copy has 1,440 (721 missing); no file of setups 2, 4-6; too few files of setups 3",
        "split x: 2/4 clips for training/test; a complete copy has 3/4",
    ]
    assert what_lacks(Complete(0, 3, {}), [], 5, {}) == ["5 clips; a complete copy has 3 (2 too many)"]


def test_clips_are_read_without_being_written(src):
    (src / "c90.txt").write_text("junk")
    (src / "c91.txt").write_text("empty")
    failures = {}
    clips = list(read_clips(src, "fake", failed=lambda item, failure: failures.update({item.path.name: failure})))
    assert [(name, failure.by_rule) for name, failure in failures.items()] == [("c90.txt", False), ("c91.txt", True)]
    store = open_store(run(src).path)
    assert [clip.name for clip in clips] == store.names
    assert all(np.array_equal(clip.data.astype(np.float32), store.clip(i)) for i, clip in enumerate(clips))
    assert beside(src) == ["store"]
    parallel = list(read_clips(src, "fake", workers=2, failed=lambda item, failure: None))
    assert [clip.name for clip in parallel] == store.names
    with pytest.raises(ValueError, match=r"c90\.txt: line 1: expected a number of frames"):
        list(read_clips(src, "fake"))
    with pytest.raises(ValueError, match="gives no confidences"):
        read_clips(src, "fake", min_score=0.5)
    source = open_source(src, "fake")
    assert (source.layout, source.scan.classes, len(source.scan.items)) == (layout("sbu15"), FAKE.classes, 42)


def test_readers_of_other_packages_are_registered(src):
    assert reader("fake") is FAKE
    with pytest.raises(ValueError, match="one of kinemask's own"):
        register(reader("ntu60"))


def test_info_counts_what_a_store_holds(src):
    summary = run(src, split_rules=["xroom:room=b"])
    facts = info(summary.path)
    json.dumps(facts)
    assert facts["layout"] == "sbu15"
    assert (facts["clips"], facts["classes"], facts["subjects"], facts["unlabelled"]) == (40, 3, 5, 0)
    assert facts["bodies"] == {"1": 40}
    assert facts["frames"] == {"min": 3, "median": 22.5, "max": 42}
    assert facts["missing_fraction"] == 0
    assert facts["splits"]["xroom"] == {"train": 20, "test": 20, "test_duplicates_of_train": 0}
    frames = summary.path / "frames.npy"
    frames.write_bytes(frames.read_bytes()[:-4] + b"abcd")
    for store in (summary.path, open_store(summary.path)):
        with pytest.raises(ValueError, match="has changed"):
            info(store)


def test_progress_writes_plain_lines_away_from_a_terminal(monkeypatch, capsys):
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    with progress("prepare x", 50) as report:
        for done in range(1, 11):
            report(done)
    lines = capsys.readouterr().err.splitlines()
    assert 2 <= len(lines) <= 8
    assert all(line.startswith("prepare x: ") and "/50, " in line and "left" in line for line in lines)


def test_progress_draws_a_bar_on_a_terminal(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with progress("prepare x", 2) as report:
        report(1)
    assert "prepare x" in terminal.getvalue()
    assert "1/2" in terminal.getvalue()


REAL = {  # data set, folder: files, bodies, splits (training, test, duplicates)
    ("nw-ucla", "nw-ucla"): (1484, {"1": 1484}, {"xview": (1020, 464, 95), "xsub": (724, 760, 0)}),
    ("utd-mhad", "utd-mhad"): (861, {"1": 861}, {"xsub": (431, 430, 0)}),
    ("sbu", "sbu"): (282, {"2": 282}, {f"fold{i}": None for i in range(1, 6)}),
    ("penn-action", "penn-action"): (2326, {"1": 2326}, {"official": (1258, 1068, 0)}),
}


@pytest.mark.parametrize("dataset, folder", REAL)
def test_a_real_data_set_has_the_published_counts(dataset, folder, tmp_path):
    if not (DATA / folder).is_dir():
        pytest.skip(f"no real data at {DATA / folder}")
    files, bodies, splits = REAL[dataset, folder]
    summary = prepare(dataset, DATA / folder, tmp_path / "store", progress=False)
    assert not summary.warnings
    facts = info(summary.path)
    assert (summary.files, facts["bodies"]) == (files, bodies)
    assert facts["clips"] == files
    assert {name for name in facts["splits"] if not name.endswith("-val")} == set(splits)
    for name, counts in splits.items():
        entry, held = facts["splits"][name], facts["splits"][f"{name}-val"]
        assert counts is None or tuple(entry.values()) == counts
        assert held["train"] + held["test"] == entry["train"]
        assert held["test"] > 0 == held["test_duplicates_of_train"]
    if dataset == "sbu":
        tested = [open_store(summary.path).split(name)[1] for name in splits]
        assert sorted(np.concatenate(tested)) == list(range(282))


def test_real_ntu_files_warn_of_what_is_missing(tmp_path):
    if not (DATA / "ntu-rgbd").is_dir():
        pytest.skip(f"no real data at {DATA / 'ntu-rgbd'}")
    exclude = DATA / "ntu-rgbd" / "ntu60_missing.txt"
    summary = prepare("ntu60", DATA / "ntu-rgbd", tmp_path / "s", exclude=exclude, progress=False)
    store = open_store(summary.path)
    assert Counter(store.bodies.tolist()) == {1: 2, 2: 2}
    assert any("56,876 missing" in line and "no file of setups" in line for line in summary.warnings)
    assert any("302 of the 302 names" in line for line in summary.warnings)

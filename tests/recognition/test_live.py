"""Labels while poses arrive: windows as `predict` has them, streams that stall, break and lie."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from helpers import CLASSES, recording
from kinemask import Recogniser, cli, live
from kinemask.recognition.live import LiveWindow, WrongStream
from kinemask.recognition.stream import IN_A_ROW, parse_line
from kinemask.skeleton import layout
from recognition_clips import SBU, clips

FRAMES = 22  # of the median clip of `made`
FLAT = layout("coco17")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    x, y, people = clips(24)
    folder = tmp_path_factory.mktemp("made")
    Recogniser(SBU, kernels=200).fit(x, y, people).save(folder)
    return folder


@pytest.fixture(scope="module")
def made(folder) -> Recogniser:
    return Recogniser.load(folder)


@pytest.fixture(scope="module")
def take() -> np.ndarray:
    """Two actions of 40 frames each, one after the other."""
    rng = np.random.default_rng(3)
    return np.concatenate([recording(40, label, SBU, rng) for label in (0, 2)]).astype(np.float32)


def line(joints, **more) -> str:
    rows = [None if np.isnan(joint).any() else [round(float(v), 5) for v in joint] for joint in joints]
    return json.dumps({"keypoints": rows, **more}) + "\n"


def run(monkeypatch, words, text: str) -> int:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=BytesIO(text.encode())))
    return cli.main(["live", *map(str, words)])


def fed(window: LiveWindow, frames, times=None) -> list:
    found = [window.push(frame, None if times is None else times[i]) for i, frame in enumerate(frames)]
    return [one for one in (*found, window.finish()) if one is not None]


def surest(made: Recogniser, clip) -> float:
    return float(made.predict_proba([np.asarray(clip, np.float32)])[0].max())


# windows


def test_windows_are_those_of_recordings(made, take):
    """Every hop, and one that ends where the stream ends; each as if it were a recording of its own."""
    assert made.lengths_[1] == FRAMES
    found = fed(LiveWindow(made, top=3), take)
    starts = [*range(0, len(take) - FRAMES + 1, FRAMES // 2), len(take) - FRAMES]
    assert [(one.start, one.end) for one in found] == [(start, start + FRAMES) for start in starts]
    expected = made.predict_proba([take[start : start + FRAMES] for start in starts])
    for one, row in zip(found, expected, strict=True):
        share = dict(one.ranking)
        np.testing.assert_allclose([share[name] for name in made.classes_], row, atol=1e-4)
    assert (found[0].label, found[-1].label) == ("wave", "bow")
    assert not any(one.seconds for one in found)


def test_seconds_by_the_frame_rate(made, take):
    found = fed(LiveWindow(made, window=2.0, hop=0.5, fps=10), take)
    assert [(one.start, one.end) for one in found] == [(t / 2, t / 2 + 2) for t in range(13)]
    assert all(one.seconds for one in found)


def test_seconds_by_the_frames_times(made, take):
    times = 100 + np.cumsum(np.random.default_rng(0).uniform(0.05, 0.15, len(take)))
    found = fed(LiveWindow(made, window=2.0, hop=1.0), take, times)
    assert all(1.7 < one.end - one.start < 2 for one in found)
    assert all(0.7 < b.end - a.end < 1.3 for a, b in pairwise(found[:-1]))
    within = take[(times >= found[0].start) & (times <= found[0].end)]
    assert found[0].probability == pytest.approx(surest(made, within), abs=1e-5)


def test_memory_holds_one_window(made, take):
    window = LiveWindow(made, window=1.0, fps=10)
    for _ in range(20):
        for frame in take:
            window.push(frame)
    assert len(window._ring) == 10
    assert window.frames == 1600


def test_a_stream_shorter_than_a_window_has_one_label(made, take):
    found = fed(LiveWindow(made), take[:9])
    assert [(one.start, one.end) for one in found] == [(0, 9)]
    assert found[0].probability == pytest.approx(surest(made, take[:9]), abs=1e-5)


def test_where_nobody_is_seen_there_is_no_label(made, take):
    empty = np.full((60, 15, 3), np.nan)
    window = LiveWindow(made, window=2.0, hop=2.0, fps=10)
    found = fed(window, [*take[:20], *empty[:20], *[None] * 20, *take[40:60]])
    assert [(one.start, one.end) for one in found] == [(0, 2), (6, 8)]
    assert (window.labels, window.unlabelled) == (2, 2)
    assert fed(LiveWindow(made), empty) == []


def test_frames_without_anybody_count(made, take):
    """A window as long as any other, though nobody is in its last frames."""
    (found,) = fed(LiveWindow(made), [*take[:15], *[None] * (FRAMES - 15)])
    whole = np.concatenate([take[:15], np.full((FRAMES - 15, 15, 3), np.nan, np.float32)])
    assert found.probability == pytest.approx(surest(made, whole), abs=1e-5)


def test_what_is_not_probable_enough_is_unsure(made, take):
    certain = fed(LiveWindow(made), take)
    found = fed(LiveWindow(made, min_confidence=1.0), take)
    assert {one.label for one in found} == {"unsure"}
    assert [one.probability for one in found] == [one.probability for one in certain]


def test_fifty_people_in_any_order(made, take):
    """Those most seen are looked at, as in files."""
    rng = np.random.default_rng(0)
    crowd = [take[:FRAMES] + np.array([3.0 * (k + 1), 0, 0]) for k in range(49)]
    frames = []
    for t in range(FRAMES):
        here = [take[t], *(one[t] for one in crowd[: 49 if t == 7 else 10 if t % 2 else 0])]
        frames.append([here[k] for k in rng.permutation(len(here))])
    assert max(map(len, frames)) == 50
    (found,) = fed(LiveWindow(made, bodies=1), frames)
    assert found.probability == pytest.approx(surest(made, take[:FRAMES]), abs=1e-4)
    assert len(fed(LiveWindow(made), frames)) == 1


def test_confidences_and_units(made, take):
    whole = take[:FRAMES]
    scored = np.concatenate([whole * 1000, np.ones((FRAMES, 15, 1))], 2)
    scored[:, 3] = [9e5, 9e5, 9e5, 0.1]  # somewhere, and not to be trusted
    hidden = whole.copy()
    hidden[:, 3] = np.nan
    (found,) = fed(LiveWindow(made, unit="mm", min_score=0.2), scored)
    assert found.probability == pytest.approx(surest(made, hidden), abs=1e-4)
    (turned,) = fed(LiveWindow(made, up="-y"), whole * [1, -1, -1])
    assert turned.probability == pytest.approx(surest(made, whole), abs=1e-4)


def test_what_looks_wrong_is_said_once(made, take):
    said: list[str] = []
    shift = np.zeros((15, 3))
    shift[SBU.parts["head"], 1] = -5
    fed(LiveWindow(made, say=said.append), take + shift)
    assert len(said) == 1
    assert "in the first window heads are not above feet" in said[0]
    assert "--up -y" in said[0]
    with pytest.raises(WrongStream, match="--unit mm"):
        fed(LiveWindow(made), take * 1000)


def test_joints_of_another_layout_are_matched_by_name(made, take):
    said: list[str] = []
    window = LiveWindow(made, layout="kinect20", say=said.append)
    other = np.repeat(take[:FRAMES].mean(1, keepdims=True), 20, 1)
    hidden = np.full_like(take[:FRAMES], np.nan)
    assert window._picked
    for v, at in enumerate(window._picked):
        if at is not None:
            other[:, at] = hidden[:, v] = take[:FRAMES, v]
    (found,) = fed(window, other)
    assert found.probability == pytest.approx(surest(made, hidden), abs=1e-4)
    assert "matched by name" in said[0]


# time


def test_time_that_goes_back_or_leaps(made, take):
    said: list[str] = []
    window = LiveWindow(made, window=2.0, hop=1.0, say=said.append)
    for t in range(15):
        assert window.push(take[t], 50 + t / 10) is None
    assert window.push(take[0], 51.2) is None  # late: left out
    assert window.frames == 15
    window.push(take[0], 3.0)  # another recording
    assert (window.frames, len(window._ring)) == (16, 1)
    for t in range(1, 10):
        window.push(take[t], 3 + t / 10)
    window.push(take[10], 60.0)
    assert len(window._ring) == 1
    assert [one for one in said if "time jumps" in one or "left out" in one] == [
        "a frame of 51.2 s after one of 51.4 s is left out",
        "time jumps from 51.4 to 3 s: a new window begins",
        "time jumps from 3.9 to 60 s: a new window begins",
    ]


def test_times_are_of_all_frames_or_of_none(made, take):
    window = LiveWindow(made)
    window.push(take[0], 0.0)
    with pytest.raises(ValueError, match="without a time; the first one came with a time"):
        window.push(take[1])
    with pytest.raises(ValueError, match="expected seconds"):
        window.push(take[1], float("nan"))
    assert window.frames == 1


# lines


@pytest.mark.parametrize(
    "text, shapes, at",
    [
        ('{"keypoints": [[1, 2, 3], [4, 5, 6]]}', [(2, 3)], None),
        ('{"people": [[[1, 2], [4, 5]], [[1, 2], null]], "time": 3}', [(2, 2), (2, 2)], 3.0),
        ("[[1, 2, 3], null]", [(2, 3)], None),
        ("[null, [1, NaN, null]]", [(2, 3)], None),
        ("[[[1, 2]], [[3, 4]]]", [(1, 2), (1, 2)], None),
        ('{"people": [null, [[1, 2]], [null]], "frame": 3}', [(1, 2)], None),
        ('{"people": []}', [], None),
        ('{"keypoints": null, "time": 0.5}', [], 0.5),
        ("[]", [], None),
        ("null", [], None),
    ],
)
def test_a_line(text, shapes, at):
    people, found = parse_line(text)
    assert [one.shape for one in people] == shapes
    assert found == at


@pytest.mark.parametrize(
    "text, said",
    [
        ("{", "not valid JSON"),
        ("nose 1 2", "not valid JSON"),
        (b"\xff\xfe\x00", "not valid JSON"),
        ("[" * 5000, "not valid JSON"),
        ('{"pose": []}', "expected an object with keypoints or people, found an object of pose"),
        ('{"keypoints": [], "people": []}', "keypoints or people"),
        ('{"keypoints": 3}', "somebody is 3"),
        ('{"people": 3}', "list of people"),
        ("[1, 2, 3]", "somebody is a list of 3"),
        ("[[1, 2], [1, 2, 3]]", "unequal lengths"),
        ('[["a", "b"]]', "expected numbers"),
        ('{"keypoints": [[1, 2]], "time": "12:00"}', "time is '12:00'"),
    ],
)
def test_a_line_that_is_no_frame(text, said):
    with pytest.raises(ValueError, match=said):
        parse_line(text)


# the command


def test_a_stream_becomes_lines(folder, take, monkeypatch, capsys):
    text = "\n".join(line(frame, time=i / 10) for i, frame in enumerate(take))
    assert run(monkeypatch, [folder, "--window", "2", "--hop", "1", "--top", "2"], text) == 0
    said = capsys.readouterr()
    found = [json.loads(one) for one in said.out.splitlines()]
    assert [set(one) for one in found] == [{"clip", "start", "end", "unit", "label", "probability", "classes"}] * 7
    assert (found[0]["clip"], found[0]["unit"], found[0]["end"], found[-1]["end"]) == ("live", "seconds", 2.0, 7.9)
    assert len(found[0]["classes"]) == 2
    assert "waiting for poses of sbu15: 15 joints, 3D" in said.err
    assert "frames: 80; labels: 7\n" in said.err


def test_lines_that_are_no_frames_are_left_out(folder, take, monkeypatch, capsys):
    lines = [line(frame) for frame in take[:FRAMES]]
    lines[4:4] = ["hello\n", '{"keypoints": [[1,\n', line(np.full((15, 3), 1e30))]
    assert run(monkeypatch, [folder], "".join(lines) + lines[0][:40]) == 0
    said = capsys.readouterr()
    assert [json.loads(one)["end"] for one in said.out.splitlines()] == [FRAMES]
    for words in ("line 5 is left out", "line 6 is left out", "line 7 is left out: a coordinate is not a finite"):
        assert words in said.err
    assert f"line {FRAMES + 4} is left out: the stream ends within this line" in said.err
    assert f"frames: {FRAMES}; labels: 1; lines left out: 4" in said.err


def test_a_whole_last_line_needs_no_end(folder, take, monkeypatch, capsys):
    text = "".join(line(frame) for frame in take[:FRAMES]).rstrip("\n")
    assert run(monkeypatch, [folder], text) == 0
    assert f"frames: {FRAMES}; labels: 1\n" in capsys.readouterr().err


BAD = {
    "nothing": ("", [], "ended without a frame"),
    "half a line": ('{"keypoints": [[', [], "ended without a frame; lines left out: 1"),
    "something else": ("x\n" * 50, [], f"{IN_A_ROW} lines in a row are no poses; line {IN_A_ROW}"),
    "other joints": (line(np.zeros((17, 2))), [], "line 1: somebody has 17 × 2 numbers .as coco17.*15 joints of 3"),
    "joints that lack": (line(np.zeros((9, 3))), [], "line 1: somebody has 9 × 3 numbers; expected 15 joints"),
    "four numbers": (line(np.full((15, 4), 7.0)), [], "is a confidence, from 0 to 1"),
    "seconds of unknown length": (line(np.zeros((15, 3))), ["--window", "1"], "--fps 30, or a time in every"),
    "a crowd": ((json.dumps([np.ones((15, 3)).tolist()] * 101) + "\n") * 20, [], "101 people in one frame"),
    "no recogniser": ("", None, "no recogniser at"),
    "a hop without a window": ("", ["--hop", "1"], "hop has no effect"),
    "an fps of nothing": ("", ["--fps", "0"], "fps is 0"),
    "an image of 3D": ("", ["--image-height", "480"], "is 3D, so image_height has no effect"),
    "another skeleton": ("", ["--layout", "coco17"], "3D joints .sbu15.; these are 2D"),
    "a file that is not there": ("", ["--source", "there-is-none.jsonl"], "there-is-none"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_said(case, folder, tmp_path, monkeypatch, capsys):
    text, words, said = BAD[case]
    assert run(monkeypatch, [tmp_path] if words is None else [folder, *words], text) == 2
    captured = capsys.readouterr()
    assert not captured.out
    assert re.search(said, captured.err), captured.err


def test_a_file_that_grows(folder, take, tmp_path):
    """Half a line waits for its rest; a file that is written anew is read from its start, half a line forgotten."""
    path = tmp_path / "poses.jsonl"
    path.write_text("")
    lines = [line(frame) for frame in take]
    found = []

    def watch():
        for one in live(folder, path):
            found.append(one)
            if len(found) == 2:
                break

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    with path.open("a") as file:
        for text in ("".join(lines[: FRAMES - 1]) + lines[FRAMES - 1][:30], lines[FRAMES - 1][30:]):
            assert not found
            file.write(text)
            file.flush()
            time.sleep(0.3)
    deadline = time.monotonic() + 20
    while not found and time.monotonic() < deadline:
        time.sleep(0.02)
    assert [(one.clip, one.end) for one in found] == [("poses", FRAMES)]
    with path.open("a") as file:
        file.write(lines[FRAMES][:30])
    time.sleep(0.3)
    path.write_text("".join(lines[FRAMES : FRAMES + FRAMES // 2]))
    thread.join(20)
    assert not thread.is_alive()
    assert found[1].end == FRAMES + FRAMES // 2


def test_a_file_without_following(folder, take, tmp_path):
    path = tmp_path / "poses.jsonl"
    path.write_text("".join(line(frame) for frame in take))
    assert len(list(live(folder, path, follow=False))) == 7


def test_2d_as_in_images():
    """Pixels with y down, as files of 2D have them."""
    rng = np.random.default_rng(0)
    body = rng.normal(0, 0.5, (1, 17, 2))
    sway = lambda i: np.sin(np.arange(24) / (2 + i % 3))[:, None, None] * 0.3
    x = [body + sway(i) * (np.arange(17) % 3 == i % 3)[:, None] + rng.normal(0, 0.02, (24, 17, 2)) for i in range(12)]
    made = Recogniser(FLAT, kernels=60).fit(x, [CLASSES[i % 3] for i in range(12)])
    pixels = x[4] * [100, -100] + 300
    (found,) = fed(LiveWindow(made, image_height=200), pixels)
    assert found.probability == pytest.approx(surest(made, x[4]), abs=1e-3)
    share = pixels / [640, 480]
    with pytest.raises(WrongStream, match="shares of the image"):
        fed(LiveWindow(made), share)
    assert len(fed(LiveWindow(made, image_width=640, image_height=480), share)) == 1


def start(folder, *words):
    return subprocess.Popen(
        [sys.executable, "-m", "kinemask", "live", str(folder), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.timeout(60)
def test_labels_leave_at_once_and_ctrl_c_ends(folder, take):
    with start(folder) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdin.write("".join(line(frame) for frame in take[:FRAMES]))
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["end"] == FRAMES  # while the stream stays open
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        said = process.stderr.read()
    assert "interrupted" in said
    assert "Traceback" not in said


@pytest.mark.timeout(60)
def test_a_reader_that_leaves(folder, take):
    """`kinemask live … | head -1` ends without a traceback."""
    with start(folder) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdin.write("".join(line(frame) for frame in take[:FRAMES]))
        process.stdin.flush()
        process.stdout.readline()
        process.stdout.close()
        process.stdin.write("".join(line(frame) for frame in take[FRAMES:]))
        process.stdin.close()
        assert process.wait(20) == 0
        said = process.stderr.read()
    assert "Traceback" not in said
    assert "Broken pipe" not in said

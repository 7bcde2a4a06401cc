"""Films: as long as the longest clip, in real time; what is lacking is named, and nothing half-written remains."""

from __future__ import annotations

import builtins
import stat

import numpy as np
import pytest
from PIL import Image, ImageSequence

from kinemask.player import film as films
from kinemask.player.film import film, pictures
from kinemask.player.scene import Moving
from kinemask.skeleton import layout

BODY = layout("sbu15")


def clips(*frames, fps=None):
    rng = np.random.default_rng(0)
    return [Moving(f"take{t}", rng.normal(size=(1, t, 15, 3)).cumsum(1), "wave", fps) for t in frames]


@pytest.mark.parametrize("frames, fps, pictured", [((15,), 30.0, 12), ((6, 12), 15.0, 12), ((1,), None, 1)])
def test_a_gif_lasts_as_long_as_its_longest_clip(frames, fps, pictured, tmp_path):
    out = tmp_path / "clip.gif"
    film(clips(*frames, fps=fps), BODY, out)
    with Image.open(out) as made:
        assert getattr(made, "n_frames", 1) == pictured
        assert made.size == (480 * len(frames), 516)
        seconds = sum(frame.info.get("duration", 0) for frame in ImageSequence.Iterator(made)) / 1000
    assert pictured == 1 or seconds == pytest.approx(max(frames) / fps, abs=0.025)  # half a picture at most
    assert [path.name for path in tmp_path.iterdir()] == ["clip.gif"]


def test_a_clip_that_is_over_stays_and_what_is_missing_is_left_out():
    short, long = clips(2, 6)
    first, *_, last = pictures([short, long], BODY, 30.0)
    half = first.width // 2
    assert np.array(first.crop((half, 0, first.width, first.height))).std() > 0
    alone = [*pictures([short], BODY, 30.0)][-1]
    assert np.array_equal(np.array(last)[:, :half], np.array(alone))
    gone = Moving("gone", np.full((1, 2, 15, 3), np.nan))
    empty = np.array(next(iter(pictures([gone], BODY, 30.0))))[60:-20, 20:-20]
    assert (empty == empty[0, 0]).all()


FAKE = """#!/bin/sh
for last; do :; done
cat > "$last"
echo "$@" > {words}
{end}
"""


def fake(tmp_path, monkeypatch, end=""):
    """A program `ffmpeg` that keeps what it is given, and the file of its words."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "ffmpeg"
    program.write_text(FAKE.format(words=tmp_path / "words", end=end))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return tmp_path / "words"


def test_ffmpeg_gets_every_picture_and_the_rate(tmp_path, monkeypatch):
    words = fake(tmp_path, monkeypatch)
    out = tmp_path / "made" / "clip.mp4"
    out.parent.mkdir()
    film(clips(5, fps=60.0), BODY, out)
    assert out.stat().st_size == 5 * 480 * 516 * 3
    said = words.read_text()
    assert "-s 480x516 -r 60" in said
    assert "yuv420p" in said
    assert [path.name for path in out.parent.iterdir()] == ["clip.mp4"]


def test_what_ffmpeg_says_is_told(tmp_path, monkeypatch):
    fake(tmp_path, monkeypatch, end="echo 'no such codec' >&2; exit 1")
    out = tmp_path / "made" / "clip.mp4"
    out.parent.mkdir()
    with pytest.raises(ValueError, match="no such codec"):
        film(clips(3), BODY, out)
    assert not list(out.parent.iterdir())


@pytest.mark.parametrize("name, lacking, told", [("a.gif", "PIL", "Pillow"), ("a.mp4", "imageio_ffmpeg", "ffmpeg")])
def test_what_is_lacking_is_named(name, lacking, told, tmp_path, monkeypatch):
    given = builtins.__import__

    def refuse(module, *more):
        if module.partition(".")[0] == lacking:
            raise ImportError(module)
        return given(module, *more)

    monkeypatch.setattr(films.shutil, "which", lambda program: None)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ValueError, match=rf"{told}.*pip install 'kinemask\[video\]'"):
        film(clips(3), BODY, tmp_path / name)
    assert not list(tmp_path.iterdir())

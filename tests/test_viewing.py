"""`view`: clips of stores and of recordings, by name or a few; what is not there, and of which format, is told."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest

import kinemask
from helpers import recordings
from html_pages import check_alone
from kinemask.skeleton import layout
from kinemask.store.writer import write_store
from readers.samples import write_mediapipe

BODY = layout("sbu15")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    clips = [
        c if i else c.__class__(c.name, c.data, c.label, c.fields | {"fps": "50"})
        for i, c in enumerate(recordings(BODY))
    ]
    for clip in clips:
        clip.fields.setdefault("fps", "")
    return write_store(tmp_path_factory.mktemp("made") / "store", clips, BODY, ("wave", "kick", "bow"))


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Arrays of one's own, one of them damaged, and an empty folder to write into."""
    folder = tmp_path / "own"
    folder.mkdir()
    for i in range(6):
        np.save(folder / f"take{i}.npy", np.random.default_rng(i).normal(size=(12, 15, 3)).cumsum(0) / 20)
    (folder / "take2.npy").write_bytes(b"nothing")
    (folder / "clips.csv").write_text("clip,label\n" + "".join(f"take{i},{'ab'[i % 2]}\n" for i in range(6)))
    monkeypatch.chdir(tmp_path)
    return folder


def scene_of(page):
    text = page.read_text()
    check_alone(text)
    return json.loads(re.findall(r'id="scene">(.*?)</script>', text, re.S)[0])


def test_a_store_shows_a_clip_of_each_class_in_its_own_rate(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = kinemask.view(store.path)
    assert str(out) == "store-view.html"
    scene = scene_of(out)
    assert [clip["label"] for clip in scene["clips"]] == ["wave", "kick", "bow"]
    assert [clip["rate"] for clip in scene["clips"]] == [50, 30, 30]
    assert "taken to be 30" in out.read_text()
    assert {clip["rate"] for clip in scene_of(kinemask.view(store.path, fps=12))["clips"]} == {12}


def test_clips_by_name_in_the_order_given(store, tmp_path):
    out = kinemask.view(str(store.path), clip=["clip07", "clip03"], save=tmp_path / "new" / "two.html")
    assert [clip["name"] for clip in scene_of(out)["clips"]] == ["clip07", "clip03"]
    assert [path.name for path in out.parent.iterdir()] == ["two.html"]


def test_recordings_are_shown_without_a_store_and_bad_ones_left_out(own):
    out = kinemask.view(own, format="arrays", layout="sbu15")
    scene = scene_of(out)
    assert [clip["name"] for clip in scene["clips"]] == ["take0", "take1", "take3", "take4"]
    assert [clip["label"] for clip in scene["clips"]] == ["a", "b", "b", "a"]
    one = kinemask.view(own, clip="take5", format="arrays", layout="sbu15")
    assert str(one) == "take5-view.html"
    alone = kinemask.view(own / "take1.npy", format="arrays", layout="sbu15", save="alone.html")
    assert [clip["name"] for clip in scene_of(alone)["clips"]] == ["take1"]


def test_a_film(own):
    out = kinemask.view(own, clip="take0", format="arrays", layout="sbu15", save="take.gif")
    assert out.read_bytes()[:6] in (b"GIF87a", b"GIF89a")


def test_the_browser_is_opened_on_request(own, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    out = kinemask.view(own, format="arrays", layout="sbu15", open=True)
    assert opened == [out.resolve().as_uri()]
    monkeypatch.setattr("webbrowser.open", lambda address: False)
    with pytest.raises(ValueError, match=r"own-view\.html is written, but no browser"):
        kinemask.view(own, format="arrays", layout="sbu15", open=True)


@pytest.mark.parametrize(
    "given, told",
    [
        ({"clip": "clip7"}, "no clip 'clip7'; did you mean clip"),
        ({"clip": "zzz"}, "it has: clip00, clip01, .*, ..."),
        ({"save": "clip.avi"}, r"ends in \.html, \.gif, \.mp4"),
        ({"fps": 0}, "positive"),
        ({"format": "arrays"}, "is a store, so format has no effect"),
        ({"up": "z"}, "is a store, so up has no effect"),
    ],
)
def test_mistakes_about_a_store_are_told(given, told, store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=told):
        kinemask.view(store.path, **given)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "given, told",
    [
        ({"clip": "take9"}, "did you mean take"),
        ({"clip": "take2"}, r"no clip 'take2'; .*take2\.npy"),
        ({"format": "arays"}, "did you mean arrays"),
        ({"layout": "sbu16"}, "sbu15"),
    ],
)
def test_mistakes_about_recordings_are_told(given, told, own):
    with pytest.raises(ValueError, match=told):
        kinemask.view(own, **({"format": "arrays", "layout": "sbu15"} | given))
    assert not [path for path in own.parent.iterdir() if path != own]


def test_a_folder_of_nothing_readable_says_why(own):
    for path in own.glob("take*.npy"):
        path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"take0\.npy"):
        kinemask.view(own, format="arrays", layout="sbu15")


def test_the_format_is_found_out_by_looking(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_mediapipe(tmp_path, np.random.default_rng(0).normal(size=(9, 33, 3)).cumsum(0) / 30)
    page = kinemask.view(tmp_path / "mine.json").read_text()
    assert "read as MediaPipe" in page
    assert "33 joints in 3D" in page


def test_what_is_not_there_is_told(tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        kinemask.view(tmp_path / "away")


def test_a_damaged_store_is_told_as_a_store(store, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(store.path, copy)
    (copy / "frames.npy").unlink()
    with pytest.raises(ValueError, match="not a whole store"):
        kinemask.view(copy)

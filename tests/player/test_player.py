"""Moving skeletons: what the script is given is the clip, gaps stay gaps, and nothing of data reaches a page raw."""

from __future__ import annotations

import base64
import html
import re

import numpy as np
import pytest

from html_pages import HOSTILE, check_alone
from kinemask.player.camera import Camera
from kinemask.player.notebook import cell
from kinemask.player.pages import render
from kinemask.player.scene import RATE, Moving, fps_of, pack, show, sides_of, still, unit_of
from kinemask.skeleton import layout

BODY = layout("sbu15")
FLAT = layout("coco17")


def moving(of=BODY, frames=9, bodies=2, seed=0, name="take", **more):
    data = np.random.default_rng(seed).normal(size=(bodies, frames, of.num_joints, of.dims))
    data[0, 2, 3] = np.nan
    return Moving(name, data, **more)


def unpack(body, unit, shape):
    x = np.frombuffer(base64.b64decode(body["positions"]), "<i2").reshape(shape) * unit
    seen = np.array([*(body["seen"] or "1" * (shape[0] * shape[1]))]).reshape(shape[:2]) == "1"
    return np.where(seen[..., None], x, np.nan)


@pytest.mark.parametrize("of", [BODY, FLAT], ids=lambda of: of.name)
def test_the_script_gets_the_clip(of):
    clips = [moving(of, label="wave", fps=60.0), moving(of, 30, 1, seed=1)]
    shown = show(clips, of)
    for clip, data in zip(clips, shown.data["clips"], strict=True):
        assert (data["T"], data["rate"]) == (clip.data.shape[1], clip.fps or RATE)
        for body, x in zip(data["bodies"], clip.data, strict=True):
            np.testing.assert_allclose(unpack(body, data["unit"], x.shape), x, atol=np.nanmax(np.abs(clip.data)) / 6e4)
    assert [pane.title for pane in shown.player.panes] == ["wave", "take"]
    assert "9 frames, 0.1 s; 2 people" in shown.player.panes[0].about
    assert "30 frames, 1.0 s; 1 person" in shown.player.panes[1].about
    assert shown.assumed  # the second clip's rate
    assert not show(clips[:1], of).assumed
    assert shown.player.turns == (of.dims == 3)


def test_left_and_right_are_told_apart():
    sides = sides_of(BODY)
    assert (sides[BODY.index("left_hand")], sides[BODY.index("right_foot")], sides[BODY.root]) == ("l", "r", "m")


@pytest.mark.parametrize("of", [BODY, FLAT], ids=lambda of: of.name)
def test_the_still_picture_is_the_first_frame_with_most_joints_within_its_frame(of):
    clip = moving(of)
    clip.data[1, 0, :4] = np.nan
    clip.data[0, 1] = np.nan
    bones = still(clip.data, of.edges, ["middle"] * of.num_joints)
    assert len(bones) == 2 * len(of.edges)  # frame 3: nothing is missing there
    places = Camera.of(clip.data).place(clip.data[0, 3], 400, 300)
    a, b = of.edges[0]
    assert (bones[0].x1, bones[0].y1, bones[0].x2, bones[0].y2) == pytest.approx((*places[a], *places[b]))
    assert all(0 <= value <= 400 for bone in bones for value in (bone.x1, bone.y1, bone.x2, bone.y2))
    assert still(np.full((1, 2, of.num_joints, of.dims), np.nan), of.edges, ["middle"] * of.num_joints) == []


def test_up_is_up_and_a_picture_keeps_shares():
    data = np.zeros((1, 1, 3, 2))
    data[0, 0] = [[0, 0], [0, 2], [1, 0]]
    low, high, right = Camera.of(data).place(data[0, 0], 300, 300)
    assert high[1] < low[1]
    assert right[0] > low[0]
    assert low[1] - high[1] == pytest.approx(2 * (right[0] - low[0]))


@pytest.mark.parametrize("frames", [1, 2])
def test_few_frames_and_nothing_seen(frames):
    gone = Moving("gone", np.full((1, frames, BODY.num_joints, 3), np.nan))
    shown = show([gone], BODY)
    assert shown.data["clips"][0]["unit"] == 1.0
    check_alone(page(shown))
    standing = Moving("standing", np.ones((1, frames, BODY.num_joints, 3)))
    assert np.isfinite(Camera.of(standing.data).place(standing.data, 9, 9)).all()


def page(shown) -> str:
    return render("view.html", title=HOSTILE[0], read=HOSTILE[1], rate="30", shown=shown)


def test_nothing_of_a_clip_reaches_a_page_raw():
    shown = show([moving(name=text, label=HOSTILE[0]) for text in HOSTILE], BODY)
    found = page(shown)
    structure = check_alone(found)
    assert structure.scripts == 2
    outside = found.replace(re.findall(r'id="scene">(.*?)</script>', found, re.S)[0], "")
    assert all(text not in outside for text in HOSTILE)
    assert outside.count("<svg") == len(HOSTILE)
    assert outside.index("<svg") < outside.index("<script")  # there is a picture before any script


def test_a_page_says_what_everything_is_for_those_who_do_not_see_it():
    found = page(show([moving(label="wave")], BODY))
    controls = re.findall(r"<(?:button|input|select|canvas|svg)[^>]*>[^<]*", found.partition("<main>")[2])
    assert len(controls) >= 9
    assert all("aria-label=" in control or control.rpartition(">")[2].strip() for control in controls)
    assert "prefers-reduced-motion" in found
    assert "aria-keyshortcuts" in found


def test_a_cell_shares_nothing_with_its_notebook():
    found = cell([moving(name=HOSTILE[2])], BODY, HOSTILE[0])
    assert HOSTILE[0] not in found
    frame = re.findall(r'<iframe sandbox="allow-scripts" [^>]*srcdoc="([^"]*)"[^>]*></iframe>', found)
    assert len(frame) == 1
    assert "<script" not in found
    check_alone(html.unescape(frame[0]))


@pytest.mark.parametrize(
    "fields, rate",
    [({"fps": "29.97"}, 29.97), ({}, None), *(({"fps": text}, None) for text in ("", "fast", "-1", "0", "nan", "inf"))],
)
def test_a_rate_is_a_positive_number(fields, rate):
    assert fps_of(fields) == rate


def test_packed_numbers_come_back():
    values = np.array([-3.0, 0.0, 2.5])
    unit = unit_of(values)
    np.testing.assert_allclose(np.frombuffer(base64.b64decode(pack(values, unit)), "<i2") * unit, values, atol=1e-4)

"""What `info` says of a store: counts, people, missing joints, units, motion, copies; and how it shows a skeleton."""

from __future__ import annotations

import json

import numpy as np
import pytest

from figures import figure, pixels
from kinemask import cli
from kinemask.preparation.info import info
from kinemask.preparation.portrait import describe, draw, portrait
from kinemask.skeleton import layout
from kinemask.store.format import Clip
from kinemask.store.writer import write_store

NTU = layout("ntu25")


def clip(name, data, label=0, subject="ann", part="train"):
    return Clip(name, data.astype(np.float32), label, {"subject": subject, "split:mine": part})


@pytest.fixture
def store(tmp_path):
    """Of eight clips: two copies (one with another label, one across the split), one still, one without hands."""
    bodies = [figure(NTU, 20 + i, seed=i)[None] for i in range(5)]
    still = np.repeat(figure(NTU, 1)[None], 25, axis=1)
    bodies[4][:, :, [NTU.index("left_hand"), NTU.index("left_thumb")]] = np.nan
    clips = [clip(f"c{i}", body, i % 2, ("ann", "ben")[i % 2]) for i, body in enumerate(bodies)]
    clips += [
        clip("still", still, 1, "ben", "test"),
        clip("copy", bodies[0], 1),
        clip("leak", bodies[1], 1, "cleo", "test"),
    ]
    return write_store(tmp_path / "store", clips, NTU, ["walk", "stand", "never"])


def test_everything_json_carries(store, capsys):
    facts = info(store)
    assert facts["class_counts"] == {"walk": 3, "stand": 5, "never": 0}
    assert facts["subject_counts"] == {"ann": 4, "ben": 3, "cleo": 1}
    lost = sum(len(store.clip(i)[0]) for i in range(len(store)) if store.names[i] == "c4") / len(store.frames)
    for joint, share in facts["missing_by_joint"].items():
        assert share == pytest.approx(lost if joint in ("left_hand", "left_thumb") else 0)
    assert facts["missing_fraction"] == pytest.approx(2 * lost / 25)
    assert 0.1 < facts["torso"]["min"] <= facts["torso"]["median"] <= facts["torso"]["max"] < 1.5
    walked = np.linalg.norm(np.diff(store.clip(0), axis=1), axis=-1).mean()
    assert facts["speed"]["min"] == 0
    assert facts["speed"]["median"] == pytest.approx(walked, rel=0.5)
    assert facts["still"] == 1
    assert facts["duplicates"]["clips"] == 2
    assert facts["duplicates"]["with_another_label"] == 1
    assert facts["duplicates"]["within"]["mine"] == {"train": 1, "test": 0}
    assert facts["splits"]["mine"] == {"train": 6, "test": 2, "test_duplicates_of_train": 1}
    assert cli.main(["info", str(store.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(facts))


def test_doubts(store):
    assert info(store)["doubts"] == [
        "nothing moves in 1 of 8 clips",
        "2 clips are exact copies of another",
        "1 exact copies have another label",
        "classes without a clip: never",
        "split mine: 1 test clips are exact copies of training clips",
    ]


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda x: x * 1000, "in 8 of 8 clips the torso is not 0.1 to 1.5 long"),
        (lambda x: x[..., [0, 2, 1]], "in 8 of 8 clips heads are not above feet, but in the direction of z"),
        (lambda x: np.where(np.arange(25)[:, None] == 3, np.nan, x), "never seen: head"),
        (lambda x: np.where(np.arange(25)[:, None] > 9, np.nan, x), "60% of the joints are missing"),
        (lambda x: x[:, :1], "most clips are of one frame"),
    ],
)
def test_more_doubts(tmp_path, change, words):
    clips = [clip(f"c{i}", change(figure(NTU, 20, seed=i)[None])) for i in range(8)]
    doubts = info(write_store(tmp_path / "store", clips, NTU, ["walk"]))["doubts"]
    assert any(words in doubt for doubt in doubts)


def test_a_store_that_looks_right_has_no_doubts(tmp_path):
    clips = [clip(f"c{i}", figure(NTU, 20, seed=i)[None]) for i in range(4)]
    facts = info(write_store(tmp_path / "store", clips, NTU, ["walk"]))
    assert (facts["doubts"], facts["still"], facts["duplicates"]["clips"]) == ([], 0, 0)


def test_bodies_never_measured(tmp_path):
    """One joint in one frame: neither a torso nor a step."""
    data = np.full((1, 1, 25, 3), np.nan)
    data[0, 0, 4] = 1
    facts = info(write_store(tmp_path / "store", [clip("a", data, None)], NTU, []))
    assert (facts["torso"], facts["speed"], facts["class_counts"]) == (None, None, {})
    assert "unknown" in describe(facts)


def test_in_words_with_a_picture(store, capsys):
    assert cli.main(["info", str(store.path)]) == 0
    text = capsys.readouterr().out
    for words in ("walk 3, stand 5", "ann 4, ben 3, cleo 1", "left_hand", "(1 copies within train)", "doubt: nothing"):
        assert words in text
    assert text.endswith(portrait(store) + "\n")
    assert "c0, frame 11 of 20" in text


@pytest.mark.parametrize("of", ["ntu25", "coco17"])
def test_the_picture_is_upright_and_leaves_out_what_is_missing(of):
    """Ink in every row from head to feet, wider at the shoulders than at the head; none of a body that is lost."""
    body = figure(layout(of), 1)[0][:, :2] if of == "ntu25" else pixels(1)[0] * (1, -1)
    lines = draw(body, layout(of).edges).splitlines()
    ink = [[at for at, letter in enumerate(line) if letter.strip()] for line in lines]
    assert 8 <= len(lines) <= 16
    assert all(ink)
    assert max(map(max, ink)) < 32
    legs = [v for part in ("left_leg", "right_leg") for v in layout(of).parts[part]]
    half = body.copy()
    half[legs] = np.nan
    assert draw(half, layout(of).edges) != draw(body, layout(of).edges)
    alone = np.full_like(body, np.nan)
    alone[0] = 1
    assert len(draw(alone, layout(of).edges).strip()) == 1

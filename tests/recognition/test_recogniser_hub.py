"""Recognisers on the Hub, which is a folder here, and their cards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from hub_in_a_folder import FolderHub
from kinemask import Recogniser, predict
from kinemask.recognition.train import train
from recognition_clips import SBU, clips


@pytest.fixture
def hub(tmp_path, monkeypatch) -> FolderHub:
    return FolderHub(tmp_path).install(monkeypatch)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What `train` writes, from recordings of three classes by four people."""
    place = tmp_path_factory.mktemp("hub")
    x, y, people = clips(24)
    (place / "recordings").mkdir()
    lines = ["clip,label,subject"]
    for i, one in enumerate(x):
        np.save(place / "recordings" / f"take{i:02d}.npy", one)
        lines.append(f"take{i:02d},{y[i]},{people[i]}")
    (place / "recordings" / "clips.csv").write_text("\n".join(lines))
    train(place / "recordings", place / "made", layout="sbu15", kernels=100, quiet=True)
    return place / "made"


def card(hub: FolderHub, name: str) -> tuple[dict, str]:
    _, header, text = hub.files(name)["README.md"].decode().split("---\n", 2)
    return yaml.safe_load(header), text


def test_a_recogniser_comes_back_as_it_went(hub, folder):
    made = Recogniser.load(folder)
    address = made.push_to_hub("me/moves", revision="v1", license="mit")
    assert address.endswith("/commit/v1")
    again = Recogniser.from_pretrained("me/moves", revision="v1")
    x, _, _ = clips(6, seed=4)
    np.testing.assert_array_equal(again.predict_proba(x), made.predict_proba(x))
    assert again.record_ == made.record_
    stored = hub.files("me/moves", "v1")
    assert set(stored) == {"recogniser.safetensors", "README.md"}
    assert stored["recogniser.safetensors"] == (folder / "recogniser.safetensors").read_bytes()
    assert not hub.files("me/moves")


def test_a_folder_that_is_here(folder):
    assert Recogniser.from_pretrained(folder).classes_.tolist() == ["bow", "kick", "wave"]


def test_the_card_says_what_it_is_and_how_good(hub, folder):
    made = Recogniser.load(folder)
    made.push_to_hub("me/moves", license="cc-by-4.0")
    header, text = card(hub, "me/moves")
    assert header["license"] == "cc-by-4.0"
    assert "action-recognition" in header["tags"]
    found = made.record_["assessment"]
    low, high = found["interval"]
    name, right = max(found["baselines"].items(), key=lambda one: one[1])
    for part in (
        "# moves\n",
        "`bow`, `kick`, `wave`",
        f"Layout `sbu15`: 15 joints in 3D (metres, y up), in this order: {', '.join(f'`{j}`' for j in SBU.joints)}.",
        "24 clips of `recordings`; 20 to 26 frames",
        f"| **this recogniser** | **{found['right'] / 24:.1%}** ({low:.1%} to {high:.1%}) | 24 |",
        f"| strongest baseline: {name} | {right / 24:.1%} | 24 |",
        "Held out: people held out (4 people).",
        'Recogniser.from_pretrained("me/moves")',
        "## Licence\n\n`cc-by-4.0`",
    ):
        assert part in text, text


def test_the_card_counts_recordings_without_a_label(hub, folder):
    made = Recogniser.load(folder)
    made.record_["unlabelled"] = 7
    made.push_to_hub("me/moves")
    assert "24 labelled clips, and 7 without a label, of `recordings`; 20 to 26" in card(hub, "me/moves")[1]


def test_the_card_says_what_the_encoder_knew_of_clips_held_out(hub, folder):
    made = Recogniser.load(folder)
    note = "the encoder saw these clips in pre-training, without their labels"
    made.record_["assessment"]["note"] = note
    made.push_to_hub("me/moves")
    assert f"Held out: people held out (4 people). But {note}. In brackets" in card(hub, "me/moves")[1]
    del made.record_["assessment"]["note"]
    made.push_to_hub("me/moves")
    assert "(4 people). In brackets" in card(hub, "me/moves")[1]


def test_a_card_without_an_assessment(hub):
    x, y, people = clips(12)
    Recogniser(SBU, kernels=50).fit(x, y, people).push_to_hub("me/bare")
    header, text = card(hub, "me/bare")
    assert "license" not in header
    assert "Not measured on clips that it has not learned from." in text
    assert "None is stated" in text


def test_a_card_that_was_edited_can_stay(hub, folder):
    made = Recogniser.load(folder)
    made.push_to_hub("me/moves")
    (hub.root / "me" / "moves" / "main" / "README.md").write_text("mine")
    made.push_to_hub("me/moves", card=False)
    assert hub.files("me/moves")["README.md"] == b"mine"


def test_a_record_of_another_shape_is_refused(hub, folder):
    made = Recogniser.load(folder)
    made.record_ = made.record_ | {"assessment": {"by": "clips", "clips": "many"}}
    with pytest.raises(ValueError, match="record of its assessment cannot be read"):
        made.push_to_hub("me/moves")
    assert not hub.calls


def test_what_is_fetched_predicts(hub, folder, tmp_path):
    Recogniser.load(folder).push_to_hub("me/moves")
    x, _, _ = clips(1, seed=4)
    np.save(tmp_path / "new.npy", x[0])
    (found,) = predict(Recogniser.from_pretrained("me/moves"), [tmp_path / "new.npy"])
    assert found.label in ("bow", "kick", "wave")


def test_one_that_is_not_fitted_is_not_pushed(hub):
    with pytest.raises(ValueError, match="not fitted"):
        Recogniser(SBU).push_to_hub("me/moves")
    assert not hub.calls

"""The encoders that come with the package: small, of any 3D layout, named wherever a file is asked for."""

from pathlib import Path

import numpy as np
import pytest
import torch

import kinemask
from helpers import same
from kinemask.models.encoders import TrainedEncoder, encoders, find, load_encoder
from kinemask.recipes import recipes
from kinemask.recognition.embed import embed
from kinemask.skeleton import layout, layouts
from kinemask.store.format import EVERY
from kinemask.training.pretraining import Pretraining
from kinemask.training.settings import Settings
from loops import ALONE

MOST_BYTES = 6_000_000
SPATIAL = [name for name in layouts() if layout(name).dims == 3]
rng = np.random.default_rng(0)


def test_there_is_one():
    assert "mosaic-small" in encoders()


@pytest.mark.parametrize("name", encoders())
def test_it_is_small_and_says_what_it_was_trained_on(name):
    assert find(Path(name), "encoder").stat().st_size <= MOST_BYTES
    record = load_encoder(name).record
    assert record["method"] == "mosaic"
    assert all(source["dataset"].startswith("programmes-") for source in record["sources"])  # nobody's recordings
    card = Path(__file__).parents[2] / "docs" / f"{name}.md"
    assert f"{record['steps']:,} steps" in card.read_text()


@pytest.mark.parametrize("of", SPATIAL)
def test_it_reads_every_layout_of_three_coordinates(of):
    model = kinemask.load_encoder("mosaic-small", layout=of)
    V = layout(of).num_joints
    clips = [rng.normal(size=(30, V, 3)).astype(np.float32), rng.normal(size=(2, 50, V, 3)).astype(np.float32)]
    features = model.encode(clips)
    assert features.shape == (2, model.encoder.width)
    assert features.isfinite().all()
    assert not torch.equal(features[0], features[1])


@pytest.mark.parametrize("recipe", [name for name in recipes() if name.startswith("mosaic") and name.endswith("small")])
def test_small_recipes_can_start_from_it(recipe, tiny):
    given = {"data": [str(tiny.path)], "split": EVERY, "training.init_from": "mosaic-small"}
    task = Pretraining(Settings.from_recipe(recipe, given), ALONE).task
    assert same(task.encoders()["encoder"].state_dict(), load_encoder("mosaic-small").encoder.state_dict())


def test_it_comes_by_its_name_without_the_hub():
    assert TrainedEncoder.from_pretrained("mosaic-small").record == load_encoder("mosaic-small").record
    with pytest.raises(ValueError, match="no repository on the Hub either"):
        TrainedEncoder.from_pretrained("mosaic-small", revision="v1")


def test_a_plane_is_refused_in_a_sentence():
    with pytest.raises(
        ValueError,
        match=r"mosaic-small.* layout .* but what it is to encode has layout coco17 .*2 coordinates in place of 3",
    ):
        kinemask.load_encoder("mosaic-small", layout="coco17")


def test_a_file_of_that_name_goes_first_and_no_name_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"no encoder at mosaic-smal; .* or a name: mosaic-small"):
        load_encoder("mosaic-smal")
    Path("mosaic-small").write_bytes(b"not one")
    with pytest.raises(ValueError, match="mosaic-small is not an encoder"):
        load_encoder("mosaic-small")


def test_embed_takes_recordings_of_other_skeletons_whole(tmp_path):
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", rng.normal(0, 0.3, (30, 33, 3)).astype(np.float32))
    found = embed("mosaic-small", tmp_path, layout="mediapipe33")
    assert not any("matched by name" in sentence for sentence in found.said)
    model = kinemask.load_encoder("mosaic-small", layout="mediapipe33")
    assert found.found.features.shape == (2, model.encoder.width)

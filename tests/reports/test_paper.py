"""Figures of every method: data of the right shapes, or a reason; files that a paper can take."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
import torch

from helpers import make_settings, recordings
from html_pages import HOSTILE, check_alone
from kinemask import api
from kinemask.models.encoders import load_encoder
from kinemask.pretext import NAMES
from kinemask.protocols.evaluate import evaluate
from kinemask.reports import paper, report
from kinemask.reports.attention import attention, received
from kinemask.reports.examined import Examined
from kinemask.reports.features import Plane
from kinemask.reports.gains import Shares
from kinemask.reports.pictures import ClassGains, Difference, Missing, Picture, Rebuilt, Scores, every_picture
from kinemask.reports.runs import read_runs
from kinemask.reports.skeletons import add_up
from kinemask.skeleton import layout
from kinemask.store.format import Clip
from kinemask.store.writer import write_store
from kinemask.training.pretraining import pretrain
from kinemask.windows.streams import difference
from tasks import make_batch

WITHOUT = {  # what a method has no figure of
    "mae": {"saliency"},
    "hacm": {"saliency"},
    "skeleton2vec": {"saliency", "reconstruction"},
    "skeletonmae": {"saliency", "attention"},
    "mosaic": {"saliency"},
    "graphcl": {"saliency", "attention", "reconstruction"},
}


@pytest.fixture(scope="module")
def make(store, tmp_path_factory):
    """Runs of one epoch with one evaluation, made once per method, of a store whose names would break a page."""
    made = {}

    def make(name: str):
        if name not in made:
            made[name] = tmp_path_factory.mktemp("quick") / f"{name}3"
            pretrain(make_settings(store, name, training_epochs=1), made[name], quiet=True)
            evaluate("knn", made[name], baselines=False)
        return made[name]

    return make


def examined(run, *options) -> Examined:
    return Examined(read_runs([run])[0], *options)


@pytest.mark.parametrize("name", NAMES)
def test_every_method_has_its_figures_or_a_reason(make, name):
    one = examined(make(name))
    found = list(every_picture([one], []))
    missing = {f.title.partition(": ")[2] for f in found if isinstance(f, Missing)}
    assert missing == WITHOUT.get(name, set())
    assert all(f.why for f in found if isinstance(f, Missing))
    drawn = [f for f in found if isinstance(f, Picture)]
    assert len({f.name for f in drawn}) == len(drawn)
    for f in drawn:
        assert re.fullmatch(r"[\w.+-]+", f.name)
        assert "nan" not in f.about
    seen, clips = one.seen, len(one.seen.clips)
    P, V = seen.frames // seen.segment_frames, len(seen.joints)
    assert sum(isinstance(f.data, Rebuilt) for f in drawn) == clips * ("reconstruction" not in missing)
    assert sum(isinstance(f.data, Scores) for f in drawn) == clips * ("saliency" not in missing)
    for clip in seen.clips:
        M, T = clip.positions.shape[:2]
        assert (clip.masked is None) == (name == "graphcl")
        assert clip.masked is None or clip.masked.shape == (M, P, V)
        for marks in (clip.saliency, clip.attention):
            if marks is not None:
                assert marks.shape == (M, P, V)
                assert 0 <= marks.min() <= marks.max() <= 1
        if clip.rebuilt is not None:
            assert clip.rebuilt.shape == clip.positions.shape
            hidden = np.zeros((M, T, clip.positions.shape[2]), bool)
            hidden[:, :, seen.joints] = clip.told("masked").repeat(seen.segment_frames, 1)
            assert np.isfinite(clip.rebuilt).all()
            np.testing.assert_allclose(clip.rebuilt[~hidden], clip.positions[~hidden], atol=1e-6)
            assert np.abs(clip.rebuilt - clip.positions)[hidden].max() > 1e-3
    if "attention" not in missing:
        looks = one.attention
        assert looks.tokens.shape == (P * V, P * V)
        for table in (looks.tokens, looks.segments, looks.joints):
            np.testing.assert_allclose(table.sum(1), 1, rtol=1e-4)
        assert sorted(looks.ordered_names) == sorted(one.model.encoder.embedding.names)
        assert all(0 <= value <= 1 for layer in looks.layers for value in vars(layer).values())


def test_attention_that_is_even_says_so(make, store):
    model = load_encoder(make("mamp"))
    with torch.no_grad():
        for block in model.encoder.trunk:
            block.attention.qkv.weight.zero_()
    found = attention(model, store, np.array([0, 1]))
    for layer in found.layers:
        assert vars(layer) == pytest.approx(vars(found.even), rel=1e-4)
    x = make_batch("sbu15", 2, 24).x
    torch.testing.assert_close(received(model, x), torch.ones(2, 8, 15), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("stride", [1, 4])
def test_true_motion_adds_up_to_true_positions(stride):
    x = make_batch("sbu15", 3, 24).x
    masked = torch.rand(3, 24, 15, generator=torch.Generator().manual_seed(0)) < 0.8
    masked[:, -stride:] = False
    found = add_up(x, difference(x, stride), masked, stride)
    torch.testing.assert_close(found, x)


def test_motion_without_a_kept_frame_after_goes_on_from_the_last():
    x = torch.arange(8.0).view(1, 8, 1, 1).expand(1, 8, 2, 3).clone()  # a steady way
    masked = torch.zeros(1, 8, 2, dtype=torch.bool)
    masked[:, 4:, 0] = True
    masked[:, :, 1] = True  # throughout
    motion = difference(x)
    torch.testing.assert_close(add_up(x, motion, masked), x)
    still = add_up(x, torch.zeros_like(x), masked)
    torch.testing.assert_close(still[0, :, 0, 0], torch.tensor([0.0, 1, 2, 3, 4, 4, 4, 4]))
    torch.testing.assert_close(still[0, :, 1, 0], torch.full((8,), 3.5))


def is_whole(path) -> bool:
    """Whether a file is a picture, and a PDF has its fonts inside as TrueType."""
    content = path.read_bytes()
    if path.suffix == ".png":
        return content.startswith(b"\x89PNG") and content.rstrip().endswith(b"IEND\xaeB`\x82") and len(content) > 3000
    whole = content.startswith(b"%PDF") and content.rstrip().endswith(b"%%EOF")
    return whole and b"/FontFile2" in content and b"/Type3" not in content


def test_files_of_two_runs(make, tmp_path):
    runs, said = [make("masksem"), make("skeletonmae")], []
    page = report(runs, tmp_path / "page.html", paper=tmp_path / "figures", say=said.append)
    files = sorted((tmp_path / "figures").iterdir())
    assert len({f.stem for f in files}) * 2 == len(files)
    assert [f.name for f in files if not is_whole(f)] == []
    for kind in ("confusion", "tsne", "pca", "attention"):
        assert any(f.stem == f"masksem3-{kind}" for f in files)
    assert {f.stem for f in files if "-over-" in f.stem} == {
        "masksem3-over-skeletonmae3-classes",
        "masksem3-over-skeletonmae3-confusion",
    }
    assert sorted(line for line in said if not line.startswith("not drawn")) == [str(f) for f in files]
    text = page.read_text()
    found = check_alone(text, tmp_path)
    assert {"gains", "attention", "figures-for-a-paper"} <= set(found.ids)
    assert all(f.name in text for f in files)
    left = [line.removeprefix("not drawn: ") for line in said if line.startswith("not drawn")]
    assert len(left) == 2
    assert all(line.partition(": ")[0] in text for line in left)
    for hostile in HOSTILE:
        assert hostile not in re.sub(r'<script type="application/json".*?</script>', "", text, flags=re.S)


def test_the_same_picture_gives_the_same_files(make, tmp_path):
    picture = next(f for f in every_picture([examined(make("mamp"))], []) if isinstance(f, Picture))
    both = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        both.append([path.read_bytes() for path in paper.write(picture, tmp_path / name)])
    assert both[0] == both[1]


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    """A run on 2D poses of coco17 with dollars in its names, and its store."""
    of, folder = layout("coco17"), tmp_path_factory.mktemp("flat")
    rng = np.random.default_rng(0)
    sides = ({"split:xsub": "train"}, {"split:xsub": "test"})
    moves = [rng.normal(size=(1 + i % 2, 30, 17, 2)).cumsum(1) / 9 for i in range(48)]
    names = [f"c{sign}{i}" for sign in "$%" for i in range(24)]
    clips = [
        Clip(name, move, i // 2 % 2, sides[i % 2]) for i, (name, move) in enumerate(zip(names, moves, strict=True))
    ]
    store = write_store(folder / "store", clips, of, ("a$^_$", "b"))
    run = pretrain(make_settings(store, "mae", training_epochs=1), folder / "run", quiet=True)
    evaluate("knn", run, baselines=False)
    return run


def test_two_dimensions_and_names_with_dollars(flat, tmp_path):
    report(flat, tmp_path / "page.html", paper=tmp_path / "figures", clips=["c$1", "c%1"])
    files = list((tmp_path / "figures").iterdir())
    assert {"run-reconstruction-c-1.pdf", "run-reconstruction-c-1-2.pdf"} <= {f.name for f in files}
    assert len(files) == 2 * (4 + 2)
    assert all(is_whole(f) for f in files)


def test_one_class_has_no_nmi(flat, tmp_path):
    found = {f.name: f for f in every_picture([examined(flat, None, ["b"])], ["b"]) if isinstance(f, Picture)}
    plane = found["run-tsne"].data
    assert isinstance(plane, Plane)
    assert plane.nmi is None
    assert "NMI" not in found["run-tsne"].about
    table = found["run-confusion"].data
    assert isinstance(table, Shares)
    assert table.rows == ["b"]


def test_only_what_is_asked_for_is_shown(tiny, tmp_path):
    run = pretrain(make_settings(tiny, "mamp", training_epochs=1, split="xcam"), tmp_path / "run", quiet=True)
    one = examined(run, None, ["wave", "bow"], ["clip02"])
    assert [clip.name for clip in one.seen.clips] == ["clip02"]
    assert one.attention.clips == 1
    assert set(one.tsne.labels) == set(one.pca.labels) == {0, 2}


@pytest.mark.parametrize(
    "options, told",
    [
        ({"classes": ["b", "bb"]}, "no class 'bb'"),
        ({"clip": "c$99"}, r"no clip 'c\$99'"),
        ({"clip": ["c$3", "nobody"]}, "no clip 'nobody'"),
    ],
    ids=str,
)
def test_unknown_names_are_told_before_any_work(flat, tmp_path, options, told):
    with pytest.raises(ValueError, match=told):
        api.report(flat, tmp_path / "page.html", figures=tmp_path / "figures", **options)
    assert not list(tmp_path.iterdir())


def test_figures_into_a_file_are_refused(flat, tmp_path):
    (tmp_path / "figures").write_text("mine")
    with pytest.raises(ValueError, match="is a file; name a folder"):
        api.report(flat, tmp_path / "page.html", figures=tmp_path / "figures")
    assert (tmp_path / "figures").read_text() == "mine"


def test_without_matplotlib_the_extra_is_named(flat, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(ValueError, match=r"kinemask\[figures\]"):
        api.report(flat, tmp_path / "page.html", figures=tmp_path / "figures")
    assert api.report(flat, tmp_path / "page.html").is_file()


def test_few_clips_have_no_plane_and_the_rest_is_drawn(make, tmp_path):
    of = layout("sbu15")
    clips = [c for i, c in enumerate(recordings(of)) if c.label is not None][:14]
    store = write_store(tmp_path / "few", clips, of, ("wave", "kick", "bow"))
    run = tmp_path / "run"
    shutil.copytree(make("mamp"), run)
    found = list(every_picture([examined(run, store.path)], []))
    left = {f.title: f.why for f in found if isinstance(f, Missing)}
    assert "at least 10 labelled test clips" in left["run: t-SNE"]
    assert "run: reconstruction" not in left


def test_hostile_classes_of_an_evaluation_draw(make, tmp_path):
    for f in every_picture([examined(make("mamp")), examined(make("mae"))], []):
        if isinstance(f, Picture) and isinstance(f.data, Shares | Difference | ClassGains):
            assert all(is_whole(path) for path in paper.write(f, tmp_path))

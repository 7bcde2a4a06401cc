"""Recipes and settings of a run: read, changed by dotted name, refused."""

from __future__ import annotations

import warnings

import pytest
import torch

from helpers import make_settings
from kinemask.cli import parsers
from kinemask.pretext import method
from kinemask.recipes import load_recipe, recipes
from kinemask.skeleton import layout
from kinemask.training.settings import Settings, recipe_parser


@pytest.mark.parametrize("recipe", recipes())
def test_every_recipe_parses_and_builds(recipe):
    settings = Settings.from_recipe(recipe, {"data": "somewhere", "split": "xview"})
    assert Settings.from_dict(settings.to_dict()).to_dict() == settings.to_dict()
    assert recipe.startswith(settings.method)
    assert recipes()[recipe], "a recipe has a title"
    chosen = method(settings.method)
    of = layout("kinect20" if "ucla" in recipe else "utd20" if "utd" in recipe else "ntu25")
    with torch.device("meta"):
        encoder = chosen.build_encoder(of, settings.sampling.frames, settings.encoder)
        task = chosen.build(encoder, settings.decoder, settings.pretext)
    assert sum(p.numel() for p in task.parameters()) > 1000
    by_command_line = parse(["--recipe", recipe, "--data", "somewhere", "--split", "xview"])
    assert by_command_line == settings


@pytest.mark.parametrize(
    ("recipe", "tokens", "kept", "decoder", "tau"),
    [
        ("mamp-ntu60", 750, 75, 3, 0.8),
        ("mamp-ntu120", 750, 75, 5, 0.75),
        ("mamp-pku-mmd", 750, 75, 5, 0.8),
        ("mae-ntu60", 750, 75, 3, None),
        ("hacm-ntu60", 432, 22, None, 0.9),
        ("hacm-ntu120", 432, 22, None, 0.9),
    ],
)
def test_the_papers_recipes(recipe, tokens, kept, decoder, tau):
    s = Settings.from_recipe(recipe, {"data": "somewhere", "split": "xview"})
    chosen = method(s.method)
    with torch.device("meta"):
        task = chosen.build(chosen.build_encoder(layout("ntu25"), s.sampling.frames, s.encoder), s.decoder, s.pretext)
    assert (task.encoder.tokens, task.kept) == (tokens, kept)
    assert (s.encoder.layers, s.encoder.width, s.encoder.heads, s.encoder.mlp_ratio) == (8, 256, 8, 4)
    assert decoder in (None, s.decoder.layers)
    assert tau is None or s.pretext.tau == tau
    t = s.training
    assert (t.epochs, t.warmup_epochs, t.batch_size, t.lr, t.min_lr) == (400, 20, 128, 1e-3, 5e-4)
    assert (t.betas, t.weight_decay) == ((0.9, 0.95), 0.05)
    assert (tuple(s.sampling.crop), s.sampling.rotation, s.sampling.missing) == ((0.5, 1.0), 0.3, "fill")


@pytest.mark.parametrize("data", ["ntu60", "ntu120", "pku-mmd"])
def test_the_papers_recipes_of_feature_and_semantic_methods(data):
    s = Settings.from_recipe(f"skeleton2vec-{data}", {"data": "somewhere", "split": "xsub"})
    assert (s.sampling.frames, s.sampling.window, s.sampling.test_clips, s.sampling.rotation) == (
        90,
        "uniform",
        10,
        0.3,
    )
    assert (s.encoder.layers, s.encoder.width, s.encoder.segment_frames, s.encoder.joints) == (8, 256, 3, "all")
    p, t = s.pretext, s.training
    assert (p.mask_ratio, p.tube_segments, p.motion_weight, p.top_k_layers, p.ema_decay) == (0.9, 5, 0.1, 0, 0.9999)
    assert (t.epochs, t.batch_size, t.lr, t.min_lr) == (600, 128, 1e-3, 1e-5)
    s = Settings.from_recipe(f"masksem-{data}", {"data": "somewhere", "split": "xsub"})
    assert (s.sampling.frames, s.sampling.crop, s.sampling.rotation, s.sampling.shear) == (120, (0.5, 1.0), 0.3, 0.5)
    assert (s.encoder.layers, s.encoder.width, s.encoder.segment_frames, s.encoder.joints) == (8, 256, 4, "all")
    p, t = s.pretext, s.training
    assert (p.mask_ratio, p.tau, p.ema_decay, p.acceleration_weight) == (0.9, 0.8, 0.999, 0.2)
    assert (p.masking, p.reference, p.smoothing, p.heads) == ("semantic", "dataset", "adjacency", "shared")
    assert (t.epochs, t.batch_size, t.lr, t.min_lr) == (400, 128, 1e-3, 5e-4)
    for name in ("mae", "mamp", "skeleton2vec", "masksem"):  # MAMP's code: 128 on each of two devices
        assert load_recipe(f"{name}-{data}")["linear"]["batch_size"] == 256


def test_a_ball_that_nothing_is_mapped_into_is_told():
    where = {"data": "somewhere", "split": "xview", "encoder.space": "euclidean", "encoder.curvature": 0.5}
    alone = {"pretext.criteria": "temporal", "pretext.temporal_strategy": 2, "pretext.contrast_weight": 0.0}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Settings.from_recipe("hacm-ntu60", where | alone)  # its targets are
    for recipe, more in (("mamp-ntu60", {}), ("hacm-ntu60", alone | {"pretext.target_space": "euclidean"})):
        with pytest.warns(UserWarning, match=r"encoder\.curvature has no effect in euclidean space"):
            Settings.from_recipe(recipe, where | more)


def parse(words):
    """As `kinemask pretrain` does."""
    content, parser = parsers.pretrain(words)
    return Settings.of(content, parser.parse(parser.read(words)))


def required(*more):
    return ["--recipe", RECIPE, "--data", "d", "--split", "s", *more]


RECIPE = next(name for name in recipes() if name.startswith("mamp"))


def test_settings_by_their_dotted_names():
    settings = parse(required("--training.lr", "0.5", "--sampling.crop", "[0.2,0.9]", "--pretext.tau=2", "--seed", "7"))
    assert (settings.training.lr, settings.sampling.crop, settings.pretext.tau) == (0.5, (0.2, 0.9), 2)
    assert settings.seed == 7
    overrides = {
        "data": "d",
        "split": "s",
        "training.lr": 0.5,
        "sampling.crop": [0.2, 0.9],
        "pretext.tau": 2,
        "seed": 7,
    }
    assert Settings.from_recipe(RECIPE, overrides) == settings
    for words in (["[0.1,0.2,0.3]"], ["0.1", "0.2", "0.3"]):
        assert parse(required("--sampling.rotation", *words)).sampling.rotation == (0.1, 0.2, 0.3)
    assert parse(required("--sampling.min-crop-frames=9", "--training.no-compile")).sampling.min_crop_frames == 9
    assert parse(["--recipe", RECIPE, "--data", "a", "b", "--split", "s"]).data == ["a", "b"]


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["--pretext.nonsense", "1"], r"pretext\.nonsense"),
        (["--nonsense", "1"], "unknown option --nonsense"),
        (["--training.epoch", "1"], r"mean --training\.epochs\?"),  # nor is a shortened name a setting's name
        (["--lr", "1"], r"did you mean --training\.lr\?"),
        (["--training.lr", "quick"], r"training\.lr"),
        (["--pretext.masking", "semantic"], "masking"),
        (["--training.epochs", "1.5"], "epochs"),
        (["--sampling.crop", "[0.5,0.7,0.9]"], "crop"),
        (["--pretext.mask_ratio", "1.5"], "mask_ratio"),
        (["--training.batch_size", "0"], "batch_size"),
        (["--recipe", "nonsense"], f"nonsense.*{RECIPE}"),
        (["--recipe", "mamp-ntu61"], r"did you mean mamp-ntu60\?"),
        (["--recipe", "../../etc/passwd"], "unknown recipe"),
        (["--recipe", "/nowhere/x.yaml"], "does not exist"),
    ],
)
def test_wrong_settings_are_errors(arguments, match):
    with pytest.raises(ValueError, match=match):
        parse(required(*arguments))


def test_missing_settings_are_errors():
    with pytest.raises(ValueError, match="data"):
        parse(["--recipe", RECIPE, "--split", "s"])
    with pytest.raises(ValueError, match="nonsense"):
        Settings.from_recipe(RECIPE, {"data": "d", "split": "s", "training.nonsense": 1})


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("method: mamp\npretext: {nonsense: 1}", "nonsense"),
        ("method: mamp\nnonsense: 1", "nonsense"),
        ("method: nonsense", "mamp"),
        ("method: [", "YAML"),
        ("just words", "mapping"),
        ("method: mamp\ntraining: {epochs: many}", "epochs"),
        ("method: mamp\ntraining: 3", "training"),
        ("method: mamp\nlinear: {epoch: 3}", "linear.*did you mean epochs"),
        ("method: mamp\nfinetune: {sampling: {share: 0.1}}", "finetune.*did you mean shear"),
        ("method: mamp\n1: 2\nb: 3", "1 is not the name of a setting"),
        ("method: mamp\ntraining: {no: 3, epochs: 2}", "False is not the name of a setting"),
        ("method: !!python/object/apply:os.getcwd []", "YAML"),
    ],
)
def test_bad_recipe_files_are_told(text, match, tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=match):
        parse(["--recipe", str(path), "--data", "d", "--split", "s"])


def test_a_recipe_of_ones_own(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(
        "method: hacm\nencoder: {space: poincare, width: 32}\ntraining: {lr: 1.0e-2, betas: [0.8, 0.9]}\nseed: 5"
    )
    settings = parse(["--recipe", str(path), "--data", "d", "--split", "s", "--encoder.heads", "4"])
    assert (settings.method, settings.encoder.width, settings.encoder.heads, settings.seed) == ("hacm", 32, 4, 5)
    assert settings.training.betas == (0.8, 0.9)
    assert "learning rate (default: 0.01)" in recipe_parser(str(path))[1].format_help()


def test_settings_read_back_are_the_same_values(tiny):
    settings = make_settings(tiny, "hacm", sampling_rotation=(0.0, 0.3, 0.0))
    assert Settings.from_dict(settings.to_dict()) == settings

"""What `prepare` says at its end of what it stored, but is not sure of."""

from __future__ import annotations

import csv

import numpy as np

from figures import figure, pixels
from kinemask import cli
from kinemask.preparation.prepare import prepare
from kinemask.skeleton import layout
from kinemask.store.opening import open_store


def write(folder, **arrays):
    folder.mkdir()
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    (folder / "clips.csv").write_text("\n".join(["clip", *arrays]))
    return folder


def test_missing_joints_and_standing_still_are_kept_and_said(tmp_path):
    rng = np.random.default_rng(0)
    gone = {f"gone{i}": np.where(rng.random((30, 17, 1)) < 0.65, np.nan, pixels(30)) for i in range(3)}
    still = np.repeat(pixels(1), 30, axis=0)
    src = write(tmp_path / "src", fine=pixels(30), **gone, still=still)
    summary = prepare("arrays", src, tmp_path / "store", layout="coco17", progress=False)
    store = open_store(summary.path)
    assert (len(store), summary.rejected) == (5, 0)
    share = np.isnan(gone["gone0"][..., 0]).mean()
    assert summary.doubts == (
        f"3 clips, gone0 the first: {share:.0%} of the joints are missing",
        "still: nothing moves",
    )
    rows = list(csv.reader((summary.path / "rejected.csv").open()))[1:]
    assert [row[:2] for row in rows if row[0] == "kept"] == [
        ["kept", name] for name in ("gone0", "gone1", "gone2", "still")
    ]
    *_, first, second, counts = str(summary).splitlines()
    assert first.startswith("doubt: 3 clips, gone0 the first: ")
    assert second == "doubt: still: nothing moves (kept; see rejected.csv)"
    assert counts.endswith("(see rejected.csv)")


def test_clips_of_one_frame_may_be_images(tmp_path):
    src = write(tmp_path / "src", a=pixels(1), b=pixels(1, 90), c=pixels(12))
    summary = prepare("arrays", src, tmp_path / "store", layout="coco17", progress=False)
    assert summary.doubts == ("2 of 3 clips are of one frame: is each a recording, or an image?",)


def test_nothing_is_said_of_clips_that_look_right(tmp_path):
    src = write(tmp_path / "src", a=figure(layout("ntu25")), b=figure(layout("ntu25"), 1))
    summary = prepare("arrays", src, tmp_path / "store", layout="ntu25", progress=False)
    assert (summary.doubts, summary.warnings) == ((), ())
    assert len(str(summary).splitlines()) == 1


def test_every_option_has_its_place_on_the_command_line(tmp_path, capsys):
    both = np.stack([figure(layout("ntu25"), 20), figure(layout("ntu25"), 20, 2, 0.1)]) * 1000
    src = write(tmp_path / "src", a=both.swapaxes(0, 1)[..., [0, 2, 1]] * (1, -1, 1))
    words = f"prepare arrays {src} {tmp_path / 'store'} --layout ntu25 --axes TMVC --unit mm --up z --per-person"
    assert cli.main(words.split()) == 0
    store = open_store(tmp_path / "store")
    assert store.names == ["a#1", "a#2"]
    expected = both[1] / 1000
    assert np.allclose(store.clip(1)[0], expected - expected[0, 1], atol=1e-5)
    assert "doubt" not in capsys.readouterr().out
    assert cli.main([*words.replace("/store", "/one").split()[:-1], "--bodies", "1"]) == 0
    assert open_store(tmp_path / "one").bodies.tolist() == [1]
    assert cli.main(words.replace("--unit mm", "--unit inches").replace("/store", "/x").split()) == 2
    assert "unit must be one of m, cm, mm, in, ft" in capsys.readouterr().err

"""From labelled recordings to labels: recognisers."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kinemask.training.settings import Device

if TYPE_CHECKING:
    from kinemask.nn.settings import ReadoutSettings
    from kinemask.recognition.export import Exported
    from kinemask.recognition.output import Features
    from kinemask.recognition.recogniser import Recogniser
    from kinemask.recognition.segments import Segment
    from kinemask.recognition.train import Trained
    from kinemask.skeleton import Layout


def train(
    data: str | Path,
    out: str | Path = "recogniser",
    *,
    format: str | None = None,
    layout: str | Path | Layout | None = None,
    split: str | None = None,
    encoder: str | Path | None = None,
    pretrain: bool = False,
    finetune: bool = False,
    features: Sequence[Literal["auto", "convolutions", "statistics", "tokens"]] = ("auto",),
    align: Literal["auto", "none", "heading", "pair"] = "auto",
    mirrored: Literal["auto", "yes", "no"] = "auto",
    twins: Literal["auto", "yes", "no"] = "auto",
    spread: Literal["auto", "yes", "no"] = "auto",
    kernels: int = 2000,
    seed: int = 0,
    store: str | Path | None = None,
    min_score: float = 0.0,
    axes: str = "",
    unit: Literal["m", "cm", "mm", "in", "ft"] | None = None,
    up: Literal["x", "y", "z", "-x", "-y", "-z"] | None = None,
    bodies: int | None = None,
    per_person: bool = False,
    overwrite: bool = False,
    device: Device = "auto",
    quiet: bool = True,
) -> Trained:
    """Train a recogniser of actions on labelled recordings, and say how good it is on people it has not seen.

    Writes OUT/recogniser.safetensors and OUT/report.html. What it looks at is chosen by clips left out, with all clips
    of the same person; every clip is then scored once, by a recogniser that was chosen and fitted without its person.
    The recogniser that is written has learned from all labelled clips. Raises ValueError where no clip has a label,
    there is one class, or the format is not clear; Stopped where the training of an encoder was interrupted.

    Args:
        data: a store, or a folder or file of recordings; labels are clips.csv's, or those of a folder for each class
        out: folder of the recogniser
        format: of the recordings (kinemask datasets), where looking at them does not tell
        layout: the skeleton, where the format leaves a choice: a name (kinemask layouts) or a YAML file
        split: learn from the training part of this split alone, and hold out its test part
        encoder: a run, or an encoder file, whose tokens may stand beside other features
        pretrain: pre-train an encoder first, on clips without a label too: minutes, kept in OUT; resumes
        finetune: fine-tune the encoder on the labelled clips, too, and see on clips left out whether it helps: minutes
        features: auto, or some of convolutions, statistics and tokens, side by side
        align: how clips are turned about the vertical
        mirrored: whether to learn from mirrored copies too
        twins: whether what generated twins differ in counts less: the same motion by several people (3D)
        spread: whether labels are spread to clips without one, from neighbour to neighbour
        kernels: number of random convolutions
        seed: of the random convolutions
        store: keep what was read as a store in this folder
        min_score: treat joints at or below this confidence as missing
        axes: what the axes of your arrays are: T frames, M people, V joints, C coordinates, such as TMVC
        unit: of your 3D coordinates (default: m; a column unit in clips.csv goes first)
        up: the axis of your recordings that points up (default: y in 3D, -y in images)
        bodies: keep this many people of a clip, those most seen
        per_person: make a clip of each person, NAME#1, NAME#2, ...; clips.csv may label them by these names
        overwrite: replace a recogniser that is in OUT
        device: auto takes CUDA where there is one
        quiet: print nothing
    """
    from kinemask.recognition.train import train as run

    yes_or_no: dict[str, str | bool] = {"auto": "auto", "yes": True, "no": False}
    return run(
        data,
        out,
        format=format,
        layout=layout,
        split=split,
        encoder=encoder,
        pretrain=pretrain,
        finetune=finetune,
        features="auto" if list(features) == ["auto"] else list(features),
        align=align,
        mirrored=yes_or_no[mirrored],
        twins=yes_or_no[twins],
        spread=yes_or_no[spread],
        kernels=kernels,
        seed=seed,
        device=device,
        store=store,
        overwrite=overwrite,
        quiet=quiet,
        min_score=min_score,
        axes=axes,
        unit=unit,
        up=up,
        bodies=bodies,
        per_person=per_person,
    )


def predict(
    recogniser: str | Path | Recogniser,
    inputs: Sequence[str | Path],
    *,
    out: str | Path | None = None,
    top: int = 1,
    min_confidence: float = 0.0,
    window: float | None = None,
    hop: float | None = None,
    fps: float | None = None,
    per_person: bool = False,
    format: str | None = None,
    layout: str | Path | Layout | None = None,
    min_score: float | None = None,
    axes: str | None = None,
    unit: Literal["m", "cm", "mm", "in", "ft"] | None = None,
    up: Literal["x", "y", "z", "-x", "-y", "-z"] | None = None,
    bodies: int | None = None,
    device: Device = "auto",
    quiet: bool = True,
) -> list[Segment]:
    """Label recordings, whole or window by window, with a trained recogniser.

    Returns a segment for each clip, or for each stretch of one label; nothing is written but OUT. Files are read as
    those that the recogniser has learned from (unit, axis up, ...), unless told otherwise. Raises ValueError for what
    is no recogniser, and where nothing in the inputs can be read; single recordings that cannot be are warned of.

    Args:
        recogniser: a folder that train wrote
        inputs: stores, folders and files of recordings, of any format that prepare reads
        out: the file to write: .csv, or .jsonl for JSON lines (default: a table on the terminal)
        top: name so many of the most probable classes
        min_confidence: label unsure what is less probable than this
        window: label long recordings by windows of so many seconds, and merge neighbours of one label
        hop: seconds from one window to the next (default: half a window)
        fps: frames a second, where the recordings do not tell
        per_person: label each person by themselves, NAME#1, NAME#2, ...
        format: of the recordings (kinemask datasets), where looking at them does not tell
        layout: the skeleton of the recordings, where it is not the recogniser's and the format leaves a choice
        min_score: treat joints at or below this confidence as missing (default: as in training)
        axes: what the axes of your arrays are (default: as in training)
        unit: of your 3D coordinates (default: as in training)
        up: the axis of your recordings that points up (default: as in training)
        bodies: keep this many people of a clip, those most seen (default: as in training)
        device: auto takes CUDA where there is one
        quiet: do not say how the inputs are read
    """
    from kinemask.recognition.output import check_table, write_segments
    from kinemask.recognition.predict import predict as run

    check_table(out)
    found = run(
        recogniser,
        inputs,
        format=format,
        layout=layout,
        top=top,
        min_confidence=min_confidence,
        window=window,
        hop=hop,
        fps=fps,
        per_person=per_person,
        device=device,
        min_score=min_score,
        axes=axes,
        unit=unit,
        up=up,
        bodies=bodies,
    )
    _tell(found.said, found.failed, quiet)
    if out is not None:
        write_segments(out, found.segments)
    return found.segments


def embed(
    model: str | Path,
    inputs: Sequence[str | Path],
    *,
    out: str | Path = "features.npz",
    readout: ReadoutSettings | None = None,
    format: str | None = None,
    layout: str | Path | Layout | None = None,
    min_score: float | None = None,
    axes: str | None = None,
    unit: Literal["m", "cm", "mm", "in", "ft"] | None = None,
    up: Literal["x", "y", "z", "-x", "-y", "-z"] | None = None,
    bodies: int | None = None,
    device: Device = "auto",
    quiet: bool = True,
) -> Features:
    """Write the features of recordings, by a recogniser or by a run's encoder, with their names and labels.

    Returns them: names, labels ("" for none) and features (N, D). Raises ValueError for what is neither a recogniser
    nor a run, and where nothing in the inputs can be read; single recordings that cannot be are warned of.

    Args:
        model: a folder that train wrote, a run, or an encoder file
        inputs: stores, folders and files of recordings, of any format that prepare reads
        out: the file to write: .npz (arrays names, labels, features), .csv or .parquet (a line per recording)
        readout: what an encoder's tokens become
        format: of the recordings (kinemask datasets), where looking at them does not tell
        layout: the skeleton of the recordings, where it is not the model's and the format leaves a choice
        min_score: treat joints at or below this confidence as missing
        axes: what the axes of your arrays are: T frames, M people, V joints, C coordinates, such as TMVC
        unit: of your 3D coordinates (default: m, or as in training)
        up: the axis of your recordings that points up
        bodies: keep this many people of a clip, those most seen
        device: auto takes CUDA where there is one
        quiet: do not say how the inputs are read
    """
    from kinemask.recognition.embed import embed as run
    from kinemask.recognition.output import check_features, write_features

    check_features(out)
    found = run(
        model,
        inputs,
        readout=readout,
        format=format,
        layout=layout,
        device=device,
        min_score=min_score,
        axes=axes,
        unit=unit,
        up=up,
        bodies=bodies,
    )
    _tell(found.said, found.failed, quiet)
    write_features(out, found.found)
    return found.found


def live(
    recogniser: str | Path | Recogniser,
    source: str | Path = "-",
    *,
    camera: int | str | None = None,
    estimator: Literal["mediapipe", "ultralytics"] | None = None,
    model: str | Path | None = None,
    window: float | None = None,
    hop: float | None = None,
    fps: float | None = None,
    top: int = 1,
    min_confidence: float = 0.0,
    follow: bool = True,
    layout: str | Path | Layout | None = None,
    min_score: float | None = None,
    unit: Literal["m", "cm", "mm", "in", "ft"] | None = None,
    up: Literal["x", "y", "z", "-x", "-y", "-z"] | None = None,
    bodies: int | None = None,
    image_width: float | None = None,
    image_height: float | None = None,
    device: Device = "auto",
    quiet: bool = True,
) -> Iterator[Segment]:
    """Label poses while they arrive: JSON lines, a frame each, of standard input or a file that grows; or of a camera.

    A line is {"keypoints": [[x, y, z], ...]} for one person or {"people": [[[x, y, z], ...], ...]}, with "time" in
    seconds if it is known, or such a list alone; null is missing. Yields a segment at every hop at which somebody is
    seen in the window, and one of what is left at the end. Lines that are no frames are left out; raises ValueError for
    too many of them in a row, for other joints than the layout's, for a stream without a frame, and for a camera, an
    estimator or a model that is not there. A camera's poses are found by an estimator that you have installed.

    Args:
        recogniser: a folder that train wrote
        source: a file to follow as it grows, or - for standard input
        camera: in place of a source: a camera's number (0 is the first), a film, or the address of a stream
        estimator: what finds the people in the camera's images; it has to be installed
        model: the estimator's model file, which kinemask does not ship
        window: seconds of frames that are looked at (default: as many frames as the median clip of training)
        hop: seconds from one label to the next (default: half a window)
        fps: frames a second, where the lines have no time
        top: name so many of the most probable classes
        min_confidence: label unsure what is less probable than this
        follow: wait for more where the file ends
        layout: the skeleton of the lines, where it is not the recogniser's; joints are matched by name
        min_score: treat joints at or below this confidence as missing (default: as in training)
        unit: of your 3D coordinates (default: as in training)
        up: the axis of your poses that points up (default: as in training)
        bodies: keep this many people of a window, those most seen (default: as in training)
        image_width: of 2D: the image's width, where coordinates are shares of it
        image_height: of 2D: the image's height, where the recordings learned from told theirs
        device: auto takes CUDA where there is one
        quiet: do not say what looks wrong
    """
    from kinemask.recognition.live import LiveWindow
    from kinemask.recognition.stream import live as run
    from kinemask.recognition.stream import read_lines

    say = (lambda line: None) if quiet else lambda line: print(line, file=sys.stderr, flush=True)
    name = "live" if str(source) == "-" else Path(source).stem
    if camera is None:
        _no_effect({"estimator": estimator, "model": model}, "without a camera")
    else:
        told = {"source": None if str(source) == "-" else source, "follow": None if follow else False}
        _no_effect({**told, "fps": fps, "layout": layout}, "beside a camera")
        from kinemask.recognition.camera import axes_of, is_film, poses_of
        from kinemask.recognition.recogniser import Recogniser

        recogniser = recogniser if isinstance(recogniser, Recogniser) else Recogniser.load(recogniser, device)
        layout, name = poses_of(estimator, recogniser), Path(str(camera)).stem if is_film(camera) else "live"
        own_unit, own_up = axes_of(estimator, recogniser)
        unit, up = unit or own_unit, up or own_up
    held = LiveWindow(
        recogniser,
        window=window,
        hop=hop,
        fps=fps,
        top=top,
        min_confidence=min_confidence,
        layout=layout,
        min_score=min_score,
        unit=unit,
        up=up,
        bodies=bodies,
        image_width=image_width,
        image_height=image_height,
        device=device,
        name=name,
        say=say,
    )
    say(f"waiting for poses of {held.layout.name}: {held.layout.num_joints} joints, {held.layout.dims}D")
    if camera is None:
        return run(held, read_lines(source, follow, say), say)
    from kinemask.recognition.camera import Camera

    seen = Camera(camera, estimator, model, held.layout.name, held.recogniser.model_.window.bodies)
    return run(held, seen.frames(), say, "frame")


def export(source: str | Path, out: str | Path, *, data: str | Path | None = None, quantize: bool = False) -> Exported:
    """Write a recogniser or an encoder with everything inside, from raw keypoints to probabilities or features.

    The model takes keypoints (1, M, T, V, C) of any number of people M and frames T, in a store's units and axes, NaN
    where missing: it moves, fills, turns and resamples them itself. It is run on clips before it is written. Returns
    how it compares with PyTorch; raises ValueError for what is neither a recogniser nor an encoder, for an encoder with
    random test windows, and for packages that are not there; FloatingPointError where the outputs differ from
    PyTorch's by more than 1e-4.

    Args:
        source: a recogniser's folder or file; or a run, or an encoder file
        out: the file to write: .onnx (onnxruntime, browsers), .pt2 (torch.export), or .html: a page with a recogniser
            in it, which shows the skeleton and the label of a pose file
        data: a store on whose clips the outputs are compared, and the accuracy is told (default: made-up clips)
        quantize: weights of eight bits: a smaller file that is a little less exact, and says how much
    """
    from kinemask.recognition.export import export as run

    return run(source, out, data, quantize)


def _no_effect(given: Mapping[str, Any], where: str) -> None:
    """ValueError for the first option that is given though it means nothing here."""
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"{name} has no effect {where}")


def _tell(said: Sequence[str], failed: Sequence[str], quiet: bool) -> None:
    """Say how inputs were read, and warn of what could not be."""
    for line in () if quiet else said:
        print(line, file=sys.stderr)
    for line in failed:
        if quiet:
            warnings.warn(line, stacklevel=3)
        else:
            print(f"not read: {line}", file=sys.stderr)

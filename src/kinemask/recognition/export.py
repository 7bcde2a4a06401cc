"""`export`: a recogniser, or an encoder, with everything inside, as ONNX or as a program of torch.export."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kinemask.files import write_atomically
from kinemask.models.encoders import load_encoder
from kinemask.recognition.arrays import as_recordings
from kinemask.recognition.files import is_recogniser, read_recogniser
from kinemask.recognition.onnx_weights import pack
from kinemask.recognition.programs import Run, check_onnx, run_onnx, run_program, save_program, to_onnx, trace
from kinemask.recognition.whole import Whole, WholeEncoder, WholeRecogniser
from kinemask.reports.browser import browser_page
from kinemask.skeleton import Layout
from kinemask.store.opening import open_store
from kinemask.version import __version__

SUFFIXES = (".onnx", ".html", ".pt2")
MOST = 1e-4  # difference from PyTorch, of numbers about 1
CLIPS = 100  # of a store, that are compared
MADE = ((1, 1), (1, 2), (1, 17), (2, 40), (3, 64), (1, 300))  # people and frames of clips that are made up


@dataclass(frozen=True, eq=False)
class Model:
    """What is exported. about: what its file says of itself; expected: what it makes of clips, in the usual way."""

    whole: Whole
    about: dict[str, Any]
    expected: Callable[[Sequence[np.ndarray]], np.ndarray]

    @property
    def classes(self) -> list[str]:
        return [str(name) for name in self.about.get("classes", ())]


@dataclass(frozen=True)
class Exported:
    """What was written, and how it compares with PyTorch.

    output: probabilities or features. size: bytes. clips: how many were compared, made up if `made`. difference: the
    largest, as a share of the largest output where that is above 1. agreement: percent of these clips with the same
    most probable class, None for features. accuracy, accuracy_before: percent of those with a label, of the file and of
    PyTorch; None where none has one.
    """

    path: Path
    output: str
    size: int
    clips: int
    made: bool
    quantized: bool
    difference: float
    agreement: float | None = None
    accuracy: float | None = None
    accuracy_before: float | None = None

    def __str__(self) -> str:
        weights = ", weights of eight bits" if self.quantized else ""
        lines = [f"{self.path}: keypoints (1, M, T, V, C) -> {self.output}; {self.size / 1e6:.1f} MB{weights}"]
        same = "" if self.agreement is None else f", the same class for {self.agreement:.1f} %"
        compared = f"{self.clips} {'made-up clips' if self.made else 'clips'}"
        lines.append(f"beside PyTorch on {compared}: largest difference {self.difference:.1e}{same}")
        if self.accuracy is not None:
            lines.append(
                f"accuracy on those with a label: {self.accuracy:.1f} % (PyTorch {self.accuracy_before:.1f} %)"
            )
        if self.made:
            lines.append("--data STORE compares on recordings")
        return "\n".join(lines)


def export(source: str | Path, out: str | Path, data: str | Path | None = None, quantize: bool = False) -> Exported:
    """Write a model with everything inside; `api.export` describes the parameters."""
    source, out = Path(source), Path(out)
    if out.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{out}: a model is written as {', '.join(SUFFIXES)}")
    as_program, as_page = (out.suffix.lower() == suffix for suffix in (".pt2", ".html"))
    if quantize and as_program:
        raise ValueError(f"{out}: weights of eight bits are for .onnx and .html")
    if not as_program:
        check_onnx()
    model = read_model(source)
    if as_page and not model.classes:
        raise ValueError(f"{out}: a page shows labels, and {source} is no recogniser")
    clips, labels = _made(model.whole.layout), None
    if data is not None:
        clips, labels = _of_store(data, model)
    expected = model.expected(clips)
    program = trace(model.whole)
    if as_program:
        found = _compared(run_program(program), clips, expected, out)
        write: Callable[[Path], object] = lambda path: save_program(program, path, model.about)
    else:
        graph = to_onnx(program, model.whole.output, model.about)
        content = pack(graph)
        found = _compared(run_onnx(content), clips, expected, out)
        if quantize:
            content = pack(graph, eight_bits=True)
            found = _outputs(run_onnx(content), clips)
        if as_page:
            about = model.whole.layout, model.about["units"], model.classes
            content = browser_page(source.resolve().stem, content, *about).encode()
        write = lambda path: path.write_bytes(content)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, write)
    return Exported(
        path=out,
        output=model.whole.output,
        size=out.stat().st_size,
        clips=len(clips),
        made=data is None,
        quantized=quantize,
        difference=_difference(found, expected),
        **_judged(found, expected, labels, model),
    )


def read_model(source: Path) -> Model:
    """The recogniser, or the encoder of a run or file, with everything inside; ValueError where it is neither."""
    if is_recogniser(source):
        saved = read_recogniser(source)
        learned = saved.model
        about = _about(learned.layout, "probabilities") | {"classes": saved.classes}
        expected = lambda clips: learned.predict(as_recordings(clips, learned.layout)).numpy()
        return Model(WholeRecogniser(learned), about, expected)
    if source.is_dir() and not (source / "encoder.safetensors").is_file() and not (source / "config.yaml").is_file():
        raise ValueError(f"{source} holds neither a recogniser nor a run with an encoder")
    encoder = load_encoder(source)
    expected = lambda clips: encoder.encode(_centred(clips, encoder.layout)).numpy()
    return Model(WholeEncoder(encoder), _about(encoder.layout, "features"), expected)


def _centred(clips: Sequence[np.ndarray], layout: Layout) -> list[np.ndarray]:
    """Clips with the first body's root at the origin, as a store has them."""
    found = as_recordings(clips, layout)
    ends = (found.offsets + found.bodies * found.lengths).tolist()
    rows = (found.frames[first:end] for first, end in zip(found.offsets.tolist(), ends, strict=True))
    return [one.reshape(clip.shape) for one, clip in zip(rows, clips, strict=True)]


def _about(layout: Layout, output: str) -> dict[str, Any]:
    units = "metres, y up" if layout.dims == 3 else "half image heights, y up"
    return {"kinemask": __version__, "layout": layout.to_dict(), "units": units, "output": output}


def _of_store(path: str | Path, model: Model) -> tuple[list[np.ndarray], np.ndarray]:
    """Clips spread over a store, and the numbers of their classes (N,), -1 for one that the model does not know."""
    store, layout = open_store(path), model.whole.layout
    if store.layout.to_dict() != layout.to_dict():
        raise ValueError(f"the model is of layout {layout.name}, the store {path} of {store.layout.name}")
    chosen = np.unique(np.linspace(0, len(store) - 1, min(CLIPS, len(store))).round().astype(int))
    number = {name: i for i, name in enumerate(model.classes)}
    found = [store[int(i)] for i in chosen]
    labels = np.array([number.get(clip.class_name, -1) for clip in found])
    return [np.array(clip.data, np.float32) for clip in found], labels


def _made(layout: Layout) -> list[np.ndarray]:
    """Clips of several lengths and numbers of people, made up, with gaps."""
    rng = np.random.default_rng(0)
    clips = []
    for people, frames in MADE:
        pose = rng.normal(0, 0.3, (people, 1, layout.num_joints, layout.dims))
        walk = rng.normal(0, 0.02, (people, frames, layout.num_joints, layout.dims)).cumsum(1)
        clip = (pose + walk).astype(np.float32)
        clip[rng.random(clip.shape[:3]) < 0.1] = np.nan
        clips.append(clip)
    return clips


def _outputs(run: Run, clips: Sequence[np.ndarray]) -> np.ndarray:
    return np.stack([run(clip) for clip in clips])


def _compared(run: Run, clips: Sequence[np.ndarray], expected: np.ndarray, out: Path) -> np.ndarray:
    """Outputs for the clips; FloatingPointError where they are not PyTorch's."""
    found = _outputs(run, clips)
    if not (difference := _difference(found, expected)) <= MOST:
        raise FloatingPointError(f"{out} is not written: its outputs would differ from PyTorch's by {difference:.1e}")
    return found


def _difference(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / max(1.0, float(np.abs(expected).max())))


def _judged(found: np.ndarray, expected: np.ndarray, labels: np.ndarray | None, model: Model) -> dict[str, float]:
    """What `Exported` says of classes."""
    if not model.classes:
        return {}
    guess, before = found.argmax(1), expected.argmax(1)
    judged = {"agreement": 100 * float((guess == before).mean())}
    if labels is None or not (labels >= 0).any():
        return judged
    known = labels >= 0
    right = {"accuracy": guess, "accuracy_before": before}
    return judged | {name: 100 * float((one == labels)[known].mean()) for name, one in right.items()}

"""A model with everything inside as a program: of torch.export, and of that in ONNX."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import Dim, ExportedProgram

from kinemask.recognition.whole import Whole

OPSET = 18  # onnxruntime and onnxruntime-web run it
LONGEST, CROWD = 100_000, 1_000  # frames and people that a program promises to take
KEY = "kinemask"  # of what the file says of itself

Run = Callable[[np.ndarray], np.ndarray]  # a clip (M, T, V, C) -> outputs (D,)


def trace(whole: Whole) -> ExportedProgram:
    """The program of a model; how many people and frames there are is left open."""
    example = torch.randn(1, 2, 37, whole.layout.num_joints, whole.layout.dims)
    open_sizes = {1: Dim("people", min=1, max=CROWD), 2: Dim("frames", min=1, max=LONGEST)}
    with torch.no_grad(), _quietly():
        return torch.export.export(whole.eval(), (example,), dynamic_shapes=(open_sizes,))


def to_onnx(program: ExportedProgram, output: str, about: dict[str, Any]) -> Any:
    """The program as a ModelProto; about: plain values that it carries as JSON."""
    with torch.no_grad(), _quietly():
        made = torch.onnx.export(
            program,
            (),
            dynamo=True,
            optimize=True,
            opset_version=OPSET,
            input_names=["keypoints"],
            output_names=[output],
            verbose=False,
        )
    assert made is not None
    model = made.model_proto
    del model.metadata_props[:]
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, json.dumps(about)
    _forget_where(model.graph)
    return model


def save_program(program: ExportedProgram, path: Path, about: dict[str, Any]) -> None:
    """Write a program of torch.export, with `about` in it as the extra file kinemask.json."""
    with path.open("wb") as file, _quietly():
        torch.export.save(program, file, extra_files={f"{KEY}.json": json.dumps(about)})


def run_program(program: ExportedProgram) -> Run:
    """Runs a program of torch.export."""
    module = program.module()
    return lambda clip: module(torch.from_numpy(clip)[None]).detach().numpy()[0]


def run_onnx(model: bytes) -> Run:
    """Runs an ONNX model in onnxruntime, on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda clip: np.asarray(session.run(None, {"keypoints": clip[None]})[0])[0]


def check_onnx() -> None:
    """ValueError, saying how to get them, where the packages that ONNX needs are absent."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"ONNX needs the package {error.name}: pip install 'kinemask[onnx]' (a .pt2 needs none)"
        ) from None


def _forget_where(graph: Any) -> None:
    """Takes from a graph what tells of the machine that it was made on: paths of source files in notes on nodes."""
    graph.doc_string = ""
    for node in graph.node:
        node.doc_string = ""
        del node.metadata_props[:]


@contextmanager
def _quietly() -> Iterator[None]:
    """Without remarks of PyTorch's exporters on what they do."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)

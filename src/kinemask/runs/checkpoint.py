"""Checkpoints of a run: the loop's whole state in `last.pt`, and the one before it in `previous.pt`."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict, cast

import msgspec
import torch
from torch import Tensor

from kinemask.budget import check_holes
from kinemask.errors import shorten
from kinemask.files import write_atomically

_Count = Annotated[int, msgspec.Meta(ge=0)]


class Optimizer(TypedDict):
    """What an optimizer says of itself: values by name for each parameter's number, and the numbers by group."""

    state: dict[_Count, dict[str, Any]]
    param_groups: list[dict[str, Any]]


class Logged(TypedDict):
    """Sums for the log's next line, over the steps after `since`."""

    since: _Count
    sums: dict[str, float]


class State(TypedDict):
    """All that a run goes on from. task: its weights; sources: hashes of the stores that it is trained on."""

    step: _Count
    task: dict[str, Tensor]
    optimizer: Optimizer
    sources: list[dict[str, str]]
    log: NotRequired[Logged]


def save_checkpoint(run: Path, state: State) -> None:
    """Write `last.pt`; the former one becomes `previous.pt`. A full disk raises OSError and leaves both as they are."""
    content = io.BytesIO()  # written by torch itself, a full disk would be a RuntimeError
    torch.save(state, content)
    write_atomically(run / "last.pt", lambda p: p.write_bytes(content.getbuffer()), former=run / "previous.pt")


def load_checkpoint(
    run: Path, check: Callable[[State], None] = lambda state: None, drop_damaged: bool = False
) -> State | None:
    """The newest good checkpoint of a run, or None if it has none. Runs no code from the file.

    check: raises ValueError for a state that does not fit. drop_damaged: remove a damaged `last.pt` that `previous.pt`
    stands in for, or it would take the good one's place at the next save. Raises ValueError where there are checkpoints
    but none is good.
    """
    damaged: list[str] = []
    for name in ("last.pt", "previous.pt"):
        path = run / name
        if path.is_dir():
            raise ValueError(f"{path} is a folder, where a checkpoint is kept; move it away")
        if not path.exists():
            continue
        with path.open("rb") as file:
            try:
                check_packing(path)
                state = _checked(torch.load(file, map_location="cpu", weights_only=True))
                check(state)
            except Exception as error:  # whatever torch makes of damaged bytes
                reason = str(error).partition("\n")[0]
                kind = "" if isinstance(error, ValueError) else f"damaged, {type(error).__name__}: "
                damaged.append(f"{path}: {kind}{shorten(reason, 150)}")
                continue
        if damaged:
            warnings.warn(f"resuming from {path}, because {damaged[0]}", stacklevel=2)
            if drop_damaged:
                (run / "last.pt").unlink(missing_ok=True)
        return state
    if damaged:
        raise ValueError(shorten(f"no readable checkpoint: {'; '.join(damaged)}; move {run} away to start afresh"))
    return None


def check_packing(path: Path) -> None:
    """ValueError where a file would take more memory than it has bytes: torch packs nothing."""
    check_holes(path)
    with zipfile.ZipFile(path) as pack:
        packed = next((info.filename for info in pack.infolist() if info.compress_type != zipfile.ZIP_STORED), None)
        size = sum(info.file_size for info in pack.infolist())
    if packed is not None or size > path.stat().st_size:
        raise ValueError(f"its parts would unpack to {size:,} bytes, where torch packs none")


def _checked(content: Any) -> State:
    """A file's content, where it is a state as it is saved, with finite numbers; ValueError says what is wrong."""
    if not isinstance(content, dict) or not content.keys() >= {"step", "task", "optimizer", "sources"}:
        raise ValueError("not a checkpoint of kinemask")
    msgspec.convert(content, State)
    state = cast(State, content)
    if (since := state.get("log", {}).get("since", 0)) > state["step"]:
        raise ValueError(f"its log goes on from step {since}, its weights from step {state['step']}")
    if bad := next(not_finite(state), None):
        raise ValueError(f"{bad} is not finite")
    return state


def not_finite(state: State) -> Iterator[str]:
    """Names of the weights, and of the optimizer's values, that are not finite throughout."""
    for name, value in state["task"].items():
        if not whole(value).isfinite().all():
            yield f"weight {name}"
    for number, values in state["optimizer"]["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor) and not whole(value).isfinite().all():
                yield f"the optimizer's {name} of parameter {number}"


def whole(value: Tensor) -> Tensor:
    """The tensor; ValueError where it has more numbers than bytes behind them."""
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise ValueError(f"a tensor of shape {tuple(value.shape)} has {value.untyped_storage().nbytes()} bytes")
    return value


def check_fit(state: State, task: torch.nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    """ValueError that says what is wrong, unless a state is one of this task and optimizer, at 0 to `steps` steps."""
    if state["step"] > steps:
        raise ValueError(f"it is of step {state['step']}, and training ends at step {steps}")
    own, given = task.state_dict(), state["task"]
    for name in own.keys() | given.keys():
        here, there = (_kind(tensors.get(name)) for tensors in (own, given))
        if here != there:
            raise ValueError(f"weight {name} is {there}, where the run's settings make it {here}")
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    groups = optimizer.state_dict()["param_groups"]
    if [group.get("params") for group in state["optimizer"]["param_groups"]] != [group["params"] for group in groups]:
        raise ValueError("its optimizer has other groups of parameters")
    adam = isinstance(optimizer, torch.optim.AdamW)
    expected = {"step", "exp_avg", "exp_avg_sq"} if adam else {"momentum_buffer"}
    if adam and state["step"] and not state["optimizer"]["state"]:
        raise ValueError("its optimizer remembers nothing of the steps before")
    for number, values in state["optimizer"]["state"].items():
        if number >= len(parameters) or values.keys() - expected or (values and expected - values.keys()):
            raise ValueError(f"its optimizer has {', '.join(map(str, values))} of parameter {number}")
        for name, value in values.items():
            shape = () if name == "step" else tuple(parameters[number].shape)
            if value is not None and (not isinstance(value, Tensor) or tuple(value.shape) != shape):
                raise ValueError(f"its optimizer's {name} of parameter {number} is not a tensor of shape {shape}")


def _kind(value: Tensor | None) -> str:
    return "absent" if value is None else f"{str(value.dtype).removeprefix('torch.')} of shape {tuple(value.shape)}"

"""One pretext task on several data sets at once, of any layouts: a task for each, all with the same weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from kinemask.nn.encoder import Encoder
from kinemask.pretext.base import Pretext
from kinemask.windows.sampler import Batch

_FIRST = "tasks.0."


class Mixed(Pretext):
    """Tasks of one method, one for each data set; a batch is of one of them, and says which.

    The weights are those of the first; what belongs to a layout (which joints there are, what is predicted) stays each
    task's own. Raises ValueError where the encoder belongs to one layout, and there are several.
    """

    def __init__(self, tasks: Sequence[Pretext]):
        super().__init__()
        first, *others = (task.encoders()["encoder"] for task in tasks)
        for encoder in others:
            own, other = first.layout, encoder.layout
            if own.to_dict() != other.to_dict() and not first.knows(other):
                raise ValueError(
                    f"no encoder of these settings reads both layout {own.name} ({own.num_joints} joints, {own.dims}D) "
                    f"and layout {other.name} ({other.num_joints} joints, {other.dims}D); "
                    "transformers with encoder.positions named read any layout of as many coordinates"
                )
        weights = dict(tasks[0].named_parameters(remove_duplicate=False))
        for task in tasks[1:]:
            for name, own in list(task.named_parameters(remove_duplicate=False)):
                assert own.shape == weights[name].shape, name
                owner, _, leaf = name.rpartition(".")
                setattr(task.get_submodule(owner), leaf, weights[name])
        self.tasks = nn.ModuleList(tasks)

    def __getitem__(self, number: int) -> Pretext:
        task = self.tasks[number]
        assert isinstance(task, Pretext)
        return task

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return self[batch.source](batch)

    def after_step(self, progress: float) -> None:
        self[0].after_step(progress)  # moving averages are shared too

    def encoders(self) -> dict[str, Encoder]:
        """Those of the first data set's layout."""
        return self[0].encoders()


def first_task(state: Mapping[str, Any]) -> dict[str, Any]:
    """Of the weights that a checkpoint has, those of one task: of the first data set's where there are several."""
    own = {name.removeprefix(_FIRST): value for name, value in state.items() if name.startswith(_FIRST)}
    return own or dict(state)

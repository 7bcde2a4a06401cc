"""What a protocol is, and what it is tried on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, get_type_hints

from torch import Tensor

from kinemask.models.encoders import TrainedEncoder
from kinemask.pretext import Method
from kinemask.protocols.features import Part, raw_coordinates
from kinemask.protocols.knn import vote
from kinemask.runs.results import Outcome, accuracy
from kinemask.store.store import Store
from kinemask.training.distributed import World


@dataclass(frozen=True, eq=False)
class Case:
    """An encoder, and the two parts of a split of a store.

    unseen (N,) bool: which test clips are no copies of training clips. run: folder that the encoder comes from, and
    origin the SHA-256 of its file; None where everything starts from random weights. out: folder for what is trained.
    """

    model: TrainedEncoder
    store: Store
    split: str
    train: Part
    test: Part
    unseen: Tensor
    run: Path | None
    origin: str | None
    out: Path | None
    world: World
    quiet: bool = True


class Scored(NamedTuple):
    """A seed's outcome, the seconds it took, its controls (None where not asked for), and the folder of its result."""

    outcome: Outcome
    seconds: float
    controls: dict[str, Any] | None
    run: Path


@dataclass(frozen=True)
class Protocol:
    """A protocol: a line about it, and its settings.

    trains: whether it trains the encoder; then it also starts from a recipe, without any run. seeds: by default.
    """

    title: str
    settings: type

    trains: ClassVar[bool] = False
    seeds = (0,)

    def settings_of(self, chosen: Method, scratch: bool) -> type:
        """The settings for a method's encoder; scratch: without a run."""
        return self.settings

    def keys(self, case: Case, settings: Any, seed: int) -> dict[str, Any]:
        """What else decides the result of a seed; stored with it."""
        return {}

    def score(self, case: Case, settings: Any, seeds: Sequence[int], controls: bool) -> Iterator[Scored]:
        """The outcome of each seed, in order."""
        raise NotImplementedError


def with_defaults(settings: type, changes: Mapping[str, Any], *fields: tuple[str, type, Any]) -> type:
    """Settings with other defaults, and with `fields` (name, type, dataclass field) in place of their like."""
    types = get_type_hints(settings)
    changed = [(name, types[name], field(default=value)) for name, value in changes.items()]
    made = make_dataclass(settings.__name__, [*changed, *fields], bases=(settings,), kw_only=True)
    made.__doc__ = settings.__doc__
    return made


def as_control(name: str, scores: Tensor, case: Case) -> dict[str, float | None]:
    """A control's accuracy on all and on the unseen test clips: NAME and NAME_unseen."""
    labels = case.test.labels.cpu()
    unseen = case.unseen
    return {name: accuracy(scores, labels), f"{name}_unseen": accuracy(scores[unseen], labels[unseen])}


def raw_neighbour(case: Case, train: Part) -> dict[str, float | None]:
    """The control that knows nothing: one nearest neighbour on raw coordinates."""
    frames, classes = case.model.sampling.frames, len(case.store.classes)
    gallery, queries = (raw_coordinates(part, frames) for part in (train, case.test))
    return as_control("raw_coordinates_knn", vote(gallery, train.labels, queries, classes, 1).cpu(), case)

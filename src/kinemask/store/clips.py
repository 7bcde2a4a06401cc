"""A clip of an open store, as a value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kinemask.player.scene import Moving, fps_of
from kinemask.skeleton import Layout


@dataclass(frozen=True, eq=False, repr=False)
class StoredClip:
    """A clip of a store; `store[0]` and `store["take00"]` give one. In a notebook it is shown as a moving skeleton.

    data: read-only view (M, T, V, C) of the frames on disk, in the store's units, NaN where a joint is missing.
    label: index into the store's classes, None where unlabelled; class_name: its name, "" where unlabelled. fields:
    the further columns of clips.csv. score: confidences (M, T, V), NaN where unknown; None where the store has none.
    """

    name: str
    data: np.ndarray
    label: int | None
    class_name: str
    fields: dict[str, str]
    layout: Layout
    score: np.ndarray | None = None

    @property
    def moving(self) -> Moving:
        """The clip as the player takes it."""
        return Moving(self.name, self.data, self.class_name, fps_of(self.fields))

    def __repr__(self) -> str:
        bodies, frames = self.data.shape[:2]
        people = "1 person" if bodies == 1 else f"{bodies} people"
        labelled = f"{self.class_name!r}" if self.label is not None else "unlabelled"
        return f"<clip {self.name!r}: {labelled}, {people}, {frames} frames, {self.layout.name}>"

    def _repr_html_(self) -> str:
        from kinemask.player.notebook import cell

        return cell([self.moving], self.layout, repr(self).strip("<>"))

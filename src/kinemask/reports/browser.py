"""A recogniser as a page: drop a pose file, see the skeleton and the label; the model is inside the page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kinemask.player.scene import RATE, Pane, Player, about, sides_of
from kinemask.reports.pages import render
from kinemask.skeleton import Layout


@dataclass(frozen=True, kw_only=True)
class View:
    """What the page shows. data: for browser.js; player: what it copies for each clip; sided: left and right differ."""

    name: str
    layout: str
    dims: int
    units: str
    joints: Sequence[str]
    classes: Sequence[str]
    player: Player
    sided: bool
    data: dict[str, Any]


def browser_page(name: str, onnx: bytes, layout: Layout, units: str, classes: Sequence[str]) -> str:
    """The page of a recogniser. onnx: keypoints (1, M, T, V, C) -> probabilities of the classes.

    It looks for onnxruntime-web in a folder `ort` beside it, and asks nothing else of anybody.
    """
    sides = sides_of(layout)
    scene = {**about(layout), "kind": "", "filled": False, "sides": sides}
    data = {"layout": layout.name, "classes": list(classes), "rate": RATE, "scene": scene}
    player = Player("clip", "the clip", layout.dims == 3, [Pane(0, "seen", "", "", "the clip", [])])
    view = View(
        name=name,
        layout=layout.name,
        dims=layout.dims,
        units=units,
        joints=layout.joints,
        classes=classes,
        player=player,
        sided="l" in sides,
        data=data | {"onnx": base64.b64encode(onnx).decode()},
    )
    return render("browser.html", view=view)

"""Moving skeletons in the cells of a notebook."""

from __future__ import annotations

from collections.abc import Sequence

from kinemask.player.pages import render
from kinemask.player.scene import Moving, show
from kinemask.skeleton import Layout

HEIGHT = 520  # of a cell, in pixels


def cell(clips: Sequence[Moving], layout: Layout, text: str) -> str:
    """HTML of clips side by side under a line of text, in a frame that shares nothing with the notebook around it."""
    page = render("cell.html", shown=show(clips, layout))
    return render("frame.html", text=text, page=page, height=HEIGHT)

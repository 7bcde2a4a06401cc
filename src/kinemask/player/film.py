"""Clips side by side as a film: gif with Pillow, mp4 with ffmpeg."""

from __future__ import annotations

import math
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kinemask.errors import shorten
from kinemask.files import write_atomically
from kinemask.player.camera import Camera
from kinemask.player.scene import RATE, Moving, sides_of
from kinemask.skeleton import Layout

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 480  # of a picture, in pixels
HEAD = 36  # of the words above it
FINE = 2  # pictures are drawn so much larger, and made smaller, which smooths lines
MOST_ACROSS = 4
GIF_RATE = 25.0  # frames a second; browsers slow faster ones down
PAPER, RAISED, INK = "#fcfcfb", "#f3f3f0", "#17181a"
COLOURS = {"l": "#2a6fce", "r": "#d9741a", "m": "#85898f"}  # as base.css has them


def film(clips: Sequence[Moving], layout: Layout, out: Path) -> None:
    """Write clips, playing together in real time, as .gif or .mp4. The film is as long as the longest clip.

    Raises ValueError where Pillow or ffmpeg is not there, saying how to get it, and what ffmpeg says where it fails.
    """
    _pillow()
    rate = max(clip.fps or RATE for clip in clips)
    if out.suffix.lower() == ".gif":
        rate = min(rate, GIF_RATE)
        write_atomically(out, lambda path: _write_gif(path, pictures(clips, layout, rate), rate))
        return
    program = find_ffmpeg()
    write_atomically(out, lambda path: _write_mp4(path, program, pictures(clips, layout, rate), rate))


def pictures(clips: Sequence[Moving], layout: Layout, rate: float) -> Iterator[Image]:
    """The pictures of a film of so many a second; a clip that is over stays at its end."""
    modules = _pillow()
    sides = sides_of(layout)
    across = min(len(clips), MOST_ACROSS)
    size = across * SIDE, math.ceil(len(clips) / across) * (SIDE + HEAD)
    seconds = max(clip.data.shape[1] / (clip.fps or RATE) for clip in clips)
    cameras = [Camera.of(clip.data) for clip in clips]
    for number in range(max(1, round(seconds * rate))):
        sheet = modules.Image.new("RGB", (size[0] * FINE, size[1] * FINE), PAPER)
        pen = modules.ImageDraw.Draw(sheet)
        for i, (clip, camera) in enumerate(zip(clips, cameras, strict=True)):
            t = min(clip.data.shape[1] - 1, int(number / rate * (clip.fps or RATE) + 1e-6))
            corner = np.array([i % across * SIDE, i // across * (SIDE + HEAD)]) * FINE
            _draw(pen, modules.ImageFont, clip, camera, t, corner, layout, sides)
        yield sheet.resize(size, modules.Image.Resampling.LANCZOS)


def _draw(
    pen: Any, fonts: Any, clip: Moving, camera: Camera, t: int, corner: np.ndarray, layout: Layout, sides: str
) -> None:
    """A clip's frame into its place, with its name above."""
    x, y = map(int, corner)
    title = " · ".join(filter(None, (clip.label, clip.name)))
    pen.text((x + 14 * FINE, y + 9 * FINE), shorten(title, 48), fill=INK, font=fonts.load_default(15 * FINE))
    top = y + HEAD * FINE
    edge = SIDE * FINE
    pen.rectangle((x + 4 * FINE, top, x + edge - 4 * FINE, top + edge - 4 * FINE), fill=RAISED)
    for places in np.add(camera.place(clip.data[:, t], edge, edge), (x, top)):
        seen = np.isfinite(places).all(-1)
        for a, b in layout.edges:
            if seen[a] and seen[b]:
                colour = COLOURS[sides[b] if sides[a] == "m" else sides[a]]
                pen.line([*map(tuple, places[[a, b]].tolist())], fill=colour, width=4 * FINE)
        for v in np.flatnonzero(seen):
            px, py = places[v].tolist()
            r = 4 * FINE
            pen.ellipse((px - r, py - r, px + r, py + r), fill=COLOURS[sides[v]])


def find_ffmpeg() -> str:
    """The program ffmpeg, installed or of the package imageio-ffmpeg; ValueError that says how to get it."""
    if program := shutil.which("ffmpeg"):
        return program
    try:
        from imageio_ffmpeg import get_ffmpeg_exe  # pyright: ignore[reportMissingImports] (of the extra)

        return get_ffmpeg_exe()
    except (ImportError, RuntimeError):
        raise ValueError(
            "an .mp4 needs the program ffmpeg: install it, or pip install 'kinemask[video]'; .html and .gif need none"
        ) from None


def _write_gif(path: Path, frames: Iterator[Image], rate: float) -> None:
    first, *rest = (frame.quantize(64) for frame in frames)
    ends = [10 * round(100 * i / rate) for i in range(len(rest) + 2)]  # a gif counts in hundredths of a second
    lasting = [end - start for start, end in pairwise(ends)]
    first.save(path, "GIF", save_all=True, append_images=rest, duration=lasting, loop=0)


def _write_mp4(path: Path, program: str, frames: Iterator[Image], rate: float) -> None:
    first = next(frames)
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{first.width}x{first.height}", "-r", f"{rate:g}", "-i", "-"]
    coded = ["-pix_fmt", "yuv420p", "-movflags", "+faststart", "-f", "mp4", "-y", str(path)]
    command = [program, "-loglevel", "error", *raw, *coded]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        try:
            process.stdin.write(first.tobytes())
            for frame in frames:
                process.stdin.write(frame.tobytes())
        except BrokenPipeError:
            pass  # it has ended, and says why
        said = process.communicate()[1].decode(errors="replace").strip()
    if process.returncode:
        raise ValueError(shorten(f"{program} made no film: {said or f'exit status {process.returncode}'}"))


def _pillow() -> Any:
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError:
        raise ValueError("a film needs Pillow: pip install 'kinemask[video]'; .html needs nothing") from None
    return _Modules(Image, ImageDraw, ImageFont)


class _Modules:
    def __init__(self, *modules: Any):
        self.Image, self.ImageDraw, self.ImageFont = modules

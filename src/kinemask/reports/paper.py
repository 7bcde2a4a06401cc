"""Figures as files for a paper: vector PDF with embedded fonts and PNG, one column wide, on white, by matplotlib."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import singledispatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kinemask.files import write_atomically
from kinemask.player.camera import Camera
from kinemask.reports.attention import Attention
from kinemask.reports.charts import PALETTE, short
from kinemask.reports.features import Plane
from kinemask.reports.gains import Shares
from kinemask.reports.pictures import ClassGains, Data, Difference, Picture, Rebuilt, Scores
from kinemask.reports.skeletons import ClipSeen, Seen

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMN = 3.4  # inches
DPI = 300
KINDS = ("pdf", "png")
MARKERS = "o^sDvPX*"
MOST_NAMED = 40  # classes in a legend
MOST_BARS = 30
SHOWN = 6  # poses of a clip
KEPT, HIDDEN, BONE, INK = PALETTE[0], PALETTE[1], "#b4b8be", "#222222"
_STYLE: dict[Any, Any] = {  # matplotlib's own names of settings
    "font.family": "DejaVu Sans",  # which matplotlib brings
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.labelsize": 7,
    "xtick.labelsize": 6,
    "ytick.labelsize": 6,
    "legend.fontsize": 6,
    "axes.linewidth": 0.5,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "xtick.major.size": 2,
    "ytick.major.size": 2,
    "pdf.fonttype": 42,  # TrueType, which every publisher takes
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "axes.unicode_minus": True,
    "text.parse_math": False,  # a name with dollars is a name
}


def check_folder(folder: Path | str) -> Path:
    """The folder for figures, made; ValueError where it cannot be, or matplotlib is absent."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ValueError("figures need matplotlib: pip install 'kinemask[figures]'") from None
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"figures: {folder} is a file; name a folder")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write(picture: Picture, folder: Path) -> list[Path]:
    """Write FOLDER/NAME.pdf and .png; returns the paths. The same picture gives the same files."""
    with _style():
        figure = _empty()
        draw(picture.data, figure)
        paths = []
        for kind in KINDS:
            path = folder / f"{picture.name}.{kind}"
            options: dict[str, Any] = {"format": kind, "dpi": DPI, "bbox_inches": "tight", "pad_inches": 0.02}
            about = {"Title": picture.title} | ({"CreationDate": None} if kind == "pdf" else {})
            save = lambda p, o=options, m=about: figure.savefig(p, **o, metadata=m)
            write_atomically(path, save)
            paths.append(path)
    return paths


@contextmanager
def _style() -> Iterator[None]:
    from matplotlib import rc_context

    with rc_context(_STYLE):
        yield


def _empty() -> Figure:
    """Without a window, and without the state of pyplot."""
    from matplotlib.figure import Figure

    return Figure(figsize=(COLUMN, COLUMN))


@singledispatch
def draw(data: Data, figure: Figure) -> None:
    """Draw the data of a picture into an empty figure, which takes the size that it needs."""
    raise AssertionError(f"nothing draws {type(data).__name__}")


@draw.register(Shares)
def _draw_confusion(data: Shares, figure: Figure) -> None:
    _matrix(figure, data, "Blues", 0, 100, "% of the true class")


@draw.register(Difference)
def _draw_difference(data: Difference, figure: Figure) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    found = data.gains.confusion
    colours = LinearSegmentedColormap.from_list("gain", [HIDDEN, "white", KEPT])
    largest = max(float(np.abs(found.values).max()), 1.0)
    label = f"points, {short(data.gains.first, 24)} − {short(data.gains.second, 24)}"
    _matrix(figure, found, colours, -largest, largest, label)


def _matrix(figure: Figure, data: Shares, colours: Any, low: float, high: float, label: str) -> None:
    """Cells with their numbers; classes beside the rows, and below the columns where they have room."""
    from matplotlib.colors import to_rgba

    rows, columns = data.values.shape
    figure.set_size_inches(COLUMN, min(max(0.19 * rows, 1.1), 8.0) + 0.9)
    axes = figure.add_subplot()
    image = axes.imshow(data.values, cmap=colours, vmin=low, vmax=high, aspect="auto", interpolation="nearest")
    names = [short(name, 22) for name in data.columns]
    axes.set_xticks(range(columns), names, rotation=60, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(rows), [short(name, 22) for name in data.rows])
    axes.tick_params(length=0)
    axes.set_xlabel("taken for")
    axes.set_ylabel("true class")
    size = min(6.0, 110 / columns)
    for row, column in np.argwhere(np.abs(data.values) >= 0.5) if size >= 4 else ():
        value = data.values[row, column]
        dark = _is_dark(to_rgba(tuple(image.cmap(image.norm(value)))))
        text = f"{value:.0f}" if low == 0 else f"{value:+.0f}".replace("-", "−")
        axes.text(column, row, text, ha="center", va="center", fontsize=size, color="white" if dark else INK)
    bar = figure.colorbar(image, ax=axes, orientation="horizontal", location="top", fraction=0.05, pad=0.02, aspect=40)
    bar.set_label(label)
    bar.outline.set_linewidth(0.4)  # type: ignore[operator]


def _is_dark(rgba: Sequence[float]) -> bool:
    red, green, blue = rgba[:3]
    return 0.299 * red + 0.587 * green + 0.114 * blue < 0.5


@draw.register(ClassGains)
def _draw_gains(data: ClassGains, figure: Figure) -> None:
    every = data.gains.classes
    half = MOST_BARS // 2
    shown = every if len(every) <= MOST_BARS else [*every[:half], *every[-half:]]
    figure.set_size_inches(COLUMN, 0.145 * len(shown) + 0.5)
    axes = figure.add_subplot()
    values = [gain for _, gain, _ in shown]
    colours = [KEPT if gain >= 0 else HIDDEN for gain in values]
    places = range(len(shown))
    axes.barh(places, values, color=colours, height=0.7)
    axes.axvline(0, color=INK, lw=0.6)
    axes.set_yticks(places, [f"{short(name, 26)} ({clips})" for name, _, clips in shown])
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(f"gain in points, {short(data.gains.first, 24)} over {short(data.gains.second, 24)}")
    axes.margins(y=0.01)
    if len(shown) < len(every):
        axes.axhline(half - 0.5, color=INK, lw=0.5, ls=(0, (2, 2)))
        left = f"{len(every) - len(shown)} classes in between"
        axes.text(1, half - 0.5, left, transform=axes.get_yaxis_transform(), ha="right", va="center", fontsize=5.5)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


@draw.register(Plane)
def _draw_plane(data: Plane, figure: Figure) -> None:
    axes, present = figure.add_subplot(), np.unique(data.labels)
    few = len(present) <= MOST_NAMED
    for order, label in enumerate(present.tolist()):
        rows = data.labels == label
        axes.scatter(
            *data.points[rows].T,
            s=9,
            marker=MARKERS[order // len(PALETTE) % len(MARKERS)],
            c=PALETTE[order % len(PALETTE)],
            alpha=0.8,
            linewidths=0,
            label=short(data.classes[label], 22),
        )
    if data.method == "PCA":
        axes.set_xlabel(data.axes[0])
        axes.set_ylabel(data.axes[1])
    else:
        axes.set_xticks([])
        axes.set_yticks([])
    if data.nmi is not None:
        axes.set_title(f"NMI {data.nmi[0]:.2f}", loc="right", pad=2)
    if few:
        across = 3 if max(len(data.classes[i]) for i in present) <= 16 else 2
        below = -0.16 if data.method == "PCA" else -0.03
        axes.legend(
            loc="upper left",
            bbox_to_anchor=(0, below),
            ncols=min(across, len(present)),
            frameon=False,
            handletextpad=0.1,
            columnspacing=0.6,
            borderaxespad=0,
            fontsize=6 if len(present) <= 20 else 5,
        )


@draw.register(Attention)
def _draw_attention(data: Attention, figure: Figure) -> None:
    figure.set_size_inches(COLUMN, 2.4)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1))
    P, V = len(data.segments), len(data.joints)
    tokens = data.tokens * len(data.tokens)  # 1 where all get the same
    top = float(np.quantile(tokens, 0.99))
    image = left.imshow(tokens, cmap="Blues", vmin=0, vmax=top, interpolation="nearest", rasterized=True)
    left.set_title("tokens, by segment", loc="left", pad=3)
    marks = np.linspace(0, P - 1, min(P, 4)).round().astype(int)
    for axis in (left.xaxis, left.yaxis):
        axis.set_ticks((marks + 0.5) * V, [str(m + 1) for m in marks])
    left.set_xlabel("to", labelpad=1)
    left.set_ylabel("from", labelpad=1)
    _scale(figure, image, left, f"{top:.2g}")
    joints = data.joints * V
    top = float(joints.max())
    image = right.imshow(joints, cmap="Blues", vmin=0, vmax=top, interpolation="nearest")
    right.set_title("joints", loc="left", pad=3)
    size = min(5.0, 90 / V)
    names = [name.replace("_", " ") for name in data.ordered_names]
    right.set_xticks([])
    right.set_xlabel("to, in the same order", labelpad=1)
    right.yaxis.tick_right()
    right.set_yticks(range(V), names, fontsize=size)
    right.tick_params(length=0, pad=1)
    _scale(figure, image, right, f"{top:.2g}")


def _scale(figure: Figure, image: Any, axes: Axes, top: str) -> None:
    bar = figure.colorbar(image, ax=axes, orientation="horizontal", fraction=0.05, pad=0.2, aspect=25)
    bar.set_ticks([0, 1, image.norm.vmax] if image.norm.vmax > 1.3 else [0, image.norm.vmax])
    bar.set_ticklabels(["0", "1", top] if image.norm.vmax > 1.3 else ["0", top])
    bar.set_label("times an even share", fontsize=6, labelpad=1)
    bar.outline.set_linewidth(0.4)


@draw.register(Scores)
def _draw_scores(data: Scores, figure: Figure) -> None:
    from matplotlib import colormaps

    clip, colours = data.clip, colormaps["YlOrBr"]
    rows = _poses(figure, data.seen, clip, (data.title, "mask"))
    for above, below, t, places in rows:
        p = t // data.seen.segment_frames
        for body, scores, hidden in zip(places, clip.told("saliency")[:, p], clip.told("masked")[:, p], strict=True):
            _bones(above, body, data.seen, BONE)
            at = body[data.seen.joints]
            strong = 0.15 + 0.85 * scores
            above.scatter(*at.T, s=2 + 13 * scores, c=colours(strong), linewidths=0.2, edgecolors="#7a5a2a", zorder=3)
            _bones(below, body, data.seen, BONE)
            below.scatter(*at[~hidden].T, s=7, c=KEPT, linewidths=0, zorder=3)
            below.scatter(*at[hidden].T, s=5, c="white", edgecolors=HIDDEN, linewidths=0.6, zorder=3)
    _key(figure, [("o", KEPT, KEPT, "kept"), ("o", "white", HIDDEN, "masked")])


@draw.register(Rebuilt)
def _draw_rebuilt(data: Rebuilt, figure: Figure) -> None:
    clip, seen = data.clip, data.seen
    camera = Camera.of(np.where(clip.seen[..., None], clip.positions, np.nan))
    for top, middle, bottom, t, places in _poses(figure, seen, clip, ("input", "kept", "rebuilt"), camera):
        p = t // seen.segment_frames
        guesses = camera.place(clip.told("rebuilt")[:, t], *_SIZE)
        for body, guess, hidden in zip(places, guesses, clip.told("masked")[:, p], strict=True):
            _bones(top, body, seen, KEPT)
            state = np.zeros(seen.layout.num_joints, bool)  # unused joints are neither
            state[seen.joints[~hidden]] = True
            _bones(middle, body, seen, BONE, faint=True)
            _bones(middle, body, seen, KEPT, state)
            middle.scatter(*body[state].T, s=4, c=KEPT, linewidths=0, zorder=3)
            _bones(bottom, body, seen, BONE)
            _bones(bottom, guess, seen, HIDDEN)
            masked = seen.joints[hidden]
            bottom.scatter(*guess[masked].T, s=3, c=HIDDEN, linewidths=0, zorder=3)
    marks = [("_", KEPT, KEPT, "input, kept"), ("_", HIDDEN, HIDDEN, "rebuilt"), ("_", BONE, BONE, "true")]
    _key(figure, marks)


_SIZE = (100.0, 150.0)  # of a pose's picture


def _poses(
    figure: Figure, seen: Seen, clip: ClipSeen, titles: Sequence[str], camera: Camera | None = None
) -> Iterator[tuple[Any, ...]]:
    """For each of some frames: empty axes, one a title, the frame, and the bodies' places (M, V, 2) in them."""
    camera = camera or Camera.of(np.where(clip.seen[..., None], clip.positions, np.nan))
    segments = seen.frames // seen.segment_frames
    chosen = np.linspace(0, segments - 1, min(SHOWN, segments)).round().astype(int)
    figure.set_size_inches(COLUMN, 0.2 + 0.85 * len(titles))
    grid = figure.subplots(len(titles), len(chosen), squeeze=False, gridspec_kw={"wspace": 0.02, "hspace": 0.05})
    for row, title in zip(grid, titles, strict=True):
        row[0].set_ylabel(title, fontsize=6, labelpad=2)
        for axes in row:
            axes.set_xlim(0, _SIZE[0])
            axes.set_ylim(_SIZE[1], 0)
            axes.set_aspect("equal")
            axes.set_xticks([])
            axes.set_yticks([])
            for side in axes.spines.values():
                side.set_visible(False)
    for i, p in enumerate(chosen.tolist()):
        t = p * seen.segment_frames + seen.segment_frames // 2
        grid[-1, i].set_xlabel(f"{'' if i else 'frame '}{t + 1}", fontsize=5.5, labelpad=1)
        yield (*grid[:, i], t, camera.place(clip.positions[:, t], *_SIZE))


def _bones(
    axes: Axes, body: np.ndarray, seen: Seen, colour: str, only: np.ndarray | None = None, faint: bool = False
) -> None:
    for a, b in seen.layout.edges:
        if only is None or (only[a] and only[b]):
            width, alpha = (0.5, 0.5) if faint else (1.0, 1.0)
            axes.plot(*body[[a, b]].T, color=colour, lw=width, alpha=alpha, solid_capstyle="round", zorder=1)


def _key(figure: Figure, marks: Sequence[tuple[str, str, str, str]]) -> None:
    from matplotlib.lines import Line2D

    lines = [
        Line2D([], [], ls="" if m != "_" else "-", marker=m if m != "_" else "", mfc=face, mec=edge, color=edge, ms=3.5)
        for m, face, edge, _ in marks
    ]
    names = [name for *_, name in marks]
    figure.legend(lines, names, loc="lower right", bbox_to_anchor=(0.92, -0.01), ncols=len(marks), frameon=False)

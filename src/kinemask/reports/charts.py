"""Geometry of charts, in pixels of their view boxes; `templates/charts.html` draws them, and style.css colours them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

COLOURS = 10  # of style.css: k0 … k9
SHAPES = (  # paths about the origin: a class is a colour and a shape
    "m-3,0a3,3 0 1 0 6,0a3,3 0 1 0 -6,0z",
    "m0,-4l3.7,6.6h-7.4z",
    "m-2.8,-2.8h5.6v5.6h-5.6z",
    "m0,-4l4,4l-4,4l-4,-4z",
    "m0,4l-3.7,-6.6h7.4z",
    "m-1.2,-3.6h2.4v2.4h2.4v2.4h-2.4v2.4h-2.4v-2.4h-2.4v-2.4h2.4z",
)
MOST_POINTS = 300  # of a line
FEW_CLASSES = 20  # up to which a confusion matrix has room for counts


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers within [low, high], about `count` of them."""
    if not high > low:
        return [low]
    raw = (high - low) / count
    size = 10 ** math.floor(math.log10(raw))
    step = size * min(m for m in (1, 2, 2.5, 5, 10) if m * size >= raw * 0.999)
    return [k * step for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def number(value: float) -> str:
    """A number with three significant digits at most; with an exponent where that is shorter."""
    plain = f"{value:.3g}".replace("-", "−")
    if "e" not in plain and (value == 0 or abs(value) >= 1e-3):
        return plain
    digits, exponent = f"{value:.2e}".split("e")
    return f"{digits.rstrip('0').rstrip('.')}e{int(exponent)}".replace("-", "−")


def short(name: str, most: int) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


@dataclass(frozen=True)
class Box:
    """A chart's size, and the frame of its plot within."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int


@dataclass(frozen=True)
class Tick:
    """A label at a coordinate of an axis."""

    at: float
    label: str


@dataclass(frozen=True)
class Point:
    """A place, and what to say of it."""

    x: float
    y: float
    about: str


def path(points: np.ndarray) -> str:
    """An SVG path through points (n, 2)."""
    return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points)


@dataclass(frozen=True)
class Line:
    """A line over an axis of numbers. hover: x, y and the two values of each point, for page.js."""

    title: str
    unit: str
    last: str
    box: Box
    x: list[Tick]
    y: list[Tick]
    path: str
    end: Point
    hover: str


def line(title: str, x: Sequence[float], y: Sequence[float], unit: str) -> Line:
    """y over x; long ones show the means of neighbouring points."""
    pieces = np.array_split(np.column_stack([x, y]), min(len(x), MOST_POINTS))
    points = np.array([piece.mean(0) for piece in pieces])
    (x0, y0), (x1, y1) = points.min(0), points.max(0)
    if y0 >= 0 and y0 < 0.5 * y1:
        y0 = 0.0
    pad = 0.05 * (y1 - y0) or 0.5 * abs(y1) or 1.0
    low, high = (y0 if y0 == 0 and y1 > 0 else y0 - pad), y1 + pad
    box = Box(width=320, height=170, left=44, right=312, top=8, bottom=138)
    scale = np.array([(box.right - box.left) / (x1 - x0 or 1), -(box.bottom - box.top) / (high - low)])
    xy = (points - [x0, low]) * scale + [box.left, box.bottom]
    last = number(float(points[-1, 1]))
    hover = (f"{a:.1f},{b:.1f},{number(p)},{number(q)}" for (a, b), (p, q) in zip(xy, points, strict=True))
    return Line(
        title=title,
        unit=unit,
        last=last,
        box=box,
        x=[Tick((value - x0) * scale[0] + box.left, number(value)) for value in ticks(x0, x1)],
        y=[Tick((value - low) * scale[1] + box.bottom, number(value)) for value in ticks(low, high)],
        path=path(xy),
        end=Point(xy[-1, 0], xy[-1, 1], last),
        hover=" ".join(hover),
    )


@dataclass(frozen=True)
class Series:
    """A line of a chart; mark: its class in style.css."""

    name: str
    mark: str
    path: str
    points: list[Point]


@dataclass(frozen=True)
class Curves:
    """Percentages over levels, the first series on top. first, last: of that one."""

    title: str
    unit: str
    first: float
    last: float
    box: Box
    x: list[Tick]
    y: list[Tick]
    series: list[Series]


def curves(title: str, levels: Sequence[str], series: Sequence[tuple[str, str, Sequence[float]]], unit: str) -> Curves:
    """Percentages over levels, which stand at equal distances. series: (name, class of style.css, values)."""
    box = Box(width=320, height=190, left=34, right=310, top=8, bottom=156)
    x = np.linspace(box.left, box.right, len(levels)) if len(levels) > 1 else np.array([(box.left + box.right) / 2])
    at = lambda value: box.bottom - value / 100 * (box.bottom - box.top)

    def drawn(name: str, mark: str, values: Sequence[float]) -> Series:
        xy = np.column_stack([x, [at(value) for value in values]])
        told = zip(xy.tolist(), levels, values, strict=True)
        points = [Point(a, b, f"{name}, {level}: {value:.1f} %") for (a, b), level, value in told]
        return Series(name, mark, path(xy), points)

    return Curves(
        title=title,
        unit=unit,
        first=series[0][2][0],
        last=series[0][2][-1],
        box=box,
        x=[Tick(float(a), level) for a, level in zip(x, levels, strict=True)],
        y=[Tick(at(value), str(value)) for value in range(0, 101, 25)],
        series=[drawn(*one) for one in series],
    )


@dataclass(frozen=True)
class Measurement:
    """A point of a curve with its error bar, in pixels; low is below high on the page."""

    x: float
    y: float
    low: float
    high: float
    about: str


@dataclass(frozen=True)
class SweptSeries:
    """A curve of measurements; mark: its colour."""

    name: str
    mark: str
    path: str
    points: list[Measurement]


@dataclass(frozen=True)
class Swept:
    """Percentages over the values of a setting, with error bars."""

    title: str
    unit: str
    box: Box
    x: list[Tick]
    y: list[Tick]
    series: list[SweptSeries]


PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#000000")  # Okabe and Ito's


def swept(title: str, unit: str, series: Sequence[tuple[str, Sequence[tuple[str, float, float | None]]]]) -> Swept:
    """Curves over a setting. series: (name, points (value, mean, standard deviation or None)).

    Values that are numbers stand at their distances, others at equal ones, in the order of their first mention.
    """
    values = list(dict.fromkeys(value for _, points in series for value, *_ in points))
    at = _places(values)
    ends = [mean + sign * (spread or 0.0) for _, points in series for _, mean, spread in points for sign in (-1, 1)]
    pad = 0.08 * (max(ends) - min(ends)) or 1.0
    low, high = max(0.0, min(ends) - pad), min(100.0, max(ends) + pad)
    box = Box(width=480, height=288 + 16 * len(series), left=44, right=460, top=24, bottom=240)
    first, last = min(at.values()), max(at.values())
    inner = (box.left + 16, box.right - 16)
    x = lambda value: inner[0] + (inner[1] - inner[0]) * ((at[value] - first) / (last - first) if last > first else 0.5)
    y = lambda mean: box.bottom - (box.bottom - box.top) * (mean - low) / (high - low)

    def drawn(number: int, name: str, points: Sequence[tuple[str, float, float | None]]) -> SweptSeries:
        ordered = sorted(points, key=lambda point: at[point[0]])
        marks = [
            Measurement(x(value), y(mean), y(mean - (spread or 0.0)), y(mean + (spread or 0.0)), _told(name, *point))
            for point in ordered
            for value, mean, spread in [point]
        ]
        return SweptSeries(name, PALETTE[number % len(PALETTE)], path(np.array([[m.x, m.y] for m in marks])), marks)

    return Swept(
        title=title,
        unit=unit,
        box=box,
        x=[Tick(x(value), value) for value in values],
        y=[Tick(y(value), number(value)) for value in ticks(low, high)],
        series=[drawn(i, name, points) for i, (name, points) in enumerate(series)],
    )


def _places(values: Sequence[str]) -> dict[str, float]:
    try:
        return {value: float(value) for value in values}
    except ValueError:
        return {value: float(i) for i, value in enumerate(values)}


def _told(name: str, value: str, mean: float, spread: float | None) -> str:
    return f"{name}, {value}: {mean:.1f}" + (f" ± {spread:.1f} %" if spread is not None else " %")


@dataclass(frozen=True)
class Count:
    """A cell of a confusion matrix: its corner, the row's share, the number of clips, and what they are."""

    x: float
    y: float
    share: float
    count: int
    about: str


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix. few: whether cells have room for their counts; numbers: of columns, those that have room."""

    width: float
    height: float
    left: float
    top: float
    size: int
    cell: int
    font: int
    few: bool
    names: list[Tick]
    numbers: list[Tick]
    counts: list[Count]


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: Sequence[str]) -> Confusion:
    """Confusion matrix (rows: true) of the classes that occur, each row's shares as depth of colour."""
    present = np.union1d(truth, predicted)
    counts = np.zeros((len(present), len(present)), int)
    np.add.at(counts, (np.searchsorted(present, truth), np.searchsorted(present, predicted)), 1)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    few = len(present) <= FEW_CLASSES
    cell = (30 if len(present) <= 10 else 24) if few else 14 if len(present) <= 70 else 9
    font = 12 if few else cell - 3
    names = [classes[i] for i in map(int, present)]
    labels = [f"{short(name, 30)} {i + 1}" for name, i in zip(names, map(int, present), strict=True)]
    left, top, size = 12 + max(map(len, labels)) * font * 0.58, 34, len(present) * cell
    middle = lambda i: (i + 0.5) * cell
    told = "{}: {} of {} taken for {}".format
    return Confusion(
        width=left + max(size, 140) + 4,
        height=top + size + 4,
        left=left,
        top=top,
        size=size,
        cell=cell,
        font=font,
        few=few,
        names=[Tick(top + middle(row) + font * 0.36, label) for row, label in enumerate(labels)],
        numbers=[Tick(left + middle(row), str(i + 1)) for row, i in enumerate(present.tolist()) if few or i % 5 == 4],
        counts=[
            Count(
                x=left + column * cell,
                y=top + row * cell,
                share=float(share[row, column]),
                count=int(counts[row, column]),
                about=told(names[row], counts[row, column], counts[row].sum(), names[column]),
            )
            for row, column in np.argwhere(counts)
        ],
    )


@dataclass(frozen=True)
class Mark:
    """A further value on a bar, in percent; number: of its colour."""

    title: str
    at: float
    number: int


@dataclass(frozen=True)
class Bar:
    """A horizontal bar in percent, with its name, cut to `label`, and a remark behind the number."""

    name: str
    label: str
    value: float
    remark: str = "%"
    marks: list[Mark] = field(default_factory=list)


def bar(name: str, value: float, remark: str = "%", marks: Sequence[Mark] = ()) -> Bar:
    return Bar(name, short(name, 40), value, remark, list(marks))


@dataclass(frozen=True)
class Cloud:
    """Points of a class, as a path of its shape, in its colour; number: which class."""

    name: str
    number: int
    colour: str
    shape: str
    path: str


@dataclass(frozen=True)
class Scatter:
    """Clouds of points, one per class."""

    title: str
    width: int
    height: int
    clouds: list[Cloud]


def scatter(points: np.ndarray, labels: np.ndarray, classes: Sequence[str], title: str) -> Scatter:
    """Points (n, 2) coloured and shaped by class (n,)."""
    width, height = 720, 480
    low, high = points.min(0), points.max(0)
    xy = (points - low) / np.maximum(high - low, 1e-9) * [width - 24, height - 24] + 12
    clouds = []
    for order, i in enumerate(map(int, np.unique(labels))):
        shape = SHAPES[order // COLOURS % len(SHAPES)]
        drawn = "".join(f"M{x:.0f},{y:.0f}{shape}" for x, y in xy[labels == i])
        clouds.append(Cloud(classes[i], order, f"k{order % COLOURS}", shape, drawn))
    return Scatter(title, width, height, clouds)

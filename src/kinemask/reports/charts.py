"""Charts as SVG and HTML. Colours are classes of style.css, so that they follow the colour scheme."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from kinemask.reports.html import Markup, join, tag, text

COLOURS = 10  # of style.css: k0 … k9
_SHAPES = (  # paths about the origin: a class is a colour and a shape
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


def line(title: str, x: Sequence[float], y: Sequence[float], unit: str) -> Markup:
    """A small line chart of y over x; long ones show the means of neighbouring points."""
    pieces = np.array_split(np.column_stack([x, y]), min(len(x), MOST_POINTS))
    points = np.array([piece.mean(0) for piece in pieces])
    (x0, y0), (x1, y1) = points.min(0), points.max(0)
    if y0 >= 0 and y0 < 0.5 * y1:
        y0 = 0.0
    pad = 0.05 * (y1 - y0) or 0.5 * abs(y1) or 1.0
    low, high = (y0 if y0 == 0 and y1 > 0 else y0 - pad), y1 + pad
    width, height, left, right, top, bottom = 320, 170, 44, 8, 8, 32
    scale = np.array([(width - left - right) / (x1 - x0 or 1), -(height - top - bottom) / (high - low)])
    xy = (points - [x0, low]) * scale + [left, height - bottom]
    grid = []
    for value in ticks(low, high):
        at = (value - low) * scale[1] + height - bottom
        grid.append(f'<line class="grid" x1="{left}" x2="{width - right}" y1="{at:.1f}" y2="{at:.1f}"/>')
        grid.append(f'<text x="{left - 6}" y="{at + 3.5:.1f}" text-anchor="end">{number(value)}</text>')
    for value in ticks(x0, x1):
        at = (value - x0) * scale[0] + left
        grid.append(f'<text x="{at:.1f}" y="{height - bottom + 14}" text-anchor="middle">{number(value)}</text>')
    grid.append(f'<text x="{width - right}" y="{height - 3}" text-anchor="end">{text(unit)}</text>')
    path = "M" + "L".join(f"{a:.1f},{b:.1f}" for a, b in xy)
    end = f'<circle class="end" cx="{xy[-1, 0]:.1f}" cy="{xy[-1, 1]:.1f}" r="3"/>'
    hover = " ".join(f"{a:.1f},{b:.1f},{number(p)},{number(q)}" for (a, b), (p, q) in zip(xy, points, strict=True))
    svg = tag(
        "svg",
        Markup("".join(grid)),
        Markup(f'<path class="line" d="{path}"/>{end}'),
        viewBox=f"0 0 {width} {height}",
        role="img",
        aria_label=f"{title} over {unit}s, {number(points[-1, 1])} at the end",
        class_="chart",
        data_points=hover,
        data_unit=unit,
    )
    head = tag("figcaption", tag("b", title), tag("span", f"{number(float(points[-1, 1]))} at the end", class_="value"))
    return tag("figure", head, svg, class_="panel")


def curves(title: str, levels: Sequence[str], series: Sequence[tuple[str, str, Sequence[float]]], unit: str) -> Markup:
    """Percentages over levels, which stand at equal distances. series: (name, class of style.css, values)."""
    width, height, left, right, top, bottom = 320, 190, 34, 10, 8, 34
    x = np.linspace(left, width - right, len(levels)) if len(levels) > 1 else np.array([(left + width - right) / 2])
    at = lambda value: height - bottom - value / 100 * (height - top - bottom)
    out = []
    for value in range(0, 101, 25):
        out.append(f'<line class="grid" x1="{left}" x2="{width - right}" y1="{at(value):.1f}" y2="{at(value):.1f}"/>')
        out.append(f'<text x="{left - 6}" y="{at(value) + 3.5:.1f}" text-anchor="end">{value}</text>')
    for i, (a, level) in enumerate(zip(x, levels, strict=True)):
        anchor = "end" if i == len(levels) - 1 else "middle" if i else "start"
        out.append(f'<text x="{a:.1f}" y="{height - bottom + 14}" text-anchor="{anchor}">{text(level)}</text>')
    out.append(f'<text x="{width - right}" y="{height - 4}" text-anchor="end">{text(unit)}</text>')
    for name, kind, values in reversed(series):  # the first on top
        points = [(a, at(value), value) for a, value in zip(x, values, strict=True)]
        out.append(f'<path class="line {kind}" d="M{"L".join(f"{a:.1f},{b:.1f}" for a, b, _ in points)}"/>')
        for level, (a, b, value) in zip(levels, points, strict=True):
            said = f"<title>{text(name)}, {text(level)}: {value:.1f} %</title>"
            out.append(f'<circle class="{kind}" cx="{a:.1f}" cy="{b:.1f}" r="3">{said}</circle>')
    drawing = tag(
        "svg", Markup("".join(out)), viewBox=f"0 0 {width} {height}", role="img", aria_label=title, class_="curves"
    )
    first, last = series[0][2][0], series[0][2][-1]
    head = tag("figcaption", tag("b", title), tag("span", f"{first:.1f} → {last:.1f} %", class_="value"))
    return tag("figure", head, drawing, class_="panel")


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: Sequence[str]) -> Markup:
    """Confusion matrix (rows: true) of the classes that occur, each row's shares as depth of colour."""
    present = np.union1d(truth, predicted)
    counts = np.zeros((len(present), len(present)), int)
    np.add.at(counts, (np.searchsorted(present, truth), np.searchsorted(present, predicted)), 1)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    few = len(present) <= FEW_CLASSES
    cell = (30 if len(present) <= 10 else 24) if few else 14 if len(present) <= 70 else 9
    font = 12 if few else cell - 3
    names = [short(classes[i], 30) for i in map(int, present)]
    left, top = 12 + max(len(f"{i + 1} {n}") for i, n in zip(map(int, present), names, strict=True)) * font * 0.58, 34
    out = []
    for row, i in enumerate(map(int, present)):
        y = top + (row + 0.5) * cell + font * 0.36
        out.append(f'<text x="{left - 8:.0f}" y="{y:.1f}" text-anchor="end">{text(names[row])} {i + 1}</text>')
        if few or i % 5 == 4:
            out.append(f'<text x="{left + (row + 0.5) * cell:.1f}" y="{top - 6}" text-anchor="middle">{i + 1}</text>')
    for row, column in np.argwhere(counts):
        a, b = text(classes[int(present[row])]), text(classes[int(present[column])])
        many, of, part = counts[row, column], counts[row].sum(), share[row, column]
        x, y = left + column * cell, top + row * cell
        out.append(
            f'<rect x="{x:.0f}" y="{y}" width="{cell - 1}" height="{cell - 1}" fill-opacity="{max(part, 0.03):.2f}">'
            f"<title>{a}: {many} of {of} taken for {b}</title></rect>"
        )
        if few:
            tone = ' class="on"' if part > 0.5 else ""
            middle = f'x="{x + cell / 2 - 0.5:.1f}" y="{y + cell / 2 + 3.5:.1f}" text-anchor="middle"'
            out.append(f"<text {middle}{tone}>{many}</text>")
    size = len(present) * cell
    out.append(f'<text x="{left:.0f}" y="{top - 22}">predicted class (number)</text>')
    out.append(f'<rect class="frame" x="{left - 0.5:.0f}" y="{top - 0.5}" width="{size}" height="{size}"/>')
    width, height = left + max(size, 140) + 4, top + size + 4
    drawing = tag(
        "svg",
        Markup("".join(out)),
        viewBox=f"0 0 {width:.0f} {height}",
        width=f"{width:.0f}",
        height=height,
        style=f"font-size:{font}px",
        class_="matrix",
        role="img",
        aria_label="confusion matrix",
    )
    return tag("div", drawing, class_="scroll")


def bars(rows: Sequence[tuple[str, float, str]], marks: Sequence[Sequence[tuple[str, float]]] = ()) -> Markup:
    """Horizontal bars in percent: (name, value, remark). marks: per bar, further values as ticks, (title, value)."""
    out = []
    for i, (name, value, remark) in enumerate(rows):
        inner = [tag("i", style=f"width:{value:.1f}%")]
        for j, (title, at) in enumerate(marks[i] if marks else ()):
            inner.append(tag("s", class_=f"m{j}", style=f"left:{at:.1f}%", title=f"{title}: {at:.1f} %"))
        label = tag("span", short(name, 40), class_="name", title=name)
        out += [label, tag("span", *inner, class_="bar"), tag("span", f"{value:.1f}", tag("small", f" {remark}"))]
    return tag("div", *out, class_="bars")


def scatter(points: np.ndarray, labels: np.ndarray, classes: Sequence[str], name: str) -> Markup:
    """Points (n, 2) coloured and shaped by class, with a legend that picks classes out (see page.js)."""
    width, height = 720, 480
    low, high = points.min(0), points.max(0)
    xy = (points - low) / np.maximum(high - low, 1e-9) * [width - 24, height - 24] + 12
    marks, legend = [], []
    for order, i in enumerate(np.unique(labels)):
        colour, shape = f"k{order % COLOURS}", _SHAPES[order // COLOURS % len(_SHAPES)]
        path = "".join(f"M{x:.0f},{y:.0f}{shape}" for x, y in xy[labels == i])
        title = f"<title>{text(classes[i])}</title>"
        marks.append(f'<g class="{colour}" data-class="{order}"><path d="{path}">{title}</path></g>')
        key = Markup(f'<svg viewBox="-5 -5 10 10" class="{colour}" aria-hidden="true"><path d="M0,0{shape}"/></svg>')
        legend.append(tag("button", key, classes[i], data_class=order, type="button", aria_pressed="false"))
    drawing = tag(
        "svg", Markup("".join(marks)), viewBox=f"0 0 {width} {height}", role="img", aria_label=f"t-SNE of {name}"
    )
    return tag("div", drawing, tag("div", join(legend), class_="legend"), class_="scatter")


def short(name: str, most: int) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"

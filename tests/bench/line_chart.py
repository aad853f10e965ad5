"""A line chart as an SVG file that can be read on light and on dark paper.

Each line has its name beside its end, in its colour, so that no legend is needed.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 900, 440
LEFT, RIGHT, TOP, BOTTOM = 76, 290, 56, 50
"""Margins; the right one has the names."""

NAME_HEIGHT = 16
"""Names do not come nearer to each other."""

STEPS = (1, 2, 5)
"""Of a logarithmic axis in each power of ten, while it has few."""

MOST_TICKS = 9

COLOURS = (
    # On light paper, on dark; both are from Okabe and Ito's palette for the colour-blind,
    # darker or lighter where the contrast asks for it.
    ("#0072b2", "#56b4e9"),
    ("#b34700", "#ff9e4a"),
    ("#00795a", "#2fd3a5"),
    ("#a3457f", "#e59ac8"),
    ("#7a6400", "#f0e442"),
    ("#5b4fc9", "#aea4ff"),
    ("#444444", "#cccccc"),
    ("#b00020", "#ff8a8a"),
)
MOST_LINES = len(COLOURS)

Scale = Callable[[float], float]


@dataclass(frozen=True)
class LineChart:
    """``lines`` are name to (x, y) points, MOST_LINES at most. The axes are logarithmic, that of x
    unless ``even_x``."""

    title: str
    x_title: str
    y_title: str
    lines: Mapping[str, Sequence[tuple[float, float]]]
    even_x: bool = False

    def svg(self) -> str:
        xs = sorted({x for points in self.lines.values() for x, _ in points})
        ys = [y for points in self.lines.values() for _, y in points]
        ticks = _ticks(min(ys), max(ys))
        x_at = _scale(xs[0], xs[-1], LEFT, WIDTH - RIGHT, self.even_x)
        y_at = _scale(ticks[0], ticks[-1], HEIGHT - BOTTOM, TOP, even=False)
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'width="{WIDTH}" height="{HEIGHT}">',
            f"<title>{escape(self.title)}</title>",
            _style(),
            f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>',
            _text(LEFT, 22, self.title, "title"),
            _text(LEFT, 42, self.y_title, "quiet"),
            _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, self.x_title, "quiet middle"),
        ]
        for tick in ticks:
            y = y_at(tick)
            parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
            parts.append(_text(LEFT - 8, y + 4, f"{tick:,}", "quiet end"))
        for x in xs:
            parts.append(_text(x_at(x), HEIGHT - BOTTOM + 18, f"{x:,.0f}", "quiet middle"))
        heights = _apart([y_at(points[-1][1]) for points in self.lines.values()])
        for number, (name, points) in enumerate(self.lines.items()):
            path = " ".join(f"{x_at(x):.1f},{y_at(y):.1f}" for x, y in points)
            parts.append(f'<polyline class="line c{number}" points="{path}"/>')
            label = f"{name}: {points[-1][1]:,.0f}"
            parts.append(_text(WIDTH - RIGHT + 10, heights[number] + 4, label, f"n{number}"))
        return "\n".join([*parts, "</svg>\n"])


def _scale(least: float, most: float, start: float, end: float, even: bool) -> Scale:
    measure = float if even else math.log10
    span = (measure(most) - measure(least)) or 1
    return lambda value: start + (measure(value) - measure(least)) / span * (end - start)


def _ticks(least: float, most: float) -> list[float]:
    """From the last step at or below ``least`` to the first at or above ``most``; only powers of
    ten when those would be too many."""
    powers = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
    steps = [step * 10**power for power in powers for step in STEPS]
    first = max(index for index, step in enumerate(steps) if step <= least)
    last = min(index for index, step in enumerate(steps) if step >= most)
    ticks = steps[first : last + 1]
    return ticks if len(ticks) <= MOST_TICKS else [10**power for power in powers]


def _apart(heights: Sequence[float]) -> list[float]:
    """The heights, moved down where they are too close, and all up again when that ends too low."""
    placed = list(heights)
    order = sorted(range(len(heights)), key=heights.__getitem__)
    for above, below in pairwise(order):
        placed[below] = max(placed[below], placed[above] + NAME_HEIGHT)
    lowest = HEIGHT - BOTTOM
    for index in reversed(order):
        placed[index] = min(placed[index], lowest)
        lowest = placed[index] - NAME_HEIGHT
    return placed


def _style() -> str:
    def colours(dark: bool) -> str:
        return "".join(
            f".c{number}{{stroke:{pair[dark]}}}.n{number}{{fill:{pair[dark]}}}"
            for number, pair in enumerate(COLOURS)
        )

    return (
        "<style>"
        "text{font:13px system-ui,sans-serif;fill:#222}.title{font-size:16px;font-weight:600}"
        ".quiet{fill:#595959}.middle{text-anchor:middle}.end{text-anchor:end}"
        ".paper{fill:#fff}.grid{stroke:#e3e3e3}.line{fill:none;stroke-width:2}"
        f"{colours(dark=False)}"
        "@media(prefers-color-scheme:dark){"
        "text{fill:#eee}.quiet{fill:#aaa}.paper{fill:#111}.grid{stroke:#333}"
        f"{colours(dark=True)}}}</style>"
    )


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'

"""A line chart as an SVG file that is readable on light and dark backgrounds.

Each line is labelled at its end, in its colour, so no legend is needed.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.support.svg import INK, PAPER, QUIET, RULE, Picture

WIDTH, HEIGHT = 900, 440
LEFT, RIGHT, TOP, BOTTOM = 76, 290, 56, 50
"""Margins; the right one holds the names."""

NAME_HEIGHT = 16
"""The smallest vertical distance between two names."""

STEPS = (1, 2, 5)
"""The ticks of a logarithmic axis within each power of ten, if the axis is short."""

MOST_TICKS = 9

COLOURS = {
    # On light paper: on dark. Both are from Okabe and Ito's palette for the colour-blind, darker or
    # lighter where the contrast asks for it.
    "#0072b2": "#56b4e9",
    "#b34700": "#ff9e4a",
    "#00795a": "#2fd3a5",
    "#a3457f": "#e59ac8",
    "#7a6400": "#f0e442",
    "#5b4fc9": "#aea4ff",
    "#444444": "#cccccc",
    "#b00020": "#ff8a8a",
}
MOST_LINES = len(COLOURS)

DARK = {PAPER: "#111111", RULE: "#333333", INK: "#eeeeee", QUIET: "#aaaaaa"} | COLOURS

Scale = Callable[[float], float]


@dataclass(frozen=True)
class LineChart:
    """``lines`` maps at most MOST_LINES names to (x, y) points. The axes are logarithmic; with
    ``even_x`` the x axis is not."""

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
        picture = Picture(WIDTH, HEIGHT, self.title, DARK)
        picture.text(LEFT, 24, self.title, size=16, bold=True)
        picture.text(LEFT, 44, self.y_title, ink=QUIET)
        middle = (LEFT + WIDTH - RIGHT) / 2
        picture.text(middle, HEIGHT - 10, self.x_title, ink=QUIET, anchor="middle")
        for tick in ticks:
            y = y_at(tick)
            picture.line(LEFT, y, WIDTH - RIGHT, y, RULE)
            picture.text(LEFT - 8, y + 4, f"{tick:,}", ink=QUIET, anchor="end")
        for x in xs:
            below = HEIGHT - BOTTOM + 18
            picture.text(x_at(x), below, f"{x:,.0f}", ink=QUIET, anchor="middle")
        heights = _apart([y_at(points[-1][1]) for points in self.lines.values()])
        for ink, height, (name, points) in zip(COLOURS, heights, self.lines.items(), strict=False):
            picture.path([(x_at(x), y_at(y)) for x, y in points], ink)
            label = f"{name}: {points[-1][1]:,.0f}"
            picture.text(WIDTH - RIGHT + 10, height + 4, label, ink=ink)
        return str(picture)


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
    """The heights, moved down where they are too close, then all up if the last is too low."""
    placed = list(heights)
    order = sorted(range(len(heights)), key=heights.__getitem__)
    for above, below in pairwise(order):
        placed[below] = max(placed[below], placed[above] + NAME_HEIGHT)
    lowest = HEIGHT - BOTTOM
    for index in reversed(order):
        placed[index] = min(placed[index], lowest)
        lowest = placed[index] - NAME_HEIGHT
    return placed

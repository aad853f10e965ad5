"""Sales per minute as a bar chart: coordinates for an SVG element."""

from collections.abc import Sequence
from typing import NamedTuple

from web.ports.booking_store import MinuteOfSales

WIDTH, HEIGHT = 720, 160
GAP = 2


class Bar(NamedTuple):
    x: float
    y: float
    width: float
    height: float


class Chart(NamedTuple):
    width: int
    height: int
    bars: list[Bar]
    most: int
    total: int


def chart_of(minutes: Sequence[MinuteOfSales]) -> Chart:
    """One bar per minute, the tallest as high as the chart; none for a minute without sales."""
    most = max((minute.seats for minute in minutes), default=0)
    step = WIDTH / max(1, len(minutes))
    bars = []
    for number, minute in enumerate(minutes):
        if minute.seats:
            height = HEIGHT * minute.seats / most
            sizes = (number * step, HEIGHT - height, step - GAP, height)
            bars.append(Bar(*(round(size, 1) for size in sizes)))
    return Chart(WIDTH, HEIGHT, bars, most, sum(minute.seats for minute in minutes))
